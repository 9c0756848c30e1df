"""Stores for the bench room's tests, filled by hand so that their truth is known."""

from __future__ import annotations

import csv
import gzip
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embstore.ids import connected_groups, digest, protein_id
from embstore.store import Store, add_space, put_vectors
from embstore_bench import BenchReport, bench

SPACE_DEFAULTS: dict[str, Any] = {
    "revision": 1,
    "weights_sha256": None,
    "strategy": "brought",
    "roles": [],
    "fill": 0.0,
    "crop_um": None,
    "input_px": None,
    "masked": False,
    "intensity": "",
    "pooling": "",
    "precision": "float32",
}


class Filler:
    """Puts known cells, external vectors, proteins, labels and spaces into a new store."""

    def __init__(self, path: Path) -> None:
        self.store = Store.open(path, create=True)

    def proteins(self, linked: Iterable[Sequence[str]]) -> None:
        groups = connected_groups(linked)
        rows = [{"protein_id": p, "gene": p.split(":")[-1], "group_id": g} for p, g in groups.items()]
        self.store.upsert("proteins", rows)

    def labels(self, label_set: str, level: str, locations: Mapping[str, Iterable[str]]) -> None:
        rows = [
            {"label_set": label_set, "level": level, "subject_id": subject, "location": location, "revision": 1}
            for subject, names in locations.items()
            for location in names
        ]
        self.store.upsert("labels", rows)

    def images(self, dataset: str, images: Mapping[str, Sequence[str]], **columns: Any) -> None:
        """Add one image a key, of the proteins named; content is the key unless `sha256` maps it."""
        content = columns.pop("sha256", {})
        rows = [
            {
                "image_id": image,
                "revision": 1,
                "dataset": dataset,
                "sha256": content.get(image, f"sha of {image}"),
                "segmentation": "seg00000",
                "protein_ids": list(proteins),
                "genes": [p.split(":")[-1] for p in proteins],
            }
            | columns
            for image, proteins in images.items()
        ]
        self.store.upsert("images", rows)

    def cells(self, image_of_cell: Mapping[str, str]) -> None:
        rows = [
            {"cell_id": cell, "image_id": image, "segmentation": "seg00000", "label": i}
            for i, (cell, image) in enumerate(image_of_cell.items())
        ]
        self.store.upsert("cells", rows)

    def profiles(self, dataset: str, proteins_of: Mapping[str, Sequence[str]]) -> None:
        rows = [
            {"profile_id": p, "dataset": dataset, "protein_ids": list(ids), "row": i}
            for i, (p, ids) in enumerate(proteins_of.items())
        ]
        self.store.upsert("profiles", rows)

    def space(
        self, backbone: str, ids: Sequence[str], vectors: np.ndarray, *, unit: str = "cell", **record: Any
    ) -> str:
        columns = SPACE_DEFAULTS | {"backbone": backbone, "unit": unit} | record
        columns["digest"] = digest(columns)
        add_space(self.store, columns, vectors.shape[1], half=False)
        put_vectors(self.store, columns["digest"], ids, vectors)
        return str(columns["digest"])


@pytest.fixture
def filler(tmp_path: Path) -> Filler:
    """An empty store and what fills it."""
    return Filler(tmp_path / "store")


def add_slf(filler: Filler, samples: Path) -> None:
    """Bring HPA's 1132 proteins x 686 mean SLF features, seven locations."""
    with np.load(samples / "embeddings" / "hpa_if_protein_slf686.npz") as data:
        X, Y, names = data["features"], data["labels"].astype(bool), [str(n) for n in data["label_names"]]
        proteins = [str(protein_id(str(e))) for e in data["ensg_id"]]
    ids = [f"slf/{i:05d}" for i in range(len(X))]
    filler.proteins([[p] for p in proteins])
    filler.profiles("slf", {i: [p] for i, p in zip(ids, proteins, strict=True)})
    located: dict[str, set[str]] = {}
    for p, y in zip(proteins, Y, strict=True):
        located.setdefault(p, set()).update(n for n, yes in zip(names, y, strict=True) if yes)
    filler.labels("slf/main", "protein", located)
    filler.space("slf686", ids, X, unit="protein")


