"""Fixtures that every room's tests share."""

from __future__ import annotations

import os

# before numpy is imported: many small products in several processes, where threads that wait for each other cost most
for library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from case_files import CASES

SAMPLES = Path(os.environ.get("EMBSTORE_SAMPLES", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session", autouse=True)
def _no_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty weights folder: records of the machine's own are none of the tests' business."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("EMBSTORE_WEIGHTS", str(tmp_path_factory.mktemp("weights")))
        yield


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real sample files; tests that need it are skipped, with the reason, where it is absent."""
    if not SAMPLES.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"CI must not skip: no sample files at {SAMPLES}")
        pytest.skip(f"no sample files at {SAMPLES}; set EMBSTORE_SAMPLES to the folder that contains them")
    return SAMPLES


@pytest.fixture(scope="session")
def cases() -> Path:
    """The folder of inputs that people really have; tests that need it are skipped, with the reason, without it."""
    if not CASES.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"CI must not skip: no case files at {CASES}")
        pytest.skip(f"no case files at {CASES}, beside this checkout")
    return CASES


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An atlas of three phantom proteins, one OpenCell-like field each; not to be changed."""
    from embstore.phantom import write_phantom

    folder = tmp_path_factory.mktemp("phantom")
    write_phantom(folder, layout="opencell", proteins=3, fields=1, field_px=380)
    return folder


@pytest.fixture(scope="session")
def phantom_store(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of those fields under pixel-stats; to be read only (`phantom_copy` may be changed)."""
    from embstore.ingest import ingest
    from embstore.store import Store

    folder = tmp_path_factory.mktemp("stores") / "phantom"
    ingest(
        Store.open(folder, create=True),
        phantom / "images",
        layout="opencell",
        backbones=["pixel-stats"],
        labels=phantom / "labels.csv",
    )
    return folder


@pytest.fixture
def phantom_copy(phantom_store: Path, tmp_path: Path) -> Path:
    """A copy of the phantom store that a test may change."""
    return shutil.copytree(phantom_store, tmp_path / "phantom-store")
