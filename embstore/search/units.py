"""The units that can be searched in one space, as columns: one row for each vector, in the order of ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from embstore.store import Store, embeddings_name, rows, select_columns, sql_text

STRICTEST_FIRST = ("grade3", "grade2plus")
LABELS_SQL = """
    SELECT label_set, subject_id, location FROM labels
    WHERE subject_id IN (SELECT unnest($subjects::VARCHAR[]))
    ORDER BY label_set, grade DESC NULLS LAST, location
"""
OF_LIST, OF_KEY = "\x1f", "\x1e"  # separators that occur in no id


class UnitRow(TypedDict):
    """One searched unit, with its locations."""

    id: str
    dataset: str
    gene: str
    protein_ids: list[str]
    group_id: str | None
    image_id: str | None
    locations: str  # separated by ";", from the strictest label set that has any


def read_units(store: Store, digest: str) -> pa.Table:
    """Return the units that have a vector in a space, in the order of their ids.

    Columns: id, dataset, gene, protein_ids, group_id, image_id.
    """
    sql = sql_text("embstore.store", "units_in_space", embeddings=embeddings_name(digest))
    return select_columns(store, sql, {"space": digest})


def is_of_proteins(units: pa.Table, protein_ids: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which units are of one of the proteins, bool (n,)."""
    column = units["protein_ids"].combine_chunks()
    named = pc.is_in(pc.list_flatten(column), value_set=pa.array(protein_ids, pa.string()))
    mask = np.zeros(units.num_rows, bool)
    mask[pc.list_parent_indices(column).filter(named).to_numpy()] = True
    return mask


def has_gene(units: pa.Table, symbol: str) -> npt.NDArray[np.bool_]:
    """Return which units have this gene symbol, in upper or lower case, bool (n,).

    If a unit has different numbers of genes and protein ids, the table `proteins` cannot match them.
    """
    listed = [genes for genes in pc.unique(units["gene"]).to_pylist() if genes]
    matching = [genes for genes in listed if symbol.lower() in genes.lower().split(";")]
    mask: npt.NDArray[np.bool_] = pc.is_in(units["gene"], value_set=pa.array(matching, pa.string())).to_numpy()
    return mask


def number_proteins(units: pa.Table) -> npt.NDArray[np.int64]:
    """Return an index for each unit, int64 (n,): the same for units of one protein and dataset."""
    protein = pc.binary_join(units["protein_ids"], OF_LIST)
    keys = pc.binary_join_element_wise(units["dataset"], protein, OF_KEY).combine_chunks()
    numbers: npt.NDArray[np.int64] = keys.dictionary_encode().indices.to_numpy().astype(np.int64)
    return numbers


def located_rows(store: Store, units: pa.Table, numbers: Sequence[int]) -> list[UnitRow]:
    """Return a few units as dictionaries, with their locations."""
    few: list[UnitRow] = units.take(pa.array(numbers, pa.int64())).to_pylist()
    labels: dict[tuple[str, str], dict[str, list[str]]] = {}
    for label in rows(store, LABELS_SQL, {"subjects": [subject for unit in few for subject in _subjects(unit)]}):
        dataset, scheme = label["label_set"].split("/", 1)
        labels.setdefault((dataset, label["subject_id"]), {}).setdefault(scheme, []).append(label["location"])
    for unit in few:
        unit["locations"] = _locations(unit, labels)
    return few


def _subjects(unit: UnitRow) -> list[str]:
    return [*(unit["protein_ids"] or []), *([unit["image_id"]] if unit["image_id"] else []), unit["id"]]


def _locations(unit: UnitRow, labels: dict[tuple[str, str], dict[str, list[str]]]) -> str:
    for subject in _subjects(unit):
        schemes = labels.get((unit["dataset"], subject), {})
        for scheme in (*STRICTEST_FIRST, *schemes):
            if scheme in schemes:
                return ";".join(schemes[scheme])
    return ""
