"""External embeddings: the rows of a file become `profiles`, and their vectors a space of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np

from embstore.arrays import Float32s
from embstore.backbones.record import HAND_MADE_PRECISION
from embstore.backbones.registry import backbone_records
from embstore.errors import EmbstoreError
from embstore.ids import image_id, protein_ids, split_genes
from embstore.ingest.failures import record_failures
from embstore.ingest.labels import set_labels
from embstore.ingest.report import Report
from embstore.ingest.run import opened
from embstore.ingest.work import check_dataset
from embstore.progress import Progress
from embstore.sources.columns import said_of_genes, said_of_ids
from embstore.sources.record import Failure, Label, Subject
from embstore.sources.vectors import Columns, ExternalEmbeddings, read_vectors
from embstore.space import Space
from embstore.store import (
    ProfileRow,
    Store,
    add_proteins,
    add_space,
    embeddings_name,
    list_spaces,
    put_vectors,
    quoted,
    rows,
)


def import_embeddings(
    store: Store | str | Path,
    path: str | Path,
    *,
    dataset: str,
    backbone: str,
    embeddings: str | None = None,
    id_column: str | None = None,
    gene_column: str | None = None,
    label_column: str | None = None,
    unlabelled: str | None = None,
    header: bool = True,
    table: str | Path | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Import embeddings that were computed elsewhere: each row of the file becomes a profile with a vector.

    The vectors make a space named `backbone`. `embeddings` is the key of an array, or column patterns such as
    `FS*,FP*`; without it, the only array, or every column that has no other meaning. `id_column`, `gene_column` and
    `label_column` name the columns of protein ids, genes and locations; `unlabelled` is the label that means none. The
    columns of a table without a `header` are called 1, 2, 3, ...; `table` names the rows of a .npy.

    Vectors are stored as float32, since hand-made numbers may overflow float16. Rows that contain NaN, and rows without
    an id or gene where a column was named for it, become rows of `failures`. A rerun on the same file finds nothing to
    do; a row whose vector changed is replaced, one that is gone from the file or is refused now loses its vector; the
    report counts both. With `dry_run` nothing is written.
    """
    check_dataset(dataset)
    path = Path(path).resolve()
    columns = Columns(embeddings, id_column, gene_column, label_column, unlabelled, header, table)
    external = read_vectors(path, columns)
    space = _space(backbone, external.features)
    profiles, failures = _profiles(path, dataset, external, named=bool(id_column or gene_column))
    report = Report(dataset, images=len(external.ids), unit="profile", failures=failures)
    report.without_protein = sum(not profile["protein_ids"] for profile in profiles)
    report.notes += said_of_ids(external.ids, id_column) if id_column else ()
    report.notes += said_of_genes(external.genes)
    if dry_run:
        report.images_in = len(profiles)
        return report
    store = opened(store)
    _open_space(store, space, external.vectors.shape[1])
    add_proteins(store, [(profile["protein_ids"], profile["genes"]) for profile in profiles])
    report.labels_changed = set_labels(store, dataset, *_labels(path, columns, external, profiles))
    _write(store, space, profiles, external, report, path=path)
    record_failures(store, failures, usable=[f"{path}:{external.lines[profile['row']]}" for profile in profiles])
    if progress:
        progress("vectors", len(profiles), len(profiles))
    return report


def _write(
    store: Store,
    space: Space,
    profiles: Sequence[ProfileRow],
    embeddings: ExternalEmbeddings,
    report: Report,
    *,
    path: Path,
) -> None:
    """Write the profiles and vectors that are new or changed, and delete those of rows that are gone."""
    keys = [profile["profile_id"] for profile in profiles]
    known = _stored_profiles(store, report.dataset)
    stored, same = _compare(store, space.digest, keys, embeddings.vectors[[profile["row"] for profile in profiles]])
    new = [profile for profile in profiles if profile["profile_id"] not in same]
    changed = [p for p in profiles if p["profile_id"] not in same or _renamed(p, known.get(p["profile_id"]))]
    store.upsert("profiles", changed)
    if new:
        put_vectors(store, space.digest, [p["profile_id"] for p in new], embeddings.vectors[[p["row"] for p in new]])
        report.vectors_in = {space.backbone: len(new)}
    report.vectors_replaced = sum(profile["profile_id"] in stored for profile in new)
    if gone := sorted(k for k in stored.intersection(known).difference(keys) if known[k]["source"] == str(path)):
        store.delete(embeddings_name(space.digest), f"id IN ({', '.join(quoted(key) for key in gone)})")
    report.vectors_deleted = len(gone)
    report.done_before = len(same)


