import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from streamer.errors import PortraitError
from streamer.portrait import read_portrait

pytestmark = pytest.mark.computes

COLOUR = (200, 120, 40)


def quadrants(height: int = 80, width: int = 120) -> Image.Image:
    """Red, green / blue, white quarters: every turn and mirroring of it looks different."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = (255, 0, 0)
    picture[: height // 2, width // 2 :] = (0, 255, 0)
    picture[height // 2 :, : width // 2] = (0, 0, 255)
    picture[height // 2 :, width // 2 :] = (255, 255, 255)
    return Image.fromarray(picture)


def write_png(path: Path, width: int, height: int, *, has_pixels: bool = True) -> Path:
    """A 1-bit PNG of any size, written without holding its pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    packer = zlib.compressobj(1)
    row = bytes(1 + (width + 7) // 8)
    data = b"".join(packer.compress(row) for _ in range(height if has_pixels else 1))
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", data + packer.flush())
        + chunk(b"IEND", b"")
    )
    return path


def refusal(path: Path) -> str:
    with pytest.raises(PortraitError) as caught:
        read_portrait(path)
    return str(caught.value)


def test_an_rgb_png_is_read_to_the_bit(tmp_path: Path) -> None:
    quadrants().save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_portrait(tmp_path / "p.png"), np.asarray(quadrants()))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(tmp_path: Path, orientation: int) -> None:
    stored = {
        1: lambda p: p,
        2: lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda p: p.transpose(Image.Transpose.ROTATE_180),
        4: lambda p: p.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda p: p.transpose(Image.Transpose.TRANSPOSE),
        6: lambda p: p.transpose(Image.Transpose.ROTATE_90),
        7: lambda p: p.transpose(Image.Transpose.TRANSVERSE),
        8: lambda p: p.transpose(Image.Transpose.ROTATE_270),
    }[orientation](quadrants())
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "p.jpg", quality=95, subsampling=0, exif=exif)
    image = read_portrait(tmp_path / "p.jpg").astype(int)
    assert image.shape == (80, 120, 3)
    for y, x, colour in [(20, 30, (255, 0, 0)), (20, 90, (0, 255, 0)), (60, 30, (0, 0, 255))]:
        assert np.abs(image[y, x] - colour).max() < 12


def test_cmyk_jpeg_becomes_rgb(tmp_path: Path) -> None:
    Image.new("RGB", (100, 100), COLOUR).convert("CMYK").save(tmp_path / "p.jpg", quality=95)
    with Image.open(tmp_path / "p.jpg") as written:
        assert written.mode == "CMYK"
    image = read_portrait(tmp_path / "p.jpg")
    assert image.shape == (100, 100, 3)
    assert np.abs(image[50, 50].astype(int) - COLOUR).max() <= 4


def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 100, dtype=np.uint16)
    Image.fromarray(np.tile(ramp, (100, 1))).save(tmp_path / "p.png")
    image = read_portrait(tmp_path / "p.png")
    assert image[0, 0].tolist() == [0, 0, 0]
    assert image[0, 99].tolist() == [255, 255, 255]
    assert abs(int(image[0, 50, 1]) - round(int(ramp[50]) / 257)) == 0


