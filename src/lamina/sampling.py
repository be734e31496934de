"""Sampling: how a network makes something up; above all, how the next token is drawn from what it says of it.

In go logits and what was said before; out comes one token per text.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lamina.errors import OptionError

if TYPE_CHECKING:  # the command line reads the options before it is known whether torch is needed
    import torch
    from torch import Tensor

TEXT_TEMPERATURE = 0.8


@dataclass(frozen=True)
class Sampling:
    """How to make something up; each docstring is the command line's help."""

    tokens: int = 200
    """Most tokens that are added."""
    temperature: float | None = None
    """Below 1 likely tokens become likelier, and 0 takes the likeliest each time: 0.8 for texts. Pictures become more usual and
    less various: 1 for pictures."""
    top_k: int = 0
    """Only this many of the likeliest tokens may come; 0 for all (Fan et al. 2018)."""
    top_p: float = 1.0
    """Only the likeliest tokens that together have this probability may come (Holtzman et al. 2020)."""
    repetition: float = 1.0
    """Above 1, tokens that came already get less likely (Keskar et al. 2019)."""
    between: int = 0
    """Pictures on the way from each that is drawn to the next."""
    seed: int = 0
    """Of the draws; each of several texts or pictures has its own, so that it does not depend on how many there are."""

    def __post_init__(self) -> None:
        rules = {
            "tokens": (self.tokens >= 1, "at least 1"),
            "temperature": (self.temperature is None or 0 <= self.temperature < float("inf"), "0 or more"),
            "top_k": (self.top_k >= 0, "0 or more"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "repetition": (1 <= self.repetition < float("inf"), "1 or more"),
            "between": (self.between >= 0, "0 or more"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                option = "--" + name.replace("_", "-")
                raise OptionError(f"{getattr(self, name)} was given; it must be {rule}.", option, "Change it.")


def generators(seed: int, texts: int) -> "list[torch.Generator]":
    """One for each text, on the CPU, which follows from the seed and the text's number."""
    import numpy as np
    import torch

    states = [np.random.SeedSequence([seed % 2**64, number]).generate_state(1, np.uint64) for number in range(texts)]
    return [torch.Generator().manual_seed(int(state[0] >> np.uint64(1))) for state in states]


def draw(logits: "Tensor", said: "Tensor", wish: Sampling, generators: "Sequence[torch.Generator]") -> "Tensor":
    """The next token of each text.

    Args:
        logits: (texts, vocabulary).
        said: (texts, tokens) so far; -1 where there is none. Of use to ``repetition`` only.
        wish: how to draw.
        generators: one for each text, on the CPU; equal generators draw equal tokens.

    Returns:
        (texts,) int64.
    """
    import torch

    logits = logits.float().cpu()
    if wish.repetition > 1:
        came = torch.zeros_like(logits, dtype=torch.bool)
        came.scatter_(1, said.clamp(min=0), True)
        came[:, 0] &= (said == 0).any(1)  # what is not there was marked as token 0
        lowered = torch.where(logits > 0, logits / wish.repetition, logits * wish.repetition)
        logits = torch.where(came, lowered, logits)
    temperature = TEXT_TEMPERATURE if wish.temperature is None else wish.temperature
    if temperature == 0:
        return logits.argmax(1)
    probabilities = (logits / temperature).softmax(1)
    ordered, tokens = probabilities.sort(dim=1, descending=True, stable=True)
    before = ordered.cumsum(1) - ordered  # probability of all that are likelier
    if wish.top_p < 1:
        ordered = ordered.masked_fill(before >= wish.top_p, 0)
    if wish.top_k:
        ordered[:, wish.top_k :] = 0
    places = [torch.multinomial(row, 1, generator=own) for row, own in zip(ordered, generators, strict=True)]
    chosen: Tensor = tokens.gather(1, torch.stack(places))[:, 0]
    return chosen
