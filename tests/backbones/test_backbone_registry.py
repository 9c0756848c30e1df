"""Which backbones there are, what their spaces are called, and whether they can be used here."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from embstore.backbones.pixel_stats import reference
from embstore.backbones.record import Backbone, Choices, space_of
from embstore.backbones.registry import BACKBONES, availability, backbone_records, find, parse, write_record
from embstore.backbones.weights import local_file, missing, weights_path
from embstore.errors import EmbstoreError
from embstore.ids import digest
from embstore.space import Space

# Changing one of these orphans every vector that users have stored: raise the backbone's revision instead.
PINNED = {
    "pixel-stats:mapping": "4866411f2ba10309e161c3310604ce8024912a755d19a136211da9aedea31860",
    "phantom-dino:mapping": "80d80b566a830f3047465c915ea220bd09d7a352e8b10ae9dd445314b734d779",
    "vit-random:mapping": "3cd81693aa7cf74b09397954903c8d10ed914e2fb2159239ccd8bd8688e766f3",
    "vit-random:replication": "843f20246093b59c41393164b0d666228cce5ccdc20a1a1c858a18f89f2f9a6a",
}


# What decides the vectors of each built-in record, by revision: the name and revision stand for all of it in a space.
RECORDS = {
    "pixel-stats@1": "e7e6fdc4297058f8",
    "vit-random@1": "8c7004d83cce5e15",
    "phantom-dino@1": "f75036d5bc608206",
    "imagenet@1": "c18dd4a7a3cc1eae",
    "imagenet-s8@1": "00f935b79c836455",
    "imagenet-b16@1": "c820207166a7db26",
    "imagenet-b8@1": "d9cc239986d094c3",
    "dinov2-s14@1": "b6b7c78a8cb44d42",
    "dinov2-b14@1": "2db8f6bfd4ec59d4",
    "dinov2-l14@1": "c72848e9df4b15dc",
    "hpa@1": "f6f7025cb67fefa4",
    "hpa-cell@2": "f1618accd3780404",
    "opencell@1": "aa236a0801a26818",
    "subcell-rybg@1": "505b4fa4756d8b52",
    "subcell-rbg@1": "fbf501e40a01853f",
    "subcell-ybg@1": "cfb1d4ee77a953ae",
    "subcell-bg@1": "1b79061e3b1cc1ee",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder and a Hugging Face cache of the test's own, empty."""
    monkeypatch.setenv("EMBSTORE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "weights"


def test_no_built_in_record_changes_without_a_new_revision() -> None:
    """Architecture, slots, sizes, normalisation, pooling and pinned weights of a revision are those of its release."""
    descriptive = {"licence", "source", "note", "citation", "url", "hub", "file", "file_sha256", "origin", "init"}
    result = {}
    for name, backbone in BACKBONES.items():
        decides = {key: value for key, value in dataclasses.asdict(backbone).items() if key not in descriptive}
        result[f"{name}@{backbone.revision}"] = digest(decides)[:16]
    assert result == RECORDS


def test_hpa_cell_shows_cells_as_its_authors_did() -> None:
    """512 px of the atlas around the centre of a segmented cell, pixel for pixel, on a network of 16 px patches."""
    space = space_of(BACKBONES["hpa-cell"], Choices(), None)
    assert (space.input_px, space.masked, space.revision) == (512, True, 2)
    assert space.crop_um is not None
    assert space.crop_um / 0.0800885 == pytest.approx(512, abs=1e-6)


def test_records_state_what_training_began_from() -> None:
    """Random weights, other weights, or "" if the authors do not state it; it is not part of a space."""
    assert {name for name, backbone in BACKBONES.items() if not backbone.init} == {
        "pixel-stats", "opencell", "subcell-rybg", "subcell-rbg", "subcell-ybg", "subcell-bg",
    }  # fmt: skip
    assert BACKBONES["hpa"].init == BACKBONES["imagenet-b8"].init == "random"
    space = space_of(BACKBONES["hpa"], Choices(), None)
    assert space_of(dataclasses.replace(BACKBONES["hpa"], init="ImageNet"), Choices(), None) == space


@pytest.mark.parametrize("spec", PINNED)
def test_the_spaces_of_backbones_that_need_no_download_never_change_unawares(spec: str) -> None:
    """A space's digest is the one that existing stores have."""
    backbone, choices = parse(spec)
    space = space_of(backbone, choices, backbone.weights_sha256)
    assert space.label == spec
    assert space.digest == PINNED[spec]


def test_every_field_of_a_space_moves_its_digest() -> None:
    """Two spaces that differ anywhere differ in their digests."""
    backbone, choices = parse("vit-random")
    space = space_of(backbone, choices, backbone.weights_sha256)
    changed: list[Space] = []
    for field in dataclasses.fields(Space):
        value = getattr(space, field.name)
        other = (not value) if isinstance(value, bool) else value + 1 if isinstance(value, int | float) else "other"
        changed.append(dataclasses.replace(space, **{field.name: other}))
    assert len({space.digest, *(other.digest for other in changed)}) == len(dataclasses.fields(Space)) + 1


def test_a_space_read_back_from_json_has_the_same_digest() -> None:
    """Tuples become lists in JSON without changing what the digest sees."""
    space = space_of(BACKBONES["hpa"], Choices(fill="mean"), None)
    contents = json.loads(json.dumps(dataclasses.asdict(space)))
    assert contents["filling"] == "mean"
    assert Space(**contents).digest == space.digest


def test_a_spec_becomes_a_backbone_and_choices_whose_defaults_are_the_records() -> None:
    """NAME alone means mapping; each key is the choice of its name."""
    assert parse("imagenet") == (BACKBONES["imagenet"], Choices())
    assert parse("imagenet:replication") == (BACKBONES["imagenet"], Choices("replication"))
    every = "imagenet:replication:unit=image:pooling=mean:input_px=64:fill=copy:roles=er:intensity=zscore"
    given = Choices("replication", ("er",), "copy", "mean", unit="image", intensity="zscore", input_px=64)
    assert parse(every) == (BACKBONES["imagenet"], given)
    given = Choices(masked=False, crop_um=40.0, precision="float32")
    assert parse("imagenet:masked=no:crop_um=40:precision=float32")[1] == given


def test_a_spec_that_says_the_defaults_makes_the_same_space() -> None:
    """Given or omitted: the digest depends on what is done."""
    message = "vit-random:mapping:unit=cell:masked=no:crop_um=25:fill=0:intensity=percentile:precision=float16"
    spaces = [space_of(*parse(spec), None) for spec in ("vit-random", message)]
    assert spaces[0].digest == spaces[1].digest
    assert space_of(*parse("vit-random:precision=float32"), None).precision == "float32"


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("HPA-cel", "there is no backbone 'HPA-cel'; the nearest names are hpa-cell, "),
        ("resnet", "there is no backbone 'resnet'; the nearest names are "),
        ("timm:", "the backbone spec 'timm:' does not begin with a name"),
        ("imagenet:crop=40", "there is no key of a backbone spec 'crop'; choose from: crop_um, fill, input_px, "),
        (
            "imagenet:roles=er",
            "roles= lists what :replication shows, and imagenet:roles=er is mapped; write imagenet:repl",
        ),
        ("imagenet:intensity=log", "there is no intensity scaling 'log'; choose from: minmax, "),
        ("pixel-stats:precision=float16", "there is no precision of pixel-stats 'float16'; choose from: float32"),
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
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_records_agree_with_themselves() -> None:
    """Names are keys, sums have one term per slot, and the hand-made record counts its measurements."""
    for name, backbone in BACKBONES.items():
        assert backbone.name == name
        assert backbone.origin == "built-in"
        assert len(backbone.mean) == len(backbone.std)
        assert len(backbone.mean) in (0, len(backbone.slots))
    assert BACKBONES["pixel-stats"].dim == len(reference().names)


def test_availability_says_how_to_get_what_is_missing() -> None:
    """A backbone becomes available when its file appears in the weights folder."""
    for name in ("imagenet", "hpa"):
        usable, line = availability(BACKBONES[name])
        assert not usable
        assert line == "; ".join(missing(BACKBONES[name]))
        weights_path(BACKBONES[name]).parent.mkdir(exist_ok=True)
        weights_path(BACKBONES[name]).write_bytes(b"")
        assert availability(BACKBONES[name]) == (True, "")
    assert availability(BACKBONES["pixel-stats"]) == availability(BACKBONES["vit-random"]) == (True, "")


def test_a_file_in_the_hugging_face_cache_counts(tmp_path: Path) -> None:
    """What another tool has downloaded is not asked for again."""
    folder = tmp_path / "hub" / "models--timm--vit_small_patch16_224.dino"
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


def mine(**changes: Any) -> Backbone:
    """A record of a user's own."""
    return dataclasses.replace(BACKBONES["opencell"], name="mine", origin="user", weights_sha256="1" * 64, **changes)


def test_a_users_record_is_written_and_found_beside_the_built_in_ones(folder: Path) -> None:
    """It reads back as it was written, and a person can read it."""
    record = mine(architecture_args={"img_size": 64, "norm_eps": 1e-12}, citation="ours, 2026", crop_um=18.5)
    assert write_record(record) == record
    assert find("mine") == record
    assert list(backbone_records()) == [*BACKBONES, "mine"]
    text = (folder / "mine.toml").read_text()
    assert 'slots = [\n    "nucleus",\n    "protein",\n]' in text
    assert "crop_um = 18.5" in text
    assert [path.name for path in folder.iterdir()] == ["mine.toml"]


def test_another_record_under_a_name_is_a_new_revision_only_on_request(folder: Path) -> None:
    """The same again changes nothing; something else is refused, or is the next revision."""
    write_record(mine())
    before = (folder / "mine.toml").read_bytes()
    assert write_record(mine()).revision == 1
    with pytest.raises(EmbstoreError, match=r"there is a backbone mine already, .* its revision 2"):
        write_record(mine(crop_um=30.0))
    assert (folder / "mine.toml").read_bytes() == before
    assert write_record(mine(crop_um=30.0), replaces=True).revision == 2
    assert (find("mine").revision, find("mine").crop_um) == (2, 30.0)
    assert write_record(mine(crop_um=30.0)).revision == 2
    assert write_record(mine(), replaces=True).revision == 3


@pytest.mark.parametrize("name", ["imagenet", "a:b", "", "../up"])
def test_a_users_record_takes_no_built_in_name_and_no_path(folder: Path, name: str) -> None:
    """Names of built-in backbones, and what is no plain name, are refused; nothing is written."""
    with pytest.raises(EmbstoreError, match="a backbone of your own cannot be called"):
        write_record(dataclasses.replace(mine(), name=name))
    assert not folder.exists()


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("dim = 384", "", "mine.toml: dim: Field required"),
        ("dim = 384", 'dim = "many"', "mine.toml: dim: Input should be a valid integer"),
        ("dim = 384", "dim = 384\ncolour = 1", "mine.toml: colour: Unexpected keyword argument"),
        (
            'normalisation = "zscore"',
            'normalisation = "fixed"',
            "mine has 0 means and 0 sds; its normalisation fixed",
        ),
        ('normalisation = "zscore"', 'normalisation = "z"', "there is no normalisation 'z'; choose from: bright-log"),
        ("dim = 384", "dim = ", "mine.toml is not a record"),
    ],
)
def test_a_users_record_that_is_wrong_is_an_error_that_names_the_field(
    folder: Path, old: str, new: str, line: str
) -> None:
    """And the built-in backbones can still be used."""
    write_record(mine())
    path = folder / "mine.toml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(EmbstoreError) as caught:
        find("mine")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
    assert find("imagenet") is BACKBONES["imagenet"]


