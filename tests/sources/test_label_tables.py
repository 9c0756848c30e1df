"""Tables of locations: HPA's, Kaggle's and a lab's own, at an ingest and added later."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from drawn_fields import ensg, write_hpa, write_labels, write_opencell

from embstore.errors import EmbstoreError
from embstore.ingest import add_labels, ingest, list_labels, list_labels_sql
from embstore.sources.kaggle import KAGGLE_2018, KAGGLE_2021
from embstore.sources.labels import read_label_table
from embstore.sources.layouts import read_source
from embstore.store import Store, query, rows


@pytest.fixture
def opencell(tmp_path: Path) -> Store:
    """A store of two OpenCell fields, with labels of the first release."""
    write_opencell(tmp_path / "in", [1, 2])
    labels = write_labels(tmp_path / "first.csv", {1: {"er": 3}, 2: {"golgi": 2}})
    store = Store.open(tmp_path / "store", create=True)
    ingest(store, tmp_path / "in", layout="opencell", backbones=["pixel-stats"], labels=labels)
    return store


def stored(store: Store, label_set: str) -> set[tuple[str, str]]:
    result = rows(store, "SELECT subject_id, location FROM labels WHERE label_set = ?", [label_set])
    return {(row["subject_id"], row["location"]) for row in result}


def test_hpa_locations_of_each_gene(samples: Path) -> None:
    """`main` has the main locations, `any` the additional ones too, under Ensembl ids; checked against the file."""
    path = samples / "labels" / "hpa_subcellular_location.tsv"
    table = read_label_table(path)
    assert (table.level, table.schemes) == ("protein", ["main", "any"])
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file, delimiter="\t"))
    assert len({subject for _, _, subject in table.locations}) == len(lines) == 12813
    for line in lines[:200]:
        protein = f"ensembl:{line['Gene']}"
        main = set(filter(None, line["Main location"].split(";")))
        more = set(filter(None, line["Additional location"].split(";")))
        assert set(table.locations[("main", "protein", protein)]) == main
        assert set(table.locations[("any", "protein", protein)]) == main | more


def test_kaggle_indices_become_names(samples: Path, tmp_path: Path) -> None:
    """The sample's own table gives index and name side by side; the published one and the 2018 form agree with it."""
    assert (len(KAGGLE_2018), len(KAGGLE_2021)) == (28, 19)
    with (samples / "hpa" / "image_labels.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            names = [KAGGLE_2021[int(index)] for index in row["Label"].split("|")]
            assert names == row["Label_idx"].split(",")
    table = read_label_table(samples / "labels" / "hpa_kaggle2021_train.csv")
    assert (table.schemes, table.level) == (["19"], "image")
    first = list(table.locations[("19", "image", "5c27f04c-bb99-11e8-b2b9-ac1f6b6435d0")])
    assert first == ["Intermediate filaments", "Nuclear bodies", "Nucleoplasm"]  # 8|5|0
    (tmp_path / "t.csv").write_text("Id,Target\nx,16 0\ny,25\n")
    old = read_label_table(tmp_path / "t.csv").locations
    assert old == {
        ("28", "image", "x"): {"Cytokinetic bridge": None, "Nucleoplasm": None},
        ("28", "image", "y"): {"Cytosol": None},
    }
    (tmp_path / "t.csv").write_text("Id,Target\nx,28\n")
    with pytest.raises(EmbstoreError, match="has the label '28'; wanted an index from 0 to 27"):
        read_label_table(tmp_path / "t.csv")


def test_a_kaggle_folder_joins_its_table(tmp_path: Path) -> None:
    """Images named by UUID in a folder below the source join by name; images of the table that are absent stay out."""
    uuid = "5c27f04c-bb99-11e8-b2b9-ac1f6b6435d0"
    write_hpa(tmp_path / "in" / "train", uuid, 1, ("blue", "green"))
    labels = tmp_path / "train.csv"
    labels.write_text(f"ID,Label\n{uuid},8|5\nother,0\n")
    source = read_source(tmp_path / "in", "hpa", labels)
    assert {(v.scheme, v.subject, v.location) for v in source.labels} == {
        ("19", f"train/{uuid}", "Intermediate filaments"),
        ("19", f"train/{uuid}", "Nuclear bodies"),
    }
    assert source.notes[0] == "labels: 1 of 2 rows have an image here"


def test_a_lab_table_describes_hpa_images(tmp_path: Path) -> None:
    """Columns as in a manifest: gene, cell line, locations; the name still gives plate, well and pixel size."""
    write_hpa(tmp_path / "in", "57_F11_1", 1, ("blue", "green"))
    labels = tmp_path / "l.csv"
    labels.write_text("image_id,gene,cell_line,locations,batch\n57_F11_1,EGFR,A-431,Plasma membrane;Cytosol,7\n")
    source = read_source(tmp_path / "in", "hpa", labels)
    (image,) = source.images
    assert (image.genes, image.cell_line, image.well, image.pixel_size_um) == (("EGFR",), "A-431", "F11", 0.0800885)
    assert image.extra == {"batch": "7"}
    assert {label.location for label in source.labels} == {"Plasma membrane", "Cytosol"}


def test_hpa_images_get_their_proteins_first_and_then_their_published_locations(tmp_path: Path) -> None:
    """A table without locations describes images; HPA's table of proteins alone joins none of them, and says so."""
    write_hpa(tmp_path / "in", "57_F11_1", 1, ("blue", "green"))
    (tmp_path / "map.csv").write_text("image_id,gene,ensg_id,antibody\n57_F11_1,TSPAN6,ENSG00000000003,HPA004109\n")
    published = tmp_path / "subcellular_location.tsv"
    published.write_text("Gene\tGene name\tMain location\nENSG00000000003\tTSPAN6\tCytosol\n")
    (note,) = read_source(tmp_path / "in", "hpa", published).notes
    assert note.startswith("labels: 1 proteins have a row in subcellular_location.tsv, joined to 0 of 1 images: ")
    assert note.endswith("Give a table of image_id, gene, ensg_id with --labels, then this to labels add")
    report = ingest(
        str(tmp_path / "store"), tmp_path / "in", layout="hpa", backbones=["pixel-stats"], labels=tmp_path / "map.csv"
    )
    assert (report.without_protein, report.notes) == (0, ["labels: 1 of 1 images have a row in map.csv"])
    store = Store.open(tmp_path / "store")
    (image,) = rows(store, "SELECT genes, antibody, pixel_size_um FROM images")
    assert image == {"genes": ["TSPAN6"], "antibody": "HPA004109", "pixel_size_um": 0.0800885}
    assert add_labels(store, published, dataset="hpa").joined == {"id": 1, "gene": 0}
    assert stored(store, "hpa/main") == {("ensembl:ENSG00000000003", "Cytosol")}


def test_a_new_release_replaces_labels_without_an_ingest(opencell: Store, tmp_path: Path) -> None:
    """Changed proteins get the next revision, the others none; grades make the same three label sets as an ingest."""
    second = write_labels(tmp_path / "second.csv", {1: {"golgi": 3, "er": 1}, 2: {"golgi": 2}})
    added = add_labels(opencell, second, dataset="opencell")
    assert added.label_sets == ["opencell/grade3", "opencell/grade2plus", "opencell/any"]
    assert (added.subjects, added.joined, added.changed) == (2, {"id": 2, "gene": 0}, 3)
    one, two = f"ensembl:{ensg(1)}", f"ensembl:{ensg(2)}"
    assert stored(opencell, "opencell/grade3") == {(one, "golgi")}
    assert stored(opencell, "opencell/any") == {(one, "golgi"), (one, "er"), (two, "golgi")}
    listed = {record.label_set: record for record in list_labels(opencell)}
    assert (listed["opencell/any"].revision, listed["opencell/any"].source) == (2, "first.csv;second.csv")
    assert query(opencell, *list_labels_sql()).to_pylist() == list_labels(opencell).to_arrow().to_pylist()
    versions = opencell.versions()
    assert added.version == versions["labels"]
    assert add_labels(opencell, str(second), dataset="opencell").changed == 0
    assert opencell.versions() == versions


def test_own_labels_at_each_level(opencell: Store, tmp_path: Path) -> None:
    """Proteins join by id or gene, images and cells by id or key; what the dataset lacks is left out."""
    (cell,) = rows(opencell, "SELECT min(cell_id) AS id, min(image_id) AS image FROM cells")
    key = cell["image"].removeprefix("opencell/")
    table = tmp_path / "t.csv"
    table.write_text("gene,locations,grade\nG1,er;golgi,2\nG9,er,1\n")
    added = add_labels(opencell, table, dataset="opencell", scheme="mine")
    assert added.joined == {"id": 0, "gene": 1}
    assert (f"ensembl:{ensg(1)}", "golgi") in stored(opencell, "opencell/mine")
    table.write_text(f"image_id,label\n{key},er\nnowhere,er\n")
    assert add_labels(opencell, table, dataset="opencell", scheme="seen").joined == {"id": 1, "name": 0}
    assert stored(opencell, "opencell/seen") == {(cell["image"], "er")}
    table.write_text(f"cell_id,label\n{cell['id']},er\n")
    assert add_labels(opencell, table, dataset="opencell", scheme="by-eye").level == "cell"
    assert stored(opencell, "opencell/by-eye") == {(cell["id"], "er")}
    with pytest.raises(EmbstoreError, match="one label set has one level"):
        add_labels(opencell, table, dataset="opencell", scheme="mine")


@pytest.mark.parametrize(
    ("text", "choices", "message"),
    [
        ("gene,x\nG1,er\n", {}, "wanted `locations`"),
        (
            'protein_ID,location\nG1,"[4, 16]"\n',
            {},
            "that is known: 'location' contains lists such as",
        ),
        ("protein_ID,protein_id,location\nG1,1,er\n", {}, "protein_ID and protein_id read the same; rename one"),
        ("gene,image_id,label\nG1,a,er\n", {}, "choose which they name: --level protein or image"),
        ("gene,label\nG1,er\n", {"level": "image"}, "wanted image_id for labels of each image"),
        ("gene,label\nG1,er\n", {"level": "organ"}, "the level is 'organ'; wanted one of protein, image, cell"),
        ("gene,label\nG9,er\n", {}, "names no protein of the dataset 'opencell'"),
        ("gene,label,grade\nG1,er,high\n", {}, "line 2: grade is 'high'"),
        ("gene,label,grade\nG1,er,3²\n", {}, "line 2: grade is '3²'"),
        ("Id,Target\nx,3²\n", {}, "has the label '3²'; wanted an index from 0 to 27"),
        ("ID,Label\nx,0\n", {"level": "protein"}, "has labels of images, not of proteins"),
    ],
)
def test_labels_that_mean_nothing_here_are_refused(
    opencell: Store, tmp_path: Path, text: str, choices: dict[str, str], message: str
) -> None:
    """One line states what the table has and what was wanted; nothing is written."""
    versions = opencell.versions()
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(EmbstoreError, match=message):
        add_labels(opencell, tmp_path / "t.csv", dataset="opencell", **choices)
    assert opencell.versions() == versions
