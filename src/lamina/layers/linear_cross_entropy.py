"""The negative log-likelihood of the next token, straight from features: all logits are never in memory at once.

In:  features (..., width), the output matrix (vocabulary, width), a bias (vocabulary,), and what followed (...).
Out: nats (...), which may be summed to train, or read one by one.

With words, the logits are by far the largest tensor of a language model: 2,000 tokens times 10,000 words are 80 MB, and
a loss that is written as a chain of layers holds them four times over. Here some rows at a time go the whole way, from
logits through softmax to the gradients, in memory that is used again: the gradient of the sum is known in the forward pass
(Wijmans et al. 2024, arXiv:2411.09009, and Hsu et al. 2024, arXiv:2410.10989, do so on an accelerator). If the rows turn
out to be weighted one by one, the backward pass goes through them once more.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

IGNORED = -100  # as in torch.nn.functional.cross_entropy
CACHED = 2**23  # logits that are held at once on a CPU: 32 MB; with fewer, adding up the weight's gradient takes longer
HELD = 2**26  # logits that are held at once elsewhere: 256 MB


def linear_cross_entropy(features: Tensor, weight: Tensor, bias: Tensor | None, following: Tensor) -> Tensor:
    """How surprised a linear layer with a softmax is by what followed.

    Args:
        features: (..., width), of any floating type.
        weight: (vocabulary, width), often the embedding itself (Press & Wolf 2017, arXiv:1608.05859).
        bias: (vocabulary,).
        following: (...), token ids; -100 where nothing is asked, which gives 0 nats and no gradient.

    Returns:
        (...), in nats: what ``cross_entropy(linear(features, weight, bias), following, reduction="none")`` gives.
    """
    kind = features.device.type
    if torch.is_autocast_enabled(kind):
        half = torch.get_autocast_dtype(kind)
        features, weight, bias = features.to(half), weight.to(half), None if bias is None else bias.to(half)
    rows, asked = features.reshape(-1, features.shape[-1]), following.reshape(-1).long()
    if torch.compiler.is_compiling():
        logits = functional.linear(rows, weight, bias).to(_precise(rows))
        return functional.cross_entropy(logits, asked, reduction="none").view(following.shape)
    differentiable = any(tensor is not None and tensor.requires_grad for tensor in (rows, weight, bias))
    with torch.autocast(kind, enabled=False):
        if differentiable and torch.is_grad_enabled():
            nats: Tensor = _LinearCrossEntropy.apply(rows, weight, bias, asked)
        else:
            nats = _surprise(rows, weight, bias, asked)
    return nats.view(following.shape)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None, following: Tensor) -> Tensor:
        nats, *gradients = _gradients(features, weight, bias, following, None)
        ctx.biased = bias is not None
        ctx.save_for_backward(features, weight, following, *gradients, *([bias] if bias is not None else []))
        return nats

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *errors: Tensor) -> tuple[Tensor | None, ...]:
        (error,) = errors
        features, weight, following, *rest = ctx.saved_tensors
        scale = error[:1]
        if error.stride() == (0,) or bool((error == scale).all()):  # a multiple of the sum, as in training
            gradients = [gradient * scale.to(gradient.dtype) for gradient in rest[:3]]
        else:
            _, *gradients = _gradients(features, weight, rest[3] if ctx.biased else None, following, error)
        by_feature, by_weight, by_bias = gradients
        by_weight = by_weight.to(weight.dtype)
        return by_feature.to(features.dtype), by_weight, by_bias.to(weight.dtype) if ctx.biased else None, None


def _gradients(
    features: Tensor, weight: Tensor, bias: Tensor | None, following: Tensor, scale: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Nats, and the gradients of their sum by features, weight and bias; each row scaled, if scales (rows,) are given."""
    precise = _precise(features)
    nats = features.new_empty(len(features), dtype=precise)
    by_feature = torch.empty_like(features)  # (rows, width)
    by_weight = torch.zeros_like(weight, dtype=precise)  # (vocabulary, width)
    by_bias = weight.new_zeros(len(weight), dtype=precise)
    for some in _pieces(features, weight):
        likelihood, asked = _log_softmax(features[some], weight, bias), following[some]
        nats[some] = _picked(likelihood, asked)
        kept = (asked != IGNORED).to(precise)  # the rows that count
        error = likelihood.exp_()  # (rows', vocabulary): the gradient of the nats by the logits is softmax - one-hot
        error.scatter_add_(1, asked.clamp_min(0)[:, None], -torch.ones_like(kept)[:, None])
        if scale is not None or kept.device.type != "cpu" or bool((asked == IGNORED).any()):  # to ask others is to wait
            error.mul_((kept if scale is None else kept * scale[some])[:, None])
        by_bias += error.sum(0)
        error = error.to(features.dtype)
        torch.mm(error, weight, out=by_feature[some])
        if by_weight.dtype == error.dtype:
            by_weight.addmm_(error.T, features[some])
        else:
            by_weight += error.T @ features[some]
    return nats, by_feature, by_weight, by_bias


def _surprise(features: Tensor, weight: Tensor, bias: Tensor | None, following: Tensor) -> Tensor:
    """Nats alone, (rows,)."""
    nats = [_picked(_log_softmax(features[s], weight, bias), following[s]) for s in _pieces(features, weight)]
    return torch.cat(nats) if nats else features.new_empty(0, dtype=_precise(features))


def _log_softmax(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    logits = functional.linear(features, weight, bias).to(_precise(features))  # (rows', vocabulary)
    return torch.log_softmax(logits, 1, out=logits)


def _picked(likelihood: Tensor, following: Tensor) -> Tensor:
    """What followed has how many nats; 0 where nothing is asked."""
    nats = -likelihood.gather(1, following.clamp_min(0)[:, None])[:, 0]
    return nats.masked_fill_(following == IGNORED, 0.0)


def _pieces(features: Tensor, weight: Tensor) -> list[slice]:
    """So many rows at a time that their logits are few enough to hold; nearly equal in length."""
    most = max(1, (CACHED if features.device.type == "cpu" else HELD) // len(weight))
    count = -(-len(features) // most)
    edges = [len(features) * index // max(1, count) for index in range(count + 1)]
    return [slice(start, end) for start, end in pairwise(edges)]


def _precise(features: Tensor) -> torch.dtype:
    """The type in which softmax is computed and sums are kept."""
    return torch.float64 if features.dtype == torch.float64 else torch.float32
