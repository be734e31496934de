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


@dataclass(frozen=True)
class Tokens:
    """A sequence of token ids, read from left to right: ``forward(tokens, **carried)`` with (rows, length) integers.

    It returns features, (rows, length, width), and what is carried on, tensors whose first dimension counts rows. A backbone
    has ``width``, ``window`` (tokens of a training window that suits it), ``carries`` (whether a training batch gets what
    the one before left), ``embedding`` (vocabulary, width), whose weight the head shares, and ``start(rows)``, what is
    carried before anything was read.
    """

    vocabulary: int
    """How many different tokens there are."""


@dataclass(frozen=True)
class Recording:
    """Sound as log-mel features: ``forward(features, lengths)`` with (batch, frames, bands) floats of about unit variance,
    zeros behind the end of each, and (batch,) how many frames each has.

    It returns features, (batch, frames / 2 rounded up, width), and the lengths of these; what is behind an end changes nothing
    before it.
    """

    bands: int
    """How many bands of the mel scale there are."""


@dataclass(frozen=True)
class Canvas:
    """Pictures to be made up: a module with two players.

    ``generator(noise, label)`` makes (batch, channels, side, side) floats from -1 to 1; ``discriminator(image, label)`` gives
    (batch,) scores, the higher the more real, and its ``of_each_class(image)`` those for each class; ``forward`` is the
    generator's.
    """

    channels: int
    side: int
    """Pixels."""
    classes: int
    """How many classes there are; 0 where pictures are made without."""
    noise: int = 64
    """Numbers that each picture is made from, of the standard normal distribution."""


Shape = Image | Table | Tokens | Recording | Canvas
