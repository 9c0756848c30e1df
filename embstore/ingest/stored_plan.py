"""What is missing of the store's own images: which spaces lack their vectors, and where their files are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from embstore.errors import EmbstoreError, choices
from embstore.files import content, hashed, touched
from embstore.ingest.plan import CURRENT_IMAGES, Compared, Plan, ingested_spaces, stored_paths
from embstore.ingest.work import Work, missing_spaces, stored_work
from embstore.sources.record import Failure
from embstore.store import ImageRow, Store, rows


def stored_plan(
    store: Store, dataset: str | None, spaces: Sequence[str], source_root: Path | None, *, drop_flagged: bool = False
) -> Plan:
    """Return the work that `spaces` still need on images in the store, with their existing cells.

    Files are searched under `source_root`, then where they were before; if they are the same under another root, the
    image's row is `renewed` with it. Raises EmbstoreError if the store has no image, or not the dataset.
    """
    ingested = ingested_spaces(store, drop_flagged=drop_flagged)
    current = cast("list[ImageRow]", rows(store, CURRENT_IMAGES))
    images = [(row, missing_spaces(ingested, row, spaces)) for row in current if dataset in (None, row["dataset"])]
    if not images:
        if not current or dataset is None:
            raise EmbstoreError("the store contains no image; ingest some first")
        raise EmbstoreError(choices(dataset, "dataset", {row["dataset"] for row in current}, "with images"))
    outcomes = [_compare(row, missing, source_root) for row, missing in images if missing or source_root]
    compared = [outcome for outcome in outcomes if isinstance(outcome, Compared)]
    return Plan(
        work=tuple(replace(item.work, drop_flagged=drop_flagged) for item in compared if item.work),
        done=sum(not missing for _, missing in images),
        known_failures=(),
        failures=tuple(outcome for outcome in outcomes if isinstance(outcome, Failure)),
        usable=tuple(path for item in compared for path in item.usable),
        renewed=tuple(item.renewed for item in compared if item.renewed),
    )


def _compare(row: ImageRow, missing: tuple[str, ...], source_root: Path | None) -> Compared | Failure | None:
    """Return one image with what it still needs, or why it cannot be worked on; None if it needs nothing."""
    before = Path(row["source_root"])
    work = _located(stored_work(row, missing, before), source_root)
    if isinstance(work, Failure):
        return work if missing else None
    moved: ImageRow | None = None
    if str(work.root) != row["source_root"]:
        moved = {**row, "files": list(work.files), "source_root": str(work.root)}
    return Compared(work if missing else None, (*stored_paths(work.root, row), *stored_paths(before, row)), moved)


def _located(work: Work, source_root: Path | None) -> Work | Failure:
    """Return the work with the root under which its files are the same, or why there is none."""
    roots = [work.root] if source_root is None else [source_root, work.root]
    tried = [_unchanged(replace(work, root=root)) for root in roots]
    return next((item for item in tried if isinstance(item, Work)), tried[0])


def _unchanged(work: Work) -> Work | Failure:
    path = str(work.root / work.image.files[0])
    try:
        if not touched(work.root, work.image.files, work.files):
            return work
        files = hashed(work.root, work.image.files)
    except OSError as error:
        return Failure(path, "embed", f"cannot be read: {error.strerror}", "name its new folder with --source-root")
    if content(files) == work.sha256:
        return replace(work, files=files)
    return Failure(path, "embed", "the file changed since it was ingested", "run `embstore ingest` on its folder first")
