"""Metric and Score: a value with the interval in which the truth probably lies.

A metric keeps, per example, a short row of numbers (``observe``), and computes its value from any weighted set of rows
(``values``). So one definition serves the point estimate, the bootstrap and the paired comparison of two runs.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lamina.batch import Tensors

RESAMPLES = 1000
FEWEST_GROUPS = 10
"""Below that, examples are drawn instead of groups: of a few units, resamples say nothing about those that were not seen."""
CHUNK = 2**22  # weights held at once: 32 MiB of float64


@dataclass(frozen=True)
class Score:
    """A metric's value on a set of examples, and its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """``value``, ``low`` and ``high``."""
        return {"value": self.value, "low": self.low, "high": self.high}


class Metric(ABC):
    """How good the outputs are."""

    better: Literal["higher", "lower"]
    """Which direction is good."""
    share: bool = False
    """Whether the value is the share of examples that have a property (then an all-or-none result has an interval)."""
    graded: bool = False
    """Whether a sure wrong answer costs more than an unsure one: then the value of an untrained network means something."""
    drifts: bool = False
    """Whether a resample, which has fewer different examples than the sample, has a worse value on average: then the interval
    is moved back by as much (the bias correction of Efron & Tibshirani 1993, section 10.4)."""
    pools: bool = False
    """Whether examples are ranked by their scores, so that those of two predictors cannot be mixed."""
    ranks: bool = True
    """Whether the first number that is kept of an example says how wrong the answer was."""

    @abstractmethod
    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """What each example contributes.

        Args:
            outputs: (batch, ...), as the network gave them.
            targets: named tensors, (batch, ...) each.

        Returns:
            (batch, k) float64 on the CPU.
        """

    @abstractmethod
    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """The metric on several weighted sets of the same examples.

        Args:
            rows: (examples, k), from ``observe``.
            weights: (sets, examples), how often each example counts; whole numbers, 0 or more.

        Returns:
            (sets,) float64; NaN where the metric is not defined, such as AUROC with one class.
        """

    def value(self, rows: Tensor) -> float:
        """The metric on all rows, each counted once."""
        return float(self.values(rows, torch.ones(1, len(rows), dtype=torch.float64))[0])


def score(metric: Metric, rows: Tensor, seed: int = 0, groups: np.ndarray | None = None) -> Score:
    """One metric's value with its interval; see ``scores``."""
    return scores({"": metric}, {"": rows}, seed, groups)[""]


def scores(
    metrics: dict[str, Metric], rows: dict[str, Tensor], seed: int = 0, groups: np.ndarray | None = None
) -> dict[str, Score]:
    """Each metric's value with a 95 % interval from the percentile bootstrap (Efron & Tibshirani 1993), expanded.

    When all examples agree, so that every resample is the same, a share gets the Wilson interval (Wilson 1927): 20
    right of 20 is not proof of perfection. Resamples in which a metric is not defined are left out.

    Args:
        metrics: by name.
        rows: per metric, (examples, k), from its ``observe``; the same examples for all.
        seed: of the resampling.
        groups: (examples,), resampled as wholes when there are ``FEWEST_GROUPS``: examples of one group are not
            independent.

    Returns:
        By name; the interval is not-a-number where there is a single example, unless it is that of a share.
    """
    examples = len(next(iter(rows.values()), ()))
    if examples == 0:
        return {name: Score(float("nan"), float("nan"), float("nan")) for name in metrics}
    sampled: dict[str, list[Tensor]] = {name: [] for name in metrics}
    for weights in resampling(examples, seed, groups):  # drawn once, for drawing takes longer than most metrics
        for name, metric in metrics.items():
            sampled[name].append(metric.values(rows[name], weights))
    units = int(members(examples, groups).max()) + 1
    return {
        name: _interval(metric, metric.value(rows[name]), torch.cat(sampled[name]), units)
        for name, metric in metrics.items()
    }


def _interval(metric: Metric, value: float, sampled: Tensor, units: int) -> Score:
    """The score, from the metric's value on all examples and on the resamples of ``units`` independent units."""
    sampled = sampled[~torch.isnan(sampled)]
    if len(sampled) == 0 or (units < 2 and not metric.share):
        return Score(value, float("nan"), float("nan"))
    least = 0.0 if bool((sampled >= 0).all()) else -float("inf")  # what is never negative stays so
    if metric.drifts:
        sampled = sampled - (sampled.mean() - value)
    low, high = middle(sampled, units)
    low = max(low, least)
    if metric.share and low == high:
        if value > 1:  # a rate of errors may be: then nothing is known of others
            return Score(value, float("nan"), float("nan"))
        low, high = wilson(value, units)
    return Score(value, min(low, value), max(high, value))


def middle(sampled: Tensor, units: int) -> tuple[float, float]:
    """Between which values the middle 95 % of a metric's resamples lie, and some more where there are few units.

    Resamples of n units vary by (n - 1) / n of what samples do, and as if the true spread were known: percentiles are taken
    so far out that a mean's interval is as wide as Student's (the expanded percentile interval of Hesterberg 2015,
    arXiv:1411.5279).

    Args:
        sampled: (resamples,) float64, none of them NaN.
        units: how many independent units were drawn from, 2 or more; of a single one all resamples are alike.
    """
    from scipy.special import ndtr, stdtrit

    tail = 0.025 if units < 2 else float(ndtr((units / (units - 1)) ** 0.5 * stdtrit(units - 1, 0.025)))
    low, high = torch.quantile(sampled, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return low, high


def resampling(examples: int, seed: int, groups: np.ndarray | None = None) -> Iterator[Tensor]:
    """Bootstrap weights, in pieces of (sets, examples) that fit in memory; ``RESAMPLES`` sets in all."""
    generator = np.random.default_rng(seed)
    member = members(examples, groups)
    units = int(member.max()) + 1
    at_once = max(1, min(RESAMPLES, CHUNK // max(examples, 1)))
    for start in range(0, RESAMPLES, at_once):
        sets = min(at_once, RESAMPLES - start)
        drawn = generator.integers(0, units, (sets, units)) + np.arange(sets)[:, None] * units
        counts = np.bincount(drawn.ravel(), minlength=sets * units).reshape(sets, units)
        yield torch.from_numpy(counts[:, member].astype(np.float64))


def members(examples: int, groups: np.ndarray | None = None) -> np.ndarray:
    """(examples,) int64: to which of the units that are drawn each example belongs.

    A unit is a group, or where there are fewer than ``FEWEST_GROUPS`` an example. The scores' intervals and the
    paired test both go by it.
    """
    if groups is not None:
        names, member = np.unique(groups.astype(str), return_inverse=True)
        if len(names) >= FEWEST_GROUPS:
            return member
    return np.arange(examples)


def wilson(share: float, examples: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share among ``examples``."""
    z = 1.959964
    centre = (share + z**2 / (2 * examples)) / (1 + z**2 / examples)
    half = z / (1 + z**2 / examples) * (share * (1 - share) / examples + z**2 / (4 * examples**2)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)
