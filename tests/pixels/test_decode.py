"""Reading image files: axes, dtypes, pixel sizes, and files that lie or are broken."""

from __future__ import annotations

import gc
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from embstore.errors import ImageError
from embstore.pixels.decode import read_planes, read_shape
from embstore.pixels.limits import MAX_BYTES

RNG = np.random.default_rng(0)
TWO_CHANNEL = RNG.integers(0, 60000, (2, 30, 40)).astype(np.uint16)


def tiff(path: Path, array: np.ndarray, **options: object) -> Path:
    tifffile.imwrite(path, array, **options)
    return path


def refusal(path: Path) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(ImageError) as caught:
        read_planes(path)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 300
    assert "wanted" in line
    try:  # what the header tells is told in the same words
        read_shape(path)
    except ImageError as error:
        assert str(error) == line
    return line


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd", "packbits"])
def test_a_two_channel_tiff_comes_back_unchanged(tmp_path: Path, compression: str | None) -> None:
    """The published OpenCell form, (2, y, x) uint16, reads back exactly under every lossless compression."""
    planes = read_planes(tiff(tmp_path / "a.tif", TWO_CHANNEL, compression=compression, metadata={"axes": "CYX"}))
    np.testing.assert_array_equal(planes.pixels, TWO_CHANNEL)
    assert planes.pixels.dtype == np.uint16
    assert planes.pixel_size_um is None
    assert read_shape(tmp_path / "a.tif") == TWO_CHANNEL.shape


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_dtype_of_the_file_is_kept(tmp_path: Path, dtype: str) -> None:
    """Counts are not rescaled on reading."""
    array = RNG.integers(0, 200, (20, 30)).astype(dtype)
    pixels = read_planes(tiff(tmp_path / "a.tif", array)).pixels
    assert pixels.dtype == dtype
    np.testing.assert_array_equal(pixels, array[None])


def test_big_endian_files_give_native_arrays(tmp_path: Path) -> None:
    """A file from an old instrument reads as numbers that every library accepts."""
    pixels = read_planes(tiff(tmp_path / "a.tif", TWO_CHANNEL, byteorder=">", photometric="minisblack")).pixels
    assert pixels.dtype.isnative
    np.testing.assert_array_equal(pixels, TWO_CHANNEL)


def test_pages_without_names_are_channels(tmp_path: Path) -> None:
    """A multi-page file without any axis names is read as channels, one a page."""
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path) as writer:
        for plane in TWO_CHANNEL:
            writer.write(plane, metadata=None, contiguous=False)
    np.testing.assert_array_equal(read_planes(path).pixels, TWO_CHANNEL)


def test_colour_comes_back_as_three_planes(tmp_path: Path) -> None:
    """RGB in TIFF, PNG and BMP is red, green, blue planes."""
    rgb = RNG.integers(0, 255, (20, 30, 3)).astype(np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    Image.fromarray(rgb).save(tmp_path / "a.bmp")
    tiff(tmp_path / "a.tif", rgb, photometric="rgb")
    for name in ("a.png", "a.bmp", "a.tif"):
        np.testing.assert_array_equal(read_planes(tmp_path / name).pixels, np.moveaxis(rgb, -1, 0))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_grey_png_comes_back_unchanged(tmp_path: Path, dtype: str) -> None:
    """8 and 16 bit grey PNG keep their counts."""
    grey = RNG.integers(0, np.iinfo(dtype).max, (20, 30)).astype(dtype)
    Image.fromarray(grey).save(tmp_path / "a.png")
    pixels = read_planes(tmp_path / "a.png").pixels
    assert pixels.dtype == dtype
    np.testing.assert_array_equal(pixels, grey[None])


def test_the_content_and_not_the_suffix_decides(tmp_path: Path) -> None:
    """A JPEG that somebody named .png still reads, as HPA's own do."""
    Image.fromarray(np.full((20, 30), 90, np.uint8)).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "b.png")
    assert abs(int(read_planes(tmp_path / "b.png").pixels.mean()) - 90) <= 1


def ome(**message: object) -> dict[str, object]:
    return {"ome": True, "metadata": {"axes": "CYX", **message}}


