"""Rates: a learning rate range test (Smith 2017, arXiv:1506.01186) says which rates this network bears.

A copy is trained on varied batches of the first epoch while the rate grows from a thousandth of the plan's to a hundred times
it. The loss, smoothed, falls, and from some rate on it rises: that rate is the limit. A family's own rate was chosen by whole
trainings, which say more than some steps; so the test does not replace it, but holds it below a ``MARGIN`` of the limit. A
network of the caller's own has no such rate: there the steepest fall decides, by the same margin below the limit. A rate
that the user gave is kept, and a word is said where it lies beyond the limit. Smaller batches, which the test takes where time
is short, bear less: then a family's rate is left alone.

Where there are several players nothing is asked.
"""

import math
import statistics
import time
from itertools import pairwise
from typing import Any

from lamina.findings import Finding
from lamina.preflight.trial import Check, Trial

STEPS = 60
FEWEST = 40  # steps within the time, for the test to be done at all
SLOWER = 1.5  # times that a step of training takes, with its optimizer, against forward and backward alone
SMALLEST = 8  # examples of a batch, where the time suffices for a part of them only
LOWEST, HIGHEST = 1e-3, 1e2  # of the plan's rate
STAYS = 4  # steps, in which the rate nearly doubles
LOST = 10.0  # times the first loss: there is nothing more to see
SMOOTH = 0.8  # weight of the past in the smoothed loss
RISE = 0.2  # of the first loss, by which the smoothed one rises above its lowest value where training diverges
MARGIN = 3.0  # by which a rate stays below the limit: momentum builds up over more steps than a test has


def check(trial: Trial) -> Check | None:
    """Find the rate from which on the loss rises, and the one at which it falls most steeply."""
    if not trial.alone:
        return None
    growth = (HIGHEST / LOWEST) ** (1 / (STEPS - 1))
    rates: list[float] = []
    losses: list[float] = []
    began = time.monotonic()
    affordable = trial.examples_per_s * max(0.0, trial.left()) / (SLOWER * STEPS)
    pieces = 1 if affordable >= trial.plan.batch_size else math.ceil(trial.plan.batch_size / max(SMALLEST, affordable))
    for loss in trial.train(trial.copy(), trial.batches(pieces), lambda step: trial.plan.lr * LOWEST * growth**step):
        rates.append(trial.plan.lr * LOWEST * growth ** len(rates))
        losses += loss.values()
        if not math.isfinite(losses[-1]) or losses[-1] > LOST * abs(losses[0]) or len(rates) == STEPS:
            break
        each = (time.monotonic() - began) / len(rates)
        if (
            time.monotonic() + each * (FEWEST - len(rates)) > trial.deadline
            or time.monotonic() > trial.deadline + each * STEPS
        ):
            return None
    smooth = smoothed(losses)
    limit = limit_of(rates, smooth, _noise(losses))
    steepest = _steepest(rates, smooth, limit)
    evidence: dict[str, Any] = {
        "rates": rates,
        "losses": losses,
        "smooth": smooth,
        "limit": limit,
        "planned": trial.plan.lr,
        "pieces": pieces,
    }
    name = "the network bears the learning rate"
    bound = math.inf if limit is None else limit / MARGIN
    fact = f"The loss rises from a rate of {limit:.2g} on" if limit else f"The loss does not rise up to {rates[-1]:.2g}"
    seen = f"{fact}; planned is {trial.plan.lr:.2g}, and it falls most steeply at {steepest:.2g}."
    if trial.chooser == "nobody":
        return Check(name, seen, None, evidence, _plain(min(steepest, bound)))
    if trial.chooser == "family":
        return Check(name, seen, None, evidence, _plain(bound) if trial.plan.lr > bound and pieces == 1 else None)
    if limit is None or trial.plan.lr <= limit:
        return Check(name, seen, None, evidence)
    finding = Finding(
        "rate.beyond",
        "warning",
        f"The learning rate of {trial.plan.lr:.2g} lies beyond {limit:.2g}, from which on the loss rises.",
        f"Try --lr {min(steepest, bound):.2g}.",
        evidence={"limit": limit, "planned": trial.plan.lr},
    )
    return Check(name, seen, finding, evidence)


def smoothed(losses: list[float]) -> list[float]:
    """Each loss averaged with those before it, the older the less."""
    smooth: list[float] = []
    for loss in losses:
        smooth.append(SMOOTH * smooth[-1] + (1 - SMOOTH) * loss if smooth else loss)
    return smooth


def limit_of(rates: list[float], smooth: list[float], noise: float) -> float | None:
    """The first rate at which the smoothed loss lies well above its lowest value so far, and does so for ``STAYS`` steps."""
    low = smooth[0]
    for place in range(len(smooth)):
        low = min(low, smooth[place])
        high = [not loss <= low + RISE * abs(smooth[0]) + noise for loss in smooth[place : place + STAYS]]
        if all(high):
            return rates[place]
    return None


def _noise(losses: list[float]) -> float:
    """Three standard deviations of the smoothed loss, by how much losses differ from batch to batch."""
    bends = [abs(after - before) for before, after in pairwise(losses) if math.isfinite(after)]
    spread = 1.4826 / math.sqrt(2) * statistics.median(bends) if bends else math.inf
    return 3 * spread * math.sqrt((1 - SMOOTH) / (1 + SMOOTH))


def _steepest(rates: list[float], smooth: list[float], limit: float | None) -> float:
    """The rate below the limit at which the smoothed loss falls most, per step."""
    falls = {
        rate: before - after
        for rate, (before, after) in zip(rates, pairwise(smooth), strict=False)
        if limit is None or rate < limit
    }
    return max(falls, key=falls.__getitem__, default=rates[0])


def _plain(rate: float) -> float:
    """Two digits: the test knows no more."""
    return float(f"{rate:.2g}")