def _space(backbone: str, features: str) -> Space:
    if not re.fullmatch(r"[\w.+-]+", backbone) or backbone in backbone_records():
        raise EmbstoreError(
            f"external embeddings cannot be called {backbone!r}; wanted a name of letters, digits, '.', '_', '+' and "
            f"'-' that is no backbone of embstore ({', '.join(backbone_records())})"
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


def _profiles(
    path: Path, dataset: str, embeddings: ExternalEmbeddings, *, named: bool
) -> tuple[list[ProfileRow], list[Failure]]:
    """Return a row of `profiles` for each row of the file that can go in, and a failure for each that cannot."""
    proteins = [protein_ids(i, g) for i, g in zip(embeddings.ids, embeddings.genes, strict=True)]
    failures = _failures(path, embeddings, proteins, named=named)
    bad = {failure.source for failure in failures}
    profiles: list[ProfileRow] = []
    for row, key in enumerate(_keys(path, dataset, embeddings, proteins)):
        profile: ProfileRow = {
            "profile_id": key,
            "dataset": dataset,
            "protein_ids": proteins[row],
            "genes": split_genes(embeddings.genes[row], embeddings.ids[row]),
            "source": str(path),
            "row": row,
        }
        if f"{path}:{embeddings.lines[row]}" not in bad:
            profiles.append(profile)
    return profiles, failures


def _keys(path: Path, dataset: str, embeddings: ExternalEmbeddings, proteins: Sequence[Sequence[str]]) -> list[str]:
    """Return a profile id for each row; several rows of one protein are told apart by their number among those."""
    seen: dict[str, int] = {}
    keys = []
    for row, ids in enumerate(proteins):
        name = embeddings.ids[row].strip() or (ids[0] if ids else f"{path.name}:{row}")
        seen[name] = seen.get(name, 0) + 1
        keys.append(image_id(dataset, name if seen[name] == 1 else f"{name}#{seen[name]}"))
    return keys


def _failures(
    path: Path, embeddings: ExternalEmbeddings, proteins: Sequence[Sequence[str]], *, named: bool
) -> list[Failure]:
    finite = np.isfinite(embeddings.vectors).min(axis=1, initial=True)
    failures = []
    for row, ids in enumerate(proteins):
        name, where = embeddings.ids[row] or embeddings.genes[row], f"{path}:{embeddings.lines[row]}"
        if named and not ids:
            failures.append(Failure(where, "vectors", "no protein id and no gene", "fill in one of them"))
        elif not finite[row]:
            name = name or f"row {row + 1}"
            count = int((~np.isfinite(embeddings.vectors[row])).sum())
            error = f"the vector of {name} holds {count} numbers that are missing or not finite in float32"
            failures.append(Failure(where, "vectors", error, "fill in the numbers or take the row out"))
    return failures


def _stored_profiles(store: Store, dataset: str) -> dict[str, ProfileRow]:
    stored = rows(store, "SELECT * FROM profiles WHERE dataset = $dataset", {"dataset": dataset})
    return {row["profile_id"]: row for row in cast("list[ProfileRow]", stored)}


def _renamed(profile: ProfileRow, old: ProfileRow | None) -> bool:
    if old is None:
        return True
    return (old["protein_ids"], old["genes"]) != (profile["protein_ids"], profile["genes"])


def _labels(
    path: Path, columns: Columns, embeddings: ExternalEmbeddings, profiles: Sequence[ProfileRow]
) -> tuple[list[Label], list[Subject]]:
    """Return the labels of good rows, and every protein that they were asked of: one may have lost its last label."""
    if columns.label is None:
        return [], []
    pairs = [(protein, profile["row"]) for profile in profiles for protein in profile["protein_ids"]]
    labels = {
        Label(columns.label, "protein", protein, location, None, path.name)
        for protein, row in pairs
        for location in embeddings.locations[row]
    }
    asked = dict.fromkeys((columns.label, "protein", protein) for protein, _ in pairs)
    return sorted(labels, key=lambda label: (label.subject, label.location)), list(asked)


def _compare(store: Store, space: str, keys: Sequence[str], vectors: Float32s) -> tuple[set[str], set[str]]:
    """Return every id of the space, and those of `keys` whose stored vector is this very one."""
    stored = {row["id"] for row in rows(store, f'SELECT id FROM "{embeddings_name(space)}"')}
    positions = [i for i, key in enumerate(keys) if key in stored]
    old = store.matrix(space, [keys[i] for i in positions])
    same = {keys[i] for i, vector in zip(positions, old, strict=True) if np.array_equal(vector, vectors[i])}
    return stored, same
