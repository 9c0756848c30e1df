"""What each channel shows: roles by position, or by the name of a channel in a file, column or metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from embstore.errors import EmbstoreError
from embstore.ids import split_list
from embstore.sources.tables import Renaming

# names of stains and columns, in lower case; other names have to be given with --channels
ROLE_NAMES = {
    "nucleus": ("nucleus", "nuclei", "dna", "dapi", "hoechst", "hoechst 33342", "blue", "b_image"),
    "protein": ("protein", "gfp", "egfp", "mneongreen", "green", "g_image"),
    "microtubules": ("microtubules", "microtubule", "tubulin", "red", "r_image"),
    "er": ("er", "endoplasmic reticulum", "yellow", "y_image"),
    "actin": ("actin", "phalloidin"),
    "mitochondria": ("mitochondria", "mito", "mitotracker"),
    "membrane": ("membrane", "wga"),
    "golgi": ("golgi",),
    "brightfield": ("brightfield", "bf", "phase"),
}
_ROLE_OF = {name: role for role, names in ROLE_NAMES.items() for name in names}


@dataclass(frozen=True)
class Channels:
    """The value of --channels: roles in the order of a file's planes, or NAME=ROLE for names that are not well
    known.
    """

    in_order: tuple[str, ...] = ()
    by_name: dict[str, str] = field(default_factory=dict)

    def role(self, name: str) -> str | None:
        """Return the role of a channel with this name, or None if neither the user nor the list of stains knows it."""
        return self.by_name.get(name) or _ROLE_OF.get(name.strip().lower())


@dataclass(frozen=True)
class Reading:
    """How to read a source whose names are not enough: a table of labels, its channels, the folder of its files."""

    labels: Path | None = None
    channels: Channels = Channels()
    root: Path | None = None
    renaming: Renaming | None = None  # the user's names of the table's columns


def parse_channels(text: str) -> Channels:
    """Return the channels in `nucleus,protein` (by position) or `gfp=protein,rfp=cytosol` (by name), or joined by `;`.

    Raises EmbstoreError for anything else.
    """
    items = split_list(text, ",;")
    pairs = [[part.strip() for part in item.split("=", 1)] for item in items if "=" in item]
    roles = [role for _, role in pairs] if pairs else items
    mixed = pairs and len(pairs) != len(items)
    if (text and not items) or mixed or not all(roles) or len(set(roles)) != len(roles):
        raise EmbstoreError(
            f"--channels is {text!r}; wanted each role once, in the order of the planes (nucleus,protein) or by name "
            "(gfp=protein,rfp=cytosol)"
        )
    return Channels(() if pairs else tuple(items), dict(pairs))


def named_roles(names: Sequence[str], channels: Channels, where: str) -> tuple[str, ...]:
    """Return the role of every channel of a file; EmbstoreError if a name is unknown or two have the same role."""
    roles = [channels.role(name) for name in names]
    if None in roles or len(set(roles)) != len(roles):
        listed = ", ".join(
            f"{name or '(no name)'} ({role or 'unknown'})" for name, role in zip(names, roles, strict=True)
        )
        raise EmbstoreError(
            f"{where} has the channels {listed}; name what they show: --channels ROLE,ROLE,... or NAME=ROLE,..."
        )
    return tuple(role for role in roles if role)
