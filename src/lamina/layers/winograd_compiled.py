"""Winograd's convolutions whose transforms are compiled: each reads its input once and writes its output once.

Done by PyTorch's operations, as in ``winograd.py`` and ``winograd_bfloat16.py``, transforms go through memory many times, and
take longer than the products between them. ``native.py`` compiles those of ``winograd.cpp``, where the machine has a compiler.
"""

import ctypes
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from lamina.layers.winograd_bfloat16 import direct_gradients

EVEN = 32  # what numbers of channels are divisible by
FEW = 1 / 16  # tiles for each input channel below which transforming the filters costs more than it saves
FILLED = 8  # pixels of the image for each tile, of 16, below which no products are saved
PIECE = {torch.float32: 512, torch.bfloat16: 1024}  # tiles that pass through at once, while they are in the cache
_NAMES = {torch.float32: "float", torch.bfloat16: "bfloat16"}


class Kernels:
    """The transforms, from a compiled library. Images are rows (n, h, w, c), points (36, n th tw, c)."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        sizes, pointer = ctypes.c_int64, ctypes.c_void_p
        for name in _NAMES.values():
            for kind, count in (("pixels", 4), ("outputs", 4), ("taps", 2)):
                for verb in ("spread", "collect"):
                    function = getattr(library, f"{verb}_{kind}_{name}")
                    function.argtypes = [pointer, *[sizes] * count, pointer, ctypes.c_int]
                    function.restype = None

    def __deepcopy__(self, _: Any) -> "Kernels":
        return self

    def spread(self, kind: str, rows: Tensor, points: Tensor) -> Tensor:
        """Rows to points, of ``pixels`` or of ``outputs``; or of ``taps``: (k, 3, 3, c) to (36, k, c). Gives ``points``."""
        sizes = (len(rows), rows.shape[3]) if kind == "taps" else rows.shape
        self._call(f"spread_{kind}", points.dtype, rows, sizes, points)
        return points

    def collect(self, kind: str, points: Tensor, rows: Tensor) -> Tensor:
        """Points to rows, the other way round. Gives ``rows``."""
        sizes = (len(rows), rows.shape[3]) if kind == "taps" else rows.shape
        self._call(f"collect_{kind}", points.dtype, points, sizes, rows)
        return rows

    def _call(self, name: str, dtype: torch.dtype, given: Tensor, sizes: tuple[int, ...], into: Tensor) -> None:
        assert given.is_contiguous()
        assert into.is_contiguous()
        function = getattr(self._library, f"{name}_{_NAMES[dtype]}")
        function(given.data_ptr(), *sizes, into.data_ptr(), torch.get_num_threads())


class Winograd(torch.autograd.Function):
    """A 3x3 convolution of stride 1 and padding 1: an image (n, c, h, w), float32 or bfloat16, with a float32 weight
    (k, c, 3, 3); c and k are divisible by 32."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, kernels: Kernels) -> Tensor:
        """The convolution."""
        rows = image.permute(0, 2, 3, 1).contiguous()  # (n, h, w, c)
        taps = weight.detach().permute(0, 2, 3, 1).contiguous()  # (k, 3, 3, c)
        filters = kernels.spread("taps", taps, rows.new_empty(36, len(taps), taps.shape[3]))
        out, kept = rows.new_empty(*rows.shape[:3], len(taps)), []  # (n, h, w, k)
        with torch.autocast("cpu", enabled=False):
            for some, into in _pieces(rows, out):
                tiles = kernels.spread("pixels", some, _points(some, taps.shape[3]))
                kernels.collect("outputs", torch.bmm(tiles, filters.mT), into)
                kept.append(tiles)
        ctx.kernels = kernels
        ctx.save_for_backward(image, weight, filters, *kept)
        return out.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        """The gradients of image and weight: forward's steps transposed, in reverse.

        Where the gradients will be differentiated themselves (penalties of gradients), PyTorch's own way gives them.
        """
        image, weight, filters, *kept = ctx.saved_tensors
        if torch.is_grad_enabled():
            by_image, by_weight = direct_gradients(gradient[0], image, weight.to(image.dtype))
            return by_image, by_weight.float(), None
        kernels, errors = ctx.kernels, gradient[0].permute(0, 2, 3, 1).contiguous()  # (n, h, w, k)
        out = errors.new_empty(*errors.shape[:3], weight.shape[1])  # (n, h, w, c)
        by_filter: Tensor | None = None  # (36, k, c)
        for tiles, (some, into) in zip(kept, _pieces(errors, out), strict=True):
            points = kernels.spread("outputs", some, _points(some, len(weight)))
            product = torch.bmm(points.mT, tiles)
            by_filter = product if by_filter is None else by_filter.float().add_(product)
            kernels.collect("pixels", torch.bmm(points, filters), into)
        assert by_filter is not None
        taps = kernels.collect("taps", by_filter, weight.new_empty(len(weight), 3, 3, weight.shape[1]))
        return out.permute(0, 3, 1, 2), taps.permute(0, 3, 1, 2), None


def _tiles(rows: Tensor) -> int:
    """Of an image."""
    return -(-rows.shape[1] // 4) * -(-rows.shape[2] // 4)


def _points(rows: Tensor, channels: int) -> Tensor:
    return rows.new_empty(36, len(rows) * _tiles(rows), channels)


def _pieces(*images: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """So many images at a time that their tiles stay in the cache."""
    step = max(1, PIECE[images[0].dtype] // _tiles(images[0]))
    return zip(*(torch.split(each, step) for each in images), strict=True)
