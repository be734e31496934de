"""The measured choice: what disagrees is refused, what is slow is dropped, what was ordered is obeyed, all is remembered."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lamina import candidate, machine, measuring, native
from lamina.batch import Batch, Loss
from lamina.errors import OptionError
from lamina.execution import Execution
from lamina.measuring import Choice

BATCH = Batch({"x": torch.randn(64, 8, generator=torch.Generator().manual_seed(0))}, {"y": torch.zeros(64)})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAMINA_CACHE", str(tmp_path))
    monkeypatch.setattr(measuring, "bfloat16_is_native", lambda: True)
    return tmp_path / "measured"


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
            time.sleep(0.05)
        return result


class Line(nn.Module):
    """One layer."""

    def __init__(self) -> None:
        super().__init__()
        self.only = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.only(x)
        return result


class Starting(Line):
    """Quicker in bfloat16, but for what the first step with each number of examples takes."""

    def __init__(self) -> None:
        super().__init__()
        self.met = set[int]()

    def forward(self, x: Tensor) -> Tensor:
        half = torch.is_autocast_enabled("cpu")
        time.sleep((0.01 if len(x) in self.met else 0.4) if half else 0.05)
        self.met |= {len(x)} if half else set()
        return super().forward(x)


class Hindered(Line):
    """Quicker in bfloat16, which does not show where threads wait for one another, because a core is busy."""

    busy = True
    now = 0.0
    """What the clock says, for the machine of these tests may be busy, too."""

    @staticmethod
    def perf_counter() -> float:
        """As that of ``time``."""
        return Hindered.now

    def forward(self, x: Tensor) -> Tensor:
        shared = torch.get_num_threads() > 1
        waits = 0.1 if self.busy and shared else 0.0
        Hindered.now += waits or (0.005 if torch.is_autocast_enabled("cpu") else 0.02) * (1 if shared else 1.5)
        return super().forward(x)


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine of two cores, on which time passes as ``Hindered`` says."""
    monkeypatch.setattr(measuring, "cores", lambda: 2)
    monkeypatch.setattr(candidate, "time", Hindered)
    monkeypatch.setattr(measuring, "time", Hindered)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def losses(network: nn.Module, batch: Batch) -> Iterator[Loss]:
    yield Loss("network", (network(**batch.inputs)[:, 0].float() - batch.targets["y"]).square().sum(), len(batch))


def choose(network: nn.Module, asked: dict[str, Any] | None = None, seconds: float = 100.0) -> Choice:
    asked = {"threads": 1} if asked is None else asked
    return measuring.choose(network, losses, BATCH, Execution(), asked, seconds)


def precisions(choice: Choice) -> list[str]:
    return [candidate.execution.precision for candidate in choice.candidates]


def test_the_quickest_that_agrees_is_taken() -> None:
    choice = choose(Network())
    assert choice.execution.precision == "bfloat16"
    assert [candidate.chosen for candidate in choice.candidates] == [False, True]
    assert all(candidate.agrees for candidate in choice.candidates)


def test_one_whose_gradient_disagrees_is_refused_and_the_table_says_so() -> None:
    choice = choose(Network(wrong=1.0))
    assert choice.execution.precision == "float32"
    other = choice.candidates[1]
    assert other.gradient_error > candidate.GRADIENT_TOLERANCE
    assert other.examples_per_s > choice.examples_per_s  # it was quicker, and refused all the same
    assert "does not compute the same" in other.to_json()["note"]


@pytest.mark.parametrize(("wrong", "taken"), [(0.1, "bfloat16"), (1.0, "float32")])
def test_a_gradient_may_be_off_by_a_part_of_its_own_noise(wrong: float, taken: str) -> None:
    generator = torch.Generator().manual_seed(0)
    noisy = Batch(BATCH.inputs, {"y": 100 * torch.randn(64, generator=generator)})  # nothing to learn: all is noise
    choice = measuring.choose(Network(wrong), losses, noisy, Execution(), {"threads": 1}, 100.0)
    assert choice.execution.precision == taken
    other = choice.candidates[1]
    assert other.gradient_error > candidate.GRADIENT_TOLERANCE
    assert 0.5 < other.gradient_noise < 3
    words = "the choice of a batch's examples" if taken == "bfloat16" else "does not compute the same"
    assert words in other.to_json()["note"]


def test_the_noise_of_a_gradient_is_that_of_batches_drawn_anew() -> None:
    generator = torch.Generator().manual_seed(0)
    trial = candidate.Attempt(Execution(), 1, Line(), losses)
    gradients, told = [], []
    for _ in range(200):
        batch = Batch(
            {"x": torch.randn(64, 8, generator=generator)}, {"y": 1 + 2 * torch.randn(64, generator=generator)}
        )
        trial.settled(batch)
        gradients.append(trial.gradient)
        told.append(trial.noise(batch) * float(trial.gradient.norm()))
    truth = float(torch.stack(gradients).var(0).sum().sqrt())
    assert sum(told) / len(told) == pytest.approx(truth, rel=0.1)


