"""Classes: from names to labels and back."""

from typing import Any

import numpy as np
import polars as pl
from torch import Tensor

from lamina.data.data import Arrays
from lamina.data.kinds import whole_as_strings
from lamina.errors import DataError


def as_written(cells: pl.Series) -> list[str | None]:
    """Cells that name classes, or hold texts, as strings; whole numbers without the point that a missing cell gives them."""
    numbers = cells.dtype.is_float()
    return (whole_as_strings(cells.fill_nan(None).cast(pl.Float64)) if numbers else cells.cast(pl.String)).to_list()


def class_facts(answers: np.ndarray) -> dict[str, Any]:
    """``classes``, in the order of the network's outputs, and ``class_counts`` in the training part."""
    classes, counts = np.unique(answers.astype(str), return_counts=True)
    return {"classes": classes.tolist(), "class_counts": dict(zip(classes.tolist(), counts.tolist(), strict=True))}


def class_targets(answers: np.ndarray, facts: dict[str, Any], weighted: bool = False) -> Arrays:
    """``label``, (examples,) int64, and, when weighted, ``weight``: the inverse of the class's frequency, mean 1.

    Raises DataError naming a class that the training part does not have.
    """
    position = {name: index for index, name in enumerate(facts["classes"])}
    names = answers.astype(str)
    strangers = [index for index, name in enumerate(names) if name not in position]
    if strangers:
        raise DataError(
            f'the class "{names[strangers[0]]}" is in {len(strangers)} examples, and not in the training part.',
            f"example {strangers[0] + 1}",
            f"The network knows: {', '.join(facts['classes'][:20])}. Correct the answers, or train with that class.",
        )
    arrays = {"label": np.array([position[name] for name in names], dtype=np.int64)}
    if weighted:
        counts = np.array([facts["class_counts"][name] for name in facts["classes"]], dtype=np.float64)
        arrays["weight"] = (counts.sum() / len(counts) / counts)[arrays["label"]].astype(np.float32)
    return arrays


def class_answers(logits: Tensor, classes: list[str]) -> list[dict[str, Any]]:
    """The likeliest class, its probability, and all probabilities (softmax)."""
    probabilities = logits.softmax(1)
    best = probabilities.argmax(1)
    return [
        {
            "prediction": classes[winner],
            "probability": row[winner],
            "probabilities": dict(zip(classes, row, strict=True)),
        }
        for winner, row in zip(best.tolist(), probabilities.tolist(), strict=True)
    ]
