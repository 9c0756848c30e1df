"""External embeddings of the store's own cells or images: recognised by their ids, they join a space of that unit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embstore.arrays import Bools, Int64s
from embstore.errors import EmbstoreError
from embstore.ingest.external_labels import RowLabels, row_labels
from embstore.ingest.external_rows import in_blocks, same_vectors
from embstore.ingest.failures import log_failure, record_failures
from embstore.ingest.fill import FilledEmbeddings
from embstore.ingest.history import Job, Recording, recorded
from embstore.ingest.labels import check_levels, report_labels, set_labels
from embstore.ingest.report import Report
from embstore.progress import Progress, tell
from embstore.sources.location_map import LocationMap
from embstore.sources.record import Failure
from embstore.sources.vector_columns import Columns
from embstore.sources.vectors import ExternalEmbeddings
from embstore.space import Space
from embstore.store import Store, add_space, delete_ids, embeddings_name, put_vectors, quoted, select_columns

CELL_ID = re.compile(r"[^/]+/.+:[0-9a-f]{8}:\d+")
OWN_CELLS_SQL = """
    SELECT c.cell_id AS id, i.segmentation IS NOT NULL AS is_current
    FROM cells_raw AS c
    LEFT JOIN image_current AS i ON c.image_id = i.image_id AND c.segmentation = i.segmentation
    ORDER BY id
"""
OWN_IMAGES_SQL = "SELECT image_id AS id, true AS is_current FROM image_current ORDER BY id"
OWN_REVISIONS_SQL = "SELECT image_id, revision, segmentation FROM image_current ORDER BY image_id"


@dataclass(frozen=True, repr=False)
class OwnUnits:
    """The rows of a file as cells or images of the store."""

    unit: str  # cell or image
    ids: Sequence[str]
    known: Bools  # (n,) the store has it
    current: Bools  # (n,) and it is of the current content and segmentation of its image

    @cached_property
    def datasets(self) -> list[str]:
        """Return the datasets of the known rows, in order."""
        return sorted({self.ids[row].partition("/")[0] for row in np.flatnonzero(self.known).tolist()})


def own_units(
    store: Store | None, external: ExternalEmbeddings, columns: Columns, dataset: str | None
) -> OwnUnits | None:
    """Return the rows of a file as cells or images of the store; None where their ids are not of that kind.

    Raises EmbstoreError where ids are of cells or images that this store, or the `dataset`, does not have, of both,
    of several datasets with labels, stand twice, or stand where genes should: none of these may become proteins.
    """
    ids = [identifier.strip() for identifier in external.ids]
    _refuse_genes(store, external)
    if not any("/" in identifier for identifier in ids):
        return None
    cells, images = _known(store, OWN_CELLS_SQL, ids), _known(store, OWN_IMAGES_SQL, ids)
    if cells[0].any() and images[0].any():
        raise EmbstoreError(f"{external.path.name} names cells and images; import them as two files")
    if not (cells[0].any() or images[0].any()):
        _refuse_strangers(store, ids, external.path.name)
        return None
    known, current = cells if cells[0].any() else images
    units = OwnUnits("cell" if cells[0].any() else "image", ids, known, current)
    _refuse_repeats(units, external)
    if dataset is not None and units.datasets != [dataset]:
        raise EmbstoreError(
            f"the ids of {external.path.name} are of {', '.join(units.datasets)}, and --dataset names {dataset}; "
            "leave it out"
        )
    if columns.gene:
        raise EmbstoreError(
            f"{external.path.name} names {units.unit}s of this store, which knows their genes; leave out --gene-column"
        )
    if columns.label and len(units.datasets) > 1:
        raise EmbstoreError(
            f"the locations in {external.path.name} are of {units.unit}s of {', '.join(units.datasets)}, and a label "
            "set is of one dataset; split the file"
        )
    return units


def _known(store: Store | None, sql: str, ids: Sequence[str]) -> tuple[Bools, Bools]:
    """Return which ids an SQL answer has, and which of those are current."""
    if store is None:
        return np.zeros(len(ids), bool), np.zeros(len(ids), bool)
    table = select_columns(store, sql)
    places = pc.index_in(pa.array(ids, pa.string()), value_set=table["id"])
    known = pc.is_valid(places).to_numpy(zero_copy_only=False)
    current = np.zeros(len(ids), bool)
    current[known] = table["is_current"].take(places.drop_null()).to_numpy(zero_copy_only=False)
    return known, current


def _refuse_genes(store: Store | None, external: ExternalEmbeddings) -> None:
    genes = list(dict.fromkeys(gene.strip() for gene in external.genes if "/" in gene))
    images = _known(store, OWN_IMAGES_SQL, genes)[0] if genes else ()
    own = [gene for gene, known in zip(genes, images, strict=True) if known or CELL_ID.fullmatch(gene)]
    if own:
        raise EmbstoreError(
            f"the genes of {external.path.name} are ids of cells or images, such as {own[0]}; name them by --id-column"
        )


def _refuse_strangers(store: Store | None, ids: Sequence[str], name: str) -> None:
    """Refuse ids that look like embstore's own of another store: they would become proteins."""
    cells = [identifier for identifier in ids if CELL_ID.fullmatch(identifier)]
    datasets = set() if store is None else set(store.read("images", ["dataset"])["dataset"].unique().to_pylist())
    images = [identifier for identifier in ids if identifier.partition("/")[0] in datasets and "/" in identifier]
    if cells or images:
        kind = "cells" if cells else "images"
        raise EmbstoreError(
            f"the ids of {name} are of {kind} that this store does not have, such as {(cells or images)[0]}; import "
            "them into the store that they are of"
        )


