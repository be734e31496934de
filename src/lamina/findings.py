"""Finding: the one way in which audit, checks and monitor say that something is wrong."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["note", "warning", "stop"]
ROWS = ("indices", "removable", "pairs", "suggested")
"""Evidence that names rows of the data: for programs, and true of the data as they were looked at only."""


@dataclass(frozen=True)
class Finding:
    """Something that a person should know, with its evidence and its remedy."""

    kind: str
    """A stable dotted name, such as ``leak.duplicate``."""
    severity: Severity
    """``note``: good to know; ``warning``: the score may mislead; ``stop``: the run would be worthless."""
    what: str
    """One sentence."""
    remedy: str
    """What to do, one sentence."""
    where: tuple[str, ...] = ()
    """Files, rows or steps; the first twenty when there are more."""
    count: int = 1
    """How many files, rows or steps in all."""
    evidence: dict[str, Any] = field(default_factory=dict)
    """The numbers behind it; JSON."""

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the fields as they are named here."""
        return {**asdict(self), "where": list(self.where)}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Finding":
        """The inverse of ``to_json``."""
        return cls(**{**stored, "where": tuple(stored["where"])})
