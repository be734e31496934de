"""Sparing: easy examples come less often and count for more; an epoch keeps its length."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from lamina.batch import Batch, Loss
from lamina.data.feed import Alike, Shuffled
from lamina.data.sparing import LAST, Sparing, sparing
from lamina.descent import descend
from lamina.layers.losses import cross_entropy
from lamina.plan import Plan
from lamina.state import State

ROWS = torch.arange(3, 104)
EASY = ROWS < 53


def gather(rows: torch.Tensor) -> Batch:
    return Batch({"image": rows[:, None].float()}, {"label": rows})


def taught(t: float = 0.1, forgotten: int = 0) -> Sparing:
    """A feed that has heard all losses but some: those of the first half are small."""
    feed = Sparing(ROWS, gather, 0.5)
    losses = torch.where(EASY, 0.1, 2.0) + torch.rand(101, generator=torch.Generator().manual_seed(1)) / 100
    for some, loss in zip(ROWS[forgotten:].split(8), losses[forgotten:].split(8), strict=True):
        feed.heed(some, loss)
    feed.turn(t)
    return feed


def shown(feed: Sparing, seed: int) -> torch.Tensor:
    return torch.cat(feed.batches(8, np.random.default_rng(seed)))


def test_it_takes_the_place_of_a_shuffled_feed_alone() -> None:
    shuffled = Shuffled(ROWS, gather)
    assert sparing(shuffled, 0.0) is shuffled
    assert isinstance(sparing(shuffled, 0.5), Sparing)
    alike = Alike(ROWS, ROWS, gather, "image", 0.0)
    assert sparing(alike, 0.5) is alike


@pytest.mark.parametrize("feed", [Sparing(ROWS, gather, 0.5), taught(LAST), taught(forgotten=1)])
def test_none_is_spared_before_all_were_heard_nor_at_the_end(feed: Sparing) -> None:
    plain = Shuffled(ROWS, gather).batches(8, np.random.default_rng(5))
    assert all(torch.equal(a, b) for a, b in zip(feed.batches(8, np.random.default_rng(5)), plain, strict=True))
    assert "weight" not in feed.batch(ROWS[:8]).targets


def test_hard_ones_come_twice_as_often_and_an_epoch_keeps_its_length() -> None:
    feed = taught()
    counts = torch.stack([torch.bincount(shown(feed, seed), minlength=104)[3:] for seed in range(200)])
    assert (counts.sum(1) == 101).all()
    assert (counts[:, EASY] <= 1).all()
    assert ((counts[:, ~EASY] == 1) | (counts[:, ~EASY] == 2)).all()
    assert counts[:, EASY].double().mean() == pytest.approx(2 / 3, abs=0.01)
    assert counts.double().mean(0)[~EASY].min() > 1.2  # each of them


def test_what_is_shown_less_often_counts_for_more() -> None:
    """On average each example weighs the same."""
    feed = taught()
    batches = [feed.batch(rows) for seed in range(300) for rows in feed.batches(8, np.random.default_rng(seed))]
    rows, weights = (torch.cat([batch.targets[name] for batch in batches]) for name in ("row", "weight"))
    mean = torch.zeros(104, dtype=torch.float64).index_add_(0, rows, weights.double())[3:] / 300
    assert mean.min() > 0.85
    assert mean.max() < 1.15
    assert mean.mean() == pytest.approx(1, abs=0.01)


def test_a_weight_of_its_own_is_kept() -> None:
    feed = taught()
    plain = feed.batch(ROWS).targets["weight"]
    feed.gather = lambda rows: Batch({"image": rows}, {"weight": torch.full((len(rows),), 3.0)})
    assert torch.equal(feed.batch(ROWS).targets["weight"], 3 * plain)


def test_an_order_is_recalled_whatever_was_heard_since() -> None:
    feed, other = taught(), Sparing(ROWS, gather, 0.5)
    expected = shown(feed, 1)
    feed.heed(ROWS, torch.rand(101))
    assert torch.equal(shown(feed, 1), expected)
    other.recall({name: tensor.clone() for name, tensor in feed.remembered().items()})
    assert torch.equal(shown(other, 1), expected)
    other.recall({})  # by a run that could not spare: nothing is lost
    assert torch.equal(shown(other, 1), expected)
    for one in (feed, other):
        one.turn(0.2)
    assert torch.equal(shown(other, 2), shown(feed, 2))
    assert not torch.equal(shown(feed, 1), expected)


def test_where_half_of_the_losses_are_alike_none_is_spared_and_the_order_is_recalled() -> None:
    feed, other = taught(), Sparing(ROWS, gather, 0.5)
    feed.heed(ROWS, torch.arange(101).clamp_min(60) - 60.0)  # learned to the last bit, most of them
    feed.turn(0.1)
    expected = shown(feed, 1)
    assert len(set(expected.tolist())) == 101
    other.recall({name: tensor.clone() for name, tensor in feed.remembered().items()})
    assert torch.equal(shown(other, 1), expected)


class Told:
    """A task whose losses are told."""

    def losses(self, network: nn.Module, batch: Batch) -> Iterator[Loss]:
        total, count, each = cross_entropy(network(**batch.inputs), batch.targets, 0.1)
        yield Loss("network", total, count, each=each)


@pytest.mark.parametrize("pieces", [1, 3])
def test_losses_are_told_in_the_order_of_the_rows(pieces: int) -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(104, 4), torch.arange(104) % 3
    network = nn.Linear(4, 3)
    feed = Shuffled(ROWS, lambda rows: Batch({"input": images[rows]}, {"label": labels[rows]}))
    state = State(network, Plan(batch_size=20, micro_batches=pieces, spare=0.5), feed)
    rows = state.batches()[0]
    batch = state.feed.batch(rows)
    expected = functional.cross_entropy(network(images[rows]), labels[rows], label_smoothing=0.1, reduction="none")
    descend(state, Told(), batch, 0.1, False)  # type: ignore[arg-type]
    assert state.told is not None
    assert torch.allclose(state.told, expected, atol=1e-6)
