"""Search: ranks and similarities are those of brute-force numpy, and a protein never finds its own kin."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embstore.errors import EmbstoreError
from embstore.ids import connected_groups
from embstore.ingest import import_embeddings
from embstore.pixels.thumbnail import decode_thumbnail
from embstore.search import cosine, draw_sheet, similar_cells, similar_proteins, thumbnails
from embstore.search import sheet as sheet_module
from embstore.search.pictured import pictured_cells
from embstore.store import Store, add_space, find_space, put_vectors, rows

DIGEST = "5a" * 32
SEGMENTATION = "seg00000"


class Drawn:
    """A store of two datasets whose cells, proteins and vectors are also here, in plain Python."""

    def __init__(self, path: Path) -> None:
        self.store = Store.open(path, create=True)
        rng = np.random.default_rng(0)
        # P0 and P1 are named by one antibody; the last image of each dataset names no protein
        antibodies = [["P0", "P1"], ["P1"], ["P2"], ["P3"], ["P4"], ["P5"], []]
        self.cells: dict[str, tuple[str, tuple[str, ...]]] = {}  # cell -> (dataset, proteins)
        images = []
        for dataset in ("left", "right"):
            for n, genes in enumerate(antibodies):
                image = f"{dataset}/{n}"
                ids = [f"gene:{g}" for g in genes]
                images.append(
                    {"image_id": image, "revision": 1, "dataset": dataset, "segmentation": SEGMENTATION}
                    | {"protein_ids": ids, "genes": genes}
                )
                for label in range(1, 4 + n % 3):
                    self.cells[f"{image}:{SEGMENTATION}:{label}"] = (dataset, tuple(ids))
        self.store.upsert("images", images)
        self.store.upsert(
            "cells",
            [{"cell_id": c, "image_id": c.split(":")[0], "segmentation": SEGMENTATION} for c in self.cells],
        )
        self.group = connected_groups([f"gene:{g}" for g in genes] for genes in antibodies)
        self.store.upsert("proteins", [{"protein_id": p, "gene": p[5:], "group_id": g} for p, g in self.group.items()])
        self.vectors = dict(zip(self.cells, rng.normal(1.0, 1.0, (len(self.cells), 6)).astype(np.float32), strict=True))
        record = {"digest": DIGEST, "backbone": "drawn", "strategy": "mapping", "roles": []}
        add_space(self.store, record, 6, half=False)
        order = rng.permutation(list(self.cells)).tolist()
        put_vectors(self.store, DIGEST, order, np.stack([self.vectors[c] for c in order]))

    def searched(self, dataset: str | None, *, centre: bool, named: bool) -> dict[str, np.ndarray]:
        """Return the vectors that are searched: of one dataset or all, of cells with a protein or all."""
        chosen = {
            c: self.vectors[c].astype(float)
            for c, (d, ids) in self.cells.items()
            if dataset in (None, d) and (ids or not named)
        }
        mean = np.mean(list(chosen.values()), axis=0) if centre else 0
        return {c: v - mean for c, v in chosen.items()}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    return Drawn(tmp_path_factory.mktemp("drawn") / "store")


def cos(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


@pytest.mark.parametrize(
    ("gene", "dataset", "centre"),
    [
        ("P0", None, False),
        ("P1", "left", True),
        ("P3", None, True),
        ("P3", "left", False),
        ("gene:P5", None, False),
        ("p2", "right", True),
    ],
)
def test_similar_proteins_are_those_of_brute_force(drawn: Drawn, gene: str, dataset: str | None, centre: bool) -> None:
    """Means per dataset and antibody, cosine, the query's whole group left out, nearest first."""
    asked = f"gene:{gene.removeprefix('gene:').upper()}"
    cells = drawn.searched(dataset, centre=centre, named=True)
    owners: dict[tuple[str, tuple[str, ...]], list[np.ndarray]] = {}
    for cell, vector in cells.items():
        owners.setdefault(drawn.cells[cell], []).append(vector)
    query = np.mean([v for c, v in cells.items() if asked in drawn.cells[c][1]], axis=0)
    expected = sorted(
        (
            (cos(np.mean(cells, axis=0), query), ";".join(ids), d, len(cells))
            for (d, ids), cells in owners.items()
            if drawn.group[ids[0]] != drawn.group[asked]
        ),
        reverse=True,
    )
    answer = similar_proteins(drawn.store, gene, dataset=dataset, centre=centre, k=100)
    assert [(r.protein_id, r.dataset, r.n_cells) for r in answer.rows] == [e[1:] for e in expected]
    np.testing.assert_allclose([r.similarity for r in answer.rows], [e[0] for e in expected], atol=1e-5)
    assert [r.rank for r in answer.rows] == list(range(1, len(expected) + 1))
    assert not {"gene:P0", "gene:P1"} & {r.protein_id for r in answer.rows} or asked not in ("gene:P0", "gene:P1")
    top = similar_proteins(drawn.store, gene, dataset=dataset, centre=centre, k=3)
    assert top.rows == answer.rows[:3]


