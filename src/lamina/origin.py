"""Origin: in which layer a number was no longer finite first.

Losses are read late, and one step later every weight is spoilt: nothing that is left says where it began. But a step is
repeated to the bit from a checkpoint. So the run's newest one is taken up again, in a copy, up to the step in question,
and there every layer is listened to: forward in its order, then backward.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lamina.checkpoint import restore_newest
from lamina.data.feed import Feed
from lamina.execution import Execution
from lamina.loop import take
from lamina.memory import ran_out
from lamina.plan import Plan
from lamina.run import Run
from lamina.state import State
from lamina.tasks.task import Facts, Task


def origin(
    network: nn.Module, task: Task, facts: Facts, feed: Feed, plan: Plan, execution: Execution, run: Run, step: int
) -> str | None:
    """Where the first number that is not finite arises, in words.

    Args:
        network: that was trained; a copy of it is used.
        task: what is learned.
        facts: what the task learned from the training part.
        feed: what it is trained on.
        plan: how.
        execution: how it is run.
        run: whose newest checkpoint is taken up.
        step: at which the loss, or a gradient, was not finite; from 1.

    Returns:
        "the output of backbone.stem (Conv2d)", for instance; None where everything is finite this time, as it may be when
        the rate depends on the time that is left, and where there is no memory for a second network.
    """
    try:
        return _heard(network, task, facts, feed, plan, execution, run, step)
    except RuntimeError as error:
        if not ran_out(error):
            raise
        return None


def _heard(
    network: nn.Module, task: Task, facts: Facts, feed: Feed, plan: Plan, execution: Execution, run: Run, step: int
) -> str | None:
    state = State(deepcopy(network), plan, feed, replace(execution, compiled=False))
    if not restore_newest(run, state) or state.step >= step:
        return None
    while state.step < step - 2:
        _one(state, task, facts)
    with listening(state.worker) as heard:  # a gradient of the step before may have spoilt the weights
        while state.step < step:
            _one(state, task, facts)
    return heard[0] if heard else None


def _one(state: State, task: Task, facts: Facts) -> None:
    """The next step, in the next epoch where this one is over."""
    batches = state.batches()
    if state.position == len(batches):
        state.close()
        batches = state.batches()
    take(state, task, facts, state.feed.batch(batches[state.position]), state.plan.lr_at(state.t()), True)


@contextmanager
def listening(network: nn.Module) -> Iterator[list[str]]:
    """Where numbers are not finite, in the order in which they come, of layers that have no layers inside."""
    heard: list[str] = []

    def forward(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if heard or not _spoilt(output):
                return
            kind = f"{name} ({type(module).__name__})"
            if any(_spoilt(weight.detach()) for weight in module.parameters()):
                heard.append(f"the weights of {kind}")
            else:
                heard.append(f"the {'input' if _spoilt(inputs) else 'output'} of {kind}")

        return hook

    def backward(name: str) -> Callable[[Tensor], None]:
        def hook(gradient: Tensor) -> None:
            if not heard and _spoilt(gradient):
                heard.append(f"the gradient of {name}")

        return hook

    leaves = [(name, module) for name, module in network.named_modules() if not list(module.children())]
    handles = [module.register_forward_hook(forward(name)) for name, module in leaves]
    handles += [
        weight.register_hook(backward(name))  # type: ignore[no-untyped-call]
        for name, weight in network.named_parameters()
        if weight.requires_grad
    ]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def _spoilt(value: Any) -> bool:
    """Whether a number in it is not finite; minus infinity hides places on purpose, and does not count."""
    if isinstance(value, tuple | list):
        return any(map(_spoilt, value))
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return False
    return bool((value.isnan() | (value == torch.inf)).any())
