"""Advice: remedies for what was found in a run, tried out and ranked by what they do to the validation score.

A remedy is a change of the recipe. Each is trained from the start on the run's own training part, with its seed, and
compared with the run on the same validation examples by the paired test, corrected for how many remedies were tried (Holm
1979). With a budget the trainings are short ones, and the run's own recipe is trained as shortly for comparison: what helps
in a short training (a higher rate, less regularisation) need not help in a long one, so without a budget each takes as long
as the run. The test part is not read. What the test cannot see is the luck of the seed: ``lamina train --seeds`` does.
"""

import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load as load_weights
from torch import Tensor

from lamina.data.data import Data
from lamina.data.store import Store
from lamina.errors import OptionError
from lamina.evaluation import evaluate
from lamina.examples import encoded, learned, open_data, without
from lamina.metrics.metric import Metric
from lamina.metrics.paired import LEVEL, Difference, holm, paired
from lamina.model import Model, build, load
from lamina.prepare import Prepared, begin, prepare
from lamina.recipe import Recipe
from lamina.remedies import options_of, remedies
from lamina.run import Run
from lamina.training import finish, learn
from lamina.watch import Quiet, Watch
from lamina.writing import number

TRIALS = 6


@dataclass(frozen=True)
class Tried:
    """A remedy, and what it did."""

    remedy: str
    change: str
    """What it changes, as options of ``lamina train``."""
    why: str
    """The finding that it fits; "" for one that is tried in any case."""
    value: float | None
    """The first metric on the validation part; None where training failed."""
    difference: float | None
    """To the run's own recipe."""
    low: float | None
    high: float | None
    """The 95 % interval of the difference."""
    p: float
    """Corrected for how many remedies were tried."""
    helps: bool
    """Whether it is proved to be better."""
    seconds: float


