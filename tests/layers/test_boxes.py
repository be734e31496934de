"""Boxes: overlaps by hand, and suppression beside the greedy loop that it stands for."""

import pytest
import torch
from torch import Tensor

from lamina.layers.boxes import areas, generalised_overlaps, overlaps, select


def test_overlaps_are_those_computed_by_hand() -> None:
    box = torch.tensor([0.0, 0.0, 10.0, 10.0])
    others = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 0, 30, 10], [2, 2, 4, 4], [5, 5, 5, 9]])
    assert areas(others).tolist() == [100, 100, 100, 4, 0]
    assert overlaps(box, others).tolist() == pytest.approx([1, 50 / 150, 0, 4 / 100, 0])
    generalised = generalised_overlaps(box, others)
    assert generalised.tolist() == pytest.approx([1, 50 / 150, -100 / 300, 4 / 100, 0])


def test_boxes_that_do_not_meet_are_drawn_together() -> None:
    box = torch.tensor([20.0, 0.0, 30.0, 10.0], requires_grad=True)
    generalised_overlaps(box, torch.tensor([0.0, 0.0, 10.0, 10.0])).backward()  # type: ignore[no-untyped-call]
    assert box.grad is not None
    assert box.grad[0] < 0  # moving its left side to the left is better


@pytest.mark.parametrize("seed", range(5))
def test_select_is_greedy_suppression(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(3, 40, 2, generator=generator) * 40
    boxes = torch.cat([corner, corner + 5 + 20 * torch.rand(3, 40, 2, generator=generator)], 2)
    scores = torch.rand(3, 40, 2, generator=generator)
    found = select(boxes, scores, most=30, considered=60, lowest=0.3, overlap=0.4)
    assert found.shape == (3, 30, 6)
    for image in range(3):
        expected = _greedy(boxes[image], scores[image], 30, 60, 0.3, 0.4)
        torch.testing.assert_close(found[image, : len(expected)], expected)
        assert not found[image, len(expected) :].any()


def test_an_image_of_background_has_no_boxes() -> None:
    assert not select(torch.ones(2, 5, 4), torch.zeros(2, 5, 3), 4, 10, 0.01, 0.5).any()


def _greedy(boxes: Tensor, scores: Tensor, most: int, considered: int, lowest: float, overlap: float) -> Tensor:
    """The textbook's loop."""
    pairs = sorted(
        ((float(scores[cell, kind]), cell, kind) for cell in range(len(scores)) for kind in range(scores.shape[1])),
        reverse=True,
    )[:considered]
    kept: list[tuple[float, int, int]] = []
    for score, cell, kind in pairs:
        rivals = [other for _, other, same in kept if same == kind]
        if score > lowest and all(float(overlaps(boxes[cell], boxes[other])) <= overlap for other in rivals):
            kept.append((score, cell, kind))
    return torch.stack([torch.cat([boxes[cell], torch.tensor([score, kind])]) for score, cell, kind in kept[:most]])
