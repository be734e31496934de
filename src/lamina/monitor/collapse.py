"""Collapse: the generator makes ever fewer kinds of pictures, or none that has a place among the real ones.

``distribution_recall`` on the validation part is the share of real pictures that lie among the made ones. While a generator
learns it rises; when it collapses onto few pictures it falls, and soon, while each of those few may look good. The mean
over two epochs (one alone may be unlucky) is compared with the best such mean: recall is a share, so its standard error
follows from the size of the validation part, of which half of the best is far away for 50 examples already. So that an
early chance value is no best, the best must have reached ``LEAST``. And a generator that has spent half of its budget and
covers hardly any real picture has collapsed from the start, or never learned.
"""

from lamina.findings import Finding
from lamina.monitor.monitor import History

RECALL = "distribution_recall"
EPOCHS = 2  # over which recall is averaged
LEAST = 0.1  # that the best average must have reached, for its loss to mean something
LOST = 0.5  # share of the best that must be left
HALF = 0.5  # of the budget, after which there should be something
NOTHING = 0.02  # of the real pictures that are covered: nearly none


def find(history: History) -> Finding | None:
    """Say that made pictures are no longer various."""
    if RECALL not in history.better or len(history.epochs) < EPOCHS:
        return None
    recalls = [epoch.valid[RECALL] for epoch in history.epochs]
    averages = [sum(recalls[place : place + EPOCHS]) / EPOCHS for place in range(len(recalls) - EPOCHS + 1)]
    now, best, last = averages[-1], max(averages), history.epochs[-1]
    evidence = {"now": now, "best": best, "t": last.t}
    if best >= LEAST and now < LOST * best:
        since = history.epochs[averages.index(best) + EPOCHS - 1].epoch
        what = (
            f"The generator collapses: {now:.0%} of the real validation pictures lie among the made ones, after {best:.0%}"
            f" in epoch {since}. It makes ever fewer kinds of pictures."
        )
    elif last.t >= HALF and now < NOTHING:
        what = (
            f"After {last.t:.0%} of the budget {now:.1%} of the real validation pictures lie among the made ones: the "
            "generator makes hardly any kind of them."
        )
    else:
        return None
    return Finding(
        "generator.collapse",
        "warning",
        what,
        "A lower --lr, or a higher --set penalty; the weights of the best epoch are the ones kept.",
        (f"epoch {last.epoch}",),
        evidence=evidence,
    )
