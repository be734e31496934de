"""Inspection: what a step of training does to each layer."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Inspected = dict[str, list[float]]
"""By the weight's name: length of the gradient; length of the weights; length of their change, as a share of that; and the
share of units (rows of the weights) to which no gradient flows."""


def inspectable(network: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of layers that compute features: no biases or norms, and no embeddings, most of whose rows rest."""
    tables = {id(module.weight) for module in network.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag)}
    return {
        name: weight
        for name, weight in network.named_parameters()
        if weight.ndim >= 2 and weight.requires_grad and id(weight) not in tables
    }


class Inspection:
    """Begun when the gradients are there, ended when the step was taken."""

    def __init__(self, weights: dict[str, nn.Parameter]) -> None:
        self.weights = {name: weight for name, weight in weights.items() if weight.grad is not None}
        gradients = [weight.grad for weight in self.weights.values() if weight.grad is not None]
        self.before = [weight.detach().clone() for weight in self.weights.values()]
        self.gradients = torch._foreach_norm(gradients) if gradients else ()
        self.resting = [(gradient.flatten(1) == 0).all(1).float().mean() for gradient in gradients]

    def end(self) -> Inspected:
        """What the step did; reading it waits for the device."""
        if not self.weights:
            return {}
        present = [weight.detach() for weight in self.weights.values()]
        lengths, past = torch._foreach_norm(present), torch._foreach_norm(self.before)
        moves = torch._foreach_norm(torch._foreach_sub(present, self.before))
        longer = torch._foreach_maximum(list(lengths), list(past))  # what began at zero has no length to begin with
        shares = [move / length.clamp_min(1e-12) for move, length in zip(moves, longer, strict=True)]
        columns: list[Tensor] = [torch.stack(list(one)) for one in (self.gradients, lengths, shares, self.resting)]
        rows = torch.stack(columns, 1).tolist()
        return {name: [float(f"{value:.4g}") for value in row] for name, row in zip(self.weights, rows, strict=True)}


def drifts(network: nn.Module, before: Iterable[Tensor]) -> dict[str, float]:
    """How far the batch of a step lay from the running statistics of each layer that normalises over batches.

    Both are taken as normal distributions, one for each channel; what is given is the Kullback-Leibler divergence, in nats,
    averaged over channels. The batch's own statistics follow from what it did to the running ones.

    Args:
        network: after it ran forward once.
        before: its buffers before that, in order.
    """
    past = {id(buffer): kept for buffer, kept in zip(network.buffers(), before, strict=True)}
    found = {}
    for name, module in network.named_modules():
        if not isinstance(module, _BatchNorm) or not module.training or not module.momentum:
            continue
        mean, variance = module.running_mean, module.running_var
        if mean is None or variance is None:
            continue
        mean_before, variance_before, mean, variance = (  # on the CPU, since Apple's GPU has no float64
            one.cpu().double() for one in (past[id(mean)], past[id(variance)], mean, variance)
        )
        shift = (mean - mean_before) / module.momentum
        ratio = 1 + (variance - variance_before) / module.momentum / variance_before.clamp_min(1e-12)
        ratio = ratio.clamp_min(1e-6)
        nats = (ratio - 1 - ratio.log() + shift.square() / variance_before.clamp_min(1e-12)) / 2
        found[name] = float(f"{float(nats.mean()):.4g}")
    return found
