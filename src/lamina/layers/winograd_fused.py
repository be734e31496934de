"""Winograd's convolutions in float32, done at once: a few tiles go through transforms and products in a core's own cache.

Where ``winograd_compiled.py`` transforms all tiles of some images, and leaves the products to PyTorch, points go through memory
twice, in which narrow convolutions spend most of their time. Of wide ones the products are all that counts, their filters leave
no room in the cache, and PyTorch is as quick. The gradient of the image is a convolution itself: of the outputs' gradient, with
the filters turned around.
"""

import ctypes
from math import prod

import torch
from torch import Tensor

EVEN = 16  # what numbers of channels are divisible by
NARROW = 64 * 128  # channels in times channels out, up to which it is the quicker way: their filters take 1.2 MB
_BLOCK = 64  # channels of a block in winograd_fused.cpp
_PARTS = 8  # tasks into which the gradient of the filters is cut at least, so that threads can share it


def narrow(weight: Tensor) -> bool:
    """Whether a convolution by a weight (k, c, 3, 3) is quicker so, in float32."""
    return prod(weight.shape[:2]) <= NARROW


class Fused:
    """The convolutions, from a compiled library. Images are rows (n, h, w, c), float32."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        size, pointer = ctypes.c_int64, ctypes.c_void_p
        for name, takes in {
            "filters": [pointer, size, size, pointer],
            "convolve": [pointer, pointer, *[size] * 4, pointer, size, pointer, pointer],
            "by_filter": [pointer, *[size] * 4, pointer, pointer, size, pointer, size, pointer],
        }.items():
            function = getattr(library, f"fused_{name}")
            function.argtypes, function.restype = [*takes, ctypes.c_int], None

    def forward(self, rows: Tensor, weight: Tensor, pooled: bool = False) -> tuple[Tensor, Tensor | None]:
        """Convolve by a weight (k, c, 3, 3): to (n, h, w, k) and None; or to the largest of each window of 2x2,
        (n, h / 2, w / 2, k) rounded up, and its place there, 0 to 3."""
        sides = (-(-side // 2) if pooled else side for side in rows.shape[1:3])
        out = rows.new_empty(len(rows), *sides, len(weight))
        places = torch.empty_like(out, dtype=torch.uint8) if pooled else None
        self._convolve(rows, None, weight.detach().permute(1, 2, 3, 0), out, places, rows.shape)
        return out, places

    def by_image(self, error: Tensor, places: Tensor | None, rows: Tensor, weight: Tensor) -> Tensor:
        """The gradient of an image, from that of what ``forward`` gave, and its places."""
        out = torch.empty_like(rows)
        self._convolve(error, places, weight.detach().flip(2, 3).permute(0, 2, 3, 1), out, None, rows.shape)
        return out

    def by_weight(self, error: Tensor, places: Tensor | None, rows: Tensor) -> Tensor:
        """The gradient of the weight, (k, c, 3, 3), from an image and the gradient of what ``forward`` gave, and its places."""
        channels, outputs = rows.shape[3], error.shape[3]
        _check(rows, None, rows.shape, channels)
        _check(error, places, rows.shape, outputs)
        blocks = -(-channels // _BLOCK) * -(-outputs // _BLOCK)
        groups = -(-_PARTS // blocks)
        sums, taps = rows.new_empty(groups, 36 * outputs * channels), rows.new_empty(outputs, 3, 3, channels)
        self._library.fused_by_filter(
            rows.data_ptr(), *rows.shape, error.data_ptr(), _address(places), outputs, sums.data_ptr(), groups,
            taps.data_ptr(), torch.get_num_threads(),
        )  # fmt: skip
        return taps.permute(0, 3, 1, 2)

    def _convolve(
        self,
        given: Tensor,
        given_places: Tensor | None,
        taps: Tensor,
        out: Tensor,
        places: Tensor | None,
        whole: torch.Size,
    ) -> None:
        """By taps (c, 3, 3, k), from and to images of the height and width of ``whole``, or what was pooled of such."""
        (channels, *sides, outputs), threads = taps.shape, torch.get_num_threads()
        if taps.dtype != torch.float32 or sides != [3, 3]:
            raise ValueError(f"{taps.dtype} taps {tuple(taps.shape)} for {channels} channels of {tuple(whole)}")
        _check(given, given_places, whole, channels)
        _check(out, places, whole, outputs)
        taps, filters = taps.contiguous(), given.new_empty(36 * channels * outputs)
        self._library.fused_filters(taps.data_ptr(), channels, outputs, filters.data_ptr(), threads)
        self._library.fused_convolve(
            given.data_ptr(), _address(given_places), *whole[:3], channels, filters.data_ptr(), outputs,
            out.data_ptr(), _address(places), threads,
        )  # fmt: skip


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _check(rows: Tensor, places: Tensor | None, whole: torch.Size, channels: int) -> None:
    """Raise ValueError unless all that a function of the library will read and write is there."""
    number, *sides = whole[:3]
    fitting = rows.shape == (number, *(side if places is None else -(-side // 2) for side in sides), channels)
    fitting &= rows.is_contiguous() and rows.dtype == torch.float32 and channels % EVEN == 0
    if places is not None:
        fitting &= places.shape == rows.shape and places.is_contiguous() and places.dtype == torch.uint8
    if not fitting:
        raise ValueError(f"{rows.dtype} {tuple(rows.shape)} for {channels} channels of {tuple(whole)}")
