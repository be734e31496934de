"""Two players and their judge: what a task that makes pictures up puts around a backbone for ``Canvas``.

noise (and a class) → generator → a picture; pictures → discriminator → scores; pictures → judge → features, by which what was
made is compared with what is real.
"""

from typing import Any

import torch
from torch import Tensor, nn


class Players(nn.Module):
    """Generator, discriminator and judge as one network.

    Args:
        backbone: has ``generator`` and ``discriminator``, as ``Canvas`` says.
        judge: (batch, side, side, channels) pixels from 0 to 255 → (batch, width) features and, where it knows the classes,
            (batch, classes) logits; it does not learn.
        penalty: weight of the gradient penalties in the discriminator's loss.
    """

    def __init__(self, backbone: nn.Module, judge: nn.Module, penalty: float) -> None:
        super().__init__()
        self.penalty = penalty
        self.generator: Any = backbone.get_submodule("generator")
        self.discriminator: Any = backbone.get_submodule("discriminator")
        self.judge = judge.requires_grad_(False)

    def forward(self, image: Tensor, noise: Tensor, wanted: Tensor, variation: Tensor) -> Tensor:
        """What is kept of a real picture and of one that is made beside it, as ``metrics/generation.py`` reads it."""
        made = self.generator(noise, wanted)
        score = self.discriminator(made, wanted)[:, None]
        real_scores = self.discriminator.of_each_class(signed(image))  # (batch, classes)
        return torch.cat([judged(self.judge, pixels_of(made), image, wanted), score, real_scores], 1)


def judged(judge: nn.Module, made: Tensor, image: Tensor, wanted: Tensor) -> Tensor:
    """What a judge sees in pixels that were made and in real ones, both (batch, side, side, channels).

    Returns:
        (batch, 2 width + 3): features of both, for which class the made one is taken, which was wanted, and for which class the
        real one is taken; 0 where the judge knows no classes.
    """
    own, logits = judge(made)
    features, known = judge(image)
    taken = [wanted * 0 if said is None else said.argmax(1) for said in (logits, known)]
    classes = torch.stack([taken[0], wanted, taken[1]], 1)  # bfloat16 would round those above 256
    return torch.cat([own.float(), features.float(), classes.float()], 1)


def signed(image: Tensor) -> Tensor:
    """(batch, side, side, channels) from 0 to 255 as (batch, channels, side, side) floats from -1 to 1."""
    return image.permute(0, 3, 1, 2).float() / 127.5 - 1


def pixels_of(made: Tensor) -> Tensor:
    """The inverse of ``signed``; floats."""
    return ((made.float() + 1) * 127.5).permute(0, 2, 3, 1)


def as_pixels(made: Tensor) -> Tensor:
    """The same as uint8, as a file holds it. No judge gets these: rounding would make more of the last digits of a sum, which
    depend on how many pictures are made together."""
    return pixels_of(made).round().clamp(0, 255).byte()
