"""The frozen versions of the simulator: what each simulates, and a digest that reveals any change."""

from __future__ import annotations

import hashlib
from pathlib import Path

from embstore.errors import EmbstoreError, choices

# a released version never changes: a test pins its digest, and a correction is a new folder with a new name
VERSIONS = ("v1",)
LATEST = VERSIONS[-1]


def check_version(version: str) -> str:
    """Return the version, or raise an EmbstoreError that lists the known ones."""
    if version not in VERSIONS:
        raise EmbstoreError(choices(version, "phantom version", VERSIONS))
    return version


def atlas_digest(version: str = LATEST) -> str:
    """Return the sha256 (64 hex digits) of a version's parameters and code: names and bytes of its files, in order."""
    folder = Path(__file__).parent / check_version(version)
    whole = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        whole.update(f"{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()