def test_a_users_space_holds_the_normalisation_with_its_numbers() -> None:
    """A record that its owner may edit is not frozen by name and revision: other numbers are another space."""
    numbers = {"normalisation": "fixed", "mean": (0.1, 0.2), "std": (1.0, 2.0)}
    spaces = [
        space_of(mine(**changes), Choices(), None)
        for changes in ({}, numbers, numbers | {"std": (1.0, 2.5)}, {"normalisation": "minmax"})
    ]
    assert [space.normalisation for space in spaces] == [
        "zscore", "fixed [[0.1, 0.2], [1.0, 2.0]]", "fixed [[0.1, 0.2], [1.0, 2.5]]", "minmax",
    ]  # fmt: skip
    assert len({space.digest for space in spaces}) == 4


@pytest.mark.parametrize(
    ("name", "choices", "line"),
    [
        ("imagenet", Choices(unit="protein"), "there is no unit 'protein'; choose from: cell, image"),
        ("imagenet", Choices(fill="black"), "there is no fill 'black'; choose from: copy, mean"),
        ("imagenet", Choices(pooling="attention"), r"'attention'; choose from: cls, cls\+mean, "),
        ("pixel-stats", Choices(pooling="mean"), "'mean'; choose from: none"),
        (
            "imagenet",
            Choices(input_px=0),
            r"native size \(input_px=0\) is for whole images; write imagenet:unit=image:input_px=0",
        ),
        ("imagenet", Choices(input_px=-8), "the image size is -8 px"),
        ("imagenet", Choices(crop_um=0.0), "the crop is 0 µm wide"),
        ("imagenet", Choices(unit="image", masked=True), "whole images are neither cropped nor masked"),
        ("pixel-stats", Choices(unit="image"), "pixel-stats measures cells at 96 px by their outlines"),
        ("imagenet", Choices("replication", ()), "replication was given the roles none; name each role once"),
    ],
)
def test_choices_that_a_backbone_does_not_have_are_refused(name: str, choices: Choices, line: str) -> None:
    """Each in one line, before anything is loaded."""
    with pytest.raises(EmbstoreError, match=line):
        space_of(BACKBONES[name], choices, None)


