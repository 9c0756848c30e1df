"""What is missing: which images of a source are new or changed, and which spaces they have no vectors in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embstore.errors import EmbstoreError
from embstore.ids import digest, image_id
from embstore.query import rows
from embstore.sources.record import Fault, Source, SourceImage
from embstore.store import Store

CURRENT_IMAGES = "SELECT * FROM images QUALIFY revision = max(revision) OVER (PARTITION BY image_id)"


@dataclass(frozen=True)
class Work:
    """One image and what it still needs: cells (no segmentation yet) and vectors in `spaces`."""

    image: SourceImage
    root: Path
    image_id: str
    revision: int
    files: tuple[dict[str, Any], ...]  # path, size, mtime_ns, sha256
    sha256: str
    spaces: tuple[str, ...]
    segmentation: str | None = None  # of cells that are in the store already
    pixel_size_um: float | None = None  # of those


@dataclass(frozen=True)
class Plan:
    """The work, what is done already, and files that failed before and have not changed since.

    `sound` are the files of images that need nothing or can be worked on: those of them that failed before are mended.
    """

    work: tuple[Work, ...]
    done: int
    known_failures: tuple[Fault, ...]
    faults: tuple[Fault, ...]
    sound: tuple[str, ...]


def make_plan(
    store: Store, source: Source, dataset: str, spaces: Sequence[str], *, retry_failed: bool, limit: int | None
) -> Plan:
    """Compare a source with the store; sizes and times first, contents (sha256) only where those differ. Reads only."""
    stored = {row["image_id"]: row for row in rows(store, CURRENT_IMAGES)}
    ingested = _ingested(store)
    failed = {} if retry_failed else _failed(store)
    sound: list[str] = []
    work: list[Work] = []
    known: list[Fault] = []
    faults = list(source.faults)
    seen: set[str] = set()
    done = 0
    for image in source.images[:limit]:
        name = image_id(dataset, image.key)
        paths = [source.root / file for file in image.files]
        if name in seen:
            faults.append(Fault(str(paths[0]), "plan", f"a second file has the key {image.key}", "rename one of them"))
            continue
        seen.add(name)
        if old_failure := _unchanged_failure(failed, paths):
            known.append(old_failure)
            continue
        try:
            item = _work(source.root, image, name, stored.get(name), spaces=spaces, ingested=ingested)
        except OSError as error:
            faults.append(Fault(str(paths[0]), "plan", f"cannot be read: {error.strerror}", "check the file"))
            continue
        sound += map(str, paths)
        if item is None:
            done += 1
        else:
            work.append(item)
    return Plan(tuple(work), done, tuple(known), tuple(faults), tuple(sound))


def stored_plan(store: Store, dataset: str | None, spaces: Sequence[str], source_root: Path | None) -> Plan:
    """Return the work that `spaces` still need over the images already in the store, with their cells as they are."""
    ingested = _ingested(store)
    work: list[Work] = []
    faults: list[Fault] = []
    sound: list[str] = []
    done = 0
    for row in rows(store, f"{CURRENT_IMAGES} ORDER BY image_id"):
        if dataset is not None and row["dataset"] != dataset:
            continue
        missing = _missing(ingested, row, spaces)
        item = _stored_work(row, missing, source_root or Path(row["source_root"]))
        if not missing:
            done += 1
        elif fault := _moved_or_changed(item):
            faults.append(fault)
        else:
            work.append(item)
            # a file that was looked for where it was ingested from is found, if now under another root
            sound += [str(root / file) for root in (item.root, Path(row["source_root"])) for file in item.image.files]
    if not work and not done and not faults:
        raise EmbstoreError(
            f"the store holds no image{f' of dataset {dataset!r}' if dataset else ''}; ingest some first"
        )
    return Plan(tuple(work), done, (), tuple(faults), tuple(sound))


def _moved_or_changed(work: Work) -> Fault | None:
    path = str(work.root / work.image.files[0])
    try:
        if not _touched(work.root, work.image.files, work.files):
            return None
        if _content(_hashed(work.root, work.image.files)) == work.sha256:
            return None
    except OSError as error:
        return Fault(
            path, "embed", f"cannot be read: {error.strerror}", "name the folder it moved to with --source-root"
        )
    return Fault(path, "embed", "the file changed since it was ingested", "run `embstore ingest` on its folder first")


def _stored_work(row: dict[str, Any], missing: tuple[str, ...], root: Path) -> Work:
    image = SourceImage(
        key=row["image_id"].removeprefix(row["dataset"] + "/"),
        files=tuple(file["path"] for file in row["files"]),
        roles=tuple(row["roles"]),
    )
    return Work(
        image=image,
        root=root,
        image_id=row["image_id"],
        revision=row["revision"],
        files=tuple(row["files"]),
        sha256=row["sha256"],
        spaces=missing,
        segmentation=row["segmentation"],
        pixel_size_um=row["pixel_size_um"],
    )


def _work(
    root: Path,
    image: SourceImage,
    name: str,
    old: dict[str, Any] | None,
    *,
    spaces: Sequence[str],
    ingested: dict[tuple[str, str], tuple[int, str]],
) -> Work | None:
    if old is None:
        files = _hashed(root, image.files)
        return Work(image, root, name, 1, files, _content(files), tuple(spaces))
    if not _touched(root, image.files, old["files"]):
        files = tuple(old["files"])
    else:
        files = _hashed(root, image.files)
        if _content(files) != old["sha256"]:
            return Work(image, root, name, old["revision"] + 1, files, _content(files), tuple(spaces))
    missing = _missing(ingested, old, spaces)
    if not missing:
        return None
    return replace(_stored_work(old, missing, root), image=image, files=files)


def _missing(
    ingested: dict[tuple[str, str], tuple[int, str]], image: dict[str, Any], spaces: Sequence[str]
) -> tuple[str, ...]:
    current = (image["revision"], image["segmentation"])
    return tuple(space for space in spaces if ingested.get((image["image_id"], space)) != current)


def _ingested(store: Store) -> dict[tuple[str, str], tuple[int, str]]:
    return {
        (row["image_id"], row["space"]): (row["revision"], row["segmentation"])
        for row in store.read("ingested", ["image_id", "space", "revision", "segmentation"]).to_pylist()
    }


def _touched(root: Path, files: Sequence[str], known: Sequence[dict[str, Any]]) -> bool:
    if [file["path"] for file in known] != list(files):
        return True
    stats = [(root / file).stat() for file in files]
    return any((s.st_size, s.st_mtime_ns) != (k["size"], k["mtime_ns"]) for s, k in zip(stats, known, strict=True))


def _hashed(root: Path, files: Sequence[str]) -> tuple[dict[str, Any], ...]:
    hashed = []
    for file in files:
        path = root / file
        stat = path.stat()
        with path.open("rb") as handle:
            sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
        hashed.append({"path": file, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": sha256})
    return tuple(hashed)


def _content(files: Sequence[dict[str, Any]]) -> str:
    return digest([file["sha256"] for file in files])


def _failed(store: Store) -> dict[str, dict[str, Any]]:
    # only reading is worth saving: what planning found is seen again for nothing, and may be mended by another file
    return {row["source"]: row for row in store.read("failures").to_pylist() if row["stage"] == "read"}


def _unchanged_failure(failed: dict[str, dict[str, Any]], paths: Sequence[Path]) -> Fault | None:
    for path in paths:
        row = failed.get(str(path))
        if row and (row["size"], row["mtime_ns"]) == files_state(paths):
            return Fault(row["source"], row["stage"], row["error"], row["todo"])
    return None


def files_state(paths: Sequence[Path]) -> tuple[int | None, int | None]:
    """Return the size of an image's files together and their latest mtime in ns; two Nones where one is missing."""
    try:
        stats = [path.stat() for path in paths]
    except OSError:
        return None, None
    return sum(s.st_size for s in stats), max(s.st_mtime_ns for s in stats)
