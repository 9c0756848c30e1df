"""Tables of locations, as published and as labs write them, recognised by their columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from embstore.errors import EmbstoreError
from embstore.ids import protein_id, protein_ids, split_genes, split_list
from embstore.sources.cell_names import cell_naming
from embstore.sources.columns import (
    DEFAULT_SCHEME,
    MEANINGS,
    TextRow,
    column_key,
    known_columns,
    notes_on,
    notes_on_genes,
    refuse_lists,
    unknown_ids,
)
from embstore.sources.image_rows import names_images
from embstore.sources.kaggle import KAGGLE_2018, KAGGLE_2018_SCHEME, KAGGLE_2021
from embstore.sources.opencell import graded, read_annotations
from embstore.sources.record import Failure, Subject
from embstore.sources.shared_labels import shared_labels_note
from embstore.sources.tables import Renaming, TextTable, text_table
from embstore.sources.values import names_in

LABEL_LEVELS = ("protein", "image", "cell")
ONE_ROW = "keep one row an image, then run the same command again; until then it has neither labels nor protein"


@dataclass(frozen=True, repr=False)
class LabelTable:
    """The locations in a table, by subject; subjects without a location are included.

    `genes` are the symbols next to protein ids, for a store that knows a protein by another id; `rows` are the rows of
    images, whose other columns may describe them.
    """

    path: Path
    level: str
    locations: Mapping[Subject, Mapping[str, int | None]]  # subject -> location -> grade
    genes: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, TextRow] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        sets = ", ".join(self.schemes) or "no label set"
        return f"<LabelTable {self.path.name}: {sets}, {len(self.locations)} subjects, {len(self.failures)} failures>"

    @property
    def schemes(self) -> list[str]:
        """The label sets that the table fills."""
        return list(dict.fromkeys(scheme for scheme, _, _ in self.locations))


def read_label_table(
    path: str | Path,
    *,
    scheme: str | None = None,
    level: str | None = None,
    rather: str | None = None,
    renaming: Renaming | None = None,
) -> LabelTable:
    """Return OpenCell's annotations, HPA's `subcellular_location.tsv`, a Kaggle train.csv, or a table of a lab's own.

    A lab's own table has a column that names proteins (`ensg_id`, `gene`), images (`image_id`) or cells (`cell_id`, or
    an image and `Cell_index`), and one of locations, separated by `;`. `scheme` names its label set (default `main`),
    `level` chooses a level if it names several (by default `rather`, if it has that), and `renaming` gives meanings to
    the user's columns. Of a published table, `scheme` selects one of its label sets, or renames them. Raises
    EmbstoreError for a table of another kind, with its columns.
    """
    table = text_table(Path(path), renaming)
    published = _published(table, level) if renaming is None else None
    if published is None:
        read = _own(table, scheme or DEFAULT_SCHEME, level, rather)
    elif level not in (None, published[2]):
        raise EmbstoreError(f"{path} has labels of {published[2]}s, not of {level}s; leave out --level")
    else:
        read = _called(published[1](table.path, table.rows), scheme)
    notes = notes_on(table, known_columns(table.columns))
    return replace(read, notes=(*notes, *read.notes)) if notes else read


def _published(table: TextTable, level: str | None) -> Published | None:
    """Return which kind of published table this is, by its columns; its cells may have labels of their own."""
    kinds = (kind for kind in PUBLISHED if kind[0] <= set(table.columns) and (level, kind[2]) != ("cell", "image"))
    return next(kinds, None) if table.numbered else None


def only_describes(path: Path, renaming: Renaming | None = None) -> bool:
    """True if the table describes images or wells (gene, plate, ...) and has no location column."""
    table = text_table(path, renaming)
    known = known_columns(table.columns)
    if renaming is None and _published(table, None):
        return False
    return names_images(table) and not ("locations" in known and "key" in known)


def _called(table: LabelTable, scheme: str | None) -> LabelTable:
    """Return a table with only the label set of this name; any other name becomes theirs."""
    if scheme is None:
        return table
    if scheme in table.schemes:
        names = {scheme: scheme}
    else:
        names = {own: scheme if len(table.schemes) == 1 else f"{scheme}-{own}" for own in table.schemes}
    locations = {
        (names[own], level, subject): grades
        for (own, level, subject), grades in table.locations.items()
        if own in names
    }
    return replace(table, locations=locations)


def _opencell(path: Path, _: Sequence[TextRow]) -> LabelTable:
    targets = read_annotations(path).targets
    genes = {protein: t.gene for t in targets if (protein := protein_id(t.ensg, t.gene))}
    return LabelTable(path, "protein", graded(targets), genes, notes=notes_on_genes(t.gene for t in targets))


def _hpa_proteins(path: Path, rows: Sequence[TextRow]) -> LabelTable:
    """Return HPA's locations of each gene: `main` are its main locations, `any` includes the additional ones."""
    locations: dict[Subject, dict[str, int | None]] = {}
    genes = {}
    for row in rows:
        protein = protein_id(row["Gene"], row["Gene name"])
        if protein is None:
            continue
        genes[protein] = row["Gene name"]
        main = names_in(row["Main location"])
        locations[("main", "protein", protein)] = dict.fromkeys(main)
        locations[("any", "protein", protein)] = dict.fromkeys(main + names_in(row.get("Additional location", "")))
    return LabelTable(path, "protein", locations, genes, notes=notes_on_genes(genes.values()))


