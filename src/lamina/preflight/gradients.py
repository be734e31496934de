"""Gradients: they reach every weight, and they are right.

*Reach.* After a few steps on a few examples, without weight decay, a weight that training should move has moved: layers whose
last weights start at zero let gradients through from the second step on. What has not moved is cut off: it was left out of
``forward``, detached, or stands behind units that are dead for every example.

*Right.* Backpropagation is compared with the definition of the derivative. Along the gradient of one layer's weights the
loss is computed a little to both sides; the slope must be the gradient's length (central differences). In float32 a loss
has seven digits, so the step is chosen to change it by a hundredth; the step is halved once, and where the two slopes
differ the loss is bent or has a kink there, and nothing is said. A loss may hold a part of itself constant on purpose
(targets that follow the network's own answers): where slopes differ, those of a random combination of the network's outputs
decide.
"""

from collections.abc import Callable, Iterator
from itertools import islice, repeat
from typing import Any

import torch
from torch import Tensor, nn

from lamina.findings import Finding
from lamina.preflight.trial import Check, Trial

Measured = tuple[Tensor, float]
"""A number that depends on the weights, and how large such a number is."""

STEPS = 4
LAYERS = 3  # weights whose gradient is compared: the first, a middle and the last ones
CHANGE = 0.01  # of the loss, for which a step is chosen
FARTHEST = 0.05  # of the length of the weights, that a step may go
FAINTEST = 1e-3  # change of the loss below which rounding decides
WRONG = 0.2  # relative error of a slope beyond which the gradient is wrong
STEADY = 0.05  # relative difference of the two slopes, up to which they are believed


def check(trial: Trial) -> Check | None:
    """Take a few steps; name the weights that did not move, and gradients that are not slopes."""
    network = trial.copy()
    before = {name: tensor.detach().clone() for name, tensor in network.named_parameters() if tensor.requires_grad}
    for _ in islice(trial.train(network, repeat(trial.few), lambda step: trial.plan.lr), STEPS):
        pass
    moved = dict(network.named_parameters())
    still = [name for name, tensor in before.items() if torch.equal(tensor, moved[name])]
    name = "gradients reach every weight, and are slopes"
    if still and len(still) == len(before):
        what = "No gradient reaches any weight: training would change nothing."
        return Check(
            name,
            what,
            Finding(
                "gradient.none", "stop", what, "Look for a `detach` or `no_grad` in the network.", tuple(still[:20])
            ),
        )
    if still:
        what = (
            f"{len(still)} of {len(before)} weights are not reached by any gradient ({', '.join(still[:3])}): they stay as "
            "they are."
        )
        remedy = (
            "Use these layers in `forward`, or remove them; look for `detach`, and for units that are dead for all."
        )
        return Check(name, what, Finding("gradient.unreached", "warning", what, remedy, tuple(still[:20]), len(still)))
    errors = _errors(network, lambda: _mean_loss(trial, network))
    if errors and max(errors.values()) > WRONG:  # a part of the loss may be held constant on purpose
        errors = _errors(network, lambda: _projection(trial, network))
    if not errors:
        return Check(name, f"All {len(before)} weights moved within {STEPS} steps.")
    worst = max(errors, key=lambda layer: errors[layer])
    seen = (
        f"All {len(before)} weights moved within {STEPS} steps; in {len(errors)} of them the gradient was compared with "
        f"finite differences, and was off by {errors[worst]:.1%} at most."
    )
    if errors[worst] <= WRONG:
        return Check(name, seen)
    finding = Finding(
        "gradient.wrong",
        "warning",
        f"Backpropagation gives {worst} a gradient that is not the slope of the loss: it is off by {errors[worst]:.0%}.",
        "Look at the `backward` of a function of your own, and for `detach` on a part of the way; gradients that are only "
        "estimated on purpose (straight-through) may be meant so.",
        (worst,),
        evidence={"errors": errors},
    )
    return Check(name, seen, finding)


def _errors(network: nn.Module, measured: Callable[[], Measured]) -> dict[str, float]:
    """Relative errors of the gradients of a few weights, by their names; without those of which nothing can be said."""
    value, level = measured()
    value.backward()  # type: ignore[no-untyped-call]
    reached = [
        (name, tensor)
        for name, tensor in network.named_parameters()
        if tensor.grad is not None and float(tensor.grad.norm()) > 0
    ]
    chosen = dict(reached[place] for place in _spread(len(reached)))
    gradients = {name: tensor.grad.clone() for name, tensor in chosen.items() if tensor.grad is not None}
    network.zero_grad(set_to_none=True)
    errors = {}
    for name, weights in chosen.items():
        slope = float(gradients[name].norm())
        way = gradients[name] / slope
        step = min(CHANGE * level / slope, FARTHEST * float(weights.detach().norm()))
        if step * slope < FAINTEST * level:
            continue
        far, near = (_slope(measured, weights, way, length) for length in (step, step / 2))
        if abs(far - near) <= STEADY * slope:
            errors[name] = abs(near - slope) / slope
    return errors


def _mean_loss(trial: Trial, network: nn.Module) -> Measured:
    loss = trial.loss(network)
    mean = loss.total / loss.count
    return mean, abs(float(mean.detach()))


def _projection(trial: Trial, network: nn.Module) -> Measured:
    """A random combination of all that the network gives out."""
    torch.manual_seed(trial.plan.seed)
    given = [tensor for tensor in _tensors(network(**trial.few.inputs)) if tensor.is_floating_point()]
    generator = torch.Generator().manual_seed(trial.plan.seed)
    parts = [(tensor * torch.randn(tensor.shape, generator=generator).to(tensor.device)).sum() for tensor in given]
    return torch.stack(parts).sum(), float(torch.stack([tensor.detach().norm() for tensor in given]).norm())


def _tensors(given: Any) -> Iterator[Tensor]:
    """All tensors in what a network gives out: one, or several in tuples, lists or dicts."""
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, dict | list | tuple):
        for part in given.values() if isinstance(given, dict) else given:
            yield from _tensors(part)


def _spread(count: int) -> list[int]:
    """Places of ``LAYERS`` of ``count`` things, evenly spread."""
    return sorted({round(place * (count - 1) / (LAYERS - 1)) for place in range(LAYERS)}) if count else []


def _slope(measured: Callable[[], Measured], weights: Tensor, way: Tensor, step: float) -> float:
    """The slope along ``way``, by central differences; the weights are put back."""
    kept = weights.detach().clone()
    sides = []
    for sign in (1.0, -1.0):
        with torch.no_grad():
            weights.copy_(kept + sign * step * way)
        sides.append(float(measured()[0].detach()))
    with torch.no_grad():
        weights.copy_(kept)
    return (sides[0] - sides[1]) / (2 * step)
