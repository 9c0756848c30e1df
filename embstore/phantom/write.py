"""Write the atlas to disk: fields named as OpenCell and HPA publish them, their labels, and the truth."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from embstore.errors import EmbstoreError, choices
from embstore.files import whole_file
from embstore.phantom import names
from embstore.phantom.truth_files import AtlasRequest, TruthFiles, read_request
from embstore.phantom.versions import LATEST, atlas_digest
from embstore.progress import Progress, tell
from embstore.sources.record import ATLAS
from embstore.tabular import Tabular, arrow_table

if TYPE_CHECKING:
    import pyarrow as pa

    from embstore.phantom.v1.field import Field
    from embstore.phantom.v1.proteins import Protein

Layout = Literal["opencell", "hpa"]
LAYOUTS = ("opencell", "hpa")
LICENCE = "phantom"  # marks the scores of simulated images
# side of a field: narrower than a crop (25 µm), or wider than any camera, is a mistake
FIELD_PX = {"opencell": (128, 4096), "hpa": (320, 4096)}
LABEL_FILES = {"opencell": "labels.csv", "hpa": "image_labels.csv"}


@dataclass(frozen=True, repr=False)
class PhantomReport(Tabular):
    """What was written: where, how much, and the digest of the simulator version.

    `cells` counts the cells of which at least one pixel is in a field.
    """

    images_folder: Path
    labels: Path
    truth: Path
    images: int
    cells: int
    proteins: int
    version: str
    digest: str

    def to_arrow(self) -> pa.Table:
        """Return one row with a column for each of the report's values; paths are text."""
        return arrow_table([self], PhantomReport)

    @property
    def headline(self) -> str:
        """Return how much was written."""
        return f"phantom.{self.version}: {self.images} images of {self.proteins} proteins, {self.cells} cells"


def write_phantom(
    out: str | Path,
    *,
    layout: Layout,
    proteins: int = 60,
    fields: int = 2,
    seed: int = 0,
    version: str = LATEST,
    field_px: int | None = None,
    progress: Progress | None = None,
) -> PhantomReport:
    """Write simulated fields with known localization, as OpenCell or HPA publish theirs; returns a report. The same
    call writes the same bytes (on one machine, with the same libraries).

    Under `out`, it writes the images in `images/`: for opencell,
    `<GENE>_<ENSG>/OC-FOV_<GENE>_<ENSG>_CID<6>_FID<8>_proj.tif`, uint16 (2, y, x); for hpa,
    `<plate>_<well>_<n>_{red,green,blue,yellow}.png`, uint8 (y, x). The published labels are wrong for one protein in
    twenty (`labels.csv` with grades, or `image_labels.csv`); `truth/` contains the truth and `phantom.json` the
    request. Fields are squares of `field_px` (default: 600 for opencell as published, 1536 for hpa). To complete an
    interrupted call, repeat it: it simulates everything again. `progress(stage, done, total)` is called after every
    field. Raises EmbstoreError for values out of range, and for a folder that contains something else.
    """
    _check(layout, proteins=proteins, fields=fields, seed=seed, field_px=field_px)
    from embstore.phantom.v1.law import LAYOUTS as DRAWN
    from embstore.phantom.v1.proteins import plan_proteins

    folder = Path(out)
    request: AtlasRequest = {
        "version": version,
        "digest": atlas_digest(version),
        "layout": layout,
        "proteins": proteins,
        "fields": fields,
        "seed": seed,
        "field_px": field_px or DRAWN[layout].field_px,
    }
    plan = plan_proteins(proteins, seed)
    try:
        _claim(folder, request)
        cells = _write_fields(folder, layout, plan, request, progress)
        labels = _write_labels(folder / LABEL_FILES[layout], layout, plan, fields)
    except OSError as error:
        path = error.filename or folder
        raise EmbstoreError(f"cannot write {path}: {error.strerror}; choose another folder") from error
    return PhantomReport(
        images_folder=folder / "images",
        labels=labels,
        truth=folder / "truth",
        images=proteins * fields,
        cells=cells,
        proteins=proteins,
        version=version,
        digest=request["digest"],
    )


def _write_fields(
    folder: Path, layout: Layout, plan: list[Protein], request: AtlasRequest, progress: Progress | None
) -> int:
    """Simulate and write every field with its truth; return how many cells are visible."""
    from embstore.phantom.v1.field import draw_field

    save = _save_opencell if layout == "opencell" else _save_hpa
    cells, fields = 0, request["fields"]
    with TruthFiles(folder / "truth", layout) as truth:
        for protein in plan:
            truth.add_protein(protein)
            for number in range(fields):
                field = draw_field(protein, number, layout, request["field_px"])
                save(folder / "images", protein, number, field)
                truth.add_field(protein, number, field)
                cells += len(field.truths)
                tell(progress, f"simulating {layout}", protein.index * fields + number + 1, len(plan) * fields)
    return cells


