"""The values of every mode of picture that the readers accept, which are written by hand: one test for each mode.

The modes are those of the readers' own lists: a mode that is added there and cannot be written here fails.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from raw_pictures import FORMATS, PHOTOMETRIC, png_bytes, samples, tiff_bytes

from embstore.errors import ImageError
from embstore.pixels.decode import read_header, read_planes
from embstore.pixels.depths import counts
from embstore.pixels.photometric import TIFF_MODES
from embstore.pixels.pillow import PILLOW_FORMATS, PILLOW_MODES, PNG_SAMPLES, PNG_STEPS
from embstore.pixels.tiff import TIFF_CODECS

RNG = np.random.default_rng(0)
SHAPE = (7, 13)  # rows of bits do not end with a byte
MODES = sorted((photometric, *mode) for photometric, modes in TIFF_MODES.items() for mode in modes)


def numbers(kind: str, bits: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Return numbers over the whole range of a sample format, all different in float32."""
    if kind == "IEEEFP":
        return (RNG.integers(-1000, 1000, shape) / 8).astype(np.float64)
    low, high = (
        (0, (1 << min(bits, 20)) - 1) if kind == "UINT" else (-(1 << min(bits - 1, 20)), (1 << min(bits - 1, 20)) - 1)
    )
    values = RNG.integers(low, high, shape, endpoint=True)
    values.flat[:2] = low, high
    return values


def write_tiff(path: Path, mode: tuple[str, str, int], values: np.ndarray, **options: object) -> Path:
    """Write pixels (y, x) or (y, x, s) in a mode."""
    photometric, kind, bits = mode
    order = options.get("order", "<")
    planes = [values[..., i] for i in range(values.shape[2])] if options.get("planar") else [values]
    n = 1 if values.ndim == 2 else values.shape[2]
    ramp = np.repeat(np.linspace(0, 65535, 1 << min(bits, 16)).astype(np.int64)[None], 3, 0)
    more = {"colours": ramp} if photometric == "PALETTE" else {}
    path.write_bytes(
        tiff_bytes(
            [samples(plane, kind, bits, order) for plane in planes],
            SHAPE,
            photometric=PHOTOMETRIC[photometric],
            sample_format=FORMATS[kind],
            bits=[bits] * n,
            **{**more, **options},
        )
    )
    return path


def stored(mode: tuple[str, str, int], values: np.ndarray) -> np.ndarray:
    """Return the intensities (c, y, x) that values of a mode mean."""
    photometric, kind, bits = mode
    light = (1 << bits) - 1 - values if photometric == "MINISWHITE" else values
    if (kind, bits) == ("UINT", 1):
        light = light * 255
    return np.moveaxis(light, -1, 0) if light.ndim == 3 else light[None]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: "-".join(map(str, mode)))
def test_every_tiff_mode_gives_its_values(tmp_path: Path, mode: tuple[str, str, int], order: str) -> None:
    """Each photometric interpretation, sample format and depth, in both byte orders, contiguous and planar."""
    photometric, kind, bits = mode
    shape = (*SHAPE, 3) if photometric == "RGB" else SHAPE
    values = numbers(kind, bits, shape)
    for planar in (False, True) if photometric == "RGB" else (False,):
        result = read_planes(write_tiff(tmp_path / "a.tif", mode, values, order=order, planar=planar)).pixels
        np.testing.assert_array_equal(result.astype(np.float64), stored(mode, values).astype(np.float64))
        assert result.dtype.name in ("uint8", "uint16", "float32")


@pytest.mark.parametrize("bits", [1, 4, 8, 16])
def test_labels_keep_their_raw_values_except_bits(tmp_path: Path, bits: int) -> None:
    """An inverting lookup table over labels, as Fiji saves masks, changes none of them; in bits zero is white."""
    values = numbers("UINT", bits)
    path = write_tiff(tmp_path / "m.tif", ("MINISWHITE", "UINT", bits), values)
    result = read_planes(path, labels=True).pixels[0]
    np.testing.assert_array_equal(result, values == 0 if bits == 1 else values)


def test_a_page_that_says_nothing_of_its_meaning_is_not_inverted(tmp_path: Path) -> None:
    """Without the tag, zero is black: tifffile's default would be white."""
    values = numbers("UINT", 8)
    data = [samples(values, "UINT", 8, "<")]
    (tmp_path / "a.tif").write_bytes(tiff_bytes(data, SHAPE, photometric=None, sample_format=1, bits=[8]))
    np.testing.assert_array_equal(read_planes(tmp_path / "a.tif").pixels[0], values)


