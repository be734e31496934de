"""Scores of speech recognition: word and character error rate, exact transcripts, with intervals by utterance.

Outputs are rows of frames, as ``ctc`` has them; targets are ``transcript``,
(utterances, longest) token ids, with ``transcript_lengths``, and ``speaker``, the bytes of a name, with ``speaker_lengths``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lamina.batch import Tensors
from lamina.exhibits import Exhibit, Rows
from lamina.metrics.metric import Metric

Step = tuple[str, str]
"""One step of an alignment: what was said and what was heard; "" where there is nothing."""


@dataclass(frozen=True)
class Hearing:
    """What outputs say as texts, and what was said."""

    read: Callable[[Tensor], list[str]]
    """Outputs in, the text of each utterance out."""
    spell: Callable[[Sequence[int]], str]
    """Token ids in, the text out."""

    def pairs(self, outputs: Tensor, targets: Tensors) -> list[tuple[str, str]]:
        """(truth, heard) of each utterance."""
        truths = [
            self.spell(row[:length].tolist())
            for row, length in zip(targets["transcript"], targets["transcript_lengths"].tolist(), strict=True)
        ]
        return list(zip(truths, self.read(outputs), strict=True))


class ErrorRate(Metric):
    """Substitutions, deletions and insertions by what was said. Kept per utterance: the ratio, by which they are ranked, and
    both numbers."""

    better = "lower"
    share = True  # where no utterance has an error, each counts as one trial: that is no proof of perfection

    def __init__(self, hearing: Hearing, words: bool) -> None:
        self.hearing, self.words = hearing, words

    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """(utterances, 3): the utterance's own rate, errors, words or characters."""
        from rapidfuzz.distance import Levenshtein

        rows = []
        for truth, heard in self.hearing.pairs(outputs, targets):
            said = truth.split() if self.words else list(truth)
            errors = Levenshtein.distance(said, heard.split() if self.words else list(heard))
            rows.append([errors / max(1, len(said)), errors, len(said)])
        return torch.tensor(rows, dtype=torch.float64).view(-1, 3)

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,)."""
        return (weights @ rows[:, 1]) / (weights @ rows[:, 2])


def standard_error(rows: Tensor) -> float:
    """Of an error rate, from what was kept of each utterance (of a ratio of sums, Cochran 1977, section 6.3)."""
    errors, said = rows[:, 1], rows[:, 2]
    gap = errors - said * (errors.sum() / said.sum())
    return float((gap.square().sum() * len(rows) / max(1, len(rows) - 1)).sqrt() / said.sum())


class Exact(Metric):
    """The share of utterances whose transcript is right to the letter."""

    better = "higher"
    share = True

    def __init__(self, hearing: Hearing) -> None:
        self.hearing = hearing

    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """(utterances, 1)."""
        pairs = self.hearing.pairs(outputs, targets)
        return torch.tensor([[float(truth == heard)] for truth, heard in pairs], dtype=torch.float64).view(-1, 1)

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,)."""
        return (weights @ rows[:, 0]) / weights.sum(1)


def speech(hearing: Hearing) -> dict[str, Metric]:
    """Word error rate first."""
    return {
        "word_error_rate": ErrorRate(hearing, words=True),
        "character_error_rate": ErrorRate(hearing, words=False),
        "accuracy": Exact(hearing),
    }


def aligned(truth: Sequence[str], heard: Sequence[str]) -> list[Step]:
    """The steps of a shortest way from what was said to what was heard (Levenshtein 1966)."""
    from rapidfuzz.distance import Levenshtein

    steps: list[Step] = []
    for what, *places in Levenshtein.opcodes(truth, heard):
        begin, end, first, after = map(int, places)
        said, written = truth[begin:end], heard[first:after]
        if what == "equal" or what == "replace":
            steps += zip(said, written, strict=True)
        else:
            steps += [(word, "") for word in said] + [("", word) for word in written]
    return steps


def in_words(steps: Sequence[Step]) -> str:
    """An alignment in a line: one [two → too] [+ the] [− end]."""
    told = []
    for said, heard in steps:
        told.append(
            said
            if said == heard
            else f"[− {said}]"
            if not heard
            else f"[+ {heard}]"
            if not said
            else f"[{said} → {heard}]"
        )
    return " ".join(told)


def exhibits(outputs: Tensor, targets: Tensors, hearing: Hearing, known: Sequence[str]) -> list[Exhibit]:
    """Errors by kind, and scores by speaker, where there are names.

    Args:
        outputs: rows of frames.
        targets: transcripts and speakers.
        hearing: reads them.
        known: the speakers of the training part.
    """
    pairs = hearing.pairs(outputs, targets)
    counts: dict[Step, int] = {}
    for truth, heard in pairs:
        for step in aligned(truth.split(), heard.split()):
            if step[0] != step[1]:
                counts[step] = counts.get(step, 0) + 1
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:20]
    shown: list[Exhibit] = []
    if most:
        what = [[said or "(nothing)", heard or "(nothing)", count] for (said, heard), count in most]
        explanation = "The most frequent errors: what was said, and what was heard."
        shown.append(Rows("Confused words", explanation, ["said", "heard", "times"], what))
    names = [
        bytes(row[:length].tolist()).decode(errors="replace")
        for row, length in zip(targets["speaker"], targets["speaker_lengths"].tolist(), strict=True)
    ]
    if any(names):
        words, exact = ErrorRate(hearing, words=True), Exact(hearing)
        rows = {name: metric.observe(outputs, targets) for name, metric in (("words", words), ("exact", exact))}
        table = []
        for name in sorted(set(names)):
            mine = torch.tensor([other == name for other in names])
            scores = [round(metric.value(rows[kind][mine]), 3) for kind, metric in (("words", words), ("exact", exact))]
            table.append([name, int(mine.sum()), *scores, "yes" if name in known else "no"])
        shared = sum(row[-1] == "yes" for row in table)
        explanation = f"{shared} of {len(table)} test speakers were heard in training" + (
            ", so the scores say little about a new voice: --group keeps speakers apart." if shared else "."
        )
        columns = ["speaker", "utterances", "word error rate", "accuracy", "in training"]
        shown.append(Rows("By speaker", explanation, columns, table))
    return shown
