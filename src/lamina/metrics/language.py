"""Scores of language models: perplexity, bits per byte, next-token accuracy, with intervals by blocks of text.

An example is a block of text. Of each, outputs hold sums over its tokens, (blocks, classes of tokens, 4): the negative
log-likelihood in nats, how often the likeliest token was the right one, how many tokens, how many bytes they stand for. Tokens
of one text are not independent, so the bootstrap draws whole blocks (Künsch 1989).
"""

import math

import torch
from torch import Tensor

from lamina.batch import Tensors
from lamina.exhibits import Exhibit, Rows
from lamina.metrics.metric import Metric

NATS, HITS, TOKENS, BYTES = range(4)
"""Places in the last dimension of the outputs."""


class Ratio(Metric):
    """A sum over blocks divided by another one. Kept per block: the ratio, by which blocks are ranked, and both sums."""

    def __init__(self, top: int, bottom: int) -> None:
        self.top, self.bottom = top, bottom

    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """(blocks, 3): the block's own ratio, what is divided, and by what; that may be 0 in a block with the other above."""
        sums = outputs.double().sum(1)  # (blocks, 4)
        top, bottom = sums[:, self.top], sums[:, self.bottom]
        return torch.stack([top / bottom.clamp(min=1), top, bottom], 1)

    def ratios(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,): the ratio of the sums."""
        return (weights @ rows[:, 1]) / (weights @ rows[:, 2])


class Perplexity(Ratio):
    """exp of the mean negative log-likelihood per token: among how many equally likely tokens the model chooses."""

    better = "lower"
    graded = True

    def __init__(self) -> None:
        super().__init__(NATS, TOKENS)

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,)."""
        return self.ratios(rows, weights).exp()


class NatsPerToken(Ratio):
    """The mean negative log-likelihood per token."""

    better = "lower"
    graded = True

    def __init__(self) -> None:
        super().__init__(NATS, TOKENS)

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,)."""
        return self.ratios(rows, weights)


class BitsPerByte(Ratio):
    """Bits that the text takes per byte of UTF-8 when the model compresses it; comparable whatever the tokens are.

    Bytes of unknown tokens are not counted, since those tokens do not tell them, while their bits are; nor are those of
    spaces in a row but one, where tokens are words.
    """

    better = "lower"
    graded = True

    def __init__(self) -> None:
        super().__init__(NATS, BYTES)

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,)."""
        return self.ratios(rows, weights) / math.log(2)


class TokenAccuracy(Ratio):
    """How often the token that the model finds likeliest is the one that follows."""

    better = "higher"

    def __init__(self) -> None:
        super().__init__(HITS, TOKENS)

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,)."""
        return self.ratios(rows, weights)


def language() -> dict[str, Metric]:
    """Perplexity first."""
    return {
        "perplexity": Perplexity(),
        "nats_per_token": NatsPerToken(),
        "bits_per_byte": BitsPerByte(),
        "next_token_accuracy": TokenAccuracy(),
    }


def with_bytes(outputs: Tensor, sizes: Tensor | None) -> Tensor:
    """Outputs, with the bytes of each block where tokens do not tell them; (blocks,), or None where they do."""
    if sizes is not None:
        outputs[..., BYTES] = 0
        outputs[:, 0, BYTES] = sizes.to(outputs)  # whose tokens they belong to, nobody asks
    return outputs


def by_frequency(outputs: Tensor, names: list[str]) -> list[Exhibit]:
    """How well tokens are predicted, by how frequent they were in training.

    Args:
        outputs: (blocks, classes of tokens, 4).
        names: of the classes.
    """
    sums = outputs.double().sum(0)  # (classes, 4)
    whole = sums[:, TOKENS].sum().clamp(min=1)
    rows = [
        [
            name,
            int(row[TOKENS]),
            float(row[TOKENS] / whole),
            float((row[NATS] / row[TOKENS]).exp()),
            float(row[HITS] / row[TOKENS]),
            float(row[NATS] / sums[:, NATS].sum()),
        ]
        for name, row in zip(names, sums, strict=True)
        if row[TOKENS] > 0
    ]
    return [
        Rows(
            "Frequent and rare tokens",
            "Test tokens by how often they came in training: rare ones are harder to foresee, and the last column says how "
            "much of the whole loss they are.",
            ["tokens", "in the test part", "share of tokens", "perplexity", "accuracy", "share of loss"],
            rows,
        )
    ]
