"""Winograd's convolutions whose transforms are compiled: each reads its input once and writes its output once.

Done by PyTorch's operations, as in ``winograd.py`` and ``winograd_bfloat16.py``, transforms go through memory many times, and
take longer than the products between them. ``native.py`` compiles those of ``winograd.cpp``, where the machine has a compiler,
and, for narrow convolutions in float32, transforms and products together (``winograd_fused.py``).
"""

import ctypes
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lamina.layers.winograd_bfloat16 import direct_gradients
from lamina.layers.winograd_fused import Fused, narrow

EVEN = 32  # what numbers of channels are divisible by
FEW = 1 / 16  # tiles for each input channel below which transforming the filters costs more than it saves
FILLED = 8  # pixels of the image for each tile, of 16, below which no products are saved
PIECE = {torch.float32: 512, torch.bfloat16: 1024}  # tiles that pass through at once, while they are in the cache
_NAMES = {torch.float32: "float", torch.bfloat16: "bfloat16"}


class Kernels:
    """The transforms, from a compiled library, and those with products between them, from another. Images are rows
    (n, h, w, c), points (36, n th tw, c)."""

    def __init__(self, library: ctypes.CDLL, fused: ctypes.CDLL) -> None:
        self._library, self.fused = library, Fused(fused)
        size, pointer = ctypes.c_int64, ctypes.c_void_p
        takes: dict[str, list[type]] = {"pixels": [size] * 4, "outputs": [size] * 4, "taps": [size] * 2}
        takes["pooled"] = [*takes["outputs"], pointer]
        for name in _NAMES.values():
            for kind, between in takes.items():
                for verb in ("spread", "collect"):
                    function = getattr(library, f"{verb}_{kind}_{name}")
                    function.argtypes = [pointer, *between, pointer, ctypes.c_int]
                    function.restype = None

    def __deepcopy__(self, _: Any) -> "Kernels":
        return self

    def spread(self, kind: str, rows: Tensor, points: Tensor) -> Tensor:
        """Rows to points, of ``pixels`` or of ``outputs``; or of ``taps``: (k, 3, 3, c) to (36, k, c). Gives ``points``."""
        self._call("spread", kind, rows, points)
        return points

    def collect(self, kind: str, points: Tensor, rows: Tensor) -> Tensor:
        """Points to rows, the other way round. Gives ``rows``."""
        self._call("collect", kind, rows, points)
        return rows

    def spread_pooled(self, pooled: Tensor, places: Tensor, image: Tensor, points: Tensor) -> Tensor:
        """What ``collect_pooled`` gave put back into its places, all others zero, to points. Gives ``points``."""
        self._call("spread", "pooled", pooled, points, places, image)
        return points

    def collect_pooled(self, points: Tensor, pooled: Tensor, places: Tensor, image: Tensor) -> Tensor:
        """Points to the largest output of each window of 2x2, (n, h / 2, w / 2, c) rounded up, and its place there, 0 to 3.

        ``image`` is that from which the points came, (n, h, w, any channels). Gives ``pooled``.
        """
        self._call("collect", "pooled", pooled, points, places, image)
        return pooled

    def _call(
        self,
        verb: str,
        kind: str,
        rows: Tensor,
        points: Tensor,
        places: Tensor | None = None,
        image: Tensor | None = None,
    ) -> None:
        """Call a function of the library, if all it will read and write is there."""
        channels = rows.shape[3]
        whole = rows if image is None else image
        sizes = (len(rows), channels) if kind == "taps" else (*whole.shape[:3], channels)
        each = 1 if kind == "taps" else _tiles(whole)
        fitting = points.shape == (36, len(rows) * each, channels) and rows.is_contiguous() and points.is_contiguous()
        alike = rows.dtype == (torch.float32 if kind == "taps" else points.dtype)
        if places is not None:
            fitting &= rows.shape[:3] == (len(whole), -(-whole.shape[1] // 2), -(-whole.shape[2] // 2))
            fitting &= places.shape == rows.shape and places.is_contiguous()
            alike &= places.dtype == torch.uint8
        if not (fitting and alike and channels % EVEN == 0):
            raise ValueError(f"{kind} {rows.dtype} {tuple(rows.shape)} and {points.dtype} {tuple(points.shape)}")
        given, into = (rows, points) if verb == "spread" else (points, rows)
        function = getattr(self._library, f"{verb}_{kind}_{_NAMES[points.dtype]}")
        between = () if places is None else (places.data_ptr(),)
        function(given.data_ptr(), *sizes, *between, into.data_ptr(), torch.get_num_threads())


class Winograd(torch.autograd.Function):
    """A 3x3 convolution of stride 1 and padding 1: an image (n, c, h, w), float32 or bfloat16, with a float32 weight
    (k, c, 3, 3); c and k are divisible by 32, or 16 where all is done at once (``winograd_fused.py``). A max pooling of 2x2 can
    follow, which counts half windows as whole ones."""

    @staticmethod
    @torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, image: Tensor, weight: Tensor, kernels: Kernels, pooled: bool = False) -> Tensor:
        """The convolution.

        In bfloat16 the image's tiles are kept for the gradient of the weight: that is 2 to 5 % quicker, for 2.25 times the
        image's memory. In float32, where it is hardly quicker, they are made anew.
        """
        rows = image.permute(0, 2, 3, 1).contiguous()  # (n, h, w, c)
        ctx.kernels = kernels
        if image.dtype == torch.float32 and narrow(weight):
            out, places = kernels.fused.forward(rows, weight, pooled)
            ctx.save_for_backward(image, weight, None, places)
            return out.permute(0, 3, 1, 2).detach()  # no view, so that it may be changed in place
        taps = weight.detach().permute(0, 2, 3, 1).contiguous()  # (k, 3, 3, c)
        filters = kernels.spread("taps", taps, rows.new_empty(36, len(taps), taps.shape[3]))
        sides = (-(-side // 2) for side in rows.shape[1:3]) if pooled else rows.shape[1:3]
        out, kept = rows.new_empty(len(rows), *sides, len(taps)), []  # (n, h, w, k), pooled (n, h / 2, w / 2, k)
        places = torch.empty_like(out, dtype=torch.uint8) if pooled else None
        for some, into, *at in _pieces(rows, out, *([places] if places is not None else [])):
            tiles = kernels.spread("pixels", some, _points(some, some.shape[3]))
            points = torch.bmm(tiles, filters.mT)
            if pooled:
                kernels.collect_pooled(points, into, at[0], some)
            else:
                kernels.collect("outputs", points, into)
            if image.dtype == torch.bfloat16 and ctx.needs_input_grad[1]:
                kept.append(tiles)
        ctx.save_for_backward(image, weight, filters, places, *kept)
        return out.permute(0, 3, 1, 2).detach()

    @staticmethod
    @torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """The gradients of image and weight: forward's steps transposed, in reverse.

        Where the gradients will be differentiated themselves (penalties of gradients), PyTorch's own way gives them.
        """
        image, weight, filters, places, *kept = ctx.saved_tensors
        if torch.is_grad_enabled():
            whole = gradient[0] if places is None else _put_back(gradient[0], places.permute(0, 3, 1, 2), image)
            by_image, by_weight = direct_gradients(whole, image, weight.to(image.dtype))
            return by_image, by_weight.float(), None, None
        kernels, (image_asked, weight_asked, *_) = ctx.kernels, ctx.needs_input_grad
        rows, errors = (
            each.permute(0, 2, 3, 1).contiguous() for each in (image, gradient[0])
        )  # (n, h, w, c), (n, h, w, k) or pooled
        if filters is None:
            done = kernels.fused
            return (
                done.by_image(errors, places, rows, weight).permute(0, 3, 1, 2) if image_asked else None,
                done.by_weight(errors, places, rows) if weight_asked else None,
                None,
                None,
            )
        out = torch.empty_like(rows)
        by_filter: Tensor | None = None  # (36, k, c)
        for place, (row, error, into, *at) in enumerate(
            _pieces(rows, errors, out, *([places] if places is not None else []))
        ):
            points = _points(row, len(weight))
            if at:
                kernels.spread_pooled(error, at[0], row, points)
            else:
                kernels.spread("outputs", error, points)
            if weight_asked:
                tiles = kept[place] if kept else kernels.spread("pixels", row, _points(row, row.shape[3]))
                product = torch.bmm(points.mT, tiles)
                by_filter = product if by_filter is None else by_filter.float().add_(product)
            if image_asked:
                kernels.collect("pixels", torch.bmm(points, filters), into)
        image_gradient = out.permute(0, 3, 1, 2) if image_asked else None
        if by_filter is None:
            return image_gradient, None, None, None
        taps = kernels.collect("taps", by_filter, weight.new_empty(len(weight), 3, 3, weight.shape[1]))
        return image_gradient, taps.permute(0, 3, 1, 2), None, None


def _put_back(pooled: Tensor, places: Tensor, image: Tensor) -> Tensor:
    """Pooled values, (n, k, h / 2, w / 2), in their places of an image's size, all others zero."""
    each = torch.stack([torch.where(places == place, pooled, 0) for place in range(4)], 2)  # (n, k, 4, h / 2, w / 2)
    return functional.pixel_shuffle(each.flatten(1, 2), 2)[..., : image.shape[2], : image.shape[3]]


def _tiles(rows: Tensor) -> int:
    """Of an image."""
    return -(-rows.shape[1] // 4) * -(-rows.shape[2] // 4)


def _points(rows: Tensor, channels: int) -> Tensor:
    """Room for those of an image, with so many channels."""
    return rows.new_empty(36, len(rows) * _tiles(rows), channels)


def _pieces(*images: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """So many images at a time that their tiles stay in the cache."""
    step = max(1, PIECE[images[0].dtype] // _tiles(images[0]))
    return zip(*(torch.split(each, step) for each in images), strict=True)
