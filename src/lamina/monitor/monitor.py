"""Monitor: reads the records of a run as they come, and says what is wrong in words. It cannot touch the training."""

import math
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from lamina.findings import Finding
from lamina.records import Epoch, Step


@dataclass
class History:
    """All records so far, and which metrics should rise or fall."""

    better: dict[str, Literal["higher", "lower"]]
    """Direction of each metric, the one that chooses the best epoch first."""
    validated: int = 0
    """Examples of the validation part."""
    shares: frozenset[str] = frozenset()
    """Metrics that are the share of examples with a property."""
    clip: float | None = None
    """The longest gradient, where longer ones are scaled down."""
    steps: list[Step] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)

    @property
    def alone(self) -> bool:
        """Whether there is one player: of several, what one gains the other loses, and no curve needs to fall."""
        return not self.epochs or len(self.epochs[0].loss) == 1

    def falling(self) -> str | None:
        """The first metric that should fall: the one that shows overfitting soonest."""
        return next((name for name, direction in self.better.items() if direction == "lower"), None)

    def lasting(self, what: Callable[[Step], dict[str, float]], records: int, early: float) -> dict[str, float]:
        """By layer, the least of a number over the last steps of which it is known, the largest first.

        Args:
            what: a step -> the number of each layer; nothing where it was not taken.
            records: how many steps; before there are so many there is nothing to be said.
            early: share of the budget that must be spent at each.
        """
        latest = [values for step in self.steps[-records:] if step.t >= early and (values := what(step))]
        if len(latest) < records:
            return {}
        names = [name for name in latest[-1] if all(name in values for values in latest)]
        least = {name: min(values[name] for values in latest) for name in names}
        return dict(sorted(least.items(), key=lambda pair: -pair[1]))


class Monitor:
    """Sees records, gives findings, each kind once. ``history`` holds what is known of the run, and no records yet."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.told: set[str] = set()
        folder = Path(__file__).parent
        names = sorted(module.name for module in pkgutil.iter_modules([str(folder)]) if module.name != "monitor")
        self.illnesses = [import_module(f"lamina.monitor.{name}") for name in names]

    def see(self, record: Step | Epoch) -> list[Finding]:
        """Take one record in; what it gives reason to say."""
        (self.history.steps if isinstance(record, Step) else self.history.epochs).append(record)  # type: ignore[arg-type]
        found = (illness.find(self.history) for illness in self.illnesses)
        new = [finding for finding in found if finding is not None and finding.kind not in self.told]
        self.told |= {finding.kind for finding in new}
        return new

    def recall(self, records: list[dict[str, Any]]) -> None:
        """Take in what a resumed run has logged already; nothing is said twice. Format 1 knew no pieces and no phases."""
        for record in records:
            fields = {name: _number(value) for name, value in record.items() if name != "kind"}
            if record["kind"] == "step":
                highest = None if record.get("highest") is None else tuple(fields["highest"])
                self.history.steps.append(Step(**{"micro_batches": 1, **fields, "highest": highest}))
            elif record["kind"] == "epoch":
                self.history.epochs.append(Epoch(**{"spent": {}, **fields}))
            elif record["kind"] == "finding":
                self.told.add(record["finding"]["kind"])


def _number(value: Any) -> Any:
    """What is not finite is null in the log, since JSON has no word for it."""
    if isinstance(value, dict):
        return {name: _number(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_number(item) for item in value]
    return math.nan if value is None else value
