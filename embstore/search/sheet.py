"""Contact sheets: the cells behind an answer, on one physical scale, with what they are."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, ImageDraw, ImageFont

from embstore.errors import EmbstoreError
from embstore.pixels.thumbnail import THUMBNAIL_PX, THUMBNAIL_UM, decode_thumbnail
from embstore.search.neighbours import Neighbour, Neighbours, SimilarProtein
from embstore.search.outlines import Outline, outlines
from embstore.search.pictured import pictured_cells
from embstore.search.thumbnails import thumbnails
from embstore.store import Store

SUFFIXES = (".png", ".webp", ".jpg", ".jpeg")
GAP_PX = 6
STEP_PX = THUMBNAIL_PX + GAP_PX
CELLS_IN_A_ROW = 6  # pictures in a row
CAPTION_PX = 210  # left of the thumbnails
TOP_PX = 58  # above them
BAR_UM = 5.0
DASHES = 3  # of the scale bar where the pixel size is estimated
# "um": the font that comes with Pillow has no micro sign
LEGEND = (
    "nucleus blue, protein green, microtubules red, ER dim yellow; pictures 25 um, bar 5 um; "
    "whole cells and one of each image first"
)
INK, PAPER, PALE_INK = (20, 20, 20), (255, 255, 255), (110, 110, 110)
OUTLINE = (235, 235, 235)


def draw_sheet(store: Store, neighbours: Neighbours[Any], out: str | Path, *, cells: int = CELLS_IN_A_ROW) -> Path:
    """Draw the query and its neighbours, a row each, nearest first; write the picture and return its path.

    A row shows up to `cells` cells of its protein, outlined: whole ones before those that the border of their image
    cuts, one of each image before its second, then the most similar to the query. Every picture shows the same 25 µm;
    the scale bar is 5 µm, dashed and with a "≈" if the pixel size of any of the images is an estimate. The format
    follows the suffix: .png, .webp, .jpg. Raises EmbstoreError where the space has no pictures (vectors of whole
    images, external embeddings).
    """
    captions = [_query_caption(neighbours), *map(_caption, neighbours.rows)]
    drawn = pictured_cells(store, neighbours, cells)
    pictures = thumbnails(store, itertools.chain(*drawn))
    if not pictures:
        raise EmbstoreError(
            f"{neighbours.space} has no vectors of cells, and only cells have pictures; leave out --sheet"
        )
    lines = outlines(store, pictures)
    width = max(CAPTION_PX + max(map(len, drawn)) * STEP_PX + GAP_PX, 640)
    sheet = Image.new("RGB", (width, TOP_PX + len(drawn) * STEP_PX + 30), PAPER)
    pen = ImageDraw.Draw(sheet)
    _draw_heading(pen, neighbours)
    for row, (caption, cell_ids) in enumerate(zip(captions, drawn, strict=True)):
        top = TOP_PX + row * STEP_PX
        _draw_caption(pen, caption, top)
        for column, cell_id in enumerate(cell for cell in cell_ids if cell in pictures):
            picture = _outlined(pictures[cell_id], lines.get(cell_id, []))
            sheet.paste(picture, (CAPTION_PX + column * STEP_PX, top))
    _draw_bar(pen, CAPTION_PX, TOP_PX, estimated=_any_estimated(store, itertools.chain(*drawn)))
    pen.text((GAP_PX, sheet.height - 22), LEGEND, PALE_INK, ImageFont.load_default(11))
    return _save(sheet, Path(out), len(drawn))


def _outlined(webp: bytes, lines: Sequence[Outline]) -> Image.Image:
    picture = Image.fromarray(decode_thumbnail(webp))
    pen = ImageDraw.Draw(picture)
    for line in lines:
        pen.line([(x, y) for x, y in line], OUTLINE, 1)
    return picture


def _save(sheet: Image.Image, path: Path, n_rows: int) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path)
    except (OSError, ValueError) as error:
        failed = f"a sheet of {n_rows} rows cannot be written to {path} ({error})"
        raise EmbstoreError(f"{failed}; choose another file, a .png for long ones, or a smaller -k") from error
    return path


def check_sheet(out: str | Path) -> None:
    """Raise EmbstoreError, before any work is done, for a file whose suffix is not a picture's."""
    if Path(out).suffix.lower() not in SUFFIXES:
        raise EmbstoreError(f"{Path(out).name} has no suffix of a picture; wanted {', '.join(SUFFIXES)}")


def _draw_heading(pen: ImageDraw.ImageDraw, neighbours: Neighbours[Any]) -> None:
    centred = ", centred by the space's mean" if neighbours.centred else ""
    pen.text((GAP_PX, 8), f"nearest to {neighbours.query}", INK, ImageFont.load_default(20))
    pen.text((GAP_PX, 34), f"{neighbours.space}, cosine similarity{centred}", PALE_INK, ImageFont.load_default(13))


def _query_caption(neighbours: Neighbours[Any]) -> list[str]:
    """Return the title and the details beside the query's own cells."""
    return [f"{neighbours.asked.name} (asked for)", neighbours.asked.locations]


def _caption(row: Neighbour) -> list[str]:
    """Return the title and the details beside a neighbour's cells."""
    title = f"{row.rank}  {row.gene or '(no protein)'}  {row.similarity:.3f}"
    if not isinstance(row, SimilarProtein):
        return [title, row.locations, row.dataset]
    rank = "" if row.rank_low is None else f", rank {row.rank_low} to {row.rank_high}"
    return [title, row.locations, row.dataset, f"{row.n_cells} cells{rank}"]


def _draw_caption(pen: ImageDraw.ImageDraw, caption: Sequence[str], top: int) -> None:
    title, *details = caption
    pen.text((GAP_PX, top + 8), title, INK, ImageFont.load_default(16))
    lines = [line for detail in details for line in _wrapped(detail)]
    for i, line in enumerate(lines[:5]):
        pen.text((GAP_PX, top + 34 + 17 * i), line, PALE_INK, ImageFont.load_default(13))


def _wrapped(text: str, width: int = 28) -> list[str]:
    import textwrap

    return textwrap.wrap(text.replace(";", "; "), width)


def _any_estimated(store: Store, cell_ids: Iterable[str]) -> bool:
    """True if the pixel size of an image of any of the cells is an estimate."""
    images = pa.array({cell_id.rsplit(":", 2)[0] for cell_id in cell_ids}, pa.string())
    rows = store.read("images", ["pixel_size_source"], pc.field("image_id").isin(images))
    return not {"estimated", "crop"}.isdisjoint(rows["pixel_size_source"].to_pylist())


def _draw_bar(pen: ImageDraw.ImageDraw, left: int, top: int, *, estimated: bool) -> None:
    """Draw the scale bar into a thumbnail; dashed, with "≈", where the scale is an estimate."""
    length = round(BAR_UM * THUMBNAIL_PX / THUMBNAIL_UM)
    y = top + THUMBNAIL_PX - 9
    if not estimated:
        pen.rectangle((left + 8, y, left + 8 + length, y + 3), PAPER)
        return
    step = length / (2 * DASHES - 1)
    for dash in range(DASHES):
        start = left + 8 + round(2 * dash * step)
        pen.rectangle((start, y, start + round(step) - 1, y + 3), PAPER)
    for up in (14, 19):  # "≈", which the font lacks
        pen.text((left + 8, y - up), "~", PAPER, ImageFont.load_default(16))
