"""Checkpoints: what comes back is what was kept, to the bit; what is damaged is set aside and said."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from lamina import checkpoint
from lamina.checkpoint import restore, restore_checkpoint, save_checkpoint, to_bytes
from lamina.errors import RunError
from lamina.plan import Plan
from lamina.run import Run
from lamina.state import State
from states import PLANS, fresh, numbered, step

every_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)


def tensors(state: State) -> dict[str, torch.Tensor]:
    found = {f"network.{name}": tensor for name, tensor in state.network.state_dict().items()}
    if state.average is not None:
        found |= {f"average.{name}": tensor for name, tensor in state.average.state_dict().items()}
    return found


def same(one: State, other: State) -> bool:
    first, second = tensors(one), tensors(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def run_with(path: Path, plan: Plan, steps: int = 6) -> tuple[Run, State]:
    """A run with a checkpoint after each step, and a log line before each."""
    run = Run.create(path, {})
    state = fresh(plan)
    for number in range(steps):
        run.log(f"before step {number + 1}")
        step(state)
        save_checkpoint(run, state)
    return run, state


def checkpoints(run: Run) -> list[Path]:
    return sorted((run.path / "checkpoints").glob("*.safetensors"))


@every_plan
def test_a_restored_state_goes_on_to_the_bit(plan: Plan) -> None:
    whole, first, second = fresh(plan), fresh(plan), fresh(plan)
    for _ in range(3):
        step(whole)
        step(first)
    for parameter in second.network.parameters():
        nn.init.ones_(parameter)  # whatever was there before does not matter
    assert restore(second, to_bytes(first, 17)) == 17
    assert same(first, second)
    assert (second.step, second.position, second.examples) == (3, 3, 24)
    assert second.sums.values == first.sums.settle()
    for _ in range(3):
        step(whole)
        step(second)
    assert same(whole, second)


@every_plan
def test_weights_that_lie_channels_last_go_on_to_the_bit(plan: Plan) -> None:
    """A fused step goes through memory: what the optimizer keeps must lie as the weights do."""

    def made() -> State:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 3)).to(
            memory_format=torch.channels_last
        )
        return State(network, plan, numbered(300), None)

    def descended(state: State) -> None:
        pictures = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(state.step))
        state.network(pictures).square().sum().backward()
        state.update("network", 8.0, 0.01, False)
        state.advance(8)

    whole, second = made(), made()
    for _ in range(3):
        descended(whole)
    restore(second, to_bytes(whole, 0))
    for _ in range(3):
        descended(whole)
        descended(second)
    assert same(whole, second)


def test_the_two_newest_are_kept(tmp_path: Path) -> None:
    run, _ = run_with(tmp_path, PLANS["adamw"])
    assert [file.stem for file in checkpoints(run)] == ["000000005", "000000006"]


def test_the_log_is_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    run, _ = run_with(tmp_path, PLANS["adamw"], 2)
    run.log("after the last checkpoint")
    assert restore_checkpoint(run, fresh(PLANS["adamw"]))
    assert [record["what"] for record in run.records()] == ["before step 1", "before step 2"]


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    assert not restore_checkpoint(Run.create(tmp_path, {}), fresh(Plan()))


@pytest.mark.parametrize(
    "damage", ["truncated", "empty", "noise", *(f"bit {share}" for share in (0, 0.001, 0.05, 0.5, 1))]
)
def test_a_damaged_one_falls_back_to_the_one_before_and_says_so(tmp_path: Path, damage: str) -> None:
    plan = PLANS["adamw"]
    run, _ = run_with(tmp_path, plan, 3)
    newest = checkpoints(run)[-1]
    data = bytearray(newest.read_bytes())
    if damage.startswith("bit"):
        data[min(int(float(damage[4:]) * len(data)), len(data) - 1)] ^= 1
    newest.write_bytes({"truncated": data[: len(data) // 2], "empty": b"", "noise": b"x" * 100}.get(damage, data))
    state, expected = fresh(plan), fresh(plan)
    step(expected)
    step(expected)
    assert restore_checkpoint(run, state)
    assert same(state, expected)
    (finding,) = run.findings()
    assert (finding.kind, finding.evidence["step"]) == ("checkpoint.damaged", 2)
    assert finding.where == ("000000003.damaged",)
    step(state)
    save_checkpoint(run, state)
    assert restore_checkpoint(run, fresh(plan))
    assert len(run.findings()) == 1


def test_all_damaged_is_an_error_at_each_try(tmp_path: Path) -> None:
    run, _ = run_with(tmp_path, Plan(), 3)
    for file in checkpoints(run):
        file.write_bytes(file.read_bytes()[:-5])
    for _ in range(2):
        with pytest.raises(RunError, match="damaged"):
            restore_checkpoint(run, fresh(Plan()))


def test_another_network_is_refused_and_the_checkpoint_kept(tmp_path: Path) -> None:
    run, _ = run_with(tmp_path, Plan(), 1)
    with pytest.raises(RunError, match="another network"):
        restore_checkpoint(run, State(nn.Linear(2, 2), Plan(), numbered(10)))
    assert len(checkpoints(run)) == 1


@pytest.mark.parametrize("spoilt", ["network", "average", "sums"])
def test_what_is_not_finite_never_replaces_a_good_checkpoint(tmp_path: Path, spoilt: str) -> None:
    run, state = run_with(tmp_path, PLANS["adamw"], 3)
    before = {file.name: file.read_bytes() for file in checkpoints(run)}
    if spoilt == "sums":
        state.sums.values["network"] = (math.inf, 8.0)
    else:
        next(getattr(state, spoilt).parameters()).data.view(-1)[3] = torch.nan
    for _ in range(3):
        state.step += 1
        save_checkpoint(run, state)
    assert {file.name: file.read_bytes() for file in checkpoints(run)} == before


class Masked(nn.Module):
    """Tied weights, and a mask that is not finite and never was."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)
        self.last.weight = self.first.weight
        self.register_buffer("mask", torch.full((4, 4), -torch.inf).triu(1))
        self.first.mask = self.last.mask = self.mask  # type: ignore[assignment]
        self.register_buffer("mean", torch.zeros(4))


