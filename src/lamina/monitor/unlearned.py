"""Unlearned: a class that the network answers no validation example with, though there are some of it.

Early in training the frequent classes are learned first, and a class of few examples may be missed by chance: so half of the
budget must be spent, ``FEWEST`` examples of the class be there, and none be answered so at each of ``EPOCHS`` epochs in a
row. It is a note, since the epochs that are left may mend it; the proof looks again.
"""

from lamina.by_class import FEWEST
from lamina.findings import Finding
from lamina.monitor.monitor import History

EPOCHS = 3
HALF = 0.5  # of the budget


def find(history: History) -> Finding | None:
    """Name the classes that are never answered."""
    latest = history.epochs[-EPOCHS:]
    if len(latest) < EPOCHS or latest[-1].t < HALF:
        return None
    never = {
        name: int(row[0])
        for name, row in latest[-1].classes.items()
        if row[0] >= FEWEST and all(epoch.classes.get(name, row)[1] == 0 for epoch in latest)
    }
    if not never:
        return None
    names, asked = ", ".join(list(never)[:3]) + ", ..." * (len(never) > 3), sum(never.values())
    return Finding(
        "class.unlearned",
        "note",
        f"For {EPOCHS} epochs the network has answered no validation example with {names}, though {asked:,} are of "
        f"{'these classes' if len(never) > 1 else 'this class'}.",
        "Give rare classes more weight (--set class_weights=true), add examples of them, or train longer.",
        tuple(list(never)[:20]),
        len(never),
        evidence={"epoch": latest[-1].epoch, "asked": asked},
    )
