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
        return self._call("spread", kind, rows, points, points)

    def collect(self, kind: str, points: Tensor, rows: Tensor) -> Tensor:
        """Points to rows, the other way round. Gives ``rows``."""
        return self._call("collect", kind, rows, points, rows)

    def _call(self, verb: str, kind: str, rows: Tensor, points: Tensor, into: Tensor) -> Tensor:
        sizes = (len(rows), rows.shape[3]) if kind == "taps" else tuple(rows.shape)
        places = len(rows) if kind == "taps" else len(rows) * _tiles(rows)
        fitting = points.shape == (36, places, rows.shape[3]) and rows.is_contiguous() and points.is_contiguous()
        alike = rows.dtype == (torch.float32 if kind == "taps" else points.dtype)
        if not (fitting and alike and rows.shape[3] % EVEN == 0):
            raise ValueError(f"{kind} {rows.dtype} {tuple(rows.shape)} and {points.dtype} {tuple(points.shape)}")
        given = points if into is rows else rows
        function = getattr(self._library, f"{verb}_{kind}_{_NAMES[points.dtype]}")
        function(given.data_ptr(), *sizes, into.data_ptr(), torch.get_num_threads())
        return into


class Winograd(torch.autograd.Function):
    """A 3x3 convolution of stride 1 and padding 1: an image (n, c, h, w), float32 or bfloat16, with a float32 weight
    (k, c, 3, 3); c and k are divisible by 32."""

    @staticmethod
    @torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, image: Tensor, weight: Tensor, kernels: Kernels) -> Tensor:
        """The convolution.

        In bfloat16 the image's tiles are kept for the gradient of the weight: that is 2 to 5 % quicker, for 2.25 times the
        image's memory. In float32, where it is hardly quicker, they are made anew.
        """
        rows = image.permute(0, 2, 3, 1).contiguous()  # (n, h, w, c)
        taps = weight.detach().permute(0, 2, 3, 1).contiguous()  # (k, 3, 3, c)
        filters = kernels.spread("taps", taps, rows.new_empty(36, len(taps), taps.shape[3]))
        out, kept = rows.new_empty(*rows.shape[:3], len(taps)), []  # (n, h, w, k)
        for some, into in _pieces(rows, out):
            tiles = kernels.spread("pixels", some, _points(some))
            kernels.collect("outputs", torch.bmm(tiles, filters.mT), into)
            if image.dtype == torch.bfloat16 and ctx.needs_input_grad[1]:
                kept.append(tiles)
        ctx.kernels = kernels
        ctx.save_for_backward(image, weight, filters, *kept)
        return out.permute(0, 3, 1, 2).detach()  # no view, so that it may be changed in place

    @staticmethod
    @torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """The gradients of image and weight: forward's steps transposed, in reverse.

        Where the gradients will be differentiated themselves (penalties of gradients), PyTorch's own way gives them.
        """
        image, weight, filters, *kept = ctx.saved_tensors
        if torch.is_grad_enabled():
            by_image, by_weight = direct_gradients(gradient[0], image, weight.to(image.dtype))
            return by_image, by_weight.float(), None
        kernels, (image_asked, weight_asked, _) = ctx.kernels, ctx.needs_input_grad
        rows, errors = (
            each.permute(0, 2, 3, 1).contiguous() for each in (image, gradient[0])
        )  # (n, h, w, c), (n, h, w, k)
        out = torch.empty_like(rows)
        by_filter: Tensor | None = None  # (36, k, c)
        for place, (row, error, into) in enumerate(_pieces(rows, errors, out)):
            points = kernels.spread("outputs", error, _points(error))
            if weight_asked:
                tiles = kept[place] if kept else kernels.spread("pixels", row, _points(row))
                product = torch.bmm(points.mT, tiles)
                by_filter = product if by_filter is None else by_filter.float().add_(product)
            if image_asked:
                kernels.collect("pixels", torch.bmm(points, filters), into)
        image_gradient = out.permute(0, 3, 1, 2) if image_asked else None
        if by_filter is None:
            return image_gradient, None, None
        taps = kernels.collect("taps", by_filter, weight.new_empty(len(weight), 3, 3, weight.shape[1]))
        return image_gradient, taps.permute(0, 3, 1, 2), None


def _tiles(rows: Tensor) -> int:
    """Of an image."""
    return -(-rows.shape[1] // 4) * -(-rows.shape[2] // 4)


def _points(rows: Tensor) -> Tensor:
    return rows.new_empty(36, len(rows) * _tiles(rows), rows.shape[3])


def _pieces(*images: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """So many images at a time that their tiles stay in the cache."""
    step = max(1, PIECE[images[0].dtype] // _tiles(images[0]))
    return zip(*(torch.split(each, step) for each in images), strict=True)
