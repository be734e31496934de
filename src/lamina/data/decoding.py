"""Decoding: one image in, pixels of a given size out, or the reason why not."""

import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from lamina.errors import DataError

ENDINGS = frozenset((".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"))
"""File name endings of images, in lower case."""
MOST_PIXELS = 170_000_000
"""Larger images are refused by their header. Pillow itself refuses from 179 million pixels on."""
_EMPTY = 114  # grey where a square has no image

# Between 89 and 179 million pixels Pillow only warns, to the terminal; the limit above answers for that range.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def decode(image: str | Path | np.ndarray, side: int, channels: int) -> np.ndarray:
    """Decode one image, shrink it so that its short side fits, and cut the middle out.

    EXIF orientation is applied; transparency is put on white; of an animation the first frame is taken; 16-bit pixels
    are divided by 257, so that the full 16-bit range becomes the full 8-bit range.

    Args:
        image: a file, or pixels (h, w) or (h, w, c), uint8.
        side: height and width of what is returned, in pixels.
        channels: 1 (grey) or 3 (red, green, blue).

    Returns:
        (side, side, channels) uint8.

    Raises:
        DataError: the file is missing, corrupt, truncated or too large; ``where`` names it, ``what`` says why.
    """
    with _shown(image, lambda size: 2 * side / min(size)) as (picture, _):
        return _cut(picture, side, channels)


def decode_whole(image: str | Path | np.ndarray, side: int, channels: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Decode one image and shrink or enlarge it so that its long side fits; nothing is cut off.

    Args:
        image: as for ``decode``.
        side: height and width of what is returned, in pixels.
        channels: 1 (grey) or 3 (red, green, blue).

    Returns:
        (side, side, channels) uint8, the image in the upper left corner and grey where there is none; and the image's width
        and height, upright, in its own pixels.

    Raises:
        DataError: as ``decode``.
    """
    with _shown(image, lambda size: 2 * side / max(size)) as (picture, size):
        whole = np.full((side, side, channels), _EMPTY, np.uint8)
        small = _plain(picture).convert("L" if channels == 1 else "RGB")
        width, height = (max(1, round(length * side / max(size))) for length in size)
        if small.size != (width, height):
            small = small.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
        whole[:height, :width] = np.asarray(small, dtype=np.uint8).reshape(height, width, channels)
        return whole, size


def upright(image: str | Path | np.ndarray) -> np.ndarray:
    """The whole image in its own pixels, upright, (height, width, 3) uint8. Raises DataError as ``decode`` does."""
    with _shown(image, lambda _: 1.0) as (picture, _):
        return np.asarray(_plain(picture).convert("RGB"), dtype=np.uint8)


def upright_size(path: str | Path) -> tuple[int, int]:
    """Width and height of an image as it is shown, from the header alone. Raises DataError."""
    with _opened(path) as image:
        return (image.height, image.width) if _turned(image) else (image.width, image.height)


def image_size_and_mode(path: str | Path) -> tuple[int, int, str]:
    """Width, height and Pillow's mode ("RGB", "L", ...), from the header alone. Raises DataError."""
    with _opened(path) as image:
        return image.width, image.height, image.mode


def survey(raws: np.ndarray, most: int = 500) -> list[tuple[int, int, str]]:
    """Width, height and mode of at most ``most`` images, evenly spread; unreadable ones are skipped."""
    if raws.dtype != object:
        mode = {1: "L", 3: "RGB", 4: "RGBA"}[raws.shape[3] if raws.ndim == 4 else 1]
        return [(raws.shape[2], raws.shape[1], mode)] * min(most, len(raws))
    sizes = []
    for index in np.unique(np.linspace(0, len(raws) - 1, min(most, len(raws))).astype(int)):
        try:
            sizes.append(image_size_and_mode(raws[index]))
        except DataError:
            continue
    return sizes


@contextmanager
def _shown(
    image: str | Path | np.ndarray, shrink: Callable[[tuple[int, int]], float]
) -> Iterator[tuple[Image.Image, tuple[int, int]]]:
    """The image, upright, decoded at a half, a quarter or an eighth of its size where that is still ``shrink`` of it; and its
    width and height in its own pixels."""
    if isinstance(image, np.ndarray):
        picture = Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image)
        yield picture, picture.size
        return
    with _opened(image) as opened:
        try:
            width, height = opened.size
            if opened.format == "JPEG":
                share = shrink(opened.size)
                opened.draft(None, (int(opened.width * share) + 1, int(opened.height * share) + 1))
            opened.load()
            yield _upright(opened), (height, width) if _turned(opened) else (width, height)
        except DataError:
            raise
        except Exception as error:  # decoders of damaged files raise all kinds of errors
            raise _unreadable(image, error) from None


