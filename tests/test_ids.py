"""Ids and digests: identity does not depend on order, spelling of suffixes, or the machine."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embstore.ids import (
    cell_id,
    connected_groups,
    digest,
    image_id,
    non_accessions,
    protein_id,
    protein_ids,
    segmentation_id,
    short,
    split_genes,
    split_identifiers,
    split_list,
    spreadsheet_genes,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_a_digest_is_sha256_of_canonical_json() -> None:
    """Sorted keys, UTF-8, no spaces: the text written by hand, and the digest pinned for every later version."""
    record = {"b": [1, 2.5, None, True], "a": "µm"}
    assert digest(record) == hashlib.sha256('{"a":"µm","b":[1,2.5,null,true]}'.encode()).hexdigest()
    assert digest(record) == "ee8a53c3a7607d6114e4b89ce2e65a17fe16c0d83aca193fb1918763bdc20170"
    assert short(digest(record)) == digest(record)[:12]


@given(st.dictionaries(st.text(), json_values, min_size=2), st.randoms())
def test_a_digest_does_not_depend_on_the_order_of_keys(record: dict[str, object], random: object) -> None:
    """A record and the same record filled in another order have one digest."""
    keys = list(record)
    random.shuffle(keys)  # type: ignore[attr-defined]
    assert digest({key: record[key] for key in keys}) == digest(record)


@pytest.mark.parametrize(
    ("identifier", "gene", "expected"),
    [
        ("ENSG00000072110", "ACTN1", "ensembl:ENSG00000072110"),
        ("ENSG00000072110.14", "", "ensembl:ENSG00000072110"),
        ("ENSMUSG00000015143", "", "ensembl:ENSMUSG00000015143"),
        ("P12814", "", "uniprot:P12814"),
        ("P12814-2", "", "uniprot:P12814"),
        ("A0A024RBG1", "", "uniprot:A0A024RBG1"),
        (" P12814 ", "", "uniprot:P12814"),
        ("", "ACTN1", "gene:ACTN1"),
        ("", "NKX2-1", "gene:NKX2-1"),  # a hyphen in a gene is no isoform
        ("", "P2RY11", "gene:P2RY11"),  # a gene that looks like an accession stays one
        ("ENST00000072110", "", "gene:ENST00000072110"),  # a transcript is no gene id
        ("ENSG0000007211", "", "gene:ENSG0000007211"),  # a digit short
        ("", "", None),
        ("  ", " ", None),
    ],
)
def test_a_protein_id_carries_its_namespace(identifier: str, gene: str, expected: str | None) -> None:
    """Ensembl and UniProt are told by form, versions and isoforms are cut off, a gene is the last resort."""
    assert protein_id(identifier, gene) == expected


def test_an_antibody_may_name_several_proteins() -> None:
    """`;`-joined ids give each protein once, in order; genes count only where there is no id."""
    several = protein_ids("ENSG00000000002; P12814-2;ENSG00000000001;ENSG00000000002.3", "A;B;C")
    assert several == ["ensembl:ENSG00000000002", "uniprot:P12814", "ensembl:ENSG00000000001"]
    assert protein_ids(" ", "HSPA1A; HSPA1B;HSPA1A") == ["gene:HSPA1A", "gene:HSPA1B"]
    assert protein_ids("", ";") == []


@pytest.mark.parametrize("joint", [",", ", ", ";", " ; ", "|", " ", "\t"])
def test_accessions_are_split_however_a_table_joins_them(joint: str) -> None:
    """Every joint that tables use parts accessions, and the genes beside them where they are as many."""
    ids, genes = joint.join(["ENSG00000000003", "P12814-2"]), joint.join(["TSPAN6", "NKX2-1"])
    assert protein_ids(ids, genes) == ["ensembl:ENSG00000000003", "uniprot:P12814"]
    assert split_genes(genes, ids) == ["TSPAN6", "NKX2-1"]
    assert non_accessions(ids) == []


def test_a_gene_name_keeps_its_commas_and_hyphens() -> None:
    """Without as many accessions beside it, a name with a comma is one name."""
    assert split_genes("HLA-A, alpha") == ["HLA-A, alpha"]
    assert split_genes("HLA-A, alpha", "ENSG00000206503") == ["HLA-A, alpha"]
    assert split_genes("A,B,C", "ENSG00000000001,ENSG00000000002") == ["A,B,C"]
    assert split_genes("A, a;B", "ENSG00000000001,ENSG00000000002") == ["A, a", "B"]
    assert protein_ids("", "HLA-A, alpha") == ["gene:HLA-A, alpha"]


def test_items_that_are_no_accessions_are_listed() -> None:
    """Accessions beside other words are kept, and the words can be named; ids of another kind keep their blanks."""
    assert split_identifiers("ENSG00000000003, NA") == ["ENSG00000000003"]
    assert non_accessions("ENSG00000000003, NA; ENSG0000000045") == ["NA", "ENSG0000000045"]
    assert split_identifiers("my protein, 7") == non_accessions("my protein, 7") == ["my protein, 7"]
    assert split_identifiers(" ; ") == non_accessions(" ; ") == []


def test_a_joined_field_is_split_without_empty_items() -> None:
    """Blanks around items and empty items vanish; names with commas survive a split at semicolons."""
    assert split_list(" Golgi, cis ; ;er;") == ["Golgi, cis", "er"]
    assert split_list("a, b,,", ",") == ["a", "b"]


def test_image_and_cell_ids_read_as_documented() -> None:
    """`<dataset>/<key>` and `<image_id>:<segmentation>:<label>`."""
    assert cell_id(image_id("opencell", "A/b"), "0123abcd", 7) == "opencell/A/b:0123abcd:7"


def test_a_segmentation_is_named_by_its_spec_and_the_content() -> None:
    """Another constant, file or pixel size makes other cells; the same ones make the same cells on any machine."""
    spec = {"name": "otsu", "revision": 1, "smooth": 0.05}
    name = segmentation_id(spec, "aa", 0.2)
    assert name == "9e38b580"
    assert segmentation_id(dict(reversed(spec.items())), "aa", 0.2) == name
    others = [(spec, "ab", 0.2), (spec | {"smooth": 0.06}, "aa", 0.2), (spec, "aa", 0.3), (spec, "aa", None)]
    assert len({name, *(segmentation_id(*other) for other in others)}) == 5


def closure(linked: list[list[str]]) -> dict[str, str]:
    """The obvious twin: an adjacency matrix multiplied until nothing changes, each named by its smallest member."""
    names = sorted({name for ids in linked for name in ids})
    near = np.eye(len(names), dtype=bool)
    for ids in linked:
        at = [names.index(name) for name in ids]
        near[np.ix_(at, at)] = True
    for _ in names:
        near = near @ near
    return {name: names[int(np.argmax(near[i]))] for i, name in enumerate(names)}


@given(st.lists(st.lists(st.sampled_from([f"p{i:02d}" for i in range(14)]), max_size=3), max_size=12), st.randoms())
def test_groups_are_connected_components_in_any_order(linked: list[list[str]], random: object) -> None:
    """Groups are those of a brute-force closure, and their names do not depend on the order of rows or ids."""
    groups = connected_groups(linked)
    assert groups == closure(linked)
    shuffled = [random.sample(ids, len(ids)) for ids in random.sample(linked, len(linked))]  # type: ignore[attr-defined]
    assert connected_groups(shuffled) == groups


@pytest.mark.parametrize(
    "name",
    [
        *("2-Sep", "1-Mar", "02. Sep", "1. Mrz", "2-sept.", "10-Mar-2020", "Sep-02", "43892", "43892.0", "2.31E+13"),
        *("2,31E+13", "1E+05", "2020-03-01", "2020-03-01 00:00:00", "3/1/2020", "01.03.2020", "1-Dec", "15-Oct"),
    ],
)
def test_genes_that_a_spreadsheet_changed_are_known(name: str) -> None:
    """Days of a month in several languages, dates, their serial numbers, and powers of ten; each once."""
    assert spreadsheet_genes(["ACTB", name, "DEC1", name]) == [name]


def test_real_symbols_are_not_taken_for_dates(samples: Path) -> None:
    """Neither those that spreadsheets change (before they do), nor the 13,000 of HPA's table, nor a column of ids."""
    kept = ["DEC1", "MARCH1", "SEPT2", "SEPTIN2", "MARCHF1", "OCT4", "Oct-4", "NOV", "MARC1", "12-LOX", "14-3-3", "7SK"]
    kept += ["2310009E13Rik", "1700020D05RIK", "5-HT1A", "4-1BB", "HLA-A", "MT-CO1", "C1orf112", "", "PTGS2.1", "E2F1"]
    assert spreadsheet_genes(kept) == []
    with (samples / "labels" / "hpa_subcellular_location.tsv").open(encoding="utf-8") as file:
        symbols = [row["Gene name"] for row in csv.DictReader(file, delimiter="\t")]
    assert len(symbols) > 10_000
    assert spreadsheet_genes(symbols) == []
    assert spreadsheet_genes(["7157", "43892", "672"]) == []  # Entrez