def _kaggle_2018(path: Path, rows: Sequence[TextRow]) -> LabelTable:
    return _images(path, rows, KAGGLE_2018_SCHEME, "Id", lambda row: _names(path, row["Target"].split(), KAGGLE_2018))


def _kaggle_2021(path: Path, rows: Sequence[TextRow]) -> LabelTable:
    return _images(path, rows, "19", "ID", lambda row: _names(path, split_list(row["Label"], "|"), KAGGLE_2021))


def _hpa_images(path: Path, rows: Sequence[TextRow]) -> LabelTable:
    return _images(path, rows, "main", "ID", lambda row: split_list(row["Label_idx"], ","))


# the columns by which a published table is recognised, how it is read, and its level
Published = tuple[set[str], Callable[[Path, Sequence[TextRow]], LabelTable], str]
# the more particular ones first
PUBLISHED: tuple[Published, ...] = (
    ({"annotation_name"}, _opencell, "protein"),
    ({"grade_3"}, _opencell, "protein"),
    ({"annotations_grade_3"}, _opencell, "protein"),
    ({"Gene", "Gene name", "Main location"}, _hpa_proteins, "protein"),
    ({"ID", "Label_idx"}, _hpa_images, "image"),
    ({"Id", "Target"}, _kaggle_2018, "image"),
    ({"ID", "Label"}, _kaggle_2021, "image"),
)


def _images(
    path: Path, rows: Sequence[TextRow], scheme: str, key: str, locations: Callable[[TextRow], list[str]]
) -> LabelTable:
    """Return the labels of images; an image with several different rows has none, and is a failure."""
    table: dict[str, TextRow] = {}
    contradicted = {row[key] for row in rows if table.setdefault(row[key], row) != row}
    failures = tuple(
        Failure(f"{path}:{image}", "plan", f"{path.name} has several different rows of {image}", ONE_ROW)
        for image in sorted(contradicted)
    )
    kept = {image: row for image, row in table.items() if image not in contradicted}
    by_subject = {(scheme, "image", image): dict.fromkeys(locations(row)) for image, row in kept.items()}
    notes = unknown_ids(rows, known_columns(rows[0]))
    return LabelTable(path, "image", by_subject, rows=kept, failures=failures, notes=notes)


def _names(path: Path, indices: Sequence[str], names: Sequence[str]) -> list[str]:
    wrong = [index for index in indices if not index.isdecimal() or int(index) >= len(names)]
    if wrong:
        raise EmbstoreError(f"{path} has the label {wrong[0]!r}; wanted an index from 0 to {len(names) - 1}")
    return [names[int(index)] for index in indices]


