"""From a Plan to an optimizer over a network's parameters."""

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from lamina.plan import Plan


def build(network: nn.Module, plan: Plan) -> Optimizer:
    """The plan's optimizer for all parameters of a network.

    Weight decay is for matrices and filters; norms, biases, embeddings and what a module lists in ``undecayed`` are left
    alone, since shrinking them changes what the network can say rather than how smoothly it says it. Muon is for the
    filters and matrices inside; those of the head, and all vectors, take AdamW's step at a fifth of the rate.
    """
    filters, matrices, head, spared = groups_of(network)
    decay = plan.weight_decay
    if plan.optimizer == "muon":
        parts: list[dict[str, Any]] = [
            {"params": filters, "step": "turn"},
            {"params": matrices, "step": "orthogonal", "weight_decay": decay, "lr_factor": 0.2},
            {"params": head, "step": "adamw", "weight_decay": decay, "lr_factor": 0.2},
            {"params": spared, "step": "adamw", "lr_factor": 0.2},
        ]
        return Muon([group for group in parts if group["params"]], plan.lr, plan.momentum)
    groups: list[dict[str, Any]] = [
        {"params": filters + matrices + head, "weight_decay": decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if plan.optimizer == "sgd":
        return SGD(groups, lr=plan.lr, momentum=plan.momentum, nesterov=plan.momentum > 0)
    return AdamW(groups, lr=plan.lr, betas=(plan.momentum, 0.999), fused=True)


def groups_of(network: nn.Module) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
    """The parameters by what they are: filters that a normalisation follows (convolutions without a bias, as is the
    custom), other matrices and filters, those of the head, and those that weight decay spares."""
    filters: list[Tensor] = []
    matrices: list[Tensor] = []
    head: list[Tensor] = []
    spared: list[Tensor] = []
    seen: set[int] = set()
    for path, module in network.named_modules():
        undecayed = getattr(module, "undecayed", ())
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen or not parameter.requires_grad:
                continue
            seen.add(id(parameter))
            if parameter.ndim < 2 or isinstance(module, nn.Embedding) or name in undecayed:
                spared.append(parameter)
            elif path.partition(".")[0] == "head":
                head.append(parameter)
            elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) and module.bias is None:
                filters.append(parameter)
            else:
                matrices.append(parameter)
    return filters, matrices, head, spared


class Muon(Optimizer):
    """Momentum whose step is made orthogonal (Jordan 2024), beside AdamW (Loshchilov & Hutter 2019).

    A weight is read as a matrix, (outputs, everything else), and its momentum is replaced by the nearest matrix whose
    singular values are all equal, so that every direction of a layer learns at one speed. A group's ``step`` says how far
    that goes:

    - ``turn``: for weights that a normalisation follows, whose length means nothing. Before each step the weight is brought
      to the length of unit rows, so that the rate is the share of itself by which it turns (Jordan 2024, arXiv:2404.00498).
    - ``orthogonal``: as far as a typical step of AdamW goes (Liu et al. 2025, arXiv:2502.16982), so that learning rate and
      weight decay mean the same in both.
    - ``adamw``: AdamW itself.

    Args:
        groups: dicts with ``params``, ``step`` and optionally ``weight_decay`` and ``lr_factor``.
        lr: learning rate.
        momentum: share of the past in the momentum.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, momentum: float = 0.95) -> None:
        super().__init__(
            groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "step": "adamw", "lr_factor": 1.0}
        )

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step for each parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved = [(weight, weight.grad) for weight in group["params"] if weight.grad is not None]
            weights = [weight for weight, _ in moved]
            if weights and group["weight_decay"]:
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            if weights and group["step"] == "adamw":
                self._adam(weights, [gradient for _, gradient in moved], group["lr"])
                continue
            alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
            for weight, gradient in moved:
                lying, ahead = self._ahead(weight, gradient, group["momentum"])
                alike.setdefault(ahead.shape, []).append((lying, ahead))
            for shape, pairs in alike.items():  # at once: such small products cost more to start than to compute
                directions = orthogonalised(torch.stack([ahead for _, ahead in pairs]))
                for (weight, _), direction in zip(pairs, directions, strict=True):
                    self._move(weight, direction.view_as(weight), group["lr"], max(shape), group["step"] == "turn")
        return loss

    def _ahead(self, weight: Tensor, gradient: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
        """A weight as it lies in memory, and where its momentum leads, (outputs, everything else)."""
        state = self.state[weight]
        if not state:
            state["average"] = torch.zeros_like(weight)
        state["average"].mul_(momentum).add_(gradient)
        ahead = gradient.add(state["average"], alpha=momentum)  # Nesterov's look ahead
        if weight.ndim == 4 and weight.is_contiguous(memory_format=torch.channels_last):
            weight, ahead = weight.permute(0, 2, 3, 1), ahead.permute(0, 2, 3, 1)  # the order of columns is free
        return weight, ahead.flatten(1)

    def _move(self, weight: Tensor, direction: Tensor, lr: float, longest: int, turn: bool) -> None:
        if turn:
            weight.mul_(len(weight) ** 0.5 / weight.norm().clamp_min(1e-7)).sub_(direction, alpha=lr)
        else:
            weight.sub_(direction, alpha=lr * 0.2 * longest**0.5)  # 0.2: root mean square of a typical AdamW step

    def _adam(
        self, weights: list[Tensor], gradients: list[Tensor], lr: float, first: float = 0.9, second: float = 0.95
    ) -> None:
        """AdamW's step, for all at once: an accelerator takes longer to start small operations than to do them."""
        for weight in weights:
            if not self.state[weight]:
                self.state[weight] = {
                    "average": torch.zeros_like(weight), "square": torch.zeros_like(weight), "steps": torch.zeros(())
                }  # fmt: skip
            self.state[weight]["steps"] += 1
        averages, squares = ([self.state[weight][name] for weight in weights] for name in ("average", "square"))
        steps = [float(self.state[weight]["steps"]) for weight in weights]
        torch._foreach_lerp_(averages, gradients, 1 - first)
        torch._foreach_lerp_(squares, torch._foreach_mul(gradients, gradients), 1 - second)
        below = torch._foreach_div(squares, [1 - second**step for step in steps])
        torch._foreach_sqrt_(below)
        torch._foreach_add_(below, 1e-8)
        torch._foreach_addcdiv_(weights, torch._foreach_div(averages, [1 - first**step for step in steps]), below, -lr)


def orthogonalised(matrices: Tensor, steps: int = 5) -> Tensor:
    """(count, rows, columns) matrices with their singular values brought near one, by a Newton-Schulz iteration (Jordan 2024).

    Each step multiplies the values by a polynomial of their Gram matrix. Long matrices are multiplied once at the end, by the
    product of the polynomials: they are functions of the same small Gram matrix, so that their order is free.
    """
    linear, cubic, quintic = 3.4445, -4.7750, 2.0315  # his coefficients, steepest at small singular values
    tall = matrices.shape[1] > matrices.shape[2]
    value = matrices.mT if tall else matrices  # the short side first: the Gram matrices are as small as they can be
    value = value / (torch.linalg.matrix_norm(value, keepdim=True) + 1e-7)  # now no singular value is above one
    long = value.shape[2] > 1.5 * value.shape[1]  # from here on that takes fewer products
    gram, product = value @ value.mT, None
    for step in range(steps):
        factor = torch.baddbmm(gram, gram, gram, beta=cubic, alpha=quintic)
        factor.diagonal(dim1=1, dim2=2).add_(linear)
        if not long:
            value = factor @ value
        else:
            product = factor if product is None else factor @ product
        if step < steps - 1:
            gram = factor @ gram @ factor if long else value @ value.mT
    value = value if product is None else product @ value
    result: Tensor = value.mT if tall else value
    return result