def test_bits_of_the_reverse_fill_order_are_turned(tmp_path: Path) -> None:
    """FillOrder 2 packs the first pixel into the lowest bit of a byte."""
    values = numbers("UINT", 1)
    table = np.array([int(f"{i:08b}"[::-1], 2) for i in range(256)], np.uint8)
    turned = table[np.frombuffer(samples(values, "UINT", 1, "<"), np.uint8)].tobytes()
    (tmp_path / "a.tif").write_bytes(
        tiff_bytes([turned], SHAPE, photometric=1, sample_format=1, bits=[1], fill_order=2)
    )
    np.testing.assert_array_equal(read_planes(tmp_path / "a.tif").pixels[0], values * 255)


@pytest.mark.parametrize(
    ("photometric", "kind", "bits"),
    [
        ("SEPARATED", "UINT", (8, 8, 8, 8)),
        ("YCBCR", "UINT", (8, 8, 8)),
        ("CIELAB", "UINT", (8, 8, 8)),
        ("RGB", "UINT", (5, 6, 5)),
        ("RGB", "UINT", (4, 4, 4)),
        ("MINISWHITE", "INT", (16,)),
        ("MINISWHITE", "IEEEFP", (32,)),
        ("MINISBLACK", "VOID", (8,)),
        ("MINISBLACK", "COMPLEXINT", (32,)),
        ("MINISBLACK", "COMPLEXIEEEFP", (64,)),
        ("MINISBLACK", "UINT", (24,)),
        ("MINISBLACK", "INT", (12,)),
    ],
)
def test_what_is_no_intensity_is_refused_in_one_line(
    tmp_path: Path, photometric: str, kind: str, bits: tuple[int, ...]
) -> None:
    """Ink, chroma, differences between samples, and packings that no test covers are refused, in the header too."""
    data = [bytes(SHAPE[0] * (-(-SHAPE[1] * sum(bits) // 8)))]
    path = tmp_path / "a.tif"
    path.write_bytes(
        tiff_bytes(data, SHAPE, photometric=PHOTOMETRIC[photometric], sample_format=FORMATS[kind], bits=bits)
    )
    for read in (read_planes, read_header):
        with pytest.raises(ImageError, match=r"a\.tif has .* pixels.*, wanted .*; ") as caught:
            read(path)
        assert "damaged" not in str(caught.value)


PREDICTED = TIFF_CODECS - {"NONE", "PACKBITS"}


@pytest.mark.parametrize(
    ("codec", "predictor"), [*((c, False) for c in sorted(TIFF_CODECS)), *((c, True) for c in sorted(PREDICTED))]
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("tile", [None, (16, 16)], ids=["strips", "tiles"])
def test_every_codec_and_predictor_gives_its_values(
    tmp_path: Path, codec: str, predictor: bool, dtype: str, tile: tuple[int, int] | None
) -> None:
    """Horizontal and floating-point differences are taken back, in strips and in tiles larger than the image."""
    values = RNG.integers(0, 250, (21, 19)).astype(dtype)
    options = {} if codec == "NONE" else {"compression": codec.lower(), "predictor": predictor or None}
    tifffile.imwrite(tmp_path / "a.tif", values, tile=tile, **options)
    np.testing.assert_array_equal(read_planes(tmp_path / "a.tif").pixels[0], values)


def test_a_palette_of_one_hue_is_intensities_and_any_other_is_refused(tmp_path: Path) -> None:
    """Lookup tables of one hue leave the values what they are; of other palettes the indices are no intensities."""
    values = numbers("UINT", 8)
    ramp = np.linspace(0, 65535, 256).astype(np.int64)
    data = {"data": [samples(values, "UINT", 8, "<")], "shape": SHAPE}
    more = {"photometric": 3, "sample_format": 1, "bits": [8]}
    green, fire = np.stack([ramp * 0, ramp, ramp * 0]), np.stack([ramp, ramp[::-1], ramp])
    (tmp_path / "green.tif").write_bytes(tiff_bytes(**data, **more, colours=green))
    (tmp_path / "fire.tif").write_bytes(tiff_bytes(**data, **more, colours=fire))
    np.testing.assert_array_equal(read_planes(tmp_path / "green.tif").pixels[0], values)
    with pytest.raises(ImageError, match="colours from a palette, wanted intensities"):
        read_planes(tmp_path / "fire.tif")
    np.testing.assert_array_equal(read_planes(tmp_path / "fire.tif", labels=True).pixels[0], values)


def test_pages_of_different_kinds_are_refused(tmp_path: Path) -> None:
    """Two pages of one shape, of which one is inverted, are not read as two channels."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for photometric in ("minisblack", "miniswhite"):
            writer.write(np.zeros(SHAPE, np.uint8), photometric=photometric, metadata=None, contiguous=False)
    with pytest.raises(ImageError, match="has pages of MINISBLACK of 8 bits and MINISWHITE of 8 bits"):
        read_planes(tmp_path / "a.tif")


PNG_KINDS = [(1, 0), (2, 0), (4, 0), (8, 0), *((bits, kind) for bits in (8, 16) for kind in (2, 4, 6)), (16, 0)]


def test_the_kinds_of_png_are_all_there() -> None:
    """Every depth and colour type that the reader treats apart has a test of its values."""
    assert {bits for bits, kind in PNG_KINDS if kind == 0} >= {*PNG_STEPS, 1, 8, 16}
    assert {kind for bits, kind in PNG_KINDS if bits == 16} == set(PNG_SAMPLES)


@pytest.mark.parametrize(("bits", "kind"), PNG_KINDS)
def test_every_kind_of_png_gives_its_values(tmp_path: Path, bits: int, kind: int) -> None:
    """All bits of every depth, and no more: 16-bit colours are not narrowed, 2 and 4 bits are not stretched."""
    n = PNG_SAMPLES[kind]
    values = numbers("UINT", bits, SHAPE if n == 1 else (*SHAPE, n))
    (tmp_path / "a.png").write_bytes(png_bytes(values, bits, kind))
    result = read_planes(tmp_path / "a.png")
    wanted = values * (255 if bits == 1 else 1)
    np.testing.assert_array_equal(result.pixels, np.moveaxis(wanted, -1, 0) if n > 1 else wanted[None])
    assert result.pixels.dtype == (np.uint16 if bits == 16 else np.uint8)
    assert read_header(tmp_path / "a.png") == result.header


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_of_a_png_gives_its_colours_and_labels_its_indices(tmp_path: Path, bits: int) -> None:
    """An image shows the palette's colours; a label image is the indices, whatever they are painted as."""
    values, palette = numbers("UINT", bits), RNG.integers(0, 256, (1 << bits, 3))
    (tmp_path / "a.png").write_bytes(png_bytes(values, bits, 3, palette=palette))
    np.testing.assert_array_equal(read_planes(tmp_path / "a.png").pixels, np.moveaxis(palette[values], -1, 0))
    np.testing.assert_array_equal(read_planes(tmp_path / "a.png", labels=True).pixels[0], values)


def drawn(mode: str) -> Image.Image:
    """Return a picture of a mode of Pillow's."""
    n = PILLOW_MODES[mode][0]
    values = RNG.integers(0, 256, SHAPE if n == 1 else (*SHAPE, n)).astype(np.uint8)
    if mode == "1":
        return Image.fromarray(values > 127)
    if mode == "P":
        picture = Image.fromarray(values)
        picture.putpalette(RNG.integers(0, 256, 768).astype(np.uint8).tobytes())
        return picture
    return Image.fromarray(values, mode) if n == 1 else Image.fromarray(values)


def lossless(form: str) -> dict[str, object]:
    return {"lossless": True, "exact": True} if form == "WEBP" else {}


LOSSLESS = {"PNG": ("1", "L", "P", "LA", "RGB", "RGBA"), "BMP": ("1", "L", "P", "RGB"), "WEBP": ("RGB", "RGBA")}


def test_the_modes_of_pillow_are_all_there() -> None:
    """Every mode and every format that the reader accepts has a test of its values; JPEG has its own."""
    assert {mode for modes in LOSSLESS.values() for mode in modes} == set(PILLOW_MODES)
    assert {*LOSSLESS, "JPEG"} == set(PILLOW_FORMATS)


@pytest.mark.parametrize(("form", "mode"), [(form, mode) for form, modes in LOSSLESS.items() for mode in modes])
def test_every_mode_of_pillow_gives_its_values(tmp_path: Path, form: str, mode: str) -> None:
    """Each mode of each lossless format has the values that were drawn, bits 0 and 255, palettes their colours."""
    picture, path = drawn(mode), tmp_path / f"a.{form.lower()}"
    picture.save(path, form, **lossless(form))
    values = np.asarray(picture.convert("RGB") if mode == "P" else picture) * np.uint8(255 if mode == "1" else 1)
    wanted = np.moveaxis(values, -1, 0) if values.ndim == 3 else values[None]
    np.testing.assert_array_equal(read_planes(path).pixels, wanted)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpegs_give_what_pillow_decodes_and_no_ink(tmp_path: Path, mode: str) -> None:
    """Grey and colour JPEGs are near what was drawn; CMYK is refused in one line."""
    smooth = np.tile(np.arange(0, 128, 2, dtype=np.uint8), (64, 1))
    picture = (
        Image.fromarray(smooth) if mode == "L" else Image.fromarray(np.stack([smooth, smooth[::-1].T, smooth // 2], -1))
    )
    picture.save(tmp_path / "a.jpg", quality=100, subsampling=0)
    wanted = np.asarray(picture).astype(int)
    result = np.moveaxis(read_planes(tmp_path / "a.jpg").pixels, 0, -1).astype(int)
    assert np.abs(result.reshape(wanted.shape) - wanted).max() <= 3
    picture.convert("CMYK").save(tmp_path / "c.jpg")
    with pytest.raises(ImageError, match="mode CMYK, wanted grey or RGB"):
        read_planes(tmp_path / "c.jpg")


def test_bitmaps_of_five_bits_are_refused(tmp_path: Path) -> None:
    """Colours of 5 bits, which Pillow stretches to 8, are no values that the file stores."""
    head = b"BM" + (54 + 8).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    info = (40).to_bytes(4, "little") + (2).to_bytes(4, "little") * 2 + b"\1\0\x10\0" + bytes(24)
    (tmp_path / "a.bmp").write_bytes(head + info + bytes(8))
    with pytest.raises(ImageError, match="5-bit colours"):
        read_planes(tmp_path / "a.bmp")


Maker = Callable[[np.ndarray, Path], None]
FORMS: dict[str, Maker] = {
    "png": lambda rgb, path: Image.fromarray(rgb).save(path),
    "bmp": lambda rgb, path: Image.fromarray(rgb).save(path),
    "tif": lambda rgb, path: tifffile.imwrite(path, rgb, photometric="rgb"),
}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_equal_colours_are_one_channel(tmp_path: Path, form: str) -> None:
    """Grey that was saved as colour is one channel; one pixel of colour makes three; an empty picture stays three."""
    grey = np.repeat(RNG.integers(0, 256, (*SHAPE, 1)).astype(np.uint8), 3, axis=2)
    path = tmp_path / f"a.{form}"
    FORMS[form](grey, path)
    np.testing.assert_array_equal(read_planes(path).pixels, grey[..., :1].transpose(2, 0, 1))
    assert read_header(path).shape == (1, *SHAPE)
    grey[3, 4, 1] ^= 1
    FORMS[form](grey, path)
    assert read_planes(path).pixels.shape == (3, *SHAPE)
    FORMS[form](np.zeros_like(grey), path)
    assert read_planes(path).pixels.shape == (3, *SHAPE)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_an_opaque_alpha_is_no_channel(tmp_path: Path, dtype: str) -> None:
    """In PNG and TIFF; an alpha channel with a transparent pixel is kept and named."""
    values = RNG.integers(0, 250, (*SHAPE, 4)).astype(dtype)
    largest = np.iinfo(dtype).max
    for at, wanted in ((largest, 3), (largest - 1, 4)):
        values[..., 3], values[0, 0, 3] = largest, at
        (tmp_path / "a.png").write_bytes(png_bytes(values, values.itemsize * 8, 6))
        tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", extrasamples=["unassalpha"])
        for name in ("a.png", "a.tif"):
            result = read_planes(tmp_path / name)
            np.testing.assert_array_equal(result.pixels, np.moveaxis(values, -1, 0)[:wanted])
            assert result.colour == "RGBA"[:wanted]


def test_our_own_mistake_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TypeError of this package, in a reader or behind it, is not blamed on the file; a library's is."""
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(SHAPE, np.uint8))

    def broken(*_: object) -> None:
        len(5)  # type: ignore[arg-type]

    broken.__globals__["__name__"], name = "embstore.broken", __name__
    try:
        for where in ("embstore.pixels.tiff._check_page", "embstore.pixels.decode.counts"):
            with monkeypatch.context() as patched, pytest.raises(TypeError):
                patched.setattr(where, broken)
                read_planes(tmp_path / "a.tif")
    finally:
        broken.__globals__["__name__"] = name


def test_counts_are_what_values_become() -> None:
    """The reader's last step keeps each of the three working dtypes."""
    for dtype in ("uint8", "uint16", "float32"):
        assert counts(Path("x"), np.zeros((1, 2, 2), dtype)).dtype == dtype