@pytest.mark.parametrize(("dataset", "centre"), [(None, False), ("right", True)])
def test_similar_cells_are_those_of_brute_force(drawn: Drawn, dataset: str | None, centre: bool) -> None:
    """Every other cell by cosine, cells without a protein too; the cell itself is left out, and stays askable."""
    for asked in (f"left/2:{SEGMENTATION}:1", f"right/6:{SEGMENTATION}:1"):
        cells = drawn.searched(dataset, centre=False, named=False) | {asked: drawn.vectors[asked].astype(float)}
        mean = np.mean(list(cells.values()), axis=0) if centre else 0
        similarity = {c: cos(v - mean, cells[asked] - mean) for c, v in cells.items() if c != asked}
        expected = sorted(similarity, key=lambda c: -similarity[c])
        answer = similar_cells(drawn.store, asked, dataset=dataset, centre=centre, k=1000)
        assert [r.cell_id for r in answer.rows] == expected
        np.testing.assert_allclose([r.similarity for r in answer.rows], [similarity[c] for c in expected], atol=1e-5)
        assert [r.gene for r in answer.rows] == [";".join(p[5:] for p in drawn.cells[c][1]) for c in expected]


def test_an_answer_is_a_table_of_the_columns_that_scripts_rely_on(drawn: Drawn) -> None:
    """Arrow has exactly the documented columns, in their order, also where there is no neighbour."""
    proteins = ["rank", "gene", "protein_id", "dataset", "similarity", "n_cells", "locations"]
    proteins += ["percentile", "rank_low", "rank_high"]
    cells = ["rank", "cell_id", "gene", "similarity", "dataset", "locations"]
    cell = f"left/2:{SEGMENTATION}:1"
    for k in (3, 0):
        for answer, columns in (
            (similar_proteins(drawn.store, "P2", k=k), proteins),
            (similar_cells(drawn.store, cell, k=k), cells),
        ):
            table = answer.to_arrow()
            assert (table.num_rows, table.column_names) == (k, columns)
            assert [table[name].to_pylist() for name in columns] == [
                [getattr(row, name) for row in answer.rows] for name in columns
            ]
            assert repr(answer).startswith(f"nearest to {answer.query} in drawn:mapping (cosine similarity")


def test_both_searches_take_the_same_choices() -> None:
    """What chooses a space and neighbours is spelled the same for proteins and cells; proteins are centred."""
    of_proteins, of_cells = (
        {name: p.default for name, p in list(inspect.signature(search).parameters.items())[2:]}
        for search in (similar_proteins, similar_cells)
    )
    assert of_proteins == of_cells | {"centre": True}


def test_cosine_of_nothing_is_zero() -> None:
    """A zero vector is similar to nothing, not NaN; lengths do not matter; opposite is -1."""
    vectors = np.array([[0, 0], [3, 0], [0, 0.5], [-7, 0]], np.float32)
    assert cosine(vectors, np.array([2, 0], np.float32)).tolist() == [0, 1, 0, -1]
    assert cosine(vectors, np.zeros(2, np.float32)).tolist() == [0, 0, 0, 0]


def bring(store: Store, path: Path, vectors: np.ndarray, genes: list[str]) -> None:
    np.savez(path, X=vectors, gene=np.array(genes))
    import_embeddings(store, path, dataset="mine", backbone="theirs", embeddings="X", id_column="gene")


def test_ties_keep_the_order_of_ids(tmp_path: Path) -> None:
    """Equal similarities come in the order of their ids, the same in every run."""
    store = Store.open(tmp_path / "store", create=True)
    genes = [f"G{i:03d}" for i in np.random.default_rng(0).permutation(300)]
    vectors = np.eye(4)[[int(gene[1:]) % 4 for gene in genes]]  # four directions, so every answer has three ties
    bring(store, tmp_path / "v.npz", vectors, genes)
    answer = [similar_proteins(store, "G000", k=300) for _ in range(2)]
    others = [f"gene:G{i:03d}" for i in range(1, 300)]
    expected = [p for p in others if int(p[6:]) % 4 == 0] + [p for p in others if int(p[6:]) % 4]
    assert [row.protein_id for row in answer[0].rows] == expected
    assert answer[0].rows == answer[1].rows


