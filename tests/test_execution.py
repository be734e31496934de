"""The measured choice: what disagrees is refused, what is slow is dropped, what was ordered is obeyed."""

import time
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from lamina import execution
from lamina.batch import Batch, Loss

BATCH = Batch({"x": torch.randn(64, 8, generator=torch.Generator().manual_seed(0))}, {"y": torch.zeros(64)})


class Network(nn.Module):
    """Two layers; in bfloat16 it can be wrong, or slow."""

    def __init__(self, wrong: float = 0.0, slow: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.wrong, self.slow, self.calls = wrong, slow, 0
        self.body = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.Linear(16, 1))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.body(x)
        if torch.is_autocast_enabled("cpu"):
            time.sleep(self.slow)
            result = result + self.wrong * x.sum(1, keepdim=True) * result
        else:
            time.sleep(0.01)
        return result


def losses(network: nn.Module, batch: Batch) -> Iterator[Loss]:
    yield Loss("network", (network(**batch.inputs)[:, 0].float() - batch.targets["y"]).square().sum(), len(batch))


def choose(
    network: nn.Module, precision: str | None = None, threads: int | None = 1
) -> tuple[execution.Execution, list[execution.Candidate]]:
    return execution.choose(network, losses, BATCH, "cpu", precision, threads)  # type: ignore[arg-type]


def test_the_quickest_that_agrees_is_taken() -> None:
    chosen, measured = choose(Network())
    assert chosen.precision == "bfloat16"
    assert [candidate.chosen for candidate in measured] == [False, True]
    assert all(candidate.agrees for candidate in measured)


def test_one_whose_gradient_disagrees_is_refused() -> None:
    chosen, measured = choose(Network(wrong=1.0))
    assert chosen.precision == "float32"
    assert measured[1].gradient_error > execution.GRADIENT_TOLERANCE
    assert measured[1].examples_per_s > measured[0].examples_per_s  # it was quicker, and refused all the same


def test_a_hopeless_one_is_dropped_after_its_first_steps() -> None:
    began = time.monotonic()
    chosen, _ = choose(Network(slow=0.4))
    assert chosen.precision == "float32"
    assert time.monotonic() - began < 0.4 * 2 + 1.0


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("wrong", [0.0, 1.0])
def test_what_was_ordered_is_obeyed(precision: str, wrong: float) -> None:
    chosen, measured = choose(Network(wrong), precision, 1)
    assert (chosen.precision, chosen.threads) == (precision, 1)
    assert [c.execution.precision for c in measured if c.chosen] == [precision]


def test_threads_are_measured_unless_ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "_cores", lambda: 2)
    try:
        _, measured = choose(Network(), "float32", None)
        assert sorted(candidate.execution.threads for candidate in measured) == [1, 2]
        assert choose(Network(), None, 2)[0].threads == 2
    finally:
        torch.set_num_threads(1)


def test_the_network_is_left_as_it_was() -> None:
    network = Network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.eval()
    choose(network)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.training


def test_the_table_is_json() -> None:
    import json

    rows = [candidate.to_json() for candidate in choose(Network())[1]]
    assert [row["candidate"] for row in rows] == ["float32, 1 thread", "bfloat16, 1 thread"]
    json.dumps(rows)
