"""Augmentation of pictures together with their boxes, a whole batch at a time, on the device where the batch is.

Pictures are (batch, channels, side, side) floats between 0 and 255; boxes (batch, objects, 6): left, top, right, bottom in
pixels of the picture, class, ignored; with their number per picture, (batch,). Every function draws numbers of its own for each
picture from the generator.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from lamina.layers.boxes import areas

SEEN = 0.3  # share of an object that must be left of it; what shows less is ignored rather than called background
SMALLEST = 2.0  # pixels that a side of a box must have
GREY = 114.0  # what stands where there is no picture


def mirror(pictures: Tensor, boxes: Tensor, widths: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror half of the pictures left and right.

    Args:
        pictures: see above.
        boxes: see above.
        widths: (batch,) of what is shown, in pixels; right of it the picture is empty.
        generator: of the random numbers.
    """
    chosen = torch.rand(len(pictures), generator=generator, device=pictures.device) < 0.5
    side = pictures.shape[3]
    column = torch.arange(side, device=pictures.device)
    source = (widths.round().long()[:, None] - 1 - column).clamp(min=0)  # (batch, side)
    source = torch.where((column < widths[:, None]) & chosen[:, None], source, column)
    turned = pictures.gather(3, source[:, None, None].expand(pictures.shape))
    left, right = widths[:, None] - boxes[..., 2], widths[:, None] - boxes[..., 0]
    other = torch.cat([left[..., None], boxes[..., 1:2], right[..., None], boxes[..., 3:]], 2)
    return turned, torch.where(chosen[:, None, None], other, boxes)


def place(
    pictures: Tensor,
    boxes: Tensor,
    lengths: Tensor,
    extents: Tensor,
    generator: torch.Generator,
    scale: float,
    mosaic: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Put each picture anew on its canvas, larger or smaller and moved; or, as a mosaic, parts of four of them.

    A mosaic (Bochkovskiy et al. 2020, arXiv:2004.10934) shows four pictures around a random point: more objects, smaller
    ones, and in other surroundings.

    Args:
        pictures: see above.
        boxes: see above.
        lengths: (batch,): how many boxes there are.
        extents: (batch, 2): width and height of what is shown, in pixels; the rest of a picture is empty.
        generator: of the random numbers.
        scale: how much smaller or larger a picture becomes at most: from 1 / scale to scale.
        mosaic: chance of a mosaic.

    Returns:
        Pictures, boxes and lengths; up to four times as many boxes.
    """
    batch, _, side, _ = pictures.shape
    device = pictures.device

    def drawn(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(batch, *shape, generator=generator, device=device)

    several = drawn(0, 1) < mosaic
    middle = drawn(0.3, 0.7, 2) * side  # where four pictures meet
    canvas = torch.full_like(pictures, GREY)
    pixel = torch.arange(side, device=device) + 0.5
    axes = torch.arange(2, device=device)
    found, valid = [], []
    for quarter in range(4):
        of = torch.arange(batch, device=device).roll(-quarter)
        shown, extent = pictures[of], extents[of]
        zoom = drawn(-1, 1).mul(math.log(scale)).exp() * torch.where(several, 0.6, 1.0)  # (batch,)
        size = extent * zoom[:, None]
        corner = torch.where(axes == 0, quarter % 2, quarter // 2)  # which corner of the canvas the quarter has
        low = torch.where(several[:, None], middle * corner, 0.0)
        high = torch.where(several[:, None] & (corner == 0), middle, float(side))
        # What is larger than its place may stick out of it, what is smaller stands anywhere in it.
        start = low + (high - low - size) * drawn(0, 1, 2)
        row, column = ((pixel[None] - start[:, axis, None]) / zoom[:, None] for axis in (1, 0))  # (batch, side) each
        grid = torch.stack(
            (column[:, None].expand(-1, side, -1), row[:, :, None].expand(-1, -1, side)), 3
        )  # pixels of the source
        sampled = F.grid_sample(shown, grid * 2 / side - 1, padding_mode="border", align_corners=False)
        inside = ((grid >= 0) & (grid < extent[:, None, None])).all(3)
        here = _between(pixel, low[:, 1], high[:, 1])[:, :, None] & _between(pixel, low[:, 0], high[:, 0])[:, None]
        used = several if quarter else torch.ones_like(several)
        canvas = torch.where((inside & here & used[:, None, None])[:, None], sampled, canvas)
        moved, sound = _moved(boxes[of], zoom, start, low, high)
        found.append(moved)
        valid.append(sound & used[:, None] & (torch.arange(boxes.shape[1], device=device) < lengths[of][:, None]))
    return canvas.contiguous(memory_format=torch.channels_last), *_compact(torch.cat(found, 1), torch.cat(valid, 1))


def _between(pixel: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return (pixel >= low[:, None]) & (pixel < high[:, None])


def _moved(boxes: Tensor, zoom: Tensor, start: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes where they are now, cut at the edges of their part of the canvas; and which of them are still there."""
    whole = boxes[..., :4] * zoom[:, None, None] + start.repeat(1, 2)[:, None]
    limit_low, limit_high = low.repeat(1, 2)[:, None], high.repeat(1, 2)[:, None]
    cut = torch.minimum(torch.maximum(whole, limit_low), limit_high)
    hidden = areas(cut) < SEEN * areas(whole)
    ignored = torch.maximum(boxes[..., 5], hidden.to(boxes.dtype))
    there = ((cut[..., 2:] - cut[..., :2]) >= SMALLEST).all(2)
    return torch.cat([cut, boxes[..., 4:5], ignored[..., None]], 2), there


def _compact(boxes: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """The valid boxes of each picture first, padded with zeros, and how many there are."""
    lengths = valid.sum(1)
    longest = int(lengths.max()) if len(lengths) else 0
    order = (~valid).to(torch.uint8).argsort(dim=1, stable=True)[:, :longest]
    kept = (boxes * valid[..., None]).gather(1, order[..., None].expand(-1, -1, boxes.shape[2]))
    return kept, lengths
