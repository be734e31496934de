"""Class imbalance: one class so rare that accuracy says little about it."""

from collections.abc import Iterator

import numpy as np

from lamina.data.data import Data
from lamina.findings import Finding

_RATIO = 10
"""Largest to smallest class from which accuracy misleads."""


def find(data: Data) -> Iterator[Finding]:
    """Find classes of the training part that are ten times rarer than the largest."""
    answers = data.answers[data.part == "train"]
    if not data.classified or len(answers) == 0:
        return
    classes, counts = np.unique(answers.astype(str), return_counts=True)
    rare = np.flatnonzero(counts * _RATIO <= counts.max())
    if len(rare):
        rare = rare[np.argsort(counts[rare])]
        largest = float(counts.max() / counts.sum())
        yield Finding(
            "class.imbalance",
            "warning",
            f"{len(rare)} of {len(classes)} classes are at least {_RATIO} times rarer than "
            f'"{classes[counts.argmax()]}", '
            f"which always to answer is right for {largest:.1%} of the training part.",
            "Look at balanced accuracy and macro-F1 rather than accuracy; class weights help the rare classes.",
            where=tuple(f"{classes[index]}: {counts[index]}" for index in rare[:20]),
            count=len(rare),
            evidence={"largest": int(counts.max()), "smallest": int(counts.min()), "majority_share": round(largest, 4)},
        )
