"""Metrics of made pictures: are they as good as real ones, and as various?

Each made picture stands beside a real one; both are told by the features that a judge has of them.

outputs             (batch, 2 width + 4 + classes): the judge's features of the made picture, those of the real one; for which
                    class the judge takes the made one, which was wanted, for which it takes the real one; the discriminator's
                    score of the made picture, and its scores of the real one as if it were of each class
targets["label"]    (batch,): the real picture's class; 0 without classes
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lamina.batch import Tensors
from lamina.metrics.metric import Metric

NEIGHBOURS = 3
"""Of a picture, whose distance says how far its surroundings reach."""
MANIFOLD = 5_000
"""Pictures that stand for all when surroundings are compared."""
KERNEL = 4_000
"""Pairs of pictures that the kernel distance takes at most: it compares each with each."""
WIDEST = 256
"""Features up to which a covariance is quick enough to be drawn a thousand times."""
BLOCK = 1_000


def generation(width: int, classes: int) -> dict[str, Metric]:
    """The metrics of made pictures, the one that chooses the best epoch first.

    Args:
        width: of the judge's features.
        classes: that the judge knows; 0 where it knows none.
    """
    metrics: dict[str, Metric] = {
        "frechet_distance": FrechetDistance(width),
        "kernel_distance": KernelDistance(width),
        "distribution_precision": Surroundings(width, "precision"),
        "distribution_recall": Surroundings(width, "recall"),
    }
    if classes:
        metrics["recognised"] = Recognised(width)
    return metrics | {"told_apart": ToldApart(width)}


class Parts(NamedTuple):
    """Outputs, taken apart; float64 and int64 on the CPU."""

    made: Tensor
    """(batch, width) features."""
    real: Tensor
    """(batch, width) features."""
    made_class: Tensor
    """(batch,) for which the judge takes the made picture."""
    wanted: Tensor
    """(batch,) class that was to be made."""
    real_class: Tensor
    """(batch,) for which the judge takes the real picture."""
    score: Tensor
    """(batch,) of the made picture."""
    scores: Tensor
    """(batch, classes) of the real picture, as if it were of each; one without classes."""


def parts(outputs: Tensor, width: int) -> Parts:
    """Take outputs apart."""
    found = outputs.detach().cpu().double()
    made, real, classes, scores = torch.split(found, [width, width, 3, found.shape[1] - 2 * width - 3], 1)
    made_class, wanted, real_class = classes.long().unbind(1)
    return Parts(made, real, made_class, wanted, real_class, scores[:, 0], scores[:, 1:])


class FrechetDistance(Metric):
    """How far apart two clouds of features are, if they were normal: the squared distance of their means, and what their
    covariances differ by (Heusel et al. 2017, arXiv:1706.08500, with the judge's features in place of Inception's).

    Few pictures make it larger than it is; figures can be compared only for the same judge and about as many pictures.
    """

    better = "lower"
    ranks = False
    drifts = True

    def __init__(self, width: int) -> None:
        self.width = width

    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """(batch, 2 width): features of the made picture, and of the real one."""
        found = parts(outputs, self.width)
        return torch.cat([found.made, found.real], 1)

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,); not-a-number for several sets of very wide features, which would take hours."""
        if self.width > WIDEST and len(weights) > 1:
            return torch.full((len(weights),), torch.nan, dtype=torch.float64)
        made, real = (_moments(side, weights) for side in torch.split(rows, self.width, 1))
        apart = (made[0] - real[0]).square().sum(1)
        return (apart + _trace(made[1]) + _trace(real[1]) - 2 * _overlap(made[1], real[1])).clamp_min(0)


class KernelDistance(Metric):
    """The squared maximum mean discrepancy of the features with a cubic kernel (Binkowski et al. 2018, arXiv:1801.01401).

    It is not biased by the number of pictures, and may be a little below 0 where nothing can be told apart.
    """

    better = "lower"
    ranks = False

    def __init__(self, width: int) -> None:
        self.width = width

    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """(batch, 2 width): features of the made picture, and of the real one."""
        return FrechetDistance(self.width).observe(outputs, targets)

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,): mean kernel within the made, plus within the real, less twice between them; none with itself."""
        compared = drawn(len(rows), KERNEL)
        rows, weights = rows[compared].float(), weights[:, compared].float()
        made, real = torch.split(rows, self.width, 1)
        total = weights.sum(1)
        pairs = (total.square() - weights.square().sum(1)).clamp_min(1)
        within = torch.zeros(len(weights), dtype=torch.float64)
        for start in range(0, len(rows), BLOCK):
            some = slice(start, start + BLOCK)
            for one, other, sign in ((made, made, 1.0), (real, real, 1.0), (made, real, -2.0)):
                kernel = (one[some] @ other.T / self.width + 1) ** 3
                places = torch.arange(len(kernel))
                kernel[places, places + start] = (
                    0  # of a pair, the real one says nothing of the made one by chance either
                )
                within += sign * ((weights[:, some] @ kernel) * weights).sum(1)
        return torch.where(total > 1, within / pairs, torch.nan)


class Surroundings(Metric):
    """The share of made pictures that lie among the real ones (precision: are they good?), or of real pictures that lie among
    the made ones (recall: are all kinds made?).

    A picture lies among others when it is nearer to one of them than that one's third neighbour (Kynkäänniemi et al. 2019,
    arXiv:1904.06991).
    """

    better = "higher"
    share = True

    def __init__(self, width: int, kind: str) -> None:
        self.width, self.kind = width, kind
        self.ranks = kind == "recall"  # otherwise it is about the made picture, whose example it is by chance alone

    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """(batch, 1): 1 for a picture that lies among the others. It depends on all pictures that are judged together."""
        found = parts(outputs, self.width)
        asked, others = (found.made, found.real) if self.kind == "precision" else (found.real, found.made)
        return among(asked.float(), others[drawn(len(others), MANIFOLD)].float()).double()[:, None]

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,): weighted mean."""
        return weights @ rows[:, 0] / weights.sum(1)


