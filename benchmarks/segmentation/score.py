"""How well nuclei are found: F1 at IoU 0.5 against nuclei drawn by hand, and against the truth of simulated fields.

    EMBSTORE_SAMPLES=.../data python benchmarks/segmentation/score.py

Prints a Markdown table to stdout: embstore's segmentation and a plain one (Otsu's threshold, then a watershed on the
distance to the background), on the hand-annotated fields of the samples, a field without any nucleus, and phantom
fields. Nothing is fitted here. The scores of candidates were fitted on the first eight fields (fit.py), so that only
the rows `not chosen on` show what to expect of other fields (see docs/cells.md).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.morphology import remove_small_objects
from skimage.segmentation import watershed

from embstore.phantom import write_phantom
from embstore.phantom.truth_files import read_true_mask
from embstore.pixels.decode import read_planes
from embstore.pixels.segment import segment
from embstore.sources.layouts import read_channels, read_source

Labels = npt.NDArray[np.integer]
PHANTOM = {"opencell": (6, None), "hpa": (3, 1024)}  # layout -> proteins, side in pixels
METHODS: dict[str, Callable[[np.ndarray, float | None], Labels]] = {
    "embstore": lambda nucleus, um: segment(nucleus, um).nuclei,
    "plain": lambda nucleus, _: plain(nucleus),
}


@dataclass(frozen=True)
class Field:
    """One nucleus channel, its pixel size if known, and its true nuclei (all 0 if there are none)."""

    name: str
    nucleus: np.ndarray
    um: float | None
    truth: Labels


def main() -> None:
    """Print the table."""
    samples = Path(os.environ.get("EMBSTORE_SAMPLES", Path(__file__).parents[3] / "shared" / "data"))
    if not samples.is_dir():
        sys.exit(f"there is no folder {samples}; set EMBSTORE_SAMPLES to the folder of sample images")
    cases = samples.with_name("cases") / "segmentation"
    print("| field | true nuclei | found | F1 at IoU 0.5 | plain: found | plain: F1 |\n|---|---|---|---|---|---|")
    _mean_of(list(by_hand(samples)))
    if cases.is_dir():
        _mean_of(list(held_out(cases)))
    _scored(without_nuclei(samples))
    with tempfile.TemporaryDirectory() as folder:
        for layout in PHANTOM:
            _pooled(layout, list(simulated(Path(folder) / layout, layout)))


def by_hand(samples: Path) -> Iterator[Field]:
    """Yield the fields whose nuclei people drew; their sources and licences are in the samples' MANIFEST.csv."""
    masks = samples / "masks"
    for path in sorted([*masks.glob("coelho2009/*_dna-?.png"), *masks.glob("koyuncu/*.jpg")]):
        truth = read_planes(path.with_name(f"{path.stem}_labels.png")).pixels[0]
        yield Field(f"{path.parent.name}/{path.stem}", read_planes(path).pixels[-1], None, truth)  # stored as RGB
    star = masks / "stardist_dsb2018"
    yield Field("stardist_dsb2018/img2d", *_pair(star / "img2d.tif", star / "mask2d.tif"))


def held_out(cases: Path) -> Iterator[Field]:
    """Yield drawn fields of the same sources that nothing was chosen on."""
    for path in sorted(cases.glob("*_labels.png")):
        image = next(p for p in path.parent.glob(f"{path.stem.removesuffix('_labels')}.*"))
        yield Field(f"not chosen on: {image.stem}", read_planes(image).pixels[-1], None, read_planes(path).pixels[0])


def _pair(image: Path, mask: Path) -> tuple[np.ndarray, None, Labels]:
    return read_planes(image).pixels[0], None, read_planes(mask).pixels[0]


def without_nuclei(samples: Path) -> Field:
    """Return the raw OpenCell field without a cell."""
    nucleus = read_planes(samples / "opencell/hoechst_snaps/no-nuclei-1.tif").pixels[0]
    return Field("hoechst_snaps/no-nuclei-1", nucleus, None, np.zeros(nucleus.shape, np.int32))


