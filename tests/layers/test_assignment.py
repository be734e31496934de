"""Assignment: each object gets cells, the best ones; ignored boxes and padding get none."""

import torch
from torch import Tensor

from lamina.layers.assignment import CELLS, assign


def test_an_object_gets_the_cells_that_show_it_best() -> None:
    points = _grid()
    boxes = torch.cat([points - 3, points + 3], 1)[None].clone()
    boxes[0, 27] = torch.tensor([20.0, 20.0, 44.0, 44.0])  # of the cell at 28, 28: exactly the object
    truths = torch.tensor([[[20.0, 20.0, 44.0, 44.0, 1, 0], [0, 0, 0, 0, 0, 0]]])
    scores = torch.full((1, 64, 2), 0.5)
    found = assign(boxes, scores, points[None], truths, torch.tensor([1]))
    owners = found.scores[0] > 0
    assert 0 < int(owners.sum()) <= CELLS
    assert found.scores[0].argmax() == 27
    assert found.scores[0, 27] == 1  # its overlap
    assert (found.classes[0][owners] == 1).all()
    assert (found.boxes[0, 27] == truths[0, 0, :4]).all()
    inside = ((points > 20) & (points < 44)).all(1)
    assert not (owners & ~inside).any()
    assert found.counts.all()


def test_an_object_smaller_than_the_grid_gets_the_nearest_cell() -> None:
    points = _grid()
    truths = torch.tensor([[[17.0, 1.0, 18.0, 2.0, 0, 0]]])
    boxes = torch.cat([points - 4, points + 4], 1)[None]
    found = assign(boxes, torch.full((1, 64, 1), 0.1), points[None], truths, torch.tensor([1]))
    assert (found.scores[0] > 0).nonzero().flatten().tolist() == [2]


def test_of_two_objects_a_cell_takes_the_one_that_it_overlaps_most() -> None:
    points = _grid()
    boxes = torch.cat([points - 8, points + 8], 1)[None]
    truths = torch.tensor([[[4.0, 4.0, 20.0, 20.0, 0, 0], [0.0, 0.0, 60.0, 60.0, 1, 0]]])
    found = assign(boxes, torch.full((1, 64, 2), 0.5), points[None], truths, torch.tensor([2]))
    cell = 9  # at 12, 12: its box is the smaller object exactly
    assert found.classes[0, cell] == 0
    assert found.scores[0, cell] == 1


def test_what_is_ignored_is_neither_object_nor_background() -> None:
    points = _grid()
    boxes = torch.cat([points - 8, points + 8], 1)[None]
    truths = torch.tensor([[[0.0, 0.0, 20.0, 20.0, 0, 1]]])
    found = assign(boxes, torch.full((1, 64, 1), 0.5), points[None], truths, torch.tensor([1]))
    assert not found.scores.any()
    inside = (points < 20).all(1)
    assert torch.equal(found.counts[0], ~inside)


def test_images_of_a_batch_do_not_influence_each_other() -> None:
    generator = torch.Generator().manual_seed(0)
    points = _grid().expand(3, -1, -1)
    boxes = torch.cat([points - 5, points + 9], 2) + torch.rand(3, 64, 4, generator=generator)
    scores = torch.rand(3, 64, 2, generator=generator)
    corner = torch.rand(3, 4, 2, generator=generator) * 40
    truths = torch.cat([corner, corner + 12, torch.ones(3, 4, 1), torch.zeros(3, 4, 1)], 2)
    lengths = torch.tensor([4, 0, 2])
    together = assign(boxes, scores, points, truths, lengths)
    assert not together.scores[1].any()
    for image in range(3):
        own = slice(image, image + 1)
        length = int(lengths[image])
        alone = assign(boxes[own], scores[own], points[own], truths[own, :length], lengths[own])
        assert torch.equal(alone.scores[0], together.scores[image])
        there = alone.scores[0] > 0
        assert torch.equal(alone.boxes[0][there], together.boxes[image][there])


def _grid() -> Tensor:
    """(64, 2): the middles of 8 x 8 cells of 8 pixels."""
    line = torch.arange(8) * 8.0 + 4
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), 2).view(-1, 2)