def advise(
    run: Model | Path | str,
    *,
    budget: float | None = None,
    trials: int = TRIALS,
    data: Any = None,
    apply: bool = False,
    out: Path | str | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Try remedies for what was found in a run; the result is written into it as ``advice.json``.

    Args:
        run: one that was trained to its end.
        budget: seconds for all trials together; without one each takes as long as the run did.
        trials: remedies that are tried at most.
        data: needed when the run was trained on data in memory.
        apply: whether to train anew by the best recipe, where one is proved to be better.
        out: the new run's directory.
        watch: who is told.

    Returns:
        ``metric``, ``value`` of the run's own recipe, ``tried``: the fields of Tried, the best first; ``verdict``, a
        sentence; and ``applied``, the directory of the new run, or None.
    """
    began, watch = time.monotonic(), watch or Quiet()
    model = run if isinstance(run, Model) else load(run)
    if model.recipe.network == "own":
        raise OptionError(
            "the run's network was made by the caller.", str(model.path), "Advice varies Lamina's own families."
        )
    recipe = model.recipe if data is None else Recipe.of(model.run, data)
    examples, store = open_data(recipe, model.facts)
    trial = _Trials(model, recipe, examples, store, None)
    chosen = remedies(model.run, recipe)[:trials]
    own = trial.rows(model.network)
    if budget is not None:
        trial.seconds = (budget - (time.monotonic() - began)) / (len(chosen) + 1)
        watch.say(f"Training as before, for {trial.seconds:.0f} s.")
        shortly = trial.train(recipe)
        own = own if shortly is None else shortly
    tried: list[tuple[Tried, Recipe]] = []
    for place, (name, why, changed) in enumerate(chosen, 1):
        watch.say(f"Remedy {place} of {len(chosen)}: {name} ({options_of(recipe, changed)}).")
        started = time.monotonic()
        rows = trial.train(changed)
        found = None if rows is None else paired(trial.metric, rows, own, groups=trial.groups)
        row = _row(name, options_of(recipe, changed), why, trial.metric, rows, found, time.monotonic() - started)
        tried.append((row, changed))
    corrected = holm({row.remedy: row.p for row, _ in tried})
    sign = 1 if trial.metric.better == "higher" else -1
    ranked = sorted(
        [
            (replace(row, p=corrected[row.remedy], helps=_helps(row, corrected[row.remedy], sign)), changed)
            for row, changed in tried
        ],
        key=lambda pair: -sign * pair[0].difference if pair[0].difference is not None else float("inf"),
    )
    content: dict[str, Any] = {
        "metric": trial.name,
        "value": trial.metric.value(own),
        "tried": [asdict(row) for row, _ in ranked],
        "verdict": _in_words(trial.name, trial.metric.value(own), [row for row, _ in ranked]),
        "applied": None,
    }
    best = next((changed for row, changed in ranked if row.helps), None)
    if apply and best is not None:
        prepared = prepare(best, None, None, out, watch, time.monotonic())
        content["applied"] = str(prepared.run.path)
        watch.say(f"Training by the better recipe, in {prepared.run.path}.")
        finish(prepared, watch)
    model.run.write("advice.json", content)
    model.report()
    return content


def table(advice: dict[str, Any]) -> list[dict[str, Any]]:
    """The remedies as rows for people."""
    return [
        {
            "remedy": row["remedy"] + (f" ({row['why']})" if row["why"] else ""),
            "options": row["change"],
            advice["metric"]: number(row["value"]),
            "difference": f"{number(row['difference'])} ({number(row['low'])} to {number(row['high'])})",
            "p": f"{row['p']:.2g}",
            "helps": "proved" if row["helps"] else "",
        }
        for row in advice["tried"]
    ]


class _Trials:
    """What all trials share: the data, the metric, and how long each may take."""

    def __init__(self, model: Model, recipe: Recipe, data: Data, store: Store, seconds: float | None) -> None:
        self.model, self.recipe, self.data, self.store, self.seconds = model, recipe, data, store, seconds
        self.facts = {name: fact for name, fact in model.facts.items() if name != "settled"}
        self.name, self.metric = next(iter(recipe.task.metrics(self.facts).items()))
        self.valid = store.rows_of(data, "valid")
        kept = store.kept[self.valid.numpy()]
        self.groups = None if data.groups is None else data.groups[kept]

    def rows(self, network: Any) -> Tensor:
        """What the metric keeps of the validation examples."""
        plan, execution = self.recipe.plan, self.recipe.execution
        one = {self.name: self.metric}
        found = evaluate(
            execution.prepare(network), self.recipe.task, one, self.store, self.valid, plan.batch_size, execution
        )
        return found.rows[self.name]

    def train(self, recipe: Recipe) -> Tensor | None:
        """Train by a recipe in a run that is thrown away; None where training stopped."""
        if self.seconds is not None:
            recipe = replace(recipe, plan=replace(recipe.plan, budget=max(1.0, self.seconds)))
        facts, store = self.facts, self.store
        if recipe.task != self.recipe.task:  # what it learns of the data, and how it encodes them, may differ
            facts = learned(recipe.task, self.data)
            store = encoded(recipe.task, facts, self.data, None, recipe.source.name)
        data = self.data if recipe.fix == self.recipe.fix else self.mended(recipe.fix[-1])
        network = build(recipe, facts)
        begin(network, recipe)
        with tempfile.TemporaryDirectory() as folder:
            run = Run.create(Path(folder) / "trial", recipe.to_json())
            if learn(Prepared(run, recipe, facts, data, store, network), Quiet()) is not None:
                return None
            network.load_state_dict(load_weights((run.path / "best.safetensors").read_bytes()))
        return self.rows(network)

    def mended(self, kind: str) -> Data:
        """The data without the training examples that the run's findings of a kind name; all that validate stay, so that
        the same ones are compared."""
        named = [finding.evidence.get("removable", []) for finding in self.model.run.findings() if finding.kind == kind]
        rows = np.array(sorted(set().union(*named)), dtype=np.int64)
        return without(self.data, rows[self.data.part[rows] == "train"])


def _row(
    name: str, change: str, why: str, metric: Metric, rows: Tensor | None, found: Difference | None, seconds: float
) -> Tried:
    if rows is None or found is None:
        return Tried(name, change, why, None, None, None, None, 1.0, False, seconds)
    return Tried(name, change, why, metric.value(rows), found.value, found.low, found.high, found.p, False, seconds)


def _helps(row: Tried, p: float, sign: int) -> bool:
    return row.difference is not None and p < LEVEL and sign * row.difference > 0


def _in_words(metric: str, value: float, ranked: list[Tried]) -> str:
    title = metric.replace("_", " ")
    helping = [row for row in ranked if row.helps]
    if not ranked:
        return "There is no remedy that could be tried."
    if not helping:
        return (
            f"None of {len(ranked)} remedies is proved to make {title} on the validation part better than "
            f"{number(value)}; what is left is more or better data."
        )
    best = helping[0]
    return (
        f"{best.remedy.capitalize()} ({best.change}) helps: {title} on the validation part is {number(best.value)} instead of "
        f"{number(value)} (difference {number(best.difference)}, 95 % interval {number(best.low)} to {number(best.high)}, "
        f"p = {best.p:.2g}, corrected for {len(ranked)} remedies)."
    )
