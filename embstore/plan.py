"""What is missing: which images of a source are new or changed, and which spaces they have no vectors in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embstore.errors import EmbstoreError
from embstore.files import file_sha256, file_state
from embstore.ids import digest, image_id, segmentation_id
from embstore.pixels.segment import SEGMENTER
from embstore.pixels.whole import WHOLE_IMAGE
from embstore.query import rows
from embstore.sources.record import Fault, Source, SourceImage
from embstore.store import Store

NO_NUCLEUS = "there is no nucleus channel"
CELLS_OF_IMAGES = "SELECT image_id, segmentation, count(*) AS n FROM cells_raw GROUP BY ALL ORDER BY ALL"
WHOLE = ""  # in place of a segmentation: the vector is of the image, whatever its cells are
Done = dict[tuple[str, str], tuple[int, str]]  # (image, space) -> revision, segmentation
CURRENT_IMAGES = "SELECT * FROM images QUALIFY revision = max(revision) OVER (PARTITION BY image_id)"


@dataclass(frozen=True)
class Work:
    """One image and what it still needs: cells (no segmentation yet) and vectors in `spaces`.

    `recut` says that cells of the very same content are in the store, made from other masks or at another pixel size.
    """

    image: SourceImage
    root: Path
    image_id: str
    revision: int
    files: tuple[dict[str, Any], ...]  # path, size, mtime_ns, sha256
    sha256: str
    spaces: tuple[str, ...]
    segmentation: str | None = None  # of cells that are in the store already
    pixel_size_um: float | None = None  # of those
    segmenter: Mapping[str, Any] = field(default_factory=lambda: SEGMENTER)  # the spec of what makes new cells
    option_um: float | None = None  # the pixel size that the user gives
    recut: bool = False
    drop_flagged: bool = False  # cells with a quality flag get no vector
    unit: str = "cell"  # of the spaces: where it is image, an image that cannot be segmented will do


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


def make_plan(
    store: Store,
    source: Source,
    dataset: str,
    spaces: Sequence[str],
    *,
    retry_failed: bool,
    limit: int | None,
    pixel_size_um: float | None = None,
    drop_flagged: bool = False,
    unit: str = "cell",
) -> Plan:
    """Compare a source with the store; sizes and times first, contents (sha256) only where those differ. Reads only."""
    stored = {row["image_id"]: row for row in rows(store, CURRENT_IMAGES)}
    ingested = _ingested(store, drop_flagged=drop_flagged)
    # a pixel size is what some of them lacked
    failed = {} if retry_failed or pixel_size_um is not None else _failed(store, unit)
    sound = list(source.sound)
    work: list[Work] = []
    renewed: list[dict[str, Any]] = []
    known: list[Fault] = []
    faults = list(source.faults)
    seen: set[str] = set()
    done = 0
    for image in source.images[:limit]:
        name = image_id(dataset, image.key)
        paths = [*(source.root / file for file in image.files), *(image.masks.files if image.masks else ())]
        if name in seen:
            faults.append(Fault(str(paths[0]), "plan", f"a second file has the key {image.key}", "rename one of them"))
            continue
        seen.add(name)
        if unreadable := _not_utf8(paths):
            faults.append(unreadable)
            continue
        if old_failure := _unchanged_failure(failed, paths):
            known.append(old_failure)
            continue
        old = stored.get(name)
        try:
            item = _work(source.root, image, name, old, spaces=spaces, ingested=ingested, option_um=pixel_size_um)
        except OSError as error:
            faults.append(Fault(str(paths[0]), "plan", f"cannot be read: {error.strerror}", "check the file"))
            continue
        if old and item.sha256 != old["sha256"] and (rival := _rival(source.root, old)):
            taken = f"{rival} is in the store under the same key {name}"
            faults.append(Fault(str(paths[0]), "plan", taken, "give one of the two folders another --dataset"))
            continue
        sound += map(str, paths)
        if old and (row := _renewed(item, old)):
            renewed.append(row)
        if item.spaces:
            work.append(replace(item, drop_flagged=drop_flagged, unit=unit))
        else:
            done += 1
    return Plan(tuple(work), done, tuple(known), tuple(faults), tuple(sound), tuple(renewed))


def stored_plan(
    store: Store, dataset: str | None, spaces: Sequence[str], source_root: Path | None, *, drop_flagged: bool = False
) -> Plan:
    """Return the work that `spaces` still need over the images already in the store, with their cells as they are."""
    ingested = _ingested(store, drop_flagged=drop_flagged)
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
            work.append(replace(item, drop_flagged=drop_flagged))
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
    ingested: Done,
    option_um: float | None,
) -> Work:
    """Return what an image still needs: all spaces where its content or cells are new, else those that it lacks."""
    known = old is not None and not _touched(root, image.files, old["files"])
    files = tuple(old["files"]) if old and known else _hashed(root, image.files)
    spec = _segmenter(image)
    fresh = Work(image, root, name, 1, files, _content(files), tuple(spaces), segmenter=spec, option_um=option_um)
    if old is None:
        return fresh
    if fresh.sha256 != old["sha256"] or _read_otherwise(image, old):
        return replace(fresh, revision=old["revision"] + 1)
    if _other_cells(image, old, spec, option_um):
        return replace(fresh, revision=old["revision"], recut=True)
    return replace(_stored_work(old, _missing(ingested, old, spaces), root), image=image, files=files)


def _read_otherwise(image: SourceImage, old: dict[str, Any]) -> bool:
    """Tell whether the same pixels are now said to show something else, or to be of another size: new cells then.

    What the file or the user said of the size goes before what a layout says.
    """
    if list(image.roles[: len(old["roles"])]) != old["roles"]:
        return True
    known = image.pixel_size_um is not None and old["pixel_size_source"] not in ("metadata", "option")
    return known and old["pixel_size_um"] is not None and image.pixel_size_um != old["pixel_size_um"]


def _segmenter(image: SourceImage) -> Mapping[str, Any]:
    """Return the spec of what makes an image's cells: its masks' contents, the whole image, or the segmenter."""
    if image.masks is None:
        return WHOLE_IMAGE if image.one_cell else SEGMENTER
    nuclei, cells = (path and file_sha256(path) for path in (image.masks.nuclei, image.masks.cells))
    completed = None if nuclei and cells else SEGMENTER  # what grows cells, or finds nuclei in them
    return {"name": "masks", "revision": 1, "nuclei": nuclei, "cells": cells, "completed_by": completed}


def _other_cells(image: SourceImage, old: dict[str, Any], spec: Mapping[str, Any], option_um: float | None) -> bool:
    """Tell whether the masks and pixel size of this source make other cells than those in the store.

    What it does not say (no masks, no pixel size) stays as it was.
    """
    if image.masks is None:
        return option_um not in (None, old["pixel_size_um"])
    known_um = old["pixel_size_um"] if old["pixel_size_source"] != "estimated" else None
    wanted = segmentation_id(spec, old["sha256"], known_um if option_um is None else option_um)
    return bool(old["segmentation"] != wanted)


def described(image: SourceImage) -> dict[str, Any]:
    """Return the columns of `images` that a layout's names and labels say, whatever the pixels are."""
    return {
        "plate": image.plate,
        "well": image.well,
        "site": image.site,
        "cell_line": image.cell_line,
        "protein_ids": list(image.protein_ids),
        "genes": list(image.genes),
        "antibody": image.antibody,
        "licence": image.licence,
        "extra": json.dumps(dict(image.extra), ensure_ascii=False, sort_keys=True) if image.extra else None,
    }


