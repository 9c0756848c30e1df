"""What is missing: which images of a source are new or changed, and which spaces they have no vectors in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embstore.errors import EmbstoreError
from embstore.files import content, files_state, hashed, touched
from embstore.ids import image_id
from embstore.ingest.work import (
    NO_NUCLEUS,
    WHOLE,
    Done,
    Work,
    missing_spaces,
    missing_work,
    renewed,
    states_of,
    stored_work,
)
from embstore.progress import Progress, told
from embstore.sources.record import Fault, Source, SourceImage
from embstore.store import Store, rows

CELLS_OF_IMAGES = "SELECT image_id, segmentation, count(*) AS n FROM cells_raw GROUP BY ALL ORDER BY ALL"
CURRENT_IMAGES = "SELECT * FROM image_current"


@dataclass(frozen=True)
class Plan:
    """The work, what is done already, and files that failed before and have not changed since.

    `sound` are the files of images that need nothing or can be worked on: those of them that failed before are mended.
    `renewed` are rows of `images` whose content is the same and whose description (proteins, files' times) is not.
    """

    work: tuple[Work, ...]
    done: int
    known_failures: tuple[Fault, ...]
    faults: tuple[Fault, ...]
    sound: tuple[str, ...]
    renewed: tuple[dict[str, Any], ...] = ()
    gone: int = 0  # images in the store whose files the source has no more


@dataclass(frozen=True)
class _Known:
    """What planning compares a source with; by default nothing, as in a store that is not made yet."""

    images: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    ingested: Done = field(default_factory=dict)
    failed: Mapping[str, dict[str, Any]] = field(default_factory=dict)


def make_plan(
    store: Store | None,
    source: Source,
    dataset: str,
    spaces: Sequence[str],
    *,
    retry_failed: bool,
    limit: int | None,
    pixel_size_um: float | None = None,
    drop_flagged: bool = False,
    rehash: bool = False,
    unit: str = "cell",
    hashing: bool = True,
    progress: Progress | None = None,
) -> Plan:
    """Compare a source with the store (None: with nothing); sizes and times first, contents (sha256) only where those
    differ. Reads only.

    With `rehash` contents are compared whatever sizes and times say. Without `hashing`, files of images that the store
    does not hold are not read: their work lacks its contents' sha256, and is for looking at alone.
    """
    retry_failed |= pixel_size_um is not None  # a pixel size is what some of them lacked
    stored = _known(store, drop_flagged=drop_flagged, retry_failed=retry_failed, unit=unit) if store else _Known()
    sound = list(source.sound)
    work: list[Work] = []
    described: list[dict[str, Any]] = []
    known: list[Fault] = []
    faults = list(source.faults)
    seen: set[str] = set()
    done = 0
    ask = {"spaces": spaces, "ingested": stored.ingested, "option_um": pixel_size_um}
    for image in told(source.images[:limit], "files", progress):
        name = image_id(dataset, image.key)
        paths = [*(source.root / file for file in image.files), *(image.masks.files if image.masks else ())]
        if name in seen:
            faults.append(Fault(str(paths[0]), "plan", f"a second file has the key {image.key}", "rename one of them"))
            continue
        seen.add(name)
        if unreadable := _not_utf8(paths):
            faults.append(unreadable)
            continue
        if old_failure := _unchanged_failure(stored.failed, paths):
            known.append(old_failure)
            continue
        old = stored.images.get(name)
        if old or hashing:
            item = _item(source.root, image, name, old, rehash=rehash, **ask)
        else:
            item = _unread(source.root, image, name, spaces, pixel_size_um)
        if isinstance(item, Fault):
            faults.append(item)
            continue
        sound += map(str, paths)
        if old and (row := renewed(item, old)):
            described.append(row)
            sound += _paths(Path(old["source_root"]), old)  # what failed where they lay before
        if item.spaces:
            work.append(replace(item, drop_flagged=drop_flagged, unit=unit))
        else:
            done += 1
    others = (row for name, row in stored.images.items() if row["dataset"] == dataset and name not in seen)
    gone = 0 if limit else sum(_is_gone(source.root, row) for row in others)
    return Plan(tuple(work), done, tuple(known), tuple(faults), tuple(sound), tuple(described), gone)


def _is_gone(root: Path, row: dict[str, Any]) -> bool:
    return row["source_root"] == str(root) and not any(Path(path).exists() for path in _paths(root, row))


def _paths(root: Path, row: dict[str, Any]) -> list[str]:
    return [str(root / file["path"]) for file in row["files"]]


def _known(store: Store, *, drop_flagged: bool, retry_failed: bool, unit: str) -> _Known:
    return _Known(
        {row["image_id"]: row for row in rows(store, CURRENT_IMAGES)},
        _ingested(store, drop_flagged=drop_flagged),
        {} if retry_failed else _failed(store, unit),
    )


def _item(
    root: Path,
    image: SourceImage,
    name: str,
    old: dict[str, Any] | None,
    *,
    rehash: bool,
    **ask: Any,
) -> Work | Fault:
    """Return what one image still needs, or why it cannot be worked on."""
    first = str(root / image.files[0])
    try:
        files = states_of(root, image, None if rehash else old)
        item = missing_work(root, image, name, old, files, **ask)
    except OSError as error:
        return _not_there(first, error)
    if old and item.sha256 != old["sha256"] and (rival := _rival(root, old)):
        taken = f"{rival} is in the store under the same key {name}"
        return Fault(first, "plan", taken, "give one of the two folders another --dataset")
    return item


def _unread(root: Path, image: SourceImage, name: str, spaces: Sequence[str], option_um: float | None) -> Work | Fault:
    """Return an image that the store does not hold as work whose files are there, and were not read."""
    first = root / image.files[0]
    try:
        for path in (*(root / file for file in image.files), *(image.masks.files if image.masks else ())):
            path.stat()
    except OSError as error:
        return _not_there(str(first), error)
    return Work(image, root, name, 1, (), "", tuple(spaces), option_um=option_um)


def _not_there(source: str, error: OSError) -> Fault:
    return Fault(source, "plan", f"cannot be read: {error.strerror}", "check the file")


def stored_plan(
    store: Store, dataset: str | None, spaces: Sequence[str], source_root: Path | None, *, drop_flagged: bool = False
) -> Plan:
    """Return the work that `spaces` still need over the images already in the store, with their cells as they are.

    Files are looked for under `source_root`, then where they were before; where they are found to be the same under
    another root, the image's row is `renewed` with it.
    """
    ingested = _ingested(store, drop_flagged=drop_flagged)
    work: list[Work] = []
    faults: list[Fault] = []
    sound: list[str] = []
    moved: list[dict[str, Any]] = []
    done = 0
    for row in rows(store, f"{CURRENT_IMAGES} ORDER BY image_id"):
        if dataset is not None and row["dataset"] != dataset:
            continue
        missing = missing_spaces(ingested, row, spaces)
        done += not missing
        if not missing and source_root is None:
            continue
        item = _found(stored_work(row, missing, Path(row["source_root"])), source_root)
        if isinstance(item, Fault):
            faults += [item] if missing else []
            continue
        sound += _paths(item.root, row) + _paths(Path(row["source_root"]), row)
        if str(item.root) != row["source_root"]:
            moved.append(row | {"files": list(item.files), "source_root": str(item.root)})
        if missing:
            work.append(replace(item, drop_flagged=drop_flagged))
    if not work and not done and not faults:
        raise EmbstoreError(
            f"the store holds no image{f' of dataset {dataset!r}' if dataset else ''}; ingest some first"
        )
    return Plan(tuple(work), done, (), tuple(faults), tuple(sound), tuple(moved))


def _found(work: Work, source_root: Path | None) -> Work | Fault:
    """Return the work with the root under which its files are the same, or why there is none."""
    roots = [work.root] if source_root is None else [source_root, work.root]
    tried = [_unchanged(replace(work, root=root)) for root in roots]
    return next((item for item in tried if isinstance(item, Work)), tried[0])


def _unchanged(work: Work) -> Work | Fault:
    path = str(work.root / work.image.files[0])
    try:
        if not touched(work.root, work.image.files, work.files):
            return work
        files = hashed(work.root, work.image.files)
    except OSError as error:
        return Fault(
            path, "embed", f"cannot be read: {error.strerror}", "name the folder it moved to with --source-root"
        )
    if content(files) == work.sha256:
        return replace(work, files=files)
    return Fault(path, "embed", "the file changed since it was ingested", "run `embstore ingest` on its folder first")


def _rival(root: Path, old: dict[str, Any]) -> Path | None:
    """Return the file that an image was made of, where it lies unchanged in another folder than this source."""
    if Path(old["source_root"]) == root:
        return None
    files = [file["path"] for file in old["files"]]
    try:
        changed = touched(Path(old["source_root"]), files, old["files"])
    except OSError:
        return None
    return None if changed else Path(old["source_root"]) / files[0]


def _ingested(store: Store, *, drop_flagged: bool) -> Done:
    """Return (image, space) -> the revision and segmentation whose cells have their vectors, or the revision and WHOLE.

    Where flagged cells are asked for, an image of which some were left without a vector is not done.
    """
    markers = store.read("ingested", ["image_id", "space", "revision", "segmentation", "n_cells"]).to_pylist()
    whole = {row["digest"] for row in rows(store, "SELECT digest FROM spaces WHERE unit = 'image'")}
    cells = {} if drop_flagged else {(r["image_id"], r["segmentation"]): r["n"] for r in rows(store, CELLS_OF_IMAGES)}
    return {
        (row["image_id"], row["space"]): (row["revision"], WHOLE if row["space"] in whole else row["segmentation"])
        for row in markers
        if row["space"] in whole or row["n_cells"] >= cells.get((row["image_id"], row["segmentation"]), 0)
    }


def _failed(store: Store, unit: str) -> dict[str, dict[str, Any]]:
    # only reading is worth saving: what planning found is seen again for nothing, and may be mended by another file
    read = [row for row in store.read("failures").to_pylist() if row["stage"] == "read"]
    # a whole image can do without cells
    return {row["source"]: row for row in read if unit != "image" or not row["error"].startswith(NO_NUCLEUS)}


def _not_utf8(paths: Sequence[Path]) -> Fault | None:
    for path in paths:
        if not str(path).isprintable() or any("\ud800" <= c <= "\udfff" for c in str(path)):
            return Fault(ascii(str(path)), "plan", "the file's name is not printable UTF-8 text", "rename the file")
    return None


def _unchanged_failure(failed: Mapping[str, dict[str, Any]], paths: Sequence[Path]) -> Fault | None:
    for path in paths:
        row = failed.get(str(path))
        if row and (row["size"], row["mtime_ns"]) == files_state(paths):
            return Fault(row["source"], row["stage"], row["error"], row["todo"])
    return None