def _own(table: TextTable, scheme: str, level: str | None, rather: str | None) -> LabelTable:
    path, rows = table.path, table.rows
    for column in rows[0] if rows else ():
        if column_key(column) in MEANINGS["locations"]:
            refuse_lists(path, rows, column)
    known = known_columns(rows[0]) if rows else {}
    problem = f"{path} has the columns {', '.join(rows[0]) if rows else '(no rows)'}"
    if "locations" not in known:
        raise EmbstoreError(f"{problem}; wanted `locations` (or `location`, `label`), `;`-joined")
    numbered = table.numbered
    naming = None
    if level in (None, "cell"):
        naming = cell_naming(path, numbered, taken=[known["locations"]], asked=level == "cell")
    level = level or _level(problem, known, rather, cells=naming is not None)
    if level == "cell" and naming is None:
        raise EmbstoreError(f"{problem}; wanted cell_id, or image_id and Cell_index (the cell's label in its mask)")
    names = {"protein": {"gene", "protein"}, "image": {"key"}, "cell": known.keys()}
    if known.keys().isdisjoint(names[level]):
        wanted = "ensg_id or gene" if level == "protein" else f"{level}_id"
        raise EmbstoreError(f"{problem}; wanted {wanted} for labels of each {level}")
    by_subject: dict[Subject, dict[str, int | None]] = {}
    genes: dict[str, str] = {}
    first: dict[str, TextRow] = {}
    for line, row in numbered:
        named = [(naming(row), "")] if level == "cell" and naming else _subjects(row, known, level)
        for subject, gene in named:
            grade = _grade(path, line, row.get("grade", ""))
            grades = by_subject.setdefault((scheme, level, subject), {})
            grades |= dict.fromkeys(names_in(row[known["locations"]]), grade)
            genes[subject] = gene
            first.setdefault(subject, row)
    notes = unknown_ids(rows, known) + (_shared_note(rows, known) if level == "protein" else ())
    return LabelTable(path, level, by_subject, genes, first if level == "image" else {}, notes=notes)


def _shared_note(rows: Sequence[TextRow], known: Mapping[str, str]) -> tuple[str, ...]:
    """Return a note on the rows that take locations from another row of their protein."""
    identifiers = [row.get(known.get("protein", ""), "") for row in rows]
    locations = [names_in(row[known["locations"]]) for row in rows]
    subjects = [[protein for protein, _ in _subjects(row, known, "protein")] for row in rows]
    return shared_labels_note(identifiers, locations, subjects)


def _level(problem: str, known: Mapping[str, str], rather: str | None, *, cells: bool) -> str:
    levels = ["protein"] if "protein" in known or "gene" in known else []
    if "key" in known:
        levels.append("cell" if cells and known["key"].lower() != "cell" else "image")
    if rather in levels:
        return rather
    if len(levels) != 1:
        raise EmbstoreError(f"{problem}; choose which they name: --level {' or '.join(levels or LABEL_LEVELS)}")
    return levels[0]


def _subjects(row: TextRow, known: Mapping[str, str], level: str) -> list[tuple[str, str]]:
    """Return the subjects in a row, with the gene of each."""
    if level != "protein":
        subject = row[known["key"]].strip()
        return [(subject, "")] if subject else []
    ids, gene = row.get(known.get("protein", ""), ""), row.get(known.get("gene", ""), "")
    proteins, genes = protein_ids(ids, gene), split_genes(gene, ids)
    return list(zip(proteins, genes if len(genes) == len(proteins) else [""] * len(proteins), strict=True))


def _grade(path: Path, line: int, text: str) -> int | None:
    if not text.strip():
        return None
    if not text.strip().isdecimal() or int(text) > 127:
        raise EmbstoreError(f"{path}, line {line}: grade is {text!r}; wanted a small whole number, or nothing")
    return int(text)
