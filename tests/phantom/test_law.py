"""A simulator version is frozen: its digest, the pictures it draws, and that neither depends on who asks."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

from embstore.errors import EmbstoreError
from embstore.phantom import VERSIONS, atlas_digest
from embstore.phantom.v1.field import draw_field
from embstore.phantom.v1.proteins import plan_proteins

# published, and never to be edited: a version that has to change is copied to a new folder and gets a new name
FROZEN = {"v1": "37b8eb9dc773737cd3a88f0f40d45abc7000d424b0a510ba2fa9b938fdd7704c"}
# What phantom.v1 drew when it was frozen: mean and sd of nucleus and protein in (protein, field) of seed 0 at 200 px.
# Random streams and arithmetic may differ in the last bit between machines, pictures may not.
DRAWN = {
    (2, 0): (1946.2, 1767.9, 1331.5, 1336.8),
    (7, 1): (1098.1, 973.5, 1122.3, 615.8),
    (30, 0): (1998.0, 1599.0, 4413.2, 2417.7),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_released_version_is_not_changed(version: str) -> None:
    """The digest of a version's parameters and code is the one that it was published with."""
    assert atlas_digest(version) == FROZEN[version]


@pytest.mark.parametrize(("protein", "number"), DRAWN)
def test_a_version_still_draws_the_same_pictures(protein: int, number: int) -> None:
    """Three fields have the brightness and contrast they had when the version was frozen, to 1 %."""
    pixels = draw_field(plan_proteins(1, 0, start=protein)[0], number, "opencell", 200).pixels
    result = [float(f(plane)) for plane in pixels for f in (np.mean, np.std)]
    assert result == pytest.approx(DRAWN[protein, number], rel=0.01)


def test_another_process_draws_the_same_field() -> None:
    """A field depends on its protein and number alone, not on what was drawn before it."""
    protein = plan_proteins(3, 5)[2]
    draw_field(plan_proteins(1, 5)[0], 0, "opencell", 150)
    code = (
        "import sys; from embstore.phantom.v1.field import draw_field as d; "
        "from embstore.phantom.v1.proteins import plan_proteins as p; "
        "sys.stdout.buffer.write(d(p(1, 5, start=2)[0], 1, 'opencell', 150).pixels.tobytes())"
    )
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert elsewhere == draw_field(protein, 1, "opencell", 150).pixels.tobytes()


def test_an_unknown_version_lists_the_known_ones() -> None:
    """A version that does not exist is refused by name."""
    with pytest.raises(EmbstoreError, match=re.escape("there is no phantom version 'v9'; choose from: v1")):
        atlas_digest("v9")


def test_importing_the_phantom_is_light() -> None:
    """The command line may import the phantom without waiting for image libraries."""
    code = "import sys, embstore.phantom; print({'scipy', 'PIL', 'tifffile', 'torch', 'lancedb'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
