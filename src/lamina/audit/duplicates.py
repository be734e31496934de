"""Duplicates within a part, and equal examples with different answers.

Equal pictures are copies. Equal rows of a table may be honest: where no column tells rows apart (each of them, but for those
that only count rows, has fewer different values than a fifth of the rows), coincidence is expected and nothing is said.
"""

from collections.abc import Iterator

import numpy as np
import polars as pl

from lamina.data.copies import coincidence_is_likely
from lamina.data.data import Data
from lamina.findings import Finding

MOST_NAMED = 10_000  # rows of the data that the evidence names
_NOTABLE = 0.01
"""Share of a part from which duplicates weigh."""
_LONGEST = 60  # characters of an answer that a finding quotes


def find(data: Data) -> Iterator[Finding]:
    """Find equal examples in one part, and equal examples whose answers differ."""
    if coincidence_is_likely(data.raws):
        return
    for part in data.counts():
        yield from _within(data, part)
    yield from _conflicts(data)


def _within(data: Data, part: str) -> Iterator[Finding]:
    members = np.flatnonzero(data.part == part)
    _, first, counts = np.unique(data.digests[members], return_index=True, return_counts=True)
    repeated = np.flatnonzero(counts > 1)
    repeated = repeated[np.argsort(first[repeated])]  # in the order of the data
    extra = int((counts - 1).sum())
    if not extra:
        return
    names = [f"{data.where[members[first[group]]]} ({counts[group]} times)" for group in repeated[:20]]
    share = extra / len(members)
    copies = np.setdiff1d(members, members[first])
    yield Finding(
        "duplicate.within",
        "warning" if share >= _NOTABLE else "note",
        f"{extra:,} of the {len(members):,} examples of the {part} part repeat another one of it ({share:.1%}).",
        "Remove the copies, unless they are meant to weigh more.",
        where=tuple(names),
        count=extra,
        evidence={
            "part": part,
            "repeated": len(repeated),
            "extra": extra,
            "share": round(share, 4),
            "removable": copies[:MOST_NAMED].tolist(),
        },
    )


def _conflicts(data: Data) -> Iterator[Finding]:
    if data.answers.dtype.kind == "f":
        return
    order = np.argsort(data.digests, kind="stable")
    digests, answers = data.digests[order], [str(answer) for answer in data.answers[order]]
    starts = np.flatnonzero(np.r_[True, digests[1:] != digests[:-1]])
    found, examples = [], 0
    torn: list[int] = []
    for start, stop in zip(starts, np.r_[starts[1:], len(digests)], strict=True):
        if stop - start > 1 and len(set(answers[start:stop])) > 1:
            rows = order[start:stop]
            examples += len(rows)
            torn += rows.tolist()
            found.append(" = ".join(f"{data.where[row]}{_quoted(data, row)}" for row in rows[:4]))
    if found:
        share = examples / len(data)
        yield Finding(
            "label.conflict",
            "warning" if share >= 0.001 or not isinstance(data.raws, pl.DataFrame) else "note",
            f"{len(found):,} examples are there several times with different answers ({examples:,} copies in all).",
            "Decide which answer is right and remove the others.",
            where=tuple(found[:20]),
            count=len(found),
            evidence={
                "contents": len(found),
                "examples": examples,
                "share": round(share, 5),
                "removable": torn[:MOST_NAMED],
            },
        )


def _quoted(data: Data, row: int) -> str:
    """An answer in brackets, where it is short: a class, a sentence; several boxes are not."""
    answer = str(data.answers[row])
    if not data.classified and not isinstance(data.answers[row], str):
        return ""
    return f" ({answer if len(answer) <= _LONGEST else answer[: _LONGEST - 3] + '...'})"
