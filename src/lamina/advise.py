"""Advice: remedies for what was found in a run, tried out and ranked by what they do to the validation score.

A remedy is a change of the recipe. Each is trained from the start on the run's own training part, with its seed, and
compared with the run on the same validation examples by the paired test, corrected for how many remedies were tried (Holm
1979). With a budget the trainings are short ones, and the run's own recipe is trained as shortly for comparison: what helps
in a short training (a higher rate, less regularisation) need not help in a long one, so without a budget each takes as long
as the run. The test part is not read. What the test cannot see is the luck of the seed: ``lamina train --seeds`` does.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load as load_weights
from torch import Tensor

from lamina import find
from lamina.data.data import Data
from lamina.data.store import Store
from lamina.errors import OptionError
from lamina.evaluation import evaluate
from lamina.metrics.metric import Metric
from lamina.metrics.paired import LEVEL, Difference, holm, paired
from lamina.model import Model, build, load, open_data
from lamina.prepare import Prepared, begin, free_path, prepare
from lamina.recipe import Recipe
from lamina.run import Run
from lamina.training import finish, learn
from lamina.watch import Quiet, Watch
from lamina.writing import number

TRIALS = 6
STRONGER: dict[str, Any] = {"erase": 0.25, "mix": "mixup", "colour": 0.3, "mask": 0.25}
"""Options of tasks that vary training examples, and to what they are raised."""
OVERFITTING = ("more augmentation", "more dropout", "more weight decay", "label smoothing", "a smaller network")
TOO_FAR = ("a lower learning rate", "gradients clipped", "averaged weights")
TOO_SHORT = ("a higher learning rate", "a larger network", "less dropout", "more epochs")
FITTING = {
    "overfitting.validation_rises": OVERFITTING,
    "plateau.validation": OVERFITTING,
    "underfitting.unfinished": TOO_SHORT,
    "learning.none": TOO_SHORT,
    "rate.low": TOO_SHORT[:1],
    "rate.high": TOO_FAR,
    "rate.beyond": TOO_FAR,
    "gradient.explodes": TOO_FAR,
    "loss.spike": TOO_FAR,
    "units.dead": TOO_FAR,
    "validation.noisy": TOO_FAR,
    "divergence.returned": TOO_FAR,
    "discriminator.overfits": OVERFITTING,
    "discriminator.wins": TOO_FAR,
    "generator.collapse": TOO_FAR,
    "class.imbalance": ("weighted classes",),
    "class.never": ("weighted classes", *TOO_SHORT),
}
"""Which remedies fit what was found, the most hopeful first."""
OTHERWISE = (
    "a higher learning rate",
    "a lower learning rate",
    "more augmentation",
    "a larger network",
    "more weight decay",
)


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
    remedies = _remedies(model.run, recipe)[:trials]
    own = trial.rows(model.network)
    if budget is not None:
        trial.seconds = (budget - (time.monotonic() - began)) / (len(remedies) + 1)
        watch.say(f"Training as before, for {trial.seconds:.0f} s.")
        shortly = trial.train(recipe)
        own = own if shortly is None else shortly
    tried: list[tuple[Tried, Recipe]] = []
    for place, (name, why, changed) in enumerate(remedies, 1):
        watch.say(f"Remedy {place} of {len(remedies)}: {name} ({_change(recipe, changed)}).")
        started = time.monotonic()
        rows = trial.train(changed)
        found = None if rows is None else paired(trial.metric, rows, own, groups=trial.groups)
        row = _row(name, _change(recipe, changed), why, trial.metric, rows, found, time.monotonic() - started)
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
        path = Path(out) if out else free_path(recipe.source.name)
        content["applied"] = str(path)
        watch.say(f"Training by the better recipe, in {path}.")
        finish(prepare(best, None, None, path, watch, time.monotonic()), watch)
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
        network = build(recipe, self.facts)
        begin(network, recipe)
        with tempfile.TemporaryDirectory() as folder:
            run = Run.create(Path(folder) / "trial", recipe.to_json())
            if learn(Prepared(run, recipe, self.facts, self.data, self.store, network), Quiet()) is not None:
                return None
            network.load_state_dict(load_weights((run.path / "best.safetensors").read_bytes()))
        return self.rows(network)


def _remedies(run: Run, recipe: Recipe) -> list[tuple[str, str, Recipe]]:
    """Names of remedies, the findings that they fit, and the recipes: those for what was found first."""
    wanted: dict[str, str] = {}
    for finding in run.findings():
        for name in FITTING.get(finding.kind, ()):
            wanted.setdefault(name, finding.kind)
    for name in OTHERWISE:
        wanted.setdefault(name, "")
    made = ((name, why, REMEDIES[name](recipe)) for name, why in wanted.items())
    return [(name, why, changed) for name, why, changed in made if changed is not None and changed != recipe]


def _plan(**changes: Callable[[Any], Any]) -> Callable[[Recipe], Recipe | None]:
    """A remedy that changes fields of the plan."""

    def change(recipe: Recipe) -> Recipe | None:
        new = {name: rule(getattr(recipe.plan, name)) for name, rule in changes.items()}
        return replace(recipe, plan=replace(recipe.plan, **new))

    return change


def _sized(steps: int) -> Callable[[Recipe], Recipe | None]:
    """A remedy that takes the next larger or smaller network."""

    def change(recipe: Recipe) -> Recipe | None:
        sizes = list(find.network(recipe.network).SIZES)
        place = sizes.index(recipe.size) + steps if recipe.size in sizes else -1
        return replace(recipe, size=sizes[place]) if 0 <= place < len(sizes) else None

    return change


def _augmented(recipe: Recipe) -> Recipe | None:
    """The task that varies its training examples more, where it varies any."""
    there = {field.name: getattr(recipe.task, field.name) for field in fields(recipe.task)}
    stronger = {
        name: value
        for name, value in STRONGER.items()
        if name in there and (isinstance(value, str) or there[name] is None or there[name] < value)
    }
    return replace(recipe, task=replace(recipe.task, **stronger)) if stronger else None


def _option(name: str, value: Any) -> Callable[[Recipe], Recipe | None]:
    """A remedy that sets an option of the task, where it has that."""

    def change(recipe: Recipe) -> Recipe | None:
        has = any(field.name == name for field in fields(recipe.task))
        return replace(recipe, task=replace(recipe.task, **{name: value})) if has else None

    return change


REMEDIES: dict[str, Callable[[Recipe], Recipe | None]] = {
    "a higher learning rate": _plan(lr=lambda lr: 3 * lr),
    "a lower learning rate": _plan(lr=lambda lr: lr / 3),
    "more weight decay": _plan(weight_decay=lambda decay: max(5 * decay, 1e-2)),
    "gradients clipped": _plan(clip=lambda clip: 1.0 if clip is None else clip / 3),
    "averaged weights": _plan(ema=lambda ema: 0.99 if ema is None else ema),
    "more epochs": _plan(epochs=lambda epochs: 2 * epochs, budget=lambda budget: budget and 2 * budget),
    "more dropout": lambda recipe: replace(recipe, dropout=min(0.5, (recipe.dropout or 0.1) + 0.2)),
    "less dropout": lambda recipe: replace(recipe, dropout=0.0),
    "a larger network": _sized(1),
    "a smaller network": _sized(-1),
    "more augmentation": _augmented,
    "weighted classes": _option("class_weights", True),
    "label smoothing": _option("label_smoothing", 0.1),
}


def _change(recipe: Recipe, changed: Recipe) -> str:
    """What differs between two recipes, as options of the command line."""
    said = []
    for field in fields(recipe.plan):
        if getattr(recipe.plan, field.name) != getattr(changed.plan, field.name):
            said.append(f"--{field.name.replace('_', '-')} {getattr(changed.plan, field.name):.3g}")
    for field in fields(recipe.task):
        if getattr(recipe.task, field.name) != getattr(changed.task, field.name):
            said.append(f"--set {field.name}={str(getattr(changed.task, field.name)).lower()}")
    for name in ("size", "dropout"):
        if getattr(recipe, name) != getattr(changed, name):
            said.append(f"--{name} {getattr(changed, name)}")
    return " ".join(said)


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
