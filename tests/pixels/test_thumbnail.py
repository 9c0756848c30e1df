"""Thumbnails: colours by role, and a picture that survives its file format."""

from __future__ import annotations

import numpy as np
import pytest

from embstore.pixels.thumbnail import THUMBNAIL_PX, composite, decode_thumbnail, encode_thumbnail


@pytest.mark.parametrize(
    ("role", "rgb"), [("nucleus", (0, 0, 255)), ("protein", (0, 255, 0)), ("microtubules", (255, 0, 0))]
)
def test_each_role_has_its_atlas_colour(role: str, rgb: tuple[int, int, int]) -> None:
    """Full signal in one channel is its pure colour, as the Human Protein Atlas draws it."""
    assert tuple(composite(np.ones((1, 2, 2)), [role])[0, 0]) == rgb


def test_er_is_a_dim_yellow() -> None:
    """Red and green alike, no blue, under half of full brightness."""
    red, green, blue = composite(np.ones((1, 2, 2)), ["er"])[0, 0]
    assert red == green
    assert 0 < red < 128
    assert blue == 0


def test_roles_and_not_positions_decide() -> None:
    """The same channels in another order draw the same picture."""
    pixels = np.random.default_rng(0).random((4, 6, 7))
    roles = ["nucleus", "protein", "microtubules", "er"]
    order = [2, 0, 3, 1]
    np.testing.assert_array_equal(composite(pixels, roles), composite(pixels[order], [roles[i] for i in order]))


def test_sums_saturate() -> None:
    """Bright in everything is white or nearly so, never a wrapped dark pixel."""
    rgb = composite(np.ones((4, 2, 2)), ["nucleus", "protein", "microtubules", "er"])
    assert (rgb == 255).all()


def test_an_unknown_role_is_still_seen() -> None:
    """A dye without a colour of its own is drawn grey."""
    red, green, blue = composite(np.ones((1, 2, 2)), ["actin"])[0, 0]
    assert red == green == blue > 0


def test_a_thumbnail_comes_back_close_to_what_it_was() -> None:
    """WebP at quality 85 keeps a smooth picture within a few grey levels, at its size."""
    y, x = np.mgrid[:THUMBNAIL_PX, :THUMBNAIL_PX] / THUMBNAIL_PX
    rgb = composite(np.stack([y, x]), ["nucleus", "protein"])
    data = encode_thumbnail(rgb)
    back = decode_thumbnail(data)
    assert back.shape == rgb.shape
    assert back.dtype == np.uint8
    assert np.abs(back.astype(int) - rgb).mean() < 4
    assert len(data) < rgb.nbytes / 10
