"""Group files that show one channel each by the key of their image."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from embstore.sources.record import Failure, SourceImage


def grouped(
    root: Path, named: Iterable[tuple[str, str, str, str]], *, one_cell: bool = False
) -> tuple[list[SourceImage], list[Failure]]:
    """Return an image for each key among (file, key, role, why it is that role), its nucleus first.

    A second file of a role is a failure.
    """
    images: dict[str, dict[str, tuple[str, str]]] = {}
    failures = []
    for file, key, role, why in named:
        if rival := images.setdefault(key, {}).get(role):
            failures.append(
                Failure(str(root / file), "plan", f"{rival[0]} is the {role} of {key} too", "keep one of them")
            )
        else:
            images[key][role] = file, why
    return [_image(key, files, one_cell=one_cell) for key, files in images.items()], failures


def _image(key: str, files: dict[str, tuple[str, str]], *, one_cell: bool) -> SourceImage:
    order = sorted(files, key=lambda role: (role != "nucleus", role != "protein", role))
    role_reasons = tuple(files[role][1] for role in order)
    return SourceImage(
        key, tuple(files[role][0] for role in order), tuple(order), one_cell=one_cell, role_reasons=role_reasons
    )
