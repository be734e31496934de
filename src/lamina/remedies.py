"""Remedies: changes of a recipe, and which of them fit what was found in a run."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from lamina import find
from lamina.recipe import Recipe
from lamina.run import Run
from lamina.tasks.task import Facts

STRONGER: dict[str, Any] = {"erase": 0.25, "mix": "mixup", "colour": 0.3, "mask": 0.25}
"""Options of tasks that vary training examples, and to what they are raised."""
HALVED = ("shift", "colour", "erase", "mask", "mosaic")
TOWARDS_ONE = ("crop", "scale", "speed")
"""Options that vary training examples less where they are halved, or half as far from 1."""
SUSPECTED = "label.suspect"
OVERFITTING = (
    "more augmentation", "more dropout", "more weight decay", "label smoothing", "a smaller network", "transfer learning",
)  # fmt: skip
TOO_FAR = ("a lower learning rate", "gradients clipped", "averaged weights")
TOO_SHORT = ("a higher learning rate", "a larger network", "less dropout", "more epochs", "less augmentation")
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
    "class.unlearned": ("weighted classes", *TOO_SHORT),
    "augmentation.strong": ("less augmentation",),
    "normalisation.drifts": TOO_FAR,
    SUSPECTED: ("suspected labels left out",),
}
"""Which remedies fit what was found, the most hopeful first."""
OTHERWISE = (
    "a higher learning rate",
    "a lower learning rate",
    "more augmentation",
    "a larger network",
    "more weight decay",
)

Remedy = Callable[[Recipe, Facts], Recipe | None]
"""A recipe and a run's facts -> the recipe that is tried, or None where the remedy does not fit."""


def remedies(run: Run, recipe: Recipe) -> list[tuple[str, str, Recipe]]:
    """Names of remedies, the findings that they fit, and the recipes: those for what was found first."""
    wanted: dict[str, str] = {}
    for finding in run.findings():
        for name in FITTING.get(finding.kind, ()):
            wanted.setdefault(name, finding.kind)
    for name in OTHERWISE:
        wanted.setdefault(name, "")
    facts = run.facts()
    made = ((name, why, REMEDIES[name](recipe, facts)) for name, why in wanted.items())
    return [(name, why, changed) for name, why, changed in made if changed is not None and changed != recipe]


def _plan(**changes: Callable[[Any], Any]) -> Remedy:
    """A remedy that changes fields of the plan."""

    def change(recipe: Recipe, _facts: Facts) -> Recipe | None:
        new = {name: rule(getattr(recipe.plan, name)) for name, rule in changes.items()}
        return replace(recipe, plan=replace(recipe.plan, **new))

    return change


def _sized(steps: int) -> Remedy:
    """A remedy that takes the next larger or smaller network."""

    def change(recipe: Recipe, _facts: Facts) -> Recipe | None:
        sizes = list(find.network(recipe.network).SIZES)
        place = sizes.index(recipe.size) + steps if recipe.size in sizes else -1
        return replace(recipe, size=sizes[place]) if 0 <= place < len(sizes) else None

    return change


def _augmented(recipe: Recipe, _facts: Facts) -> Recipe | None:
    """The task that varies its training examples more, where it varies any."""
    there = {field.name: getattr(recipe.task, field.name) for field in fields(recipe.task)}
    stronger = {
        name: value
        for name, value in STRONGER.items()
        if name in there and (isinstance(value, str) or there[name] is None or there[name] < value)
    }
    return replace(recipe, task=replace(recipe.task, **stronger)) if stronger else None


