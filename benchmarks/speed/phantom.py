"""Simulating an atlas with `phantom write`, against writing the same pixels without simulating them.

Fields of 600 px with 39 to 88 cells, that is 64 to 96 px of field per cell; target: 100 cells per second and core.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import tifffile
from harness import compare, report

import embstore as es
from embstore.phantom.v1.field import draw_field
from embstore.phantom.v1.law import LAYOUTS
from embstore.phantom.v1.proteins import plan_proteins

CROWDED = range(39, 89)
PROTEINS = 24
DRAWN, OF_HPA = 60, 6


def main() -> None:
    drawn = [(p, draw_field(p, 0, "opencell")) for p in plan_proteins(DRAWN, 0)]
    crowded = [p for p, field in drawn if len(field.truths) in CROWDED]
    for name, spec in LAYOUTS.items():
        asked = crowded if name == "opencell" else plan_proteins(OF_HPA, 0)
        started = time.process_time()
        cells = sum(len(draw_field(p, 0, name).truths) for p in asked)
        seconds = time.process_time() - started
        side = (len(asked) * spec.field_px**2 / cells) ** 0.5
        sys.stderr.write(f"{name}: {cells / seconds:.0f} cells per second and core, {side:.0f} px of field per cell\n")
    pixels = [field.pixels for _, field in drawn[:PROTEINS]]
    timings = compare(
        {"pixels written, not simulated": lambda: _write(pixels), "embstore phantom write": _atlas},
        baseline="pixels written, not simulated",
        rounds=3,
    )
    cells = sum(len(field.truths) for _, field in drawn[:PROTEINS])
    report("a simulated atlas", timings, work=f"{PROTEINS} fields of 600 px, {cells} cells, masks and tables too")


def _write(pixels: list) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number, planes in enumerate(pixels):
            path = Path(folder) / f"{number}.tif"
            tifffile.imwrite(path, planes, compression="zlib", compressionargs={"level": 1}, photometric="minisblack")


def _atlas() -> None:
    with tempfile.TemporaryDirectory() as folder:
        es.write_phantom(Path(folder) / "atlas", layout="opencell", proteins=PROTEINS, fields=1)


if __name__ == "__main__":
    main()
