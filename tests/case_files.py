"""Where the inputs that people really have are, each a folder of `../shared/cases`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CASES = Path(__file__).parents[2] / "shared" / "cases"
# CI has them and must not skip: there, a missing folder fails the tests that read it
needs_cases = pytest.mark.skipif(not CASES.is_dir() and not os.environ.get("CI"), reason=f"no case files at {CASES}")