def simulated(folder: Path, layout: str) -> Iterator[Field]:
    """Yield phantom fields with their true nuclei."""
    proteins, side = PHANTOM[layout]
    atlas = write_phantom(folder, layout=layout, proteins=proteins, fields=1, field_px=side)  # type: ignore[arg-type]
    source = read_source(atlas.images_folder, layout, None)
    for image in source.images:
        planes, roles = read_channels(source.root, image)
        truth = read_true_mask(atlas.truth, image.key, "nuclei")
        yield Field(image.key, planes.pixels[roles.index("nucleus")], image.pixel_size_um, truth)


def plain(nucleus: np.ndarray) -> Labels:
    """Return nuclei by the textbook method: blur, Otsu's threshold, watershed from the maxima of the distance."""
    smooth = ndimage.gaussian_filter(nucleus.astype(np.float32), 2)
    foreground = ndimage.binary_fill_holes(smooth > threshold_otsu(smooth))
    foreground = remove_small_objects(foreground, max_size=100)
    distance = ndimage.gaussian_filter(ndimage.distance_transform_edt(foreground), 2)
    seeds = np.zeros(nucleus.shape, np.int32)
    peaks = peak_local_max(distance, min_distance=10, exclude_border=False)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels: Labels = watershed(-distance, seeds, mask=foreground)
    return labels


def matches(truth: Labels, segmented: Labels) -> int:
    """Return how many segmented objects share more than half of the union with a true one; no two can share one."""
    sizes, found_sizes = (np.bincount(x.ravel()) for x in (truth, segmented))
    both = (truth > 0) & (segmented > 0)
    pairs, counts = np.unique(truth[both].astype(np.int64) * len(found_sizes) + segmented[both], return_counts=True)
    unions = sizes[pairs // len(found_sizes)] + found_sizes[pairs % len(found_sizes)] - counts
    return int((counts > 0.5 * unions).sum())


def count(labels: Labels) -> int:
    """Return how many objects a label image contains."""
    return len(np.unique(labels[labels > 0]))


def _mean_of(fields: list[Field]) -> None:
    """Print a row for each field, and their mean."""
    scores = [_scored(field) for field in fields]
    mean, low = ({m: pick([f1[m] for f1 in scores]) for m in METHODS} for pick in (np.mean, min))
    both = [f"{mean[m]:.3f} (lowest {low[m]:.3f})" for m in METHODS]
    print(f"| **mean of {len(scores)}** | | | **{both[0]}** | | {both[1]} |")


def _scored(field: Field) -> dict[str, float]:
    f1, n_found = {}, {}
    for method, find in METHODS.items():
        labels = find(field.nucleus, field.um)
        n_found[method] = count(labels)
        f1[method] = 2 * matches(field.truth, labels) / max(count(field.truth) + n_found[method], 1)
    _row(field.name, count(field.truth), n_found, f1)
    return f1


def _pooled(layout: str, fields: list[Field]) -> None:
    """Print one row for all fields together: simulated fields may contain only two nuclei."""
    n_found, hits = dict.fromkeys(METHODS, 0), dict.fromkeys(METHODS, 0)
    true = sum(count(field.truth) for field in fields)
    for field in fields:
        for method, find in METHODS.items():
            labels = find(field.nucleus, field.um)
            n_found[method] += count(labels)
            hits[method] += matches(field.truth, labels)
    f1 = {m: 2 * hits[m] / max(true + n_found[m], 1) for m in METHODS}
    _row(f"phantom.v1, {layout}, {len(fields)} fields", true, n_found, f1)


def _row(name: str, true: int, n_found: dict[str, int], f1: dict[str, float]) -> None:
    shown = {m: f"{f1[m]:.3f}" if true else "-" for m in METHODS}
    print(f"| {name} | {true} | {n_found['embstore']} | {shown['embstore']} | {n_found['plain']} | {shown['plain']} |")


if __name__ == "__main__":
    main()
