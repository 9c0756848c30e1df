"""The rows of the stored tables as Python types: one TypedDict for each table, with the columns of `schema.TABLES`.

Code that reads only some columns gets rows of the same type that contain only these. Keys, and columns that are always
written, are never None; the others are marked. `tables.toml` describes the columns.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict


class MetaRow(TypedDict):
    """The row of `store_meta`."""

    name: str
    format_version: int
    created: datetime
    written_by: str


class FileRow(TypedDict):
    """One file of an image, an item of `images.files`."""

    path: str
    size: int
    mtime_ns: int
    sha256: str


class ImageRow(TypedDict):
    """A row of `images`: one revision of a field of view."""

    image_id: str
    revision: int
    dataset: str
    source_root: str
    files: list[FileRow]
    sha256: str
    roles: list[str]
    shape: list[int]
    pixel_size_um: float | None
    pixel_size_source: str | None
    segmentation: str
    plate: str | None
    well: str | None
    site: str | None
    cell_line: str | None
    protein_ids: list[str]
    genes: list[str]
    antibody: str | None
    licence: str | None
    extra: str | None
    note: str | None
    ingested: datetime


class CellRow(TypedDict):
    """A row of `cells` (in SQL, of `cells_raw`): one segmented cell."""

    cell_id: str
    image_id: str
    segmentation: str
    label: int
    box: list[int]
    centroid: list[float]
    nucleus_area_um2: float
    cell_area_um2: float
    zoom: float
    roles_present: list[str]
    flags: list[str]
    mask: bytes
    nucleus_mask: bytes
    thumbnail: bytes


class IngestedRow(TypedDict):
    """A row of `ingested`, a completion record: one image is done in one space."""

    image_id: str
    space: str
    revision: int
    segmentation: str
    n_cells: int


class ProfileRow(TypedDict):
    """A row of `profiles`: an external embedding of a protein."""

    profile_id: str
    dataset: str
    protein_ids: list[str]
    genes: list[str]
    source: str
    row: int


class ImportedRow(TypedDict):
    """A row of `imported`: the file that one profile's vector in one space is from."""

    profile_id: str
    space: str
    source: str
    row: int


class ProteinRow(TypedDict):
    """A row of `proteins`."""

    protein_id: str
    gene: str
    synonyms: list[str] | None
    group_id: str
    seen_in_pretraining: list[str] | None


class LabelRow(TypedDict):
    """A row of `labels`: one location of one subject in one label set."""

    label_set: str
    level: str
    subject_id: str
    location: str
    grade: int | None
    source: str
    revision: int


class LocationMapRow(TypedDict):
    """A row of `location_maps`: one name that a map renamed as it was added to a label set."""

    label_set: str
    revision: int
    name: str
    locations: list[str]
    n_labels: int
    map: str
    source: str
    added: datetime


class SpaceRow(TypedDict):
    """A row of `spaces` without its canary, as `list_spaces` returns it."""

    digest: str
    backbone: str
    revision: int
    weights_sha256: str | None
    strategy: str
    roles: list[str]
    fill: float
    crop_um: float | None
    input_px: int | None
    masked: bool
    intensity: str
    resampling: str
    pooling: str
    unit: str
    precision: str
    dim: int
    created: datetime
    filling: str | None
    normalisation: str | None


class CanarySpaceRow(SpaceRow):
    """A row of `spaces`, with the encoder's vectors of the built-in crops."""

    canary: list[float]


class SplitRow(TypedDict):
    """A row of `splits`."""

    name: str
    dataset: str
    label_set: str
    by: str
    k: int
    seed: int
    spec: str
    sql: str
    digest: str
    audit: str
    created: datetime


class IngestsRow(TypedDict):
    """A row of `ingests`: one run of ingest, embed or import; values known only at its end are None until then."""

    run: str
    kind: str
    dataset: str
    status: str
    error: str | None
    who: str
    pid: int
    command: str
    arguments: str
    code_version: str
    libraries: str
    device: str
    backbones: list[str]
    spaces: list[str]
    planned: int
    done: int
    unchanged: int
    failed: int
    cells: int
    vectors: int
    started: datetime
    finished: datetime | None
    elapsed_s: float | None
    peak_memory_mb: float | None


class SplitGroupRow(TypedDict):
    """A row of `split_groups`: the fold of one group."""

    name: str
    group_id: str
    fold: int


class EntryRow(TypedDict):
    """A row of `entries`: a line of the leaderboard."""

    entry: str
    task: str
    task_version: int
    dataset: str
    label_set: str
    split: str
    split_digest: str
    backbone: str
    strategy: str
    space: str
    unit: str
    head: str
    params: str
    floor: bool
    protocol: int
    classes: list[str]
    left_out: str
    n_folds: int
    n_seeds: int
    n_units: int
    n_groups: int
    table_versions: str
    content_digest: str
    code_version: str
    libraries: str
    device: str
    elapsed_s: float
    tag: str | None
    note: str | None
    created: datetime


class RunRow(TypedDict):
    """A row of `runs`: one fit of an entry (fold × seed)."""

    entry: str
    seed: int
    fold: int
    chosen: str
    thresholds: list[float]
    n_train: int
    n_validation: int
    n_test: int
    elapsed_s: float


class ResultRow(TypedDict):
    """A row of `results`: one figure of an entry."""

    entry: str
    metric: str
    level: str
    location: str
    mean: float
    sd: float | None
    low: float
    high: float
    support: int | None


class PredictionRow(TypedDict):
    """A row of `predictions`: the scores of one unit at one seed."""

    entry: str
    seed: int
    id: str
    fold: int
    scores: list[float]
    predicted: list[bool]
    actual: list[bool]


class FailureRow(TypedDict):
    """A row of `failures`: a file that could not be used, with its reason."""

    source: str
    stage: str
    error: str
    todo: str
    size: int | None
    mtime_ns: int | None
    failed_at: datetime
