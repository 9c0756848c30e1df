"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SAMPLES = Path(os.environ.get("EMBSTORE_SAMPLES", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real sample files; tests that need it are skipped, with the reason, where it is absent."""
    if not SAMPLES.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"CI must not skip: no sample files at {SAMPLES}")
        pytest.skip(f"no sample files at {SAMPLES}; set EMBSTORE_SAMPLES to the folder that holds them")
    return SAMPLES