def _renewed(work: Work, old: dict[str, Any]) -> dict[str, Any] | None:
    """Return the row of an image whose content is as it was, where what is known of it changed; else None.

    What the source does not say now (no labels were given) stays as it was.
    """
    if work.revision != old["revision"]:
        return None
    said = {column: value for column, value in described(work.image).items() if value}
    row = old | said | {"files": list(work.files), "source_root": str(work.root)}
    return row if row != old else None


def _rival(root: Path, old: dict[str, Any]) -> Path | None:
    """Return the file that an image was made of, where it lies unchanged in another folder than this source."""
    if Path(old["source_root"]) == root:
        return None
    files = [file["path"] for file in old["files"]]
    try:
        touched = _touched(Path(old["source_root"]), files, old["files"])
    except OSError:
        return None
    return None if touched else Path(old["source_root"]) / files[0]


def _missing(ingested: Done, image: dict[str, Any], spaces: Sequence[str]) -> tuple[str, ...]:
    done = ((image["revision"], image["segmentation"]), (image["revision"], WHOLE))
    return tuple(space for space in spaces if ingested.get((image["image_id"], space)) not in done)


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


def _touched(root: Path, files: Sequence[str], known: Sequence[dict[str, Any]]) -> bool:
    if [file["path"] for file in known] != list(files):
        return True
    states = [file_state(root / file) for file in files]
    return any(state != (k["size"], k["mtime_ns"]) for state, k in zip(states, known, strict=True))


def _hashed(root: Path, files: Sequence[str]) -> tuple[dict[str, Any], ...]:
    hashed = []
    for file in files:
        path = root / file
        size, mtime_ns = file_state(path)
        hashed.append({"path": file, "size": size, "mtime_ns": mtime_ns, "sha256": file_sha256(path)})
    return tuple(hashed)


def _content(files: Sequence[dict[str, Any]]) -> str:
    return digest([file["sha256"] for file in files])


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


def _unchanged_failure(failed: dict[str, dict[str, Any]], paths: Sequence[Path]) -> Fault | None:
    for path in paths:
        row = failed.get(str(path))
        if row and (row["size"], row["mtime_ns"]) == files_state(paths):
            return Fault(row["source"], row["stage"], row["error"], row["todo"])
    return None


def files_state(paths: Sequence[Path]) -> tuple[int | None, int | None]:
    """Return the size of an image's files together and their latest mtime in ns; two Nones where one is missing."""
    try:
        states = [file_state(path) for path in paths]
    except OSError:
        return None, None
    return sum(size for size, _ in states), max(mtime_ns for _, mtime_ns in states)
