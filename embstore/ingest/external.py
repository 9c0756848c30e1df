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
from embstore.ingest.external_labels import RowLabels, refuse_labels_of_nothing, row_labels, shared_note
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
from embstore.ingest.labels import check_levels, report_labels, set_labels
from embstore.ingest.own_units import compared_own, import_own, own_labels, own_units
from embstore.ingest.report import Report
from embstore.ingest.run import opened, opened_if_any
from embstore.ingest.work import check_dataset
from embstore.progress import Progress, tell
from embstore.sources.columns import notes_on_genes, notes_on_ids
from embstore.sources.location_map import LocationMap, read_location_map
from embstore.sources.record import Failure
from embstore.sources.vector_columns import Columns, with_names
from embstore.sources.vectors import ExternalEmbeddings, read_vectors
from embstore.space import Space
from embstore.store import (
    Store,
    add_proteins,
    add_space,
    delete_ids,
    delete_import_records,
    embeddings_name,
    join_groups,
    list_spaces,
    put_import_records,
    put_vectors,
)


@dataclass(frozen=True, repr=False)
class Import:
    """One file to import: its rows, what the store contains of them, and which rows are valid and which stored."""

    dataset: str
    space: Space
    data: FilledEmbeddings
    rows: ProfileRows
    stored: StoredRows
    unusable: Int64s  # (n,) how many numbers of each row are missing or not finite
    same: Bools  # (n,) the vector is in the store
    failures: list[Failure]
    good: Bools  # (n,) the row can be imported

    @property
    def source(self) -> str:
        """Return the file's path, as profiles record it."""
        return str(self.data.external.path)

    @property
    def changed(self) -> Bools:
        """Return which valid rows have another vector than in the store, (n,)."""
        return self.good & self.stored.embedded & ~self.same

    @property
    def renamed(self) -> Bools:
        """Return which valid rows are of other proteins or genes than in the store, (n,)."""
        return self.good & self.stored.renamed


