"""Baselines learn what they should, give what a network would give, and bear what real data hold."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from lamina import baselines
from lamina.baselines import Arrays, gradient_boosting, linear, linear_on_pixels, majority, mean_value
from lamina.metrics.classification import classification

THREE = {"classes": ["a", "b", "c"]}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """So little data: threads would only wait for each other."""
    with threadpool_limits(1):
        yield


def pictures(count: int, side: int = 20, channels: int = 3, seed: int = 0) -> tuple[Arrays, Arrays]:
    """Noise, with a bright quarter that says the class; three classes."""
    generator = np.random.default_rng(seed)
    label = generator.integers(0, 3, count)
    image = generator.integers(0, 200, (count, side, side, channels), dtype=np.uint8)
    half = side // 2
    for i, (top, left) in enumerate([(0, 0), (0, half), (half, 0)]):
        image[label == i, top : top + half, left : left + half] += 40
    return {"image": image}, {"label": label}


def rows(count: int, seed: int = 0) -> tuple[Arrays, np.ndarray, np.ndarray]:
    """A table of two numbers and two categories, a class that they tell, and a value that they tell."""
    generator = np.random.default_rng(seed)
    numbers = generator.normal(size=(count, 2)).astype(np.float32)
    categories = np.stack([generator.integers(0, 4, count), generator.integers(0, 3, count)], 1)
    value = (numbers[:, 0] + (categories[:, 0] == 2) - 0.3).astype(np.float32)
    return {"numbers": numbers, "categories": categories}, np.digitize(value, [-0.3, 0.5]), value


def accuracy(outputs: torch.Tensor, label: np.ndarray) -> float:
    return float((outputs.argmax(1).numpy() == label).mean())


def test_majority_gives_the_shares_of_the_training_part() -> None:
    outputs = majority({}, {"label": np.array([0, 2, 2, 2])}, {"x": np.zeros((5, 1))}, THREE)
    assert outputs.shape == (5, 3)
    assert outputs.dtype == torch.float32
    assert outputs.exp()[0].tolist() == pytest.approx([0.25, 0, 0.75], abs=1e-6)
    assert torch.isfinite(outputs).all()


def test_mean_value_gives_the_mean_of_the_training_part() -> None:
    outputs = mean_value({}, {"value": np.array([1, 2, 6], dtype=np.float32)}, {"x": np.zeros((4, 1))}, {})
    assert outputs.tolist() == [3, 3, 3, 3]


@pytest.mark.parametrize(("side", "channels"), [(20, 3), (8, 1), (33, 4)])
def test_linear_on_pixels_learns(side: int, channels: int) -> None:
    known, label = pictures(300, side, channels)
    asked, truth = pictures(100, side, channels, seed=1)
    outputs = linear_on_pixels(known, label, asked, THREE)
    assert outputs.shape == (100, 3)
    assert accuracy(outputs, truth["label"]) > 0.9


def test_pixels_are_shrunk_by_area() -> None:
    image = np.zeros((1, 32, 32, 1), dtype=np.uint8)
    image[0, 0:2, 0:2, 0] = [[0, 255], [255, 255]]
    shrunk = baselines._pixels(image, np.arange(len(image)))
    assert shrunk.shape == (1, 256)
    assert shrunk[0, 0] == pytest.approx(0.75)
    assert shrunk[0, 1:].max() == 0


def test_linear_on_pixels_bounds_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    taught = []
    original = baselines._logistic

    def spy(known: np.ndarray, *rest: object) -> torch.Tensor:
        taught.append(len(known))
        return original(known, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(baselines, "_logistic", spy)
    monkeypatch.setattr(baselines, "PIXEL_WORK", 3600)
    monkeypatch.setattr(baselines, "PENALTY_ROWS", 500)
    known, label = pictures(1500, side=8, channels=1)
    linear_on_pixels(known, label, {"image": known["image"][:2]}, THREE)
    assert taught == [400, 400, 400, 1200]


def test_linear_learns_numbers_and_categories() -> None:
    known, label, value = rows(1000)
    asked, truth, true_value = rows(300, seed=1)
    outputs = linear(known, {"label": label}, asked, THREE)
    assert outputs.shape == (300, 3)
    assert accuracy(outputs, truth) > 0.85
    predicted = linear(known, {"value": value}, asked, {})
    assert predicted.shape == (300,)
    assert predicted.numpy() == pytest.approx(true_value, abs=0.05)


def test_gradient_boosting_learns_numbers_and_categories() -> None:
    known, label, value = rows(1500)
    asked, truth, true_value = rows(300, seed=1)
    assert accuracy(gradient_boosting(known, {"label": label}, asked, THREE), truth) > 0.9
    predicted = gradient_boosting(known, {"value": value}, asked, {})
    assert predicted.shape == (300,)
    assert predicted.dtype == torch.float32
    assert float(np.mean((predicted.numpy() - true_value) ** 2)) < 0.05


def test_gradient_boosting_sees_what_is_missing() -> None:
    generator = np.random.default_rng(0)
    label = generator.integers(0, 2, 600)
    known = {
        "numbers": np.zeros((600, 1), np.float32),
        "categories": np.zeros((600, 0), np.int64),
        "missing": (label == 1)[:, None],
    }
    facts = {"classes": ["no", "yes"]}
    assert accuracy(gradient_boosting(known, {"label": label}, known, facts), label) == 1
    assert accuracy(linear(known, {"label": label}, known, facts), label) < 1


def test_categories_have_no_order_for_boosting() -> None:
    code = np.arange(2000) % 40
    label = np.isin(code, np.random.default_rng(0).permutation(40)[:20]).astype(np.int64)
    known = {"numbers": np.zeros((2000, 0), np.float32), "categories": code[:, None]}
    outputs = gradient_boosting(known, {"label": label}, known, {"classes": ["no", "yes"]})
    assert accuracy(outputs, label) == 1


@pytest.mark.parametrize("method", [linear, gradient_boosting])
def test_codes_never_seen_and_columns_of_many_codes_are_borne(method: baselines.Baseline) -> None:
    known = {"numbers": np.zeros((900, 0), np.float32), "categories": np.arange(900)[:, None] % 450 + 1}
    asked = {"numbers": np.zeros((2, 0), np.float32), "categories": np.array([[0], [100_000]])}
    outputs = method(known, {"label": np.arange(900) % 2}, asked, {"classes": ["no", "yes"]})
    assert outputs.shape == (2, 2)
    assert torch.isfinite(outputs).all()


@pytest.mark.parametrize("method", [majority, linear, gradient_boosting, linear_on_pixels])
@pytest.mark.parametrize("labels", [[0, 2], [2], [0, 0, 0, 0, 0, 0, 0, 0, 2]])
def test_every_class_has_a_column_and_a_finite_loss(method: baselines.Baseline, labels: list[int]) -> None:
    label = np.resize(np.array(labels), 9)
    generator = np.random.default_rng(0)
    known = {
        "image": generator.integers(0, 256, (9, 4, 4, 1), dtype=np.uint8),
        "numbers": generator.normal(size=(9, 2)).astype(np.float32),
        "categories": generator.integers(0, 3, (9, 1)),
    }
    outputs = method(known, {"label": label}, known, {"classes": ["a", "b", "c", "d"]})
    assert outputs.shape == (9, 4)
    assert outputs.dtype == torch.float32
    assert torch.isfinite(outputs).all()
    assert set(outputs.argmax(1).tolist()) <= set(labels)
    loss = classification(4)["log_loss"]
    assert np.isfinite(loss.value(loss.observe(outputs, {"label": torch.tensor([1] * 9)})))


def test_an_answer_is_the_same_each_time() -> None:
    known, label, value = rows(300)
    shots, shown = pictures(60)
    for first, second in [
        [gradient_boosting(known, {"label": label}, known, THREE) for _ in range(2)],
        [gradient_boosting(known, {"value": value}, known, {}) for _ in range(2)],
        [linear_on_pixels(shots, shown, shots, THREE) for _ in range(2)],
    ]:
        assert torch.equal(first, second)


def test_a_model_that_would_need_more_steps_keeps_quiet() -> None:
    known, label, _ = rows(300)
    known["numbers"] *= np.float32(1e4)  # an iteration limit is reached, and a warning would fail this test
    linear(known, {"label": label}, known, THREE)


def test_the_arrays_given_are_left_alone() -> None:
    known, label, _ = rows(50)
    known["missing"] = np.ones((50, 2), dtype=bool)
    before = {name: array.copy() for name, array in known.items()}
    gradient_boosting(known, {"label": label}, known, THREE)
    linear(known, {"label": label}, known, THREE)
    assert all(np.array_equal(before[name], known[name]) for name in known)


@pytest.mark.parametrize("different", [1, 2, 6])
def test_usual_boxes_are_those_there_are(different: int) -> None:
    """Fewer different ones than are looked for: a camera that does not move sees the same things in each picture."""
    images = 30
    corners = np.array([[5 * number, 2, 5 * number + 4, 8] for number in range(different)], np.float32)
    boxes = np.zeros((images, 1, 6), np.float32)
    boxes[:, 0, :4] = corners[np.arange(images) % different]
    known = {"boxes": boxes, "boxes_lengths": np.ones(images, np.int64)}
    sizes = {"size": np.full((images, 2), 40.0)}
    found = baselines.usual_boxes(sizes, known, sizes, {"classes": ["thing"]})
    assert found.shape == (images, different, 6)
    assert sorted(found[0, :, 0].round().tolist()) == corners[:, 0].tolist()
    assert float(found[0, :, 4].sum()) == pytest.approx(1)
