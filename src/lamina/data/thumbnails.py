"""Thumbnails: every picture of some Data, small and grey, for whoever looks at all of them (the audit)."""

import os
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from lamina.data.data import Data
from lamina.data.decoding import ENDINGS, decode
from lamina.errors import DataError

SIDE = 16
"""Pixels of a side of a thumbnail, at most."""
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green, blue: ITU-R BT.601
_last: tuple[weakref.ref[np.ndarray], np.ndarray] | None = None  # one audit asks several times for the same


def pictured(data: Data) -> bool:
    """Whether the examples are pictures: pixels, or paths of image files."""
    if not isinstance(data.raws, np.ndarray) or len(data) == 0:
        return False
    if data.raws.dtype != object:
        return data.raws.dtype == np.uint8 and data.raws.ndim in (3, 4)
    return isinstance(data.raws[0], str) and os.path.splitext(data.raws[0])[1].lower() in ENDINGS


def thumbnails(data: Data) -> np.ndarray:
    """The middle square of every picture, shrunk by area averaging; remembered for the Data last asked for.

    Args:
        data: its examples are pictures, as ``pictured`` says.

    Returns:
        (examples, side, side) float32 from 0 to 255; not-a-number where a picture cannot be read. The side is 16, or that of
        the pictures where they are smaller.
    """
    global _last
    raws = data.raws
    assert isinstance(raws, np.ndarray)
    if _last is None or _last[0]() is not raws:
        made = _of_files(raws) if raws.dtype == object else _of_pixels(raws)
        _last = (weakref.ref(raws), made)
    return _last[1]


def _of_files(paths: np.ndarray) -> np.ndarray:
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        return np.stack(list(workers.map(_of_file, paths)))


def _of_file(path: str) -> np.ndarray:
    """(SIDE, SIDE); a large JPEG is decoded at a fraction of its size."""
    try:
        pixels = decode(path, 2 * SIDE, 1)
    except DataError:
        return np.full((SIDE, SIDE), np.nan, np.float32)
    small: np.ndarray = pixels.reshape(SIDE, 2, SIDE, 2).mean((1, 3), dtype=np.float32)
    return small


def _of_pixels(pixels: np.ndarray) -> np.ndarray:
    side = min(SIDE, *pixels.shape[1:3])
    pieces = []
    for start in range(0, len(pixels), 1024):  # so that the float copy of large pictures need not fit in memory
        piece = pixels[start : start + 1024].astype(np.float32)
        if piece.ndim == 4:
            piece = piece[..., :3] @ _GREY if piece.shape[3] >= 3 else piece[..., 0]
        short = min(piece.shape[1:])
        top, left = (piece.shape[1] - short) // 2, (piece.shape[2] - short) // 2
        piece = np.ascontiguousarray(piece[:, top : top + short, left : left + short])
        pieces.append(adaptive_avg_pool2d(torch.from_numpy(piece)[:, None], side)[:, 0].numpy())
    return np.concatenate(pieces)
