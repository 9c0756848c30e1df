"""External embeddings: the rows of a file become `profiles`, and their vectors a space of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embstore.arrays import Bools, Int64s
from embstore.backbones.record import HAND_MADE_PRECISION
from embstore.backbones.registry import check_free
from embstore.errors import EmbstoreError
from embstore.ingest.external_rows import (
    ProfileRows,
    StoredRows,
    in_blocks,
    profile_rows,
    refuse_others,
    same_vectors,
    stored_rows,
)
from embstore.ingest.failures import log_failure, record_failures
from embstore.ingest.fill import FilledEmbeddings, filled
from embstore.ingest.history import Job, Recording, given, recorded
from embstore.ingest.labels import set_labels
from embstore.ingest.report import Report
from embstore.ingest.run import opened, opened_if_any
from embstore.ingest.work import check_dataset
from embstore.progress import Progress, tell
from embstore.sources.columns import said_of_genes, said_of_ids
from embstore.sources.record import Failure, Label
from embstore.sources.vector_columns import Columns, with_names
from embstore.sources.vectors import ExternalEmbeddings, read_vectors
from embstore.space import Space
from embstore.store import (
    Store,
    add_proteins,
    add_space,
    delete_ids,
    embeddings_name,
    join_groups,
    list_spaces,
    put_vectors,
)


@dataclass(frozen=True, repr=False)
class Import:
    """One file to import: its rows, what is stored of them, and which are whole and which are in the store already."""

    dataset: str
    space: Space
    data: FilledEmbeddings
    rows: ProfileRows
    stored: StoredRows
    unusable: Int64s  # (n,) numbers of each row that are missing or not finite
    same: Bools  # (n,) the vector is in the store
    failures: list[Failure]
    good: Bools  # (n,) the row can go in

    @property
    def source(self) -> str:
        """Return the file's path, as profiles record it."""
        return str(self.data.external.path)

    @property
    def changed(self) -> Bools:
        """Return which good rows have another vector, or other names, than the store."""
        return self.good & ((self.stored.embedded & ~self.same) | self.stored.renamed)


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
    columns: Mapping[str, str] | None = None,
    fill_nan: str | None = None,
    replace: bool = False,
    dry_run: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Import embeddings that were computed elsewhere: each row of the file becomes a profile with a vector.

    The vectors make a space named `backbone`. `embeddings` is the key of an array, or column patterns such as
    `FS*,FP*`; without it, the only array, or every column that has no other meaning (numbers of rows and bookkeeping
    such as Metadata_Plate are left out; the report's notes name them). `id_column`, `gene_column` and `label_column`
    name the columns of protein ids, genes and locations, and so does `columns` (`{"Symbol": "gene"}`; names: ensg_id,
    uniprot_id, gene, locations); `unlabelled` is the label that means none. The columns of a
    table without a `header` are called 1, 2, 3, ...; `table` names the rows of a .npy. `path` may be a folder of .npy
    files of one vector each.

    Vectors are stored as float32, since hand-made numbers may overflow float16. Rows that contain NaN, and rows without
    an id or gene where a column was named for it, become rows of `failures`; `fill_nan` fills in `mean` (of the
    column's finite numbers in this file) or `0` instead. Memory does not grow with the vectors of the file.

    A rerun on the same file finds nothing to do; a row whose vector changed is replaced, one that is gone from the file
    or is refused now loses its vector; the report counts both. Rows that came from another file are replaced only with
    `replace`; else they are an EmbstoreError before anything is written. With `dry_run` nothing is written. A store
    that is named by its path is made where there is none, by `force` also in a folder that contains other files.
    """
    job = Job("import", given(locals()))
    check_dataset(dataset)
    given_columns = Columns(embeddings, id_column, gene_column, label_column, unlabelled, header, table)
    meanings = with_names(given_columns, columns)
    external = read_vectors(Path(path).resolve(), meanings)
    space = _space(backbone, external.features)
    data = filled(external, fill_nan)
    named = bool(meanings.identifier or meanings.gene)
    plan = _plan(opened_if_any(store, force=force), dataset, space, data, named=named, progress=progress)
    if not replace:
        refuse_others(plan.stored, plan.rows, plan.changed, dataset=dataset, name=external.path.name)
    report = _report(plan, meanings)
    if not dry_run:
        target = opened(store, force=force)
        with recorded(target, job, report) as recording:
            recording.spaces = {space.digest: backbone}
            _write(target, plan, report, meanings, recording=recording, progress=progress)
    return report


def _plan(
    store: Store | None,
    dataset: str,
    space: Space,
    data: FilledEmbeddings,
    *,
    named: bool,
    progress: Progress | None,
) -> Import:
    """Read the whole file once and compare it with the store; nothing is written."""
    external = data.external
    if store is not None:
        _refuse_other_features(store, space, external.dim)
    rows = profile_rows(dataset, external)
    stored = stored_rows(store, space.digest, dataset, str(external.path), rows)
    unusable, same = np.zeros(len(external), np.int64), np.zeros(len(external), bool)
    for part, block in in_blocks(data.blocks()):
        unusable[part] = (~np.isfinite(block)).sum(axis=1)
        same[part] = same_vectors(store, space.digest, rows.keys[part], stored.embedded[part], block)
        tell(progress, "rows", part.stop, len(external))
    nameless = np.array([not ids for ids in rows.proteins]) & named
    failures = _failures(external, nameless, unusable)
    return Import(dataset, space, data, rows, stored, unusable, same, failures, ~nameless & (unusable == 0))


def _report(plan: Import, columns: Columns) -> Report:
    external = plan.data.external
    report = Report(plan.dataset, images=len(external), unit="profile", failures=plan.failures)
    report.images_in = int(plan.good.sum())
    report.without_protein = sum(not plan.rows.proteins[row] for row in np.flatnonzero(plan.good).tolist())
    report.notes += external.notes + plan.data.notes
    report.notes += said_of_ids(external.ids, columns.identifier) if columns.identifier else ()
    report.notes += said_of_genes(external.genes)
    return report


def _write(
    store: Store, plan: Import, report: Report, columns: Columns, *, recording: Recording, progress: Progress | None
) -> None:
    """Write the profiles and vectors that are new or changed, delete those of rows that are gone, and set labels."""
    add_space(
        store, asdict(plan.space) | {"digest": plan.space.digest, "roles": []}, plan.data.external.dim, half=False
    )
    good = np.flatnonzero(plan.good).tolist()
    pairs = dict.fromkeys((tuple(plan.rows.proteins[row]), tuple(plan.rows.genes[row])) for row in good)
    add_proteins(store, list(pairs))
    new = plan.good & ~plan.same
    recording.planned, report.done_before = int(new.sum()), int((plan.good & plan.same).sum())
    kept = [plan.rows.keys[row] for row in good]
    gone = plan.stored.own_ids.filter(pc.invert(pc.is_in(plan.stored.own_ids, value_set=_strings(kept)))).to_pylist()
    if new.any() or gone:
        recording.begin()
    _write_rows(store, plan, new, progress)
    report.images_in = 0
    report.vectors_in = {plan.space.backbone: int(new.sum())} if new.any() else {}
    report.vectors_replaced = int((new & plan.stored.embedded).sum())
    delete_ids(store, embeddings_name(plan.space.digest), "id", sorted(gone))
    report.vectors_deleted = len(gone)
    report.labels_changed = _set_labels(store, plan, columns.scheme)
    join_groups(store)
    for failure in plan.failures:
        log_failure(failure)
    record_failures(store, plan.failures, usable=[plan.source])


def _write_rows(store: Store, plan: Import, new: Bools, progress: Progress | None) -> None:
    """Write profiles and vectors block by block: a kill in between leaves what the next run completes."""
    described = plan.good & (~plan.stored.known | plan.changed)
    if not (new | described).any():
        return
    for part, block in in_blocks(plan.data.blocks()):
        profiles = np.flatnonzero(described[part]) + part.start
        store.upsert("profiles", plan.rows.to_arrow(profiles, dataset=plan.dataset, source=plan.source))
        rows = np.flatnonzero(new[part]).tolist()
        if rows:
            keys = [plan.rows.keys[part.start + row] for row in rows]
            put_vectors(store, plan.space.digest, keys, block[rows])
        tell(progress, "vectors", part.stop, len(new), failures=len(plan.failures))


def _space(backbone: str, features: str) -> Space:
    check_free(backbone)
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


def _refuse_other_features(store: Store, space: Space, dim: int) -> None:
    """Refuse a name that stands for another list of features: search and bench would not know which is meant."""
    for known in list_spaces(store):
        if known["backbone"] == space.backbone and known["digest"] != space.digest:
            raise EmbstoreError(
                f"{space.backbone} holds vectors of {known['dim']} other features than the {dim} of this file; "
                "they cannot be compared: choose another --backbone name"
            )


def _failures(external: ExternalEmbeddings, nameless: Bools, unusable: Int64s) -> list[Failure]:
    """Return a failure for each row that names no protein though it should, or whose vector is not whole."""
    bad = np.flatnonzero(nameless | (unusable > 0)).tolist()
    if not bad:
        return []
    failures = []
    for row, place in zip(bad, external.sources(bad), strict=True):
        where = f"{external.path}:{place}"
        if nameless[row]:
            failures.append(Failure(where, "vectors", "no protein id and no gene", "fill in one of them"))
            continue
        name = external.ids[row] or external.genes[row] or f"row {row + 1}"
        error = f"the vector of {name} holds {unusable[row]} numbers that are missing or not finite in float32"
        failures.append(Failure(where, "vectors", error, "fill in the numbers or take the row out (--fill-nan fills)"))
    return failures


def _set_labels(store: Store, plan: Import, scheme: str | None) -> int:
    """Set the labels of good rows, and of every protein that they were asked of: one may have lost its last label."""
    if scheme is None:
        return 0
    external, name = plan.data.external, plan.data.external.path.name
    pairs = [(protein, row) for row in np.flatnonzero(plan.good).tolist() for protein in plan.rows.proteins[row]]
    labels = {
        Label(scheme, "protein", protein, location, None, name)
        for protein, row in pairs
        for location in external.locations[row]
    }
    asked = dict.fromkeys((scheme, "protein", protein) for protein, _ in pairs)
    ordered = sorted(labels, key=lambda label: (label.subject, label.location))
    return set_labels(store, plan.dataset, ordered, list(asked))


def _strings(values: Sequence[str]) -> pa.Array:
    return pa.array(values, pa.string())
