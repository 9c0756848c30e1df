"""Match the subjects of a label table with the proteins, images or cells of a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from embstore.sources.joining import keys_by_name, loose_name, note_on_shared
from embstore.sources.labels import LabelTable
from embstore.sources.record import Subject
from embstore.sources.tables import abridged
from embstore.store import Store, rows, select_columns

PROTEINS_OF_DATASET_SQL = """
SELECT DISTINCT p.protein_id, p.gene FROM proteins AS p
INNER JOIN (
    SELECT unnest(protein_ids) AS protein_id FROM images WHERE dataset = $dataset
    UNION SELECT unnest(protein_ids) FROM profiles WHERE dataset = $dataset
) USING (protein_id)
ORDER BY p.protein_id, p.gene
"""
IMAGES_OF_DATASET_SQL = "SELECT DISTINCT image_id AS id FROM images WHERE dataset = $dataset ORDER BY id"
CELLS_OF_DATASET_SQL = "SELECT cell_id AS id, image_id, label FROM cells WHERE dataset = $dataset ORDER BY id"


@dataclass(frozen=True, repr=False)
class JoinedLabels:
    """A label table under the store's names: `how` the subjects joined, and notes on those that did not."""

    table: LabelTable
    how: Mapping[str, int]  # way -> number of subjects of the dataset
    notes: tuple[str, ...]


def join_labels(store: Store, table: LabelTable, dataset: str) -> JoinedLabels:
    """Return the labels of a table under the names of a dataset; never writes.

    Proteins join by id, else by gene, which may be that of several proteins. Images join by their key, else by a file
    name that only one of them has; cells by `cell_id`, or by their image and label in its mask, or by an image that is
    one cell. Proteins that the dataset lacks keep the table's id, as in an ingest; other subjects are left out.
    """
    if table.level == "protein":
        return _join_proteins(store, table, dataset)
    return (_join_images if table.level == "image" else _join_cells)(store, table, dataset)


def _join_proteins(store: Store, table: LabelTable, dataset: str) -> JoinedLabels:
    genes = {row["protein_id"]: row["gene"] for row in rows(store, PROTEINS_OF_DATASET_SQL, {"dataset": dataset})}
    of_gene: dict[str, list[str]] = {}
    for protein, gene in genes.items():
        of_gene.setdefault(gene, []).append(protein)
    met: dict[str, list[str]] = {}
    several: dict[str, list[str]] = {}
    for subject in _subjects(table):
        gene = table.genes.get(subject, "")
        known = [subject] if subject in genes and not subject.startswith("gene:") else of_gene.get(gene, [])
        if known or subject in genes:
            met[subject] = list(dict.fromkeys([*known, *([subject] if subject in genes else [])]))
        if len(met.get(subject, ())) > 1:
            several[gene] = met[subject]
    kept = {subject: met.get(subject, [subject]) for subject in _subjects(table)}
    labelled = {protein: subject for subject, proteins in met.items() for protein in proteins}
    by_id = len({subject for subject, proteins in met.items() if proteins == [subject]})
    notes = _notes_on_genes(several, dataset) + _unjoined(table, met, list(genes), dataset)
    return JoinedLabels(_renamed(table, kept), {"id": by_id, "gene": len(labelled) - by_id}, notes)


def _notes_on_genes(several: Mapping[str, Sequence[str]], dataset: str) -> tuple[str, ...]:
    listed = [f"{gene}: {', '.join(proteins)}" for gene, proteins in several.items()]
    return (
        (f"genes of several proteins of {dataset}, each of which was labelled: {abridged(listed)}",) if listed else ()
    )


def _join_images(store: Store, table: LabelTable, dataset: str) -> JoinedLabels:
    keys = [row["id"].removeprefix(f"{dataset}/") for row in rows(store, IMAGES_OF_DATASET_SQL, {"dataset": dataset})]
    ids, names, shared = _image_names(_without_dataset(_subjects(table), dataset), keys)
    met = {subject: [key] for subject, key in (ids | names).items()}
    notes = note_on_shared(shared, dataset) + _unjoined(table, met, keys, dataset)
    return JoinedLabels(_renamed(table, met), {"id": len(ids), "name": len(names)}, notes)


