"""Comparison: two evaluated runs in; for each metric, whether they differ, or that the difference is not proved.

It reads evaluation/PART.json and evaluation/PART.safetensors of both runs and computes nothing anew but statistics.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError, safe_open
from torch import Tensor

from lamina.errors import RunError
from lamina.metrics.metric import Metric
from lamina.metrics.paired import LEVEL, Difference, differences, holm
from lamina.recipe import Recipe
from lamina.run import Run


@dataclass(frozen=True)
class Compared:
    """One metric of two runs on the same examples."""

    metric: str
    better: Literal["higher", "lower"]
    first: float
    second: float
    difference: float
    """Second less first."""
    low: float
    high: float
    """The 95 % interval of the difference."""
    p: float
    """Two-sided, of this metric alone."""
    corrected: float
    """The same, corrected for the number of metrics (Holm 1979)."""
    winner: str | None
    """Name of the run that is proved to be better; None when neither is."""
    said: str
    """All this in a sentence."""


@dataclass(frozen=True)
class Comparison:
    """Two runs, metric by metric; the first metric is the one that chose their best epochs."""

    first: str
    second: str
    examples: int
    metrics: tuple[Compared, ...]

    def in_words(self) -> str:
        """One sentence a line: what was compared, then each metric."""
        head = f"{self.first} and {self.second}, on the same {self.examples:,} examples:"
        return "\n".join([head, *(f"  {compared.said}" for compared in self.metrics)])

    def to_json(self) -> dict[str, Any]:
        """``first``, ``second``, ``examples``, and ``metrics``: the fields of Compared by the metric's name."""
        return {
            "first": self.first,
            "second": self.second,
            "examples": self.examples,
            "metrics": {compared.metric: asdict(compared) for compared in self.metrics},
        }


def compare(
    first: Run | Path | str,
    second: Run | Path | str,
    metrics: dict[str, Metric] | None = None,
    part: str = "test",
    names: tuple[str, str] | None = None,
) -> Comparison:
    """Say for each metric which run is better, by a paired test on the examples that both were evaluated on.

    A difference is called proved when its p-value, corrected for the number of metrics, is below 5 %. The paired test
    sees the luck of the test examples; the luck of the seed it cannot see, for that takes several runs of each kind.

    Args:
        first: a run that was evaluated, or its directory.
        second: another one, of the same task, evaluated on the same examples.
        metrics: those of the first run's task when None; the ones that both runs kept rows for are compared.
        part: name of the evaluation.
        names: what to call the runs; their directories' names when None.

    Returns:
        One Compared for each metric.

    Raises:
        RunError: an evaluation is missing or damaged, or the runs' tasks or test examples differ.
    """
    first, second = (run if isinstance(run, Run) else Run.open(run) for run in (first, second))
    tasks = [_task(run) for run in (first, second)]
    if tasks[0] != tasks[1]:
        raise _unlike(f"the tasks differ: {tasks[0]} and {tasks[1]}.", first, second, "Compare runs of one task.")
    prints = [_fingerprint(run, part) for run in (first, second)]
    if prints[0] != prints[1]:
        raise _unlike(
            "the runs were not evaluated on the same examples.", first, second, "Evaluate both on the same data first."
        )
    (one, groups), (two, _) = _rows(first, part), _rows(second, part)
    if metrics is None:
        metrics = Recipe.of(first).task.metrics(first.facts())
    shared = {name: metric for name, metric in metrics.items() if name in one and name in two}
    if not shared:
        raise _unlike("they have no metric in common.", first, second, "Evaluate both anew.")
    for name in shared:
        if one[name].shape != two[name].shape:
            raise _unlike(f"the rows of {name} differ in shape.", first, second, "Evaluate both anew.")
    found = differences(shared, two, one, groups=groups)
    corrected = holm({name: difference.p for name, difference in found.items()})
    called = names or _names(first, second)
    compared = [
        _compared(
            name, metric, (metric.value(one[name]), metric.value(two[name])), found[name], corrected[name], called
        )
        for name, metric in shared.items()
    ]
    return Comparison(*called, examples=len(next(iter(one.values()))), metrics=tuple(compared))


def _compared(
    name: str,
    metric: Metric,
    values: tuple[float, float],
    found: Difference,
    corrected: float,
    called: tuple[str, str],
) -> Compared:
    """Judge one metric's difference, second less first, and put it into words."""
    second_is_better = (found.value > 0) == (metric.better == "higher")
    winner = called[second_is_better] if corrected < LEVEL and found.value != 0 else None
    scale, unit = (100, " points") if metric.share else (1, "")
    # a gain counts upward, whichever run has it and whichever direction is good
    down = winner is not None and found.value < 0
    size, low, high = (
        _number(scale * bound)
        for bound in ((-found.value, -found.high, -found.low) if down else (found.value, found.low, found.high))
    )
    size = f"{size}{unit} (95 % interval {low} to {high})"
    if winner is None:
        said = f"{name}: the difference is not proved; {called[1]} less {called[0]} is {size}."
    else:
        said = f"{name}: {winner} is better by {size}, proved (p = {corrected:.2g})."
    return Compared(name, metric.better, *values, found.value, found.low, found.high, found.p, corrected, winner, said)


def _task(run: Run) -> str:
    """Name of the run's task."""
    recipe = run.read("recipe.json")
    task = recipe.get("task") if isinstance(recipe, dict) else None
    name = task.get("name") if isinstance(task, dict) else task
    if not isinstance(name, str):
        raise RunError("the recipe names no task.", str(run.path / "recipe.json"), "Restore the file.")
    return name


def _fingerprint(run: Run, part: str) -> str:
    """Fingerprint of the examples that the run was evaluated on."""
    name = f"evaluation/{part}.json"
    if not run.has(name):
        raise RunError(f'it has no evaluation "{part}".', str(run.path), f"`lamina evaluate {run.path}` makes one.")
    evaluation = run.read(name)
    fingerprint = evaluation.get("fingerprint") if isinstance(evaluation, dict) else None
    if not isinstance(fingerprint, str) or not fingerprint:
        raise RunError("it does not say on which examples it was made.", str(run.path / name), "Evaluate the run anew.")
    return fingerprint


def _rows(run: Run, part: str) -> tuple[dict[str, Tensor], np.ndarray | None]:
    """What each metric kept per example, and the examples' groups where the data have groups."""
    file = run.path / "evaluation" / f"{part}.safetensors"
    try:
        with safe_open(file, framework="pt") as stored:
            names = list(stored.keys())
            rows = {name.removeprefix("rows."): stored.get_tensor(name) for name in names if name.startswith("rows.")}
            groups = stored.get_tensor("groups").numpy() if "groups" in names else None
    except (OSError, SafetensorError) as error:
        raise RunError(f"the file cannot be read ({error}).", str(file), "Evaluate the run anew.") from None
    return rows, groups


def _names(first: Run, second: Run) -> tuple[str, str]:
    """The shortest ends of the two paths that tell the runs apart."""
    one, two = first.path.resolve().parts, second.path.resolve().parts
    for length in range(1, max(len(one), len(two))):
        if one[-length:] != two[-length:]:
            return str(Path(*one[-length:])), str(Path(*two[-length:]))
    return str(first.path), str(second.path)


def _unlike(what: str, first: Run, second: Run, remedy: str) -> RunError:
    return RunError(what, f"{first.path}, {second.path}", remedy)


def _number(value: float) -> str:
    """Three significant digits, or whole thousands with commas."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
