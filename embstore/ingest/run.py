"""Ingest: from images to cells to vectors; a rerun computes only what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack

from embstore.backbones.own import Encoder, EncoderKeys, described_arguments
from embstore.errors import EmbstoreError, MissingStoreError, UnfinishedStoreError, in_any_case
from embstore.ingest.asked import AskedBackbones, named_backbones, space_labels
from embstore.ingest.canary import is_recorded, record_space
from embstore.ingest.commit import Committer
from embstore.ingest.dry_run import report_plan
from embstore.ingest.embedding import embed_images
from embstore.ingest.failures import log_failure, record_failures
from embstore.ingest.history import Job, Recording, given, recorded
from embstore.ingest.labels import check_levels, report_labels, set_labels
from embstore.ingest.plan import Plan, make_plan
from embstore.ingest.reading import stored_cells
from embstore.ingest.report import Report, compared, count
from embstore.ingest.segmenters import segmenter_spec
from embstore.ingest.stored_plan import stored_plan
from embstore.ingest.work import Wanted, check_dataset
from embstore.progress import Progress, tell
from embstore.sources.layouts import read_source
from embstore.sources.location_map import Mapped, map_locations, read_location_map
from embstore.sources.record import Failure, Source
from embstore.store import Store, add_proteins, join_groups, list_spaces


def ingest(
    store: Store | str | Path,
    source: str | Path,
    *,
    layout: str,
    backbones: Sequence[str],
    labels: str | Path | None = None,
    location_map: str | Path | None = None,
    channels: str = "",
    source_root: str | Path | None = None,
    dataset: str | None = None,
    masks: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    segmenter: str | None = None,
    pixel_size_um: float | None = None,
    drop_flagged: bool = False,
    device: str = "auto",
    limit: int | None = None,
    retry_failed: bool = False,
    rehash: bool = False,
    dry_run: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Ingest a folder's images into the store: cells, thumbnails, labels, and a vector of every cell from each
    backbone.

    `backbones` are specs, `NAME[:mapping|:replication][:key=value]...` (see `space.parse_spec`), of one unit and one
    intensity scaling; other values of their keys make separate spaces. `channels` names what planes or file names show
    if the layout does not, `source_root` is the folder of the files that a table lists (default: the table's),
    `columns` renames columns of the table (`{"Where is it?": "locations"}`), and `location_map` is a table (`from`,
    `to`) of other names for locations, or `hpa`, `subcell-1`, `subcell-2`, `subcell-3`, `subcell-dl2` or
    `subcell-opencell`. `masks` is a folder of label images to use instead of the built-in segmentation, `segmenter` the
    name of one that a package registers (see `ingest.segmenters`), and `pixel_size_um` takes precedence over files and
    layout: if these differ from before, images in the store get new cells, and their old ones stay for results that
    cite them; but cells stay as they are where neither `masks` nor a `segmenter` is given. At most `limit` images that
    need anything are ingested: the next call takes the next ones. With `drop_flagged`, cells that have a quality flag
    (see `pixels.quality`) are stored without a vector. With the unit `image`, each image gets one vector, even without
    a cell or a nucleus channel. `device` is auto, cpu or cuda. With `rehash`, files are read to see whether they
    changed, although their size and time are the same.

    Writes only what is missing: a rerun continues, and a finished one finds nothing to do. Files that cannot be used
    become rows of `failures`, and the rest is ingested. `progress(stage, done, total)` is called for every image, in
    the stages `files` (comparison with the store; the sha256 of new files is computed) and `images`. If `store` is a
    path without a store, the store is created (with `force`, also in a folder that contains other files). With
    `dry_run`, nothing is written and no store created: the report states what would be ingested, and every failure that
    names, tables and files' headers show. Raises EmbstoreError for a wrong choice, before anything is written.
    """
    job = Job("ingest", given(locals()))
    dataset = check_dataset(dataset or layout)
    # absolute, because it is stored, and the next call may be made in another folder
    source = Path(source).resolve()
    if pixel_size_um is not None and not 0.001 < pixel_size_um < 100:
        raise EmbstoreError(f"the pixel size is {pixel_size_um:g} µm; wanted 0.001 to 100, such as 0.206 for OpenCell")
    made_by = _made_by(segmenter, masks)
    named = named_backbones(backbones)
    unit = named[0].choices.unit
    folder = read_source(
        source,
        layout,
        None if labels is None else Path(labels),
        channels=channels,
        source_root=None if source_root is None else Path(source_root),
        masks=None if masks is None else Path(masks),
        columns=columns,
        whole=unit == "image",
        segmented=made_by is not None and "registered" in made_by,
    )
    if segmenter is not None and any(image.one_cell for image in folder.images):
        raise EmbstoreError(f"an image of the layout {layout} is one cell, and needs no segmenter; omit --segmenter")
    mapped = map_locations(folder.labels, read_location_map(location_map))
    existing = opened_if_any(store, force=force)
    asked = AskedBackbones(named, device, existing)
    wanted = Wanted(
        spaces=tuple(space.digest for space in asked.spaces),
        unit=unit,
        pixel_size_um=pixel_size_um,
        drop_flagged=drop_flagged,
        limit=limit,
        retry_failed=retry_failed,
        rehash=rehash,
        hashing=not dry_run,
        segmenter=made_by,
    )
    report = Report(dataset, len(folder.images), unit, notes=list(folder.notes))
    if existing is not None:
        name = source.name if labels is None else Path(labels).name
        todo = "leave out --labels, and name another label set with embstore labels add --scheme"
        subjects = [*folder.asked, *((label.scheme, label.level, label.subject) for label in folder.labels)]
        check_levels(existing, dataset, subjects, name, todo)
    report_labels(report, existing, mapped, folder.asked)
    if dry_run:
        report_plan(make_plan(existing, folder, dataset, wanted), asked.spaces, report, progress)
    else:
        filled = opened(store, force=force) if existing is None else existing
        _fill(filled, folder, wanted, asked, report, mapped=mapped, job=job, progress=progress)
    return report


