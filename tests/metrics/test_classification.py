"""The metrics of classification agree with scikit-learn's, with ties and with weights, and their exhibits are true."""

import warnings

import numpy as np
import pytest
import sklearn.metrics as reference
import torch
from torch import Tensor

from lamina.exhibits import Matrix, Rows
from lamina.metrics import classification as ours
from lamina.metrics.metric import Metric


def observed(metric: Metric, outputs: Tensor, label: Tensor) -> Tensor:
    rows = metric.observe(outputs, {"label": label})
    assert rows.dtype == torch.float64
    assert rows.shape[0] == len(label)
    return rows


def examples(classes: int, count: int = 300, ties: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, labels and three sets of weights; with ties, few distinct logits."""
    generator = torch.Generator().manual_seed(classes)
    label = torch.randint(0, classes, (count,), generator=generator)
    logits = torch.randn(count, classes, generator=generator)
    logits[torch.arange(count), label] += 1
    weights = torch.randint(0, 4, (3, count), generator=generator).double()
    weights[0] = 1
    return (logits.round() if ties else logits), label, weights


def expected(name: str, logits: Tensor, label: Tensor, weight: np.ndarray) -> float:
    probability = logits.double().softmax(1).numpy()
    ranked = logits.double().log_softmax(1).float().numpy()  # equal logits are equal here, whatever their order
    prediction, true = logits.argmax(1).numpy(), label.numpy()
    if name == "auroc" and probability.shape[1] == 2:
        return float(reference.roc_auc_score(true, ranked[:, 1], sample_weight=weight))
    if name == "auroc":
        areas = [
            reference.roc_auc_score(true == i, ranked[:, i], sample_weight=weight) for i in range(probability.shape[1])
        ]
        return float(np.mean(areas))
    if name == "macro_f1":
        return float(reference.f1_score(true, prediction, average="macro", sample_weight=weight))
    if name == "balanced_accuracy":
        return float(reference.balanced_accuracy_score(true, prediction, sample_weight=weight))
    if name == "log_loss":
        return float(reference.log_loss(true, probability, sample_weight=weight, labels=range(probability.shape[1])))
    return float(reference.accuracy_score(true, prediction, sample_weight=weight))


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "balanced_accuracy", "auroc", "log_loss"])
@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("ties", [False, True])
def test_agrees_with_scikit_learn(name: str, classes: int, ties: bool) -> None:
    logits, label, weights = examples(classes, ties=ties)
    metric = ours.classification(classes)[name]
    values = metric.values(observed(metric, logits, label), weights)
    assert values.dtype == torch.float64
    for value, weight in zip(values.tolist(), weights.numpy(), strict=True):
        assert value == pytest.approx(expected(name, logits, label, weight), abs=1e-9)


@pytest.mark.parametrize("name", list(ours.classification(4)))
def test_a_weight_is_a_repetition_and_sets_do_not_mix(name: str) -> None:
    logits, label, _ = examples(4, 80)
    metric = ours.classification(4)[name]
    rows = observed(metric, logits, label)
    weights = torch.randint(0, 3, (150, 80), generator=torch.Generator().manual_seed(9)).double()  # more than one block
    for value, weight in zip(metric.values(rows, weights).tolist(), weights, strict=True):
        assert value == pytest.approx(metric.value(rows.repeat_interleave(weight.long(), 0)), abs=1e-12)


def test_calibration_error_is_the_textbook_one() -> None:
    logits, label, weights = examples(5, 400)
    metric = ours.CalibrationError()
    confidence, prediction = logits.double().softmax(1).max(1)
    right, bins = (prediction == label).double(), torch.ceil(confidence * 15)
    for value, weight in zip(metric.values(observed(metric, logits, label), weights), weights, strict=True):
        total = 0.0
        for i in range(1, 16):
            inside = weight * (bins == i)
            if inside.sum() > 0:
                gap = (inside @ right / inside.sum() - inside @ confidence / inside.sum()).abs()
                total += float(inside.sum() / weight.sum() * gap)
        assert float(value) == pytest.approx(total)


def test_calibration_error_of_extremes() -> None:
    sure = torch.tensor([[100.0, 0.0], [100.0, 0.0]])
    metric = ours.CalibrationError()
    assert metric.value(observed(metric, sure, torch.tensor([0, 0]))) == pytest.approx(0)
    assert metric.value(observed(metric, sure, torch.tensor([1, 1]))) == pytest.approx(1)
    even = torch.zeros(2, 2)
    assert metric.value(observed(metric, even, torch.tensor([0, 1]))) == pytest.approx(0)


@pytest.mark.parametrize("name", ["log_loss", "calibration_error"])
def test_the_first_number_of_a_row_ranks_the_mistakes(name: str) -> None:
    metric = ours.classification(2)[name]
    outputs = torch.tensor([[5.0, 0.0], [0.6, 0.0], [0.0, 0.6], [0.0, 5.0]])
    ranks = observed(metric, outputs, torch.tensor([0, 0, 0, 0]))[:, 0]
    assert metric.better == "lower"
    assert ranks.argmax() == 3
    assert (ranks[2:] > ranks[:2].max()).all()


def test_classes_that_are_absent_are_left_out() -> None:
    label = torch.tensor([0, 0, 1, 1])
    logits = torch.tensor([[3.0, 0, 0, -9], [3, 0, 0, -9], [0, 3, 0, -9], [3, 0, 0, -9]])  # no class 2, no class 3
    for name, value in {"macro_f1": (0.8 + 2 / 3) / 2, "balanced_accuracy": 0.75}.items():
        metric = ours.classification(4)[name]
        assert metric.value(observed(metric, logits, label)) == pytest.approx(value)
    area = ours.AUROC(4)
    assert area.value(observed(area, logits, label)) == pytest.approx((0.75 + 0.75) / 2)
    logits[3, 2] = 9  # class 2 is predicted and never true: F1 of 0, no recall, no curve
    values = {name: metric.value(observed(metric, logits, label)) for name, metric in ours.classification(4).items()}
    assert values["macro_f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert values["balanced_accuracy"] == pytest.approx(0.75)


@pytest.mark.parametrize("classes", [2, 3])
def test_auroc_of_one_class_is_not_defined(classes: int) -> None:
    metric = ours.AUROC(classes)
    for only in (0, 1):
        rows = observed(metric, torch.randn(5, classes), torch.full((5,), only))
        assert np.isnan(metric.value(rows))
    rows = observed(metric, torch.randn(4, classes), torch.tensor([0, 0, 1, 1]))
    values = metric.values(rows, torch.tensor([[1.0, 1, 0, 0], [1, 1, 1, 1], [0, 0, 2, 2]]).double())
    assert torch.isnan(values).tolist() == [True, False, True]


def test_auroc_tells_saturated_probabilities_apart() -> None:
    outputs = torch.tensor([[800.0, 0.0], [790.0, 0.0]])  # both probabilities are 0 in double precision
    metric = ours.AUROC(2)
    assert metric.value(observed(metric, outputs, torch.tensor([0, 1]))) == 1


def test_log_loss_of_extreme_logits_is_finite() -> None:
    metric = ours.LogLoss()
    assert metric.value(observed(metric, torch.tensor([[2000.0, 0.0]]), torch.tensor([1]))) == 2000


def test_not_finite_outputs_show_in_the_log_loss_and_break_nothing() -> None:
    outputs = torch.full((6, 3), torch.nan)
    values = {
        name: metric.value(observed(metric, outputs, torch.arange(6) % 3))
        for name, metric in ours.classification(3).items()
    }
    assert np.isnan(values["log_loss"])


def test_order_and_direction() -> None:
    metrics = ours.classification(3)
    assert list(metrics) == ["accuracy", "macro_f1", "balanced_accuracy", "auroc", "log_loss", "calibration_error"]
    assert [metric.better for metric in metrics.values()] == ["higher"] * 4 + ["lower"] * 2


def test_accepts_half_precision_with_a_gradient() -> None:
    outputs = torch.randn(4, 3, dtype=torch.bfloat16, requires_grad=True)
    for metric in ours.classification(3).values():
        assert not observed(metric, outputs, torch.tensor([0, 1, 2, 0])).requires_grad


def test_confusion_counts_truth_by_prediction() -> None:
    logits, label, _ = examples(4)
    shown = ours.confusion(logits, {"label": label}, ["a", "b", "c", "d"])
    assert isinstance(shown, Matrix)
    assert shown.rows == shown.columns == ["a", "b", "c", "d"]
    assert shown.values == reference.confusion_matrix(label, logits.argmax(1)).tolist()


def test_confusion_of_many_classes_lists_the_most_frequent() -> None:
    names = [f"class {i}" for i in range(40)]
    label = torch.arange(40).repeat(3)
    prediction = label.clone()
    prediction[[5, 45, 85]] = 7
    prediction[11] = 12
    logits = torch.nn.functional.one_hot(prediction, 40).float()
    shown = ours.confusion(logits, {"label": label}, names)
    assert isinstance(shown, Rows)
    assert shown.rows == [["class 5", "class 7", 3], ["class 11", "class 12", 1]]
    assert "4 wrong" in shown.explanation


def test_per_class_agrees_with_scikit_learn_and_names_the_worst_first() -> None:
    logits, label, _ = examples(3)
    shown = ours.per_class(logits, {"label": label}, ["a", "b", "c"])
    precision, recall, f1, support = reference.precision_recall_fscore_support(label, logits.argmax(1))
    assert [row[4] for row in shown.rows] == sorted(f1)
    for name, count, *numbers in shown.rows:
        i = "abc".index(name)
        assert count == support[i]
        assert numbers == pytest.approx([precision[i], recall[i], f1[i]])


def test_per_class_leaves_open_what_is_not_defined() -> None:
    shown = ours.per_class(torch.tensor([[1.0, 0, 0], [1, 0, 0]]), {"label": torch.tensor([0, 1])}, ["a", "b", "c"])
    assert {row[0]: row[1:] for row in shown.rows} == {
        "a": [1, 0.5, 1.0, pytest.approx(2 / 3)],
        "b": [1, None, 0.0, 0.0],
        "c": [0, None, None, None],
    }


def test_reliability_of_an_honest_network_lies_on_the_diagonal() -> None:
    generator = np.random.default_rng(0)
    probability = generator.dirichlet(np.ones(3), 60_000)
    label = (probability.cumsum(1) < generator.random((60_000, 1))).sum(1)
    shown = ours.reliability(torch.from_numpy(np.log(probability)), {"label": torch.from_numpy(label)})
    assert len(shown.x) == 10  # the top one of three probabilities is above a third
    assert shown.x == sorted(shown.x)
    assert shown.y == pytest.approx(shown.x, abs=0.05)
    too_sure = ours.reliability(torch.from_numpy(3 * np.log(probability)), {"label": torch.from_numpy(label)})
    assert too_sure.y[-2] < too_sure.x[-2] - 0.1


def test_nothing_warns_with_one_example() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for metric in ours.classification(3).values():
            metric.value(observed(metric, torch.randn(1, 3), torch.tensor([2])))


def test_a_temperature_undoes_what_made_logits_too_sure_or_too_doubtful() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(4000, 5, generator=generator)
    label = _drawn(true, generator)
    for factor in (0.4, 3.0):
        assert ours.temperature(factor * true, {"label": label}) == pytest.approx(factor, rel=0.08)


def test_a_temperature_that_chance_explains_is_not_taken() -> None:
    generator = torch.Generator().manual_seed(1)
    true = torch.randn(200, 3, generator=generator)
    assert ours.temperature(true, {"label": _drawn(true, generator)}) == 1.0
    assert ours.temperature(true[:1], {"label": torch.tensor([0])}) == 1.0


def test_no_answer_changes_with_the_temperature_only_how_sure_it_is() -> None:
    from lamina.layers.heads import ImageClassifier
    from lamina.layers.shapes import Image
    from lamina.networks import cnn

    torch.manual_seed(0)
    network = ImageClassifier(cnn.build(Image(1, 8), "tiny"), [128.0], [64.0], 4, mirror=True).eval()
    image = torch.randint(0, 255, (9, 8, 8, 1), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with torch.no_grad():
        before = network(image).softmax(1)
        network.temperature = 0.5
        after = network(image).softmax(1)
    assert torch.equal(before.argmax(1), after.argmax(1))
    assert bool((after.amax(1) > before.amax(1)).all())


def _drawn(logits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
