"""Material: what a run directory holds, read once; every chapter of the report is written from it.

A file that is absent or damaged is None here, and what that means is said in ``problems``: a run that was stopped early
still gets a report.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamina.errors import RunError
from lamina.findings import Finding
from lamina.report import words
from lamina.run import Run

Json = dict[str, Any]


@dataclass(frozen=True)
class Material:
    """The content of a run's files."""

    path: Path
    recipe: Json
    facts: Json
    environment: Json
    layers: Json
    preflight: Json
    audit: Json
    test: Json
    """``evaluation/test.json``; empty when the test part was not evaluated."""
    seeds: Json
    advice: Json
    reads: list[Json]
    """Each reading of the test part."""
    prepared: float | None
    """Seconds from the command to the first step; None when they were not recorded."""
    audited: float | None
    flown: float | None
    """Of these, the seconds of the audit and of the pre-flight."""
    notes: list[str]
    steps: list[Json]
    epochs: list[Json]
    findings: list[Finding]
    end: Json | None
    """The last record, when training came to an end."""
    augmented: bytes | None
    problems: list[str]
    """Files that are there and cannot be read."""

    @property
    def metric(self) -> str | None:
        """The task's first metric, which chose the best epoch."""
        scores = self.test.get("scores") or (self.epochs[-1].get("valid") if self.epochs else None)
        return next(iter(scores or {}), None)

    @property
    def best(self) -> Json | None:
        """The epoch whose weights were kept."""
        return next((epoch for epoch in reversed(self.epochs) if epoch.get("best")), None)

    @property
    def seconds(self) -> float | None:
        """Duration of training: what the end says, or as far as the records go."""
        known = [sum(epoch.get("seconds") or 0 for epoch in self.epochs)]
        known += [record.get("seconds") or 0 for record in (*self.steps[-1:], *([self.end] if self.end else []))]
        return max(known) or None

    def lower(self, metric: str) -> bool:
        """Whether less of the metric is better."""
        said = (self.test.get("scores") or {}).get(metric, {}).get("better")
        return said == "lower" if said else words.usually_lower(metric)

    def best_baseline(self) -> tuple[str, Json] | None:
        """Name and score of the baseline that does best on the first metric."""
        metric = self.metric
        if metric is None:
            return None
        known = [
            (name, scores[metric])
            for name, scores in (self.test.get("baselines") or {}).items()
            if (scores.get(metric) or {}).get("value") is not None
        ]
        pick = min if self.lower(metric) else max
        return pick(known, key=lambda item: item[1]["value"]) if known else None


def gather(run: Run) -> Material:
    """Read what the run has.

    Raises:
        RunError: ``recipe.json`` is absent or damaged, so that nothing true could be said.
    """
    problems: list[str] = []
    by_kind: dict[str, list[Json]] = {"note": [], "step": [], "epoch": [], "end": []}
    end: Json | None = None
    for record in run.records():
        by_kind.setdefault(record["kind"], []).append(record)
        if record["kind"] in ("step", "epoch", "end"):  # a run that was resumed went on after its end
            end = record if record["kind"] == "end" else None
    picture = run.path / "pictures" / "augmented.png"
    return Material(
        path=run.path,
        recipe=run.read("recipe.json"),
        facts=_read(run, "facts.json", {}, problems),
        environment=_read(run, "environment.json", {}, problems),
        layers=_read(run, "layers.json", {}, problems),
        preflight=_read(run, "preflight.json", {}, problems),
        audit=_read(run, "audit.json", {}, problems),
        test=_read(run, "evaluation/test.json", {}, problems),
        seeds=_read(run, "seeds.json", {}, problems),
        advice=_read(run, "advice.json", {}, problems),
        reads=_read(run, "test_reads.json", [], problems),
        prepared=_prepared(by_kind.get("prepared", []), "seconds"),
        audited=_prepared(by_kind.get("prepared", []), "audit"),
        flown=_prepared(by_kind.get("prepared", []), "preflight"),
        notes=[str(record.get("what", "")) for record in by_kind["note"]],
        steps=by_kind["step"],
        epochs=by_kind["epoch"],
        findings=run.findings(),
        end=end,
        augmented=picture.read_bytes() if picture.is_file() else None,
        problems=problems,
    )


def _prepared(records: list[Json], what: str) -> float | None:
    known = [record[what] for record in records if isinstance(record.get(what), int | float)]
    return known[-1] if known else None


def _read(run: Run, name: str, absent: Any, problems: list[str]) -> Any:
    if not run.has(name):
        return absent
    try:
        content = run.read(name)
    except RunError as error:
        problems.append(f"{name}: {error.what}")
        return absent
    if type(content) is not type(absent):
        problems.append(f"{name}: its content is not what Lamina writes there.")
        return absent
    return content
