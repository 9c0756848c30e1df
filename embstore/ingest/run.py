"""Ingest: images to cells to vectors, resumable; the work is what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Unpack, cast

from embstore.arrays import Float32s
from embstore.backbones.crops import CropEncoder
from embstore.backbones.encoder import load
from embstore.backbones.own import Encoder, EncoderKeys, described_arguments, own_encoder
from embstore.backbones.record import Backbone, Choices
from embstore.backbones.registry import check_free, parse
from embstore.errors import EmbstoreError, MissingStoreError, UnfinishedStoreError, in_any_case
from embstore.ingest.canary import canary_vectors, open_space
from embstore.ingest.commit import Committer
from embstore.ingest.dry_run import foreseen
from embstore.ingest.embedding import embed_images
from embstore.ingest.failures import log_failure, record_failures
from embstore.ingest.history import Job, Recording, given, recorded
from embstore.ingest.known_spaces import known_spaces
from embstore.ingest.labels import set_labels
from embstore.ingest.plan import Plan, make_plan
from embstore.ingest.reading import stored_cells
from embstore.ingest.report import Report, compared, count, count_assignment
from embstore.ingest.segmenters import segmenter_spec
from embstore.ingest.stored_plan import stored_plan
from embstore.ingest.work import Wanted, check_dataset
from embstore.progress import Progress, tell, tracked
from embstore.sources.layouts import read_source
from embstore.sources.record import Failure, Source
from embstore.space import Space
from embstore.store import SpaceRow, Store, add_proteins, distinguishing_specs, join_groups, list_spaces


def ingest(
    store: Store | str | Path,
    source: str | Path,
    *,
    layout: str,
    backbones: Sequence[str],
    labels: str | Path | None = None,
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
    """Bring a folder's images into the store: cells, thumbnails, labels, and a vector of every cell from each backbone.

    `backbones` are specs, `NAME[:mapping|:replication][:key=value]...` (see `space.parse_spec`), of one unit and one
    intensity scaling; other values of their keys make spaces of their own. `channels` says what planes or names show
    where the layout does not, `source_root` where the files of a table lie (default: beside it), and `columns` what
    columns of the table are called here (`{"Where is it?": "locations"}`). `masks` is a folder of label images in place
    of the built-in segmentation, `segmenter` the name of one that a package registers (see `ingest.segmenters`), and
    `pixel_size_um` what a pixel measures whatever files and layout say: with other ones, images that are in the store
    get new cells, and their old ones stay for results that cite them; cells stay as they are where neither `masks` nor
    a `segmenter` is given. `limit` is how many images, of those that need anything, are taken: the next call takes the
    next ones. With `drop_flagged`, cells that have a quality flag (see `pixels.quality`) are kept as rows and get no
    vector. In the unit `image`, each image gets one vector, also without a cell or a nucleus channel. `device` is auto,
    cpu or cuda. With `rehash`, files are read to see whether they changed, though size and time are as they were.

    Writes only what is missing: a rerun continues, a finished one finds nothing to do. Files that cannot be used become
    rows of `failures` and the rest goes in. `progress(stage, done, total)` is called for every image, in the stages
    `files` (compared with the store; of new ones the sha256 is taken) and `images`. A store that is named by its path
    is made where there is none, by `force` also in a folder that contains other files. With `dry_run` nothing is
    written, nor a store made: the report says what would go in, and every fault that names, tables and files' headers
    show. Raises EmbstoreError before anything is written, and before a store is made, where a choice is wrong.
    """
    job = Job("ingest", given(locals()))
    dataset = check_dataset(dataset or layout)
    # stored and compared with: the folder that this is called in may be another next time
    source = Path(source).resolve()
    if pixel_size_um is not None and not 0.001 < pixel_size_um < 100:
        raise EmbstoreError(f"the pixel size is {pixel_size_um:g} µm; wanted 0.001 to 100, such as 0.206 for OpenCell")
    made_by = _made_by(segmenter, masks)
    named = _named(backbones)
    unit = named[0].choices.unit
    folder = read_source(
        source,
        layout,
        _path(labels),
        channels=channels,
        source_root=_path(source_root),
        masks=_path(masks),
        columns=columns,
        whole=unit == "image",
    )
    existing = opened_if_any(store, force=force)
    asked = _Asked(named, device, existing)
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
    if dry_run:
        _dry(make_plan(existing, folder, dataset, wanted), asked.spaces, report, progress)
    else:
        filled = opened(store, force=force) if existing is None else existing
        _fill(filled, folder, wanted, asked, report, job=job, progress=progress)
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
    asked: _Asked,
    report: Report,
    *,
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
        _begin(recording, plan, asked)
        add_proteins(store, [(image.protein_ids, image.genes) for image in folder.images])
        report.labels_changed = set_labels(store, report.dataset, folder.labels, folder.asked)
        _run(store, plan, asked, report, committer=committer, progress=progress)
        if plan.work or plan.renewed:
            join_groups(store)


def _begin(recording: Recording, plan: Plan, asked: _Asked) -> None:
    """Record that the work of a plan begins, where there is any."""
    recording.planned = len(plan.work)
    recording.spaces = _labels(asked.spaces)
    # without a loaded encoder nothing is computed
    recording.device = ", ".join(dict.fromkeys(encoder.device for encoder in asked.encoders))
    if plan.work or plan.renewed:
        recording.begin()


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

    The vectors equal those that ingesting with these backbones would have made. In place of `backbones`, `encoder` is a
    function or torch.nn.Module of your own (see `Encoder`), with `name`, `roles`, `input_px` and further `EncoderKeys`:
    `embed(store, encoder=network, name="mine", roles=["nucleus", "protein"], input_px=64)`.

    Images that moved are looked for under `source_root`, which is recorded where they are the same; missing or changed
    ones become rows of `failures`. Cells that were dropped for their flags get their vectors too, unless `drop_flagged`
    leaves them out again.
    """
    if encoder is not None and backbones:
        raise EmbstoreError("embed was given backbones= and encoder=; make one run for each")
    if encoder is None and keys:
        raise EmbstoreError(f"{min(keys)}= describes an encoder of your own, and none was given; add encoder=network")
    job = Job("embed", given(locals() | {"keys": None, **described_arguments(encoder, keys)}))
    store = store if isinstance(store, Store) else Store.open(store)
    asked = _Asked(_named(backbones), device, store) if encoder is None else _Asked.of(encoder, keys, device)
    committer = Committer(store)
    root = None if source_root is None else Path(source_root).resolve()
    find = partial(stored_plan, store, dataset, source_root=root, drop_flagged=drop_flagged)
    plan = find([space.digest for space in asked.spaces])
    if plan.work and asked.load():
        plan = find([space.digest for space in asked.spaces])
    images = len(plan.work) + plan.done + len(plan.failures)
    report = Report(dataset or "all datasets", images, asked.spaces[0].unit, done_before=plan.done)
    with recorded(store, job, report) as recording:
        _begin(recording, plan, asked)
        _run(store, plan, asked, report, committer=committer, progress=progress)
    return report


