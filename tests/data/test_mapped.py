"""Arrays used where they lie on disk: the right values, and from the disk when they are asked for."""

import ctypes
import mmap
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from lamina.data.mapped import fetch, mapped

PAGES = 64


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A page of zeros, one of ones, ..."""
    file = tmp_path / "pages.bin"
    np.repeat(np.arange(PAGES, dtype=np.uint8), mmap.PAGESIZE).tofile(file)
    return file


@pytest.mark.parametrize("scattered", [False, True])
def test_a_file_is_a_tensor_and_stays_as_it_is(file: Path, scattered: bool) -> None:
    pages = mapped(file, np.dtype(np.uint8), (PAGES, mmap.PAGESIZE), scattered)
    assert pages[:, -1].tolist() == list(range(PAGES))
    pages[3] = 9
    assert mapped(file, np.dtype(np.uint8), (PAGES, mmap.PAGESIZE))[3, 0] == 3


def test_nothing_is_an_array_too(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    nothing = mapped(tmp_path / "empty", np.dtype(np.float32), (0, 3))
    assert nothing.shape == (0, 3)
    fetch(nothing, torch.tensor([0]), torch.tensor([0]))


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what lies in memory")
def test_rows_that_are_asked_for_come_and_no_others(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    half = mmap.PAGESIZE // 2
    rows = mapped(file, np.dtype(np.uint8), (2 * PAGES, half), scattered=True)
    if in_memory(rows):
        pytest.skip("this disk is memory")
    fetch(rows, torch.tensor([3, 90]), torch.tensor([6, 91]))  # half of page 1 and all of page 2; half of page 45
    limit = time.monotonic() + 10
    while in_memory(rows) != [1, 2, 45] and time.monotonic() < limit:
        time.sleep(0.01)
    assert in_memory(rows) == [1, 2, 45]


def in_memory(rows: torch.Tensor) -> list[int]:
    """The pages of a mapped file that the system has in memory."""
    told = (ctypes.c_ubyte * PAGES)()
    address, size = ctypes.c_void_p(rows.data_ptr()), ctypes.c_size_t(PAGES * mmap.PAGESIZE)
    assert ctypes.CDLL(None).mincore(address, size, told) == 0
    return [page for page, there in enumerate(told) if there & 1]