def test_each_choice_makes_another_space() -> None:
    """Pooling, mask, size, crop, fill, unit, roles and strategy all are part of the digest."""
    every = [
        Choices(),
        Choices(pooling="mean"),
        Choices(masked=True),
        Choices(input_px=112),
        Choices(crop_um=30.0),
        Choices(fill=0.5),
        Choices(fill="mean"),
        Choices(fill="copy"),
        Choices(unit="image"),
        Choices(unit="image", input_px=0),
        Choices("replication"),
        Choices("replication", ("protein", "nucleus")),
        Choices(intensity="minmax"),
    ]
    assert len({space_of(BACKBONES["imagenet"], choices, None).digest for choices in every}) == len(every)
    assert space_of(BACKBONES["hpa-cell"], Choices(), None).masked
    assert not space_of(BACKBONES["hpa-cell"], Choices(masked=False), None).masked
    assert not space_of(BACKBONES["hpa-cell"], Choices(unit="image"), None).masked


def test_any_vision_transformer_of_timms_has_a_record_without_being_written_down() -> None:
    """Its own mean, sd and size, RGB slots; the strategy follows after timm's own name."""
    backbone, choices = parse("timm:vit_base_patch16_siglip_224.webli:replication")
    assert choices.strategy == "replication"
    assert backbone.name == "timm:vit_base_patch16_siglip_224.webli"
    assert (backbone.mean, backbone.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert (backbone.input_px, backbone.dim, backbone.pooling, backbone.origin) == (224, 768, "mean", "timm")
    assert parse("timm:vit_small_patch16_224.dino")[0].hub == BACKBONES["imagenet"].hub
    assert space_of(backbone, Choices(), None).normalisation == "fixed [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]"
    assert availability(backbone)[0] is False
    with pytest.raises(EmbstoreError, match="there is no network 'resnet500' in timm; the nearest of"):
        parse("timm:resnet500")
