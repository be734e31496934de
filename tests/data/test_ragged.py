"""Examples of different lengths: a batch of them is what padding one by one gives."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from torch.nn.utils.rnn import pad_sequence

from lamina.data.ragged import Ragged, joined, ragged


@given(
    lengths=some.lists(some.integers(0, 6), min_size=1, max_size=8),
    shape=some.sampled_from([(), (3,), (2, 2)]),
    kind=some.sampled_from(["u1", "i8", "f4", "f2", "?"]),
    seed=some.integers(0, 99),
)
def test_a_batch_is_what_padding_one_by_one_gives(
    lengths: list[int], shape: tuple[int, ...], kind: str, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    arrays = [generator.integers(0, 99, (length, *shape)).astype(kind) for length in lengths]
    column = Ragged.of(ragged(arrays))
    assert column.lengths.tolist() == lengths
    assert len(column) == len(lengths)
    rows = generator.integers(0, len(lengths), generator.integers(1, 9))
    padded, count = column.gather(torch.from_numpy(rows))
    assert torch.equal(padded, pad_sequence([torch.from_numpy(arrays[row]) for row in rows], batch_first=True))
    assert count.tolist() == [lengths[row] for row in rows]
    assert column.longest(torch.from_numpy(rows)) == padded.shape[1]


def test_batches_of_different_lengths_are_joined_as_one_batch_would_be_padded() -> None:
    arrays = [np.random.default_rng(length).integers(1, 99, (length, 2)) for length in (3, 1, 0, 4, 2)]
    column = Ragged.of(ragged(arrays))
    pieces = [column.gather(torch.tensor(rows))[0] for rows in ([0, 1], [2], [3, 4])]
    assert torch.equal(joined(pieces), column.gather(torch.arange(5))[0])
    assert torch.equal(joined([pieces[0]]), pieces[0])


def test_a_batch_is_a_copy() -> None:
    column = Ragged.of(ragged([np.ones(2), np.ones(3)]))
    column.gather(torch.tensor([0, 1]))[0].fill_(7)
    assert column.gather(torch.tensor([1, 0]))[0].tolist() == [[1, 1, 1], [1, 1, 0]]


def test_no_examples_are_an_empty_batch() -> None:
    column = Ragged.of(ragged([np.ones((2, 4))]))
    padded, lengths = column.gather(torch.tensor([], dtype=torch.int64))
    assert (tuple(padded.shape), len(lengths)) == ((0, 0, 4), 0)


@pytest.mark.parametrize("arrays", [[np.zeros((2, 3))] * 2, [np.zeros(1), np.zeros(2)], []])
def test_an_encoder_gives_objects_however_long_they_are(arrays: list[np.ndarray]) -> None:
    column = ragged(arrays)
    assert (column.dtype, column.shape) == (object, (len(arrays),))


def test_on_a_device_only_values_lie_there_so_that_lengths_are_known_without_waiting() -> None:
    column = Ragged.of(ragged([np.ones((length, 2)) for length in (3, 1, 5)])).to(torch.device("meta"))
    assert (column.values.device.type, column.offsets.device.type) == ("meta", "cpu")
    padded, lengths = column.gather(torch.tensor([0, 1]))  # reading a number of "meta" would raise
    assert (tuple(padded.shape), padded.device.type, lengths.device.type) == ((2, 3, 2), "meta", "meta")
