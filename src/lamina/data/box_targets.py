"""Box targets: from boxes with the names of their classes to arrays."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.data.boxes import Box
from lamina.data.data import Arrays
from lamina.data.ragged import ragged
from lamina.errors import DataError


def box_facts(answers: np.ndarray) -> dict[str, Any]:
    """``classes``, in the order of the network's outputs, and ``class_counts``: how many boxes there are of each.

    Raises DataError when there is no box at all.
    """
    counts = Counter(box.label for boxes in answers for box in boxes)
    if not counts:
        raise DataError("no image of the training part has a box.", "", "Nothing can be learned from background alone.")
    classes = sorted(counts)
    return {"classes": classes, "class_counts": {name: counts[name] for name in classes}}


def box_targets(answers: np.ndarray | Sequence[Sequence[Box]], facts: dict[str, Any]) -> Arrays:
    """``boxes``, ragged, (boxes, 6) float32 each: left, top, right, bottom in pixels of the image, class, and 1 for one that
    does not count.

    Raises DataError naming a class that the training part does not have.
    """
    position = {name: index for index, name in enumerate(facts["classes"])}
    for index, boxes in enumerate(answers):
        for box in boxes:
            if box.label not in position:
                raise DataError(
                    f'a box is of the class "{box.label}", which the training part does not have.',
                    f"example {index + 1}",
                    f"The network knows: {', '.join(facts['classes'][:20])}. Correct the boxes, or train with that class.",
                )
    return {
        "boxes": ragged(
            [
                np.array(
                    [[box.left, box.top, box.right, box.bottom, position[box.label], box.ignored] for box in boxes],
                    dtype=np.float32,
                ).reshape(-1, 6)
                for boxes in answers
            ]
        )
    }
