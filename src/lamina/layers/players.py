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
    """

    def __init__(self, backbone: nn.Module, judge: nn.Module) -> None:
        super().__init__()
        self.generator: Any = backbone.get_submodule("generator")
        self.discriminator: Any = backbone.get_submodule("discriminator")
        self.judge = judge.requires_grad_(False)

    def forward(self, image: Tensor, noise: Tensor, wanted: Tensor, variation: Tensor) -> Tensor:
        """What is kept of a real picture and of one that is made beside it, as ``metrics/generation.py`` reads it."""
        made = self.generator(noise, wanted)
        scores = self.discriminator(made, wanted)[:, None]
        real_scores = self.discriminator.of_each_class(signed(image))  # (batch, classes)
        return torch.cat([*self.judged(as_pixels(made), image, wanted), scores, real_scores], 1)

    def judged(self, made: Tensor, image: Tensor, wanted: Tensor) -> list[Tensor]:
        """The judge on pixels that were made and on real ones: features of each, and (batch, 1) whether what was made was
        recognised as what was wanted; not-a-number where the judge knows no classes."""
        own, logits = self.judge(made)
        features, _ = self.judge(image)
        recognised = (
            torch.full_like(own[:, 0], torch.nan) if logits is None else (logits.argmax(1) == wanted).to(own.dtype)
        )
        return [own, features, recognised[:, None]]


def signed(image: Tensor) -> Tensor:
    """(batch, side, side, channels) from 0 to 255 as (batch, channels, side, side) floats from -1 to 1."""
    return image.permute(0, 3, 1, 2).float() / 127.5 - 1


def as_pixels(made: Tensor) -> Tensor:
    """The inverse of ``signed``, uint8: what is not stored in a file is not judged either."""
    return ((made.float() + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
