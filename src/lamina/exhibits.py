"""Exhibits: what an evaluation shows beside its scores, as plain data; the report draws them.

A task answers ``exhibits(outputs, targets, facts)`` with these; the run stores them as JSON; the report knows how to draw
each kind, and no task.
"""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Matrix:
    """Counts by row and column, such as a confusion matrix."""

    title: str
    explanation: str
    rows: list[str]
    columns: list[str]
    values: list[list[float]]
    row_title: str = "truth"
    column_title: str = "prediction"


@dataclass(frozen=True)
class Scatter:
    """Points; with ``diagonal`` the line on which x equals y is drawn."""

    title: str
    explanation: str
    x: list[float]
    y: list[float]
    x_title: str
    y_title: str
    diagonal: bool = False


@dataclass(frozen=True)
class Rows:
    """A small table."""

    title: str
    explanation: str
    columns: list[str]
    rows: list[list[Any]]


@dataclass(frozen=True)
class Gallery:
    """Examples to look at, each ``{"where", "caption", "shown"}``; ``shown`` as the task's ``show`` gives it."""

    title: str
    explanation: str
    items: list[dict[str, Any]] = field(default_factory=list)


Exhibit = Matrix | Scatter | Rows | Gallery


def to_json(exhibit: Exhibit) -> dict[str, Any]:
    """The fields, and the ``kind`` by which the report chooses how to draw it."""
    return {"kind": type(exhibit).__name__.lower(), **asdict(exhibit)}
