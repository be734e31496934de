"""Seeds: one recipe trained several times, to see how much of a score is the luck of a training.

The seed decides the first weights, the order of the examples, augmentation and dropout. The split stays as it is, so all
trainings are proved on the same test examples: the interval of each score is the luck of these examples, the spread over the
seeds is that of the training; the two add up.
"""

import statistics
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from lamina.errors import OptionError
from lamina.model import Model, load
from lamina.training import repeat
from lamina.watch import Quiet, Watch
from lamina.writing import number


def spread(
    run: Model | Path | str,
    seeds: int,
    *,
    data: Any = None,
    network: nn.Module | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Repeat a run with other seeds, in runs beside it (``NAME-seed-1``, ...), and say how its scores spread.

    Args:
        run: the first of the trainings; the result is written into it as ``seeds.json``, and into its report.
        seeds: how many trainings there shall be, with this one; those that are there already are not made again.
        data: needed when the run was trained on data in memory.
        network: needed when the caller made it, with the weights that training starts from.
        watch: who is told how it goes.

    Returns:
        ``runs``; ``seeds``; ``scores``: by metric ``values``, ``mean``, ``deviation`` (of one training), and ``low`` and
        ``high``, the 95 % interval of the mean over all seeds (Student 1908); ``verdict``, a sentence.
    """
    if seeds < 2:
        raise OptionError(f"{seeds} was given; it must be at least 2.", "--seeds", "A spread needs two trainings.")
    watch = watch or Quiet()
    first = run if isinstance(run, Model) else load(run, deepcopy(network))  # loading gives it the weights of the run
    models = [first]
    for place in range(1, seeds):
        seed = first.recipe.plan.seed + place
        path = first.path.with_name(f"{first.path.name}-seed-{seed}")
        watch.say(f"Training {place + 1} of {seeds}, with seed {seed}, in {path}.")
        if (path / "evaluation" / "test.json").is_file():
            models.append(_of_one_recipe(load(path, deepcopy(network)), first))
        else:
            models.append(repeat(first.path, data, network=deepcopy(network), seed=seed, out=path, watch=watch))
    found: dict[str, Any] = {
        "runs": [str(model.path) for model in models],
        "seeds": [model.recipe.plan.seed for model in models],
        "scores": {name: _spread([model.scores[name]["value"] for model in models]) for name in first.scores},
    }
    found["verdict"] = _in_words(found["scores"])
    first.run.write("seeds.json", found)
    first.report()
    return found


def _of_one_recipe(model: Model, first: Model) -> Model:
    """A model that was trained before. Raises OptionError where its recipe is another one."""
    told: dict[str, Any] = {"source": first.recipe.source, "execution": first.recipe.execution}
    told |= {"parts": first.recipe.parts, "unread": first.recipe.unread}  # an earlier version's runs have none
    one, other = (
        replace(recipe, plan=replace(recipe.plan, seed=0), split_seed=recipe.splits_by, **told)
        for recipe in (model.recipe, first.recipe)
    )
    if one.to_json() != other.to_json():
        raise OptionError(
            f"the run is there already, and of another recipe than {first.path}.",
            str(model.path),
            "Remove or rename it.",
        )
    return model


def _spread(values: list[float | None]) -> dict[str, Any]:
    """Mean, deviation and the interval of the mean; of what is defined."""
    from scipy.stats import t

    known = [value for value in values if value is not None]
    if len(known) < 2:
        return {"values": values, "mean": None, "deviation": None, "low": None, "high": None}
    mean, deviation = statistics.fmean(known), statistics.stdev(known)
    half = float(t.ppf(0.975, len(known) - 1)) * deviation / len(known) ** 0.5
    return {"values": values, "mean": mean, "deviation": deviation, "low": mean - half, "high": mean + half}


def _in_words(scores: dict[str, dict[str, Any]]) -> str:
    name, first = next(iter(scores.items()))
    title = name.replace("_", " ")
    if first["mean"] is None:
        return f"{title} is not defined for enough of these trainings."
    values = ", ".join(number(value) for value in first["values"])
    return (
        f"Over {len(first['values'])} trainings with different seeds {title} is {number(first['mean'])} on average (95 % "
        f"interval {number(first['low'])} to {number(first['high'])}); one training deviates by "
        f"{number(first['deviation'])} ({values}). Recipes that differ by less than twice that are not told apart by one "
        "training each."
    )
