"""The detector: where its cells are, in which pixels it answers, and that it learns to find a square."""

import torch

from lamina.layers.assignment import assign
from lamina.layers.boxes import generalised_overlaps, overlaps
from lamina.layers.detector import Detector, Pyramid
from lamina.layers.shapes import Image
from lamina.networks import cnn


def detector(side: int = 64, classes: int = 2) -> Detector:
    """A tiny one."""
    torch.manual_seed(0)
    return Detector(cnn.build(Image(3, side), "tiny"), [100.0] * 3, [60.0] * 3, classes)


def test_cells_lie_on_grids_over_the_whole_picture() -> None:
    network = detector().eval()
    said = network(torch.zeros(1, 64, 64, 3, dtype=torch.uint8), torch.tensor([[64.0, 64.0]]))
    grids = [grid.shape[2] for grid in network.backbone.pyramid(torch.zeros(1, 3, 64, 64))]
    assert said.shape == (1, sum(grid * grid for grid in grids), 6 + 2)
    points = said[0, : grids[0] ** 2, 4:6]
    stride = 64 / grids[0]
    assert points[0].tolist() == [stride / 2, stride / 2]
    assert points[1].tolist() == [stride * 1.5, stride / 2]
    assert points[-1].tolist() == [64 - stride / 2, 64 - stride / 2]


def test_answers_are_in_pixels_of_the_image() -> None:
    network = detector().eval()
    picture = torch.randint(0, 255, (1, 64, 64, 3), dtype=torch.uint8)
    small = network(picture, torch.tensor([[64.0, 32.0]]))
    large = network(picture, torch.tensor([[640.0, 320.0]]))
    torch.testing.assert_close(large[..., :6], small[..., :6] * 10)
    torch.testing.assert_close(large[..., 6:], small[..., 6:])


def test_a_picture_is_answered_alike_whatever_stands_beside_it() -> None:
    network = detector().train()  # group normalisation knows no batch; the backbone's batch normalisation is left out
    network.backbone.eval()
    pictures = torch.randint(0, 255, (3, 64, 64, 3), dtype=torch.uint8)
    sizes = torch.tensor([[64.0, 64.0], [30.0, 64.0], [128.0, 90.0]])
    together = network(pictures, sizes)
    for index in range(3):
        alone = network(pictures[index : index + 1], sizes[index : index + 1])
        torch.testing.assert_close(alone[0], together[index], rtol=1e-4, atol=1e-4)


def test_fine_maps_know_what_deep_ones_see() -> None:
    pyramid = Pyramid((4, 8))
    maps = [torch.zeros(1, 4, 8, 8), torch.zeros(1, 8, 4, 4)]
    before = pyramid(maps)[0]
    maps[1][0, :, 1, 1] = 5.0
    assert not torch.equal(pyramid(maps)[0], before)


def test_a_backbone_without_maps_gives_its_features() -> None:
    torch.manual_seed(0)

    class Single(torch.nn.Conv2d):
        width = 8

    network = Detector(Single(3, 8, 8, stride=8), [0.0] * 3, [1.0] * 3, 1)
    assert network(torch.zeros(2, 32, 32, 3), torch.full((2, 2), 32.0)).shape == (2, 16, 7)


def test_it_learns_where_a_square_is() -> None:
    network = detector(classes=1).train()
    picture = torch.zeros(1, 64, 64, 3)
    picture[0, 20:44, 8:36] = 255
    truth = torch.tensor([[[8.0, 20.0, 36.0, 44.0, 0, 0]]])
    size, length = torch.tensor([[64.0, 64.0]]), torch.tensor([1])
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(60):
        said = network(picture, size)
        boxes, points, logits = said[..., :4], said[..., 4:6], said[..., 6:]
        wanted = assign(boxes.detach(), logits.detach().sigmoid(), points, truth, length)
        surprise = torch.nn.functional.binary_cross_entropy_with_logits(logits[..., 0], wanted.scores, reduction="sum")
        loss = surprise + ((1 - generalised_overlaps(boxes, wanted.boxes)) * wanted.scores).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    best = network(picture, size)[0]
    best = best[best[:, 6].argmax()]
    assert best[6].sigmoid() > 0.5
    assert overlaps(best[:4], truth[0, 0, :4]) > 0.7
