"""Augmentation with boxes: where a picture's bright square goes, its box goes, too."""

import pytest
import torch
from torch import Tensor

from lamina.layers.box_augmentation import GREY, mirror, place

SIDE = 64


def scenes(count: int, width: int = SIDE, height: int = SIDE) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Black pictures, grey right and below of what is shown, with one white square each; its box, the number, the extents."""
    pictures = torch.full((count, 3, SIDE, SIDE), GREY)
    pictures[:, :, :height, :width] = 0
    boxes = torch.zeros(count, 1, 6)
    for index in range(count):
        left, top, size = 4 + 3 * index % 20, 6 + 5 * index % 16, 14 + index % 4
        pictures[index, :, top : top + size, left : left + size] = 255
        boxes[index, 0, :4] = torch.tensor([left, top, left + size, top + size])
    extents = torch.tensor([[width, height]]).expand(count, -1).float()
    return pictures, boxes, torch.ones(count, dtype=torch.int64), extents


def test_mirrored_boxes_lie_on_what_they_show() -> None:
    pictures, boxes, _, extents = scenes(32, width=48)
    turned, moved = mirror(pictures, boxes, extents[:, 0], torch.Generator().manual_seed(0))
    changed = (moved != boxes).any(2)[:, 0]
    assert 5 < int(changed.sum()) < 27
    for picture, box in zip(turned, moved, strict=True):
        _is_white_in(picture, box[0], 0.5)
        assert (picture[:, :, 48:] == GREY).all()


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_placed_boxes_lie_on_what_they_show(mosaic: float) -> None:
    pictures, boxes, lengths, extents = scenes(24, height=40)
    shown, moved, counts = place(pictures, boxes, lengths, extents, torch.Generator().manual_seed(1), 1.5, mosaic)
    assert shown.shape == pictures.shape
    checked = 0
    for picture, own, count in zip(shown, moved, counts.tolist(), strict=True):
        assert not own[count:].any()
        assert count <= (4 if mosaic else 1)
        for box in own[:count]:
            assert (box[:4] >= 0).all()
            assert (box[:4] <= SIDE).all()
            _is_white_in(picture, box, 2.0)
            checked += 1
    assert checked > (24 if mosaic else 12)


def test_nothing_changes_when_nothing_is_asked_for() -> None:
    pictures, boxes, lengths, extents = scenes(4)
    shown, moved, counts = place(pictures, boxes, lengths, extents, torch.Generator().manual_seed(1), 1.0, 0.0)
    torch.testing.assert_close(shown, pictures, atol=1e-3, rtol=0)
    torch.testing.assert_close(moved, boxes)
    assert torch.equal(counts, lengths)


def test_the_same_generator_gives_the_same_pictures() -> None:
    pictures, boxes, lengths, extents = scenes(6)
    one, two = (place(pictures, boxes, lengths, extents, torch.Generator().manual_seed(5), 1.5, 0.5) for _ in range(2))
    assert all(torch.equal(first, second) for first, second in zip(one, two, strict=True))


def test_pictures_without_boxes_stay_without() -> None:
    pictures, _, _, extents = scenes(3)
    empty = torch.zeros(3, 0, 6)
    _, moved, counts = place(
        pictures, empty, torch.zeros(3, dtype=torch.int64), extents, torch.Generator().manual_seed(2), 1.5, 1.0
    )
    assert moved.shape == (3, 0, 6)
    assert not counts.any()


def _is_white_in(picture: Tensor, box: Tensor, margin: float) -> None:
    """A pixel is white within the box, and not outside; near its sides it may be either."""
    left, top, right, bottom = box[:4].tolist()
    line = torch.arange(SIDE) + 0.5
    within = ((line > left + margin) & (line < right - margin))[None] & (
        (line > top + margin) & (line < bottom - margin)
    )[:, None]
    assert (picture[0][within] > 200).all()
