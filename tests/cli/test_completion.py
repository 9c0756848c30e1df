"""What the shell offers after TAB: asked of Typer's completion as a shell asks it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from embstore.store import PENDING, Store
from tests.cli.conftest import Run

Complete = Callable[[str], list[str]]
ENGINES = {"torch", "timm", "lancedb", "duckdb", "sklearn", "scipy", "skimage"}


@pytest.fixture
def complete(run: Run, monkeypatch: pytest.MonkeyPatch) -> Complete:
    """Return the words that bash would offer at the end of a line; a line ends in a blank where a word begins."""

    def ask(line: str) -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv("_EMBSTORE_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        done = run()
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    return ask


@pytest.fixture(scope="module")
def scored(run: Run, phantom_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared store with a tag, a split, and a removal under way."""
    path = shutil.copytree(phantom_store, tmp_path_factory.mktemp("scored") / "store")
    assert run("--store", path, "tag", "paper-v1").returncode == 0
    assert run("--store", path, "splits", "make", "--folds", "3").returncode == 0
    store = Store.open(path)
    store.tag(PENDING, {"images": store.versions()["images"]})
    return path


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("bench --backbone ", ["pixel-stats", "pixel-stats:mapping"]),
        ("search protein A -b pixel-stats:", ["pixel-stats:mapping"]),
        ("bench --dataset ", ["opencell"]),
        ("ingest x --dataset o", ["opencell"]),
        ("bench --task localization:g", ["localization:grade2plus", "localization:grade3"]),
        ("results --task ", ["localization", "localization:any", "localization:grade2plus", "localization:grade3"]),
        ("backbones pretrain --watch opencell/g", ["opencell/grade2plus", "opencell/grade3"]),
        ("splits show ", ["opencell/grade3/protein-k3-s0"]),
        ("tag ", ["paper-v1"]),
        ("--at ", ["paper-v1"]),
        ("--at paper-v1 bench --dataset ", ["opencell"]),
        ("bench --backbone imagenet", []),
    ],
)
def test_what_the_store_contains_is_offered(complete: Complete, scored: Path, line: str, offered: list[str]) -> None:
    assert complete(f"embstore --store {scored} {line}") == offered


def test_the_digest_of_a_space_is_offered(complete: Complete, scored: Path) -> None:
    (digest,) = Store.open(scored).read("spaces")["digest"].to_pylist()
    (offered,) = complete(f"embstore --store {scored} search cell c --space ")
    assert digest.startswith(offered)
    assert len(offered) >= 8


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("bench --head ", ["knn", "linear", "mlp", "prototype"]),
        ("ingest x --layout ", ["crops", "fields", "hpa", "manifest", "ome", "opencell"]),
        ("backbones show vit", ["vit-random"]),
        ("ingest x --backbone t", ["timm:"]),
        ("embed -b pixel", ["pixel-stats"]),
        ("ingest x -b hpa:m", ["hpa:mapping", "hpa:masked="]),
        (
            "ingest x -b hpa:replication:crop_um=40:p",
            [f"hpa:replication:crop_um=40:{key}=" for key in ("pooling", "precision")],
        ),
        ("ver", ["verify"]),
    ],
)
def test_what_embstore_knows_is_offered_without_a_store(complete: Complete, line: str, offered: list[str]) -> None:
    assert complete(f"embstore {line}") == offered


@pytest.mark.parametrize("line", ["bench --backbone ", "bench --dataset ", "tag ", "splits show ", "--at "])
def test_where_there_is_no_store_nothing_is_offered(complete: Complete, tmp_path: Path, line: str) -> None:
    """No store, a file, an empty folder, a damaged table: no word and no error."""
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name in ("nothing", "file", "empty"):
        assert complete(f"embstore --store {tmp_path / name} {line}") == []


def test_a_damaged_table_offers_nothing(complete: Complete, scored: Path, tmp_path: Path) -> None:
    store = shutil.copytree(scored, tmp_path / "store")
    for manifest in (store / "spaces.lance" / "_versions").iterdir():
        manifest.write_bytes(b"")
    assert complete(f"embstore --store {store} bench --backbone ") == []
    assert complete(f"embstore --store {store} bench --dataset ") == ["opencell"]


def test_the_environment_names_the_store(complete: Complete, scored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBSTORE_STORE", str(scored))
    assert complete("embstore bench --dataset ") == ["opencell"]


def test_completion_imports_no_engine_but_lance(scored: Path) -> None:
    """Somebody waits at the prompt: neither torch nor lancedb, DuckDB or scikit-learn."""
    code = (
        "import sys\nsys.argv = ['embstore']\nfrom embstore_cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    print('|', *sorted(sys.modules))"
    )
    for line in ("bench --backbone ", "bench --task ", "bench --head ", "ingest x --layout ", "tag "):
        words = f"embstore --store {scored} {line}"
        asked = {"_EMBSTORE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True, check=True
        )
        offered, _, modules = done.stdout.partition("|")
        assert offered.split()
        assert not ENGINES.intersection(modules.split()), line
