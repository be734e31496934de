"""Leaks: examples of the test or validation part that are in the training part as well: known by heart, not learned."""

from collections.abc import Iterator

import numpy as np

from lamina.audit.duplicates import MOST_NAMED
from lamina.data.copies import coincidence_is_likely
from lamina.data.data import Data
from lamina.findings import Finding

_NOTABLE = 0.01
"""Share of a part from which a leak moves its score."""


def find(data: Data) -> Iterator[Finding]:
    """Find examples that are in two parts, by equal content."""
    for part, others in (("test", ("train", "valid")), ("valid", ("train",))):
        members = np.flatnonzero(data.part == part)
        sources = np.flatnonzero(np.isin(data.part, others))
        if len(members) == 0 or len(sources) == 0:
            continue
        known, first = np.unique(data.digests[sources], return_index=True)
        leaked = members[np.isin(data.digests[members], known)]
        if len(leaked) == 0:
            continue
        twins = sources[first[np.searchsorted(known, data.digests[leaked])]]
        share = len(leaked) / len(members)
        honest = coincidence_is_likely(data.raws)
        reason = " (rows that can be equal by coincidence: no column tells them apart)" if honest else ""
        yield Finding(
            "leak.duplicate",
            "note" if honest or share < _NOTABLE else "warning",
            f"{len(leaked):,} of the {len(members):,} examples of the {part} part ({share:.1%}) are in the "
            f"{' or '.join(others)} part as well{reason}.",
            f"Remove them from one of the parts; examples learned by heart make the {part} score too good.",
            where=tuple(
                f"{data.where[row]} = {data.where[twin]}" for row, twin in zip(leaked[:20], twins, strict=False)
            ),
            count=len(leaked),
            evidence={
                "part": part,
                "leaked": len(leaked),
                "examples": len(members),
                "share": round(share, 4),
            }
            | ({} if honest else _rows(data, members, sources, leaked)),
        )


def _rows(data: Data, members: np.ndarray, sources: np.ndarray, leaked: np.ndarray) -> dict[str, list[int]]:
    """The examples that leaked, and those of the other parts that they are equal to: leaving these out mends it."""
    copies = sources[np.isin(data.digests[sources], data.digests[members])]
    return {"indices": leaked[:MOST_NAMED].tolist(), "removable": copies[:MOST_NAMED].tolist()}
