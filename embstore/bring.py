"""Bring your own vectors: a file's rows become `profiles` and a space of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from embstore.backbones.record import HAND_MADE_PRECISION, Space
from embstore.commit import record_failures
from embstore.errors import EmbstoreError
from embstore.ids import image_id, protein_ids, split_list
from embstore.ingest import Progress, Report, check_dataset, opened
from embstore.proteins import Subject, add_proteins, set_labels
from embstore.query import rows
from embstore.schema import embeddings_name
from embstore.sources.record import Fault, Label
from embstore.sources.vectors import Brought, Columns, read_vectors
from embstore.spaces import list_spaces
from embstore.store import Store


def bring_vectors(
    store: Store | str, path: Path, columns: Columns, *, dataset: str, backbone: str, progress: Progress | None = None
) -> Report:
    """Bring a file's vectors into the store, one profile a row, under a space named `backbone`.

    Stored as float32, since hand-made numbers may overflow float16. Rows without an id or gene, and rows that hold NaN,
    become rows of `failures`. A rerun on the same file finds nothing to do; a row whose vector changed is replaced.
    """
    check_dataset(dataset)
    path = path.resolve()
    brought = read_vectors(path, columns)
    store = opened(store)
    space = _open_space(store, backbone, brought.vectors.shape[1])
    proteins = [protein_ids(i, g) for i, g in zip(brought.ids, brought.genes, strict=True)]
    faults = list(_faults(path, brought, proteins))
    bad = {int(fault.source.rsplit(":", 1)[1]) for fault in faults}
    good = [row for row in range(len(brought.ids)) if row not in bad]
    keys = _keys(dataset, brought, proteins)

    report = Report(dataset, images=len(brought.ids), failures=faults)
    add_proteins(store, [(proteins[row], split_list(brought.genes[row])) for row in good])
    if changed := set_labels(store, dataset, *_labels(path, columns, brought, proteins, good)):
        report.notes.append(f"labels: {changed} subjects are new or changed")
    renamed = _changed_profiles(store, dataset, keys, brought, proteins)
    todo = _missing(store, space, [keys[row] for row in good], brought.vectors[good])
    fresh = [good[i] for i in todo]
    profiles = [
        {
            "profile_id": keys[row],
            "dataset": dataset,
            "protein_ids": proteins[row],
            "genes": split_list(brought.genes[row]),
            "source": str(path),
            "row": row,
        }
        for row in sorted({*fresh, *renamed.intersection(good)})
    ]
    store.upsert("profiles", profiles)
    if fresh:
        store.put_vectors(space, [keys[row] for row in fresh], brought.vectors[fresh])
    record_failures(store, faults, mended=[f"{path}:{row}" for row in good])
    report.done_before, report.vectors_in = len(good) - len(fresh), {backbone: len(fresh)} if fresh else {}
    if progress:
        progress("vectors", len(good), len(good))
    return report


def _open_space(store: Store, backbone: str, dim: int) -> str:
    space = Space(
        backbone=backbone,
        revision=1,
        weights_sha256=None,
        strategy="brought",
        roles=(),
        fill=0.0,
        crop_um=None,
        input_px=None,
        masked=False,
        intensity="as brought",
        pooling="as brought",
        unit="protein",
        precision=HAND_MADE_PRECISION,
    )
    for known in list_spaces(store):
        if known["digest"] == space.digest and known["dim"] != dim:
            raise EmbstoreError(
                f"{backbone} holds vectors of {known['dim']} numbers and this file has {dim}; "
                "they cannot be compared: choose another --backbone name"
            )
    store.add_space(asdict(space) | {"digest": space.digest, "roles": []}, dim, half=False)
    return space.digest


def _keys(dataset: str, brought: Brought, proteins: Sequence[Sequence[str]]) -> list[str]:
    """Return a profile id for each row; several rows of one protein are told apart by their number among those."""
    seen: dict[str, int] = {}
    keys = []
    for row, ids in enumerate(proteins):
        name = brought.ids[row].strip() or (ids[0] if ids else f"row {row}")
        seen[name] = seen.get(name, 0) + 1
        keys.append(image_id(dataset, name if seen[name] == 1 else f"{name}#{seen[name]}"))
    return keys


def _faults(path: Path, brought: Brought, proteins: Sequence[Sequence[str]]) -> list[Fault]:
    finite = np.isfinite(brought.vectors).min(axis=1, initial=True)
    faults = []
    for row, ids in enumerate(proteins):
        name = brought.ids[row] or brought.genes[row]
        if not ids:
            faults.append(Fault(f"{path}:{row}", "vectors", "no protein id and no gene", "fill in one of them"))
        elif not finite[row]:
            error = f"the vector of {name} holds {int((~np.isfinite(brought.vectors[row])).sum())} missing numbers"
            faults.append(Fault(f"{path}:{row}", "vectors", error, "fill in the numbers or take the row out"))
    return faults


def _changed_profiles(
    store: Store, dataset: str, keys: Sequence[str], brought: Brought, proteins: Sequence[Sequence[str]]
) -> set[int]:
    """Return the rows whose profile the store lacks or knows under other proteins or genes."""
    stored = {
        row["profile_id"]: (row["protein_ids"], row["genes"])
        for row in rows(store, "SELECT profile_id, protein_ids, genes FROM profiles WHERE dataset = ?", [dataset])
    }
    return {
        row
        for row, (key, ids) in enumerate(zip(keys, proteins, strict=True))
        if stored.get(key) != (list(ids), split_list(brought.genes[row]))
    }


def _labels(
    path: Path, columns: Columns, brought: Brought, proteins: Sequence[Sequence[str]], good: Sequence[int]
) -> tuple[list[Label], list[Subject]]:
    """Return the labels of good rows, and every protein that they were asked of: one may have lost its last label."""
    if columns.label is None:
        return [], []
    found = {
        Label(columns.label, "protein", protein, location, None, path.name)
        for row in good
        for protein in proteins[row]
        for location in brought.locations[row]
    }
    asked = dict.fromkeys((columns.label, "protein", protein) for row in good for protein in proteins[row])
    return sorted(found, key=lambda label: (label.subject, label.location)), list(asked)


def _missing(store: Store, space: str, keys: Sequence[str], vectors: np.ndarray) -> list[int]:
    """Return the positions of keys that the space lacks or holds another vector of."""
    there = {row["id"] for row in rows(store, f'SELECT id FROM "{embeddings_name(space)}"')}
    held = [i for i, key in enumerate(keys) if key in there]
    stored = store.matrix(space, [keys[i] for i in held])
    same = {i for i, vector in zip(held, stored, strict=True) if np.array_equal(vector, vectors[i])}
    return [i for i in range(len(keys)) if i not in same]
