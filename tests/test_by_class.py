"""By class: what is counted is what was asked and said."""

import torch

from lamina.by_class import by_class, never_said
from lamina.evaluation import Evaluation
from lamina.metrics.classification import classification


def evaluation(outputs: torch.Tensor, label: torch.Tensor) -> Evaluation:
    targets = {"label": label}
    rows = {name: metric.observe(outputs, targets) for name, metric in classification(3).items()}
    return Evaluation(rows, outputs, targets)


def test_classes_are_counted_and_scored_by_themselves() -> None:
    outputs = torch.tensor([[2.0, 1.0, 0.0]] * 14 + [[0.0, 2.0, 1.0]] * 6)
    label = torch.tensor([0] * 10 + [2] * 6 + [1] * 4)
    valid, train = evaluation(outputs, label), evaluation(outputs[:10], label[:10])
    table = by_class([train, valid], classification(3), {"classes": ["a", "b", 7]})
    assert {name: row[:2] for name, row in table.items()} == {"a": [10, 14], "b": [4, 6], "7": [6, 0]}
    losses = -outputs.double().log_softmax(1)
    assert table["a"][2] == table["a"][3] == float(losses[0, 0])
    assert table["7"][2] != table["7"][2]  # there is none in the training sample
    assert abs(table["7"][3] - float((4 * losses[0, 2] + 2 * losses[-1, 2]) / 6)) < 1e-9


def test_where_answers_are_no_classes_there_is_no_table() -> None:
    found = Evaluation({}, torch.zeros(4), {"value": torch.zeros(4).double()})
    assert by_class([found, found], classification(3), {}) == {}


def test_a_class_that_is_never_answered_is_told() -> None:
    facts = {"classes": ["a", "b", "c"]}
    outputs = torch.tensor([[2.0, 1.0, 0.0]] * 14 + [[0.0, 2.0, 1.0]] * 6)
    label = torch.tensor([0] * 10 + [2] * 6 + [1] * 4)
    finding = never_said(outputs, {"label": label}, facts)
    assert finding is not None
    assert (finding.kind, finding.where, finding.evidence["asked"]) == ("class.never", ("c",), 6)
    label[10:12] = 0  # four of the class may be missed by chance
    assert never_said(outputs, {"label": label}, facts) is None
    outputs[0, 2] = 9.0
    assert never_said(outputs, {"label": torch.tensor([2] * 20)}, facts) is None
    assert never_said(outputs[:, 0], {"value": label.double()}, {}) is None
