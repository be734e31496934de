"""States to test with: a small network, and a step that follows from its number."""

import torch
from torch import nn

from lamina.batch import Batch, Loss
from lamina.data.feed import Shuffled
from lamina.execution import Execution
from lamina.plan import Plan
from lamina.state import State

PLANS = {
    "adamw": Plan(ema=0.9),
    "sgd": Plan(optimizer="sgd", ema=0.9),
    "plain": Plan(optimizer="sgd", momentum=0.0),
    "muon": Plan(optimizer="muon", ema=0.9, clip=0.5),
}


def numbered(rows: int) -> Shuffled:
    """A feed of so many rows, of which no batch is asked."""

    def none(picked: torch.Tensor) -> Batch:
        raise NotImplementedError

    return Shuffled(torch.arange(rows), none)


def fresh(plan: Plan, execution: Execution | None = None) -> State:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    return State(network, plan, numbered(300), execution)


def step(state: State) -> None:
    """One step on pictures that follow from the step's number."""
    generator = state.generator(torch.device("cpu"))
    pictures = torch.randn(8, 1, 8, 8, generator=generator)
    state.network.train()
    loss = state.network(pictures).square().sum()
    loss.backward()
    state.update("network", 8, 0.01)
    state.sums.note(Loss("network", loss.detach(), 8), state.step)
    state.advance(8)