def _plainer(recipe: Recipe, facts: Facts) -> Recipe | None:
    """The task that varies its training examples half as much; what it chose by the data stands in the facts."""
    there = {field.name: getattr(recipe.task, field.name) for field in fields(recipe.task)}
    chosen = {name: facts.get("augmentation", {}).get(name) for name in there}
    strength = {name: chosen[name] if value is None else value for name, value in there.items()}
    weaker: dict[str, Any] = {name: strength[name] / 2 for name in HALVED if strength.get(name)}
    weaker |= {name: (1 + strength[name]) / 2 for name in TOWARDS_ONE if strength.get(name) not in (None, 1.0)}
    if there.get("mix", "none") != "none":
        weaker["mix"] = "none"
    return replace(recipe, task=replace(recipe.task, **weaker)) if weaker else None


def _transferred(recipe: Recipe, facts: Facts) -> Recipe | None:
    """The network that learned from other photographs before, as its family trains it, where its weights are at hand."""
    shape = recipe.task.takes(facts)
    family = find.network("pretrained")
    size = next((size for size in family.SIZES if family.at_hand(size)), None)
    if recipe.network == "pretrained" or size is None or not isinstance(shape, family.takes):
        return None
    plan = family.plan(shape, 0)
    kept = {name: getattr(recipe.plan, name) for name in ("epochs", "budget", "batch_size", "seed", "micro_batches")}
    return replace(recipe, network="pretrained", size=size, plan=replace(plan, **kept))


def _mended(recipe: Recipe, _facts: Facts) -> Recipe | None:
    """Training without the examples whose labels are suspected."""
    if {SUSPECTED, "all"} & {*recipe.fix}:
        return None
    return replace(recipe, fix=(*recipe.fix, SUSPECTED), left_out=())


def _option(name: str, value: Any) -> Remedy:
    """A remedy that sets an option of the task, where it has that."""

    def change(recipe: Recipe, _facts: Facts) -> Recipe | None:
        has = any(field.name == name for field in fields(recipe.task))
        return replace(recipe, task=replace(recipe.task, **{name: value})) if has else None

    return change


REMEDIES: dict[str, Remedy] = {
    "a higher learning rate": _plan(lr=lambda lr: 3 * lr),
    "a lower learning rate": _plan(lr=lambda lr: lr / 3),
    "more weight decay": _plan(weight_decay=lambda decay: max(5 * decay, 1e-2)),
    "gradients clipped": _plan(clip=lambda clip: 1.0 if clip is None else clip / 3),
    "averaged weights": _plan(ema=lambda ema: 0.99 if ema is None else ema),
    "more epochs": _plan(epochs=lambda epochs: 2 * epochs, budget=lambda budget: budget and 2 * budget),
    "more dropout": lambda recipe, _: replace(recipe, dropout=min(0.5, (recipe.dropout or 0.1) + 0.2)),
    "less dropout": lambda recipe, _: replace(recipe, dropout=0.0),
    "a larger network": _sized(1),
    "a smaller network": _sized(-1),
    "more augmentation": _augmented,
    "weighted classes": _option("class_weights", True),
    "label smoothing": _option("label_smoothing", 0.1),
    "less augmentation": _plainer,
    "transfer learning": _transferred,
    "suspected labels left out": _mended,
}


def options_of(recipe: Recipe, changed: Recipe) -> str:
    """What differs between two recipes, as options of the command line."""
    said = []
    for field in fields(recipe.plan):
        if getattr(recipe.plan, field.name) != getattr(changed.plan, field.name):
            said.append(f"--{field.name.replace('_', '-')} {_said(getattr(changed.plan, field.name))}")
    for field in fields(recipe.task):
        if getattr(recipe.task, field.name) != getattr(changed.task, field.name):
            said.append(f"--set {field.name}={_said(getattr(changed.task, field.name))}")
    for name in ("network", "size", "dropout"):
        if getattr(recipe, name) != getattr(changed, name):
            said.append(f"--{name} {getattr(changed, name)}")
    said += [f"--fix {kind}" for kind in changed.fix if kind not in recipe.fix]
    return " ".join(said)


def _said(value: Any) -> str:
    """A value as it is written on the command line."""
    return f"{value:.3g}" if isinstance(value, float) else str(value).lower()