def test_sixteen_bit_rgb_is_scaled(tmp_path: Path) -> None:
    rows = np.full((80, 80, 3), (51400, 30840, 10280), np.dtype(">u2"))
    header = struct.pack(">IIBBBBB", 80, 80, 16, 2, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    png = b"\x89PNG\r\n\x1a\n"
    for kind, body in [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")]:
        png += struct.pack(">I", len(body)) + kind + body
        png += struct.pack(">I", zlib.crc32(kind + body))
    (tmp_path / "p.png").write_bytes(png)
    assert np.abs(read_portrait(tmp_path / "p.png")[40, 40].astype(int) - COLOUR).max() <= 1


def test_a_palette_is_resolved(tmp_path: Path) -> None:
    quadrants().quantize(16).save(tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as written:
        assert written.mode == "P"
    np.testing.assert_array_equal(read_portrait(tmp_path / "p.png"), np.asarray(quadrants()))


def test_transparent_pixels_show_white(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (80, 80), (*COLOUR, 255))
    picture.paste((10, 20, 30, 0), (0, 0, 40, 80))
    picture.paste((0, 0, 0, 128), (40, 0, 50, 80))
    picture.save(tmp_path / "p.png")
    image = read_portrait(tmp_path / "p.png")
    assert image[10, 10].tolist() == [255, 255, 255]
    assert image[10, 70].tolist() == list(COLOUR)
    assert image[10, 45].tolist() == [127, 127, 127]


def test_grey_and_two_level_pictures_become_rgb(tmp_path: Path) -> None:
    Image.new("L", (80, 80), 77).save(tmp_path / "grey.png")
    Image.new("1", (80, 80), 1).save(tmp_path / "bits.png")
    assert read_portrait(tmp_path / "grey.png")[3, 3].tolist() == [77, 77, 77]
    assert read_portrait(tmp_path / "bits.png")[3, 3].tolist() == [255, 255, 255]


def test_a_colour_profile_is_converted_to_srgb(tmp_path: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (80, 80), COLOUR).save(tmp_path / "same.png", icc_profile=lab)
    assert np.abs(read_portrait(tmp_path / "same.png")[0, 0].astype(int) - COLOUR).max() <= 1
    Image.new("RGB", (80, 80), COLOUR).save(tmp_path / "bad.png", icc_profile=b"not a profile")
    assert read_portrait(tmp_path / "bad.png")[0, 0].tolist() == list(COLOUR)


@pytest.mark.parametrize("kind", ["gif", "webp", "png"])
def test_an_animation_is_refused(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (80, 80), (value, 0, 0)) for value in (0, 120, 240)]
    frames[0].save(tmp_path / f"p.{kind}", save_all=True, append_images=frames[1:], duration=40)
    assert "holds 3 pictures" in refusal(tmp_path / f"p.{kind}")


def test_a_still_gif_is_a_portrait(tmp_path: Path) -> None:
    quadrants().save(tmp_path / "p.gif")
    assert read_portrait(tmp_path / "p.gif").shape == (80, 120, 3)


def test_a_phone_jpeg_with_a_second_picture_in_it_uses_the_first(tmp_path: Path) -> None:
    quadrants().save(
        tmp_path / "p.jpg", format="MPO", save_all=True, append_images=[Image.new("RGB", (40, 40))]
    )
    assert read_portrait(tmp_path / "p.jpg").shape == (80, 120, 3)


def test_ten_by_ten_is_too_small(tmp_path: Path) -> None:
    Image.new("RGB", (10, 10)).save(tmp_path / "p.png")
    assert "is 10x10 pixels; use a portrait of at least 64x64" in refusal(tmp_path / "p.png")


@pytest.mark.parametrize("side", [9000, 12000, 20000])
def test_a_huge_picture_is_refused(tmp_path: Path, side: int) -> None:
    assert "too large for a video" in refusal(write_png(tmp_path / "p.png", side, side))


@pytest.mark.parametrize("side", [9000, 20000])
def test_size_is_judged_before_any_pixel_is_decoded(tmp_path: Path, side: int) -> None:
    path = write_png(tmp_path / "p.png", side, side, has_pixels=False)
    assert "too large for a video" in refusal(path)


def test_a_cut_off_jpeg_is_refused(tmp_path: Path) -> None:
    whole = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(whole, "JPEG")
    (tmp_path / "p.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    assert "damaged or incomplete" in refusal(tmp_path / "p.jpg")


def test_what_is_no_picture_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("hello", "utf-8")
    (tmp_path / "empty.jpg").touch()
    assert "is not a picture" in refusal(tmp_path / "text.jpg")
    assert "is empty" in refusal(tmp_path / "empty.jpg")
    assert "there is no picture" in refusal(tmp_path / "missing.jpg")
    assert "is a folder" in refusal(tmp_path)


def test_a_picture_of_fractions_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((80, 80), 0.5, np.float32)).save(tmp_path / "p.tiff")
    assert "fractional values" in refusal(tmp_path / "p.tiff")