def imagej(unit: str, per_unit: float) -> dict[str, object]:
    return {"imagej": True, "resolution": (per_unit, per_unit), "metadata": {"axes": "CYX", "unit": unit}}


def tags(unit: str, per_unit: float) -> dict[str, object]:
    return {"resolution": (per_unit, per_unit), "resolutionunit": unit, "metadata": {"axes": "CYX"}}


@pytest.mark.parametrize(
    ("options", "size_um"),
    [
        (ome(PhysicalSizeX=0.206, PhysicalSizeY=0.206), 0.206),
        (ome(PhysicalSizeX=0.206), 0.206),
        (ome(PhysicalSizeY=0.206), 0.206),
        (ome(PhysicalSizeX=206, PhysicalSizeXUnit="nm", PhysicalSizeY=0.206), 0.206),
        (ome(PhysicalSizeX=2.06e-4, PhysicalSizeXUnit="mm"), 0.206),
        (ome(PhysicalSizeX=2.06e5, PhysicalSizeXUnit="pm"), 0.206),
        (ome(PhysicalSizeX=2060, PhysicalSizeXUnit="Å"), 0.206),
        (imagej("micron", 4), 0.25),
        (imagej("um", 4), 0.25),
        (imagej("\\u00B5m", 4), 0.25),
        (imagej("nm", 0.004), 0.25),
        (imagej("mm", 4000), 0.25),
        (imagej("cm", 40_000), 0.25),
        (imagej("pixel", 4), None),
        (tags("CENTIMETER", 40_000), 0.25),
        (tags("INCH", 101_600), 0.25),
        (tags("NONE", 4), None),
        *((tags("INCH", dpi), None) for dpi in (72, 96, 300, 1200, 2400)),  # print resolution
        (tags("CENTIMETER", 28), None),
        ({"metadata": {"axes": "CYX"}}, None),
    ],
)
def test_the_pixel_size_is_read_in_any_unit_of_length(
    tmp_path: Path, options: dict[str, object], size_um: float | None
) -> None:
    """OME's and ImageJ's sizes count, one axis is enough, and TIFF's tags where they are no print resolution."""
    planes = read_planes(tiff(tmp_path / "a.ome.tif", TWO_CHANNEL, photometric="minisblack", **options))
    assert planes.pixel_size_um == (None if size_um is None else pytest.approx(size_um, rel=1e-4))
    assert planes.size.ignored == ""
    np.testing.assert_array_equal(planes.pixels, TWO_CHANNEL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ome(PhysicalSizeX=0.2, PhysicalSizeY=0.4),
            "PhysicalSizeX is 0.2 µm and PhysicalSizeY is 0.4 µm, wanted square pixels",
        ),
        (ome(PhysicalSizeX=3, PhysicalSizeXUnit="m"), "PhysicalSizeX is 3 m, wanted 0.001 to 100 µm per pixel"),
        (ome(PhysicalSizeX=0), "PhysicalSizeX is 0 µm, wanted 0.001 to 100 µm per pixel"),
        (ome(PhysicalSizeX="nan"), "PhysicalSizeX is nan µm, wanted a number of µm"),
        (ome(PhysicalSizeX=1, PhysicalSizeXUnit="pixel"), "PhysicalSizeX is 1 pixel, wanted a number of µm"),
        (imagej("furlong", 4), "ImageJ's X is 0.25 furlong and ImageJ's Y is 0.25 furlong, wanted a number of µm"),
        (imagej("inch", 72), "ImageJ's X is 0.0138889 inch"),
    ],
)
def test_a_pixel_size_that_is_impossible_is_reported(tmp_path: Path, options: dict[str, object], message: str) -> None:
    """Unequal axes, sizes that no microscope has and units that are no length do not count, and say so."""
    planes = read_planes(tiff(tmp_path / "a.ome.tif", TWO_CHANNEL, photometric="minisblack", **options))
    assert planes.pixel_size_um is None
    assert planes.size.ignored.startswith(message)


