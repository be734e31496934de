"""Pre-flight: what can be known in seconds, before hours are spent.

The checks stand in the order of their names, the cheap ones first; those for which there is no time say nothing.
"""

import pkgutil
import time
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from lamina.findings import Finding
from lamina.forecast import Forecast, disk_short, foreseen
from lamina.memory import peak
from lamina.preflight.trial import Check, Trial, undisturbed
from lamina.recipe import Recipe
from lamina.writing import number

MOST = 12.0  # seconds for all checks
SHARE = 0.05  # of the training's time
NOT_CHECKS = ("preflight", "trial")


@dataclass(frozen=True)
class Flight:
    """What was checked, and what it changed."""

    recipe: Recipe
    """With the learning rate that this network bears, and what is left of a budget in time."""
    checks: list[Check]
    findings: list[Finding]
    notes: list[str]
    """What was decided, in words."""
    forecast: Forecast | None
    """None where no speed was measured."""
    seconds: float
    """That the checks took."""

    def to_json(self) -> dict[str, Any]:
        """The content of ``preflight.json``."""
        forecast = None if self.forecast is None else self.forecast.to_json()
        return {"checks": [check.to_json() for check in self.checks], "forecast": forecast, "seconds": self.seconds}


def fly(recipe: Recipe, trial: Trial, examples_per_s: float | None, path: Path) -> Flight:
    """Check a network before its first epoch, and foresee what training takes.

    Args:
        recipe: complete.
        trial: the network and its data.
        examples_per_s: as measured; where it is None, only the cheap checks are made.
        path: where the run will be.
    """
    began = time.monotonic()
    plan = recipe.plan
    forecast = None
    if examples_per_s is not None:
        examples, evaluated = len(trial.feed), min(2 * len(trial.valid), len(trial.valid) + len(trial.rows))
        forecast = foreseen(trial.network, plan, examples, evaluated, examples_per_s, 0)
        trial.allow(min(MOST, SHARE * forecast.seconds), examples_per_s)
    checks = checked(trial)
    findings = [check.finding for check in checks if check.finding is not None]
    notes = []
    for check in checks:
        if check.lr is not None:
            notes.append(f"Learning rate: {number(check.lr)} instead of {number(plan.lr)}. {check.seen}")
            plan = replace(plan, lr=check.lr)
    seconds = time.monotonic() - began
    if plan.budget is not None and examples_per_s is not None:
        plan = replace(plan, budget=max(plan.budget - seconds, plan.budget / 2))
    if forecast is not None:
        lying = trial.store.bytes if recipe.execution.holds(trial.store) else 0
        forecast = replace(forecast, memory_bytes=peak(recipe.execution.device) + lying)
        short = disk_short(forecast, path)
        findings += [short] if short else []
    return Flight(replace(recipe, plan=plan), checks, findings, notes, forecast, seconds)


def checked(trial: Trial) -> list[Check]:
    """Make each check on copies of the network; what was seen, and what is wrong."""
    names = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    checks = []
    for name in names:
        if name not in NOT_CHECKS:
            with undisturbed():
                check: Check | None = import_module(f"lamina.preflight.{name}").check(trial)
            if check is not None:
                checks.append(check)
            if check is not None and check.finding is not None and check.finding.severity == "stop":
                break  # what follows would only repeat it
    return checks
