"""Paired comparison: in go the rows of two predictors on the same examples; out comes their difference, with a p-value.

Both predictors are measured on the same resamples, so what makes an example hard for both cancels.
"""

import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lamina.metrics.metric import CHUNK, RESAMPLES, Metric, members, middle, resampling

FEW = 50
"""Examples below which resamples prove too much: by plain percentiles of 10, differences that are not there in 9 % of cases."""
LEVEL = 0.05
"""How often a difference that is not there may be called proved."""


@dataclass(frozen=True)
class Difference:
    """A metric's value for one predictor less that for another, its 95 % confidence interval, and a p-value."""

    value: float
    low: float
    high: float
    p: float
    """Two-sided: how probable a difference as large as this would be if there were none."""

    def to_json(self) -> dict[str, Any]:
        """``value``, ``low``, ``high`` and ``p``."""
        return {"value": self.value, "low": self.low, "high": self.high, "p": self.p}


def paired(
    metric: Metric, first: Tensor, second: Tensor, seed: int = 0, groups: np.ndarray | None = None
) -> Difference:
    """One metric's value for the first predictor less that for the second; see ``differences``."""
    return differences({"": metric}, {"": first}, {"": second}, seed, groups)[""]


def differences(
    metrics: dict[str, Metric],
    first: dict[str, Tensor],
    second: dict[str, Tensor],
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> dict[str, Difference]:
    """Each metric's value for the first predictor less that for the second, by the paired percentile bootstrap.

    The p-value is twice the share of resamples on the rarer side of zero (Efron & Tibshirani 1993), expanded as the interval
    is. That calls too much proved where there are few examples: there the two predictors are exchanged, example by example
    (for metrics that rank examples by scores it only bounds the p-value, since the scores of two predictors need not be
    comparable). For accuracy on independent examples it is McNemar's exact one, which holds for small test sets too.

    Args:
        metrics: by name.
        first: per metric, (examples, k), from its ``observe``.
        second: the same for the other predictor, on the same examples in the same order.
        seed: of the resampling.
        groups: (examples,), resampled as wholes when there are ten: examples of one group are not independent.
    """
    examples = len(next(iter(first.values()), ()))
    units = int(members(examples, groups).max()) + 1 if examples else 0
    sampled: dict[str, list[Tensor]] = {name: [] for name in metrics}
    for weights in resampling(examples, seed, groups) if units > 1 else ():
        for name, metric in metrics.items():
            sampled[name].append(metric.values(first[name], weights) - metric.values(second[name], weights))
    found = {}
    for name, metric in metrics.items():
        value = metric.value(first[name]) - metric.value(second[name]) if examples else float("nan")
        found[name] = _difference(value, torch.cat(sampled[name]) if units > 1 else torch.empty(0), units)
        if units == examples > 1 and metric.share and first[name].shape[1] == 1:
            p = mcnemar(first[name][:, 0] > 0, second[name][:, 0] > 0)
            found[name] = replace(found[name], p=p)
        elif 1 < units < FEW and found[name].p < 1:
            least = 2 * 0.5**units  # what exchanging them gives at the least
            p = max(found[name].p, least) if metric.pools else exchanged(metric, first[name], second[name], groups)
            found[name] = replace(found[name], p=p)
    return found


def exchanged(metric: Metric, first: Tensor, second: Tensor, groups: np.ndarray | None = None) -> float:
    """The two-sided p-value of a paired permutation test (Fisher 1935): how often the difference is as large as it is
    when it is left to chance, unit by unit, which predictor is which; over all ways, or a thousand of them.

    Args:
        metric: whose difference it is; none that ranks examples by scores (``Metric.pools``).
        first: (examples, k), of the first predictor.
        second: of the other one, the same.
        groups: (examples,), exchanged as wholes where they are drawn as wholes.
    """
    member = members(len(first), groups)
    units = int(member.max()) + 1
    if 2**units <= RESAMPLES:
        ways = (np.arange(2**units)[:, None] >> np.arange(units)) & 1
    else:  # as they are is one of the ways
        ways = np.random.default_rng(0).integers(0, 2, (RESAMPLES, units))
        ways[0] = 0
    rows, apart = torch.cat([first, second]), []
    for some in np.array_split(ways, -(-len(ways) * 2 * len(member) // CHUNK)):  # as many as fit in memory
        kept = torch.from_numpy(some[:, member] == 0).double()
        one, other = (metric.values(rows, torch.cat(sides, 1)) for sides in ((kept, 1 - kept), (1 - kept, kept)))
        apart.append(one - other)
    found = torch.cat(apart).abs()
    least = found[0] - 1e-6 * found.nan_to_num().max()  # as they are, but for rounding
    return float((~(found < least)).double().mean())  # an undefined one counts as large


def _difference(value: float, sampled: Tensor, units: int) -> Difference:
    """From the difference on all examples and on the resamples of ``units``; without any of these nothing is proved.

    The p-value is below 0.05 where zero is outside of the interval: what percentiles say is read as Student's, too.
    """
    from scipy.special import ndtri, stdtr

    sampled = sampled[~torch.isnan(sampled)]
    if len(sampled) == 0:
        return Difference(value, float("nan"), float("nan"), 1.0)
    low, high = middle(sampled, units)
    rarer = min(int((sampled <= 0).sum()), int((sampled >= 0).sum()))
    share = min(0.5, (rarer + 1) / (len(sampled) + 1))  # the sample itself counts as one: p is never 0
    p = 2 * float(stdtr(units - 1, ((units - 1) / units) ** 0.5 * ndtri(share)))
    return Difference(value, min(low, value), max(high, value), p)


def mcnemar(first: Tensor, second: Tensor) -> float:
    """The two-sided p-value of McNemar's exact test (1947): are there as many examples that only the first got right as
    examples that only the second got right?

    Args:
        first: (examples,) bool, whether the first predictor is right.
        second: (examples,) bool, whether the second one is.
    """
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    trials = torch.tensor(float(only_first + only_second), dtype=torch.float64)
    rarer = torch.arange(min(only_first, only_second) + 1, dtype=torch.float64)
    ways = torch.lgamma(trials + 1) - torch.lgamma(rarer + 1) - torch.lgamma(trials - rarer + 1)  # logarithms
    return max(sys.float_info.min, min(1.0, 2 * float(torch.exp(ways - trials * np.log(2)).sum())))  # never 0


def holm(p: dict[str, float]) -> dict[str, float]:
    """The p-values of several tests, raised so that all of them together keep the level of one (Holm 1979)."""
    raised, largest = {}, 0.0
    for rank, name in enumerate(sorted(p, key=lambda key: p[key])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[name]))
        raised[name] = largest
    return {name: raised[name] for name in p}
