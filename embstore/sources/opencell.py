"""The OpenCell layout: two-channel TIFFs (nucleus, protein), projections or z-stacks, and graded annotations.

File names, channel order and pixel size as published with OpenCell (doi 10.1126/science.abi6983, bucket
`czb-opencell`): `OC-FOV_<GENE>_<ENSG>_CID<6>_FID<8>_proj.tif`, 0.206349 µm per pixel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from embstore.errors import EmbstoreError
from embstore.ids import protein_id, split_list
from embstore.sources.channels import Reading
from embstore.sources.columns import notes_on_genes
from embstore.sources.described import with_descriptions
from embstore.sources.image_rows import names_images
from embstore.sources.record import POSITION, Failure, Source, SourceImage, Subject, labels_of
from embstore.sources.tables import abridged, bare_name, find_column, image_files, numbered_rows, read_table, text_table

OPENCELL_ROLES = ("nucleus", "protein")
OPENCELL_PIXEL_SIZE_UM = 0.206349
# gene names may contain hyphens, never underscores
OPENCELL_NAME = re.compile(r"^OC-FOV_(?P<gene>[^_]+)_(?P<ensg>ENSG\d{11})_CID\d{6}_FID\d{8}_(?P<kind>proj|stack)$")

GRADED = {"annotation_name", "grade_3", "annotations_grade_3"}  # columns of OpenCell's tables
AMBIGUOUS = "nothing, as several targets have the gene"
# a location counts in a scheme from this grade up; lower grades are negative
SCHEMES = {"grade3": 3, "grade2plus": 2, "any": 1}


@dataclass(frozen=True)
class Annotation:
    """The annotation of one target in the labels table."""

    gene: str
    ensg: str
    grades: dict[str, int]
    licence: str | None = None


@dataclass(frozen=True)
class Annotations:
    """A whole labels table; `by_file` if it names files, as they are written."""

    path: Path
    targets: list[Annotation]
    by_file: dict[str, Annotation]

    def find(self, file: str | None, ensg: str, gene: str) -> tuple[Annotation | None, str]:
        """Return the target that an image shows and how it was matched: by the file, its Ensembl id or its gene."""
        if file is not None:
            return self.by_file[file], "file"
        if target := self._by_ensg.get(ensg):
            return target, "Ensembl id"
        # some Ensembl ids differ between the published images and tables
        targets = self._by_gene.get(gene, [])
        if len({target.ensg for target in targets}) > 1:
            return None, AMBIGUOUS
        return (targets[-1], "gene") if targets else (None, "nothing")

    @cached_property
    def _by_ensg(self) -> dict[str, Annotation]:
        return {target.ensg: target for target in self.targets if target.ensg}

    @cached_property
    def _by_gene(self) -> dict[str, list[Annotation]]:
        by_gene: dict[str, list[Annotation]] = {}
        for target in self.targets:
            by_gene.setdefault(target.gene, []).append(target)
        by_gene.pop("", None)
        return by_gene


def read_opencell(source: Path, reading: Reading) -> Source:
    """Return the images and graded labels of an OpenCell folder; the table of labels is wide (`grade_3`, ...) or flat.

    Any other table has a row for each image, as in other layouts.
    """
    labels = reading.labels
    if labels and (reading.renaming or not _is_annotations(labels)):
        return with_descriptions(read_opencell(source, Reading()), labels, reading.renaming)
    root, paths = image_files(source)
    paths, notes = _projected(paths)
    known = read_annotations(labels) if labels else Annotations(root, [], {})
    named = _named(known, root, paths)
    images = []
    joined = {"file": 0, "Ensembl id": 0, "gene": 0, AMBIGUOUS: 0, "nothing": 0}
    for path in paths:
        name = OPENCELL_NAME.match(bare_name(path.name))
        gene, ensg = (name["gene"], name["ensg"]) if name else ("", "")
        target, how = known.find(named.get(path), ensg, gene)
        joined[how] += 1
        images.append(_image(path.relative_to(root), target or Annotation(gene, ensg, {}), certain=name is not None))

    if labels:
        notes.append("labels joined by " + ", ".join(f"{how}: {n}" for how, n in joined.items() if n))
        if joined["nothing"] == len(images):
            notes.append(_nothing_joined(labels, len(known.targets)))
    absent = [file for file in known.by_file if file not in named.values() and not (known.path.parent / file).exists()]
    below = [file for file in absent if source.resolve() in (known.path.parent / file).resolve().parents]
    if elsewhere := [file for file in absent if file not in below]:
        notes.append(f"names in {known.path.name} that match no file here, or several: {abridged(elsewhere)}")
    notes += notes_on_genes(target.gene for target in known.targets)
    locations = graded(known.targets)
    return Source(
        root,
        tuple(images),
        labels_of(locations, labels.name if labels else ""),
        tuple(_missing(known.path.parent / file) for file in below),
        tuple(notes),
        tuple(locations),
    )


def _named(known: Annotations, root: Path, paths: Sequence[Path]) -> dict[Path, str]:
    """Return image -> its name in the table: below the table's folder or the source, or only a file name.

    A name without a folder matches the one file with that name, in any folder of the source.
    """
    here = {path.resolve(): path for path in paths}
    called: dict[str, list[Path]] = {}
    for path in paths:
        called.setdefault(path.name, []).append(path)
    matches: dict[Path, str] = {}
    for file in known.by_file:
        beside = (here.get((folder / file).resolve()) for folder in (known.path.parent, root))
        alone = called.get(file, []) if len(called.get(file, [])) == 1 else []
        if (match := next((p for p in (*beside, *alone) if p is not None), None)) is not None:
            matches[match] = file
    return matches


def _nothing_joined(labels: Path, targets: int) -> str:
    return (
        f"no image has labels: none is named by {labels.name} ({targets} targets), by file, Ensembl id or gene. Wanted "
        "a column `file` with names of files below this source, or files called OC-FOV_<GENE>_<ENSG>_..."
    )


def _projected(paths: list[Path]) -> tuple[list[Path], list[str]]:
    """Leave out z-stacks of fields that have a projection too; the others are projected when they are read."""
    projections = {_field(path) for path in paths if not bare_name(path.name).endswith("_stack")}
    stacks = [path for path in paths if bare_name(path.name).endswith("_stack")]
    alone = [path for path in stacks if _field(path) not in projections]
    notes = [f"{len(alone)} z-stacks without a projection: their maximum projection is read"] if alone else []
    if len(alone) < len(stacks):
        notes.append(f"{len(stacks) - len(alone)} z-stacks left out: their projections are used")
    left_out = set(stacks).difference(alone)
    return [path for path in paths if path not in left_out], notes


def _field(path: Path) -> str:
    """Return the key of a field: published names are the key in any folder, and a stack has that of its projection."""
    name = re.sub("_stack$", "_proj", bare_name(path.name))
    return name if OPENCELL_NAME.match(name) else path.with_name(name.removesuffix("_proj")).as_posix()


def _image(path: Path, target: Annotation, *, certain: bool) -> SourceImage:
    protein = protein_id(target.ensg, target.gene)
    return SourceImage(
        # one field is one image, whether it is a stack or a projection
        key=_field(path) if certain else bare_name(path.as_posix()),
        files=(path.as_posix(),),
        roles=OPENCELL_ROLES,
        role_reasons=(POSITION,) * len(OPENCELL_ROLES),
        may_end_early=True,
        pixel_size_um=OPENCELL_PIXEL_SIZE_UM if certain else None,
        protein_ids=(protein,) if protein else (),
        genes=(target.gene,) if target.gene else (),
        cell_line="HEK293T" if certain else None,  # the cell line of all published OpenCell images
        licence=target.licence,
    )


def _is_annotations(path: Path) -> bool:
    table = text_table(path)
    return not GRADED.isdisjoint(table.columns) or not names_images(table)


def read_annotations(path: Path) -> Annotations:
    """Return OpenCell's annotations, wide (`grade_3` or `annotations_grade_3`, ...) or flat (one per row).

    A column `file` names the images of a target, whatever their names.
    """
    rows = read_table(path)
    gene = find_column(path, rows, "target_name", "gene")
    ensg = find_column(path, rows, "ensg_id")
    if rows and "annotation_name" in rows[0]:
        return _flat(path, gene, ensg, find_column(path, rows, "annotation_grade"))
    columns = {g: find_column(path, rows, f"grade_{g}", f"annotations_grade_{g}") for g in (3, 2, 1)}
    annotations = Annotations(path, [], {})
    for row in rows:
        grades = {name: g for g in (1, 2, 3) for name in split_list(row[columns[g]])}
        annotations.targets.append(Annotation(row[gene].strip(), row[ensg].strip(), grades, row.get("licence") or None))
        if file := row.get("file", "").strip():
            annotations.by_file[file] = annotations.targets[-1]
    return annotations


def _flat(path: Path, gene: str, ensg: str, grade: str) -> Annotations:
    targets: dict[tuple[str, str], Annotation] = {}
    by_file: dict[str, Annotation] = {}
    for line, row in numbered_rows(path):
        key = row[ensg].strip(), row[gene].strip()
        target = targets.setdefault(key, Annotation(key[1], key[0], {}, row.get("licence") or None))
        if name := row["annotation_name"].strip():
            target.grades[name] = max(_grade(path, line, row[grade]), target.grades.get(name, 0))
        if file := row.get("file", "").strip():
            by_file[file] = target
    return Annotations(path, list(targets.values()), by_file)


def _grade(path: Path, row: int, text: str) -> int:
    if text.strip() not in ("1", "2", "3"):
        raise EmbstoreError(f"{path}, line {row}: annotation_grade is {text!r}; wanted 1, 2 or 3")
    return int(text)


def graded(targets: Iterable[Annotation]) -> dict[Subject, dict[str, int | None]]:
    """Return the locations of each protein, with their grades, in three label sets; lower grades count as negative."""
    locations: dict[Subject, dict[str, int | None]] = {}
    for target in targets:
        if protein := protein_id(target.ensg, target.gene):
            for scheme, lowest in SCHEMES.items():
                grades = locations.setdefault((scheme, "protein", protein), {})
                grades.update({location: grade for location, grade in target.grades.items() if grade >= lowest})
    return locations


def _missing(path: Path) -> Failure:
    todo = "put the file there or remove its row from the labels, then run the same command again"
    return Failure(str(path.resolve()), "plan", "the labels name this file and it is missing", todo)
