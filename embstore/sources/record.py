"""What every layout returns: images to read, labels, and failures found before anything is decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

POSITION = "position"  # why a plane has a role, if nothing else determines it
ATLAS = "phantom.json"  # the file that the phantom atlas writes into its folder


@dataclass(frozen=True)
class Masks:
    """The label images of one field from another tool: of its nuclei, its cells, or both."""

    nuclei: Path | None = None
    cells: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Return those that exist."""
        return tuple(path for path in (self.nuclei, self.cells) if path is not None)


@dataclass(frozen=True)
class SourceImage:
    """One field of view as a layout describes it; `files` are relative to the source root.

    With as many files as roles, each file shows one role; a single file shows `roles` in the order of its planes, of
    which the last may be missing if it `may_end_early` (a nucleus alone). `role_reasons` states for each role why it is
    that one: a name, a column, a colour, its position.
    """

    key: str
    files: tuple[str, ...]
    roles: tuple[str, ...]
    pixel_size_um: float | None = None  # if the layout's names determine it, or its table has it
    pixel_size_source: str = "layout"
    one_cell: bool = False  # the image is a crop that one cell fills, and is not segmented
    protein_ids: tuple[str, ...] = ()
    genes: tuple[str, ...] = ()
    plate: str | None = None
    well: str | None = None
    site: str | None = None
    cell_line: str | None = None
    antibody: str | None = None
    licence: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    masks: Masks | None = None  # instead of the built-in segmentation
    listed: str = ""  # `<table>:<line>` that lists it, if a table does
    may_end_early: bool = False
    role_reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Label:
    """One location of one protein, image or cell in a label set."""

    scheme: str  # the label set's name after `<dataset>/`
    level: str
    subject: str  # a protein id, or the source key of an image
    location: str
    grade: int | None
    source: str


Subject = tuple[str, str, str]  # scheme, level, subject: one question, which locations answer


def labels_of(locations_of: Mapping[Subject, Mapping[str, int | None]], source: str) -> tuple[Label, ...]:
    """Return every location (with its grade) of every subject as a label."""
    return tuple(
        Label(*subject, location, grade, source)
        for subject, locations in locations_of.items()
        for location, grade in locations.items()
    )


@dataclass(frozen=True)
class Failure:
    """A file or row that cannot be used: what was found and what to do.

    `files` are all files of the image, if it has several: a change of any of them causes another try.
    """

    source: str
    stage: str
    error: str
    todo: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Source:
    """A whole folder as one layout reads it; `asked` includes subjects without any location in the table.

    `sound` are tables whose rows were read: earlier failures of their rows that do not recur have been corrected.
    """

    root: Path
    images: tuple[SourceImage, ...]
    labels: tuple[Label, ...] = ()
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()
    asked: tuple[Subject, ...] = ()  # the subjects of the labels table
    sound: tuple[str, ...] = ()

    def __repr__(self) -> str:
        counts = f"{len(self.images)} images, {len(self.labels)} labels, {len(self.failures)} failures"
        return f"<Source {self.root}: {counts}>"