@pytest.mark.parametrize("axes", ["ZCYX", "CZYX", "ZYX", "TYX"])
def test_stacks_are_refused_by_name(tmp_path: Path, axes: str) -> None:
    """Depth and time are not silently taken for channels."""
    array = np.zeros((3, 2, 20, 30)[-len(axes) :] if len(axes) == 4 else (3, 20, 30), np.uint16)
    line = refusal(tiff(tmp_path / "a.tif", array, metadata={"axes": axes}, photometric="minisblack"))
    assert ("z-stack" if "Z" in axes else "time series") in line


def test_many_unnamed_pages_are_refused(tmp_path: Path) -> None:
    """Forty pages without a name are a stack, not forty dyes."""
    path = tiff(tmp_path / "a.tif", np.zeros((40, 8, 8), np.uint8), photometric="minisblack")
    assert "40 planes" in refusal(path)


def test_too_many_pages_are_refused_before_they_are_read(tmp_path: Path) -> None:
    """A file of hundreds of pages is refused by its count alone."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for _ in range(100):
            writer.write(np.zeros((8, 8), np.uint8), metadata=None, contiguous=False)
    assert "100 pages" in refusal(path)


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    """What no camera writes is refused by the header alone."""
    path = tiff(tmp_path / "a.tif", np.zeros((8, 8), np.complex64))
    assert "has complex64 pixels, wanted integers or floats" in refusal(path)
    with pytest.raises(ImageError, match="complex64"):
        read_shape(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    """The line names the path and what to do."""
    assert "does not exist" in refusal(tmp_path / "none.tif")


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    """A folder in place of a file is one clear line."""
    assert "folder" in refusal(tmp_path)


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    """Zero bytes are named as such."""
    (tmp_path / "a.tif").touch()
    assert "0 bytes" in refusal(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg"])
def test_text_in_an_images_name_is_refused(tmp_path: Path, name: str) -> None:
    """A text file under an image's name is not an image."""
    (tmp_path / name).write_text("<html>404 not found</html>")
    assert "not an image" in refusal(tmp_path / name)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
@pytest.mark.parametrize("part", [0.05, 0.5, 0.98])
def test_a_truncated_tiff_is_refused(tmp_path: Path, compression: str | None, part: float) -> None:
    """A TIFF cut off anywhere is an error, never a picture that is half zeros."""
    path = tiff(tmp_path / "a.tif", RNG.integers(0, 60000, (2, 64, 64)).astype(np.uint16), compression=compression)
    os.truncate(path, int(path.stat().st_size * part))
    refusal(path)


@pytest.mark.parametrize("bigtiff", [False, True])
def test_a_tiff_that_lost_its_second_page_is_refused(
    tmp_path: Path, bigtiff: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two channels cut off before the second page don't pass for one channel, and nothing is printed."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, bigtiff=bigtiff) as writer:
        for plane in TWO_CHANNEL:
            writer.write(plane, metadata=None, contiguous=False)
    np.testing.assert_array_equal(read_planes(path).pixels, TWO_CHANNEL)
    with tifffile.TiffFile(path) as opened:
        second = opened.pages[1].offset
    os.truncate(path, second)
    assert "ends after 1 pages" in refusal(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("part", [0.3, 0.99])
def test_a_header_tells_that_a_png_or_an_uncompressed_tiff_is_cut_off(tmp_path: Path, part: float) -> None:
    """Neither has to be decoded to see that its pixels go on behind the end of the file."""
    Image.fromarray(RNG.integers(0, 60000, (300, 300)).astype(np.uint16)).save(tmp_path / "a.png")
    tiff(tmp_path / "a.tif", RNG.integers(0, 60000, (300, 300)).astype(np.uint16))
    for path in (tmp_path / "a.png", tmp_path / "a.tif"):
        assert read_shape(path) == (1, 300, 300)
        os.truncate(path, int(path.stat().st_size * part))
        with pytest.raises(ImageError, match="ends at"):
            read_shape(path)


def test_the_shape_is_read_without_the_pixels(tmp_path: Path) -> None:
    """A stack of which no strip can be decoded still tells the shape of its projection."""
    path = tmp_path / "a.tif"
    stack = RNG.integers(0, 60000, (2, 5, 30, 40)).astype(np.uint16)
    tiff(path, stack, compression="zlib", metadata={"axes": "CZYX"}, photometric="minisblack")
    with tifffile.TiffFile(path) as opened:
        starts = [page.dataoffsets[0] for page in opened.pages]
    content = bytearray(path.read_bytes())
    for start in starts:
        content[start : start + 8] = b"\xff" * 8
    path.write_bytes(content)
    assert read_shape(path, channels=2) == (2, 30, 40)
    with pytest.raises(ImageError, match="damaged"):
        read_planes(path, channels=2)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp"])
@pytest.mark.parametrize("part", [0.01, 0.5, 0.9])
def test_other_truncated_files_are_refused(tmp_path: Path, name: str, part: float) -> None:
    """PNG, JPEG, WebP and BMP cut off anywhere are errors."""
    path = tmp_path / name
    Image.fromarray(RNG.integers(0, 255, (64, 64, 3)).astype(np.uint8)).save(path)
    os.truncate(path, int(path.stat().st_size * part))
    refusal(path)


def header_only_tiff(width: int, height: int, *, bits: int = 16) -> bytes:
    """A TIFF of a few hundred bytes whose header claims width × height pixels in one strip."""
    entries = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, 1), (273, 4, 200), (277, 3, 1)]
    entries += [(278, 4, height), (279, 4, 100)]
    body = b"".join(
        struct.pack("<HHI", tag, kind, 1) + struct.pack("<I" if kind == 4 else "<HH", *((v,) if kind == 4 else (v, 0)))
        for tag, kind, v in entries
    )
    return (b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + b"\0\0\0\0").ljust(512, b"\0")


