"""Dropout for recurrent networks hides the same things for a whole sequence, and only while training."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from lamina.layers.recurrent import Dropout, LockedDropout, Recurrent, WordDropout

NONE = Dropout(0, 0, 0, 0, 0)


def network(dropout: Dropout = NONE, layers: int = 2, kind: type[nn.LSTM] | type[nn.GRU] = nn.LSTM) -> Recurrent:
    torch.manual_seed(0)
    cells: Sequence[str] = ("hidden", "cell") if kind is nn.LSTM else ("hidden",)
    return Recurrent(11, 8, [kind(8, 8, batch_first=True) for _ in range(layers)], cells, dropout, 5)


def read(found: Recurrent, tokens: Tensor) -> Tensor:
    return found.read(tokens, found.start(len(tokens)))[0]


def test_words_are_hidden_wherever_they_stand() -> None:
    torch.manual_seed(0)
    tokens = torch.arange(50).repeat(4).view(8, 25)
    vectors = WordDropout(0.5).train()(torch.ones(8, 25, 3), tokens, 50)
    seen = vectors.view(4, 50, 3)
    assert bool((seen == seen[:1, :, :1]).all())  # alike at all four places, and in all numbers of a vector
    assert set(seen.flatten().tolist()) == {0.0, 2.0}


def test_a_mask_is_locked_over_the_sequence_and_differs_between_rows() -> None:
    torch.manual_seed(0)
    vectors = LockedDropout(0.25).train()(torch.ones(6, 9, 40))
    assert bool((vectors == vectors[:, :1]).all())
    assert len(vectors[:, 0].unique(dim=0)) == 6
    assert set((vectors[0, 0] * 3).round().tolist()) == {0.0, 4.0}
    assert 0.8 < float(vectors.mean()) < 1.2


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_weights_are_hidden_for_a_whole_sequence_and_come_back(kind: type[nn.LSTM] | type[nn.GRU]) -> None:
    found = network(Dropout(0, 0, 0, 0, 0.5), layers=1, kind=kind).train()
    weight = found.get_parameter("layers.0.weight_hh_l0")
    before = weight.detach().clone()
    tokens = torch.randint(0, 11, (3, 6))
    torch.manual_seed(1)
    features = read(found, tokens)
    assert torch.equal(weight, before)
    torch.manual_seed(1)
    dropped = nn.functional.dropout(before, 0.5)
    alone = network(layers=1, kind=kind).train()
    with torch.no_grad():
        alone.get_parameter("layers.0.weight_hh_l0").copy_(dropped)
    torch.testing.assert_close(features, read(alone, tokens))
    features.sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert bool((weight.grad[dropped == 0] == 0).all())
    assert bool((weight.grad[dropped != 0] != 0).all())


@pytest.mark.parametrize("place", ["words", "inputs", "between", "outputs", "weights"])
def test_each_kind_acts_in_training_only(place: str) -> None:
    values = dict.fromkeys(("words", "inputs", "between", "outputs", "weights"), 0.0) | {place: 0.5}
    found, plain, tokens = network(Dropout(**values)), network(), torch.randint(0, 11, (3, 6))
    assert not torch.equal(read(found.train(), tokens), read(plain, tokens))
    assert torch.equal(read(found.eval(), tokens), read(plain, tokens))


def test_without_dropout_nothing_is_drawn() -> None:
    found = network().train()
    state = torch.get_rng_state()
    read(found, torch.randint(0, 11, (3, 6), generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_state_of_each_row_and_layer_is_its_own() -> None:
    found = network().eval()
    first, second = torch.randint(0, 11, (4, 5)), torch.randint(0, 11, (4, 7))
    _, state = found.read(first, found.start(4))
    assert {name: tensor.shape for name, tensor in state.items()} == {"hidden": (4, 2, 8), "cell": (4, 2, 8)}
    both, end = found.read(torch.cat([first, second], 1), found.start(4))
    after, last = found.read(second, state)
    torch.testing.assert_close(after, both[:, 5:])
    for name, tensor in last.items():
        torch.testing.assert_close(tensor, end[name])
    turned = found.read(second.flip(0), {name: tensor.flip(0) for name, tensor in state.items()})[0]
    torch.testing.assert_close(turned.flip(0), after)


def test_scaling_dropout() -> None:
    assert Dropout(0.1, 0.2, 0.3, 0.4, 0.5).scaled(0) == NONE
    assert Dropout(0.1, 0.2, 0.3, 0.4, 0.5).scaled(2) == Dropout(0.2, 0.4, 0.6, 0.8, 0.9)
