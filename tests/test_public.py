"""`import embstore as es`: every public name exists, lazily, and what it returns prints short and is a table."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embstore as es
from embstore.tabular import Tabular

ENGINES = {"torch", "timm", "lancedb", "lance", "duckdb", "sklearn", "scipy", "skimage", "pyarrow", "numpy", "PIL"}
FUNCTIONS = sorted(name for name in es.__all__ if inspect.isroutine(getattr(es, name)))
CELLS = "SELECT cell_id, gene FROM cells ORDER BY cell_id"
Call = Callable[[es.Store, Path, Path], Any]  # an open store, the atlas that it was made of, an empty folder


def add_label(store: es.Store, folder: Path) -> Any:
    table = folder / "new.csv"
    table.write_text("gene,location\nPHN001,golgi\n")
    return es.add_labels(store, table, dataset="opencell", scheme="mine")


def first_cells(store: es.Store) -> list[str]:
    return es.query(store, CELLS).to_arrow()["cell_id"].to_pylist()[:3]


def embeddings(store: es.Store, folder: Path) -> Any:
    np.savez(folder / "theirs.npz", X=np.eye(3, dtype=np.float32), gene=np.array(["A", "B", "C"]))
    path = str(folder / "theirs.npz")
    return es.import_embeddings(store, path, dataset="mine", backbone="theirs", embeddings="X", gene_column="gene")


def seen(store: es.Store, folder: Path) -> Any:
    table = folder / "seen.csv"
    table.write_text("gene\nPHN001\n")
    return es.set_seen(store, str(table), backbone="hpa")


def drawn(store: es.Store, folder: Path) -> Any:
    return es.draw_sheet(store, es.similar_proteins(store, "PHN001"), str(folder / "sheet.png"))


# how each public function is called as a user does; paths as text
CALLS: dict[str, Call] = {
    "add_labels": lambda store, atlas, folder: add_label(store, folder),
    "create_tag": lambda store, atlas, folder: es.create_tag(store, "now"),
    "delete_tag": lambda store, atlas, folder: (es.create_tag(store, "now"), es.delete_tag(store, "now"))[1],
    "doctor": lambda store, atlas, folder: es.doctor(store.uri),
    "draw_sheet": lambda store, atlas, folder: drawn(store, folder),
    "embed": lambda store, atlas, folder: es.embed(store, backbones=["pixel-stats"]),
    "ingest": lambda store, atlas, folder: es.ingest(
        store, str(atlas / "images"), layout="opencell", backbones=["pixel-stats"]
    ),
    "import_embeddings": lambda store, atlas, folder: embeddings(store, folder),
    "list_ingests": lambda store, atlas, folder: es.list_ingests(store),
    "list_labels": lambda store, atlas, folder: es.list_labels(store),
    "list_labels_sql": lambda store, atlas, folder: es.query(store, *es.list_labels_sql()),
    "list_spaces": lambda store, atlas, folder: es.list_spaces(store),
    "list_spaces_sql": lambda store, atlas, folder: es.query(store, *es.list_spaces_sql()),
    "list_tags": lambda store, atlas, folder: (es.create_tag(store, "now"), es.list_tags(store))[1],
    "maintain": lambda store, atlas, folder: es.maintain(store),
    "open": lambda store, atlas, folder: es.open(store.uri),
    "open_index": lambda store, atlas, folder: es.open_index(store),
    "query": lambda store, atlas, folder: es.query(store, "SELECT * FROM cells"),
    "remove": lambda store, atlas, folder: es.remove(store, "gene = 'PHN001'", dry_run=True),
    "repair": lambda store, atlas, folder: es.repair(store),
    "set_seen": lambda store, atlas, folder: seen(store, folder),
    "similar_cells": lambda store, atlas, folder: es.similar_cells(store, first_cells(store)[0]),
    "similar_proteins": lambda store, atlas, folder: es.similar_proteins(store, "PHN001"),
    "thumbnails": lambda store, atlas, folder: es.thumbnails(store, first_cells(store)),
    "verify": lambda store, atlas, folder: es.verify(store),
    "write_phantom": lambda store, atlas, folder: es.write_phantom(
        str(folder / "new"), layout="opencell", proteins=1, fields=1, field_px=128
    ),
}


def python(program: str) -> str:
    """Return what a program prints in a fresh interpreter that sees the packages as this one does."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    return done.stdout.strip()