def _refuse_repeats(units: OwnUnits, external: ExternalEmbeddings) -> None:
    values, counts = np.unique(np.array(units.ids)[units.known], return_counts=True)
    if (counts > 1).any():
        raise EmbstoreError(
            f"{external.path.name} has several vectors of one {units.unit}, such as {values[counts > 1][0]}; wanted "
            "one row each"
        )


@dataclass(frozen=True, repr=False)
class OwnImport:
    """One file of vectors of the store's own cells or images, compared with the store."""

    space: Space
    data: FilledEmbeddings
    units: OwnUnits
    unusable: Int64s  # (n,) numbers of each row that are missing or not finite
    embedded: Bools  # (n,) there is a vector of it in the space
    same: Bools  # (n,) and it is this very one
    recorded: Bools  # (n,) it is an image that is recorded as done in the space
    outdated: Bools  # (n,) and its content has changed since

    @property
    def good(self) -> Bools:
        """Return which rows can be imported, (n,)."""
        good: Bools = self.units.known & (self.unusable == 0)
        return good

    @property
    def new(self) -> Bools:
        """Return which rows have to be written, (n,)."""
        return self.good & ~self.same

    @property
    def earlier(self) -> Bools:
        """Return which rows have the vector of a cell or image that is not the current one, (n,)."""
        return self.good & (~self.units.current | (self.same & self.outdated))


def compared_own(
    store: Store, space: Space, data: FilledEmbeddings, units: OwnUnits, progress: Progress | None
) -> OwnImport:
    """Read the whole file once and compare it with the store; nothing is written."""
    table = embeddings_name(space.digest)
    stored = store.read(table, ["id"])["id"] if table in store.table_names() else pa.array([], pa.string())
    embedded = pc.is_in(pa.array(units.ids, pa.string()), value_set=stored).to_numpy(zero_copy_only=False)
    unusable, same = np.zeros(len(units.ids), np.int64), np.zeros(len(units.ids), bool)
    for part, block in in_blocks(data.blocks()):
        unusable[part] = (~np.isfinite(block)).sum(axis=1)
        same[part] = same_vectors(store, space.digest, units.ids[part], embedded[part], block)
        tell(progress, "rows", part.stop, len(units.ids))
    return OwnImport(space, data, units, unusable, embedded, same, *_records(store, space, units))


def _records(store: Store, space: Space, units: OwnUnits) -> tuple[Bools, Bools]:
    """Return which images are recorded as done in a space, and which of those at an earlier revision; (n,) each."""
    recorded, outdated = np.zeros(len(units.ids), bool), np.zeros(len(units.ids), bool)
    if units.unit == "image":
        done = store.read("ingested", ["image_id", "revision"], pc.field("space") == space.digest).to_pylist()
        revisions = {row["image_id"]: row["revision"] for row in done}
        images = select_columns(store, OWN_REVISIONS_SQL).to_pylist()
        changed = {row["image_id"] for row in images if revisions.get(row["image_id"]) != row["revision"]}
        recorded[:] = [identifier in revisions for identifier in units.ids]
        outdated[:] = [identifier in revisions and identifier in changed for identifier in units.ids]
    return recorded, outdated


def own_labels(plan: OwnImport, scheme: str | None, location_map: LocationMap | None) -> RowLabels:
    """Return the labels of the cells or images of good rows; none where no column of locations was named."""
    good = np.flatnonzero(plan.good).tolist() if scheme else []
    keys = [identifier.partition("/")[2] for identifier in plan.units.ids]
    subjects = [[(scheme or "", plan.units.unit, key)] for key in keys]
    return row_labels(plan.data.external, good, subjects, location_map)


def import_own(
    store: Store,
    plan: OwnImport,
    labels: RowLabels,
    job: Job,
    *,
    replace: bool,
    dry_run: bool,
    progress: Progress | None,
) -> Report:
    """Write the vectors of a file that are not in the store (writes, unless `dry_run`), and return what was done."""
    if not replace:
        _refuse_changed(plan)
    report = _report(plan)
    name = plan.data.external.path.name
    check_levels(store, report.dataset, labels.asked, name, "rename the column that --label-column names")
    report_labels(report, store, labels.mapped, labels.asked)
    if not dry_run:
        with recorded(store, job, report) as recording:
            recording.spaces = {plan.space.digest: plan.space.backbone}
            _write(store, plan, report, labels, recording=recording, progress=progress)
    return report