def opened_if_any(store: Store | str | Path, *, force: bool = False) -> Store | None:
    """Return the store itself, or the one at a path or URI; None where there is none yet."""
    try:
        return store if isinstance(store, Store) else Store.open(store, force=force)
    except (MissingStoreError, UnfinishedStoreError):  # where an ingest makes one
        return None


def _dry(plan: Plan, spaces: Sequence[Space], report: Report, progress: Progress | None) -> None:
    """Report the plan, and every failure that can be told without decoding pixels."""
    compared(report, plan)
    report.failures = list(plan.failures)
    for work, outcome in zip(tracked(plan.work, "headers", progress), foreseen(plan.work, spaces), strict=True):
        if isinstance(outcome, Failure):
            report.failures.append(outcome)
        else:
            count_assignment(report, outcome)
            report.images_in += 1
            report.without_protein += work.segmentation is None and not work.image.protein_ids


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def opened(store: Store | str | Path, *, force: bool) -> Store:
    """Return the store itself, or the one at a path or URI, made where there is none; see `Store.open` for `force`."""
    return store if isinstance(store, Store) else Store.open(store, create=True, force=force)


@dataclass(frozen=True)
class _Named:
    """One backbone that was asked for, as `spec`, and how it is shown images."""

    spec: str
    backbone: Backbone
    choices: Choices