def public_table() -> dict[str, str]:
    """Return name -> module from the table in the source."""
    tree = ast.parse(Path(es.__file__).read_text(encoding="utf-8"))
    assigned = (node for node in tree.body if isinstance(node, ast.Assign))
    (table,) = (node for node in assigned if isinstance(node.targets[0], ast.Name) and node.targets[0].id == "_PUBLIC")
    result: dict[str, str] = ast.literal_eval(table.value)
    return result


def test_every_public_name_resolves_to_what_its_module_defines() -> None:
    """Each name of the table exists, and is the very object of the module that the table names."""
    for name, module in public_table().items():
        assert getattr(es, name) is getattr(import_module(module), name), name
    assert set(dir(es)) == set(es.__all__) == {*public_table(), "open", "__version__"}
    assert es.__version__ == version("embstore")
    assert es.open == es.Store.open
    with pytest.raises(AttributeError, match="module 'embstore' has no attribute 'opne'"):
        es.opne  # type: ignore[attr-defined]  # noqa: B018


def test_type_checkers_see_the_same_names() -> None:
    """The imports below TYPE_CHECKING are those of the table: a name that only one of them has is found here."""
    tree = ast.parse(Path(es.__file__).read_text(encoding="utf-8"))
    (checked,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    imported = {
        alias.asname: node.module for node in checked.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported == public_table()


@pytest.mark.parametrize("statement", ["import embstore", "import embstore; dir(embstore); embstore.__version__"])
def test_importing_embstore_imports_no_engine(statement: str) -> None:
    """Not even NumPy: names are imported when they are first used."""
    assert python(f"import sys; {statement}; print(sorted({ENGINES!r} & set(sys.modules)))") == "[]"


@pytest.mark.parametrize(
    "statement",
    [
        "import embstore as es; import embstore.ingest.run",
        "import embstore.ingest.run; import embstore as es",
        "import embstore as es; es.ingest; import embstore.ingest.commit",
        "from embstore.ingest import commit; import embstore as es; es.similar_proteins; import embstore.ingest",
        "from embstore import ingest; import embstore as es; assert es.ingest is ingest",
    ],
)
def test_ingest_stays_the_function_whatever_is_imported(statement: str) -> None:
    """The package `embstore.ingest` does not take the place of `es.ingest`."""
    assert python(f"{statement}; print(es.ingest.__module__, callable(es.ingest))") == "embstore.ingest.run True"


def test_the_words_of_the_readme_work(phantom_copy: Path, phantom: Path) -> None:
    """open, ingest, query and similar_proteins, as a user types them."""
    store = es.open(str(phantom_copy))
    cells = es.query(store, CELLS).to_pylist()
    es.ingest(store, phantom / "images", layout="opencell", backbones=["pixel-stats"])
    assert es.query(store, CELLS).to_pylist() == cells  # there was nothing to do
    genes = es.query(store, "SELECT DISTINCT gene FROM cells ORDER BY gene").to_pylist()
    assert [row["gene"] for row in genes] == ["PHN001", "PHN002", "PHN003"]
    neighbours = es.similar_proteins(store, "PHN001", backbone="pixel-stats", k=2)
    assert {row.gene for row in neighbours.rows} == {"PHN002", "PHN003"}
    assert repr(neighbours).startswith("nearest to PHN001 in pixel-stats:mapping")


def test_every_public_function_is_called_here() -> None:
    """A new one needs an example in CALLS."""
    assert sorted(CALLS) == FUNCTIONS


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_a_public_function_returns_prints_short_and_is_a_table(
    name: str, phantom_copy: Path, phantom: Path, tmp_path: Path
) -> None:
    """Few, narrow lines at the prompt, HTML in a notebook, Arrow for scripts; else a path, or the new version."""
    answer = CALLS[name](es.open(phantom_copy), phantom, tmp_path)
    printed = repr(answer)
    if isinstance(answer, Path):
        assert answer.is_file()
    elif isinstance(answer, dict):  # the versions by table
        assert all(isinstance(number, int) for number in answer.values())
    elif not isinstance(answer, int):  # the new version of the table
        assert isinstance(answer, Tabular), type(answer)
        assert len(printed.splitlines()) <= 15
        assert max(map(len, printed.splitlines())) <= 120
        assert answer.to_arrow().num_columns
        assert answer._repr_html_().startswith("<p>")
