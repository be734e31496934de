"""Rate: steps that are too long or too short for the weights that they move.

The change of a layer's weights in one step, as a share of their length, has a meaning of its own, whatever the optimizer
and the scale: *too long*, where each step exchanges a tenth of a layer, backpropagation, which holds near the weights at
which it was computed, says nothing about where the step ends; *too short*, where all steps together, had they all gone one
way, would have moved no layer by more than a hundredth. Steps between the inspected ones are taken to be like them. A layer
that began at zero grows by large shares at first, so the median over the layers is judged, and a twentieth of the budget
must be spent.

*Rising*: the training loss of a fair stretch lies above that of the first few records, by more than the noise of both:
training leads away from where it began, mostly because steps are too long. Of several players no loss needs to fall. (Beside
the very first record alone, sound regressions of skewed quantities rose in a quarter of simulated trainings: their few large
values come now and then.)
"""

import math
import statistics

from lamina.findings import Finding
from lamina.monitor.monitor import History

LONG = 0.1
SHORT = 0.01
RECORDS = 5
EARLY = 0.05  # of the budget
HALF = 0.5
ERRORS = 4.0  # standard errors
RISE = 0.1  # of the first loss


def find(history: History) -> Finding | None:
    """Say that the learning rate is too high or too low."""
    return _long(history) or _rising(history) or _short(history)


def _long(history: History) -> Finding | None:
    latest = [step for step in history.steps[-RECORDS:] if step.layers and step.t >= EARLY]
    if len(latest) < RECORDS:
        return None
    least = min(statistics.median(row[2] for row in step.layers.values()) for step in latest)
    if least <= LONG:
        return None
    return _high(
        f"Each step changes the weights of a layer by {least:.0%} of their length (median over the layers).",
        latest[-1].step,
        latest[-1].lr,
        {"change": least},
    )


def _rising(history: History) -> Finding | None:
    steps = history.steps
    if len(steps) < 2 * RECORDS or steps[-1].t < 2 * EARLY or len(steps[0].loss) > 1:
        return None
    early, latest = ([next(iter(step.loss.values())) for step in some] for some in (steps[:RECORDS], steps[-RECORDS:]))
    if not all(map(math.isfinite, (*early, *latest))):
        return None
    first, now = statistics.fmean(early), statistics.fmean(latest)
    error = math.hypot(statistics.stdev(early), statistics.stdev(latest)) / math.sqrt(RECORDS)
    leap = statistics.stdev(latest) * math.sqrt(
        1 + 1 / RECORDS
    )  # beside the very first record, as noisy as the latest ones
    if all(now - ERRORS * e <= was + RISE * abs(was) for was, e in ((first, error), (early[0], leap))):
        return None
    return _high(
        f"The training loss rose: {first:.4g} in the first steps, {now:.4g} by step {steps[-1].step}.",
        steps[-1].step,
        steps[-1].lr,
        {"first": first, "now": now},
    )


def _high(what: str, step: int, lr: float, evidence: dict[str, float]) -> Finding:
    remedy = f"Lower the learning rate: --lr, a third of what it is ({lr:.2g} at this step)."
    return Finding(
        "rate.high", "warning", f"{what} The learning rate is too high.", remedy, (f"step {step}",), evidence=evidence
    )


def _short(history: History) -> Finding | None:
    steps = history.steps
    if len(steps) < RECORDS or not steps[-2].t < HALF <= steps[-1].t:  # asked once: all steps are gone through
        return None
    inspected = [step for step in steps if step.layers]
    if len(inspected) < RECORDS:
        return None
    last = steps[-1]
    usual: dict[str, float] = {}
    for step in inspected:
        for name, row in step.layers.items():
            usual[name] = usual.get(name, 0.0) + row[2] / len(inspected)
    planned = last.step / last.t  # in the whole budget
    most = max(usual.values(), default=0.0) * planned
    if not 0 < most < SHORT:
        return None
    return Finding(
        "rate.low",
        "warning",
        f"Even if all steps went one way, no layer would move by more than {most:.2%} of its length in the whole training. "
        "The learning rate is too low.",
        "Raise the learning rate: --lr, ten times what it is.",
        (f"step {last.step}",),
        evidence={"path": most, "steps": planned},
    )
