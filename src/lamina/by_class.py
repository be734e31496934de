"""By class: how often each was asked and answered, and how well; so that no class is forgotten behind a mean."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lamina.batch import Tensors
from lamina.evaluation import Evaluation
from lamina.findings import Finding
from lamina.metrics.metric import Metric
from lamina.tasks.task import Facts

FEWEST = 5
"""Examples of a class, below which all of them may be missed by chance."""
MOST = 100
"""Classes of which an epoch is recorded one by one."""


def counted(outputs: Tensor, targets: Tensors, facts: Facts) -> tuple[Tensor, Tensor] | None:
    """How many examples of each class were asked, and how often each was answered; None where answers are no single class."""
    classes, label = facts.get("classes", []), targets.get("label")
    if label is None or label.ndim != 1 or outputs.ndim != 2 or outputs.shape[1] != len(classes):
        return None
    asked, said = (torch.bincount(of, minlength=len(classes)) for of in (label, outputs.argmax(1)))
    return asked, said


def by_class(found: Sequence[Evaluation], metrics: dict[str, Metric], facts: Facts) -> dict[str, list[float]]:
    """What ``Epoch.classes`` holds, of the evaluations of the training sample and of the validation part."""
    train, valid = found
    counts = counted(valid.outputs, valid.targets, facts)
    name = next((name for name, metric in metrics.items() if metric.better == "lower"), None)
    if counts is None or name is None or len(counts[0]) > MOST:
        return {}
    table = {}
    for index, (asked, said) in enumerate(zip(*(count.tolist() for count in counts), strict=True)):
        of_class = (part.rows[name][part.targets["label"] == index] for part in (train, valid))
        values = [metrics[name].value(rows) if len(rows) else float("nan") for rows in of_class]
        table[str(facts["classes"][index])] = [asked, said, *values]
    return table


def never_said(outputs: Tensor, targets: Tensors, facts: Facts) -> Finding | None:
    """Classes that the network never answers with, though at least ``FEWEST`` examples of them were asked."""
    counts = counted(outputs, targets, facts)
    if counts is None:
        return None
    asked, said = counts
    classes = facts["classes"]
    never = [index for index in range(len(classes)) if asked[index] >= FEWEST and said[index] == 0]
    if not never:
        return None
    names = [str(classes[index]) for index in never]
    return Finding(
        "class.never",
        "warning",
        f"The network never answers {', '.join(names[:3])}{', ...' * (len(names) > 3)}, though {int(asked[never].sum()):,} "
        f"examples of {'these classes' if len(names) > 1 else 'this class'} were asked.",
        "Give rare classes more weight (--set class_weights=true), add examples of them, or train longer.",
        tuple(names[:20]),
        len(names),
        evidence={"classes": len(names), "asked": int(asked[never].sum())},
    )