def _made_by(segmenter: str | None, masks: str | Path | None) -> Mapping[str, Any] | None:
    """Return the spec of the segmenter that is asked for, if any."""
    if segmenter is None:
        return None
    if masks is not None:
        raise EmbstoreError(f"masks and the segmenter {segmenter} both make cells; give one of them")
    return segmenter_spec(segmenter)


def _fill(
    store: Store,
    folder: Source,
    wanted: Wanted,
    asked: AskedBackbones,
    report: Report,
    *,
    mapped: Mapped,
    job: Job,
    progress: Progress | None,
) -> None:
    committer = Committer(store)
    plan = make_plan(store, folder, report.dataset, wanted, progress)
    if plan.work and asked.load():
        wanted = replace(wanted, spaces=tuple(space.digest for space in asked.spaces))
        plan = make_plan(store, folder, report.dataset, wanted, progress)
    compared(report, plan)
    with recorded(store, job, report) as recording:
        _begin(store, recording, plan, asked)
        add_proteins(store, [(image.protein_ids, image.genes) for image in folder.images])
        report.labels_changed = set_labels(store, report.dataset, mapped.labels, folder.asked, mapped=mapped)
        _run(store, plan, asked, report, committer=committer, progress=progress)
        if plan.work or plan.renewed:
            join_groups(store)


def _begin(store: Store, recording: Recording, plan: Plan, asked: AskedBackbones) -> None:
    """Record that the work of a plan begins, if there is any, and its spaces; refuse encoders that drifted (writes)."""
    recording.planned = len(plan.work)
    recording.spaces = space_labels(asked.spaces)
    # without a loaded encoder, nothing is computed
    recording.device = ", ".join(dict.fromkeys(encoder.device for encoder in asked.encoders))
    known = {space["digest"] for space in list_spaces(store)}
    # all are checked before anything is written
    new = [
        encoder
        for encoder in asked.encoders
        if (plan.work or (plan.done and encoder.space.digest not in known))  # with vectors, but a lost record
        and not is_recorded(store, encoder, asked.canary(encoder))
    ]
    if plan.work or plan.renewed:
        recording.begin()
    for encoder in new:
        record_space(store, encoder, asked.canary(encoder))


