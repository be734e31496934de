"""Showing: what findings of the audit point at, for people to look at: suspected labels in their ranking, pairs of copies."""

import numpy as np

from lamina.data.data import Data
from lamina.exhibits import Gallery
from lamina.findings import Finding
from lamina.tasks.task import Facts, Task

EXAMPLES = 12
PAIRS = 6


def galleries(task: Task, facts: Facts, data: Data, findings: list[Finding]) -> list[Gallery]:
    """One for each finding whose evidence names ``suggested`` answers or ``pairs``.

    Args:
        task: shows examples.
        facts: what it learned from the training part.
        data: that was audited.
        findings: of the audit.
    """
    return [
        gallery
        for finding in findings
        for gallery in (_suspected(task, facts, data, finding), _pairs(task, facts, data, finding))
        if gallery is not None
    ]


def _suspected(task: Task, facts: Facts, data: Data, finding: Finding) -> Gallery | None:
    if not finding.evidence.get("suggested"):
        return None
    rows = np.array(finding.evidence["indices"][:EXAMPLES], dtype=np.int64)
    captions = [
        f"{data.answers[row]}; looks like {other}"
        for row, other in zip(rows, finding.evidence["suggested"], strict=False)
    ]
    explanation = (
        "The other training examples contradict these labels; the most suspicious first. Some may be exceptions."
    )
    return Gallery("Labels to look at", explanation, _items(task, facts, data, rows, captions))


def _pairs(task: Task, facts: Facts, data: Data, finding: Finding) -> Gallery | None:
    pairs = np.array(finding.evidence.get("pairs", [])[:PAIRS], dtype=np.int64)
    if not len(pairs):
        return None
    captions = [f"pair {1 + place // 2}, {data.part[row]}" for place, row in enumerate(pairs.ravel())]
    part = finding.evidence["part"]
    title = f"Nearly equal, in the {part} part" + (" and another one" if finding.kind.startswith("leak") else "")
    return Gallery(title, "Each example stands beside its double.", _items(task, facts, data, pairs.ravel(), captions))


def _items(task: Task, facts: Facts, data: Data, rows: np.ndarray, captions: list[str]) -> list[dict[str, object]]:
    truths = data.answers[rows] if data.answered else None
    shown = task.show(data.raws[rows], facts, truths)
    return [
        {"where": str(data.where[row]), "caption": caption, "shown": seen}
        for row, caption, seen in zip(rows, captions, shown, strict=True)
    ]
