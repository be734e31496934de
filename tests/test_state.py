"""Checkpoints: what comes back is what was kept, to the bit; what is damaged is set aside and said."""

from pathlib import Path

import pytest
import torch
from torch import nn

from lamina.errors import RunError
from lamina.plan import Plan
from lamina.run import Run
from lamina.state import State, restore_checkpoint, save_checkpoint

PLANS = {
    "adamw": Plan(ema=0.9),
    "sgd": Plan(optimizer="sgd", ema=0.9),
    "plain": Plan(optimizer="sgd", momentum=0.0),
    "muon": Plan(optimizer="muon", ema=0.9, clip=0.5),
}
every_plan = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)


def fresh(plan: Plan) -> State:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    return State(network, plan, torch.arange(300))


def step(state: State) -> None:
    """One step on pictures that follow from the step's number."""
    generator = state.generator(torch.device("cpu"))
    pictures = torch.randn(8, 1, 8, 8, generator=generator)
    state.network.train()
    loss = state.network(pictures).square().sum()
    loss.backward()
    state.update("network", 8, 0.01)
    state.sums["network"] = state.sums.get("network", 0) + torch.tensor([float(loss.detach()), 8.0]).double()
    state.advance(8)


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
    assert second.restore(first.to_bytes(17)) == 17
    assert same(first, second)
    assert (second.step, second.position, second.examples) == (3, 3, 24)
    assert torch.equal(second.sums["network"], first.sums["network"])
    for _ in range(3):
        step(whole)
        step(second)
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
        restore_checkpoint(run, State(nn.Linear(2, 2), Plan(), torch.arange(10)))
    assert len(checkpoints(run)) == 1


@pytest.mark.parametrize("spoilt", ["network", "average", "sums"])
def test_what_is_not_finite_never_replaces_a_good_checkpoint(tmp_path: Path, spoilt: str) -> None:
    run, state = run_with(tmp_path, PLANS["adamw"], 3)
    before = {file.name: file.read_bytes() for file in checkpoints(run)}
    if spoilt == "sums":
        state.sums["network"][0] = torch.inf
    else:
        next(getattr(state, spoilt).parameters()).data.view(-1)[3] = torch.nan
    for _ in range(3):
        state.step += 1
        save_checkpoint(run, state)
    assert {file.name: file.read_bytes() for file in checkpoints(run)} == before


def test_an_epoch_holds_every_row_once_in_an_order_of_its_own() -> None:
    state = fresh(Plan(batch_size=128))
    first = state.batches()
    assert [len(batch) for batch in first] == [100, 100, 100]
    assert sorted(torch.cat(first).tolist()) == list(range(300))
    assert torch.equal(torch.cat(state.batches()), torch.cat(first))
    state.epoch = 1
    assert not torch.equal(torch.cat(state.batches()), torch.cat(first))


def test_randomness_follows_from_seed_and_step() -> None:
    def drawn(seed: int, number: int) -> list[float]:
        state = fresh(Plan(seed=seed))
        state.step = number
        return [*torch.rand(2, generator=state.generator(torch.device("cpu"))).tolist(), *torch.rand(2).tolist()]

    assert drawn(0, 5) == drawn(0, 5)
    assert len({number for draw in (drawn(0, 5), drawn(0, 6), drawn(1, 5)) for number in draw}) == 12


def test_the_best_score_is_judged_by_its_direction() -> None:
    state = fresh(Plan())
    assert [state.judge(score, "higher") for score in (0.5, 0.4, float("nan"), 0.5, 0.6)] == [
        True,
        False,
        False,
        False,
        True,
    ]
    assert state.stale == 0
    state = fresh(Plan(patience=2))
    assert [state.judge(score, "lower") for score in (0.5, 0.6, 0.7)] == [True, False, False]
    assert state.finished()


def test_gradients_are_means_and_clipped() -> None:
    norms = []
    for clip in (None, 0.01):
        state = fresh(Plan(optimizer="sgd", momentum=0.0, weight_decay=0.0, clip=clip))
        before = torch.cat([p.detach().flatten().clone() for p in state.network.parameters()])
        state.network.train()
        state.network(torch.ones(4, 1, 8, 8)).sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in state.network.parameters() if p.grad is not None]) / 4
        norm = state.update("network", 4, 1.0)
        assert float(norm) == pytest.approx(float(gradient.norm()), rel=1e-4)
        moved = before - torch.cat([p.detach().flatten() for p in state.network.parameters()])
        norms.append((float(moved.norm()), float(gradient.norm())))
    assert norms[0][0] == pytest.approx(norms[0][1], rel=1e-3)
    assert norms[1][0] == pytest.approx(0.01, rel=1e-2)
