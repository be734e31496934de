"""Convolutions of 3x3 with a quarter of the multiplications, for training on the CPU: Winograd's minimal filtering.

F(4x4, 3x3) of Lavin & Gray 2016 (arXiv:1509.09308) computes 4x4 outputs from a tile of 6x6 inputs with one product per
cell, or point: 36 instead of 144. The products of one point are a matrix product over all tiles. Images lie
channels-last, so that a transform is a few additions of long rows; a few images at a time, so that they stay in the cache.

The rounding error is about ten times that of a direct convolution, 1e-6 instead of 1e-7, and far below that of bfloat16, for
which ``winograd_bfloat16.py`` has its own way.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lamina.layers.winograd_bfloat16 import direct_gradients

WIDE = 64  # input channels from which on products cost more than transforms
CACHED = 2**21  # numbers in the tiles of the images that pass through at once: 8 MB, a part of the third-level cache
# G of the paper: the points 0, 1, -1, 2, -2, infinity
_G = [
    [1 / 4, 0, 0],
    [-1 / 6] * 3,
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]
_FILTERS = torch.kron(*[torch.tensor(_G, dtype=torch.float64)] * 2).float()  # (36, 9)
Cells = Sequence[Tensor] | Tensor


class Winograd(torch.autograd.Function):
    """A 3x3 convolution of stride 1 and padding 1, in float32: an image (n, c, h, w) with a weight (k, c, 3, 3)."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor) -> Tensor:
        """The convolution."""
        ctx.save_for_backward(image, weight)
        rows, filters = image.permute(0, 2, 3, 1), _filters(weight)  # (n, h, w, c), (36, k, c)
        out = rows.new_empty(*rows.shape[:3], len(weight))  # (n, h, w, k)
        for some, into in _pieces(max(rows.shape[3], len(weight)), rows, out):
            tiles = _spread_image(some)  # (6, 6, n', th, tw, c)
            points = torch.bmm(_matrices(tiles), filters.mT)  # (36, n' th tw, k)
            _collect(points.view(*tiles.shape[:-1], -1), into)
        return out.permute(0, 3, 1, 2).detach()  # no view, so that it may be changed in place

    @staticmethod
    @torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of image and weight: forward's steps transposed, in reverse. The image's tiles are made anew.

        Where the gradients will be differentiated themselves (penalties of gradients), PyTorch's own way gives them.
        """
        image, weight = ctx.saved_tensors
        if torch.is_grad_enabled():
            return direct_gradients(gradient[0], image, weight)
        rows, errors, filters = image.permute(0, 2, 3, 1), gradient[0].permute(0, 2, 3, 1), _filters(weight)
        image_gradient = torch.empty_like(rows)  # (n, h, w, c)
        filter_gradient = weight.new_zeros(36, *weight.shape[:2])  # (36, k, c)
        for some, error, into in _pieces(max(weight.shape[:2]), rows, errors, image_gradient):
            points = _spread_gradient(error)  # (6, 6, n', th, tw, k)
            filter_gradient.baddbmm_(_matrices(points).mT, _matrices(_spread_image(some)))
            tiles = torch.bmm(_matrices(points), filters)  # (36, n' th tw, c)
            _collect_gradient(tiles.view(*points.shape[:-1], -1), into)
        taps = torch.matmul(_FILTERS.T, filter_gradient.transpose(0, 1)).view(len(weight), 3, 3, -1)  # (k, 3, 3, c)
        return image_gradient.permute(0, 3, 1, 2), taps.permute(0, 3, 1, 2)


def _filters(weight: Tensor) -> Tensor:
    """G g G^T of each filter g: (k, c, 3, 3) to (36, k, c)."""
    return torch.matmul(_FILTERS, weight.permute(0, 2, 3, 1).flatten(1, 2)).transpose(0, 1)


def _matrices(tiles: Tensor) -> Tensor:
    return tiles.view(36, -1, tiles.shape[-1])  # (36, n th tw, c)


def _pieces(width: int, *images: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """So many images at a time that their tiles stay in the cache."""
    count, h, w, _ = images[0].shape
    step = max(1, CACHED // (36 * -(-h // 4) * -(-w // 4) * width))
    return (tuple(each[i : i + step] for each in images) for i in range(0, count, step))


def _spread_image(rows: Tensor) -> Tensor:
    """B^T d B of each tile d of the padded image: (n, h, w, c) to (6, 6, n, th, tw, c).

    Columns are first sorted by their remainder modulo 4, so that equal columns of all tiles lie side by side.
    """
    n, h, w, c = rows.shape
    th, tw = -(-h // 4), -(-w // 4)
    padded = rows.new_zeros(n, 4 * th + 2, 4, tw + 1, c)  # column q, t is the image's 4 t + q - 1
    for q in range(4):
        columns = rows[:, :, (q - 1) % 4 :: 4]
        padded[:, 1 : h + 1, q, q == 0 :][:, :, : columns.shape[2]] = columns
    half, tiles = rows.new_empty(6, n, th, 4, tw + 1, c), rows.new_empty(6, 6, n, th, tw, c)
    _spread([padded[:, i : i + 4 * th - 3 : 4] for i in range(6)], half)
    _spread([half[:, :, :, i % 4, i // 4 :][:, :, :, :tw] for i in range(6)], tiles.unbind(1))
    return tiles


def _collect(points: Tensor, into: Tensor) -> None:
    """A^T p A of each tile's points p: (6, 6, n, th, tw, k), which are used up, into (n, h, w, k)."""
    _, _, n, th, tw, k = points.shape
    half = points.new_empty(4, 6, n, th, tw, k)
    _gather(points, half)
    out = (into if into.shape[1:3] == (4 * th, 4 * tw) else into.new_empty(n, 4 * th, 4 * tw, k)).view(
        n, th, 4, tw, 4, k
    )
    _gather(half.unbind(1), out.permute(4, 2, 0, 1, 3, 5))
    if out.data_ptr() != into.data_ptr():
        into.copy_(out.view(n, 4 * th, 4 * tw, k)[:, : into.shape[1], : into.shape[2]])


