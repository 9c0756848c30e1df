"""What the readers and backbones return prints in a line, however much it contains."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from embstore.backbones.crops import Crops
from embstore.backbones.registry import BACKBONES
from embstore.sources.record import Label, Source, SourceImage
from embstore.sources.vector_columns import Columns
from embstore.sources.vectors import read_vectors


def test_a_backbone_prints_its_name_its_length_what_it_is_shown_and_its_licence() -> None:
    """The whole record is what `embstore backbones show` is for."""
    assert repr(BACKBONES["phantom-dino"]).startswith(
        "<Backbone phantom-dino, revision 1: 256 numbers from nucleus, protein at 64 px; "
    )
    assert all(len(repr(backbone)) < 250 for backbone in BACKBONES.values())


def test_crops_print_how_many_how_large_and_of_what() -> None:
    """No pixel is printed."""
    pixels = np.zeros((3, 2, 8, 16), np.float32)
    masks = np.zeros((3, 8, 16), bool)
    assert repr(Crops(pixels, ("nucleus", "protein"), masks, masks)) == (
        "<Crops: 3 of 16 x 8 px showing nucleus, protein>"
    )


def test_a_source_prints_where_it_is_and_how_much_it_contains(tmp_path: Path) -> None:
    """Also with thousands of images."""
    images = tuple(SourceImage(f"a{i}", (f"a{i}.tif",), ("nucleus",)) for i in range(2000))
    label = Label("main", "image", "a1", "Nucleoli", None, "labels.csv")
    assert repr(Source(tmp_path, images, (label,))) == f"<Source {tmp_path}: 2000 images, 1 labels, 0 failures>"


def test_external_embeddings_print_how_many_there_are(tmp_path: Path) -> None:
    """A path may be given as text."""
    path = tmp_path / "vectors.csv"
    path.write_text("gene,a,b\nACTN1,1,2\nACTN4,3,4\n")
    assert repr(read_vectors(str(path), Columns(gene="gene"))) == "<ExternalEmbeddings: 2 rows of 2 numbers>"
