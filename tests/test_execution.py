"""Execution: a copy of the weights in bfloat16, the layout of pictures, compilation."""

import re
from contextlib import suppress

import numpy as np
import pytest
import torch
from torch import nn

from lamina.batch import Batch, Loss
from lamina.data.store import Store
from lamina.errors import OptionError
from lamina.execution import Device, Execution, default_device, device_named
from lamina.layers.heads import ImageClassifier
from lamina.plan import Plan
from lamina.state import State
from lamina.threads import threads
from states import numbered

WEIGHTS = Execution("cpu", "bfloat16-weights")


class Reader(nn.Module):
    """Reads a sequence of 6 numbers; normalises what it read."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.gru = nn.GRU(4, 8, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.head(self.norm(self.gru(x)[0][:, -1]))
        return result


def test_a_worker_in_bfloat16_learns_what_the_network_learns() -> None:
    inputs = torch.randn(16, 6, 4, generator=torch.Generator().manual_seed(1))
    reached = []
    for execution in (Execution(), WEIGHTS):
        state = State(Reader(), Plan(optimizer="sgd", ema=0.5), numbered(16), execution)
        for _ in range(3):
            with execution.autocast():
                loss = (state.worker(inputs).float() - 1).square().sum()
            loss.backward()
            state.update("network", 16.0, 0.05)
            state.sums.note(Loss("network", loss.detach(), 16), state.step)
            state.advance(16)
        assert all(parameter.dtype == torch.float32 for parameter in state.network.parameters())
        assert not state.network.get_parameter("head.weight").grad
        reached.append(float(loss.detach()))
    assert state.worker.get_parameter("gru.weight_hh_l0").dtype == torch.bfloat16
    assert state.worker.get_parameter("norm.weight") is state.network.get_parameter("norm.weight")
    torch.testing.assert_close(
        state.worker.get_parameter("head.weight").float(), state.network.get_parameter("head.weight"), atol=0, rtol=0.01
    )
    assert abs(reached[1] / reached[0] - 1) < 0.05


def test_pictures_come_in_the_layout_that_was_chosen() -> None:
    class Backbone(nn.Module):
        width = 3
        seen: tuple[bool, bool] = (False, False)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            last = image.is_contiguous(memory_format=torch.channels_last)
            self.seen = (last, image.is_contiguous())
            return image

    for layout, seen in (("channels-last", (True, False)), ("channels-first", (False, True))):
        backbone = Backbone()
        network = ImageClassifier(backbone, [0.0] * 3, [1.0] * 3, 2)
        Execution("cpu", layout=layout).prepare(network)(torch.zeros(2, 4, 4, 3, dtype=torch.uint8))  # type: ignore[arg-type]
        assert backbone.seen == seen


def test_on_the_cpu_nothing_is_moved() -> None:
    batch = Batch({"x": torch.zeros(2)}, {"y": torch.zeros(2)})
    assert Execution().move(batch) is batch
    assert [piece is batch for piece in batch.pieces(1)] == [True]


def test_every_norm_stays_in_float32() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2), nn.RMSNorm(2))
    worker = Execution(precision="bfloat16-weights").worker(network)
    assert [parameter.dtype for parameter in worker.parameters()] == [torch.bfloat16] * 2 + [torch.float32] * 3


def test_the_number_of_threads_comes_back_whatever_happens() -> None:
    before = torch.get_num_threads()
    with suppress(ZeroDivisionError), threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


@pytest.fixture
def present(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The accelerator that is here, by its name."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param == "cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: request.param == "mps")


@pytest.mark.parametrize(
    ("present", "named", "found"),
    [("cuda", "gpu", "cuda"), ("mps", "gpu", "mps"), ("mps", "mps", "mps"), ("cuda", "cpu", "cpu"), ("", "cpu", "cpu")],
    indirect=["present"],
)
@pytest.mark.usefixtures("present")
def test_a_device_is_found_by_its_name_or_as_the_gpu_that_is_here(named: str, found: str) -> None:
    assert device_named(named) == found


@pytest.mark.parametrize(
    ("present", "named", "said"),
    [
        ("", "gpu", "there is no gpu here. Leave it out: cpu is taken."),
        ("mps", "cuda", "there is no cuda here. Leave it out: mps is taken."),
        ("cuda", "cude", 'there is no --device "cude". Did you mean "cuda"?'),
    ],
    indirect=["present"],
)
@pytest.mark.usefixtures("present")
def test_a_device_that_is_not_here_is_refused(named: str, said: str) -> None:
    with pytest.raises(OptionError, match=re.escape(said)):
        device_named(named)


def test_a_way_to_run_whose_device_is_not_here_becomes_a_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Execution("cuda", "bfloat16", "channels-first", threads=3, compiled=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert gone.here() == gone
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gone.here() == Execution(default_device())
    assert Execution("cpu", "bfloat16").here() == Execution("cpu", "bfloat16")


@pytest.mark.parametrize(("kind", "free", "there"), [("cuda", 100, True), ("cuda", 10, False), ("mps", 100, False)])
def test_data_lie_on_an_accelerator_with_plenty_of_room(
    kind: Device, free: int, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 1000))
    store = Store({"x": torch.zeros(5, dtype=torch.uint8)}, {}, np.arange(5), [])
    assert Execution(kind).holds(store) == there
    if not there:
        assert Execution(kind).hold(store) is store
