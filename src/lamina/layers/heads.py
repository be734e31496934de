"""Heads: what stands between a backbone's features and a task's outputs."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamina.batch import Tensors
from lamina.layers.linear_cross_entropy import HELD, IGNORED, linear_cross_entropy

STRETCH = 256  # tokens that are read, and on a CPU scored, at a time


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
        self.temperature = 1.0  # that of calibration; the validation part settles it after training
        self.memory_format = torch.channels_last  # as the pixels are stored; the execution may choose another
        mean, deviation = pixel_scale(backbone, mean, deviation)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(1, -1, 1, 1))
        self.backbone = backbone
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(int(backbone.width), classes)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """Logits, (batch, classes), of pictures as stored, (batch, side, side, channels) uint8, or augmented,
        (batch, side, side, channels) floats between 0 and 255."""
        logits: Tensor = self.head(self.features(image))
        if self.training:
            return logits
        if self.mirror:
            both = torch.stack((logits, self.head(self.features(image.flip(2)))))  # (2, batch, classes)
            logits = both.float().softmax(2).mean(0).clamp_min(1e-12).log()
        return logits / self.temperature

    def features(self, image: Tensor) -> Tensor:
        """What the linear layer sees of pictures, (batch, width)."""
        pixels = image.permute(0, 3, 1, 2).contiguous(memory_format=self.memory_format)  # (batch, channels, side, side)
        scaled = (pixels.to(self.mean.dtype) - self.mean) / self.deviation
        features: Tensor = self.pool(self.backbone(scaled)).flatten(1)
        return features


def pixel_scale(backbone: nn.Module, mean: list[float], deviation: list[float]) -> tuple[list[float], list[float]]:
    """By which pixels are normalised: what a pretrained backbone learned with, or else what the training part has."""
    known, spread = getattr(backbone, "pixel_mean", mean), getattr(backbone, "pixel_deviation", deviation)
    return known[: len(mean)], spread[: len(deviation)]


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
        self.temperature = 1.0  # that of calibration, for classes; the validation part settles it after training

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """While training (batch, members, outputs); in evaluation (batch, classes) log-probabilities, or (batch,) values."""
        features = self.backbone(numbers, categories)
        outputs: Tensor = self.head(features if features.ndim == 3 else features[:, None])  # (batch, members, outputs)
        if self.training:
            return outputs
        if self.bounds is None:
            return outputs.float().softmax(2).mean(1).clamp_min(1e-12).log() / self.temperature
        return outputs.float().mean((1, 2)).clamp(*self.bounds)


class LanguageModel(nn.Module):
    """A backbone that reads tokens, and what it says of the next one: its features times the embedding, and a bias.

    The embedding serves twice, to read tokens and to say them (Press & Wolf 2017; Inan et al. 2017). Of a large vocabulary,
    training compares the token that follows with some others only (Jean et al. 2015), see ``candidates``.
    """

    backbone: Any
    classes: Tensor
    bytes: Tensor
    frequent: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        classes: Sequence[int],
        sizes: Sequence[int],
        frequent: Sequence[int] = (),
        drawn: int = 0,
    ) -> None:
        """Put it on a backbone for ``Tokens``.

        Args:
            backbone: with ``embedding``, ``start`` and ``window``.
            classes: of each token: in which class of tokens it is counted.
            sizes: of each token: how many bytes of text it stands for.
            frequent: tokens with which training always compares, where it does not with all.
            drawn: how many of the others are drawn for each step; 0 to compare with all.
        """
        super().__init__()
        self.drawn = drawn
        self.backbone = backbone
        self.bias = nn.Parameter(torch.zeros(len(classes)))
        self.register_buffer("classes", torch.tensor(classes), persistent=False)
        self.register_buffer("frequent", torch.tensor(frequent, dtype=torch.int64), persistent=False)
        self.register_buffer("bytes", torch.tensor(sizes, dtype=torch.int64), persistent=False)

    def forward(self, tokens: Tensor, following: Tensor | None = None, **carried: Tensor) -> tuple[Tensor, Tensors]:
        """Read tokens, (rows, length), after what is carried.

        Returns:
            (rows, length, vocabulary) logits of the next token; or, with the ``following`` tokens, (rows, length) their
            negative log-likelihoods in nats, 0 where they are ignored: then the logits never exist all at once. And what is
            carried on.
        """
        features, carried = self.backbone(tokens, **carried)  # (rows, length, width)
        if following is None:
            return self.following(features), carried
        weight = self.backbone.embedding.weight
        if not self.training or not self.drawn:
            return linear_cross_entropy(features, weight, self.bias, following), carried
        tokens, factor, place = self.candidates(following)
        return linear_cross_entropy(features, weight[tokens], self.bias[tokens] + factor, place), carried

    def extra_repr(self) -> str:
        """What decides the cost of a step, beside the modules inside."""
        return f"frequent={len(self.frequent)}, drawn={self.drawn}"

    def candidates(self, following: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """With which tokens a training step compares: the frequent ones, those that follow, and some of the others.

        The others are drawn evenly, and each stands for as many as were not drawn: so the sum of which the softmax divides by
        is right on average.

        Args:
            following: token ids; ``IGNORED`` where nothing is asked.

        Returns:
            (candidates,) token ids; (candidates,) what is added to their logits; and where each following token stands among
            them, of the shape of ``following``.
        """
        asked = following >= 0
        certain = torch.zeros(len(self.bias), dtype=torch.bool, device=following.device)
        certain[self.frequent] = True
        certain[following[asked]] = True
        known, others = certain.nonzero()[:, 0], (~certain).nonzero()[:, 0]
        some = others[torch.randperm(len(others), device=others.device)[: self.drawn]]
        tokens = torch.cat([known, some])
        factor = torch.zeros(len(tokens), device=tokens.device)
        factor[len(known) :] = math.log(len(others) / max(1, len(some)) or 1)
        place = torch.full_like(certain, IGNORED, dtype=torch.int64)
        place[known] = torch.arange(len(known), device=known.device)
        return tokens, factor, torch.where(asked, place[following.clamp(min=0)], following)

    def score(self, tokens: Tensor, tokens_lengths: Tensor, before: Tensor, before_lengths: Tensor) -> Tensor:
        """Predict each token from all before it; those ``before`` the text are read, too, but do not count.

        Args:
            tokens: (rows, longest) of the texts, padded at the ends.
            tokens_lengths: (rows,).
            before: (rows, longest), padded; at least one each.
            before_lengths: (rows,).

        Returns:
            (rows, classes of tokens, 4) sums: nats, hits, tokens, bytes; float64 on the CPU, for not every device knows it.
        """
        lengths = before_lengths + tokens_lengths
        kinds = int(self.classes.max()) + 1
        # Elsewhere each time would be waited for, so more are scored at a time.
        many = STRETCH if tokens.device.type == "cpu" else max(STRETCH, HELD // len(self.bias))
        found = torch.zeros(4, len(tokens) * kinds, dtype=torch.float64)
        rows = torch.arange(len(tokens), device=tokens.device)  # those that have not ended
        carried: Tensors = self.backbone.start(len(tokens))
        for begin in range(0, int(lengths.max()) - 1, STRETCH):
            going = (lengths[rows] > begin + 1).nonzero()[:, 0]
            if len(going) < len(rows):
                rows, carried = rows[going], {name: tensor[going] for name, tensor in carried.items()}
            place = torch.arange(begin, min(begin + STRETCH + 1, int(lengths[rows].max())), device=tokens.device)
            read = _joined(before[rows], before_lengths[rows], tokens, rows, place)
            features, carried = self.backbone(read[:, :-1], **carried)
            asked = (place[1:] >= before_lengths[rows, None]) & (place[1:] < lengths[rows, None])
            row, column = asked.nonzero(as_tuple=True)
            for start in range(0, len(row), many):
                some = row[start : start + many], column[start : start + many]
                following = read[:, 1:][some].long()
                logits = self.following(features[some]).float()
                nats = functional.cross_entropy(logits, following, reduction="none")
                hits = logits.argmax(1) == following
                values = (
                    torch.stack([nats, hits.float(), torch.ones_like(nats), self.bytes[following].float()])
                    .cpu()
                    .double()
                )
                spot = (rows[some[0]] * kinds + self.classes[following]).cpu()
                for sums, value in zip(found, values, strict=True):
                    sums += torch.bincount(spot, value, minlength=len(sums))
        return found.view(4, len(tokens), kinds).permute(1, 2, 0)

    def following(self, features: Tensor) -> Tensor:
        """Logits of the next token, (..., vocabulary), from features (..., width)."""
        return functional.linear(features, self.backbone.embedding.weight, self.bias)


def _joined(first: Tensor, first_lengths: Tensor, second: Tensor, rows: Tensor, place: Tensor) -> Tensor:
    """What stands at some places of rows that are those of ``first`` and, without a gap, some ``rows`` of ``second``.

    Args:
        first: (rows, longest), padded.
        first_lengths: (rows,).
        second: (all rows, longest), padded.
        rows: (rows,), which of ``second``.
        place: (places,).

    Returns:
        (rows, places).
    """
    after = place - first_lengths[:, None]  # (rows, places)
    one = first.gather(1, place.clamp(max=first.shape[1] - 1).expand_as(after))
    if second.shape[1] == 0:
        return one
    other = second[rows[:, None], after.clamp(0, second.shape[1] - 1)]
    return torch.where(after < 0, one, other)
