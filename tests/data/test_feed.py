"""Feeds: every row once an epoch, in an order of its own; alike ones together where they are of different lengths."""

import numpy as np
import pytest
import torch

from lamina.batch import Batch
from lamina.data.feed import Alike, Feed, Shuffled
from lamina.data.ragged import Ragged

ROWS = torch.arange(3, 103)
LENGTHS = torch.randint(1, 50, (110,), generator=torch.Generator().manual_seed(0))
RAGGED = Ragged(
    torch.arange(int(LENGTHS.sum()) + 50), torch.cat([torch.zeros(1, dtype=torch.int64), LENGTHS.cumsum(0)])
)


def gather(rows: torch.Tensor) -> Batch:
    values, lengths = RAGGED.gather(rows)
    return Batch({"audio": values, "audio_lengths": lengths}, {})


FEEDS = [Shuffled(ROWS, gather), Alike(ROWS, LENGTHS[ROWS], gather, "audio", 0.5)]


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("batch_size", [1, 7, 100, 1000])
def test_every_row_comes_once_in_batches_of_nearly_equal_size(feed: Feed, batch_size: int) -> None:
    batches = feed.batches(batch_size, np.random.default_rng(0))
    assert len(batches) == feed.steps(batch_size)
    assert torch.cat(batches).sort().values.tolist() == ROWS.tolist()
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("feed", FEEDS)
def test_the_order_follows_from_the_generator(feed: Feed) -> None:
    one, again, other = (feed.batches(10, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_alike_examples_stand_together_and_batches_are_not_in_the_order_of_lengths() -> None:
    shuffled, alike = (feed.batches(5, np.random.default_rng(0)) for feed in FEEDS)

    def padding(batches: list[torch.Tensor]) -> int:
        return sum(int(LENGTHS[batch].max()) * len(batch) - int(LENGTHS[batch].sum()) for batch in batches)

    assert padding(alike) < 0.35 * padding(shuffled)
    longest = [int(LENGTHS[batch].max()) for batch in alike]
    assert longest != sorted(longest)


def test_there_is_room_behind_the_longest() -> None:
    batch = FEEDS[1].batch(torch.tensor([5, 6, 7]))
    longest = int(LENGTHS[5:8].max())
    assert batch.inputs["audio"].shape == (3, round(1.5 * longest))
    assert batch.inputs["audio_lengths"].tolist() == LENGTHS[5:8].tolist()
