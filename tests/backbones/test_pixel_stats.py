"""Hand-made measurements against brute force on cells drawn by hand."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from embstore.backbones import pixel_stats
from embstore.backbones.crops import CropEncoder, Crops
from embstore.backbones.encoder import load
from embstore.backbones.pixel_measures import measure
from embstore.backbones.pixel_regions import REGIONS, distance, one_cell
from embstore.backbones.pixel_stats import reference
from embstore.backbones.record import Choices
from embstore.backbones.registry import BACKBONES
from embstore.errors import EmbstoreError, WeightsError

PX = 96
FAINT = 0.02


def disc(y: float, x: float, radius: float) -> np.ndarray:
    ys, xs = np.mgrid[:PX, :PX]
    return np.hypot(ys - y, xs - x) <= radius


def hand_made(seed: int = 0) -> Crops:
    """One cell: a round nucleus off the middle, an uneven protein that is brighter in the nucleus, some spots."""
    rng = np.random.default_rng(seed)
    nucleus, cell = disc(46, 50, 20), disc(47, 48, 38)
    dye = (0.05 + 0.6 * nucleus) * rng.uniform(0.7, 1, (PX, PX))
    protein = 0.1 + 0.3 * cell * rng.uniform(0.5, 1, (PX, PX)) + 0.3 * nucleus
    protein[20:23, 40:43] = 1.0
    pixels = np.stack([dye, protein]).astype(np.float32)[None]
    return Crops(pixels, ("nucleus", "protein"), nucleus[None], cell[None])


@pytest.fixture(scope="module")
def encoder() -> CropEncoder:
    return load(BACKBONES["pixel-stats"], Choices())


def test_regions_are_where_brute_force_finds_them() -> None:
    """Every pixel's region, from its distance to each pixel of the two outlines."""
    nucleus, cell = disc(20, 21, 8), disc(21, 20, 14)
    nucleus, cell = nucleus[:40, :40], cell[:40, :40]
    result = dict(zip(REGIONS, one_cell(nucleus, cell), strict=True))

    def nearest(y: int, x: int, mask: np.ndarray) -> float:
        return min(math.hypot(y - b, x - a) for b, a in np.argwhere(~mask))

    for y, x in [
        (20, 21),
        (20, 28),
        (20, 29),
        (20, 30),
        (20, 31),
        (21, 32),
        (20, 33),
        (21, 34),
        (39, 0),
        (14, 21),
        (9, 20),
    ]:
        inside, around, depth = (nearest(y, x, mask) if mask[y, x] else 0.0 for mask in (nucleus, ~nucleus, cell))
        if nucleus[y, x]:
            wanted = "nuclear rim" if inside <= 2 else "nucleus"
        elif not cell[y, x]:
            wanted = "outside"
        else:
            wanted = "nuclear rim" if around <= 2 else "cell rim" if depth <= 3 else "cytoplasm"
        places = ("nucleus", "nuclear rim", "cytoplasm", "cell rim", "outside")
        assert [place for place in places if result[place][y, x]] == [wanted]
    whole = {name: int(mask.sum()) for name, mask in result.items()}
    assert sum(whole[f"nuclear ring {i}"] for i in range(4)) == whole["all nucleus"] == int(nucleus.sum())
    assert sum(whole[f"cytoplasmic ring {i}"] for i in range(5)) == whole["all cytoplasm"]
    assert whole["all cytoplasm"] == int((cell & ~nucleus).sum())


def test_distances_inside_the_mask_s_own_box_are_the_true_ones() -> None:
    """Looking only at the mask's box gives what looking at the whole crop gives."""
    from scipy.ndimage import distance_transform_edt

    for mask in (disc(46, 50, 20), disc(2, 90, 30), ~disc(46, 50, 20), np.zeros((PX, PX), bool)):
        np.testing.assert_array_equal(distance(mask), distance_transform_edt(mask))
    assert (distance(np.ones((4, 4), bool)) == 1e6).all()


