"""Assignment: which cells of a detector answer for which object, and how surely.

In go a detector's boxes and logits and the true boxes; out comes, per cell, the object that it shall show and the score that
it shall give. An object is for those cells that show it best already, in class and place at once, so score and place are
learned to agree: the task-aligned assignment of Feng et al. 2021 (TOOD, arXiv:2108.07755), whose constants are kept.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lamina.layers.boxes import overlaps

CELLS = 13  # per object, at most
SCORE, PLACE = 1.0, 6.0  # powers of the score and of the overlap in how well a cell shows an object


@dataclass(frozen=True)
class Assigned:
    """What the cells of a batch shall say."""

    boxes: Tensor
    """(batch, cells, 4): the box of the cell's object; of any object where it has none."""
    classes: Tensor
    """(batch, cells) int64."""
    scores: Tensor
    """(batch, cells): what the score of that class shall be; 0 where the cell has no object."""
    counts: Tensor
    """(batch, cells) bool: whether the cell's scores count; those inside an ignored box do not."""


@torch.no_grad()
def assign(boxes: Tensor, scores: Tensor, points: Tensor, truths: Tensor, lengths: Tensor) -> Assigned:
    """Assign cells to objects.

    Args:
        boxes: (batch, cells, 4), as the detector sees them now.
        scores: (batch, cells, classes), from 0 to 1.
        points: (batch, cells, 2): the middle of each cell.
        truths: (batch, objects, 6): left, top, right, bottom, class, ignored; padded.
        lengths: (batch,): how many of them are objects.
    """
    batch, cells, _ = boxes.shape
    if not truths.shape[1]:
        none = boxes.new_zeros(batch, cells)
        return Assigned(torch.zeros_like(boxes), none.long(), none, torch.ones_like(none, dtype=torch.bool))
    there = torch.arange(truths.shape[1], device=boxes.device) < lengths[:, None]  # (batch, objects)
    ignored = there & (truths[..., 5] > 0)
    there = there & ~ignored
    kinds = truths[..., 4].long()  # (batch, objects)
    inside = _inside(points, truths)  # (batch, objects, cells)
    shown = (ignored[..., None] & inside).any(1)  # (batch, cells)
    overlap = overlaps(boxes[:, None], truths[:, :, None, :4])  # (batch, objects, cells)
    score = scores.transpose(1, 2).gather(1, kinds[..., None].expand(-1, -1, cells))
    aligned = score**SCORE * overlap**PLACE
    near = _near(points, truths)
    open_to = there[..., None] & (inside | near)
    chosen = _best(torch.where(open_to, aligned + 1e-12, 0.0)) & open_to
    chosen |= near & there[..., None] & ~(inside & there[..., None]).any(2, keepdim=True)  # smaller than the grid
    rivals = torch.where(chosen, overlap + 1e-9, 0.0)
    winner = rivals.argmax(1)  # (batch, cells): of several objects, the one that it overlaps most
    owned = chosen & (torch.arange(truths.shape[1], device=boxes.device)[:, None] == winner[:, None])
    aligned = torch.where(owned, aligned, 0.0)
    overlap = torch.where(owned, overlap, 0.0)
    peak = aligned.amax(2, keepdim=True).clamp(min=1e-12)
    soft = aligned / peak * overlap.amax(2, keepdim=True)  # an object's best cell shall give its overlap as its score
    soft = soft.sum(1)  # (batch, cells); at most one of the objects is not 0
    place = winner[..., None]
    return Assigned(
        truths[..., :4].gather(1, place.expand(-1, -1, 4)), kinds.gather(1, winner), soft, (soft > 0) | ~shown
    )


def _inside(points: Tensor, truths: Tensor) -> Tensor:
    """(batch, objects, cells): whether a cell's middle is in an object's box."""
    x, y = points[:, None, :, 0], points[:, None, :, 1]
    left, top, right, bottom = (truths[:, :, side, None] for side in range(4))
    return (x > left) & (x < right) & (y > top) & (y < bottom)


def _near(points: Tensor, truths: Tensor) -> Tensor:
    """(batch, objects, cells): the one cell whose middle is nearest to the middle of the object."""
    middle = (truths[..., :2] + truths[..., 2:4]) / 2  # (batch, objects, 2)
    distance = (points[:, None] - middle[:, :, None]).square().sum(3)
    return torch.zeros_like(distance, dtype=torch.bool).scatter_(2, distance.argmin(2, keepdim=True), True)


def _best(values: Tensor) -> Tensor:
    """(batch, objects, cells): whether a value is among the ``CELLS`` largest of its object."""
    largest, place = values.topk(min(CELLS, values.shape[2]), 2)
    return torch.zeros_like(values, dtype=torch.bool).scatter_(2, place, largest > 0)
