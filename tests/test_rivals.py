"""Rivals: from what baselines learn."""

import numpy as np
import pytest
import torch

from lamina import rivals
from lamina.data.ragged import Ragged, ragged
from lamina.data.store import Store


def store_of(lengths: list[int]) -> Store:
    tokens = Ragged.of(ragged([np.full(length, number) for number, length in enumerate(lengths)]))
    return Store({"tokens": tokens}, {}, np.arange(len(lengths)), [])


def test_baselines_learn_from_the_last_texts_in_their_order_as_many_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "MOST_ROWS", 2)  # bounds others than these
    store, train = store_of([5, 5, 2, 3, 4, 9]), torch.arange(5)
    assert rivals.known_to(store, train, True).tolist() == [0, 1, 2, 3, 4]
    monkeypatch.setattr(rivals, "MOST_VALUES", 9)
    assert rivals.known_to(store, train, True).tolist() == [2, 3, 4]
    monkeypatch.setattr(rivals, "MOST_VALUES", 1)
    assert rivals.known_to(store, train, True).tolist() == [4]  # one there must be
    assert rivals.known_to(store, train[:0], True).tolist() == []


def test_baselines_of_other_examples_learn_from_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "MOST_ROWS", 4)
    store = Store({"numbers": torch.zeros(9, 2)}, {}, np.arange(9), [])
    assert len(set(rivals.known_to(store, torch.arange(9), False).tolist())) == 4
    assert rivals.known_to(store, torch.arange(3), False).tolist() == [0, 1, 2]


def test_texts_reach_a_baseline_unpadded() -> None:
    arrays = rivals._arrays(store_of([2, 100_000, 1]).inputs, torch.tensor([2, 0]))
    assert [row.tolist() for row in arrays["tokens"]] == [[2], [0, 0]]
    assert arrays["tokens_lengths"].tolist() == [1, 2]


def test_ragged_examples_that_do_not_continue_one_another_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rivals, "MOST_VALUES", 300)
    seen = rivals.known_to(store_of([3] * 1000), torch.arange(1000), False).tolist()
    assert len(set(seen)) == 100
    assert seen == sorted(seen)
    assert 300 < np.mean(seen) < 700
