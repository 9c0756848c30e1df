"""docs/layouts.md is true: its commands run, in order, as they are typed there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from embstore.sources.detect import VECTOR_SUFFIXES
from embstore.sources.tables import IMAGE_SUFFIXES

from .conftest import run_embstore

PAGE = (Path(__file__).parents[2] / "docs" / "layouts.md").read_text(encoding="utf-8")
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SUFFIXES = (*IMAGE_SUFFIXES, *VECTOR_SUFFIXES)
COMMANDS = [
    line
    for block in re.findall(r"^```bash\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]


def test_every_command_of_the_page_works(tmp_path: Path, samples: Path) -> None:
    """Each exits 0 on real files with nothing failed; layouts that names prove are said."""
    printed = {}
    for command in COMMANDS:
        done = run_embstore(*shlex.split(command.replace("$EMBSTORE_SAMPLES", str(samples)))[1:], cwd=tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert "failed" not in done.stderr, command
        printed[command] = done.stdout + done.stderr
    said = "\n".join(printed.values())
    assert "hpa-rgb: 0 of 1 images would go in, 1 are done" in said
    assert "layout: hpa (4 HPA names)" in said
    assert "34 of 34 images went in, 34 new cells" in said
    assert "200 crops of unknown pixel size: each taken to be 25 µm across" in said
    assert "hpa-cells/hpa-main, hpa-cells/hpa-any: 3 by id" in said
    assert "289 rows name no protein" in said
    assert "nf1: 2 of 2 images went in, 35 new cells" in said
    assert "mnfinder: 2 of 2 images went in, 220 new cells" in said


def test_every_folder_of_the_samples_is_ingested_or_said_to_have_no_reading(samples: Path) -> None:
    """Whatever folder holds images or vectors stands on this page or in the README."""
    text = PAGE + README
    folders = {path.parent.relative_to(samples) for path in samples.rglob("*") if path.name.endswith(SUFFIXES)}
    unsaid = [f for f in folders if not any(part.as_posix() in text for part in (f, *f.parents[:-2]))]
    assert unsaid == []
