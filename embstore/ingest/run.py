"""Ingest: images to cells to vectors, resumable; the work is what is missing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from embstore.backbones.crops import Encoder
from embstore.backbones.encoder import load
from embstore.backbones.record import Choices
from embstore.backbones.registry import parse
from embstore.errors import EmbstoreError, ImageError, MissingStoreError, NotAStoreError
from embstore.ingest.canary import canary_vectors, check_canary
from embstore.ingest.commit import Committer, record_failures
from embstore.ingest.dry_run import foreseen
from embstore.ingest.encode import Embedded, cut_ahead, encode, gathered
from embstore.ingest.labels import set_labels
from embstore.ingest.plan import Plan, make_plan, stored_plan
from embstore.ingest.prepare import Prepared, ahead, image_fault, prepare, with_cells
from embstore.ingest.report import Report, compared, count
from embstore.ingest.work import Work, check_dataset
from embstore.progress import Progress, told
from embstore.sources.layouts import read_source
from embstore.sources.record import Fault
from embstore.space import Space
from embstore.store import Store, add_proteins, add_space, list_spaces

DEFAULT = Choices()
TOGETHER = 16  # cells or fields that go through an encoder together, from one image or several: enough for two cores
TOGETHER_GPU = 256


def ingest(
    store: Store | str,
    source: Path,
    *,
    layout: str,
    backbones: Sequence[str],
    labels: Path | None = None,
    channels: str = "",
    source_root: Path | None = None,
    dataset: str | None = None,
    masks: Path | None = None,
    pixel_size_um: float | None = None,
    drop_flagged: bool = False,
    choices: Choices = DEFAULT,
    device: str = "auto",
    limit: int | None = None,
    retry_failed: bool = False,
    rehash: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Bring a folder's images into the store: cells, thumbnails, labels, and a vector of every cell from each backbone.

    `backbones` are `NAME[:mapping|:replication]`; `channels` says what planes or names show where the layout does not,
    `source_root` where the files of a table lie (default: beside it). `masks` is a folder of label images in place of
    the built-in segmentation, and `pixel_size_um` what a pixel measures whatever files and layout say: with other ones,
    images that are in the store get new cells, and their old ones stay for results that cite them. With `drop_flagged`,
    cells that have a quality flag (see `pixels.quality`) are kept as rows and get no vector. `choices` are how
    backbones are shown images (the strategy is each backbone's own): other ones make spaces of their own. In the unit
    `image`, each image gets one vector, also without a cell or a nucleus channel. `device` is auto, cpu or cuda. With
    `rehash`, files are read to see whether they changed, though size and time are as they were.

    Writes only what is missing: a rerun continues, a finished one finds nothing to do. Files that cannot be used become
    rows of `failures` and the rest goes in. `progress(stage, done, total)` is called for every image, in the stages
    `files` (compared with the store; of new ones the sha256 is taken) and `images`. A store that is named by its path
    is made where there is none. With `dry_run` nothing is written, nor a store made: the report says what would go in,
    and every fault that names, tables and files' headers show. Raises EmbstoreError before anything is written, and
    before a store is made, where a choice is wrong.
    """
    dataset = check_dataset(dataset or layout)
    source = source.resolve()  # stored and compared with: the folder that this is called in may be another next time
    if pixel_size_um is not None and not 0.001 < pixel_size_um < 100:
        raise EmbstoreError(f"the pixel size is {pixel_size_um:g} µm; wanted 0.001 to 100, such as 0.206 for OpenCell")
    whole = choices.unit == "image"
    found = read_source(source, layout, labels, channels=channels, source_root=source_root, masks=masks, whole=whole)
    encoders = _encoders(backbones, choices, device)
    planned = partial(
        make_plan,
        source=found,
        dataset=dataset,
        spaces=list(encoders),
        retry_failed=retry_failed,
        limit=limit,
        pixel_size_um=pixel_size_um,
        drop_flagged=drop_flagged,
        unit=choices.unit,
        rehash=rehash,
    )
    report = Report(dataset, len(found.images), choices.unit, notes=list(found.notes))
    if dry_run:
        return _dry(planned(_if_any(store), hashing=False), encoders, report, progress)
    store = opened(store)
    committer = Committer(store)
    plan = planned(store, progress=progress)
    compared(report, plan)
    committer.describe(plan.renewed)
    report.renewed = len(plan.renewed)
    add_proteins(store, [(image.protein_ids, image.genes) for image in found.images])
    if changed := set_labels(store, dataset, found.labels, found.asked):
        report.notes.append(f"labels: {changed} subjects are new or changed")
    _run(store, plan, encoders, report, committer=committer, progress=progress)
    return report


def embed(
    store: Store,
    *,
    backbones: Sequence[str],
    dataset: str | None = None,
    source_root: Path | None = None,
    drop_flagged: bool = False,
    choices: Choices = DEFAULT,
    device: str = "auto",
    progress: Progress | None = None,
) -> Report:
    """Give cells, or whole images, that are in the store their vectors from further backbones; images are read again.

    The vectors equal those that ingesting with these backbones would have made. Images that moved are looked for under
    `source_root`, which is recorded where they are the same; missing or changed ones become rows of `failures`. Cells
    that were dropped for their flags get their vectors too, unless `drop_flagged` leaves them out again.
    """
    encoders = _encoders(backbones, choices, device)
    committer = Committer(store)
    source_root = source_root and source_root.resolve()
    plan = stored_plan(store, dataset, list(encoders), source_root, drop_flagged=drop_flagged)
    images = len(plan.work) + plan.done + len(plan.faults)
    report = Report(dataset or "all datasets", images, choices.unit, done_before=plan.done)
    committer.describe(plan.renewed)
    report.renewed = len(plan.renewed)
    _run(store, plan, encoders, report, committer=committer, progress=progress)
    return report


