"""Boxes: rectangles as tensors, (..., 4): left, top, right, bottom, in pixels; right and bottom are where they end."""

import torch
from torch import Tensor


def areas(boxes: Tensor) -> Tensor:
    """(...,): width times height; 0 where a box has none."""
    return _filled(boxes[..., 2:] - boxes[..., :2])


def overlaps(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union (Jaccard 1912) of boxes that broadcast against each other; (...,), 0 where both are empty."""
    common, both, _ = _measures(first, second)
    return common / both.clamp(min=1e-9)


def generalised_overlaps(first: Tensor, second: Tensor) -> Tensor:
    """The same, less the share of the smallest box around both that neither fills: so boxes that do not meet are drawn to each
    other, too (Rezatofighi et al. 2019, arXiv:1902.09630); (...,), from -1 to 1."""
    common, both, around = _measures(first, second)
    return common / both.clamp(min=1e-9) - (around - both) / around.clamp(min=1e-9)


def _measures(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Areas of the intersection, of the union, and of the smallest box around both."""
    corner, end = torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:])
    common = _filled(end - corner)
    corner, end = torch.minimum(first[..., :2], second[..., :2]), torch.maximum(first[..., 2:], second[..., 2:])
    return common, areas(first) + areas(second) - common, _filled(end - corner)


def _filled(sides: Tensor) -> Tensor:
    """(..., 2) widths and heights → (...,) areas; the derivative of a ``prod`` would ask an accelerator for zeros each time."""
    across, down = sides.clamp(min=0).unbind(-1)
    return across * down


def select(boxes: Tensor, scores: Tensor, most: int, considered: int, lowest: float, overlap: float) -> Tensor:
    """The best boxes of each image: of those of one class that overlap, only the one of the highest score.

    This is greedy non-maximum suppression. A box is kept when no kept box of a higher score covers it; repeating "a box
    is kept when none that is kept at present covers it" comes to the same in as many rounds as covers stand in a row, few, and
    each is one operation for the whole batch.

    Args:
        boxes: (batch, cells, 4).
        scores: (batch, cells, classes), from 0 to 1.
        most: boxes that are kept per image, at most.
        considered: pairs of a cell and a class that are looked at per image, those of the highest scores.
        lowest: score below which a box is never kept.
        overlap: intersection over union from which a box covers another one.

    Returns:
        (batch, most, 6): left, top, right, bottom, score, class; by score downwards, padded with zeros.
    """
    _, cells, classes = scores.shape
    best, place = scores.flatten(1).topk(min(considered, cells * classes), 1)  # sorted
    kind = place % classes
    chosen = boxes.gather(1, (place // classes)[..., None].expand(-1, -1, 4))  # (batch, considered, 4)
    alike = kind[:, :, None] == kind[:, None, :]
    covers = (overlaps(chosen[:, :, None], chosen[:, None]) > overlap) & alike  # (batch, considered, considered)
    covers &= torch.ones_like(covers[0]).triu(1)  # [i, j]: i, of the higher score, covers j
    sound = best > lowest
    kept = sound
    while True:
        again = sound & ~(covers & kept[:, :, None]).any(1)
        if torch.equal(again, kept):
            break
        kept = again
    rows = torch.cat([chosen, best[..., None], kind[..., None].to(chosen.dtype)], 2)
    order = (~kept).to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
    found = (rows * kept[..., None]).gather(1, order[..., None].expand(-1, -1, 6))
    return torch.nn.functional.pad(found, (0, 0, 0, most - found.shape[1]))
