"""Memory: what to do when there is not enough, and how not to ask the system for it again at each step."""

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor

from lamina.errors import TrainingError

Result = TypeVar("Result")

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of mallopt(3)
_SIGNS = (
    "can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED",
    "unable to find an engine to execute", "Unable to find a valid cuDNN algorithm",
)  # fmt: skip
"""Of the CPU, on Windows and elsewhere; of Apple's GPU; of CUDA's libraries. The last two are cuDNN's, which tries one way
after the other to compute a convolution, and does not say that each lacked memory."""
_KEPT = 2**31 - 1  # bytes that stay with the process rather than going back to the system
_MOST = 2**25  # bytes up to which the C library lets a block be kept before its version 2.35


@cache
def keep_freed_memory() -> None:
    """Let the C library keep what is freed, up to 2 GiB, instead of returning large blocks to the system at once.

    A training step frees its activations and asks for as many again; each page that the system gives is an interruption, and
    has to be cleared. Only the GNU C library is asked; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            library = ctypes.CDLL(None)
            if library.mallopt(_MMAP_THRESHOLD, _KEPT) or library.mallopt(_MMAP_THRESHOLD, _MOST):
                library.mallopt(_TRIM_THRESHOLD, _KEPT)


def ran_out(error: Exception) -> bool:
    """Whether an error says that memory ran out: on an accelerator, or on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in _SIGNS)


def release(device: torch.device) -> None:
    """Give back what PyTorch, or the C library, keeps for later, so that smaller pieces find room in one stretch."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    elif sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def where_it_fits(work: Callable[[], Result]) -> Result | None:
    """What ``work`` gives, which can be done without: None where memory runs out."""
    try:
        return work()
    except RuntimeError as error:
        if not ran_out(error):
            raise
        return None


def in_pieces(rows: Tensor, size: int, work: Callable[[Tensor], Result], device: torch.device) -> Iterator[Result]:
    """``work`` on ``rows``, ``size`` at a time, in order; where memory runs out, half as many at a time from there on.

    Raises TrainingError when one at a time is too many.
    """
    start = 0
    while start < len(rows):
        try:
            result = work(rows[start : start + size])
        except RuntimeError as error:
            if not ran_out(error):
                raise
            size = halved(min(size, len(rows) - start))
        else:
            yield result
            start += size
            continue
        release(device)  # only here, where the error and what it held are gone


def halved(size: int) -> int:
    """Half of a number of examples that did not fit. Raises TrainingError when it was one."""
    if size <= 1:
        raise TrainingError(
            "a single example does not fit into memory.", "", "Choose a smaller network (--size) or smaller examples."
        )
    return -(-size // 2)


def count_anew(device: torch.device) -> None:
    """Let ``peak`` forget what was held before, where that can be done: on CUDA."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: torch.device) -> int:
    """Bytes held at a time, at most, so far: by this process, or on CUDA by its tensors; 0 where nobody counts."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