def _refuse_changed(plan: OwnImport) -> None:
    """Raise EmbstoreError where rows would take the place of other vectors of the same cells or images."""
    changed = np.flatnonzero(plan.new & plan.embedded).tolist()
    if changed:
        raise EmbstoreError(
            f"{len(changed)} {plan.units.unit}s have other vectors of {plan.space.backbone} in the store, such as "
            f"{plan.units.ids[changed[0]]}; choose another --backbone name, or --replace to replace them"
        )


def _report(plan: OwnImport) -> Report:
    """Return what would go in, and every failure."""
    external, units = plan.data.external, plan.units
    report = Report(", ".join(units.datasets), images=len(external), unit="profile")
    report.failures = _failures(plan)
    report.images_in, report.done_before = int(plan.new.sum()), int((plan.good & plan.same).sum())
    report.notes += external.notes + plan.data.notes
    report.notes += (f"ids are those of this store's {units.unit}s: the vectors are of the unit {units.unit}",)
    if earlier := int(plan.earlier.sum()):
        cells = "cells are of earlier content or segmentations"
        what = cells if units.unit == "cell" else "vectors are of earlier content of their images"
        report.notes += (f"{earlier} of these {what}: kept, left out of search and scores",)
    return report


def _write(
    store: Store, plan: OwnImport, report: Report, labels: RowLabels, *, recording: Recording, progress: Progress | None
) -> None:
    """Write the vectors that are new or changed (writes), and for images that they are done at their revision."""
    digest, label = plan.space.digest, plan.space.backbone
    add_space(store, asdict(plan.space) | {"digest": digest, "roles": []}, plan.data.external.dim, half=False)
    recording.planned = int(plan.new.sum())
    if plan.new.any():
        recording.begin()
        if outdated := [plan.units.ids[row] for row in np.flatnonzero(plan.new & plan.outdated).tolist()]:
            # without a record, the next import completes them if this one is ended
            delete_ids(store, "ingested", "image_id", outdated, f"space = {quoted(digest)} AND ")
        for part, block in in_blocks(plan.data.blocks()):
            rows = np.flatnonzero(plan.new[part]).tolist()
            if rows:
                put_vectors(store, digest, [plan.units.ids[part.start + row] for row in rows], block[rows])
            tell(progress, "vectors", part.stop, len(plan.new), failures=len(report.failures))
    if plan.units.unit == "image":
        _complete(store, plan)
    if labels.asked:
        mapped = labels.mapped
        report.labels_changed = set_labels(store, report.dataset, mapped.labels, labels.asked, mapped=mapped)
    report.images_in = 0
    report.vectors_in = {f"{label}:unit={plan.units.unit}": int(plan.new.sum())} if plan.new.any() else {}
    report.vectors_replaced = int((plan.new & plan.embedded).sum())
    for failure in report.failures:
        log_failure(failure)
    record_failures(store, report.failures, usable=[str(plan.data.external.path)])


def _complete(store: Store, plan: OwnImport) -> None:
    """Record that images have a vector of their current revision: an image keeps its id when its content changes.

    These are the images of new vectors, and of those that an import left without a record when it was ended.
    """
    rows = np.flatnonzero(plan.new | (plan.good & ~plan.recorded)).tolist()
    if not rows:
        return
    images = select_columns(store, OWN_REVISIONS_SQL)
    ids = pa.array([plan.units.ids[row] for row in rows], pa.string())
    done = images.filter(pc.is_in(images["image_id"], value_set=ids))
    n = done.num_rows
    records = done.append_column("space", pa.array([plan.space.digest] * n, pa.string()))
    store.upsert("ingested", records.append_column("n_cells", pa.array([1] * n, pa.int32())).to_pylist())


def _failures(plan: OwnImport) -> list[Failure]:
    """Return a failure for each row that names nothing in the store, or whose vector is not whole."""
    external, units = plan.data.external, plan.units
    bad = np.flatnonzero(~plan.good).tolist()
    failures = []
    for row, place in zip(bad, external.sources(bad) if bad else (), strict=True):
        where, name = f"{external.path}:{place}", units.ids[row]
        if not units.known[row]:
            stranger = f"{name} is no {units.unit} of this store" if name else f"no {units.unit} id"
            failures.append(Failure(where, "vectors", stranger, "take the row out, or ingest its image first"))
            continue
        error = f"the vector of {name} has {plan.unusable[row]} numbers that are missing or not finite in float32"
        failures.append(Failure(where, "vectors", error, "fill in the numbers or take the row out (--fill-nan fills)"))
    return failures
