"""What reading images will give or fail at, told from their files' headers: what a dry run reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from embstore.backbones.crops import check_roles
from embstore.errors import ImageError
from embstore.ingest.failures import embed_failure, image_failure, unread_failure
from embstore.ingest.prepare import check_nucleus
from embstore.ingest.reading import read_ahead
from embstore.ingest.work import Work
from embstore.pixels.masks import check_mask
from embstore.sources.layouts import foresee_channels
from embstore.sources.record import Failure
from embstore.space import Space

READERS = 4  # threads: what takes time on a server is waiting for its files


def foreseen(work: Sequence[Work], spaces: Sequence[Space]) -> Iterator[Failure | str]:
    """Yield, for each image in order, the failure that it would end in under any of the spaces.

    Of the others, yield which planes would become which roles, and why (empty where no layout says why). The checks
    are those of decoding, so that what is told here fails, and what is not told fails at its pixels alone: damage
    within them, values that are not finite, a pixel size that cannot be estimated. Reads headers only; files that are
    packed with gzip are unpacked, and pictures in colour decoded.
    """
    return read_ahead(partial(_foreseen, spaces), work, READERS)


def _foreseen(spaces: Sequence[Space], work: Work) -> Failure | str:
    assignment, failure = "", None
    try:
        shape, roles, assignment = foresee_channels(work.root, work.image)
        if work.segmentation is None:
            check_nucleus(work, roles)
            for mask in work.image.masks.files if work.image.masks else ():
                check_mask(mask, shape)
        failure = _without_role(work, roles, spaces)
    except ImageError as error:
        failure = image_failure(work, error.found, error.todo)
    except OSError as error:
        failure = unread_failure(work, error)
    return replace(failure, source=work.image.listed or failure.source) if failure else assignment


def _without_role(work: Work, roles: Sequence[str], spaces: Sequence[Space]) -> Failure | None:
    """Return the failure of an image that has no role of the first space for which this is so; None without one."""
    for space in (space for space in spaces if space.digest in work.spaces):
        try:
            check_roles(roles, space.roles, space.backbone)
        except ImageError as error:
            return embed_failure(work, space, error.found, error.todo)
    return None
