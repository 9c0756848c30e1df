"""Decide which planes of an image's files become which roles: checked before anything is projected, never guessed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from embstore.errors import ImageError
from embstore.pixels.planes import Header
from embstore.sources.record import SourceImage


def channels_in_file(image: SourceImage) -> int:
    """Return how many channels each file of an image should have."""
    return 1 if len(image.files) == len(image.roles) else len(image.roles)


def fitting_roles(image: SourceImage, headers: Sequence[Header]) -> tuple[str, ...]:
    """Return the roles of an image from its files' headers; ImageError if they do not fit."""
    if len(image.files) != len(image.roles):
        return _of_one_file(image, headers[0])
    for file, header in zip(image.files, headers, strict=True):
        if header.shape[0] != 1 and not header.colour:
            problem = f"{file} has {header.shape[0]} channels{_axis(header)}"
            raise ImageError(f"{problem}; wanted one, grey or pseudo-coloured (RGB)")
    if len({header.shape[1:] for header in headers}) > 1:
        shapes = ", ".join(f"{Path(f).name} {h.shape[1:]}" for f, h in zip(image.files, headers, strict=True))
        raise ImageError(f"channels of different shapes: {shapes}; wanted one shape")
    return image.roles


def _of_one_file(image: SourceImage, header: Header) -> tuple[str, ...]:
    planes, roles = header.shape[0], image.roles
    listed = ", ".join(roles)
    if planes > len(roles):
        alpha = f", of which the {_nth(planes)} is alpha and not opaque" if header.colour.endswith("A") else ""
        raise ImageError(f"{image.files[0]} has {planes} channels{alpha}; wanted at most {len(roles)} ({listed})")
    if planes < len(roles) and not image.may_end_early:
        problem = f"{image.files[0]} has {planes} channel{'s' if planes > 1 else ''}{_axis(header)}"
        todo = "name the channels that it has (--channels, or a column channels)"
        raise ImageError(f"{problem}, wanted {len(roles)} ({listed})", todo=todo)
    return roles[:planes]


def _axis(header: Header) -> str:
    return f" ({header.colour or f'axis {header.axis}'})" if header.axis else ""


def _nth(number: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(number, f"{number}th")


def assignment_text(image: SourceImage, headers: Sequence[Header]) -> str:
    """Return which planes became which roles, and why, for the report; "" if no layout states why."""
    roles = fitting_roles(image, headers)
    if not image.role_reasons:
        return ""
    if len(image.files) == len(image.roles):
        planes = [f"{header.colour} file, brightest colour" if header.colour else "file" for header in headers]
    else:
        planes = [f"{_PLANES.get(headers[0].axis, 'channel')} {i}" for i in range(len(roles))]
    pairs = zip(planes, roles, image.role_reasons, strict=False)
    text = ", ".join(f"{plane} → {role} ({why})" for plane, role, why in pairs)
    return "; ".join([text, *_remarks(image, headers, roles)])


_PLANES = {"S": "colour", "I": "page", "Q": "page", "Z": "z plane"}


def _remarks(image: SourceImage, headers: Sequence[Header], roles: Sequence[str]) -> Iterator[str]:
    if headers[0].axis == "Z":
        yield "planes along z are taken as channels, because there are as many as roles and no channel axis"
    if any(header.depth > 1 for header in headers):
        yield "each the maximum over z"
    if absent := image.roles[len(roles) :]:
        yield f"no plane for {', '.join(absent)}"
