"""Arrays used where they lie on disk: the right values, and from the disk when they are asked for."""

import ctypes
import errno
import mmap
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from lamina.data.mapped import LARGE, fetch, mapped, put_together

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


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory there is")
def test_a_file_may_be_larger_than_memory(tmp_path: Path) -> None:
    told = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    size = 2 * 1024 * sum(int(told[name].split()[0]) for name in ("MemTotal", "SwapTotal"))
    with (tmp_path / "sparse.bin").open("wb") as stream:
        try:
            stream.truncate(size)
        except OSError as error:
            pytest.skip(f"this file system takes no file of {size:,} bytes: {error}")
        stream.seek(size - 1)
        stream.write(b"\7")
    assert mapped(tmp_path / "sparse.bin", np.dtype(np.uint8), (size,))[-2:].tolist() == [0, 7]


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


def test_stretches_are_put_together_in_their_order() -> None:
    asked: list[tuple[int, int]] = []

    def squares(rows: slice) -> np.ndarray:
        asked.append((rows.start, rows.stop))
        return np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] ** 2

    whole = put_together(10, squares, 4)
    assert whole.dtype == np.float32
    assert whole[:, 0].tolist() == [row**2 for row in range(10)]
    assert asked == [(0, 4), (4, 8), (8, 10)]
    assert put_together(0, squares).shape == (0, 1)


def _zeros(rows: slice) -> np.ndarray:
    return np.zeros((rows.stop - rows.start, 1024), np.uint8)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="files cannot reserve room on this system")
def test_a_large_array_lies_aside_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMINA_CACHE", str(tmp_path / "cache"))
    whole = put_together(LARGE // 1024, _zeros)
    assert isinstance(whole.base, np.memmap)
    assert list((tmp_path / "cache").iterdir()) == []
    whole[7] += 1
    assert whole.sum() == 1024


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="files cannot reserve room on this system")
def test_where_the_disk_is_full_a_large_array_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, begin: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("LAMINA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "posix_fallocate", full)
    whole = put_together(LARGE // 1024, _zeros)
    assert whole.base is None
    assert whole.shape == (LARGE // 1024, 1024)
