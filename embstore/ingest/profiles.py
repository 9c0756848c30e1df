"""Bring your own vectors: a file's rows become `profiles` and a space of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from embstore.backbones.record import HAND_MADE_PRECISION
from embstore.backbones.registry import records
from embstore.errors import EmbstoreError
from embstore.ids import image_id, protein_ids, split_genes
from embstore.ingest.commit import record_failures
from embstore.ingest.labels import set_labels
from embstore.ingest.report import Report
from embstore.ingest.run import opened
from embstore.ingest.work import check_dataset
from embstore.progress import Progress
from embstore.sources.columns import said_of_ids
from embstore.sources.record import Fault, Label, Subject
from embstore.sources.vectors import Brought, Columns, read_vectors
from embstore.space import Space
from embstore.store import (
    Store,
    Vectors,
    add_proteins,
    add_space,
    embeddings_name,
    list_spaces,
    put_vectors,
    quoted,
    rows,
)


def bring_vectors(
    store: Store | str,
    path: Path,
    columns: Columns,
    *,
    dataset: str,
    backbone: str,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Bring a file's vectors into the store, one profile a row, under a space named `backbone`.

    Stored as float32, since hand-made numbers may overflow float16. Rows that hold NaN, and rows without an id or gene
    where a column was named for it, become rows of `failures`. A rerun on the same file finds nothing to do; a row
    whose vector changed is replaced, one that is gone from the file or is refused now loses its vector; both are said
    in the report. With `dry_run`, only the report is made.
    """
    check_dataset(dataset)
    path = path.resolve()
    brought = read_vectors(path, columns)
    space = _space(backbone, brought.features)
    profiles, faults = _profiles(path, dataset, brought, named=bool(columns.identifier or columns.gene))
    keys, good = [p["profile_id"] for p in profiles], [p["row"] for p in profiles]

    report = Report(dataset, images=len(brought.ids), unit="profile", failures=faults)
    report.without_protein = sum(not p["protein_ids"] for p in profiles)
    report.notes += said_of_ids(brought.ids, columns.identifier) if columns.identifier else ()
    if dry_run:
        report.images_in = len(profiles)
        return report
    store = opened(store)
    _open_space(store, space, brought.vectors.shape[1])
    add_proteins(store, [(p["protein_ids"], p["genes"]) for p in profiles])
    if changed := set_labels(store, dataset, *_labels(path, columns, brought, profiles)):
        report.notes.append(f"labels: {changed} subjects are new or changed")
    known = _stored_profiles(store, dataset)
    there, same = _compare(store, space.digest, keys, brought.vectors[good])
    fresh = [p for p in profiles if p["profile_id"] not in same]
    store.upsert("profiles", [p for p in profiles if p["profile_id"] not in same or _renamed(p, known)])
    if fresh:
        put_vectors(store, space.digest, [p["profile_id"] for p in fresh], brought.vectors[[p["row"] for p in fresh]])
    if replaced := sum(p["profile_id"] in there for p in fresh):
        report.notes.append(f"{replaced} of these replaced other vectors of the same rows")
    if gone := sorted(k for k in there.intersection(known).difference(keys) if known[k]["source"] == str(path)):
        store.delete(embeddings_name(space.digest), f"id IN ({', '.join(quoted(key) for key in gone)})")
        report.notes.append(f"{len(gone)} rows of this file are gone or refused now: their vectors were taken out")
    record_failures(store, faults, mended=[f"{path}:{brought.lines[row]}" for row in good])
    report.done_before, report.vectors_in = len(same), {backbone: len(fresh)} if fresh else {}
    if progress:
        progress("vectors", len(good), len(good))
    return report


def _space(backbone: str, features: str) -> Space:
    if not re.fullmatch(r"[\w.+-]+", backbone) or backbone in records():
        raise EmbstoreError(
            f"brought vectors cannot be called {backbone!r}; wanted a name of letters, digits, '.', '_', '+' and '-' "
            f"that is no backbone of embstore ({', '.join(records())})"
        )
    return Space(
        backbone=backbone,
        revision=1,
        weights_sha256=None,
        strategy="brought",
        roles=(),
        fill=0.0,
        crop_um=None,
        input_px=None,
        masked=False,
        intensity=f"as brought, features {features}",
        resampling="as brought",
        pooling="as brought",
        unit="protein",
        precision=HAND_MADE_PRECISION,
    )


