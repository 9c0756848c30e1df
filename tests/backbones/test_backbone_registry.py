"""Which backbones there are, what their spaces are called, and whether they can be used here."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from embstore.backbones.pixel_stats import reference
from embstore.backbones.record import Choices, Space, space_of
from embstore.backbones.registry import BACKBONES, availability, parse
from embstore.backbones.weights import local_file
from embstore.errors import EmbstoreError

# Changing one of these orphans every vector that users have stored: raise the backbone's revision instead.
PINNED = {
    "pixel-stats:mapping": "4866411f2ba10309e161c3310604ce8024912a755d19a136211da9aedea31860",
    "vit-random:mapping": "3cd81693aa7cf74b09397954903c8d10ed914e2fb2159239ccd8bd8688e766f3",
    "vit-random:replication": "843f20246093b59c41393164b0d666228cce5ccdc20a1a1c858a18f89f2f9a6a",
}


@pytest.mark.parametrize("spec", PINNED)
def test_the_spaces_of_backbones_that_need_no_download_never_change_unawares(spec: str) -> None:
    """A space's digest is the one that stores out there hold."""
    backbone, strategy = parse(spec)
    space = space_of(backbone, Choices(strategy), backbone.weights_sha256)
    assert space.label == spec
    assert space.digest == PINNED[spec]


def test_every_field_of_a_space_moves_its_digest() -> None:
    """Two spaces that differ anywhere differ in their digests."""
    backbone, strategy = parse("vit-random")
    space = space_of(backbone, Choices(strategy), backbone.weights_sha256)
    changed: list[Space] = []
    for field in dataclasses.fields(Space):
        value = getattr(space, field.name)
        other = (not value) if isinstance(value, bool) else value + 1 if isinstance(value, int | float) else "other"
        changed.append(dataclasses.replace(space, **{field.name: other}))
    assert len({space.digest, *(other.digest for other in changed)}) == len(dataclasses.fields(Space)) + 1


def test_a_space_read_back_from_json_has_the_same_digest() -> None:
    """Tuples become lists in JSON without changing what the digest sees."""
    space = space_of(BACKBONES["hpa"], Choices(fill="mean"), None)
    held = json.loads(json.dumps(dataclasses.asdict(space)))
    assert held["filling"] == "mean"
    assert Space(**held).digest == space.digest


def test_names_are_parsed_with_mapping_as_the_default() -> None:
    """NAME alone means mapping; a strategy follows a colon."""
    assert parse("imagenet") == (BACKBONES["imagenet"], "mapping")
    assert parse("imagenet:replication") == (BACKBONES["imagenet"], "replication")


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("resnet", "there is no backbone 'resnet'; choose from: hpa, imagenet, pixel-stats, vit-random"),
        ("imagenet:", "there is no channel strategy ''; choose from: mapping, replication"),
        ("imagenet:rgb", "there is no channel strategy 'rgb'; choose from: mapping, replication"),
        (
            "pixel-stats:replication",
            "pixel-stats measures every role by itself, so it cannot be replicated; use pixel-stats:mapping",
        ),
    ],
)
def test_a_name_that_does_not_exist_lists_those_that_do(spec: str, line: str) -> None:
    """The one line names what there is."""
    with pytest.raises(EmbstoreError) as caught:
        parse(spec)
    assert str(caught.value) == line


def test_records_agree_with_themselves() -> None:
    """Names are keys, sums have one term per slot, and the hand-made record counts its measurements."""
    for name, backbone in BACKBONES.items():
        assert backbone.name == name
        assert len(backbone.mean) == len(backbone.std)
        assert len(backbone.mean) in (0, len(backbone.slots))
    assert BACKBONES["pixel-stats"].dim == len(reference().names)


def test_availability_says_how_to_get_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """imagenet becomes available when its file appears in the weights folder; hpa never claims to be."""
    monkeypatch.setenv("EMBSTORE_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    usable, line = availability(BACKBONES["imagenet"])
    assert not usable
    assert str(tmp_path / "imagenet.safetensors") in line
    (tmp_path / "imagenet.safetensors").write_bytes(b"")
    assert availability(BACKBONES["imagenet"]) == (True, "")
    assert availability(BACKBONES["hpa"])[0] is False
    assert availability(BACKBONES["pixel-stats"]) == availability(BACKBONES["vit-random"]) == (True, "")


def test_a_file_in_the_hugging_face_cache_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another tool has downloaded is not asked for again."""
    monkeypatch.setenv("EMBSTORE_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--timm--vit_small_patch16_224.dino"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("a" * 40)
    cached = folder / "snapshots" / ("a" * 40) / "model.safetensors"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"")
    assert availability(BACKBONES["imagenet"]) == (True, "")
    assert local_file(BACKBONES["imagenet"]) == cached


def test_asking_what_there_is_imports_no_engine() -> None:
    """The registry, its parser, every availability and every pinned space do without torch and timm."""
    program = (
        "import sys; from embstore.backbones import registry, record, encoder; "
        "[registry.availability(b) for b in registry.BACKBONES.values()]; "
        "record.space_of(registry.BACKBONES['vit-random'], record.Choices(), None).digest; "
        "print(sorted({'torch', 'timm', 'safetensors', 'scipy', 'skimage', 'lancedb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
