"""Quality flags on drawn cells whose faults are known, and on real fields, sharp and blurred."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from embstore.pixels.crop import CellGeometry, geometries
from embstore.pixels.decode import read_planes
from embstore.pixels.quality import FLAGS, quality_flags
from embstore.pixels.segment import expanded, segment
from embstore.pixels.segmentation import Segmentation

UM = 0.3
ROLES = ("nucleus", "protein")


def drawn(radii: list[float], *, seed: int = 0) -> tuple[Segmentation, np.ndarray, list[CellGeometry]]:
    """A row of round nuclei inside cells, soft-edged over noise, with protein in every cell: uint16 (2, y, x)."""
    y, x = np.mgrid[:110, : 100 * max(len(radii), 1)]
    nuclei = np.zeros(y.shape, np.int32)
    for i, radius in enumerate(radii):
        nuclei[np.hypot(y - 55, x - 50 - 100 * i) <= radius] = i + 1
    cells = expanded(nuclei, 12)
    rng = np.random.default_rng(seed)
    light = np.stack([ndimage.gaussian_filter(800.0 * (nuclei > 0), 1), 300.0 * (cells > 0)])
    pixels = (light + rng.normal(400, 15, light.shape)).clip(0, 60000).astype(np.uint16)
    result = Segmentation(nuclei, cells, UM, "")
    return result, pixels, geometries(result)


def flags(
    result: Segmentation,
    pixels: np.ndarray,
    cells: list[CellGeometry],
    *,
    roles: tuple[str, ...] = ROLES,
    um: float | None = UM,
) -> list[list[str]]:
    return quality_flags(result, pixels, roles, cells, um)


def test_sound_cells_have_no_flag() -> None:
    """Twelve ordinary cells on noise carry nothing, and neither do those of an image without cells."""
    assert flags(*drawn([20, 21, 22, 19] * 3)) == [[]] * 12
    assert flags(*drawn([])) == []


def test_a_nucleus_of_another_size_is_an_area_outlier() -> None:
    """A fragment and a giant stand out among ten alike, by the modified z-score of log area."""
    result = flags(*drawn([20, 21, 19, 20, 21, 19, 20, 21, 19, 20, 12, 33]), um=None)
    assert result == [[]] * 10 + [["area_outlier"]] * 2


def test_the_modified_z_score_is_that_of_its_source() -> None:
    """|0.6745 (x - median) / MAD| > 3.5 on log areas, computed plainly, marks the same nuclei."""
    radii = [14.0, 16, 18, 20, 22, 24, 26, 17, 19, 23, 6, 35, 37]
    result, pixels, cells = drawn(radii)
    logs = np.log([cell.nucleus_area_px for cell in cells])
    away = np.abs(logs - np.median(logs))
    expected = 0.6745 * away / np.median(away) > 3.5
    assert expected.any()
    assert [("area_outlier" in f) for f in flags(result, pixels, cells, um=None)] == expected.tolist()


def test_a_known_pixel_size_bounds_nuclei_from_6_to_30_um() -> None:
    """A few nuclei have no usual size; at a known pixel size one of 5 µm is an outlier, at an estimated one not."""
    image = drawn([20, 20, 8])
    assert flags(*image, um=0.3) == [[], [], ["area_outlier"]]
    assert flags(*image, um=None) == [[], [], []]


@pytest.mark.parametrize(("full", "dtype"), [(255, "uint8"), (4095, "uint16"), (32767, "uint16"), (65535, "uint16")])
def test_one_percent_at_full_scale_is_saturated(full: int, dtype: str) -> None:
    """Of 8-bit files, of 12- and 16-bit cameras, and of int16; half a percent is not, nor is another value."""
    result, pixels, cells = drawn([20, 20, 20])
    pixels = (pixels // 8).astype(dtype) if full == 255 else np.minimum(pixels, 2000)
    for cell, share in zip(cells, (0.02, 0.005, 0), strict=True):
        inside = np.argwhere(result.cells == cell.label)
        hit = inside[: int(np.ceil(share * len(inside)))]
        pixels[1, hit[:, 0], hit[:, 1]] = full
    assert flags(result, pixels, cells) == [["saturated"], [], []]
    # counts that another program saved as floats are counts; scaled to 1 or less an offset, they have no full scale
    as_floats = pixels.astype(np.float32)
    assert flags(result, as_floats, cells) == [["saturated"], [], []]
    assert flags(result, as_floats / full, cells) == flags(result, as_floats - 20, cells) == [[], [], []]
    pixels[pixels == full] -= 1
    assert flags(result, pixels, cells) == [[], [], []]


@pytest.mark.parametrize("noise", [5, 80])
def test_a_blurred_nucleus_is_out_of_focus_whatever_the_noise(noise: float) -> None:
    """Blurred by 2 µm, all are flagged, also under read noise of a tenth of the contrast; sharp, none is."""
    result, pixels, cells = drawn([20, 24, 22])
    rng = np.random.default_rng(1)
    sharp = ndimage.gaussian_filter(800.0 * (result.nuclei > 0), 1)
    for sd, expected in ((1, False), (2 / UM, True)):
        nucleus = ndimage.gaussian_filter(sharp, sd) + rng.normal(400, noise, sharp.shape)
        both = np.stack([nucleus, pixels[1]]).astype(np.uint16)
        assert [("out_of_focus" in f) for f in flags(result, both, cells)] == [expected] * 3


def test_focus_does_not_depend_on_gain_and_pixel_size() -> None:
    """Twice the exposure, and the same field at a third of the pixel size, are as sharp or as blurred."""
    result, pixels, cells = drawn([20, 24, 22])
    fine = Segmentation(*(np.repeat(np.repeat(x, 3, 0), 3, 1) for x in (result.nuclei, result.cells)), UM / 3, "")
    for sd, expected in ((0.5, False), (2 / UM, True)):
        blurred = pixels.astype(np.float32)
        blurred[0] = ndimage.gaussian_filter(blurred[0], sd)
        for image in (blurred, 2 * blurred + 1000):
            assert [("out_of_focus" in f) for f in flags(result, image, cells)] == [expected] * 3
        big = ndimage.zoom(blurred, (1, 3, 3), order=1)
        assert [("out_of_focus" in f) for f in flags(fine, big, geometries(fine), um=UM / 3)] == [expected] * 3


@pytest.mark.parametrize("background", ["noise", "photons", "vignette", "black"])
def test_a_protein_channel_like_the_background_is_empty(background: str) -> None:
    """Read noise, photons, uneven light or nothing at all: flagged in every cell but the one with protein."""
    result, pixels, cells = drawn([20, 24, 22])
    rng = np.random.default_rng(2)
    y, x = np.mgrid[: pixels.shape[1], : pixels.shape[2]]
    protein = {
        "noise": rng.normal(500, 20, y.shape),
        "photons": rng.poisson(5, y.shape),
        "vignette": rng.poisson(200 * np.exp(-((y - 55) ** 2 + (x - 150) ** 2) / 1e6)),
        "black": np.zeros(y.shape),
    }[background] + 200.0 * (result.cells == 2)
    both = np.stack([pixels[0], protein.clip(0)]).astype(np.uint16)
    assert flags(result, both, cells) == [["empty_protein"], [], ["empty_protein"]]
    assert flags(result, both / np.float32(65535), cells) == [["empty_protein"], [], ["empty_protein"]]


def test_what_is_not_there_is_not_flagged() -> None:
    """Without a nucleus channel there is no focus, without protein no empty channel; cells cut by the border are."""
    result, pixels, cells = drawn([20, 20])
    assert flags(result, np.zeros_like(pixels[1:]), cells, roles=("er",)) == [[], []]
    cut = Segmentation(result.nuclei[:60], result.cells[:60], UM, "")
    assert flags(cut, pixels[:, :60], geometries(cut)) == [["touches_edge"]] * 2


def test_flags_come_in_one_order() -> None:
    """Several flags of one cell are in the order in which they are documented."""
    result, pixels, cells = drawn([8, 20])
    pixels[1] = 400
    pixels[0] = np.where(result.nuclei == 1, 65535, pixels[0])
    assert flags(result, pixels, cells)[0] == [f for f in FLAGS if f in ("area_outlier", "saturated", "empty_protein")]


REAL = (
    ("opencell/two_channel/ACTB_gallery.tif", None),
    ("opencell/two_channel/CKAP2_gallery.tif", None),
    ("hpa/fov_4ch/57_F11_1_blue.png", 0.0800885),
)


@pytest.mark.parametrize(("name", "um"), REAL)
def test_real_fields_are_sharp_until_they_are_blurred(samples: Path, name: str, um: float | None) -> None:
    """As published no nucleus is out of focus and no protein empty; blurred by 1.5 µm, at least half are."""
    pixels = read_planes(samples / name).pixels
    result = segment(pixels[0], um)
    cells = geometries(result)
    assert result.pixel_size_um is not None
    counts = Counter(f for flags in quality_flags(result, pixels, ROLES[: len(pixels)], cells, um) for f in flags)
    assert counts["out_of_focus"] == counts["empty_protein"] == 0
    pixels = ndimage.gaussian_filter(pixels.astype(np.float32), (0, *[1.5 / result.pixel_size_um] * 2))
    counts = Counter(f for flags in quality_flags(result, pixels, ROLES[: len(pixels)], cells, um) for f in flags)
    assert counts["out_of_focus"] >= 0.5 * len(cells)
