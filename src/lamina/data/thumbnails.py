"""Thumbnails: every picture of some Data, small and grey, for whoever looks at all of them (the audit)."""

import os
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d, grid_sample

from lamina.data.data import Data
from lamina.data.decoding import ENDINGS, decode
from lamina.errors import DataError

SIDE = 16
"""Pixels of a side of a thumbnail, at most."""
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green, blue: ITU-R BT.601
_last: tuple[weakref.ref[np.ndarray], np.ndarray, np.ndarray] | None = None  # one audit asks several times for the same


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
    return _looked_at(data)[0]


def zoomed(data: Data, share: float) -> np.ndarray:
    """The same of pictures of which ``share`` of the width and of the height was cut off, equally on all sides."""
    small, larger = _looked_at(data)
    side = small.shape[1]
    places = (1 - share) * (2 * np.arange(2 * side, dtype=np.float32) + 1 - 2 * side) / (2 * side)
    grid = torch.from_numpy(np.stack(np.meshgrid(places, places), 2))[None]
    pieces = []
    for start in range(0, len(larger), 1024):
        piece = torch.from_numpy(larger[start : start + 1024].astype(np.float32))[:, None]
        seen = grid_sample(piece, grid.expand(len(piece), -1, -1, -1), padding_mode="border", align_corners=False)
        pieces.append(adaptive_avg_pool2d(seen, side)[:, 0].numpy())
    found = np.concatenate(pieces)
    found[np.isnan(small).any((1, 2))] = np.nan
    return found


def _looked_at(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """The thumbnails, and the same up to twice as large, uint8."""
    global _last
    raws = data.raws
    assert isinstance(raws, np.ndarray)
    if _last is None or _last[0]() is not raws:
        _last = (weakref.ref(raws), *(_of_files(raws) if raws.dtype == object else _of_pixels(raws)))
    return _last[1], _last[2]


def _of_files(paths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        larger = list(workers.map(_of_file, paths))
    small = np.full((len(paths), SIDE, SIDE), np.nan, np.float32)
    for row, one in enumerate(larger):
        if one is not None:
            small[row] = one.reshape(SIDE, 2, SIDE, 2).mean((1, 3), dtype=np.float32)
    blank = np.zeros((2 * SIDE, 2 * SIDE), np.uint8)
    return small, np.stack([blank if one is None else one for one in larger])


def _of_file(path: str) -> np.ndarray | None:
    """(2 * SIDE, 2 * SIDE) uint8; a large JPEG is decoded at a fraction of its size. None where it cannot be read."""
    try:
        return decode(path, 2 * SIDE, 1).reshape(2 * SIDE, 2 * SIDE)
    except DataError:
        return None


def _of_pixels(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    side, double = (min(most, *pixels.shape[1:3]) for most in (SIDE, 2 * SIDE))
    small, larger = [], []
    for start in range(0, len(pixels), 1024):  # so that the float copy of large pictures need not fit in memory
        piece = pixels[start : start + 1024].astype(np.float32)
        if piece.ndim == 4:
            piece = piece[..., :3] @ _GREY if piece.shape[3] >= 3 else piece[..., 0]
        short = min(piece.shape[1:])
        top, left = (piece.shape[1] - short) // 2, (piece.shape[2] - short) // 2
        piece = np.ascontiguousarray(piece[:, top : top + short, left : left + short])
        seen = torch.from_numpy(piece)[:, None]
        small.append(adaptive_avg_pool2d(seen, side)[:, 0].numpy())
        larger.append(adaptive_avg_pool2d(seen, double)[:, 0].round().byte().numpy())
    return np.concatenate(small), np.concatenate(larger)