def _check(layout: str, *, proteins: int, fields: int, seed: int, field_px: int | None) -> None:
    if layout not in LAYOUTS:
        raise EmbstoreError(choices(layout, "phantom layout", LAYOUTS))
    low_px, high_px = FIELD_PX[layout]
    for what, value, low, high in (
        ("proteins", proteins, 1, names.MAX_PROTEINS),
        ("fields per protein", fields, 1, names.MAX_FIELDS),
        ("seed", seed, 0, names.MAX_ATLAS_SEED),
        ("field pixels", low_px if field_px is None else field_px, low_px, high_px),
    ):
        if not low <= value <= high:
            raise EmbstoreError(f"{what} of the phantom atlas: {value}; wanted {low} to {high}")


def _claim(out: Path, request: AtlasRequest) -> None:
    """Make the folder and record the request in it; raise EmbstoreError if it contains something else."""
    note = out / ATLAS
    if not note.exists():
        if out.exists() and any(not path.name.lstrip(".").startswith(ATLAS) for path in out.iterdir()):
            raise EmbstoreError(f"{out} is not empty and contains no phantom atlas; write to a new folder")
        out.mkdir(parents=True, exist_ok=True)
        with whole_file(note, replaces=False) as unfinished:
            unfinished.write_text(json.dumps(request, indent=1) + "\n", "utf-8")
    recorded = read_request(out)
    if recorded != request:
        differs = ", ".join(f"{k} {recorded.get(k)} (asked: {v})" for k, v in request.items() if recorded.get(k) != v)
        raise EmbstoreError(f"{out} contains another phantom atlas: {differs}; write to another folder, or delete it")
    (out / "images").mkdir(exist_ok=True)


def _save_opencell(images: Path, protein: Protein, number: int, field: Field) -> None:
    import tifffile

    seed, index = protein.seed, protein.index
    folder = images / f"{names.gene(seed, index)}_{names.ensg_id(seed, index)}"
    folder.mkdir(exist_ok=True)
    # no software or date tag, so that the bytes depend only on the pixels
    tifffile.imwrite(
        folder / f"{names.opencell_key(seed, index, number)}.tif",
        field.pixels,
        compression="zlib",
        compressionargs={"level": 1},  # level 6 compresses noise no better, and takes three times as long
        photometric="minisblack",
        metadata={"axes": "CYX"},
        software=False,
    )


def _save_hpa(images: Path, protein: Protein, number: int, field: Field) -> None:
    from PIL import Image

    from embstore.phantom.v1.law import LAYOUTS as DRAWN

    stem = names.hpa_key(protein.seed, protein.index, number)
    for role, plane in zip(DRAWN["hpa"].roles, field.pixels, strict=True):
        # Huffman codes only (2): matches are rare in noise, so files are a tenth smaller, and written faster
        path = images / f"{stem}_{names.HPA_COLOURS[role]}.png"
        Image.fromarray(plane).save(path, compress_level=1, compress_type=2)


def _write_labels(path: Path, layout: Layout, plan: list[Protein], fields: int) -> Path:
    """Write what an annotator would publish, including wrong labels."""
    if layout == "opencell":
        header = ["target_name", "ensg_id", "grade_3", "grade_2", "grade_1", "licence"]
        return _write_csv(path, header, (_graded(protein) for protein in plan))
    header = ["ID", "Label_idx", "Cellline", "Gene", "ENSG", "licence"]
    return _write_csv(path, header, (row for protein in plan for row in _imaged(protein, fields)))


def _graded(protein: Protein) -> list[str]:
    named = [";".join(o for o, have in protein.published.items() if have == grade) for grade in (3, 2, 1)]
    return [names.gene(protein.seed, protein.index), names.ensg_id(protein.seed, protein.index), *named, LICENCE]


def _imaged(protein: Protein, fields: int) -> Iterable[list[str]]:
    from embstore.phantom.v1.law import LAYOUTS as DRAWN

    seed, index, lines = protein.seed, protein.index, DRAWN["hpa"].lines
    located = ",".join(names.HPA_NAMES[location] for location in protein.published)
    line = lines[protein.line % len(lines)].name
    for number in range(fields):
        key = names.hpa_key(seed, index, number)
        yield [key, located, line, names.gene(seed, index), names.ensg_id(seed, index), LICENCE]


def _write_csv(path: Path, header: list[str], rows: Iterable[list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    return path
