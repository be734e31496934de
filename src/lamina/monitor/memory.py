"""Memory: it ran out, and batches go through the network in more pieces than planned."""

from lamina.findings import Finding
from lamina.monitor.monitor import History


def find(history: History) -> Finding | None:
    """Say that the pieces became more, and how to begin so."""
    if not history.steps or history.steps[-1].micro_batches == history.steps[0].micro_batches:
        return None
    first, last = history.steps[0], history.steps[-1]
    return Finding(
        "memory.short",
        "note",
        f"Memory ran out before step {last.step}: batches go through the network in {last.micro_batches} pieces from there on. "
        "The gradient is the same, but for layers that normalise over the batch.",
        f"To begin so: --micro-batches {last.micro_batches}; or take a smaller --batch-size.",
        (f"step {last.step}",),
        evidence={"micro_batches": last.micro_batches, "planned": first.micro_batches},
    )
