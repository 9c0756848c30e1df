"""Stable ids and digests (DESIGN §4): vectors are matched with labels only through these."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

ENSEMBL = re.compile(r"^ENS[A-Z]*G\d{11}(\.\d+)?$")
# the accession pattern published at https://www.uniprot.org/help/accession_numbers, with an isoform suffix
UNIPROT = re.compile(r"^([OPQ]\d[A-Z0-9]{3}\d|[A-NR-Z]\d([A-Z][A-Z0-9]{2}\d){1,2})(-\d+)?$")
# what spreadsheets turn symbols such as SEPT2, MARCH1 and 2310009E13Rik into: days of a month, dates, powers of ten
MONTHS = (  # English, German, French, Spanish, Italian, Dutch
    r"(jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec|january|february|march|april|august|september|october|"
    r"november|december|mär|mrz|mai|okt|dez|janv|févr?|fev|mars|avr|juin|juil|août|déc|ene|abr|ago|dic|gen|mag|giu|"
    r"lug|set|ott|mrt|mei)"
)
DAY_AND_MONTH = re.compile(rf"^\d{{1,2}}[-./ ]+{MONTHS}\.?([-./ ]+\d{{2,4}})?$", re.IGNORECASE)
MONTH_AND_YEAR = re.compile(rf"^{MONTHS}[-./ ]+(\d{{2}}|\d{{4}})$", re.IGNORECASE)  # Oct-4 is a gene
NUMERIC_DATE = re.compile(r"^(\d{4}-\d\d?-\d\d?([ T][\d:.]+)?|\d{1,2}([/.])\d{1,2}\3(\d{4}|\d\d))$")
POWER_OF_TEN = re.compile(r"^\d+([.,]\d+)?E\+?\d+$", re.IGNORECASE)
SERIAL_DATE = re.compile(r"^[3-5]\d{4}(\.0)?$")  # days since 1900: 1982 to 2064
WHOLE_NUMBER = re.compile(r"^\d+(\.0)?$")
# separators that tables use between the ids of one row, and between its genes
JOINED, LISTED = re.compile(r"[,;|\s]+"), re.compile(r"\s*[,;|]\s*")


def digest(record: Any) -> str:
    """Return the sha256 (64 hex digits) of a record's canonical JSON: sorted keys, UTF-8, no spaces."""
    text = json.dumps(record, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def short(full: str) -> str:
    """Return the first 12 hex digits of a digest, as shown to people."""
    return full[:12]


def image_id(dataset: str, key: str) -> str:
    """Return `<dataset>/<source key>`."""
    return f"{dataset}/{key}"


def cell_id(image: str, segmentation: str, label: int) -> str:
    """Return `<image_id>:<seg8>:<label>`."""
    return f"{image}:{segmentation}:{label}"


def image_of_cell(cell: str) -> str:
    """Return the image id that a cell id begins with."""
    return cell.rsplit(":", 2)[0]


def segmentation_id(spec: Mapping[str, Any], content_sha256: str, pixel_size_um: float | None) -> str:
    """Return the 8 hex digits that name a segmentation, from segmenter, content of the image and pixel size.

    It covers everything that the cells depend on: after a change of the file or the pixel size, the cells must get new
    ids even if the segmenter is the same, or they would take over the old ids without warning.
    """
    return digest({"segmenter": dict(spec), "content": content_sha256, "pixel_size_um": pixel_size_um})[:8]


def split_digest(spec: Mapping[str, Any], folds: Mapping[str, int]) -> str:
    """Return the digest of a split: of its spec and the fold of every group."""
    return digest({"spec": spec, "folds": folds})


def protein_id(identifier: str = "", gene: str = "") -> str | None:
    """Return a namespaced protein id (`ensembl:`, `uniprot:`, else `gene:`), or None if both are empty.

    Version and isoform suffixes are removed: `ENSG00000072110.14` and `P12814-2` name the same proteins as without
    them. An identifier that is neither an Ensembl nor a UniProt accession is used only if there is no gene.
    """
    identifier, gene = identifier.strip(), gene.strip()
    accession = identifier.upper()
    if ENSEMBL.match(accession):
        return "ensembl:" + accession.split(".")[0]
    if UNIPROT.match(accession):
        return "uniprot:" + accession.split("-")[0]
    name = gene or identifier
    return f"gene:{name}" if name else None


def is_accession(identifier: str) -> bool:
    """True if an identifier is an Ensembl gene id or a UniProt accession, in upper or lower case."""
    return bool(ENSEMBL.match(identifier.upper()) or UNIPROT.match(identifier.upper()))


def is_isoform(identifier: str) -> bool:
    """True if a UniProt accession names an isoform, such as `P12814-2`."""
    return "-" in identifier and bool(UNIPROT.match(identifier.upper()))


def split_identifiers(text: str) -> list[str]:
    """Return the ids of a field: accessions separated by `,`, `;`, `|` or blanks, other ids by `;` alone."""
    identifiers: list[str] = []
    for item in split_list(text):
        accessions = [part for part in JOINED.split(item) if is_accession(part)]
        identifiers += accessions or [item]
    return identifiers


def non_accessions(text: str) -> list[str]:
    """Return the items of a protein-id field that are not Ensembl or UniProt accessions."""
    items: list[str] = []
    for item in split_list(text):
        parts = JOINED.split(item)
        others = [part for part in parts if not is_accession(part)]
        items += others if len(others) < len(parts) else [item]
    return items


def split_genes(text: str, identifiers: str = "") -> list[str]:
    """Return the gene names of a field, separated by `;`, since a name may contain commas and hyphens.

    Other separators count only if they give as many names as there are ids in `identifiers`.
    """
    wanted = len(split_identifiers(identifiers))
    names = split_list(text)
    splits = ([part for part in joint.split(text.strip()) if part] for joint in (LISTED, JOINED))
    return next((parts for parts in splits if len(names) != wanted == len(parts)), names)


def protein_ids(identifiers: str, genes: str) -> list[str]:
    """Return the protein ids of a row or antibody, which may name several (see `split_identifiers`)."""
    ids = split_identifiers(identifiers)
    names = split_genes(genes, identifiers)
    if not ids or len(ids) == len(names):  # ids and genes are in the same order if there are as many
        pairs = zip(ids or [""] * len(names), names, strict=True)
    else:
        pairs = zip(ids, [""] * len(ids), strict=True)
    return list(dict.fromkeys(p for i, g in pairs if (p := protein_id(i, g))))


def spreadsheet_genes(genes: Iterable[str]) -> list[str]:
    """Return the gene names that look as if a spreadsheet had changed them (2-Sep, 2.31E+13, 43892), each once.

    If most names of a column are whole numbers, they are ids of another database, and none of these is returned.
    """
    names = list(dict.fromkeys(genes))
    numbered = 2 * sum(bool(WHOLE_NUMBER.match(name)) for name in names) > len(names)
    patterns = (DAY_AND_MONTH, MONTH_AND_YEAR, NUMERIC_DATE, POWER_OF_TEN, *(() if numbered else (SERIAL_DATE,)))
    return [name for name in names if any(pattern.match(name) for pattern in patterns)]


def split_list(text: str, separators: str = ";") -> list[str]:
    """Return the non-empty, stripped items of a field whose items are separated by any of these characters."""
    return [item.strip() for item in re.split(f"[{re.escape(separators)}]", text) if item.strip()]


def connected_groups(linked: Iterable[Iterable[str]]) -> dict[str, str]:
    """Return protein id -> group id: the connected components over ids that occur together.

    A group is named after its smallest member, so that its name does not depend on the order of rows.
    """
    parent: dict[str, str] = {}

    def root(x: str) -> str:
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    for ids in linked:
        members = list(ids)
        for member in members:
            parent.setdefault(member, member)
        for other in members[1:]:
            a, b = sorted((root(members[0]), root(other)))
            parent[b] = a
    return {protein: root(protein) for protein in parent}
