"""What is missing of a source: which of its images are new or changed, and which spaces lack their vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from embstore.files import files_state, touched
from embstore.hdf5 import file_and_dataset
from embstore.ids import image_id
from embstore.ingest.failures import embed_stage
from embstore.ingest.work import (
    NO_NUCLEUS,
    WHOLE,
    Done,
    Wanted,
    Work,
    keeps_cells,
    keeps_size,
    missing_work,
    new_work,
    renewed,
    states_of,
)
from embstore.progress import Progress, tracked
from embstore.sources.record import Failure, Source, SourceImage
from embstore.store import FailureRow, ImageRow, IngestedRow, Store, rows

CELLS_OF_IMAGES = "SELECT image_id, segmentation, count(*) AS n FROM cells_raw GROUP BY ALL ORDER BY ALL"
CURRENT_IMAGES = "SELECT * FROM image_current ORDER BY image_id"


@dataclass(frozen=True)
class Plan:
    """The work, what is done already, and files that failed before and have not changed since.

    `usable` are the tables, and the files of images, that are complete or can be worked on: their earlier failures are
    over. `renewed` are rows of `images` with the same content but another description (proteins, files' times).
    """

    work: tuple[Work, ...]
    done: int
    known_failures: tuple[Failure, ...]
    failures: tuple[Failure, ...]
    usable: tuple[str, ...]
    renewed: tuple[ImageRow, ...] = ()
    gone: int = 0  # images in the store whose files the source no longer has
    sizes_kept: int = 0  # images whose cells, which are not built-in, stay although another pixel size is given now
    cells_replaced: int = 0  # changed images that get built-in cells, and had others before


@dataclass(frozen=True)
class Compared:
    """One image that can be worked on, compared with the store."""

    work: Work | None  # None if nothing is missing
    usable: tuple[str, ...]  # the paths of its files, now and before
    renewed: ImageRow | None = None
    size_kept: bool = False  # its cells, which are not built-in, stay although another pixel size is given now
    cells_replaced: bool = False  # it changed and gets built-in cells, and had others before


@dataclass(frozen=True)
class _FailedBefore:
    """An image whose file failed before and has not changed since."""

    failure: Failure


@dataclass(frozen=True)
class _Known:
    """What planning compares a source with; by default nothing, as for a store that does not exist yet."""

    images: Mapping[str, ImageRow] = field(default_factory=dict)
    ingested: Done = field(default_factory=dict)
    failed: Mapping[str, FailureRow] = field(default_factory=dict)


def make_plan(
    store: Store | None, source: Source, dataset: str, wanted: Wanted, progress: Progress | None = None
) -> Plan:
    """Compare a source with the store (None: with nothing); sizes and times first, contents (sha256) only where those
    differ. Reads only.
    """
    known = _known(store, wanted) if store else _Known()
    outcomes: list[Compared | Failure | _FailedBefore] = []
    names: set[str] = set()
    n_work = 0
    for image in tracked(source.images, "files", progress):
        name = image_id(dataset, image.key)
        second = name in names
        outcome = _second(source.root, image) if second else _compare(source.root, image, name, wanted, known)
        outcomes.append(outcome)
        names.add(name)
        n_work += isinstance(outcome, Compared) and outcome.work is not None
        if n_work == wanted.limit:
            break
    compared = [outcome for outcome in outcomes if isinstance(outcome, Compared)]
    others = (row for name, row in known.images.items() if row["dataset"] == dataset and name not in names)
    return Plan(
        work=tuple(item.work for item in compared if item.work),
        done=sum(item.work is None for item in compared),
        known_failures=tuple(outcome.failure for outcome in outcomes if isinstance(outcome, _FailedBefore)),
        failures=(*source.failures, *(outcome for outcome in outcomes if isinstance(outcome, Failure))),
        usable=(*source.sound, *(path for item in compared for path in item.usable)),
        renewed=tuple(item.renewed for item in compared if item.renewed),
        gone=0 if wanted.limit else sum(_is_gone(source.root, row) for row in others),
        sizes_kept=sum(item.size_kept for item in compared),
        cells_replaced=sum(item.cells_replaced for item in compared),
    )


def _compare(
    root: Path, image: SourceImage, name: str, wanted: Wanted, known: _Known
) -> Compared | Failure | _FailedBefore:
    paths = _paths(root, image)
    if unreadable := _not_utf8(paths):
        return unreadable
    if failure := _unchanged_failure(known.failed, paths):
        return _FailedBefore(failure)
    old = known.images.get(name)
    new = _new_work(root, image, name, wanted, old)
    if isinstance(new, Failure):
        return new
    if old is None:
        return Compared(new, tuple(map(str, paths)))
    work = _missing_work(new, old, known)
    if isinstance(work, Failure):
        return work
    row = renewed(work, old)
    before = stored_paths(Path(old["source_root"]), old) if row else []  # failures recorded under their earlier paths
    changed = work.revision != old["revision"]
    return Compared(
        work if work.spaces else None,
        (*map(str, paths), *before),
        row,
        size_kept=not changed and keeps_size(new, old),
        cells_replaced=changed and keeps_cells(new, old),
    )


def _second(root: Path, image: SourceImage) -> Failure:
    return Failure(str(_paths(root, image)[0]), "plan", f"a second file has the key {image.key}", "rename one of them")


def _is_gone(root: Path, row: ImageRow) -> bool:
    return row["source_root"] == str(root) and not any(
        file_and_dataset(path)[0].exists() for path in stored_paths(root, row)
    )


def _paths(root: Path, image: SourceImage) -> list[Path]:
    return [*(root / file for file in image.files), *(image.masks.files if image.masks else ())]


def stored_paths(root: Path, row: ImageRow) -> list[str]:
    """Return the paths of an image's files below a root."""
    return [str(root / file["path"]) for file in row["files"]]


def _known(store: Store, wanted: Wanted) -> _Known:
    images = cast("list[ImageRow]", rows(store, CURRENT_IMAGES))
    retry = wanted.retry_failed or wanted.pixel_size_um is not None  # some of them may have lacked only a pixel size
    return _Known(
        {row["image_id"]: row for row in images},
        ingested_spaces(store, drop_flagged=wanted.drop_flagged),
        {} if retry else _failed(store, wanted),
    )


def _new_work(root: Path, image: SourceImage, name: str, wanted: Wanted, old: ImageRow | None) -> Work | Failure:
    """Return an image as work for all spaces, as if it were not in the store, or why its files cannot be read."""
    try:
        if old is None and not wanted.hashing:
            for path in _paths(root, image):
                file_and_dataset(path)[0].stat()
            return new_work(root, image, name, wanted)
        files = states_of(root, image, None if wanted.rehash else old)
        return new_work(root, image, name, wanted, files)
    except OSError as error:
        return Failure(str(root / image.files[0]), "plan", f"cannot be read: {error.strerror}", "check the file")


def _missing_work(new: Work, old: ImageRow, known: _Known) -> Work | Failure:
    """Return what an image of the store still needs, or why it cannot be worked on."""
    work = missing_work(new, old, known.ingested)
    if work.sha256 != old["sha256"] and (rival := _rival(new.root, old)):
        first, taken = new.root / new.image.files[0], f"{rival} is in the store under the same key {new.image_id}"
        return Failure(str(first), "plan", taken, "give one of the two folders another --dataset")
    return work


def _rival(root: Path, old: ImageRow) -> Path | None:
    """Return the file from which an image was made, if it exists unchanged in another folder than this source."""
    if Path(old["source_root"]) == root:
        return None
    files = [file["path"] for file in old["files"]]
    try:
        changed = touched(Path(old["source_root"]), files, old["files"])
    except OSError:
        return None
    return None if changed else Path(old["source_root"]) / files[0]


def ingested_spaces(store: Store, *, drop_flagged: bool) -> Done:
    """Return (image, space) -> the revision and segmentation whose cells have their vectors, or the revision and WHOLE.

    If flagged cells are wanted, an image of which some have no vector is not done.
    """
    records = cast("list[IngestedRow]", store.read("ingested").to_pylist())
    whole = {row["digest"] for row in rows(store, "SELECT digest FROM spaces WHERE unit = 'image' ORDER BY digest")}
    cells = {} if drop_flagged else {(r["image_id"], r["segmentation"]): r["n"] for r in rows(store, CELLS_OF_IMAGES)}
    return {
        (row["image_id"], row["space"]): (row["revision"], WHOLE if row["space"] in whole else row["segmentation"])
        for row in records
        if row["space"] in whole or row["n_cells"] >= cells.get((row["image_id"], row["segmentation"]), 0)
    }


def _failed(store: Store, wanted: Wanted) -> dict[str, FailureRow]:
    # only failures of reading: those of planning cost nothing to find again, and other files may correct them
    stages = {"read", *map(embed_stage, wanted.spaces)}
    stored = cast("list[FailureRow]", store.read("failures").to_pylist())
    read = [row for row in stored if row["stage"] in stages]
    # a whole image needs no cells
    return {row["source"]: row for row in read if wanted.unit != "image" or not row["error"].startswith(NO_NUCLEUS)}


def _not_utf8(paths: Sequence[Path]) -> Failure | None:
    for path in paths:
        if not str(path).isprintable() or any("\ud800" <= c <= "\udfff" for c in str(path)):
            return Failure(ascii(str(path)), "plan", "the file's name is not printable UTF-8 text", "rename the file")
    return None


def _unchanged_failure(failed: Mapping[str, FailureRow], paths: Sequence[Path]) -> Failure | None:
    for path in paths:
        row = failed.get(str(path))
        if row and (row["size"], row["mtime_ns"]) == files_state(paths):
            return Failure(row["source"], row["stage"], row["error"], row["todo"])
    return None
