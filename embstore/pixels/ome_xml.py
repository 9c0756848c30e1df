"""OME-XML (schema 2016-06): channels, pixel size, and which file contains which plane."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass

from embstore.errors import ImageError
from embstore.pixels.size import UNKNOWN, PixelSize, agreed

MOST_PLANES = 1 << 20  # of an image; more are a mistake
_TODO = "export the file again, or name what its planes show: --channels nucleus,protein"


class OmeXmlError(ImageError):
    """OME metadata that are damaged, although the pixels may be sound."""


@dataclass(frozen=True)
class OmePlane:
    """The position of one plane of an image; `file` is empty if it is in the file that contains the XML."""

    c: int
    z: int
    t: int
    file: str
    ifd: int


@dataclass(frozen=True)
class OmeImage:
    """One Image element: the names of its channels, its pixel size, and its planes if the XML lists them."""

    channel_names: tuple[str, ...] = ()
    size: PixelSize = UNKNOWN
    planes: tuple[OmePlane, ...] = ()

    @property
    def own(self) -> tuple[OmePlane, ...]:
        """Return the planes in the file that contains the XML, ordered by channel, z and t."""
        return tuple(sorted((p for p in self.planes if not p.file), key=lambda p: (p.c, p.z, p.t)))

    @property
    def others(self) -> tuple[str, ...]:
        """Return the names of the other files that contain planes of this image, which is then a set of files."""
        return tuple(dict.fromkeys(plane.file for plane in self.planes if plane.file))


def parsed(text: str, name: str) -> ET.Element:
    """Return the root of OME-XML; ImageError if it is not XML, or declares entities, which OME-XML never does."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ImageError(f"{name} has OME metadata with a document type, wanted plain OME-XML", todo=_TODO)
    try:
        return ET.fromstring(text)
    except (ET.ParseError, ValueError, LookupError) as error:
        raise OmeXmlError(f"{name} has OME metadata that are not XML ({error}), wanted OME-XML", todo=_TODO) from error


def ome_image(text: str, name: str) -> OmeImage:
    """Return the Image of the file `name` that OME-XML describes: the first that has planes in it.

    Each file of a set describes all images of the set. A file that was renamed is recognised by its UUID. Raises
    ImageError if the XML is damaged.
    """
    root = parsed(text, name)
    images = [_image(pixels, root.get("UUID") or "", name) for pixels in _all(root, "Image", "Pixels")]
    return next((image for image in images if image.own or not image.planes), images[0] if images else OmeImage())


def n_images(text: str, name: str) -> int:
    """Return how many images OME-XML describes; ImageError if it is damaged."""
    return sum(1 for _ in _all(parsed(text, name), "Image"))


def companion(text: str, name: str) -> str:
    """Return the name of the file that contains the metadata instead of this one (`BinaryOnly`), or ''."""
    if "BinaryOnly" not in text:
        return ""
    return next((e.get("MetadataFile") or "" for e in _all(parsed(text, name), "BinaryOnly")), "")


def _image(pixels: ET.Element, own_uuid: str, name: str) -> OmeImage:
    names = tuple(channel.get("Name") or "" for channel in _all(pixels, "Channel"))
    sizes = [axis for axis in ("PhysicalSizeX", "PhysicalSizeY") if axis in pixels.attrib]
    size = agreed([(axis, pixels.attrib[axis], pixels.get(f"{axis}Unit", "µm")) for axis in sizes])
    try:
        planes = tuple(_planes(pixels, own_uuid, name))
    except (ValueError, KeyError) as error:
        raise OmeXmlError(f"{name} has OME metadata without numbers of its planes ({error})", todo=_TODO) from error
    return OmeImage(names, size, planes)


def _planes(pixels: ET.Element, own_uuid: str, name: str) -> Iterator[OmePlane]:
    """Yield where planes are, as `TiffData` elements state; ValueError if numbers are missing or too large."""
    order = pixels.get("DimensionOrder", "XYZCT")[2:]
    sizes = {axis: int(pixels.get(f"Size{axis}", "1")) for axis in "CZT"}
    total = sizes["C"] * sizes["Z"] * sizes["T"]
    if not 0 < total <= MOST_PLANES or min(sizes.values()) < 1 or sorted(order) != ["C", "T", "Z"]:
        raise ValueError(f"{total} planes in the order {order}")
    for data in _all(pixels, "TiffData"):
        uuid = next(_all(data, "UUID"), None)
        stored = "" if uuid is None else uuid.get("FileName") or ""
        is_own = stored == name or (uuid is not None and own_uuid and (uuid.text or "").strip() == own_uuid)
        file = "" if is_own else stored
        ifd = int(data.get("IFD", "0"))
        first = [int(data.get(f"First{axis}", "0")) for axis in order]
        count = min(int(data.get("PlaneCount", "1" if "IFD" in data.attrib else str(total))), total)
        start = first[0] + sizes[order[0]] * (first[1] + sizes[order[1]] * first[2])
        for n in range(count):
            place, at = start + n, {}
            for axis in order:
                place, at[axis] = divmod(place, sizes[axis])
            yield OmePlane(at["C"], at["Z"], at["T"], file, ifd + n)


def _all(element: ET.Element, *path: str) -> Iterator[ET.Element]:
    """Yield the children (of children) with these names, in any namespace."""
    for child in element:
        if child.tag.rpartition("}")[2] == path[0]:
            yield from _all(child, *path[1:]) if path[1:] else (child,)