def embed(
    store: Store | str | Path,
    *,
    backbones: Sequence[str] = (),
    encoder: Encoder | None = None,
    dataset: str | None = None,
    source_root: str | Path | None = None,
    drop_flagged: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
    **keys: Unpack[EncoderKeys],
) -> Report:
    """Compute vectors from further backbones for the cells, or whole images, in the store; images are read again.

    The vectors equal those that ingesting with these backbones would have made. Instead of `backbones`, `encoder` can
    be a function or torch.nn.Module of your own (see `Encoder`), with `name`, `roles`, `input_px` and further
    `EncoderKeys`: `embed(store, encoder=network, name="mine", roles=["nucleus", "protein"], input_px=64)`.

    Images that were moved are searched under `source_root`, which is recorded if the files are the same; missing or
    changed ones become rows of `failures`. Cells that were dropped for their flags get vectors too, unless
    `drop_flagged` leaves them out again. Raises EmbstoreError, before anything is written, for a wrong choice,
    and for an encoder that does not give one vector a crop or, under a known fingerprint, gives others than before.
    """
    if encoder is not None and backbones:
        raise EmbstoreError("embed was given backbones= and encoder=; make one run for each")
    if encoder is None and keys:
        raise EmbstoreError(f"{min(keys)}= describes an encoder, but none was given; add encoder=network")
    job = Job("embed", given(locals() | {"keys": None, **described_arguments(encoder, keys)}))
    store = store if isinstance(store, Store) else Store.open(store)
    if encoder is None:
        asked = AskedBackbones(named_backbones(backbones), device, store)
    else:
        asked = AskedBackbones.from_encoder(encoder, keys, device)
    committer = Committer(store)
    root = None if source_root is None else Path(source_root).resolve()
    find = partial(stored_plan, store, dataset, source_root=root, drop_flagged=drop_flagged)
    plan = find([space.digest for space in asked.spaces])
    if plan.work and asked.load():
        plan = find([space.digest for space in asked.spaces])
    images = len(plan.work) + plan.done + len(plan.failures)
    report = Report(dataset or "all datasets", images, asked.spaces[0].unit, done_before=plan.done)
    with recorded(store, job, report) as recording:
        _begin(store, recording, plan, asked)
        _run(store, plan, asked, report, committer=committer, progress=progress)
    return report


def opened_if_any(store: Store | str | Path, *, force: bool = False) -> Store | None:
    """Return the store itself, or the one at a path or URI; None if there is none yet."""
    try:
        return store if isinstance(store, Store) else Store.open(store, force=force)
    except (MissingStoreError, UnfinishedStoreError):  # an ingest creates one there
        return None


def opened(store: Store | str | Path, *, force: bool) -> Store:
    """Return the store itself, or the one at a path or URI, created if missing; see `Store.open` for `force`."""
    return store if isinstance(store, Store) else Store.open(store, create=True, force=force)


def _run(
    store: Store,
    plan: Plan,
    asked: AskedBackbones,
    report: Report,
    *,
    committer: Committer,
    progress: Progress | None,
) -> None:
    """Do the work of a plan, and record what cannot be used; finished images are stored, whatever stops the rest."""
    committer.describe(plan.renewed)
    report.renewed = len(plan.renewed)
    report.failures = list(plan.failures)
    for failure in plan.failures:
        log_failure(failure)
    labels = space_labels([encoder.space for encoder in asked.encoders])
    with in_any_case(lambda: record_failures(store, report.failures, usable=plan.usable)), in_any_case(committer.flush):
        images = embed_images(plan.work, partial(stored_cells, store), asked.encoders)
        for done, image in enumerate(images, start=1):
            if isinstance(image, Failure):
                report.failures.append(image)
                log_failure(image)
            else:
                committer.add(image)
                count(report, image, labels)
            tell(progress, "images", done, len(plan.work), failures=len(report.failures))
    report.images_removed = len(committer.taken_back)
