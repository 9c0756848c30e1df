"""Small fields of known content, drawn in milliseconds, under the names that OpenCell and HPA publish."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

PX = 160
CELLS = 3  # in every field
CENTRES = ((40, 40), (44, 115), (115, 48))
HPA_COLOURS = ("red", "green", "blue", "yellow")


def draw_field(seed: int, *, channels: int = 2, px: int = PX, scale: float = 1.0) -> np.ndarray:
    """Return uint16 (c, y, x): three round nuclei, 8 µm at OpenCell's pixel size, and light around them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:px, :px] / scale
    nuclei, around = np.zeros((px, px)), np.zeros((px, px))
    for cy, cx in CENTRES:
        r = np.hypot(y - cy - rng.uniform(-4, 4), 1.15 * (x - cx - rng.uniform(-4, 4)))
        nuclei += 1000 / (1 + np.exp((r - 20) / 1.2))
        around += 400 * rng.uniform(0.5, 1.5) * np.exp(-(((r - 24) / 6) ** 2))
    light = [nuclei, *(around * (1 + i) for i in range(channels - 1))]
    return rng.poisson(np.stack(light) + 100).astype(np.uint16)


def ensg(number: int) -> str:
    return f"ENSG{number:011d}"


def opencell_path(folder: Path, number: int, field: int = 1) -> Path:
    name = f"G{number}_{ensg(number)}"
    return folder / name / f"OC-FOV_{name}_CID{number:06d}_FID{field:08d}_proj.tif"


def save_tiff(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, pixels, photometric="minisblack", **{"metadata": {"axes": "CYX"}} | options)
    return path


def write_opencell(folder: Path, proteins: Sequence[int]) -> list[Path]:
    """Write one field for each protein number, its content drawn from that number."""
    return [save_tiff(opencell_path(folder, n), draw_field(n)) for n in proteins]


def write_labels(path: Path, grades: Mapping[int, Mapping[str, int]]) -> Path:
    """Write OpenCell's wide table: protein number -> location -> grade."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["target_name", "ensg_id", "grade_3", "grade_2", "grade_1"])
        for n, locations in grades.items():
            table.writerow(
                [f"G{n}", ensg(n), *(";".join(o for o, g in locations.items() if g == grade) for grade in (3, 2, 1))]
            )
    return path


def write_hpa(folder: Path, key: str, seed: int, colours: Sequence[str] = HPA_COLOURS) -> dict[str, Path]:
    """Write the grey PNGs of one field at HPA's pixel size, 0.08 µm."""
    folder.mkdir(parents=True, exist_ok=True)
    nucleus, *rest = draw_field(seed, channels=4, px=400, scale=2.5)
    planes = dict(zip(("blue", "green", "red", "yellow"), (nucleus, *rest), strict=True))
    written = {}
    for colour in colours:
        written[colour] = folder / f"{key}_{colour}.png"
        Image.fromarray((planes[colour] // 8).clip(0, 255).astype(np.uint8)).save(written[colour], compress_level=1)
    return written


def touch(path: Path, seconds: int = 10) -> None:
    """Move a file's modification time into the future, as a copy or checkout would."""
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + seconds * 10**9))


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start another Python on this code; `go()` in it reports that it is ready and waits for a line."""
    go = "import sys\ndef go():\n    print('ready', flush=True)\n    sys.stdin.readline()\n"
    return subprocess.Popen(
        [sys.executable, "-c", go + code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_together(code: str, arguments: Sequence[Sequence[object]]) -> None:
    """Run the code in one process for each list of arguments, set off at the same moment; any failure is an error."""
    processes = [start(code, *given) for given in arguments]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