def test_a_header_that_claims_160_gb_is_refused(tmp_path: Path) -> None:
    """512 bytes that claim 160 GB cost no memory."""
    path = tmp_path / "a.tif"
    path.write_bytes(header_only_tiff(400_000, 200_000))
    assert path.stat().st_size == 512
    assert "160.0 GB" in refusal(path)


def test_long_pixels_count_in_full(tmp_path: Path) -> None:
    """64-bit pixels are measured as they lie in the file, whatever they would become: 12,000 x 12,000 is too much."""
    path = tmp_path / "a.tif"
    path.write_bytes(header_only_tiff(12_000, 12_000, bits=64))
    assert "1.2 GB" in refusal(path)


def test_a_compression_bomb_is_refused(tmp_path: Path) -> None:
    """A deflate TIFF that would grow a thousandfold to 128 MB is refused, well below the absolute limit."""
    side = 8192
    packed = zlib.compress(bytes(side * 64 * 2), 9)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, iter([packed] * (side // 64)), shape=(side, side), dtype="uint16", rowsperstrip=64, compression="zlib"
    )
    assert side * side * 2 < MAX_BYTES
    assert path.stat().st_size < 1_000_000
    assert "would grow" in refusal(path)


def test_a_strip_that_unpacks_to_more_than_it_claims_stays_small(tmp_path: Path) -> None:
    """A small page whose one strip inflates to 50 MB gives a small page or an error."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, iter([zlib.compress(bytes(50_000_000), 9)]), shape=(16, 16), dtype="uint8", compression="zlib"
    )
    try:
        assert read_planes(path).pixels.shape == (1, 16, 16)
    except ImageError as error:
        assert "damaged" in str(error)


def test_a_jpeg_inside_a_tiff_is_refused(tmp_path: Path) -> None:
    """Codecs that allocate what their own header claims stay closed."""
    path = tiff(tmp_path / "a.tif", np.zeros((64, 64), np.uint8), compression="jpeg")
    assert "JPEG" in refusal(path)


def test_an_empty_field_is_no_bomb(tmp_path: Path) -> None:
    """A black field of 2048 × 2048 compresses a thousandfold and is still an image."""
    path = tiff(tmp_path / "a.tif", np.zeros((2048, 2048), np.uint16), compression="zlib")
    assert read_planes(path).pixels.shape == (1, 2048, 2048)


def png_of(width: int, height: int) -> bytes:
    """A PNG header that claims width × height grey pixels, and no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("width", [10_000, 60_000], ids=["where Pillow only warns", "where Pillow refuses"])
def test_a_png_that_claims_too_many_pixels_is_refused(tmp_path: Path, width: int) -> None:
    """Pillow's warning is an error too, and leaves the process's warning filters as they were."""
    (tmp_path / "a.png").write_bytes(png_of(width, 10_000))
    before = list(warnings.filters)
    assert "too many pixels" in refusal(tmp_path / "a.png")
    assert list(warnings.filters) == before


def test_animations_are_refused(tmp_path: Path) -> None:
    """Several frames in one PNG are not channels."""
    frames = [Image.fromarray(np.full((8, 8), v, np.uint8)) for v in (0, 100, 200)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    assert "frames" in refusal(tmp_path / "a.png")


@pytest.mark.parametrize("form", ["tif", "ome.tif", "png", "jpg", "webp"])
def test_flipped_bytes_give_planes_or_one_line(tmp_path: Path, form: str) -> None:
    """Random damage ends in planes or in an ImageError, in no other exception and no open file."""
    good = tmp_path / f"good.{form}"
    if form.endswith("tif"):
        tiff(good, TWO_CHANNEL, compression="zlib", metadata={"axes": "CYX"}, ome="ome" in form)
    else:
        Image.fromarray(RNG.integers(0, 255, (30, 40)).astype(np.uint8)).save(good)
    data = np.frombuffer(good.read_bytes(), np.uint8)
    bad = tmp_path / f"bad.{form}"
    for seed in range(150):
        rng = np.random.default_rng(seed)
        damaged = data.copy()
        where = rng.integers(0, len(data) if seed % 2 else min(300, len(data)), 1 + seed % 4)
        damaged[where] = rng.integers(0, 256, len(where))
        bad.write_bytes(damaged.tobytes())
        try:
            assert read_planes(bad).pixels.ndim == 3
        except ImageError as error:
            assert "\n" not in str(error)


def test_no_file_stays_open(tmp_path: Path) -> None:
    """After reading and after refusing, the process has no more open handles than before."""
    open_files = Path("/proc/self/fd")
    if not open_files.is_dir():
        pytest.skip("open files are counted through /proc, which this system does not have")
    good = tiff(tmp_path / "a.tif", TWO_CHANNEL)
    stack = tiff(tmp_path / "z.tif", TWO_CHANNEL, metadata={"axes": "ZYX"}, photometric="minisblack")
    Image.fromarray(TWO_CHANNEL[0]).save(tmp_path / "a.png")
    (tmp_path / "short.png").write_bytes((tmp_path / "a.png").read_bytes()[:500])
    gc.collect()
    before = len(list(open_files.iterdir()))
    for _ in range(3):
        read_planes(good)
        read_planes(tmp_path / "a.png")
        refusal(stack)
        refusal(tmp_path / "short.png")
    assert len(list(open_files.iterdir())) <= before


def test_real_files_read_with_their_shapes(samples: Path) -> None:
    """OpenCell's two channels, HPA's grey and pseudo-coloured channels and its 16-bit masks all read."""
    wanted = {
        "opencell/two_channel/ACTB_gallery.tif": ((2, 348, 348), "uint8"),
        "opencell/hoechst_snaps/sparse-2.tif": ((1, 1024, 1024), "uint16"),
        "hpa/fov_4ch/57_F11_1_blue.png": ((1, 1728, 1728), "uint8"),
        "hpa/fov_4ch_pseudocolour/57_F11_1_blue.png": ((3, 1728, 1728), "uint8"),
        "hpa/fov_green_masks/1000_A12_2_green.png": ((1, 2048, 2048), "uint16"),
        "hpa/cells_3ch/A1CF_762_F2/762_F2_1_10_blue.tif": ((1, 128, 128), "float32"),
    }
    for name, expected in wanted.items():
        planes = read_planes(samples / name)
        assert read_shape(samples / name) == planes.pixels.shape
        assert (planes.pixels.shape, planes.pixels.dtype.name) == expected
        assert planes.pixel_size_um is None
    assert read_planes(next((samples / "other/plocgan_u2os_bg_bmp").glob("*.bmp"))).pixels.shape == (3, 256, 256)
