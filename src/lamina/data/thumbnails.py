"""Thumbnails: every picture of some Data, small and grey, for whoever looks at all of them (the audit)."""

import os
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d, grid_sample

from lamina.data.data import Data
from lamina.data.decoding import ENDINGS, decode
from lamina.data.mapped import put_together
from lamina.errors import DataError

SIDE = 16
"""Pixels of a side of a thumbnail, at most."""
_AT_ONCE = 1024  # so that the float copy of large pictures need not fit in memory
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

    def cut(rows: slice) -> np.ndarray:
        piece = torch.from_numpy(larger[rows].astype(np.float32))[:, None]
        seen = grid_sample(piece, grid.expand(len(piece), -1, -1, -1), padding_mode="border", align_corners=False)
        found = adaptive_avg_pool2d(seen, side)[:, 0].numpy()
        found[np.isnan(small[rows]).any((1, 2))] = np.nan
        return found

    return put_together(len(larger), cut, _AT_ONCE)


def forget() -> None:
    """Let go of what was remembered."""
    global _last
    _last = None


def _looked_at(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """The thumbnails, and the same up to twice as large, uint8."""
    global _last
    raws = data.raws
    assert isinstance(raws, np.ndarray)
    if _last is None or _last[0]() is not raws:
        unread: list[int] = []
        look = partial(_of_files, raws, unread) if raws.dtype == object else partial(_of_pixels, raws)
        larger = put_together(len(raws), look, _AT_ONCE)
        side = min(SIDE, *larger.shape[1:])

        def shrunk(rows: slice) -> np.ndarray:
            return adaptive_avg_pool2d(torch.from_numpy(larger[rows]).float()[:, None], side)[:, 0].numpy()

        small = put_together(len(raws), shrunk, _AT_ONCE)
        small[unread] = np.nan
        _last = weakref.ref(raws), small, larger
    return _last[1], _last[2]


def _of_files(paths: np.ndarray, unread: list[int], rows: slice) -> np.ndarray:
    """(rows, 2 * SIDE, 2 * SIDE) uint8; what cannot be read is black, and noted."""
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        found = list(workers.map(_of_file, paths[rows]))
    unread += [rows.start + row for row, one in enumerate(found) if one is None]
    black = np.zeros((2 * SIDE, 2 * SIDE), np.uint8)
    return np.stack([black if one is None else one for one in found])


def _of_file(path: str) -> np.ndarray | None:
    """(2 * SIDE, 2 * SIDE) uint8; a large JPEG is decoded at a fraction of its size. None where it cannot be read."""
    try:
        return decode(path, 2 * SIDE, 1).reshape(2 * SIDE, 2 * SIDE)
    except DataError:
        return None


def _of_pixels(pixels: np.ndarray, rows: slice) -> np.ndarray:
    """(rows, side, side) uint8, side at most 2 * SIDE."""
    piece = pixels[rows].astype(np.float32)
    if piece.ndim == 4:
        piece = piece[..., :3] @ _GREY if piece.shape[3] >= 3 else piece[..., 0]
    short = min(piece.shape[1:])
    top, left = (piece.shape[1] - short) // 2, (piece.shape[2] - short) // 2
    square = torch.from_numpy(np.ascontiguousarray(piece[:, top : top + short, left : left + short]))
    return adaptive_avg_pool2d(square[:, None], min(2 * SIDE, short))[:, 0].round().byte().numpy()
