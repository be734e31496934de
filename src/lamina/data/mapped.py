"""Mapped: arrays that are used where they lie on disk, and large ones that are put there for a while.

Gathering from a file that the system has in memory is as quick as from an array (0.24 against 0.22 ms for 3 MB). Where the file
is larger than memory, rows must come from the disk: 64 images came in 6 ms when they were asked for all at once, in 70 ms when
each page was read as it was met, in 420 ms when the system read ahead.
"""

import ctypes
import math
import mmap
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lamina.data.cache import cache_folder

LARGE = 2**22
"""Bytes from which an array of a passing use lies on disk."""
_NORESERVE = 0x4000  # a flag of mmap(2) on Linux, which Python has a name for only in later versions


def mapped(file: Path, dtype: np.dtype, shape: tuple[int, ...], scattered: bool = False) -> Tensor:
    """An array in a file as a tensor; it is copied where it is written to, since PyTorch knows none that cannot be.

    Args:
        file: the values, row by row, and nothing else.
        dtype: of the values.
        shape: of the array.
        scattered: reading ahead is for nothing: rows far apart are wanted, and the file does not fit into memory.
    """
    if not math.prod(shape):
        return torch.from_numpy(np.zeros(shape, dtype))
    with file.open("rb") as stream:
        if sys.platform == "linux":  # it would set memory aside for what might be written, and have not enough of it
            flags, protection = mmap.MAP_PRIVATE | _NORESERVE, mmap.PROT_READ | mmap.PROT_WRITE
            area = mmap.mmap(stream.fileno(), math.prod(shape) * dtype.itemsize, flags, protection)
        else:
            area = mmap.mmap(stream.fileno(), math.prod(shape) * dtype.itemsize, access=mmap.ACCESS_COPY)
    if scattered and hasattr(mmap, "MADV_RANDOM"):
        area.madvise(mmap.MADV_RANDOM)
    return torch.from_numpy(np.frombuffer(area, dtype).reshape(shape))


def fetch(values: Tensor, begins: Tensor, ends: Tensor) -> None:
    """Have the system read stretches of a mapped array from the disk, all at once, while we go on.

    Args:
        values: (rows, ...), mapped.
        begins: (stretches,): first row of each.
        ends: (stretches,): the row behind its last.
    """
    if not hasattr(mmap, "MADV_WILLNEED") or not values.numel():
        return
    width = values[0].nbytes
    first = (values.data_ptr() + begins * width) // mmap.PAGESIZE * mmap.PAGESIZE
    count = values.data_ptr() + ends * width - first
    advise = ctypes.CDLL(None).madvise
    for address, size in zip(first.tolist(), count.tolist(), strict=True):
        advise(ctypes.c_void_p(address), ctypes.c_size_t(size), mmap.MADV_WILLNEED)


def put_together(count: int, work: Callable[[slice], np.ndarray], at_once: int = 2048) -> np.ndarray:
    """What ``work`` makes of so many rows, a stretch of them at a time; a large array lies aside on disk.

    Args:
        count: of rows, in all.
        work: stretch -> (rows of it, ...), of one type and shape.
        at_once: rows of a stretch, at most.
    """
    first = work(slice(0, min(at_once, count)))
    whole = _aside((count, *first.shape[1:]), first.dtype)
    whole[: len(first)] = first
    for start in range(len(first), count, at_once):
        stretch = slice(start, min(start + at_once, count))
        whole[stretch] = work(stretch)
    return whole


def _aside(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A new array for a while. A large one lies in a nameless file in the cache, so that the system can have its memory for
    something else; where the disk has no room, or cannot say, it is in memory."""
    size = math.prod(shape) * dtype.itemsize
    if size >= LARGE and hasattr(os, "posix_fallocate"):
        with suppress(OSError):
            cache_folder().mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=cache_folder()) as file:
                os.posix_fallocate(file.fileno(), 0, size)  # what is written to a mapping must find room
                return np.asarray(np.memmap(file, dtype, "r+", shape=shape))
    return np.empty(shape, dtype)