def test_measurements_agree_with_brute_force() -> None:
    """Ratios, rings, percentiles, correlation, spread and counts, each computed the long way."""
    crops = hand_made()
    result = {name: float(values[0]) for name, values in measure(crops).items()}
    nucleus, cell = crops.nucleus[0], crops.cell[0]
    dye, protein = crops.pixels[0].astype(np.float64)
    mean = protein[cell].mean()
    wanted = {
        "protein: mean in the cell": math.log2(mean + FAINT),
        "protein: mean of outside": math.log2((protein[~cell].mean() + FAINT) / (mean + FAINT)),
        "protein: nucleus to cytoplasm": math.log2(
            (protein[nucleus].mean() + FAINT) / (protein[cell & ~nucleus].mean() + FAINT)
        ),
        "protein: percentile 95 of all cell": math.log2((np.percentile(protein[cell], 95) + FAINT) / (mean + FAINT)),
        "nucleus: percentile 10 of all nucleus": math.log2(
            (np.percentile(dye[nucleus], 10) + FAINT) / (dye[nucleus].mean() + FAINT)
        ),
        "protein: variation in all cell": math.log2((protein[cell].std() + 0.002) / (mean + FAINT)),
        "both: correlation in all cell": np.corrcoef(dye[cell], protein[cell])[0, 1],
        "both: correlation in all cytoplasm": np.corrcoef(dye[cell & ~nucleus], protein[cell & ~nucleus])[0, 1],
    }
    ys, xs = np.nonzero(nucleus)
    radius = math.sqrt(nucleus.sum() / math.pi)
    ring = [
        protein[y, x] for y, x in np.argwhere(cell) if 1.0 <= math.hypot(y - ys.mean(), x - xs.mean()) / radius < 1.25
    ]
    wanted["protein: mean of centre ring 4"] = math.log2((np.mean(ring) + FAINT) / (mean + FAINT))
    for name, value in wanted.items():
        assert result[name] == pytest.approx(value, abs=1e-4), name


def test_detail_is_the_energy_of_a_difference_of_gaussians() -> None:
    """Texture by direct convolution with sampled Gaussians, in the cytoplasm."""
    crops = hand_made()
    protein = crops.pixels[0, 1].astype(np.float64)

    def blurred(sigma: float) -> np.ndarray:
        reach = int(3 * sigma + 0.5)
        kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
        padded = np.pad(protein, reach, mode="edge")
        rows = np.apply_along_axis(np.convolve, 0, padded, kernel / kernel.sum(), "valid")
        return np.apply_along_axis(np.convolve, 1, rows, kernel / kernel.sum(), "valid")

    where = crops.cell[0] & ~crops.nucleus[0]
    energy = math.sqrt(((blurred(1.4) - blurred(2.8))[where] ** 2).mean())
    wanted = math.log2((energy + 0.002) / (protein[crops.cell[0]].mean() + FAINT))
    assert measure(crops)["protein: detail 1 in all cytoplasm"][0] == pytest.approx(wanted, abs=1e-4)


def test_spots_are_counted_where_they_are() -> None:
    """Five bright dots in the cytoplasm and three in the nucleus."""
    nucleus, cell = disc(48, 48, 20), disc(48, 48, 42)
    protein = np.full((PX, PX), 0.05, np.float32)
    for y, x in [(48, 48), (40, 45), (55, 57), (48, 14), (20, 48), (76, 48), (48, 80), (24, 28)]:
        protein[y - 1 : y + 2, x - 1 : x + 2] = 1.0
    result = measure(Crops(protein[None, None], ("protein",), nucleus[None], cell[None]))
    assert result["protein: spots above 1.0 in all cytoplasm"][0] == pytest.approx(math.log2(1 + 5))
    assert result["protein: spots above 1.0 in all nucleus"][0] == pytest.approx(math.log2(1 + 3))


def test_one_sidedness_tells_a_golgi_from_a_ring() -> None:
    """Signal on one side of the nucleus points somewhere, a ring around it does not."""
    nucleus, cell = disc(48, 48, 18), disc(48, 48, 40)
    ring = (disc(48, 48, 24) & ~nucleus).astype(np.float32)
    side = ring * (np.mgrid[:PX, :PX][1] > 60)
    planes = np.stack([ring, side]).astype(np.float32)[:, None]
    result = measure(Crops(planes, ("protein",), np.stack([nucleus] * 2), np.stack([cell] * 2)))
    ring_score, side_score = result["protein: one-sidedness in the cytoplasm"]
    assert ring_score < 0.02
    assert side_score > 0.8


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turning_a_cell_changes_almost_nothing(encoder: CropEncoder, turns: int) -> None:
    """A cell has no up: vectors of turned crops agree to 0.001 of a reference sd."""
    crops = hand_made(5)
    turned = Crops(
        np.ascontiguousarray(np.rot90(crops.pixels, turns, (2, 3))),
        crops.roles,
        np.rot90(crops.nucleus, turns, (1, 2)),
        np.rot90(crops.cell, turns, (1, 2)),
    )
    np.testing.assert_allclose(encoder(turned), encoder(crops), atol=1e-3)


def test_nothing_makes_a_vector_infinite_or_empty(encoder: CropEncoder) -> None:
    """No nucleus, no cell, constant or black channels, a full mask, a mask of one pixel: finite and within ±5."""
    good = hand_made()
    empty, full, dot = np.zeros((1, PX, PX), bool), np.ones((1, PX, PX), bool), np.zeros((1, PX, PX), bool)
    dot[0, 0, 0] = True
    masks = [(n, c) for n in (empty, full, dot, good.nucleus) for c in (empty, full, dot, good.cell)]
    planes = [good.pixels, np.zeros_like(good.pixels), np.ones_like(good.pixels), np.full_like(good.pixels, 0.3)]
    for nucleus, cell in masks:
        for pixels in planes:
            vector = encoder(Crops(pixels, good.roles, nucleus, cell))
            assert np.isfinite(vector).all()
            assert np.abs(vector).max() <= 5


