"""A stream: every token is predicted exactly once an epoch, after the one that stands before it; lanes continue one another."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from lamina.batch import Batch
from lamina.data.ragged import Ragged, ragged
from lamina.data.stream import IGNORED, Stream, streamed

TOKENS = torch.arange(101, dtype=torch.int32)  # each is its own place


def epoch(stream: Stream, batch_size: int, seed: int = 0) -> list[Batch]:
    return [stream.batch(picked) for picked in stream.batches(batch_size, np.random.default_rng(seed))]


@pytest.mark.parametrize("carries", [False, True])
@pytest.mark.parametrize("batch_size", [1, 4, 7, 200])
@pytest.mark.parametrize("window", [1, 8, 1000])
def test_every_token_follows_once_after_the_one_before_it(carries: bool, batch_size: int, window: int) -> None:
    stream = Stream(TOKENS, window, carries)
    batches = epoch(stream, batch_size)
    assert len(batches) == stream.steps(batch_size)
    seen = []
    for batch in batches:
        tokens, following = batch.inputs["tokens"], batch.targets["following"]
        counted = following != IGNORED
        assert torch.equal(following[counted], (tokens[counted] + 1) % len(TOKENS))
        assert len(batch) <= batch_size
        assert tokens.shape[1] <= window
        seen += following[counted].tolist()
    assert sorted(seen) == TOKENS.tolist()


@pytest.mark.parametrize("carries", [False, True])
def test_a_first_token_stands_before_the_others_in_the_ring(carries: bool) -> None:
    pairs = []
    for batch in epoch(Stream(TOKENS[1:], 8, carries, first=0), 4):
        counted = batch.targets["following"] != IGNORED
        pairs += zip(
            batch.inputs["tokens"][counted].tolist(), batch.targets["following"][counted].tolist(), strict=True
        )
    assert sorted(pairs) == [(token, (token + 1) % len(TOKENS)) for token in range(len(TOKENS))]


@pytest.mark.parametrize("batch_size", [1, 4, 7])
def test_each_lane_continues_where_it_stopped(batch_size: int) -> None:
    batches = epoch(Stream(TOKENS, 8, carries=True), batch_size)
    for before, after in pairwise(batches):
        assert len(before) == len(after)  # or what is carried would not fit
        going_on = after.targets["following"][:, 0] != IGNORED
        assert torch.equal(after.inputs["tokens"][going_on, 0], before.targets["following"][going_on, -1])


@pytest.mark.parametrize("carries", [False, True])
def test_epochs_cut_differently_and_follow_from_the_generator(carries: bool) -> None:
    stream = Stream(TOKENS, 8, carries)
    firsts = [epoch(stream, 4, seed)[0].inputs["tokens"] for seed in (0, 0, 1)]
    assert torch.equal(firsts[0], firsts[1])
    assert not torch.equal(firsts[0], firsts[2])


def test_an_epoch_counts_its_windows() -> None:
    assert [len(Stream(TOKENS, window, False)) for window in (1, 50, 101, 500)] == [101, 3, 1, 1]


def test_rows_that_lie_side_by_side_are_not_copied() -> None:
    column = Ragged.of(ragged([np.arange(3), np.arange(10, 14), np.arange(20, 22)]))
    assert streamed(column, torch.tensor([0, 1])).tolist() == [0, 1, 2, 10, 11, 12, 13]
    assert streamed(column, torch.tensor([0, 1])).data_ptr() == column.values.data_ptr()
    assert streamed(column, torch.tensor([2, 0])).tolist() == [20, 21, 0, 1, 2]