def test_tied_weights_and_masks_are_kept(tmp_path: Path) -> None:
    run, network = Run.create(tmp_path / "run", {}), Masked()
    state = State(network, Plan(ema=0.9), numbered(10))
    save_checkpoint(run, state)
    other = State(Masked(), Plan(ema=0.9), numbered(10))
    assert restore_checkpoint(run, other)
    assert other.network.last.weight is other.network.first.weight  # type: ignore[union-attr]
    for name, tensor in network.state_dict().items():
        assert torch.equal(other.network.state_dict()[name], tensor)
    other.network.mean[1] = torch.inf  # type: ignore[index, operator]
    assert not other.finite(), "what was finite is watched"


def test_a_checkpoint_of_format_1_still_loads() -> None:
    old, new = fresh(PLANS["adamw"]), fresh(PLANS["adamw"])
    for _ in range(3):
        step(old)
    data = to_bytes(old, 5)
    header = checkpoint._header(data)
    for name in ("sums", "account", "scale"):
        del header[name]
    for name in ("micro_batches", "reserve"):
        del header["numbers"][name]
    tensors = load(data) | {"sums.network": torch.tensor(old.sums.values["network"], dtype=torch.float64)}
    data = save(tensors, {"state": json.dumps(header), "seal": checkpoint._UNSEALED})
    data = data.replace(checkpoint._UNSEALED.encode(), checkpoint._seal(data).encode(), 1)
    assert restore(new, data) == 5
    assert same(old, new)
    assert new.sums.values == old.sums.values
    assert new.micro_batches == 1
    step(old)
    step(new)
    assert same(old, new)
