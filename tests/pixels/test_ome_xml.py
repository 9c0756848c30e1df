"""OME-XML by a parser: quotes, namespaces, units, sets of files, and what is broken or hostile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from embstore.errors import ImageError
from embstore.pixels.decode import read_planes
from embstore.pixels.ome_xml import OmePlane, ome_image
from embstore.pixels.size import PixelSize
from embstore.sources.layouts import read_source

PLANES = 'SizeX="8" SizeY="8" SizeC="2" SizeZ="1" SizeT="1" DimensionOrder="XYCZT" Type="uint16"'


def xml(inside: str = "<TiffData/>", more: str = "", root: str = "") -> str:
    return f"<OME {root}><Image ID='Image:0'><Pixels {PLANES} {more}>{inside}</Pixels></Image></OME>"


def write(path: Path, description: str, pixels: np.ndarray) -> Path:
    tifffile.imwrite(path, pixels, description=description, metadata=None, photometric="minisblack")
    return path


@pytest.mark.parametrize(
    ("more", "size"),
    [
        ('PhysicalSizeX="0.2" PhysicalSizeY="0.2"', PixelSize(0.2)),
        ("PhysicalSizeX='0.2' PhysicalSizeY='0.2'", PixelSize(0.2)),
        ("PhysicalSizeYUnit='nm' PhysicalSizeY='200'\n PhysicalSizeXUnit='nm'  PhysicalSizeX = '200'", PixelSize(0.2)),
        ("PhysicalSizeX='0.2' PhysicalSizeXUnit='&#181;m'", PixelSize(0.2)),
        ("PhysicalSizeX='0.0002' PhysicalSizeXUnit='mm'", PixelSize(0.2)),
        ("PhysicalSizeX='2000' PhysicalSizeXUnit='Å'", PixelSize(0.2)),
        ("PhysicalSizeX='0.0002' PhysicalSizeXUnit='Mm'", None),  # megametre
        ("PhysicalSizeX='0.2' PhysicalSizeY='0.4'", None),
        ("PhysicalSizeX='0.2' PhysicalSizeXUnit='pixel'", None),
        ("PhysicalSizeX='0,2'", None),
        ("PhysicalSizeXUnit='nm'", PixelSize()),
        ("Comment='PhysicalSizeX=&quot;5&quot;'", PixelSize()),
    ],
)
def test_the_pixel_size_counts_in_any_spelling_of_xml(more: str, size: PixelSize | None) -> None:
    """The parser handles quotes, order, blanks and entities; what is ignored is reported."""
    result = ome_image(xml(more=more), "x.ome.tif").size
    if size is None:
        assert (result.um, bool(result.ignored)) == (None, True)
    else:
        assert result.um == (None if size.um is None else pytest.approx(size.um))
        assert not result.ignored


def test_namespaces_and_comments_are_no_obstacle() -> None:
    """A prefix, and an older Pixels in a comment, change nothing."""
    text = (
        "<o:OME xmlns:o='x'><!-- <Pixels PhysicalSizeX='9'/> --><o:Image><o:Pixels SizeC='1' PhysicalSizeX='0.3'>"
        "<o:Channel Name='A &amp; B'/></o:Pixels></o:Image></o:OME>"
    )
    result = ome_image(text, "x.ome.tif")
    assert (result.channel_names, result.size) == (("A & B",), PixelSize(0.3))


def test_a_file_of_a_set_is_its_own_image() -> None:
    """Of several images in one XML, the one whose planes are in the file counts, by name or by UUID."""
    images = "".join(
        f"<Image><Pixels SizeC='1' PhysicalSizeX='0.{n}'><TiffData IFD='0'><UUID FileName='{n}.ome.tif'>u{n}</UUID>"
        "</TiffData></Pixels></Image>"
        for n in (1, 2)
    )
    assert ome_image(f"<OME>{images}</OME>", "2.ome.tif").size == PixelSize(0.2)
    assert ome_image(f"<OME UUID='u2'>{images}</OME>", "renamed.ome.tif").size == PixelSize(0.2)
    assert ome_image(f"<OME>{images}</OME>", "1.ome.tif").planes == (OmePlane(0, 0, 0, "", 0),)


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE x [<!ENTITY a "b">]><OME>&a;</OME>',
        "<OME>",
        "",
        "<OME><Image><Pixels SizeC='many'><TiffData/></Pixels></Image></OME>",
        "<OME><Image><Pixels SizeC='2000000000'><TiffData/></Pixels></Image></OME>",
        "<OME><Image><Pixels SizeC='0'><TiffData/></Pixels></Image></OME>",
        "<OME><Image><Pixels DimensionOrder='XY'><TiffData/></Pixels></Image></OME>",
    ],
)
def test_broken_or_hostile_xml_is_one_line(text: str) -> None:
    """No entity is ever expanded, and no number makes a list of planes beyond any file."""
    with pytest.raises(ImageError, match=r"x\.ome\.tif has OME metadata"):
        ome_image(text, "x.ome.tif")


def test_planes_that_the_metadata_do_not_place_are_refused(tmp_path: Path) -> None:
    """Two pages of which the XML places one: the other channel would be zeros."""
    path = write(tmp_path / "x.ome.tif", xml("<TiffData IFD='0' FirstC='1'/>"), np.ones((2, 8, 8), np.uint16))
    with pytest.raises(ImageError, match="is missing planes that its OME metadata list"):
        read_planes(path)


def test_metadata_in_a_companion_are_read(tmp_path: Path) -> None:
    """`BinaryOnly` names the file that has them; where it is missing, the line names it."""
    binary = "<OME><BinaryOnly MetadataFile='x.companion.ome' UUID='u'/></OME>"
    path = write(tmp_path / "x.ome.tif", binary, np.ones((2, 8, 8), np.uint16))
    assert "has its metadata in x.companion.ome, which is missing" in read_planes(path).size.ignored
    (tmp_path / "x.companion.ome").write_text(xml(more="PhysicalSizeX='0.2'"))
    assert read_planes(path).pixel_size_um == 0.2


def test_broken_metadata_do_not_matter_where_channels_are_given(tmp_path: Path) -> None:
    """The pixels are sound: with roles by position the image is read, without them the failure names the XML."""
    path = write(tmp_path / "x.ome.tif", "<OME><Image></OME>", np.ones((2, 8, 8), np.uint16))
    (image,) = read_source(path, "ome", None, channels="nucleus,protein").images
    assert image.files == ("x.ome.tif",)
    (failure,) = read_source(path, "ome", None).failures
    assert "has OME metadata that are not XML" in failure.error
