"""Data: examples as they lie on disk or in memory, with where each came from and which part it belongs to.

Everything is a column: one entry per example, so that a part of the data is one gather (``take``).
"""

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from lamina.findings import Finding

Part = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = ("train", "valid", "test")
Raws = np.ndarray | pl.DataFrame
"""Examples before encoding: image paths (an array of objects), pixels (examples, height, width[, channels]), or the
rows of a table. Anything that has a length and can be indexed by an array."""
Arrays = dict[str, np.ndarray]
"""Encoded examples: named arrays whose first dimension counts examples. One of objects is ragged: each is an array of its own
length (boxes, samples, tokens), all of one type and otherwise one shape."""


@dataclass(frozen=True)
class Source:
    """What the user pointed at, and what they said about it."""

    where: Any
    """A path; or, from Python, a pandas or polars DataFrame, an array of examples, or a pair (examples, answers)."""
    target: str | None = None
    """The column that holds the answer."""
    group: str | None = None
    """A column whose equal values must stay on one side of a split, such as a patient or a speaker."""
    time: str | None = None
    """A column in whose order the data are split: the past trains, the future tests."""
    columns: list[dict[str, Any]] | None = None
    """What the columns of a table were in training, as facts have them; where there was none yet, they are found out."""

    @property
    def path(self) -> Path | None:
        """The path, when the source is one."""
        return Path(self.where) if isinstance(self.where, str | Path) else None

    @property
    def name(self) -> str:
        """A short name for run directories and titles."""
        if self.path is None:
            return "data"
        stem = self.path.resolve().name
        for ending in (".gz", ".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".txt", ".text", ".md", ".tokens"):
            stem = stem.removesuffix(ending)
        return stem or "data"


@dataclass(frozen=True)
class Data:
    """Examples with their answers, their origin and their part."""

    raws: Raws
    answers: np.ndarray
    """(examples,): class names (objects) or numbers; not-a-number where an example is its own answer."""
    where: np.ndarray
    """(examples,) strings: ``roses/1.jpg`` or ``houses.csv:17`` (the line in the file), for messages and reports."""
    part: np.ndarray
    """(examples,) strings: "train", "valid", "test", or "" where the source did not say."""
    digests: np.ndarray
    """(examples,) uint64: equal for examples whose content, without the answer, is equal byte for byte."""
    groups: np.ndarray | None = None
    """(examples,): examples of one group are split together."""
    balanced: np.ndarray | None = None
    """(examples,): what a split balances, where an answer is no class itself (boxes, sentences)."""
    times: np.ndarray | None = None
    """(examples,): what the split is ordered by."""
    spellings: dict[str, str] = field(default_factory=dict)
    """By column of a table, the form in which its cells are written, where that is not plain: prediction reads so too."""
    notes: tuple[str, ...] = ()
    """What was recognised, decided and assumed; said aloud, one sentence each."""
    findings: tuple[Finding, ...] = ()
    """What reading found wrong."""

    def __len__(self) -> int:
        return len(self.answers)

    @property
    def classified(self) -> bool:
        """Whether an answer is a class; otherwise it is a number, several things at once, or the example itself."""
        return self.answers.dtype.kind != "f" and self.balanced is None

    @property
    def answered(self) -> bool:
        """Whether there are answers; where an example is its own, as in language modelling, they are not-a-number."""
        return not (self.answers.dtype.kind == "f" and bool(np.isnan(self.answers[:1]).all()))

    def take(self, indices: np.ndarray) -> "Data":
        """The examples at ``indices``, in that order; notes and findings stay."""
        return replace(
            self,
            raws=self.raws[indices],
            answers=self.answers[indices],
            where=self.where[indices],
            part=self.part[indices],
            digests=self.digests[indices],
            groups=None if self.groups is None else self.groups[indices],
            times=None if self.times is None else self.times[indices],
            balanced=None if self.balanced is None else self.balanced[indices],
        )

    def of(self, part: Part) -> "Data":
        """The examples of one part, in their order."""
        return self.take(np.flatnonzero(self.part == part))

    def counts(self) -> dict[str, int]:
        """How many examples each part holds."""
        return {part: int((self.part == part).sum()) for part in PARTS}

    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change when an example, an answer or the order changes."""
        digest = hashlib.blake2b(np.ascontiguousarray(self.digests).tobytes(), digest_size=8)
        digest.update("\0".join(map(str, self.answers.tolist())).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()