def _image_names(
    named: Mapping[str, str], keys: Sequence[str]
) -> tuple[dict[str, str], dict[str, str], dict[str, list[str]]]:
    """Return subject -> key for subjects that name an image by key or file name; and name -> keys if ambiguous.

    `named` is subject -> the image's name in the table. A name that fits several images matches none of them.
    """
    stored = set(keys)
    ids = {subject: name for subject, name in named.items() if name in stored}
    by_id = set(ids.values())
    exact, loose = keys_by_name(keys), keys_by_name(keys, loose_name)
    shared: dict[str, list[str]] = {}
    meant: dict[str, list[str]] = {}
    for subject, name in named.items():
        keys_meant = [] if subject in ids else exact.get(name) or loose.get(loose_name(name), [])
        if len(keys_meant) > 1:
            shared[name] = keys_meant
        elif keys_meant:
            meant.setdefault(keys_meant[0], []).append(subject)
    names = {
        subject: key
        for key, subjects in meant.items()
        for subject in subjects
        if named[subject] in exact or (len(subjects) == 1 and key not in by_id)
    }
    return ids, names, shared


def _join_cells(store: Store, table: LabelTable, dataset: str) -> JoinedLabels:
    cells = select_columns(store, CELLS_OF_DATASET_SQL, {"dataset": dataset}).to_pydict()
    keys = [cell.removeprefix(f"{dataset}/") for cell in cells["id"]]
    images = [image.removeprefix(f"{dataset}/") for image in cells["image_id"]]
    subjects = _without_dataset(_subjects(table), dataset)
    stored, n_cells = set(keys), Counter(images)
    ids = {subject: name for subject, name in subjects.items() if name in stored}
    numbered = {subject: _image_and_label(name) for subject, name in subjects.items() if subject not in ids}
    named = dict.fromkeys(image for image, _ in numbered.values())
    by_key, by_name, shared = _image_names(dict(zip(named, named, strict=True)), list(n_cells))
    known = by_key | by_name
    at = dict(zip(zip(images, cells["label"], strict=True), keys, strict=True))
    alone = {image: key for image, key in zip(images, keys, strict=True) if n_cells[image] == 1}
    by_label: dict[str, str] = {}
    for subject, (image, label) in numbered.items():
        key = known.get(image, "")
        cell = alone.get(key) if label is None else at.get((key, label))
        if cell is not None:
            by_label[subject] = cell
    met = {subject: [cell] for subject, cell in (ids | by_label).items()}
    notes = note_on_shared(shared, dataset) + _unjoined(table, met, keys, dataset)
    return JoinedLabels(_renamed(table, met), {"id": len(ids), "image and label": len(by_label)}, notes)


def _image_and_label(name: str) -> tuple[str, int | None]:
    """Return the image and the label of a cell that is called `image:label`; None for the label otherwise."""
    image, _, label = name.rpartition(":")
    return (image, int(label)) if image and label.isdecimal() else (name, None)


def _subjects(table: LabelTable) -> list[str]:
    return list(dict.fromkeys(subject for _, _, subject in table.locations))


def _without_dataset(subjects: Iterable[str], dataset: str) -> dict[str, str]:
    return {subject: subject.removeprefix(f"{dataset}/") for subject in subjects}


def _unjoined(
    table: LabelTable, met: Mapping[str, Sequence[str]], stored: Sequence[str], dataset: str
) -> tuple[str, ...]:
    """Return notes on the table's subjects that are not in the dataset, and the dataset's that are not in the table."""
    notes = []
    if absent := [subject for subject in _subjects(table) if subject not in met]:
        notes.append(f"{table.level}s of {table.path.name} that are not in {dataset}: {abridged(absent)}")
    described = {name for names in met.values() for name in names}
    if without := [name for name in stored if name not in described]:
        notes.append(f"{table.level}s of {dataset} without a row in {table.path.name}: {abridged(without)}")
    return tuple(notes)


def _renamed(table: LabelTable, ids: Mapping[str, Sequence[str]]) -> LabelTable:
    """Return the table with its subjects renamed, without those that have no name; two with one name are united."""
    renamed: dict[Subject, dict[str, int | None]] = {}
    for (scheme, level, subject), locations in table.locations.items():
        for name in ids.get(subject, ()):
            renamed.setdefault((scheme, level, name), {}).update(locations)
    return replace(table, locations=renamed)
