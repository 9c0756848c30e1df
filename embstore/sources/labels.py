"""Tables of locations, as they are published and as labs write them: told apart by their columns."""

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
    refuse_lists,
    unknown_ids,
)
from embstore.sources.image_rows import names_images
from embstore.sources.kaggle import KAGGLE_2018, KAGGLE_2021
from embstore.sources.opencell import graded, read_annotations
from embstore.sources.record import Failure, Subject
from embstore.sources.tables import Renaming, TextTable, text_table
from embstore.sources.values import names_in

LABEL_LEVELS = ("protein", "image", "cell")
ONE_ROW = "keep one row an image, then run the same command again; until then it has neither labels nor protein"


@dataclass(frozen=True, repr=False)
class LabelTable:
    """What a table says of its subjects; those with no location are asked about too.

    `genes` are the symbols beside protein ids, for a store that knows a protein by another id; `rows` are the rows of
    images, whose other columns may describe them.
    """

    path: Path
    level: str
    said: Mapping[Subject, Mapping[str, int | None]]  # -> location -> grade
    genes: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, TextRow] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        sets = ", ".join(self.schemes) or "no label set"
        return f"<LabelTable {self.path.name}: {sets}, {len(self.said)} subjects, {len(self.failures)} failures>"

    @property
    def schemes(self) -> list[str]:
        """The label sets that the table fills."""
        return list(dict.fromkeys(scheme for scheme, _, _ in self.said))


def read_label_table(
    path: str | Path,
    *,
    scheme: str | None = None,
    level: str | None = None,
    rather: str | None = None,
    renaming: Renaming | None = None,
) -> LabelTable:
    """Read OpenCell's annotations, HPA's `subcellular_location.tsv`, a Kaggle train.csv, or a table of a lab's own.

    A lab's own has a column that names proteins (`ensg_id`, `gene`), images (`image_id`) or cells (`cell_id`, or an
    image and `Cell_index`), and one of `;`-joined `locations`; `scheme` names its label set (default `main`), `level`
    chooses where it names several, or else the level `rather` where it has that; `renaming` says what the user calls
    its columns. Of a published table `scheme` picks one of its label sets, or names them. EmbstoreError for a table of
    another kind, naming its columns.
    """
    table = text_table(Path(path), renaming)
    published = _published(table, level) if renaming is None else None
    if published is None:
        read = _own(table, scheme or DEFAULT_SCHEME, level, rather)
    elif level not in (None, published[2]):
        raise EmbstoreError(f"{path} speaks of each {published[2]}, not of each {level}; leave out --level")
    else:
        read = _called(published[1](table.path, table.rows), scheme)
    notes = notes_on(table, known_columns(table.columns))
    return replace(read, notes=(*notes, *read.notes)) if notes else read


def _published(table: TextTable, level: str | None) -> Published | None:
    """Return the kind of published table that this one is by its columns; its cells may have labels of their own."""
    kinds = (kind for kind in PUBLISHED if kind[0] <= set(table.columns) and (level, kind[2]) != ("cell", "image"))
    return next(kinds, None) if table.numbered else None


def only_describes(path: Path, renaming: Renaming | None = None) -> bool:
    """True if a table names images or wells and no locations, or images by their files alone.

    What it says of them is then all that it says.
    """
    table = text_table(path, renaming)
    known = known_columns(table.columns)
    if renaming is None and _published(table, None):
        return False
    return names_images(table) and not ("locations" in known and "key" in known)


def _called(table: LabelTable, scheme: str | None) -> LabelTable:
    """Pick one of a table's label sets by its name; any other name becomes theirs."""
    if scheme is None:
        return table
    if scheme in table.schemes:
        names = {scheme: scheme}
    else:
        names = {own: scheme if len(table.schemes) == 1 else f"{scheme}-{own}" for own in table.schemes}
    said = {(names[own], level, subject): of for (own, level, subject), of in table.said.items() if own in names}
    return replace(table, said=said)


def _opencell(path: Path, _: Sequence[TextRow]) -> LabelTable:
    targets = read_annotations(path).targets
    genes = {protein: t.gene for t in targets if (protein := protein_id(t.ensg, t.gene))}
    return LabelTable(path, "protein", graded(targets), genes)


def _hpa_proteins(path: Path, rows: Sequence[TextRow]) -> LabelTable:
    """HPA's locations of each gene: `main` are its main locations, `any` the additional ones too."""
    said: dict[Subject, dict[str, int | None]] = {}
    genes = {}
    for row in rows:
        protein = protein_id(row["Gene"], row["Gene name"])
        if protein is None:
            continue
        genes[protein] = row["Gene name"]
        main = names_in(row["Main location"])
        said[("main", "protein", protein)] = dict.fromkeys(main)
        said[("any", "protein", protein)] = dict.fromkeys(main + names_in(row.get("Additional location", "")))
    return LabelTable(path, "protein", said, genes)