def test_a_hopeless_one_is_dropped_after_a_few_steps_on_few_examples() -> None:
    began = time.monotonic()
    assert choose(Network(slow=0.4)).execution.precision == "float32"
    assert time.monotonic() - began < 0.4 + 1.5


def test_what_a_first_step_sets_up_is_not_held_against_it() -> None:
    choice = choose(Starting())
    assert choice.execution.precision == "bfloat16"
    assert choice.examples_per_s > 2 * choice.candidates[0].examples_per_s  # the other rounds alone count


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("wrong", [0.0, 1.0])
def test_what_was_ordered_is_obeyed(precision: str, wrong: float) -> None:
    choice = choose(Network(wrong), {"precision": precision, "threads": 1, "layout": "channels-first"})
    assert (choice.execution.precision, choice.execution.threads) == (precision, 1)
    assert choice.execution.layout == "channels-first"
    assert [c.execution.precision for c in choice.candidates if c.chosen] == [precision]


def test_threads_are_measured_unless_ordered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "cores", lambda: 2)
    before = torch.get_num_threads()
    try:
        choice = choose(Network(), {"precision": "float32"})
        assert sorted(candidate.execution.threads for candidate in choice.candidates) == [1, 2]
        assert choose(Network(), {"threads": 2}).execution.threads == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.usefixtures("two_cores")
def test_where_threads_wait_for_a_busy_core_precision_is_measured_with_one(cache: Path) -> None:
    choice = choose(Hindered(), {})
    assert (choice.execution.precision, choice.execution.threads) == ("bfloat16", 1)
    assert [(c.execution.precision, c.execution.threads) for c in choice.candidates][:3] == [
        ("float32", 1),
        ("bfloat16", 1),
        ("bfloat16", 2),
    ]
    assert not cache.exists()  # it need not be so in the next run


@pytest.mark.usefixtures("two_cores")
def test_what_a_quiet_machine_gave_is_measured_anew_where_a_core_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hindered, "busy", False)
    quiet = choose(Hindered(), {})
    assert (quiet.execution.precision, quiet.execution.threads) == ("bfloat16", 2)
    monkeypatch.setattr(Hindered, "busy", True)
    hindered = choose(Hindered(), {})
    assert (hindered.execution.precision, hindered.execution.threads) == ("bfloat16", 1)
    assert not hindered.remembered
    monkeypatch.setattr(Hindered, "busy", False)
    assert choose(Hindered(), {}) == replace(quiet, remembered=True)  # a busy hour is not remembered


def test_layouts_are_measured_where_there_are_filters() -> None:
    class Filters(Network):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 1)
            )

    choice = choose(Filters(), {"threads": 1, "precision": "float32"})
    assert [candidate.execution.layout for candidate in choice.candidates] == ["channels-last", "channels-first"]
    assert "layout" not in {
        name for name in ("layout",) if len({c.execution.layout for c in choose(Network()).candidates}) > 1
    }


@pytest.mark.parametrize("compiles", [True, False])
def test_convolutions_by_tiles_are_compiled_where_that_works(compiles: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if compiles and native.compiler() is None:
        pytest.skip("no C++ compiler is here")
    monkeypatch.setattr(native, "compiles", lambda: compiles)

    class Wide(Network):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Linear(8, 64 * 16), nn.Unflatten(1, (64, 4, 4)), nn.Conv2d(64, 64, 3, padding=1), nn.Flatten(),
                nn.Linear(64 * 16, 1),
            )  # fmt: skip

    asked = {"threads": 1, "precision": "float32", "micro_batches": 1, "layout": "channels-last"}
    candidates = choose(Wide(), asked).candidates
    assert all(candidate.agrees for candidate in candidates)
    ways = [candidate.execution.convolutions for candidate in candidates]
    assert ways == ["direct", "winograd-compiled" if compiles else "winograd"]
    assert f"{'compiled ' * compiles}Winograd convolutions" in candidates[-1].to_json()["candidate"]


def test_micro_batches_are_measured_only_where_they_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain(Network):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5), nn.Linear(16, 1))

    asked = {"threads": 1, "precision": "float32"}
    assert {candidate.micro_batches for candidate in choose(Plain(), asked).candidates} == {1, 2}
    assert all(candidate.agrees for candidate in choose(Plain(), asked).candidates)
    assert {candidate.micro_batches for candidate in choose(Network(), asked).candidates} == {1}


def test_what_does_not_run_here_is_said_and_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    class Picky(Network):
        def forward(self, x: Tensor) -> Tensor:
            if torch.is_autocast_enabled("cpu"):
                raise NotImplementedError("no such kernel")
            return super().forward(x)

    choice = choose(Picky())
    assert choice.execution.precision == "float32"
    assert choice.candidates[1].to_json()["note"] == "it does not run here (NotImplementedError)"
    json.dumps([candidate.to_json() for candidate in choice.candidates])