def test_names_that_are_not_there_list_those_that_are(drawn: Drawn, tmp_path: Path) -> None:
    """An unknown gene lists close ones, a known one without vectors says so, a wrong cell shows what an id is like."""
    for wrong, message in (
        (
            lambda: similar_proteins(drawn.store, "Px"),
            "there is no protein 'Px' in drawn:mapping; choose from: .*P2, P3",
        ),
        (lambda: similar_proteins(drawn.store, ""), "there is no protein ''"),
        (
            lambda: similar_cells(drawn.store, "left/2:1"),
            "has no vector of 'left/2:1'; wanted a cell_id such as left/",
        ),
        (
            lambda: similar_proteins(drawn.store, "P2", backbone="hpa"),
            "no space matches hpa; the store.s spaces are: drawn:mapping; make it with `embstore embed --backbone hpa`",
        ),
    ):
        with pytest.raises(EmbstoreError, match=message) as error:
            wrong()
        assert "\n" not in str(error.value)
    store = Store.open(tmp_path / "store", create=True)
    with pytest.raises(EmbstoreError, match="the store has no vectors yet; ingest images or import"):
        similar_proteins(store, "P2")
    bring(store, tmp_path / "v.npz", np.eye(2), ["A", "B"])
    store.upsert("proteins", [{"protein_id": "gene:C", "gene": "C", "group_id": "gene:C"}])
    with pytest.raises(EmbstoreError, match="C has no cells in theirs"):
        similar_proteins(store, "C")


def test_a_misspelled_protein_is_answered_with_the_nearest_of_many(tmp_path: Path) -> None:
    """A gene with genes, an id with ids; capitals do not matter."""
    store = Store.open(tmp_path / "store", create=True)
    genes = [*(f"Q{i:03d}" for i in range(40)), "ACTN1", "ACTB", "TUBB"]
    ids = [f"ENSG{i:011d}" for i in range(len(genes))]
    np.savez(tmp_path / "v.npz", X=np.eye(len(genes)), gene=np.array(genes), ensembl=np.array(ids))
    columns = {"embeddings": "X", "id_column": "ensembl", "gene_column": "gene"}
    import_embeddings(store, tmp_path / "v.npz", dataset="mine", backbone="theirs", **columns)
    for wrong, message in (
        ("actn2", "there is no protein 'actn2' in theirs; the nearest of 43 are: ACTN1, ACTB, "),
        ("ensembl:ENSG00000000421", "there is no protein 'ENSG00000000421' in theirs; .*: ENSG00000000042, "),
    ):
        with pytest.raises(EmbstoreError, match=message):
            similar_proteins(store, wrong)
    assert similar_proteins(store, "actn1").rows == similar_proteins(store, "ACTN1").rows


def test_every_name_that_is_listed_is_found(tmp_path: Path) -> None:
    """One gene of two ids, three genes of two ids, two genes of one: all are listed, and each finds its row."""
    store = Store.open(tmp_path / "store", create=True)
    number = "ENSG{:011d}".format
    ids = [f"{number(1)};{number(2)}", f"{number(3)};{number(4)}", number(5), number(6)]
    genes = ["ACTB", "ACTA1;ACTA2;ACTC1", "TUBB;TUBB2A", "LMNA"]
    np.savez(tmp_path / "v.npz", X=np.eye(4) + 0.1, gene=np.array(genes), ensembl=np.array(ids))
    columns = {"embeddings": "X", "id_column": "ensembl", "gene_column": "gene"}
    import_embeddings(store, tmp_path / "v.npz", dataset="mine", backbone="theirs", **columns)
    with pytest.raises(EmbstoreError, match="choose from: ") as error:
        similar_proteins(store, "ACT")
    listed = str(error.value).partition("choose from: ")[2].split(", ")
    assert listed == sorted(gene for row in genes for gene in row.split(";"))
    for name in listed:
        missing = {row.gene for row in similar_proteins(store, name.lower()).rows}.symmetric_difference(genes)
        assert len(missing) == 1
        assert name in missing.pop().split(";")
    known = {row["protein_id"]: row["gene"] for row in store.read("proteins").to_pylist()}
    assert known[f"ensembl:{number(1)}"] == known[f"ensembl:{number(2)}"] == "ACTB"