class Recognised(Metric):
    """The share of made pictures that the judge takes for the class that was wanted."""

    better = "higher"
    share = True
    ranks = False

    def __init__(self, width: int) -> None:
        self.width = width

    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """(batch, 1): 1 where it was recognised."""
        found = parts(outputs, self.width)
        return (found.made_class == found.wanted).double()[:, None]

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,): weighted mean."""
        return weights @ rows[:, 0] / weights.sum(1)


class ToldApart(Metric):
    """How often the discriminator scores a real picture above a made one of its class: 0.5 where it cannot tell, 1 where it
    always can. On pictures that trained it this is higher the more of them it knows by heart.

    It is the area under the curve of telling them apart (Mann & Whitney 1947), class by class: scores of different classes are
    never compared in training, so they say nothing beside one another.
    """

    better = "lower"
    ranks = False

    def __init__(self, width: int) -> None:
        self.width = width

    def observe(self, outputs: Tensor, targets: Tensors) -> Tensor:
        """(batch, 2): the share of made pictures of the real one's class that have a lower score, those that have the same by
        half; and 1, or 0 where there is none. It depends on all pictures that are judged together."""
        found = parts(outputs, self.width)
        label = (
            targets["label"].cpu().long()
            if found.scores.shape[1] > 1
            else torch.zeros(len(found.score), dtype=torch.int64)
        )
        real = found.scores.gather(1, label[:, None])[:, 0]
        rows = torch.zeros(len(real), 2, dtype=torch.float64)
        for kind in torch.unique(label).tolist():
            own = label == kind
            made = found.score[found.wanted == kind].sort().values
            if len(made) and not bool(made.isnan().any()):
                below = [torch.searchsorted(made, real[own], right=right).double() for right in (False, True)]
                rows[own] = torch.stack([(below[0] + below[1]) / 2 / len(made), torch.ones(int(own.sum()))], 1).double()
        return rows

    def values(self, rows: Tensor, weights: Tensor) -> Tensor:
        """(sets,): weighted mean of those that can be compared."""
        return weights @ rows[:, 0] / (weights @ rows[:, 1])


def among(asked: Tensor, others: Tensor) -> Tensor:
    """(asked,) bool: which of some features lie within the surroundings of one of the others."""
    if len(others) <= NEIGHBOURS:
        return torch.zeros(len(asked), dtype=torch.bool)
    reach = torch.cat([
        torch.cdist(some, others).kthvalue(NEIGHBOURS + 1, 1).values for some in torch.split(others, BLOCK)
    ])  # fmt: skip
    return torch.cat([(torch.cdist(some, others) <= reach).any(1) for some in torch.split(asked, BLOCK)])


def drawn(count: int, most: int) -> Tensor:
    """Places of at most so many of ``count`` rows, drawn at random, always the same: the first ones may all be of one class."""
    places = torch.arange(count)
    if count <= most:
        return places
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:most].sort().values


def nearest(asked: Tensor, others: Tensor) -> np.ndarray:
    """(asked,) int64: which of the others has the features nearest to each."""
    found = [torch.cdist(some, others).argmin(1) for some in torch.split(asked, BLOCK)]
    return torch.cat(found).numpy()


def _moments(features: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Means, (sets, width), and covariances, (sets, width, width), of (examples, width) features."""
    shifted = features - features.mean(0)  # or differences of large sums would lose the digits that matter
    total = weights.sum(1, keepdim=True)
    mean = weights @ shifted / total
    square = torch.stack([(shifted * own[:, None]).T @ shifted for own in weights]) / total[:, :, None]
    spread = (square - mean[:, :, None] * mean[:, None]) * (total / (total - 1).clamp_min(1))[:, :, None]
    return mean + features.mean(0), spread


def _trace(matrices: Tensor) -> Tensor:
    found: Tensor = matrices.diagonal(dim1=1, dim2=2).sum(1)
    return found


def _overlap(one: Tensor, other: Tensor) -> Tensor:
    """(sets,): the trace of the square root of the product of two covariances."""
    values, vectors = torch.linalg.eigh(one)
    root = (vectors * values.clamp_min(0).sqrt()[:, None]) @ vectors.transpose(1, 2)
    middle = root @ other @ root
    eigenvalues = torch.linalg.eigvalsh((middle + middle.transpose(1, 2)) / 2)
    trace: Tensor = eigenvalues.clamp_min(0).sqrt().sum(1)
    return trace
