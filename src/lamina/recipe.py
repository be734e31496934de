"""Recipe: all that is needed to repeat a run. It is ``recipe.json`` of a run, as typed fields."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import lamina
from lamina import find
from lamina.data.data import Source
from lamina.data.split import SHARE
from lamina.errors import OptionError, RunError, unknown
from lamina.execution import Execution
from lamina.plan import Plan
from lamina.run import Run
from lamina.tasks.task import Task

Options = TypeVar("Options", Plan, Execution)


@dataclass(frozen=True)
class Recipe:
    """How a run was made, complete: derived values included."""

    source: Source
    task: Task
    network: str
    """A family's name; "own" for a module that the caller passed in."""
    size: str
    dropout: float | None
    plan: Plan
    execution: Execution
    valid_share: float = SHARE
    test_share: float = SHARE
    fingerprint: str = ""
    """Of the data; another one means that they have changed."""
    accept: tuple[str, ...] = ()
    """Kinds of findings that do not stop the run."""
    weights: str | None = None
    """A file of weights from which the network starts, where the user named one."""
    fix: tuple[str, ...] = ()
    """Kinds of findings whose examples are left out of the training and validation part."""
    left_out: tuple[int, ...] = ()
    """Examples that were left out for that, by their place in the data."""
    split_seed: int | None = None
    """By which the data were split, where that is not the plan's seed."""
    unread: tuple[int, ...] = ()
    """Examples that could not be read when the run was made, likewise: they are in no part, though they can be read one day."""
    parts: str = ""
    """A digest of which part each example is in; another one means that the split is not what it was."""

    @property
    def splits_by(self) -> int:
        """The seed of the split."""
        return self.plan.seed if self.split_seed is None else self.split_seed

    def to_json(self) -> dict[str, Any]:
        """The content of ``recipe.json``."""
        return {
            "lamina": lamina.__version__,
            "data": {
                "source": None if self.source.path is None else str(self.source.path.resolve()),
                **{name: getattr(self.source, name) for name in ("target", "group", "time")},
                "valid_share": self.valid_share,
                "test_share": self.test_share,
                "fingerprint": self.fingerprint,
                "parts": self.parts,
                "split_seed": self.split_seed,
            },
            "task": {"name": find.name_of(type(self.task)), "options": asdict(self.task)},
            "network": {"name": self.network, "size": self.size, "dropout": self.dropout, "weights": self.weights},
            "plan": asdict(self.plan),
            "execution": self.execution.to_json(),
            "accept": list(self.accept),
            "fix": list(self.fix),
            "left_out": list(self.left_out),
            "unread": list(self.unread),
        }

    @classmethod
    def of(cls, run: Run, where: Any = None) -> "Recipe":
        """The recipe of a run; ``where`` replaces its source. Raises RunError when a part of it is missing."""
        stored = run.read("recipe.json")
        try:
            data, network = stored["data"], stored["network"]
            where = where if where is not None else data["source"]
            return cls(
                Source(where, data["target"], data["group"], data["time"]),
                with_options(find.task(stored["task"]["name"]), stored["task"]["options"]),
                network["name"],
                network["size"],
                network["dropout"],
                Plan(**stored["plan"]),
                Execution(  # format 1 has a table
                    **{name: value for name, value in stored["execution"].items() if name != "table"}
                ).here(),
                data["valid_share"],
                data["test_share"],
                data["fingerprint"],
                tuple(stored.get("accept", ())),
                network.get("weights"),
                tuple(stored.get("fix", ())),
                tuple(stored.get("left_out", ())),
                data.get("split_seed"),
                tuple(stored.get("unread", ())),
                data.get("parts", ""),
            )
        except (KeyError, TypeError) as error:
            raise RunError(
                f"the recipe is damaged ({error}).", str(run.path / "recipe.json"), "Restore the file."
            ) from None


def with_options(task: type[Task], options: dict[str, Any]) -> Task:
    """A task with some of its options set. Raises OptionError for one it does not have."""
    hints = get_type_hints(task)
    _check(
        options,
        {field.name: hints[field.name] for field in fields(task)},
        f"option of {find.name_of(task)}",
        "--set {}",
    )
    return task(**options)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a type: a class, a choice of values, or one of several types."""
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_args(hint):
        return any(_fits(value, one) for one in get_args(hint))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def _in_words(hint: Any) -> str:
    """What a value may be: "int or none", or "one of red, green"."""
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if get_args(hint):
        return " or ".join(map(_in_words, get_args(hint)))
    return "none" if hint is type(None) else str(hint.__name__)


def changed(plan: Plan, overrides: dict[str, Any]) -> Plan:
    """The plan with those fields replaced that are given (not None)."""
    return with_fields(plan, {name: value for name, value in overrides.items() if value is not None})


def with_fields(given: Options, overrides: dict[str, Any]) -> Options:
    """A Plan or an Execution with some fields replaced. Raises OptionError for one it does not have, or of a wrong type."""
    kind = type(given)
    _check(overrides, get_type_hints(kind), f"option of the {kind.__name__.lower()}", "--{}")
    return replace(given, **overrides)


def _check(values: dict[str, Any], hints: dict[str, Any], what: str, written: str) -> None:
    """Raise OptionError for a name that is not among the hints, and for a value of another type."""
    for name in values:
        if name not in hints:
            raise unknown(what, name, hints)
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise OptionError(
                f"{value!r} was given; it must be {_in_words(hints[name])}.",
                written.format(name if " " in written else name.replace("_", "-")),
                "Change it.",
            )