def add_orre(filler: Filler, samples: Path, line: str) -> None:
    """Import orre2019's profiles of one cell line, with fifteen locations whose names contain commas; `unknown` is no
    label.
    """
    with gzip.open(samples / "embeddings" / "prolocdata" / f"orre2019{line}.csv.gz", "rt", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    columns = [c for c in read[0] if c not in ("feature", "markers", "protein")]
    X = np.array([[float(r[c]) for c in columns] for r in read], dtype=np.float32)
    ids = [f"{line}/{i:05d}" for i in range(len(read))]
    # the protein column is empty in 406 rows of a431: then the gene names it
    proteins = [str(protein_id(r["protein"], r["feature"])) for r in read]
    filler.proteins([[p] for p in proteins])
    filler.profiles(line, {i: [p] for i, p in zip(ids, proteins, strict=True)})
    located: dict[str, set[str]] = {}
    for p, r in zip(proteins, read, strict=True):
        if r["markers"] != "unknown":
            located.setdefault(p, set()).add(r["markers"])
    filler.labels(f"{line}/main", "protein", located)
    filler.space(line, ids, X, unit="protein")


CLASSES = ("er", "golgi, cis", "nucleus")  # a comma, as orre's names have


BOTH = ("good", "noise")
QUICK: dict[str, Any] = {"folds": 3, "seeds": 2}


@pytest.fixture(scope="session")
def atlas_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of `atlas`, made once; to be copied."""
    folder = tmp_path_factory.mktemp("atlas") / "store"
    fill_atlas(Filler(folder))
    return folder


@pytest.fixture
def atlas(atlas_folder: Path, tmp_path: Path) -> Filler:
    """A copy of the store that `fill_atlas` fills, which a test may change."""
    return Filler(shutil.copytree(atlas_folder, tmp_path / "store"))


@pytest.fixture(scope="session")
def benched_folder(atlas_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BenchReport]:
    """The atlas after one `bench` of both spaces, 3 folds, seeds 0 and 1, and what that bench reported."""
    folder = shutil.copytree(atlas_folder, tmp_path_factory.mktemp("benched") / "store")
    return folder, bench(Store.open(folder), backbones=BOTH, **QUICK)


@pytest.fixture
def benched(benched_folder: tuple[Path, BenchReport], tmp_path: Path) -> Filler:
    """A copy of the benched atlas, which a test may change."""
    return Filler(shutil.copytree(benched_folder[0], tmp_path / "store"))


@pytest.fixture
def first_report(benched_folder: tuple[Path, BenchReport]) -> BenchReport:
    """What the bench of `benched` reported."""
    return benched_folder[1]


def add_late(filler: Filler, number: int, location: str) -> str:
    """Add one protein of one cell to the atlas, with vectors in both spaces; return its id."""
    protein, image = f"ensembl:ENSG{number:011d}", f"toy/{number:02d}-0"
    filler.proteins([[protein]])
    filler.labels("toy/grade3", "protein", {protein: [location]})
    filler.images("toy", {image: [protein]})
    filler.cells({f"{image}:seg00000:1": image})
    for digest_ in filler.store.read("spaces")["digest"].to_pylist():
        put_vectors(filler.store, digest_, [f"{image}:seg00000:1"], np.ones((1, 6), np.float32))
    return protein


def fill_atlas(filler: Filler) -> None:
    """Fill in dataset `toy`: 24 proteins of 3 locations, 2 images each, 2 cells an image; some have a second location.

    Space `good` distinguishes the locations easily, space `noise` does not.
    """
    proteins = [f"ensembl:ENSG{i:011d}" for i in range(24)]
    location = {p: [CLASSES[i % 3]] + ([CLASSES[(i + 1) % 3]] if i % 6 == 0 else []) for i, p in enumerate(proteins)}
    filler.proteins([[p] for p in proteins])
    filler.labels("toy/grade3", "protein", location)
    filler.images("toy", {f"toy/{p[-2:]}-{f}": [p] for p in proteins for f in range(2)}, plate="P1", well="A1")
    cells = {f"toy/{p[-2:]}-{f}:seg00000:{c}": f"toy/{p[-2:]}-{f}" for p in proteins for f in range(2) for c in (1, 2)}
    filler.cells(cells)
    protein_of = {f"toy/{p[-2:]}": p for p in proteins}
    rng = np.random.default_rng(0)
    truth = np.array([[c in location[protein_of[i.split("-")[0]]] for c in CLASSES] for i in cells], dtype=np.float32)
    signal = np.concatenate([truth * 4, np.zeros((len(cells), 3), np.float32)], axis=1)
    filler.space("good", list(cells), signal + rng.normal(0, 0.3, signal.shape).astype(np.float32))
    filler.space("noise", list(cells), rng.normal(0, 1, (len(cells), 6)).astype(np.float32))