def test_locations_are_those_of_the_strictest_set(tmp_path: Path) -> None:
    """Beside a neighbour stand its prominent locations; weaker ones only where there is no prominent one."""
    store = Store.open(tmp_path / "store", create=True)
    bring(store, tmp_path / "v.npz", np.array([[1, 0], [1, 0.1], [1, 0.2], [1, 0.3]]), ["Q", "A", "B", "C"])
    label = {"level": "protein", "revision": 1}
    store.upsert(
        "labels",
        [
            label | {"label_set": f"mine/{scheme}", "subject_id": f"gene:{gene}", "location": o, "grade": g}
            for scheme, gene, o, g in [
                ("grade3", "A", "er", 3),
                ("grade2plus", "A", "er", 3),
                ("grade2plus", "A", "golgi", 2),
                ("any", "A", "membrane", 1),
                ("any", "B", "membrane", 1),
                ("any", "B", "vesicles", 2),
            ]
        ]
        + [label | {"label_set": "other/grade3", "subject_id": "gene:C", "location": "er"}],
    )
    answer = similar_proteins(store, "Q")
    assert [row.locations for row in answer.rows] == ["er", "vesicles;membrane", ""]


def test_one_space_is_meant_or_the_choices_are_listed(drawn: Drawn, phantom_copy: Path) -> None:
    """Without a name the only space; with several, a name or digest decides, and an open choice is an error."""
    assert find_space(drawn.store)["digest"] == find_space(drawn.store, "drawn:mapping")["digest"] == DIGEST
    store = Store.open(phantom_copy)
    first = find_space(store, "pixel-stats")["digest"]
    second = {"digest": "00" * 32, "backbone": "pixel-stats", "strategy": "mapping", "crop_um": 40.0}
    add_space(store, second, 90, half=False)
    add_space(store, {"digest": "11" * 32, "backbone": "mine", "strategy": "brought"}, 4, half=False)
    for spec in (None, "pixel-stats", "pixel-stats:mapping"):
        with pytest.raises(
            EmbstoreError, match=r"[23] spaces( match .*)?; choose one with --backbone: (mine, )?pixel-stats:mapping"
        ):
            find_space(store, spec)
    assert find_space(store, "pixel-stats", digest=first[:12])["digest"] == first
    assert find_space(store, digest="0000")["digest"] == "00" * 32
    assert find_space(store, "mine")["digest"] == "11" * 32
    with pytest.raises(
        EmbstoreError, match=r"no space matches pixel-stats:replication; the store's spaces are: .*; make it"
    ):
        find_space(store, "pixel-stats:replication", advice=lambda spec, names: f"make it: {spec}, {len(names)}")
    with pytest.raises(EmbstoreError, match="pixel-stats measures every role by itself"):
        similar_proteins(store, "PHN001", backbone="pixel-stats:replication")
    again = dict(second, digest="22" * 32, revision=2, crop_um=40.0)
    add_space(store, again, 90, half=False)
    with pytest.raises(
        EmbstoreError, match=r"2 spaces match pixel-stats:crop_um=40.*pixel-stats:mapping:.* --space 2222222"
    ):
        find_space(store, "pixel-stats:crop_um=40")


# -- pictures --------------------------------------------------------------------------------------------------------


def test_a_sheet_shows_the_query_and_its_neighbours(phantom_store: Path, tmp_path: Path) -> None:
    """A PNG with a row for the query and each neighbour, six tiles at most, each the thumbnail of its cell."""
    store = Store.open(phantom_store)
    answer = similar_proteins(store, "PHN001")
    pictured = pictured_cells(store, answer, 6)
    assert answer.asked.name == "PHN001"
    assert [len(cells) for cells in pictured] == [6, 6, 6]
    out = draw_sheet(store, answer, tmp_path / "new" / "sheet.png")
    with Image.open(out) as sheet:
        assert sheet.format == "PNG"
        assert sheet.size == (210 + 6 * 134 + 6, 58 + 3 * 134 + 30)
        pixels = np.asarray(sheet)
    stored = {r["cell_id"]: r["thumbnail"] for r in rows(store, "SELECT cell_id, thumbnail FROM cells")}
    for row, cells in enumerate(pictured):
        for column, cell in enumerate(cells):
            y, x = 58 + row * 134, 210 + column * 134
            tile = pixels[y : y + 128, x : x + 128]
            assert tile.std() > 5
            if (row, column) != (0, 0):  # the scale bar lies on the first
                thumbnail = decode_thumbnail(stored[cell])
                outline = (tile == sheet_module.OUTLINE).all(axis=-1)
                assert outline.any()
                np.testing.assert_array_equal(tile[~outline], thumbnail[~outline])


