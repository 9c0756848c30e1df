"""Contact sheets: the cells behind an answer, on one physical scale, with what they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from PIL import Image, ImageDraw, ImageFont

from embstore.errors import EmbstoreError
from embstore.pixels.thumbnail import THUMBNAIL_PX, THUMBNAIL_UM, decode_thumbnail
from embstore.search.search import Neighbours
from embstore.store import Store

SUFFIXES = (".png", ".webp", ".jpg", ".jpeg")
GAP_PX = 6
CAPTION_PX = 210
BAR_UM = 5.0
# "um": the font that comes with Pillow has no micro sign
LEGEND = (
    "nucleus blue, protein green, microtubules red, ER dim yellow; tiles 25 um, bar 5 um; "
    "cells nearest to the query first"
)
INK, PAPER, FAINT = (20, 20, 20), (255, 255, 255), (110, 110, 110)


def draw_sheet(store: Store, found: Neighbours, out: Path) -> Path:
    """Draw the query and its neighbours, a row each, nearest first, and write the picture (PNG by its suffix).

    Every tile shows the same 25 µm, cut around one cell; the scale bar is 5 µm. Raises EmbstoreError where the space
    has no pictures (vectors of whole images, brought vectors).
    """
    wanted = [cell for _, cells in found.pictured for cell in cells]
    table = store.read("cells", ["cell_id", "thumbnail"], pc.field("cell_id").isin(wanted))
    pictures = dict(zip(table["cell_id"].to_pylist(), table["thumbnail"].to_pylist(), strict=True))
    if not pictures:
        raise EmbstoreError(f"{found.space} holds no vectors of cells, and only cells have pictures; leave out --sheet")
    columns = max(len(cells) for _, cells in found.pictured)
    step = THUMBNAIL_PX + GAP_PX
    width = max(CAPTION_PX + columns * step + GAP_PX, 640)
    sheet = Image.new("RGB", (width, 58 + len(found.pictured) * step + 30), PAPER)
    pen = ImageDraw.Draw(sheet)
    centred = ", centred by the space's mean" if found.centred else ""
    pen.text((GAP_PX, 8), f"nearest to {found.query}", INK, ImageFont.load_default(20))
    pen.text((GAP_PX, 34), f"{found.space}, cosine similarity{centred}", FAINT, ImageFont.load_default(13))
    for row, (caption, cells) in enumerate(found.pictured):
        top = 58 + row * step
        _draw_caption(pen, caption, top)
        for column, cell in enumerate(cells):
            tile = Image.fromarray(np.asarray(decode_thumbnail(pictures[cell])))
            sheet.paste(tile, (CAPTION_PX + column * step, top))
    _draw_bar(pen, CAPTION_PX, 58)
    pen.text((GAP_PX, sheet.height - 22), LEGEND, FAINT, ImageFont.load_default(11))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(out)
    except (OSError, ValueError) as error:
        failed = f"a sheet of {len(found.pictured)} rows cannot be written to {out} ({error})"
        raise EmbstoreError(f"{failed}; choose another file, a .png for long ones, or a smaller -k") from error
    return out


def check_sheet(out: Path) -> None:
    """Refuse, before any work is done, a file that is not of a picture."""
    if out.suffix.lower() not in SUFFIXES:
        raise EmbstoreError(f"{out.name} has no suffix of a picture; wanted {', '.join(SUFFIXES)}")


def _draw_caption(pen: ImageDraw.ImageDraw, caption: str, top: int) -> None:
    title, *details = caption.split("\n")
    pen.text((GAP_PX, top + 8), title, INK, ImageFont.load_default(16))
    lines = [line for detail in details for line in _wrapped(detail)]
    for i, line in enumerate(lines[:5]):
        pen.text((GAP_PX, top + 34 + 17 * i), line, FAINT, ImageFont.load_default(13))


def _wrapped(text: str, width: int = 28) -> list[str]:
    import textwrap

    return textwrap.wrap(text.replace(";", "; "), width)


def _draw_bar(pen: ImageDraw.ImageDraw, left: int, top: int) -> None:
    length = round(BAR_UM * THUMBNAIL_PX / THUMBNAIL_UM)
    y = top + THUMBNAIL_PX - 9
    pen.rectangle((left + 8, y, left + 8 + length, y + 3), PAPER)
