"""The proteins that a backbone saw when it was trained, from a table that the user provides.

A network trained on images of a protein has an advantage on it: scores can be restricted to the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pyarrow as pa

from embstore.backbones.registry import known_names
from embstore.errors import EmbstoreError, choices
from embstore.ids import is_accession, protein_id, split_genes, split_identifiers
from embstore.sources.columns import known_columns, notes_on_genes
from embstore.sources.tables import TextTable, abridged, text_table
from embstore.store import ProteinRow, Store, list_spaces, rows
from embstore.tabular import Tabular, arrow_table

# as OpenCell, HPA and their users name them; HPA's `Gene` contains Ensembl ids next to `Gene name`
ID_COLUMNS = ("protein_id", "ensg_id", "ENSG", "ensembl_id", "Ensembl", "Gene", "uniprot_id", "uniprot", "UniProt")
GENE_COLUMNS = ("gene", "gene_name", "Gene name", "target_name", "gene_symbol", "symbol")


@dataclass(frozen=True, repr=False)
class Seen(Tabular):
    """How a table of seen proteins joined the store's: `by_id` + `by_gene` of `proteins` were seen, `changed` are new.

    `notes` give examples of the rows and proteins that did not join.
    """

    backbone: str
    rows: int
    proteins: int
    by_id: int
    by_gene: int
    changed: int
    version: int = 0  # of the table `proteins` now
    notes: tuple[str, ...] = ()

    def to_arrow(self) -> pa.Table:
        """Return the counts as one row."""
        return arrow_table([self], Seen).drop_columns("notes")

    @property
    def headline(self) -> str:
        """Return how many of the store's proteins the backbone saw."""
        return f"{self.backbone} saw {self.by_id + self.by_gene} of {self.proteins} proteins in pretraining"


def set_seen(
    store: Store, table: str | Path, *, backbone: str, id_column: str | None = None, gene_column: str | None = None
) -> Seen:
    """Record in `proteins.seen_in_pretraining` which proteins a backbone was trained on (writes): those of the table.

    `table` is a CSV, TSV, Parquet or xlsx with one row per protein; ids are matched first, then gene symbols. Proteins
    that the table does not name lose the mark; proteins that are added to the store later have none until this is run
    again. Raises EmbstoreError for a backbone that neither the registry nor the store knows, and a table without such
    columns.
    """
    names = set(known_names()) | {space["backbone"] for space in list_spaces(store)}
    if backbone not in names:
        raise EmbstoreError(choices(backbone, "backbone", names))
    listed = text_table(Path(table))
    named = _named(listed, id_column, gene_column)
    ids = {protein for row in named for protein in row.ids}
    genes = {gene for row in named for gene in row.genes}
    proteins = cast("list[ProteinRow]", rows(store, "SELECT * FROM proteins ORDER BY protein_id"))
    by_id = {p["protein_id"] for p in proteins if p["protein_id"] in ids}
    by_gene = {p["protein_id"] for p in proteins if _symbols(p) & genes} - by_id
    changed: list[ProteinRow] = []
    for protein in proteins:
        before = protein["seen_in_pretraining"] or []
        after = sorted({*before, backbone} if protein["protein_id"] in by_id | by_gene else {*before} - {backbone})
        if after != sorted(before):
            changed.append({**protein, "seen_in_pretraining": after})
    version = store.upsert("proteins", changed)
    known = {p["protein_id"] for p in proteins} | {name for p in proteins for name in _symbols(p)}
    unmet = [row.name for row in named if known.isdisjoint({*row.ids, *row.genes})]
    unseen = [p["gene"] or p["protein_id"] for p in proteins if p["protein_id"] not in by_id | by_gene]
    changed_names = notes_on_genes(row.name for row in named)
    notes = (*listed.notes, *changed_names, *_unjoined(listed.path.name, len(named), unmet, unseen))
    return Seen(backbone, len(listed.rows), len(proteins), len(by_id), len(by_gene), len(changed), version, notes)


def _unjoined(table: str, rows_named: int, unmet: Sequence[str], unseen: Sequence[str]) -> Iterator[str]:
    """Yield which rows matched no protein of the store, and which proteins no row."""
    if unmet:
        nothing = "warning: nothing joined: " if len(unmet) == rows_named else ""
        yield f"{nothing}rows of {table} that match no protein of the store: {abridged(unmet)}"
    if unseen:
        yield f"proteins of the store that {table} does not name: {abridged(unseen)}"


@dataclass(frozen=True)
class _NamedProteins:
    """What one row names: as written, as ids, and as symbols in lower case."""

    name: str
    ids: frozenset[str]
    genes: frozenset[str]


def _named(table: TextTable, id_column: str | None, gene_column: str | None) -> list[_NamedProteins]:
    """Return what each row names, without rows that name nothing."""
    of_id, of_gene = _columns(table, id_column, gene_column)
    rows_named = []
    for row in table.rows:
        identifiers, symbols = row.get(of_id or "", ""), row.get(of_gene or "", "")
        ids = frozenset(i for item in split_identifiers(identifiers) if (i := protein_id(item)))
        genes = frozenset(gene.lower() for gene in split_genes(symbols, identifiers))
        if ids or genes:
            rows_named.append(_NamedProteins(symbols or identifiers, ids, genes))
    return rows_named


def _columns(table: TextTable, id_column: str | None, gene_column: str | None) -> tuple[str | None, str | None]:
    """Return the columns of ids and symbols; `Gene` contains ids only if some of its values are ids, as in HPA's."""
    columns = table.columns if table.rows else ()
    for asked in (id_column, gene_column):
        if asked is not None and asked not in columns:
            raise EmbstoreError(f"{table.path} has no column {asked!r}; it has: {', '.join(columns) or 'no rows'}")
    known = known_columns(columns)
    of_ids = (name for name in ID_COLUMNS if name in columns and (name != "Gene" or _has_ids(table, name)))
    of_id = id_column or next(of_ids, known.get("protein"))
    of_genes = (*(name for name in GENE_COLUMNS if name in columns), known.get("gene"))
    of_gene = gene_column or next((name for name in of_genes if name != of_id), None)
    if of_id is None and of_gene is None:
        raise EmbstoreError(
            f"{table.path} has the columns {', '.join(columns) or '(no rows)'}; wanted protein ids or gene "
            "symbols: name one with --id-column or --gene-column"
        )
    return of_id, of_gene


def _has_ids(table: TextTable, column: str) -> bool:
    return any(is_accession(item) for row in table.rows for item in split_identifiers(row[column]))


def _symbols(protein: ProteinRow) -> set[str]:
    return {name.lower() for name in (protein["gene"], *(protein["synonyms"] or [])) if name}
