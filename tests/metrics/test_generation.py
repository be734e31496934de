"""Made pictures beside real ones: what each metric says of good, bad, one-sided and copied ones."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from lamina.metrics import generation
from lamina.metrics.metric import score

WIDTH = 6


def outputs(made: Tensor, real: Tensor, classes: int = 1) -> Tensor:
    rest = torch.zeros(len(made), 4 + classes)
    return torch.cat([made, real, rest], 1)


def cloud(count: int, seed: int, middle: float = 0.0, spread: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return middle + spread * torch.randn(count, WIDTH, generator=generator)


def value(name: str, made: Tensor, real: Tensor) -> float:
    metric = generation.generation(WIDTH, 3)[name]
    return metric.value(metric.observe(outputs(made, real, 3), {"label": torch.zeros(len(made), dtype=torch.int64)}))


def test_frechet_distance_is_the_formula() -> None:
    made, real = cloud(300, 0, 0.5, 1.5), cloud(300, 1)
    mixed = real @ torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(2))
    covariances = [np.cov(side.numpy().T) for side in (made, mixed)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    apart = float((made.mean(0) - mixed.mean(0)).square().sum())
    exact = apart + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert value("frechet_distance", made, mixed) == pytest.approx(exact, rel=1e-4)


def test_frechet_distance_of_weighted_examples_is_that_of_repeated_ones() -> None:
    metric = generation.FrechetDistance(WIDTH)
    rows = metric.observe(outputs(cloud(50, 0), cloud(50, 1)), {})
    counts = torch.randint(0, 4, (50,), generator=torch.Generator().manual_seed(0))
    repeated = rows.repeat_interleave(counts, 0)
    weighted = metric.values(rows, torch.stack([counts, torch.ones_like(counts)]).double())
    assert float(weighted[0]) == pytest.approx(metric.value(repeated), rel=1e-9)
    assert float(weighted[1]) == pytest.approx(metric.value(rows), rel=1e-9)


@pytest.mark.parametrize("name", ["frechet_distance", "kernel_distance"])
def test_distances_grow_with_what_is_wrong(name: str) -> None:
    real = cloud(400, 0)
    alike, shifted, narrow = (value(name, cloud(400, 1, *how), real) for how in ((0.0, 1.0), (1.0, 1.0), (0.0, 0.2)))
    assert abs(alike) < 0.1 * shifted
    assert abs(alike) < 0.3 * narrow


def test_the_kernel_distance_is_not_biased_by_few_pictures() -> None:
    few = [value("kernel_distance", cloud(20, seed), cloud(20, 100 + seed)) for seed in range(200)]
    assert abs(np.mean(few)) < 3 * np.std(few) / len(few) ** 0.5
    assert value("kernel_distance", cloud(5000, 1), cloud(5000, 2)) == pytest.approx(0, abs=0.02)


def test_an_interval_of_the_frechet_distance_holds_its_value_and_is_not_moved_up() -> None:
    metric = generation.FrechetDistance(WIDTH)
    found = score(metric, metric.observe(outputs(cloud(60, 0), cloud(60, 1)), {}))
    assert found.low < found.value < found.high
    assert found.value - found.low > 0.2 * (found.high - found.low)  # plain resamples lie above the value nearly all


def test_very_wide_features_get_no_interval() -> None:
    metric = generation.FrechetDistance(300)
    rows = torch.randn(10, 600, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert bool(metric.values(rows, torch.ones(2, 10, dtype=torch.float64)).isnan().all())
    assert np.isfinite(metric.value(rows))


def test_precision_and_recall_tell_bad_pictures_from_missing_ones() -> None:
    left, right = cloud(200, 0, -6.0), cloud(200, 1, 6.0)
    both = torch.cat([left, right])
    half = torch.cat([cloud(200, 2, -6.0), cloud(200, 3, -6.0)])  # good, but one kind only
    assert value("distribution_precision", half, both) > 0.85
    assert 0.4 < value("distribution_recall", half, both) < 0.55
    spread = cloud(400, 4, 0.0, 12.0)  # everywhere, and mostly where nothing is
    assert value("distribution_precision", spread, both) < 0.3


def test_the_order_of_the_real_pictures_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """They come class by class, and only some of very many are compared."""
    monkeypatch.setattr(generation, "MANIFOLD", 300)
    monkeypatch.setattr(generation, "KERNEL", 300)
    real = torch.cat([cloud(300, seed, 12.0 * seed) for seed in range(3)])
    made = torch.cat([cloud(300, 3 + seed, 12.0 * seed) for seed in range(3)])
    made = made[torch.randperm(900, generator=torch.Generator().manual_seed(1))]
    assert value("distribution_precision", made, real) > 0.7
    assert value("distribution_recall", made, real) > 0.7
    assert value("kernel_distance", made, real) < 0.05 * value("kernel_distance", made, real[:300].repeat(3, 1))


def test_recognised_is_the_share_of_those_that_were_and_without_classes_it_is_not_there() -> None:
    metric = generation.Recognised(WIDTH)
    said = outputs(cloud(4, 0), cloud(4, 1))
    said[:, 2 * WIDTH : 2 * WIDTH + 2] = torch.tensor([[1.0, 1.0], [0.0, 2.0], [0.0, 0.0], [2.0, 2.0]])
    assert metric.value(metric.observe(said, {})) == 0.75
    assert "recognised" not in generation.generation(WIDTH, 0)


def test_told_apart_compares_with_the_score_of_the_true_class() -> None:
    said = outputs(cloud(4, 0), cloud(4, 1), classes=3)
    said[:, 2 * WIDTH + 1] = torch.tensor([0.0, 0.0, 1.0, 1.0])  # classes that were made
    said[:, 2 * WIDTH + 3] = torch.tensor([0.0, 2.0, 1.0, 7.0])  # their scores
    said[:, 2 * WIDTH + 4 :] = torch.tensor([[5.0, -1.0, 0.0], [1.0, -1.0, 0.0], [0.0, 1.0, 0.0], [9.0, 9.0, 9.0]])
    metric = generation.ToldApart(WIDTH)
    rows = metric.observe(said, {"label": torch.tensor([0, 0, 1, 2])})
    assert rows[:, 0].tolist() == [
        1.0,
        0.5,
        0.25,
        0.0,
    ]  # above both; above one; as good as one of two; nothing was made
    assert rows[:, 1].tolist() == [1.0, 1.0, 1.0, 0.0]
    assert metric.value(rows) == pytest.approx(1.75 / 3)


def test_with_fewer_pictures_than_neighbours_nothing_lies_among_others() -> None:
    assert not bool(generation.among(cloud(5, 0), cloud(3, 0)).any())
