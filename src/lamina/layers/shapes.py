"""What a backbone takes: a network file names one of these as ``takes``, and a task makes it from its facts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Image:
    """Square pictures: ``forward(image)`` with (batch, channels, side, side) floats of about unit variance."""

    channels: int
    side: int
    """In pixels."""


@dataclass(frozen=True)
class Table:
    """Rows: ``forward(numbers, categories)`` with (batch, numbers) floats and (batch, categories) codes."""

    numbers: int
    """How many numbers a row has, of about unit variance; may be 0."""
    cardinalities: tuple[int, ...]
    """Per category column, how many codes there are; code 0 is "missing or never seen"."""


Shape = Image | Table
