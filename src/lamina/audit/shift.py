"""Shift: training and test part are drawn from different distributions, so a classifier can tell them apart.

The classifier is that of ``label_errors``, judged on what it has not seen. Where both parts come from one distribution it is
right about a pair of examples, one of each part, half the time (AUROC 0.5; Lopez-Paz & Oquab 2017). A finding needs a lower
end of the 95 % interval (Hanley & McNeil 1982) above ``LEAST``: below, parts differ too little to move a score much.
"""

from collections.abc import Iterator

import numpy as np

from lamina.audit.label_errors import described, left_out
from lamina.data.data import Data
from lamina.findings import Finding

LEAST = 0.6
_FEWEST, _MOST = 30, 3000  # examples of each part


def find(data: Data) -> Iterator[Finding]:
    """Find a test part that looks unlike the training part; where it is later, or of other groups, that is a note."""
    generator = np.random.default_rng(0)
    rows = [generator.permutation(np.flatnonzero(data.part == part))[:_MOST] for part in ("train", "test")]
    if min(map(len, rows)) < _FEWEST:
        return
    features = described(data, np.concatenate(rows))
    if features is None:
        return
    sides = [some[np.isfinite(some).all(1)] for some in np.split(features, [len(rows[0])])]
    count = min(map(len, sides))
    if count < _FEWEST:
        return
    chosen = np.concatenate([some[:count] for some in sides])  # as many of each, so that neither is the likelier answer
    said = left_out(chosen, np.repeat([0, 1], count), 2)[:, 1]
    area = auroc(said[count:], said[:count])
    half = 1.96 * _deviation(area, count)
    if area - half <= LEAST:
        return
    expected = data.times is not None or data.groups is not None
    why = " That is expected where the split is made by time or by group." if expected else ""
    yield Finding(
        "data.shift",
        "note" if expected else "warning",
        f"The test part looks unlike the training part: told which of two examples is from it, a classifier is right in "
        f"{area:.0%} of the pairs (95 % interval ± {100 * half:.0f} points; 50 % where they are alike).{why}",
        "Look at what differs (where, when or how they were collected); split at random if it should not.",
        count=count,
        evidence={"auroc": round(area, 4), "half_width": round(half, 4), "examples": 2 * count},
    )


def auroc(higher: np.ndarray, lower: np.ndarray) -> float:
    """Share of pairs in which one of the first is above one of the second; ties count half."""
    ordered = np.sort(lower)
    below = np.searchsorted(ordered, higher, "left") + np.searchsorted(ordered, higher, "right")
    return float(below.mean() / (2 * len(lower)))


def _deviation(area: float, count: int) -> float:
    """The standard deviation of an AUROC of ``count`` examples on each side."""
    both, either = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (count - 1) * (both + either - 2 * area**2)
    return float((max(spread, 0.0) / count**2) ** 0.5)