def _turned(image: Image.Image) -> bool:
    """Whether an image's EXIF orientation swaps width and height; damaged EXIF says nothing."""
    if image.format == "TIFF":  # Pillow turns these itself, and has swapped their sides already
        return False
    if image.format == "PNG" and "exif" not in image.info:  # Pillow would decode it all, to look behind the pixels
        return False
    try:
        return image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    except Exception:  # as decoders, the EXIF parser raises all kinds of errors
        return False


def _opened(path: str | Path) -> Image.Image:
    """The image with its header read and its size allowed."""
    try:
        image = Image.open(path)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        pixels = re.search(r"\d{6,}", str(error))
        raise _too_large(path, int(pixels[0]) if pixels else MOST_PIXELS) from None
    except Exception as error:  # headers of damaged files raise all kinds of errors
        raise _unreadable(path, error) from None
    if image.width * image.height > MOST_PIXELS:
        image.close()
        raise _too_large(path, image.width * image.height)
    return image


def _too_large(path: str | Path, pixels: int) -> DataError:
    return DataError(
        f"the image has {pixels / 1e6:,.0f} million pixels; at most {MOST_PIXELS / 1e6:.0f} million are decoded.",
        str(path),
        "Shrink it, or leave it out.",
    )


def _unreadable(path: str | Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        reason = "there is no such file"
    elif isinstance(error, OSError) and error.strerror:
        reason = f"it cannot be opened ({error.strerror})"
    elif os.path.isfile(path) and os.path.getsize(path) == 0:
        reason = "the file is empty"
    elif type(error).__name__ == "UnidentifiedImageError":
        reason = "its content is not an image of a known format"
    else:
        reason = f"the image is damaged ({str(error).rstrip('.') or type(error).__name__})"
    return DataError(f"{reason}.", str(path), "Replace it, or leave it out.")


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says; damaged EXIF says nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # as decoders, the EXIF parser raises all kinds of errors; the pixels are good
        return image


def _cut(image: Image.Image, side: int, channels: int) -> np.ndarray:
    """Shrink or enlarge so that the short side fits, cut the middle out; (side, side, channels) uint8."""
    image = _plain(image)
    image = image.convert("L" if channels == 1 else "RGB")
    short = min(image.size)
    left, top = (image.width - short) / 2, (image.height - short) / 2
    if image.size != (side, side):
        box = (left, top, left + short, top + short)
        image = image.resize((side, side), Image.Resampling.BICUBIC, box=box, reducing_gap=3.0)
    return np.asarray(image, dtype=np.uint8).reshape(side, side, channels)


def _plain(image: Image.Image) -> Image.Image:
    """Any of Pillow's modes as 8-bit grey or colour without transparency."""
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image)
        low, high = float(values.min()), float(values.max())
        if image.mode == "F" and low >= 0 and high <= 1:
            return Image.fromarray(np.round(values * 255).astype(np.uint8))
        if image.mode == "F" and low >= 0 and high <= 255:
            return Image.fromarray(np.round(values).astype(np.uint8))
        if image.mode == "F" or low < 0 or high > 65535 or high != high:
            raise DataError(f"its pixels reach from {low:g} to {high:g}.", "", "Save it with 8 or 16 bits per channel.")
        return Image.fromarray(bytes_of_16_bit(values))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")


def bytes_of_16_bit(values: np.ndarray) -> np.ndarray:
    """uint8 whose full range is the full range of 16 bits."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 / 257 = 255