def test_an_absent_role_sits_at_the_centre_of_the_reference(encoder: CropEncoder) -> None:
    """Without a nucleus channel the protein's numbers stay as they are and the others are the fill, 0."""
    crops = hand_made()
    both, alone = encoder(crops)[0], encoder(Crops(crops.pixels[:, 1:], ("protein",), crops.nucleus, crops.cell))[0]
    names = np.array(reference().names)
    protein = np.char.startswith(names, "protein:")
    np.testing.assert_array_equal(alone[protein], both[protein])
    assert not alone[~protein].any()
    assert both[~protein].any()
    with pytest.raises(EmbstoreError, match="it has er and pixel-stats uses nucleus, protein"):
        encoder(Crops(crops.pixels[:, :1], ("er",), crops.nucleus, crops.cell))


def test_a_vector_does_not_depend_on_its_neighbours_in_the_batch(encoder: CropEncoder) -> None:
    """Twenty cells at once, in chunks, give what each gives alone, in order."""
    cells = [hand_made(seed) for seed in range(20)]
    pixels, nuclei, outlines = (np.concatenate([getattr(c, f) for c in cells]) for f in ("pixels", "nucleus", "cell"))
    together = encoder(Crops(pixels, ("nucleus", "protein"), nuclei, outlines))
    np.testing.assert_allclose(together, np.concatenate([encoder(c) for c in cells]), atol=1e-5)
    none = np.zeros((0, PX, PX), bool)
    assert encoder(Crops(np.zeros((0, 2, PX, PX), np.float32), ("nucleus", "protein"), none, none)).shape == (
        0,
        encoder.dim,
    )


def test_the_reference_names_every_measurement_and_is_what_the_record_pins(encoder: CropEncoder) -> None:
    """Its digest, by hand from the file, is the record's weights; every spread is positive."""
    path = Path(pixel_stats.__file__).with_name("pixel_stats_reference.json")
    rows = [[name, *pair] for name, pair in json.loads(path.read_text("utf-8")).items()]
    text = json.dumps(rows, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == BACKBONES["pixel-stats"].weights_sha256
    assert encoder.space.weights_sha256 == BACKBONES["pixel-stats"].weights_sha256
    assert list(measure(hand_made())) == list(reference().names)
    assert (reference().spread > 0).all()
    with pytest.raises(WeightsError, match="its record expects 0000"):
        load(dataclasses.replace(BACKBONES["pixel-stats"], weights_sha256="0" * 64), Choices())


def test_hand_made_measurements_need_no_torch() -> None:
    """Loading and calling pixel-stats leaves torch alone."""
    program = (
        "import sys, numpy as np; from embstore.backbones.crops import Crops; "
        "from embstore.backbones.encoder import load; "
        "from embstore.backbones.record import Choices; from embstore.backbones.registry import BACKBONES; "
        "m = np.zeros((1, 96, 96), bool); "
        "load(BACKBONES['pixel-stats'], Choices())(Crops(np.zeros((1, 1, 96, 96), np.float32), ('protein',), m, m)); "
        "sys.exit(int('torch' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_real_proteins_spread_over_the_sphere(samples: Path, encoder: CropEncoder) -> None:
    """Means of real OpenCell proteins point in different directions; unscaled, half of their pairs lie above 0.88."""
    from embstore.pixels.crop import crop, crop_mask, geometries
    from embstore.pixels.decode import read_planes
    from embstore.pixels.intensity import scale
    from embstore.pixels.segment import segment

    means = []
    for gene in ("ACTB_gallery", "CDC16_gallery", "CEP170_gallery", "LMNB1_thumb", "NPM1_thumb", "TERF1_thumb"):
        planes = read_planes(samples / "opencell" / "two_channel" / f"{gene}.tif").pixels
        result = segment(planes[0], None)
        side = 25.0 / float(result.pixel_size_um or 0)
        cells = geometries(result)
        crops = Crops(
            np.stack([crop(scale(planes), cell.centroid, side, PX) for cell in cells]),
            ("nucleus", "protein"),
            np.stack([crop_mask(result.nuclei == cell.label, cell.centroid, side, PX) for cell in cells]),
            np.stack([crop_mask(result.cells == cell.label, cell.centroid, side, PX) for cell in cells]),
        )
        means.append(encoder(crops).mean(axis=0))
    unit = np.stack(means) / np.linalg.norm(means, axis=1, keepdims=True)
    similarity = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    assert similarity.min() < 0
    assert similarity.max() < 0.95