def test_whole_cells_of_different_images_are_drawn_first(phantom_store: Path) -> None:
    """Pictures within the image come first, then whole cells, then one of each image, then the most similar."""
    store = Store.open(phantom_store)
    neighbours = similar_proteins(store, "PHN002")
    ids, vectors = store.vectors(find_space(store)["digest"])
    known = {
        row["cell_id"]: row
        for row in rows(
            store,
            """SELECT cell_id, gene, image_id, flags, centroid, zoom, shape FROM cells
            JOIN (SELECT image_id, shape FROM image_current) USING (image_id) ORDER BY cell_id""",
        )
    }

    def rest(cell: str) -> int:
        row, half = known[cell], 64 / known[cell]["zoom"]
        if "touches_edge" in row["flags"]:
            return 2
        return int(
            any(not half <= at <= side - half for at, side in zip(row["centroid"], row["shape"][1:], strict=True))
        )

    centred = vectors - neighbours.centre
    query = np.mean([v for i, v in zip(ids, centred, strict=True) if known[i]["gene"] == "PHN002"], axis=0)
    similarity = {i: cos(v.astype(float), query) for i, v in zip(ids, centred, strict=True)}
    for cells in pictured_cells(store, neighbours, 6):
        genes = {known[cell]["gene"] for cell in cells}
        assert len(genes) == 1
        own = sorted((i for i in ids if known[i]["gene"] in genes), key=lambda i: (rest(i), -similarity[i]))
        assert cells == own[:6]  # one image a protein: none takes turns


def test_thumbnails_come_by_cell_id_in_the_order_asked_for(phantom_store: Path) -> None:
    """Each is the stored WebP of its cell; ids that have no picture are left out, repeats come once."""
    store = Store.open(phantom_store)
    stored = {r["cell_id"]: r["thumbnail"] for r in rows(store, "SELECT cell_id, thumbnail FROM cells")}
    wanted = [*list(stored)[5:2:-1], "no/such:cell:1", list(stored)[4]]
    pictures = thumbnails(store, wanted)
    assert list(pictures) == wanted[:3]
    assert all(pictures[cell] == stored[cell] for cell in pictures)
    assert decode_thumbnail(pictures[wanted[0]]).shape == (128, 128, 3)
    assert pictures.to_arrow().to_pylist() == [{"cell_id": cell, "thumbnail": stored[cell]} for cell in pictures]
    assert pictures._repr_html_().count("data:image/webp;base64,") == 3
    assert len(thumbnails(store, [])) == 0


def test_a_sheet_of_cells_has_one_tile_a_row(phantom_store: Path, tmp_path: Path) -> None:
    """The cell that was asked for, then each neighbour, in any picture format that is asked for."""
    store = Store.open(phantom_store)
    cell = rows(store, "SELECT min(cell_id) AS c FROM cells")[0]["c"]
    answer = similar_cells(store, cell, k=4)
    for name, format in (("s.webp", "WEBP"), ("s.jpg", "JPEG"), ("s.PNG", "PNG")):
        with Image.open(draw_sheet(store, answer, tmp_path / name)) as sheet:
            assert (sheet.format, sheet.size) == (format, (640, 58 + 5 * 134 + 30))


@pytest.mark.parametrize("name", ["sheet.xyz", "sheet"])
def test_a_sheet_needs_the_suffix_of_a_picture(phantom_store: Path, tmp_path: Path, name: str) -> None:
    """Any other suffix is refused before anything is written."""
    store = Store.open(phantom_store)
    with pytest.raises(EmbstoreError, match=r"sheet.*\.png"):
        draw_sheet(store, similar_proteins(store, "PHN001"), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_external_embeddings_have_no_pictures(tmp_path: Path) -> None:
    """A sheet of external embeddings is refused in one line."""
    store = Store.open(tmp_path / "store", create=True)
    bring(store, tmp_path / "v.npz", np.eye(3), ["A", "B", "C"])
    with pytest.raises(
        EmbstoreError, match="theirs has no vectors of cells, and only cells have pictures; leave out --sheet"
    ):
        draw_sheet(store, similar_proteins(store, "A"), tmp_path / "sheet.png")


def test_search_reads_only(phantom_copy: Path, tmp_path: Path) -> None:
    """Searching and drawing leave every table's version as it was."""
    store = Store.open(phantom_copy)
    versions = store.versions()
    searches: list[Callable[[], Any]] = [lambda: similar_proteins(store, "PHN001", centre=True)]
    searches.append(lambda: draw_sheet(store, similar_proteins(store, "PHN001"), tmp_path / "s.png"))
    for search in searches:
        search()
    assert store.versions() == versions
