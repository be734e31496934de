"""Parts, classes and files: the names by which sources call them, and the findings about them that all readers share."""

from collections.abc import Iterable, Iterator

import numpy as np

from lamina.data.data import Part
from lamina.findings import Finding

PART_NAMES: dict[str, Part] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What a folder, a file or a cell may call a part, in lower case."""


def listed(names: Iterable[object], most: int = 10) -> str:
    """Names in one line, cut where there are many or where one is long."""
    texts = [text if len(text) <= 40 else text[:37] + "..." for text in map(str, names)]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")


def free_name(name: str, taken: set[str]) -> str:
    """A file's name, or where it is taken, one with a number; it is taken from now on."""
    stem, _, ending = name.rpartition(".")
    number = 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}.{ending}"
    taken.add(name)
    return name


def single_class(answers: np.ndarray) -> Iterator[Finding]:
    """The finding that all answers are one and the same."""
    classes = sorted({str(answer) for answer in answers})
    if len(classes) == 1:
        yield Finding(
            "class.single",
            "stop",
            f'All {len(answers):,} examples are of one class, "{classes[0]}": there is nothing to tell apart.',
            "Add examples of at least one more class.",
            where=(classes[0],),
            evidence={"classes": 1, "examples": len(answers)},
        )
