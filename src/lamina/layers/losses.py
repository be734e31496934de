"""Losses that more than one task needs, as sums and counts."""

import torch.nn.functional as F
from torch import Tensor

from lamina.batch import Tensors


def cross_entropy(logits: Tensor, targets: Tensors, smoothing: float) -> tuple[Tensor, Tensor | int, Tensor | None]:
    """The summed cross-entropy; the number of examples or the sum of their weights; and each one's own, detached.

    The last only where ``row`` says that a feed asks for it, and none are mixed: the loss of two says little of either.

    Args:
        logits: (batch, classes), or (batch, members, classes) for an ensemble, whose members' losses are averaged.
        targets: ``label`` (batch,); where they are present, ``weight`` (batch,) of each example, and ``other`` and
            ``share`` (batch,): the label of the example that was mixed in, and how much of it.
        smoothing: share of the target that is spread over all classes (Szegedy et al. 2016).
    """
    label = targets["label"]
    members = logits.shape[1] if logits.ndim == 3 else 1
    flat = logits.flatten(0, -2).float()
    plain = targets.keys().isdisjoint(("other", "weight", "row"))

    def each(label: Tensor, reduction: str) -> Tensor:
        repeated = label.repeat_interleave(members) if members > 1 else label
        return F.cross_entropy(flat, repeated, label_smoothing=smoothing, reduction=reduction)

    if plain:
        return each(label, "sum") / members, len(label), None
    loss = each(label, "none").view(len(label), members).mean(1)  # (batch,)
    if "other" in targets:
        loss = loss + targets["share"] * (each(targets["other"], "none").view(len(label), members).mean(1) - loss)
    weight = targets.get("weight", loss.new_ones(len(loss)))
    told = "row" in targets and "other" not in targets
    return (loss * weight).sum(), weight.sum(), loss.detach() if told else None


def squared_error(outputs: Tensor, targets: Tensors) -> tuple[Tensor, int]:
    """The summed squared error, and the number of examples.

    Args:
        outputs: (batch,), or (batch, members) for an ensemble, whose members' losses are averaged.
        targets: ``value`` (batch,).
    """
    value = targets["value"]
    error = (outputs.float().view(len(value), -1) - value[:, None]).square().mean(1)
    return error.sum(), len(value)
