"""Decoding whole images: nothing is cut off, and sizes are those that people see."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lamina.data.decoding import decode_whole, upright, upright_size
from lamina.errors import DataError


def stripes(width: int, height: int) -> np.ndarray:
    """A picture that is dark on the left and light on the right."""
    line = np.linspace(0, 255, width).astype(np.uint8)
    return np.repeat(np.repeat(line[None, :, None], height, 0), 3, 2)


@pytest.mark.parametrize(("width", "height"), [(200, 100), (100, 200), (64, 64), (7, 300)])
def test_an_image_stands_whole_in_the_upper_left_corner(width: int, height: int) -> None:
    pixels, size = decode_whole(stripes(width, height), 64, 3)
    assert size == (width, height)
    assert pixels.shape == (64, 64, 3)
    longest = max(width, height)
    wide, high = max(1, round(width * 64 / longest)), max(1, round(height * 64 / longest))
    assert (pixels[high:] == 114).all()
    assert (pixels[:, wide:] == 114).all()
    if wide > 8:
        assert pixels[0, 0, 0] < 20
        assert pixels[0, wide - 1, 0] > 235


def test_sizes_are_those_of_the_image_as_it_is_shown(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(stripes(400, 200)).save(tmp_path / "turned.jpg", exif=exif)
    assert upright_size(tmp_path / "turned.jpg") == (200, 400)
    assert upright(tmp_path / "turned.jpg").shape == (400, 200, 3)
    pixels, size = decode_whole(tmp_path / "turned.jpg", 40, 1)  # decoded at an eighth of its size
    assert size == (200, 400)
    assert (pixels[:, 20:] == 114).all()
    assert pixels[0, 5, 0] < 60
    assert pixels[39, 5, 0] > 200


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_are_those_of_each_format(tmp_path: Path, ending: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stripes(80, 40)).save(tmp_path / f"a.{ending}", exif=exif)
    wide, high = (80, 40) if orientation < 5 else (40, 80)
    assert upright_size(tmp_path / f"a.{ending}") == (wide, high)
    assert decode_whole(tmp_path / f"a.{ending}", 40, 1)[1] == (wide, high)
    pixels = upright(tmp_path / f"a.{ending}")
    assert pixels.shape == (high, wide, 3)
    low, across = pixels[-1, 0, 0] > 128, pixels[0, -1, 0] > 128  # where it is light
    assert (low, across) == ((orientation in (2, 3, 5, 6)), (orientation in (1, 4, 7, 8)))


def test_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    with pytest.raises(DataError, match=r"bad\.jpg"):
        decode_whole(tmp_path / "bad.jpg", 32, 3)
    with pytest.raises(DataError, match="no such file"):
        upright(tmp_path / "none.jpg")
