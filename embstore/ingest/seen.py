"""Which proteins a backbone saw when it was trained, by a table that the user gives.

A network that was trained on images of a protein has an advantage on it: scores can be asked of the others alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pyarrow as pa

from embstore.backbones.registry import known_names
from embstore.errors import EmbstoreError, choices
from embstore.ids import protein_id, split_genes, split_identifiers
from embstore.sources.tables import read_table
from embstore.store import ProteinRow, Store, list_spaces, rows
from embstore.tabular import Tabular, arrow_table

# as OpenCell, HPA and their users call them; HPA's `Gene` holds Ensembl ids beside `Gene name`
ID_COLUMNS = ("protein_id", "ensg_id", "ENSG", "ensembl_id", "Ensembl", "Gene", "uniprot_id", "uniprot", "UniProt")
GENE_COLUMNS = ("gene", "gene_name", "Gene name", "target_name", "gene_symbol", "symbol")


@dataclass(frozen=True, repr=False)
class Seen(Tabular):
    """How a table of seen proteins met the store's: `by_id` + `by_gene` of `proteins` were seen, `changed` are new."""

    backbone: str
    rows: int
    proteins: int
    by_id: int
    by_gene: int
    changed: int
    version: int = 0  # of the table `proteins` now

    def to_arrow(self) -> pa.Table:
        """Return the counts as one row."""
        return arrow_table([self], Seen)

    @property
    def headline(self) -> str:
        """Return how many of the store's proteins the backbone saw."""
        return f"{self.backbone} saw {self.by_id + self.by_gene} of {self.proteins} proteins in pretraining"


def set_seen(
    store: Store, table: str | Path, *, backbone: str, id_column: str | None = None, gene_column: str | None = None
) -> Seen:
    """Record in `proteins.seen_in_pretraining` which proteins a backbone was trained on: exactly those of the table.

    `table` is a CSV or TSV, one row a protein; ids are matched first, then gene symbols. Proteins that the table does
    not name lose the mark; those that come into the store later have none until this is run again. Raises EmbstoreError
    for a backbone that neither the registry nor the store knows, and a table without such columns.
    """
    names = set(known_names()) | {space["backbone"] for space in list_spaces(store)}
    if backbone not in names:
        raise EmbstoreError(choices(backbone, "backbone", names))
    table = Path(table)
    listed = read_table(table)
    ids, genes = _named(table, listed, id_column, gene_column)
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
    return Seen(backbone, len(listed), len(proteins), len(by_id), len(by_gene), len(changed), version)


def _named(
    path: Path, listed: Sequence[dict[str, str]], id_column: str | None, gene_column: str | None
) -> tuple[set[str], set[str]]:
    """Return the protein ids and the gene symbols (in lower case) that a table names."""
    columns = list(listed[0]) if listed else []
    for asked in (id_column, gene_column):
        if asked is not None and asked not in columns:
            raise EmbstoreError(f"{path} has no column {asked!r}; it has: {', '.join(columns) or 'no rows'}")
    of_id = id_column or next((name for name in ID_COLUMNS if name in columns), None)
    of_gene = gene_column or next((name for name in GENE_COLUMNS if name in columns and name != of_id), None)
    if of_id is None and of_gene is None:
        raise EmbstoreError(
            f"{path} has the columns {', '.join(columns) or '(no rows)'}; wanted protein ids or gene symbols: "
            "name one with --id-column or --gene-column"
        )
    ids = {protein_id(i) for row in listed for i in split_identifiers(row[of_id])} if of_id else set()
    named = ((row[of_gene], row[of_id] if of_id else "") for row in listed) if of_gene else ()
    genes = {gene.lower() for names, beside in named for gene in split_genes(names, beside)}
    return {i for i in ids if i}, genes


def _symbols(protein: ProteinRow) -> set[str]:
    return {name.lower() for name in (protein["gene"], *(protein["synonyms"] or [])) if name}