def _kaggle_2018(path: Path, rows: Sequence[TextRow]) -> LabelTable:
    return _images(path, rows, "28", "Id", lambda row: _names(path, row["Target"].split(), KAGGLE_2018))


def _kaggle_2021(path: Path, rows: Sequence[TextRow]) -> LabelTable:
    return _images(path, rows, "19", "ID", lambda row: _names(path, split_list(row["Label"], "|"), KAGGLE_2021))


def _hpa_images(path: Path, rows: Sequence[TextRow]) -> LabelTable:
    return _images(path, rows, "main", "ID", lambda row: split_list(row["Label_idx"], ","))


# the columns by which a published table is known, how it is read, and its level
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
    """Return the labels of images; one of several rows that differ has none, and is a failure."""
    table: dict[str, TextRow] = {}
    contradicted = {row[key] for row in rows if table.setdefault(row[key], row) != row}
    failures = tuple(
        Failure(f"{path}:{image}", "plan", f"{path.name} has several different rows of {image}", ONE_ROW)
        for image in sorted(contradicted)
    )
    kept = {image: row for image, row in table.items() if image not in contradicted}
    said = {(scheme, "image", image): dict.fromkeys(locations(row)) for image, row in kept.items()}
    notes = unknown_ids(rows, known_columns(rows[0]))
    return LabelTable(path, "image", said, rows=kept, failures=failures, notes=notes)


def _names(path: Path, indices: Sequence[str], names: Sequence[str]) -> list[str]:
    wrong = [index for index in indices if not index.isdigit() or int(index) >= len(names)]
    if wrong:
        raise EmbstoreError(f"{path} has the label {wrong[0]!r}; wanted an index from 0 to {len(names) - 1}")
    return [names[int(index)] for index in indices]


def _own(table: TextTable, scheme: str, level: str | None, rather: str | None) -> LabelTable:
    path, rows = table.path, table.rows
    for column in rows[0] if rows else ():
        if column_key(column) in MEANINGS["locations"]:
            refuse_lists(path, rows, column)
    known = known_columns(rows[0]) if rows else {}
    found = f"{path} has the columns {', '.join(rows[0]) if rows else '(no rows)'}"
    if "locations" not in known:
        raise EmbstoreError(f"{found}; wanted `locations` (or `location`, `label`), `;`-joined")
    numbered = table.numbered
    naming = None
    if level in (None, "cell"):
        naming = cell_naming(path, numbered, taken=[known["locations"]], asked=level == "cell")
    level = level or _level(found, known, rather, cells=naming is not None)
    if level == "cell" and naming is None:
        raise EmbstoreError(f"{found}; wanted cell_id, or image_id and Cell_index (the cell's label in its mask)")
    if ("gene" not in known and "protein" not in known) if level == "protein" else "key" not in known:
        wanted = "ensg_id or gene" if level == "protein" else f"{level}_id"
        raise EmbstoreError(f"{found}; wanted {wanted} for labels of each {level}")
    said: dict[Subject, dict[str, int | None]] = {}
    genes: dict[str, str] = {}
    first: dict[str, TextRow] = {}
    for line, row in numbered:
        named = [(naming(row), "")] if level == "cell" and naming else _subjects(row, known, level)
        for subject, gene in named:
            grade = _grade(path, line, row.get("grade", ""))
            of = said.setdefault((scheme, level, subject), {})
            of |= dict.fromkeys(names_in(row[known["locations"]]), grade)
            genes[subject] = gene
            first.setdefault(subject, row)
    return LabelTable(path, level, said, genes, first if level == "image" else {}, notes=unknown_ids(rows, known))


def _level(found: str, known: Mapping[str, str], rather: str | None, *, cells: bool) -> str:
    levels = ["protein"] if "protein" in known or "gene" in known else []
    if "key" in known:
        levels.append("cell" if cells and known["key"].lower() != "cell" else "image")
    if rather in levels:
        return rather
    if len(levels) != 1:
        raise EmbstoreError(f"{found}; say which they name: --level {' or '.join(levels or LABEL_LEVELS)}")
    return levels[0]


def _subjects(row: TextRow, known: Mapping[str, str], level: str) -> list[tuple[str, str]]:
    """Return what a row names, with the gene of each."""
    if level != "protein":
        subject = row[known["key"]].strip()
        return [(subject, "")] if subject else []
    ids, gene = row.get(known.get("protein", ""), ""), row.get(known.get("gene", ""), "")
    proteins, genes = protein_ids(ids, gene), split_genes(gene, ids)
    return list(zip(proteins, genes if len(genes) == len(proteins) else [""] * len(proteins), strict=True))


def _grade(path: Path, line: int, text: str) -> int | None:
    if not text.strip():
        return None
    if not text.strip().isdigit() or int(text) > 127:
        raise EmbstoreError(f"{path}, line {line}: grade is {text!r}; wanted a small whole number, or nothing")
    return int(text)
