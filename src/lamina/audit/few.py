"""Few examples: a test part so small that its score says little, whatever the network."""

from collections.abc import Iterator

from lamina.data.data import Data
from lamina.findings import Finding

_NOTE, _WARNING = 0.03, 0.10
"""Half-widths of the interval from which it is worth saying, and from which the score hardly says anything."""


def find(data: Data) -> Iterator[Finding]:
    """Find a test part whose 95 % interval is wide: for shares, at 90 % right; for numbers, relative to the RMSE."""
    examples = data.counts()["test"]
    if examples == 0 or not data.answered:
        return
    if data.answers.dtype.kind == "f":
        half = 1.96 / (2 * examples) ** 0.5  # of a standard deviation, for errors that are normal
        what = f"an RMSE measured on {examples:,} test examples is known to ± {half:.0%} of itself at best"
        least = _WARNING
    else:
        half = 1.96 * (0.9 * 0.1 / examples) ** 0.5
        what = (
            f"{'an accuracy' if data.classified else 'a share'} of 90 % measured on {examples:,} test examples is known to "
            f"± {100 * half:.1f} points at best"
        )
        least = _NOTE
    if half > least:
        yield Finding(
            "data.few",
            "warning" if half > max(_WARNING, 2 * least) else "note",
            f"{what[0].upper()}{what[1:]} (95 % interval).",
            "Add test examples before comparing networks that differ by less.",
            count=examples,
            evidence={"test": examples, "half_width": round(half, 4)},
        )
