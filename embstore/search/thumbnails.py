"""The small pictures of cells, by their ids."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from html import escape

import pyarrow as pa
import pyarrow.compute as pc

from embstore.pixels.thumbnail import THUMBNAIL_PX, THUMBNAIL_UM
from embstore.store import Store
from embstore.tabular import HTML_ROWS, Tabular


class Thumbnails(Tabular, Mapping[str, bytes]):
    """Pictures by cell id: `thumbnails[cell_id]` is a WebP file as bytes, RGB, 128 × 128 pixels that show 25 µm.

    `PIL.Image.open(io.BytesIO(...))` reads it. Notebooks show the pictures.
    """

    def __init__(self, pictures: Mapping[str, bytes]) -> None:
        self._pictures = dict(pictures)

    def __getitem__(self, cell_id: str) -> bytes:
        return self._pictures[cell_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._pictures)

    def __len__(self) -> int:
        return len(self._pictures)

    def to_arrow(self) -> pa.Table:
        """Return a row for each picture: cell_id, thumbnail (the bytes of a WebP file)."""
        columns = {"cell_id": list(self._pictures), "thumbnail": list(self._pictures.values())}
        return pa.table(columns, schema=pa.schema([("cell_id", pa.string()), ("thumbnail", pa.binary())]))

    @property
    def headline(self) -> str:
        """Return how many pictures there are, and their scale."""
        return f"{len(self)} cell thumbnails, {THUMBNAIL_PX} px = {THUMBNAIL_UM:g} µm"

    def _repr_html_(self) -> str:
        pictures = "".join(
            f'<img title="{escape(cell_id)}" src="data:image/webp;base64,{b64encode(webp).decode()}">'
            for cell_id, webp in list(self._pictures.items())[:HTML_ROWS]
        )
        more = f"<p>... {len(self) - HTML_ROWS} more</p>" if len(self) > HTML_ROWS else ""
        return f"<p>{escape(self.headline)}</p>{pictures}{more}"


def thumbnails(store: Store, cell_ids: Iterable[str]) -> Thumbnails:
    """Return the stored pictures of cells by id, in the order of `cell_ids`; cells without a picture are left out.

    A picture shows 25 µm around a cell: nucleus blue, protein green, microtubules red, ER dim yellow. Reads only.
    """
    wanted = list(dict.fromkeys(cell_ids))
    table = store.read("cells", ["cell_id", "thumbnail"], pc.field("cell_id").isin(pa.array(wanted, pa.string())))
    stored = dict(zip(table["cell_id"].to_pylist(), table["thumbnail"].to_pylist(), strict=True))
    return Thumbnails({cell_id: stored[cell_id] for cell_id in wanted if stored.get(cell_id)})
