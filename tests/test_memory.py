"""Out of memory: the step is taken again in halves, with the same gradient; evaluation and prediction too."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from lamina.batch import Batch, Loss
from lamina.descent import descend
from lamina.errors import TrainingError
from lamina.evaluation import answered
from lamina.execution import Execution
from lamina.inspection import Inspected
from lamina.memory import in_pieces, ran_out
from lamina.plan import Plan
from lamina.state import State
from lamina.tasks.task import Task
from states import numbered

CPU = torch.device("cpu")


class Greedy(nn.Module):
    """Runs out of memory when it sees more than ``most`` examples at once; in the backward pass where ``late``."""

    def __init__(self, most: int, late: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.most, self.late, self.tried = most, late, []
        self.first = nn.Linear(4, 8)
        self.second = nn.Linear(8, 1)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.tried.append(len(x))
        self.seen += len(x)
        hidden = self.first(x)
        if len(x) > self.most and not self.late:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"
            )
        if len(x) > self.most:
            hidden.register_hook(self.fail)
        result: torch.Tensor = self.second(hidden.relu())
        return result

    def fail(self, gradient: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")


class OnePlayer:
    def losses(self, network: nn.Module, batch: Batch) -> Iterator[Loss]:
        yield Loss("network", network(**batch.inputs).square().sum(), len(batch))


class TwoPlayers:
    """The second player's loss follows from the first one's step."""

    def losses(self, network: Greedy, batch: Batch) -> Iterator[Loss]:
        yield Loss("first", network.first(batch.inputs["x"]).square().sum(), len(batch))
        yield Loss("second", network(**batch.inputs).square().sum(), len(batch))


def stepped(task: object, most: int, late: bool = False, inspected: Inspected | None = None) -> tuple[State, Greedy]:
    network = Greedy(most, late)
    state = State(network, Plan(optimizer="sgd", momentum=0.0, batch_size=13), numbered(13))
    state.inspected = inspected
    batch = Batch({"x": torch.randn(13, 4, generator=torch.Generator().manual_seed(2))}, {})
    descend(state, task, batch, 0.1, True)  # type: ignore[arg-type]
    return state, network


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("task", [OnePlayer(), TwoPlayers()])
@pytest.mark.parametrize("most", [1, 3, 7])
def test_a_step_in_halves_has_the_same_gradient(task: Task, most: int, late: bool) -> None:
    whole, _ = stepped(task, 100)
    halves, network = stepped(task, most, late)
    assert halves.micro_batches > 1
    assert max(network.tried[-halves.micro_batches :]) <= most
    assert whole.sums.settle().keys() == halves.sums.settle().keys()
    for player, (total, count) in whole.sums.values.items():
        assert halves.sums.values[player] == pytest.approx((total, count))
    for name, tensor in whole.network.state_dict().items():
        torch.testing.assert_close(halves.network.state_dict()[name], tensor, msg=name)
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("moment", ["__init__", "end"])
def test_where_there_is_no_room_to_look_at_a_step_it_is_taken_once(
    moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking at it needs a copy of the weights, before the step and after it."""

    def no_room(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    whole, _ = stepped(OnePlayer(), 100)
    monkeypatch.setattr(f"lamina.inspection.Inspection.{moment}", no_room)
    seen, _ = stepped(OnePlayer(), 100, inspected={})
    assert (seen.micro_batches, seen.inspected) == (1, {})
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(seen.network.state_dict()[name], tensor)


def test_one_example_that_does_not_fit_ends_in_words() -> None:
    with pytest.raises(TrainingError, match="single example"):
        stepped(OnePlayer(), 0)


@pytest.mark.parametrize(
    "said",
    [
        "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes.",
        "[enforce fail at alloc_cpu.cpp:72] data. DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes.",
        "MPS backend out of memory (MPS allocated: 8.61 GB, other allocations: 288.00 KB, max allowed: 9.07 GB).",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "GET was unable to find an engine to execute this computation",
        "Unable to find a valid cuDNN algorithm to run convolution",
    ],
)
def test_every_device_says_in_its_own_words_that_memory_ran_out(said: str) -> None:
    assert ran_out(RuntimeError(said))


def test_other_errors_pass_through() -> None:
    def broken(_: torch.Tensor) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    assert not ran_out(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1"):
        list(in_pieces(torch.arange(4), 2, broken, CPU))


@pytest.mark.parametrize("most", [1, 4, 100])
def test_every_example_is_answered_once_whatever_fits(most: int) -> None:
    class Outputs:
        def outputs(self, network: nn.Module, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
            result: torch.Tensor = network(**inputs)
            return result

    network = Greedy(most)
    everything = torch.randn(19, 4)
    pieces = answered(
        network, Outputs(), lambda rows: Batch({"x": everything[rows]}, {"row": rows}), torch.arange(19), 8, Execution()
    )  # type: ignore[arg-type]
    outputs, targets = zip(*pieces, strict=True)
    assert torch.cat([target["row"] for target in targets]).tolist() == list(range(19))
    torch.testing.assert_close(torch.cat(outputs), Greedy(100)(everything).detach())