def _spread_gradient(error: Tensor) -> Tensor:
    """A e A^T of each tile e, _collect transposed: (n, h, w, k) to (6, 6, n, th, tw, k)."""
    n, h, w, k = error.shape
    th, tw = -(-h // 4), -(-w // 4)
    error = functional.pad(error, (0, 0, 0, 4 * tw - w, 0, 4 * th - h)) if h % 4 or w % 4 else error
    half, points = error.new_empty(6, 4, n, th, tw, k), error.new_empty(6, 6, n, th, tw, k)
    _gather_transposed(error.reshape(n, th, 4, tw, 4, k).permute(4, 2, 0, 1, 3, 5), half)
    _gather_transposed(half.unbind(1), points)
    return points


def _collect_gradient(tiles: Tensor, into: Tensor) -> None:
    """B t B^T of each t, added where tiles overlap, _spread_image transposed; t is used up, into is (n, h, w, c)."""
    _, _, n, th, tw, c = tiles.shape
    half, out = tiles.new_empty(6, n, th + 1, 4, tw, c), tiles.new_empty(n, th + 1, 4, tw + 1, 4, c)
    half[:, :, th], out[:, :, :, tw] = 0, 0
    _spread_transposed(tiles, [half[:, :, :th, i] for i in range(4)], [half[:, :, 1:, i] for i in (0, 1)])
    _spread_transposed(half, [out[..., :tw, i, :] for i in range(4)], [out[..., 1:, i, :] for i in (0, 1)])
    into.copy_(out.view(n, 4 * th + 4, 4 * tw + 4, c)[:, 1 : into.shape[1] + 1, 1 : into.shape[2] + 1])


def _spread(d: Cells, out: Cells) -> None:
    """B^T along one axis: 6 cells to 6 points."""
    torch.add(d[4], d[2], alpha=-5, out=out[0]).add_(d[0], alpha=4)
    _butterfly(torch.add(d[4], d[2], alpha=-4, out=out[1]), torch.add(d[3], d[1], alpha=-4, out=out[2]))
    _butterfly(torch.sub(d[4], d[2], out=out[3]), torch.sub(d[3], d[1], out=out[4]), 2)
    torch.add(d[5], d[3], alpha=-5, out=out[5]).add_(d[1], alpha=4)


def _gather(p: Cells, out: Cells) -> None:
    """A^T along one axis: 6 points, which are used up, to 4 outputs."""
    _butterfly(p[1], p[2])
    _butterfly(p[3], p[4])
    torch.add(p[0].add_(p[1]), p[3], out=out[0])
    torch.add(p[2], p[4], alpha=2, out=out[1])
    torch.add(p[1], p[3], alpha=4, out=out[2])
    torch.add(p[5].add_(p[2]), p[4], alpha=8, out=out[3])


def _gather_transposed(e: Cells, out: Cells) -> None:
    """A along one axis: 4 outputs' gradients to 6 points'."""
    out[0].copy_(e[0])
    _butterfly(torch.add(e[0], e[2], out=out[1]), torch.add(e[1], e[3], out=out[2]))
    _butterfly(torch.add(e[0], e[2], alpha=4, out=out[3]), torch.add(e[1], e[3], alpha=4, out=out[4]), 2)
    out[5].copy_(e[3])


def _spread_transposed(p: Cells, out: Sequence[Tensor], over: Sequence[Tensor]) -> None:
    """B along one axis: 6 points, which are used up, to 4 cells, and 2 that are added to the next tile's first."""
    _butterfly(p[1], p[2])  # s, r: sum and difference
    _butterfly(p[3], p[4])  # t, q
    torch.mul(p[0], 4, out=out[0])
    p[2].add_(p[4], alpha=2)  # r + 2 q
    torch.add(p[2], p[5], alpha=-5, out=out[3])
    torch.add(p[4].mul_(6), torch.sub(p[5], p[2], out=p[2]), alpha=4, out=out[1])  # -4 r - 2 q + 4 p5
    over[0].add_(p[3].add_(p[1]).add_(p[0]))  # p0 + s + t
    torch.add(p[3].neg_().sub_(p[0], alpha=4), p[1], alpha=-3, out=out[2])  # -5 p0 - 4 s - t
    over[1].add_(p[5])


def _butterfly(a: Tensor, b: Tensor, scale: int = 1) -> None:
    """From a, b to a + scale b, a - scale b."""
    torch.add(a.add_(b, alpha=scale), b, alpha=-2 * scale, out=b)
