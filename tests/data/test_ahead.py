"""Batches that are gathered ahead are the same, in the same order; a generator that is closed leaves no thread."""

import threading

import numpy as np
import pytest
import torch

from lamina.data.ahead import WORTH, ahead
from lamina.data.feed import Shuffled
from lamina.data.store import Store

STORE = Store({"x": torch.arange(64.0)[:, None].expand(64, WORTH // 16).contiguous()}, {}, np.arange(64), [])
FEED = Shuffled(torch.arange(64), STORE.batch)
BATCHES = list(torch.randperm(64, generator=torch.Generator().manual_seed(0)).split(7))


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ahead")]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10])
@pytest.mark.parametrize("apart", [False, True])
def test_all_batches_come_in_order(count: int, apart: bool) -> None:
    seen = [batch.inputs["x"][:, 0].long().tolist() for batch in ahead(FEED, BATCHES[:count], False, apart)]
    assert seen == [rows.tolist() for rows in BATCHES[:count]]
    assert not threads()


def test_only_large_batches_are_worth_a_thread() -> None:
    batches = ahead(FEED, BATCHES, False, True)
    next(batches)
    next(batches)
    assert threads()
    batches.close()
    assert not threads()
    small = ahead(FEED, list(torch.arange(6).split(1)), False, True)
    assert [len(next(small)), len(next(small))] == [1, 1]
    assert threads() == (["ahead_0"] if STORE.batch(torch.arange(1)).bytes >= WORTH else [])