def test_what_was_ordered_and_does_not_run_is_refused() -> None:
    class Picky(Line):
        def forward(self, x: Tensor) -> Tensor:
            if torch.is_autocast_enabled("cpu"):
                raise NotImplementedError("no such kernel.\nTraceback")
            return super().forward(x)

    with pytest.raises(OptionError, match=r"--precision bfloat16.*does not run so: no such kernel\. Leave it out"):
        choose(Picky(), {"precision": "bfloat16"})


@pytest.mark.usefixtures("two_cores")
def test_what_a_short_training_had_no_time_for_is_measured_in_a_longer_one(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hindered, "busy", False)
    cut = 0
    for tenths in range(5, 80):  # in some of them time is over just when a race has ended
        first, again = (choose(Hindered(), {"precision": "bfloat16"}, tenths / 10) for _ in range(2))
        cut += again.remembered and {candidate.execution.threads for candidate in first.candidates} == {2}
        longer = choose(Hindered(), {"precision": "bfloat16"}, 1000.0)
        assert {candidate.execution.threads for candidate in longer.candidates} == {1, 2}
        for file in cache.iterdir():
            file.unlink()
    assert cut, "a training as short takes it over all the same"


def test_a_short_training_is_not_held_up() -> None:
    network = Network()
    began = time.monotonic()
    choice = choose(network, seconds=0.1)
    assert time.monotonic() - began < 0.5
    assert len(choice.candidates) == 1


def test_fewer_examples_are_measured_where_memory_is_short() -> None:
    class Large(Network):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 2:
                raise torch.OutOfMemoryError
            return super().forward(x)

    assert choose(Large(), {"threads": 1, "precision": "float32"}).candidates


def test_a_choice_is_remembered_until_something_changes(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setattr(measuring, "STEADY", 1e9)
    first, second = choose(Network()), choose(Network())
    assert (first.remembered, second.remembered) == (False, True)
    assert (second.execution, second.candidates) == (first.execution, first.candidates)
    assert not choose(Network(), {"threads": 1, "precision": "float32"}).remembered
    monkeypatch.setattr(measuring, "identity", lambda kind: ["another machine"])
    assert not choose(Network()).remembered
    for file in cache.iterdir():
        file.write_text("{damaged")
    assert not choose(Network()).remembered


def test_what_a_busy_machine_gave_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "STEADY", 0.0)
    choose(Network())
    assert not choose(Network()).remembered


def test_what_was_only_tried_leaves_no_setting_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(way: Execution, network: nn.Module) -> nn.Module:
        torch.use_deterministic_algorithms(True)  # as for what is compiled
        return network

    monkeypatch.setattr(Execution, "prepare", prepare)
    assert candidate.Attempt(Execution(), 1, Line(), losses).settled(BATCH)
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_network_is_left_as_it_was() -> None:
    network = Network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.eval()
    choose(network)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not network.training


def test_the_gemm_peak_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = machine.gemm_peak(Execution(threads=1))
    assert first > 1e8
    monkeypatch.setattr(machine, "_product", lambda *_: 1.0)
    assert machine.gemm_peak(Execution(threads=1)) == first
    assert machine.gemm_peak(Execution("cpu", "bfloat16", threads=1)) == 1.0


def test_where_bfloat16_is_emulated_it_is_not_even_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "bfloat16_is_native", lambda: False)
    assert precisions(choose(Network())) == ["float32"]
    monkeypatch.setattr(machine, "_product", lambda kind, dtype, side: 1.0 if dtype == torch.bfloat16 else 2.0)
    assert not machine.bfloat16_is_native()


def test_on_cuda_recurrent_networks_are_tried_in_float16_whose_losses_are_scaled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert measuring._precisions("cuda", nn.Sequential(nn.GRU(4, 4))) == ["float16"]
    assert measuring._precisions("cuda", nn.Linear(4, 4)) == ["bfloat16"]
    assert measuring._precisions("cpu", nn.Sequential(nn.GRU(4, 4))) == ["bfloat16", "bfloat16-weights"]


def test_the_steps_of_all_players_are_measured() -> None:
    taken: list[str] = []

    def two(network: nn.Module, batch: Batch) -> Iterator[Loss]:
        for player in ("first", "second"):
            yield from losses(network, batch)
            taken.append(player)  # only once its loss was dealt with, and the next one was asked for

    measuring.choose(Network(), two, BATCH, Execution(), {"threads": 1}, 100.0)
    assert taken.count("first") == taken.count("second") > 1


def test_an_accelerator_is_measured_on_whole_batches_once_it_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []

    def step(attempt: candidate.Attempt, batch: Batch) -> None:
        attempt.seconds.append(0.1 if steps else 5.0)
        steps.append(len(batch))

    monkeypatch.setattr(candidate.Attempt, "_step", step)
    assert measuring._Contest(Network(), losses, BATCH, Execution("cuda")).step_seconds() == 0.1
    assert steps == [64, 64]
    steps.clear()
    assert measuring._Contest(Network(), losses, BATCH, Execution()).step_seconds() == 5.0 * 8
    assert steps == [8]
