"""Detect the layout of a folder or file from names and columns alone; nothing is decoded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from embstore.errors import EmbstoreError
from embstore.pixels.ome_zarr import is_zarr
from embstore.pixels.vendors import vendor_files
from embstore.sources import hpa, opencell
from embstore.sources.channels import Channels
from embstore.sources.delimited import refuse_workbook
from embstore.sources.manifest import DEFAULT_NAMES, file_columns
from embstore.sources.tables import bare_name, image_files, is_image, is_table_file, table_head
from embstore.sources.tool_files import files_below, what_lies_there

MOST_CHANNELS = 8  # of a field whose files are distinguished by their endings
VECTOR_SUFFIXES = (".npz", ".npy", ".h5ad")


def detect(source: str | Path) -> tuple[str, str]:
    """Return the layout of a source and the reason; EmbstoreError if the names do not determine one."""
    source = Path(source)
    if source.name.endswith(VECTOR_SUFFIXES):
        raise _embeddings(source, "is a file of embeddings")
    refuse_workbook(source)
    if is_table_file(source):
        return _of_table(source)
    if source.is_dir() and (name := next((n for n in DEFAULT_NAMES if (source / n).is_file()), None)):
        return "manifest", f"it contains {name}"
    if _is_zarr(source):
        return "ome", "it is, or contains, OME-Zarr"
    root, paths = image_files(source)
    layouts = _by_names([path.relative_to(root).as_posix() for path in paths])
    if len(layouts) == 1:
        return next(iter(layouts.items()))
    files = files_below(source)
    if not any(map(is_image, paths)) and (vendors := vendor_files(files)):
        raise EmbstoreError(f"{source} contains {vendors}")
    seen = " and ".join(layouts.values()) or f"{len(paths)} images whose names show no layout"
    example = "" if layouts else f" (it contains {what_lies_there(files)}{_likely(paths)})"
    raise EmbstoreError(
        f"{source} contains {seen}; choose how to read it: --layout opencell, hpa, fields, crops, ome or "
        f"manifest{example}"
    )


def _likely(paths: Sequence[Path]) -> str:
    """Return a hint at the layout that names with a few repeated endings suggest."""
    last = Counter(re.split(r"(?=[_\-. ][^_\-. ]*$)", bare_name(path.name))[-1] for path in paths)
    endings = [ending for ending, n in last.items() if n == len(paths) / len(last) and ending[0] in "_-. "]
    if not 2 <= len(last) <= MOST_CHANNELS or len(endings) != len(last):
        return ""
    return f": one file per channel? --layout fields --channels {','.join(f'{e}=ROLE' for e in sorted(endings))}"


def _of_table(table: Path) -> tuple[str, str]:
    columns, first = table_head(table)
    if {"b_image", "g_image", "output_prefix"} <= set(columns):
        return "crops", "its columns are those of a SubCell list"
    by_role, file = file_columns(columns, Channels())
    of_files = list(by_role.values()) or ([file] if file else [])
    numbers = sum(map(_is_number, first.values())) > 1 or any(value.startswith("[") for value in first.values())
    # a table of vectors may have a column `protein` too, with accessions
    if of_files and (not numbers or any({".", "/"} & {*first[column]} for column in of_files)):
        return "manifest", f"its columns {', '.join(of_files)} name files"
    if named := [column for column, value in first.items() if is_image(Path(value.strip()))]:
        return "manifest", f"its columns {', '.join(named)} name images"
    if numbers:
        raise _embeddings(table, "contains numbers, and no column of it names files")
    raise EmbstoreError(
        f"{table} has the columns {', '.join(columns)}, whose first row names no image and contains no vector; wanted "
        "a manifest (columns nucleus, protein, ..., or file and channels; other names: --layout manifest --channels "
        "COLUMN=ROLE), or embeddings (embstore import). A table of labels goes to --labels or embstore labels add"
    )


def _embeddings(source: Path, what: str) -> EmbstoreError:
    return EmbstoreError(
        f"{source} {what}; images are ingested, embeddings are imported: embstore import {source} --dataset NAME "
        "--backbone NAME"
    )


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _is_zarr(source: Path) -> bool:
    return source.is_dir() and (is_zarr(source) or any(child.suffix == ".zarr" for child in source.iterdir()))


def _by_names(files: Sequence[str]) -> dict[str, str]:
    """Return layout -> what matches it. A colour shows HPA's layout only after one of its own field names."""
    names = {file: bare_name(file).rsplit("/", 1)[-1] for file in files}
    published = sum(bool(opencell.OPENCELL_NAME.match(name)) for name in names.values())
    fields = [match["key"] for name in names.values() if (match := hpa.HPA_FILE.match(name))]
    of_hpa = sum(bool(hpa.HPA_KEY.match(key)) for key in fields)
    ome = sum(".ome.tif" in file.lower() for file in files)
    counts = {"opencell": (published, "OC-FOV names"), "hpa": (of_hpa, "HPA names"), "ome": (ome, "OME-TIFFs")}
    return {layout: f"{n} {what}" for layout, (n, what) in counts.items() if n}
