"""Backbone specs: written and read back as the same, and refused in one line that lists what can be written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embstore.errors import EmbstoreError
from embstore.space import (
    FILLS,
    MAX_INPUT_PX,
    PRECISIONS,
    SPEC_KEYS,
    STRATEGIES,
    VECTOR_UNITS,
    BackboneSpec,
    parse_spec,
)

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text("abcdefgzAZ019.+-_", min_size=1, max_size=12)
SPECS = st.builds(
    BackboneSpec,
    name=st.builds("".join, st.tuples(st.sampled_from(["", "timm:"]), WORDS)),
    strategy=st.none() | st.sampled_from(STRATEGIES),
    unit=st.none() | st.sampled_from(VECTOR_UNITS),
    pooling=st.none() | WORDS,
    masked=st.none() | st.booleans(),
    input_px=st.none() | st.integers(0, MAX_INPUT_PX),
    crop_um=st.none() | st.floats(0, exclude_min=True, allow_infinity=False),
    fill=st.none() | st.sampled_from(FILLS) | NUMBERS,
    roles=st.none() | st.lists(WORDS, min_size=1, max_size=4, unique=True).map(tuple),
    intensity=st.none() | WORDS,
    precision=st.none() | st.sampled_from(PRECISIONS),
)


@given(SPECS)
def test_a_spec_is_read_back_as_it_is_written(spec: BackboneSpec) -> None:
    """Every name, strategy and value; what is not given stays None."""
    assert parse_spec(str(spec)) == spec


@given(SPECS, st.randoms())
def test_keys_may_stand_in_any_order(spec: BackboneSpec, random: object) -> None:
    """The strategy stays right after the name."""
    head = str(BackboneSpec(spec.name, spec.strategy))
    pairs = str(spec).removeprefix(head).split(":")[1:]
    random.shuffle(pairs)  # type: ignore[attr-defined]
    assert parse_spec(":".join([head, *pairs])) == spec


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("hpa", BackboneSpec("hpa")),
        ("timm:vit_x.y", BackboneSpec("timm:vit_x.y")),
        ("timm:vit_x.y:replication", BackboneSpec("timm:vit_x.y", "replication")),
        ("hpa:replication:crop_um=40:pooling=cls", BackboneSpec("hpa", "replication", crop_um=40.0, pooling="cls")),
        ("hpa:masked=TRUE:fill=-0", BackboneSpec("hpa", masked=True, fill=0.0)),
        ("hpa:roles=er, protein", BackboneSpec("hpa", roles=("er", "protein"))),
    ],
)
def test_a_spec_comes_apart_into_its_parts(text: str, spec: BackboneSpec) -> None:
    """The colon of `timm:` belongs to the name; numbers, booleans and lists have the types of a space's record."""
    assert parse_spec(text) == spec


def test_a_spec_is_written_as_people_type_it() -> None:
    """Whole numbers without a point, booleans as yes and no, and nothing that was not given."""
    spec = BackboneSpec("hpa", "replication", masked=False, crop_um=40.0, roles=("er", "protein"), fill=0.5)
    assert str(spec) == "hpa:replication:masked=no:crop_um=40:fill=0.5:roles=er,protein"
    assert spec.given == {
        "strategy": "replication",
        "masked": False,
        "crop_um": 40.0,
        "fill": 0.5,
        "roles": ("er", "protein"),
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "does not begin with a name; wanted NAME[:mapping|:replication][:key=value]..."),
        ("timm:", "does not begin with a name"),
        ("crop_um=40", "does not begin with a name"),
        ("hpa:", "there is no channel strategy ''; choose from: mapping, replication"),
        ("hpa:rgb", "there is no channel strategy 'rgb'; choose from: mapping, replication"),
        ("hpa:masked", "gives masked no value; wanted masked= followed by yes or no"),
        ("hpa:crop_um=40:masked", "gives masked no value; wanted masked= followed by yes or no"),
        ("hpa:crop_um=40:replication", "has replication among its keys; write it right after the name"),
        ("hpa:crop=40", f"no key of a backbone spec 'crop'; choose from: {', '.join(sorted(SPEC_KEYS))}"),
        ("hpa:pooling=cls:pooling=mean", "gives pooling twice; give it once"),
        ("hpa:unit=field", "has unit=field; wanted unit= followed by cell, image or protein"),
        ("hpa:masked=maybe", "wanted masked= followed by yes or no"),
        ("hpa:input_px=-8", "wanted input_px= followed by a side in pixels such as 224, or 0"),
        ("hpa:input_px=99999", "wanted input_px= followed by a side in pixels"),
        ("hpa:input_px=1_0", "wanted input_px= followed by a side in pixels"),
        ("hpa:crop_um=0", "wanted crop_um= followed by a number of µm above 0"),
        ("hpa:crop_um=inf", "wanted crop_um= followed by a number of µm above 0"),
        ("hpa:crop_um=wide", "wanted crop_um= followed by a number of µm above 0"),
        ("hpa:fill=nan", "wanted fill= followed by a number, mean or copy"),
        ("hpa:fill=half", "wanted fill= followed by a number, mean or copy"),
        ("hpa:roles=", "wanted roles= followed by roles separated by commas, each once"),
        ("hpa:roles=er,er", "wanted roles= followed by roles separated by commas, each once"),
        ("hpa:pooling=", "wanted pooling= followed by a name such as cls"),
        ("hpa:precision=float64", "wanted precision= followed by float16 or float32"),
    ],
)
def test_a_wrong_part_is_one_line_that_lists_the_choices(text: str, line: str) -> None:
    """A wrong strategy, key or value, and a part that is in the wrong place or repeated."""
    with pytest.raises(EmbstoreError) as caught:
        parse_spec(text)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)
