"""Pixels: arrays of images in, in any of the usual shapes and numbers; the same as bytes, with channels last, out."""

import numpy as np

from lamina.data.decoding import bytes_of_16_bit
from lamina.errors import DataError


def as_bytes(pixels: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Any numbers as uint8, and what was assumed. Raises DataError for a range that is none of an image's."""
    if pixels.ndim not in (3, 4) or not pixels.size or pixels.dtype.kind not in "uifb":
        raise DataError(
            f"an array of shape {pixels.shape} and type {pixels.dtype} was given.",
            "images",
            "Give numbers as (n, height, width), (n, height, width, channels) or (n, channels, height, width).",
        )
    if pixels.dtype == np.uint8:
        return pixels, []
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255, ["Pixels are true or false: taken as white and black."]
    if pixels.dtype == np.uint16:
        return bytes_of_16_bit(pixels), ["16-bit pixels were divided by 257."]
    finite = np.isfinite(pixels).reshape(len(pixels), -1).all(1)
    if not finite.all():
        raise DataError(
            f"{int((~finite).sum())} images hold NaN or infinity.", f"image {int(finite.argmin())}", "Mend."
        )
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 255:
        raise DataError(f"pixels reach from {low:g} to {high:g}.", "images", "Scale them to 0..1 or 0..255.")
    if pixels.dtype.kind == "f" and high <= 1:
        return np.round(pixels * 255).astype(np.uint8), ["Pixels lie in 0..1: taken as black to white."]
    return np.round(pixels).astype(np.uint8), ["Pixels lie in 0..255, rounded to whole numbers."]


def channels_last(pixels: np.ndarray, notes: list[str]) -> np.ndarray:
    """(n, c, h, w) as (n, h, w, c); others as they are. Raises DataError for a number of channels that is none."""
    if pixels.ndim == 4 and pixels.shape[3] not in (1, 3, 4) and pixels.shape[1] in (1, 3, 4):
        notes.append(f"Shape {pixels.shape} was taken as (images, channels, height, width).")
        pixels = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
    if pixels.ndim == 4 and pixels.shape[3] not in (1, 3, 4):
        raise DataError(f"the shape is {pixels.shape}.", "images", "Give 1, 3 or 4 channels, last or second.")
    return pixels


def pictures_of(given: np.ndarray) -> np.ndarray:
    """One picture or several, as they are given for training, as (pictures, height, width[, channels]) uint8.

    Three dimensions of which the last is 1, 3 or 4 are one picture; otherwise they are several grey ones.

    Raises:
        DataError: shapes or ranges that do not fit.
    """
    one = given.ndim == 2 or (given.ndim == 3 and given.shape[2] in (1, 3, 4))
    return channels_last(as_bytes(given[None] if one else given)[0], [])