def _if_any(store: Store | str) -> Store | None:
    try:
        return store if isinstance(store, Store) else Store.open(store)
    except (MissingStoreError, NotAStoreError):  # where an ingest makes one
        return None


def _dry(plan: Plan, encoders: Mapping[str, Encoder], report: Report, progress: Progress | None) -> Report:
    """Return what a dry run reports: the plan, and every fault that can be told without decoding pixels."""
    compared(report, plan)
    report.failures = list(plan.faults)
    spaces = [encoder.space for encoder in encoders.values()]
    for work, fault in zip(told(plan.work, "headers", progress), foreseen(plan.work, spaces), strict=True):
        if fault:
            report.failures.append(fault)
        else:
            report.images_in += 1
            report.without_protein += work.segmentation is None and not work.image.protein_ids
    return report


def opened(store: Store | str) -> Store:
    """Return the store itself, or the one at a path or URI, made where there is none."""
    return store if isinstance(store, Store) else Store.open(store, create=True)


def _encoders(backbones: Sequence[str], choices: Choices, device: str) -> dict[str, Encoder]:
    if not backbones:
        raise EmbstoreError("no backbone was named; give at least one --backbone (see `embstore backbones list`)")
    named = (parse(spec) for spec in dict.fromkeys(backbones))
    loaded = (load(backbone, replace(choices, strategy=strategy), device) for backbone, strategy in named)
    return {encoder.space.digest: encoder for encoder in loaded}


def _run(
    store: Store,
    plan: Plan,
    encoders: dict[str, Encoder],
    report: Report,
    *,
    committer: Committer,
    progress: Progress | None,
) -> None:
    report.failures = list(plan.faults)
    recorded = {space["digest"] for space in list_spaces(store)}
    for digest, encoder in encoders.items():
        if plan.work or (plan.done and digest not in recorded):  # lost: its vectors are here
            open_space(store, encoder)
    try:
        for done in _work_off(store, plan, encoders, report, committer):
            if progress:
                progress("images", done, len(plan.work))
    finally:  # what was finished goes in, whatever stopped the rest
        committer.flush()
        if committer.taken_back:
            report.notes.append(
                f"{len(committer.taken_back)} images were removed while they went in, and are out again"
            )
        record_failures(store, report.failures, mended=plan.sound)


def _work_off(
    store: Store, plan: Plan, encoders: dict[str, Encoder], report: Report, committer: Committer
) -> Iterator[int]:
    """Do the work, image by image; yields how many are done."""
    on_gpu = any(encoder.device != "cpu" for encoder in encoders.values())
    spaces = [encoder.space for encoder in encoders.values()]
    # one core reads and cuts while the others compute, and all of them where a GPU computes
    images = ahead(partial(_readied, spaces), with_cells(store, plan.work), (os.cpu_count() or 1) if on_gpu else 1)
    done = 0
    for some in gathered(images, TOGETHER_GPU if on_gpu else TOGETHER):
        good = [image for image in some if isinstance(image, Prepared)]
        vectors = {
            space: encode([image for image in good if space in image.work.spaces], encoder)
            for space, encoder in encoders.items()
        }
        for image in some:
            _take(image, vectors, encoders, report, committer)
            done += 1
            yield done


def _readied(spaces: Sequence[Space], item: tuple[Work, list[dict[str, Any]]]) -> Prepared | Fault:
    work, stored_cells = item
    image = prepare(work, stored_cells, spaces[0].intensity)  # one for all
    if isinstance(image, Fault):
        return image
    try:
        return cut_ahead(image, spaces)
    except ImageError as error:
        return image_fault(work, error.found, error.todo)


def _take(
    image: Prepared | Fault,
    vectors: dict[str, dict[str, Embedded | Fault]],
    encoders: dict[str, Encoder],
    report: Report,
    committer: Committer,
) -> None:
    """Commit one image with its vectors in every space, or record why it cannot be."""
    if isinstance(image, Fault):
        report.failures.append(image)
        return
    found = {space: vectors[space][image.work.image_id] for space in image.work.spaces}
    embedded = {space: some for space, some in found.items() if isinstance(some, Embedded)}
    if faults := [some for some in found.values() if isinstance(some, Fault)]:
        report.failures.append(faults[0])
        return
    committer.add(image, embedded)
    count(report, image, {encoders[space].space.label: len(some.ids) for space, some in embedded.items()})


def open_space(store: Store, encoder: Encoder) -> None:
    """Record an encoder's space, or, where it is there, check that the encoder still gives its golden vectors."""
    space = encoder.space
    vectors = canary_vectors(encoder)
    if any(known["digest"] == space.digest for known in list_spaces(store)):
        stored = store.read("spaces", ["canary"], pc.field("digest") == space.digest)["canary"][0].as_py()
        check_canary(space.label, stored, vectors)
        return
    record = asdict(space) | {"digest": space.digest, "roles": list(space.roles)}
    half = space.precision.startswith("float16")
    add_space(store, record, encoder.dim, half=half, canary=vectors.ravel().tolist())
