"""The demo takes the whole path on simulated images."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from embstore_cli.demo import NEXT, STEPS

from .conftest import run_embstore


@pytest.mark.slow
def test_the_demo_takes_the_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo writes both layouts, ends with the picture and the commands to try next, and those work.

    Here its fields are smaller than a user's.
    """
    monkeypatch.setattr("embstore_cli.demo.DEMO_FIELD_PX", {"opencell": 210, "hpa": 540})
    done = run_embstore("demo", "--out", "demo", "--proteins", "36", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n$ embstore ") == len(STEPS)
    assert "(baseline)" in done.stdout
    assert "phantom images: this score shows that the machine works, not biology" in done.stdout
    assert (tmp_path / "demo" / "neighbours.png").exists()
    offered = re.findall(r"^  embstore (.*)$", done.stdout, flags=re.MULTILINE)
    assert len(offered) == len(NEXT)
    for command in offered:
        if not re.search(r"replication|^\S+ \S+ bench", command):  # slow, and tested elsewhere
            assert run_embstore(*shlex.split(command, comments=True), cwd=tmp_path).returncode == 0, command