def _named(specs: Sequence[str]) -> list[_Named]:
    """Return the backbones of some specs; EmbstoreError where they do not go together."""
    if not specs:
        raise EmbstoreError("no backbone was named; give at least one --backbone (see `embstore backbones list`)")
    named = [_Named(spec, *parse(spec)) for spec in dict.fromkeys(specs)]
    for key in ("unit", "intensity"):
        by_value = {getattr(each.choices, key): each.spec for each in named}
        if len(by_value) > 1:
            listed = ", ".join(f"{spec} ({value})" for value, spec in by_value.items())
            raise EmbstoreError(f"one run takes one {key}, and these differ: {listed}; make one run for each {key}")
    return named


class _Asked:
    """The backbones that were asked for: their spaces, and their encoders, loaded where the spaces do not suffice."""

    def __init__(self, named: Sequence[_Named], device: str, store: Store | None) -> None:
        self._named, self._device = named, device
        self.encoders: list[CropEncoder] = []
        self._canaries: dict[str, Float32s] = {}  # by the encoder's space
        known = None if store is None else known_spaces(store, [(n.backbone, n.choices) for n in named], device)
        self.spaces = known or ()
        if known is None:
            self.load()

    @classmethod
    def of(cls, encoder: Encoder, keys: EncoderKeys, device: str) -> _Asked:
        """Return what is asked of an encoder of the user's own, which is loaded."""
        asked = cls((), device, None)
        check_free(keys.get("name", ""))
        asked.encoders = [own_encoder(encoder, keys, device)]
        asked.spaces = (asked.encoders[0].space,)
        return asked

    def load(self) -> bool:
        """Load the encoders unless they are loaded; True if their spaces are other than those that were known."""
        if self.encoders:
            return False
        encoders = (load(each.backbone, each.choices, self._device) for each in self._named)
        self.encoders = list({encoder.space.digest: encoder for encoder in encoders}.values())
        for encoder in self.encoders:  # before a store is made or written to: one that cannot compute these is refused
            self.canary(encoder)
        known, self.spaces = self.spaces, tuple(encoder.space for encoder in self.encoders)
        return known != self.spaces

    def canary(self, encoder: CropEncoder) -> Float32s:
        """Return the golden vectors of one of the encoders, computed once."""
        digest = encoder.space.digest
        if digest not in self._canaries:
            self._canaries[digest] = canary_vectors(encoder)
        return self._canaries[digest]


def _labels(spaces: Sequence[Space]) -> dict[str, str]:
    """Return what to call each space in the report, by digest."""
    rows = [cast("SpaceRow", asdict(space) | {"digest": space.digest}) for space in spaces]
    return {row["digest"]: name for row, name in zip(rows, distinguishing_specs(rows), strict=True)}


def _run(
    store: Store,
    plan: Plan,
    asked: _Asked,
    report: Report,
    *,
    committer: Committer,
    progress: Progress | None,
) -> None:
    """Do the work of a plan, and record what cannot be used; what was finished goes in, whatever stops the rest."""
    committer.describe(plan.renewed)
    report.renewed = len(plan.renewed)
    report.failures = list(plan.failures)
    for failure in plan.failures:
        log_failure(failure)
    recorded = {space["digest"] for space in list_spaces(store)}
    for encoder in asked.encoders:
        if plan.work or (plan.done and encoder.space.digest not in recorded):  # lost: its vectors are here
            open_space(store, encoder, asked.canary(encoder))
    labels = _labels([encoder.space for encoder in asked.encoders])
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
