"""What reading images will return or fail at, as far as their files' headers show: what a dry run reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from embstore.backbones.crops import check_roles
from embstore.errors import ImageError
from embstore.ingest.failures import embed_failure, image_failure, unread_failure
from embstore.ingest.plan import Plan
from embstore.ingest.prepare import check_nucleus
from embstore.ingest.reading import read_ahead
from embstore.ingest.report import Report, compared, count_assignment
from embstore.ingest.work import Work
from embstore.pixels.masks import check_mask, read_label_image
from embstore.progress import Progress, tracked
from embstore.sources.layouts import foresee_channels
from embstore.sources.record import Failure, Masks
from embstore.space import Space

READERS = 4  # threads: on a file server, most time is spent waiting
MASKS_READ = 20  # images whose masks are decoded; one tool writes all of them alike


@dataclass(frozen=True)
class Foreseen:
    """What an image would give: which planes become which roles, and why, and what the values of its masks mean."""

    assignment: str = ""  # empty if no layout states why
    mask_note: str = ""


def report_plan(plan: Plan, spaces: Sequence[Space], report: Report, progress: Progress | None) -> None:
    """Report the plan, and every failure that can be found without decoding pixels."""
    compared(report, plan)
    report.failures = list(plan.failures)
    if (read := len(_masks_read(plan.work))) < (masked := len(_with_masks(plan.work))):
        report.notes.append(f"masks: the values of {read} of {masked} were read; an ingest reads all of them")
    for work, outcome in zip(tracked(plan.work, "headers", progress), foreseen(plan.work, spaces), strict=True):
        if isinstance(outcome, Failure):
            report.failures.append(outcome)
        else:
            count_assignment(report, outcome.assignment)
            if outcome.mask_note:
                report.mask_notes[work.image_id] = outcome.mask_note
            report.images_in += 1
            report.without_protein += work.segmentation is None and not work.image.protein_ids


def foreseen(work: Sequence[Work], spaces: Sequence[Space]) -> Iterator[Failure | Foreseen]:
    """Yield, for each image in order, what it would give, or the failure that it would end in under any of the spaces.

    The checks are those of decoding, so that what is reported here fails, and what is not reported can fail only at its
    pixels: damage within them, values that are not finite, a pixel size that cannot be estimated. Reads headers only,
    but unpacks files packed with gzip, and decodes colour pictures and the masks of MASKS_READ images.
    """
    read = set(_masks_read(work))
    return read_ahead(partial(_foreseen, spaces), [(each, number in read) for number, each in enumerate(work)], READERS)


def _masks_read(work: Sequence[Work]) -> list[int]:
    """Return the numbers of the images whose masks a dry run decodes: at most MASKS_READ of them, evenly spread."""
    masked = _with_masks(work)
    n = min(len(masked), MASKS_READ)
    return [masked[at * len(masked) // n] for at in range(n)]


def _with_masks(work: Sequence[Work]) -> list[int]:
    """Return the numbers of the images whose cells would be those of masks."""
    return [number for number, each in enumerate(work) if each.segmentation is None and each.image.masks is not None]


def _foreseen(spaces: Sequence[Space], item: tuple[Work, bool]) -> Failure | Foreseen:
    work, read = item
    assignment, note, failure = "", "", None
    try:
        shape, roles, assignment = foresee_channels(work.root, work.image)
        if work.segmentation is None:
            check_nucleus(work, roles)
            note = "; ".join(_mask_notes(work.image.masks, shape, read=read) if work.image.masks else ())
        failure = _without_role(work, roles, spaces)
    except ImageError as error:
        failure = image_failure(work, error.found, error.todo)
    except OSError as error:
        failure = unread_failure(work, error)
    if failure is None:
        return Foreseen(assignment, note)
    return replace(failure, source=work.image.listed or failure.source)


def _mask_notes(masks: Masks, shape: tuple[int, ...], *, read: bool) -> Iterator[str]:
    """Yield what the values of masks mean where that is worth a note; ImageError where they mean no objects."""
    for kind, path in (("nuclei", masks.nuclei), ("cells", masks.cells)):
        if path is not None and not read:
            check_mask(path, shape)
        elif path is not None and (note := read_label_image(path, shape).note):
            yield f"{kind}: {note}"


def _without_role(work: Work, roles: Sequence[str], spaces: Sequence[Space]) -> Failure | None:
    """Return the failure of an image that has no role of one of the spaces (the first such space), else None."""
    for space in (space for space in spaces if space.digest in work.spaces):
        try:
            check_roles(roles, space.roles, space.backbone)
        except ImageError as error:
            return embed_failure(work, space, error.found, error.todo)
    return None
