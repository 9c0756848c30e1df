"""Where proteins and cells are published to be: by the strictest label set that has any location of them."""

from __future__ import annotations

import pyarrow as pa

from embstore.store import Store, select_columns

STRICTEST_FIRST = ("grade3", "grade2plus")
LABELS_SQL = """
    SELECT label_set, subject_id, location FROM labels
    WHERE subject_id IN (SELECT unnest($subjects::VARCHAR[]))
    ORDER BY label_set, grade DESC NULLS LAST, location
"""
Labels = dict[tuple[str, str], dict[str, list[str]]]  # (dataset, subject) -> scheme -> locations


def read_locations(store: Store, units: pa.Table, id_column: str) -> list[str]:
    """Return the locations of each unit, separated by ";": those of its protein, else of its image, else its own.

    `units` has the columns dataset, protein_ids, image_id and `id_column`. A unit without any location has "".
    """
    names = ("dataset", "protein_ids", "image_id", id_column)
    facts = zip(*(units[name].to_pylist() for name in names), strict=True)
    subjects = [
        (dataset, [*(proteins or []), *([image] if image else []), own]) for dataset, proteins, image, own in facts
    ]
    labels: Labels = {}
    wanted = {"subjects": [subject for _, names in subjects for subject in names]}
    columns = select_columns(store, LABELS_SQL, wanted).to_pydict()
    for label_set, subject, location in zip(*columns.values(), strict=True):
        dataset, scheme = label_set.split("/", 1)
        labels.setdefault((dataset, subject), {}).setdefault(scheme, []).append(location)
    return [_locations(labels, dataset, names) for dataset, names in subjects]


def _locations(labels: Labels, dataset: str, subjects: list[str]) -> str:
    for subject in subjects:
        schemes = labels.get((dataset, subject), {})
        for scheme in (*STRICTEST_FIRST, *schemes):
            if scheme in schemes:
                return ";".join(schemes[scheme])
    return ""
