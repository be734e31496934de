"""The first answers: the loss is a finite number, and no larger than that of someone who knows nothing.

A network that has seen no example should answer as the trivial baseline does, which knows only how often each answer
occurs: with classes that are equally frequent its cross-entropy is the logarithm of their number. A network whose first
answers are wrong *and sure* has a much larger loss; it spends its first steps on unlearning them, and a rate at which it
can is too low or too high for the rest. Freshly drawn weights may miss by some tenths; ``TIMES`` the trivial loss is no
chance. All such metrics must say so, since some, such as perplexity, grow exponentially with the loss; counts of mistakes
tell nothing here.
"""

import math

import torch

from lamina.evaluation import evaluate
from lamina.findings import Finding
from lamina.preflight.trial import Check, Trial
from lamina.rivals import observed

TIMES = 3.0
ROWS = 64  # validation examples that are asked, at most
KNOWN = 2000  # training examples from which the trivial baseline learns, at most


def check(trial: Trial) -> Check | None:
    """Compare the loss at the start with that of the trivial baseline, on validation examples."""
    loss = trial.loss(trial.copy())
    start = float(loss.total.detach()) / float(loss.count)
    if not math.isfinite(start):
        finding = Finding(
            "start.not_finite",
            "stop",
            f"The loss is not a finite number before anything was learned ({start}).",
            "Look for infinite or extreme values in the data, and at the layers of a network of your own.",
        )
        return Check("the first loss is finite", f"It is {start}.", finding)
    metrics = {name: metric for name, metric in trial.task.metrics(trial.facts).items() if metric.graded}
    trivial = next(iter(trial.task.baselines(trial.facts)), None)
    if not metrics or trivial is None or not len(trial.valid) or not trial.alone:
        return Check("the first loss is finite", f"It is {start:.4g}.")
    rows = trial.valid[:ROWS]
    asked = evaluate(trial.copy(), trial.task, metrics, trial.store, rows, trial.plan.batch_size, trial.execution)
    drawn = torch.randperm(len(trial.rows))[:KNOWN].sort().values
    known = observed(trial.task, trial.facts, trial.store, trial.rows[drawn], rows, metrics, [trivial])[trivial]
    pairs = {name: (metric.value(asked.rows[name]), metric.value(known[name])) for name, metric in metrics.items()}
    name = min(pairs, key=lambda metric: pairs[metric][0] / (abs(pairs[metric][1]) or math.inf))
    own, expected = pairs[name]
    title = name.replace("_", " ")
    seen = f"Untrained, {title} is {own:.4g}; knowing only how often each answer occurs, it is {expected:.4g}."
    if own <= TIMES * abs(expected) or not math.isfinite(expected):
        return Check("the first answers are unsure", seen)
    finding = Finding(
        "start.sure",
        "warning",
        f"Before it learned anything, the network is sure of wrong answers: {title} {own:.4g}, where one who knows only how "
        f"often each answer occurs has {expected:.4g}.",
        "Start the last layer with smaller weights, and scale the inputs.",
        evidence={"metric": name, "untrained": own, "trivial": expected},
    )
    return Check("the first answers are unsure", seen, finding)
