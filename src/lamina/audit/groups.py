"""Groups that straddle the split: what was learned about a patient or a speaker is met again when testing."""

from collections.abc import Iterator

import numpy as np

from lamina.data.data import Data
from lamina.findings import Finding


def find(data: Data) -> Iterator[Finding]:
    """Find groups with examples in the training part and in another one."""
    if data.groups is None:
        return
    groups = data.groups.astype(str)
    trained = np.unique(groups[data.part == "train"])
    for part in ("valid", "test"):
        members = groups[data.part == part]
        straddling = np.intersect1d(members, trained)
        if len(straddling):
            examples = int(np.isin(members, straddling).sum())
            yield Finding(
                "leak.group",
                "warning",
                f"{len(straddling):,} groups of the {part} part are in the training part as well; they hold "
                f"{examples:,} of its {len(members):,} examples.",
                "Let the split be made by group, or read the score as one for known groups.",
                where=tuple(straddling[:20].tolist()),
                count=len(straddling),
                evidence={"part": part, "groups": len(straddling), "examples": examples, "of": len(members)},
            )
