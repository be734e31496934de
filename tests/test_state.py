"""State: order of the data, randomness, the best score, gradients; and losses whose reading can wait."""

import pytest
import torch
from torch import nn

from lamina.batch import Loss
from lamina.execution import Execution
from lamina.plan import Plan
from lamina.state import GROWTH, State, average
from states import fresh, numbered

HALF = Execution(precision="float16")


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
    state.epoch = 1
    assert [state.judge(score, "lower") for score in (0.5, 0.6, 0.7)] == [True, False, False]
    assert state.finished()


def test_until_a_score_is_a_number_the_latest_weights_are_the_best() -> None:
    state = fresh(Plan(patience=3))
    state.epoch = 1
    unknown = float("nan")
    assert [state.judge(score, "lower") for score in (unknown, unknown, 0.5, unknown)] == [True, True, True, False]
    assert state.stale == 1  # since the first number
    for _ in range(2):
        state.judge(unknown, "lower")
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


def test_it_does_not_matter_when_losses_are_read() -> None:
    at_once, late = fresh(Plan()), fresh(Plan())
    for number in range(50):
        for state in (at_once, late):
            state.sums.note(Loss("network", torch.tensor(0.1 * number), 3 if number % 2 else torch.tensor(1.7)), number)
        at_once.sums.settle()
    assert at_once.sums.values == late.sums.settle()
    assert late.sums.values["network"][1] == pytest.approx(25 * 3 + 25 * 1.7)


def test_a_float16_step_that_overflows_is_left_out_and_the_scale_halved() -> None:
    state = State(torch.nn.Linear(2, 1), Plan(optimizer="sgd", momentum=0.0, weight_decay=0.0), numbered(4), HALF)
    (weight, _), scale = state.network.parameters(), state.scale.value
    before = weight.detach().clone()
    weight.grad = torch.tensor([[torch.inf, 1.0]])
    assert state.update("network", 1.0, 0.1) is None
    assert torch.equal(weight, before)
    assert state.scale.value == scale / 2
    weight.grad = torch.full((1, 2), 2.0) * state.scale.value
    state.scale.unspoilt = GROWTH - 1
    state.update("network", 2.0, 0.1)
    torch.testing.assert_close(before - weight, torch.full((1, 2), 0.1))
    assert state.scale.value == scale


def test_float16_trains_to_what_float32_does() -> None:
    reached, pictures = [], torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for execution in (Execution(), HALF):
        state = fresh(Plan(optimizer="sgd", lr=0.01), execution)
        taken = 0
        while taken < 3:
            with execution.autocast():
                loss = state.worker(pictures).float().square().sum()
            (loss * state.scale.value).backward()
            taken += state.update("network", 4.0, 0.01) is not None  # the first ones overflow, and lower the scale
        reached.append(float(loss.detach()))
    assert reached[1] == pytest.approx(reached[0], rel=0.02)


def test_averaged_weights_follow_by_a_share_and_what_counts_is_copied() -> None:
    averaged, network = (nn.BatchNorm1d(2) for _ in range(2))
    with torch.no_grad():
        network.weight.fill_(3.0)
        network.running_mean.fill_(4.0)  # type: ignore[union-attr]
        network.num_batches_tracked.fill_(7)  # type: ignore[union-attr]
    average(averaged, network, 0.75)
    assert averaged.weight.tolist() == [1.5, 1.5]
    assert averaged.running_mean.tolist() == [1.0, 1.0]  # type: ignore[union-attr]
    assert int(averaged.num_batches_tracked) == 7  # type: ignore[arg-type]