def _open_space(store: Store, space: Space, dim: int) -> None:
    """Record the space; one name stands for one list of features, or search and bench would not know which is meant."""
    for known in list_spaces(store):
        if known["backbone"] == space.backbone and known["digest"] != space.digest:
            raise EmbstoreError(
                f"{space.backbone} holds vectors of {known['dim']} other features than the {dim} of this file; "
                "they cannot be compared: choose another --backbone name"
            )
    add_space(store, asdict(space) | {"digest": space.digest, "roles": []}, dim, half=False)


def _profiles(path: Path, dataset: str, brought: Brought, *, named: bool) -> tuple[list[dict[str, Any]], list[Fault]]:
    """Return a row of `profiles` for each row of the file that can go in, and a fault for each that cannot."""
    proteins = [protein_ids(i, g) for i, g in zip(brought.ids, brought.genes, strict=True)]
    faults = _faults(path, brought, proteins, named=named)
    bad = {fault.source for fault in faults}
    keys = _keys(path, dataset, brought, proteins)
    profiles = [
        {
            "profile_id": keys[row],
            "dataset": dataset,
            "protein_ids": proteins[row],
            "genes": split_genes(brought.genes[row], brought.ids[row]),
            "source": str(path),
            "row": row,
        }
        for row in range(len(keys))
        if f"{path}:{brought.lines[row]}" not in bad
    ]
    return profiles, faults


def _keys(path: Path, dataset: str, brought: Brought, proteins: Sequence[Sequence[str]]) -> list[str]:
    """Return a profile id for each row; several rows of one protein are told apart by their number among those."""
    seen: dict[str, int] = {}
    keys = []
    for row, ids in enumerate(proteins):
        name = brought.ids[row].strip() or (ids[0] if ids else f"{path.name}:{row}")
        seen[name] = seen.get(name, 0) + 1
        keys.append(image_id(dataset, name if seen[name] == 1 else f"{name}#{seen[name]}"))
    return keys


def _faults(path: Path, brought: Brought, proteins: Sequence[Sequence[str]], *, named: bool) -> list[Fault]:
    finite = np.isfinite(brought.vectors).min(axis=1, initial=True)
    faults = []
    for row, ids in enumerate(proteins):
        name, where = brought.ids[row] or brought.genes[row], f"{path}:{brought.lines[row]}"
        if named and not ids:
            faults.append(Fault(where, "vectors", "no protein id and no gene", "fill in one of them"))
        elif not finite[row]:
            name = name or f"row {row + 1}"
            count = int((~np.isfinite(brought.vectors[row])).sum())
            error = f"the vector of {name} holds {count} numbers that are missing or not finite in float32"
            faults.append(Fault(where, "vectors", error, "fill in the numbers or take the row out"))
    return faults


def _stored_profiles(store: Store, dataset: str) -> dict[str, dict[str, Any]]:
    found = rows(store, "SELECT * FROM profiles WHERE dataset = $dataset", {"dataset": dataset})
    return {row["profile_id"]: row for row in found}


def _renamed(profile: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> bool:
    old = known.get(profile["profile_id"])
    return old is None or any(old[column] != profile[column] for column in ("protein_ids", "genes"))


def _labels(
    path: Path, columns: Columns, brought: Brought, profiles: Sequence[Mapping[str, Any]]
) -> tuple[list[Label], list[Subject]]:
    """Return the labels of good rows, and every protein that they were asked of: one may have lost its last label."""
    if columns.label is None:
        return [], []
    pairs = [(protein, p["row"]) for p in profiles for protein in p["protein_ids"]]
    found = {
        Label(columns.label, "protein", protein, location, None, path.name)
        for protein, row in pairs
        for location in brought.locations[row]
    }
    asked = dict.fromkeys((columns.label, "protein", protein) for protein, _ in pairs)
    return sorted(found, key=lambda label: (label.subject, label.location)), list(asked)


def _compare(store: Store, space: str, keys: Sequence[str], vectors: Vectors) -> tuple[set[str], set[str]]:
    """Return every id that the space holds, and those of `keys` whose vector there is this very one."""
    there = {row["id"] for row in rows(store, f'SELECT id FROM "{embeddings_name(space)}"')}
    held = [i for i, key in enumerate(keys) if key in there]
    stored = store.matrix(space, [keys[i] for i in held])
    same = {keys[i] for i, vector in zip(held, stored, strict=True) if np.array_equal(vector, vectors[i])}
    return there, same
