"""Winograd's convolutions in bfloat16, in which additions of rows are dear and products are not.

What ``winograd.py`` adds up before and after its products is linear along rows and along columns: here each is a product with a
small matrix, one for all tiles of a line. The points are 0, 3/4, -3/4, 3/2, -3/2 and infinity. All coefficients for images are
exact in bfloat16 then, and rounding does half of the harm that it does at 1 and 2 (the choice of points: Barabasz et al. 2020,
arXiv:1803.10986): an error of 1.6 %, where a direct convolution has 0.24 %.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

WIDE = 128  # input channels from which on products cost more than what stands before and after them
FEW = 1 / 2  # tiles for each input channel below which transforming the filters costs more than it saves
P, Q = 3 / 4, 3 / 2
PP, QQ = P * P, Q * Q
_CELLS = [  # B^T of the paper: 6 cells to 6 points
    [PP * QQ, 0, -PP - QQ, 0, 1, 0],
    [0, -P * QQ, -QQ, P, 1, 0],
    [0, P * QQ, -QQ, -P, 1, 0],
    [0, -PP * Q, -PP, Q, 1, 0],
    [0, PP * Q, -PP, -Q, 1, 0],
    [0, PP * QQ, 0, -PP - QQ, 0, 1],
]
_OUTPUTS = [  # A^T: 6 points to 4 outputs
    [1, 1, 1, 1, 1, 0],
    [0, P, -P, Q, -Q, 0],
    [0, PP, PP, QQ, QQ, 0],
    [0, P * PP, -P * PP, Q * QQ, -Q * QQ, 1],
]
_FILTER = [[1 / (PP * QQ), 0, 0]]  # G: powers of a point, over the product of its distances to the others
_FILTER += [[power / (2 * PP * (PP - QQ)) for power in (1, point, PP)] for point in (P, -P)]
_FILTER += [[power / (2 * QQ * (QQ - PP)) for power in (1, point, QQ)] for point in (Q, -Q)]
_FILTER += [[0, 0, 1]]
_FILTERS = torch.kron(*[torch.tensor(_FILTER, dtype=torch.float64)] * 2).float()  # (36, 9)


class Winograd(torch.autograd.Function):
    """A 3x3 convolution of stride 1 and padding 1: a bfloat16 image (n, c, h, w) with a float32 weight (k, c, 3, 3)."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor) -> Tensor:
        """The convolution."""
        rows = image.permute(0, 2, 3, 1)  # (n, h, w, c)
        down, across = (_line(side) for side in rows.shape[1:3])
        with torch.autocast("cpu", enabled=False):  # filters are float32 until they are complete
            taps = torch.matmul(_FILTERS, weight.permute(0, 2, 3, 1).flatten(1, 2))  # (k, 36, c)
            filters = (
                taps.bfloat16().transpose(0, 1).contiguous()
            )  # (36, k, c); products take twice as long with strides
            tiles = _spread(rows, down.cells, across.cells)  # (36, n th tw, c)
            out = _collect(torch.bmm(tiles, filters.mT), len(rows), down.outputs, across.outputs)
        ctx.save_for_backward(image, weight, tiles, filters)
        return out.permute(0, 3, 1, 2).detach()  # no view, so that it may be changed in place

    @staticmethod
    @torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of image and weight: forward's steps transposed, in reverse.

        Where the gradients will be differentiated themselves (penalties of gradients), PyTorch's own way gives them.
        """
        image, weight, tiles, filters = ctx.saved_tensors
        if torch.is_grad_enabled():
            by_image, by_weight = direct_gradients(gradient[0], image, weight.bfloat16())
            return by_image, by_weight.float()
        errors = gradient[0].permute(0, 2, 3, 1)  # (n, h, w, k)
        down, across = (_line(side) for side in errors.shape[1:3])
        points = _spread(errors, down.outputs.T, across.outputs.T)  # (36, n th tw, k)
        filter_gradient = torch.bmm(points.mT, tiles).float().transpose(0, 1)  # (k, 36, c)
        taps = torch.matmul(_FILTERS.T, filter_gradient).view(len(weight), 3, 3, -1)  # (k, 3, 3, c)
        image_gradient = _collect(torch.bmm(points, filters), len(errors), down.cells.T, across.cells.T)
        return image_gradient.permute(0, 3, 1, 2), taps.permute(0, 3, 1, 2)


def direct_gradients(gradient: Tensor, image: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of image and weight by PyTorch's own convolution, which can be differentiated again."""
    one, none = [1, 1], [0, 0]
    by_image, by_weight, _ = torch.ops.aten.convolution_backward(
        gradient, image, weight, None, one, one, one, False, none, 1, [True, True, False]
    )
    return by_image, by_weight


class Line(NamedTuple):
    """What is done along a line of pixels that is cut into t tiles."""

    cells: Tensor
    """(6 t, side): from pixels to the points of each tile."""
    outputs: Tensor
    """(side, 6 t): from the points of each tile to pixels."""


@lru_cache
def _line(side: int) -> Line:
    count = -(-side // 4)
    cells, outputs = torch.zeros(count, 6, 4 * count + 2), torch.zeros(4 * count, count, 6)
    for tile in range(count):
        cells[tile, :, 4 * tile : 4 * tile + 6] = torch.tensor(_CELLS)
        outputs[4 * tile : 4 * tile + 4, tile] = torch.tensor(_OUTPUTS)
    inside = slice(1, side + 1)  # what is padded is zero: its coefficients are left out
    return Line(
        cells.flatten(0, 1)[:, inside].bfloat16().contiguous(), outputs.flatten(1)[:side].bfloat16().contiguous()
    )


def _spread(rows: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Pixels (n, h, w, c) to points (36, n th tw, c), by (6 th, h) and (6 tw, w)."""
    n, h, w, c = rows.shape
    high = torch.matmul(down, rows.reshape(n, h, w * c))  # (n, 6 th, w c)
    both = torch.matmul(across, high.view(-1, w, c))  # (n 6 th, 6 tw, c)
    return both.view(n, len(down) // 6, 6, len(across) // 6, 6, c).permute(2, 4, 0, 1, 3, 5).reshape(36, -1, c)


def _collect(points: Tensor, n: int, down: Tensor, across: Tensor) -> Tensor:
    """Points (36, n th tw, c) to pixels (n, h, w, c), by (h, 6 th) and (w, 6 tw); where tiles overlap they are added."""
    high, wide, c = down.shape[1], across.shape[1], points.shape[2]
    tiles = points.view(6, 6, n, high // 6, wide // 6, c).permute(2, 3, 0, 4, 1, 5).reshape(-1, wide, c)
    lines = torch.matmul(across, tiles)  # (n 6 th, w, c)
    return torch.matmul(down, lines.view(n, high, -1)).view(n, len(down), len(across), c)