def import_embeddings(
    store: Store | str | Path,
    path: str | Path,
    *,
    backbone: str,
    dataset: str | None = None,
    embeddings: str | None = None,
    id_column: str | None = None,
    gene_column: str | None = None,
    label_column: str | None = None,
    unlabelled: str | None = None,
    location_map: str | Path | None = None,
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

    Where `id_column` contains ids of the store's own cells or images, the vectors are theirs instead: a space of that
    unit, searched and scored like any other. These need no `dataset`; rows whose id the store lacks are failures, and
    vectors that the store already has are replaced only with `replace`.

    The vectors make a space named `backbone`. `embeddings` is the key of an array, or column patterns such as
    `FS*,FP*`; without it, the only array is used, or every column without another meaning (row numbers and bookkeeping
    such as Metadata_Plate are left out; the report's notes list them). `id_column`, `gene_column` and `label_column`
    name the columns of protein ids, genes and locations, as does `columns` (`{"Symbol": "gene"}`; names: ensg_id,
    uniprot_id, gene, locations); `unlabelled` is the label that means none, and `location_map` a table (`from`, `to`)
    of other names for locations, or a published vocabulary such as `hpa`. The columns of a table without a `header`
    are called 1, 2, 3, ...; `table` names the rows of a .npy. `path` may be a folder of .npy files of one vector each.

    Vectors are stored as float32, since hand-made numbers may overflow float16. Rows that contain NaN, and rows without
    an id or gene although a column was named for it, become rows of `failures`; `fill_nan` instead fills in `mean` (of
    the column's finite numbers in this file) or `0`. Memory does not grow with the vectors of the file.

    A rerun on the same file finds nothing to do. A row whose vector changed is replaced; a row that is missing from the
    file or refused now loses its vector; the report counts both. Rows that came from another file are replaced only
    with `replace`; otherwise EmbstoreError is raised before anything is written. With `dry_run`, nothing is written. If
    `store` is a path without a store, the store is created (with `force`, also in a folder that contains other files).
    """
    job = Job("import", given(locals()))
    if dataset is not None:
        check_dataset(dataset)
    given_columns = Columns(embeddings, id_column, gene_column, label_column, unlabelled, header, table)
    meanings = with_names(given_columns, columns)
    refuse_labels_of_nothing(meanings)
    renames = read_location_map(location_map)
    external = read_vectors(Path(path).resolve(), meanings)
    existing = opened_if_any(store, force=force)
    data = filled(external, fill_nan)
    units = own_units(existing, external, meanings, dataset)
    if existing is not None and units is not None:
        space = _space(backbone, external, existing, units.unit)
        own = compared_own(existing, space, data, units, progress)
        labels = own_labels(own, meanings.scheme, renames)
        return import_own(existing, own, labels, job, replace=replace, dry_run=dry_run, progress=progress)
    if dataset is None:
        raise EmbstoreError("the rows of the file have to belong to a dataset; name it: --dataset NAME")
    space = _space(backbone, external, existing)
    named = bool(meanings.identifier or meanings.gene)
    plan = _plan(existing, dataset, space, data, named=named, progress=progress)
    if not replace:
        refuse_others(
            plan.stored,
            plan.rows,
            changed=plan.changed,
            renamed=plan.renamed,
            dataset=dataset,
            name=external.path.name,
        )
    report = _report(plan, meanings)
    labels = _labels(plan, meanings.scheme, renames, report)
    if existing is not None:
        todo = "rename the column that --label-column names"
        check_levels(existing, dataset, labels.asked, external.path.name, todo)
    report_labels(report, existing, labels.mapped, labels.asked)
    if not dry_run:
        target = opened(store, force=force)
        with recorded(target, job, report) as recording:
            recording.spaces = {space.digest: backbone}
            _write(target, plan, report, labels, recording=recording, progress=progress)
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
    """Read the whole file once and compare it with the store; writes nothing."""
    external = data.external
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
    report.images_in, report.done_before = int((plan.good & ~plan.same).sum()), int((plan.good & plan.same).sum())
    report.without_protein = sum(not plan.rows.proteins[row] for row in np.flatnonzero(plan.good).tolist())
    report.notes += external.notes + plan.data.notes
    report.notes += notes_on_ids(external.ids, columns.identifier) if columns.identifier else ()
    report.notes += notes_on_genes(external.genes)
    return report


def _labels(plan: Import, scheme: str | None, location_map: LocationMap | None, report: Report) -> RowLabels:
    """Return the labels of the proteins of good rows, and report rows that share one; none without a label column."""
    good = np.flatnonzero(plan.good).tolist() if scheme else []
    subjects = [[(scheme or "", "protein", protein) for protein in proteins] for proteins in plan.rows.proteins]
    report.notes += shared_note(plan.data.external, good, subjects)
    return row_labels(plan.data.external, good, subjects, location_map)


def _write(
    store: Store, plan: Import, report: Report, labels: RowLabels, *, recording: Recording, progress: Progress | None
) -> None:
    """Write the profiles and vectors that are new or changed, delete those of missing rows, and set labels (writes)."""
    add_space(
        store, asdict(plan.space) | {"digest": plan.space.digest, "roles": []}, plan.data.external.dim, half=False
    )
    good = np.flatnonzero(plan.good).tolist()
    pairs = dict.fromkeys((tuple(plan.rows.proteins[row]), tuple(plan.rows.genes[row])) for row in good)
    add_proteins(store, list(pairs))
    new = plan.good & ~plan.same
    recording.planned = int(new.sum())
    kept = [plan.rows.keys[row] for row in good]
    gone = plan.stored.own_ids.filter(pc.invert(pc.is_in(plan.stored.own_ids, value_set=_strings(kept)))).to_pylist()
    if new.any() or gone:
        recording.begin()
    _write_rows(store, plan, new, progress)
    report.images_in = 0
    report.vectors_in = {plan.space.backbone: int(new.sum())} if new.any() else {}
    report.vectors_replaced = int((new & plan.stored.embedded).sum())
    delete_ids(store, embeddings_name(plan.space.digest), "id", sorted(gone))
    delete_import_records(store, plan.space.digest, sorted(gone))
    report.vectors_deleted = len(gone)
    mapped = labels.mapped
    report.labels_changed = set_labels(store, plan.dataset, mapped.labels, labels.asked, mapped=mapped)
    join_groups(store)
    for failure in plan.failures:
        log_failure(failure)
    record_failures(store, plan.failures, usable=[plan.source])


def _write_rows(store: Store, plan: Import, new: Bools, progress: Progress | None) -> None:
    """Write profiles and vectors block by block: if this is interrupted, the next run completes it (writes)."""
    described = plan.good & (~plan.stored.known | plan.renamed)
    if not (new | described).any():
        return
    for part, block in in_blocks(plan.data.blocks()):
        profiles = np.flatnonzero(described[part]) + part.start
        store.upsert("profiles", plan.rows.to_arrow(profiles, dataset=plan.dataset, source=plan.source))
        rows = np.flatnonzero(new[part])
        if len(rows):
            keys = [plan.rows.keys[part.start + row] for row in rows.tolist()]
            # before the vectors: after a kill in between, the same import continues
            put_import_records(store, plan.space.digest, keys, plan.source, pa.array(part.start + rows))
            put_vectors(store, plan.space.digest, keys, block[rows])
        tell(progress, "vectors", part.stop, len(new), failures=len(plan.failures))


def _space(backbone: str, external: ExternalEmbeddings, store: Store | None, unit: str = "protein") -> Space:
    """Return the space of the vectors; EmbstoreError for a name that stands for other vectors."""
    check_free(backbone)
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
        intensity=f"as brought, features {external.features}",
        resampling="as brought",
        pooling="as brought",
        unit=unit,
        precision=HAND_MADE_PRECISION,
    )
    if store is not None:
        _refuse_other_features(store, space, external.dim)
    return space


def _refuse_other_features(store: Store, space: Space, dim: int) -> None:
    """Raise EmbstoreError if the name belongs to vectors of other features: search and bench could not distinguish
    them.
    """
    for known in list_spaces(store):
        same_name = (known["backbone"], known["unit"]) == (space.backbone, space.unit)
        if same_name and known["digest"] != space.digest:
            raise EmbstoreError(
                f"{space.backbone} has vectors of {known['dim']} other features than the {dim} of this file; "
                "they cannot be compared: choose another --backbone name"
            )


def _failures(external: ExternalEmbeddings, nameless: Bools, unusable: Int64s) -> list[Failure]:
    """Return a failure for each row that names no protein although it should, or whose vector is incomplete."""
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
        error = f"the vector of {name} has {unusable[row]} numbers that are missing or not finite in float32"
        todo = "fill in the numbers or remove the row (--fill-nan fills them)"
        failures.append(Failure(where, "vectors", error, todo))
    return failures


def _strings(values: Sequence[str]) -> pa.Array:
    return pa.array(values, pa.string())
