"""Heads: what stands between a backbone's features and a task's outputs."""

import torch
from torch import Tensor, nn


class ImageClassifier(nn.Module):
    """Pixels in, logits out: normalisation, backbone, mean over the grid (Lin et al. 2014), one linear layer.

    Args:
        backbone: (batch, channels, side, side) floats -> (batch, width, height, width) features; has ``width``.
        mean: of the training pixels, per channel, between 0 and 255.
        deviation: of the training pixels, per channel.
        classes: how many logits.
        mirror: in evaluation, look at each picture mirrored, too, and answer with the mean of both probabilities; for
            pictures that were mirrored in training (Krizhevsky et al. 2012 averaged over such views).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, backbone: nn.Module, mean: list[float], deviation: list[float], classes: int, mirror: bool = False
    ) -> None:
        super().__init__()
        self.mirror = mirror
        self.memory_format = torch.channels_last  # as the pixels are stored; the execution may choose another
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(1, -1, 1, 1))
        self.backbone = backbone
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(int(backbone.width), classes)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """Logits, (batch, classes), of pictures as stored, (batch, side, side, channels) uint8, or augmented,
        (batch, side, side, channels) floats between 0 and 255."""
        pixels = image.permute(0, 3, 1, 2).contiguous(memory_format=self.memory_format)  # (batch, channels, side, side)
        scaled = (pixels.to(self.mean.dtype) - self.mean) / self.deviation
        if self.training or not self.mirror:
            return self._logits(scaled)
        both = torch.stack((self._logits(scaled), self._logits(scaled.flip(3))))  # (2, batch, classes)
        return both.float().softmax(2).mean(0).clamp_min(1e-12).log()

    def _logits(self, scaled: Tensor) -> Tensor:
        logits: Tensor = self.head(self.pool(self.backbone(scaled)).flatten(1))
        return logits


class MemberLinear(nn.Module):
    """One linear map per member of an ensemble (Gorishniy et al. 2024, TabM)."""

    def __init__(self, members: int, width: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, width, outputs).uniform_(-(width**-0.5), width**-0.5))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs).uniform_(-(width**-0.5), width**-0.5))
        self.undecayed = ("bias",)

    def forward(self, hidden: Tensor) -> Tensor:
        """From (batch, members, width) to (batch, members, outputs)."""
        return torch.baddbmm(self.bias, hidden.transpose(0, 1), self.weight).transpose(0, 1)


class TableHead(nn.Module):
    """Rows in, outputs out: backbone, and one linear map per member.

    While training the members answer one by one, since each is trained on its own loss; in evaluation the network answers
    with the mean of what they say: of their probabilities, or of their values.

    Args:
        backbone: (numbers, categories) -> (batch, members, width), or (batch, width) of a network that is no ensemble.
        outputs: classes, or 1 for a quantity.
        bounds: for a quantity, the smallest and the largest that the training part has; answers are kept between them.
    """

    def __init__(self, backbone: nn.Module, outputs: int, bounds: tuple[float, float] | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = MemberLinear(int(getattr(backbone, "members", 1)), int(backbone.width), outputs)  # type: ignore[arg-type]
        self.bounds = bounds

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """While training (batch, members, outputs); in evaluation (batch, classes) log-probabilities, or (batch,) values."""
        features = self.backbone(numbers, categories)
        outputs: Tensor = self.head(features if features.ndim == 3 else features[:, None])  # (batch, members, outputs)
        if self.training:
            return outputs
        if self.bounds is None:
            return outputs.float().softmax(2).mean(1).clamp_min(1e-12).log()
        return outputs.float().mean((1, 2)).clamp(*self.bounds)
