"""The head of language models: with some of the tokens it learns what it would learn with all."""

import math

import torch
from torch import nn

from lamina.layers.heads import LanguageModel
from lamina.layers.linear_cross_entropy import IGNORED
from lamina.networks import lstm

VOCABULARY = 60


def model(drawn: int, frequent: int = 10) -> LanguageModel:
    torch.manual_seed(0)
    backbone = lstm.build(lstm.takes(VOCABULARY), "tiny", 0.0)
    network = LanguageModel(backbone, [0] * VOCABULARY, [1] * VOCABULARY, range(frequent), drawn)
    nn.init.normal_(network.bias)
    return network.train()


def read() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    tokens, following = torch.randint(0, VOCABULARY, (2, 3, 4), generator=generator)
    following[0, 0] = IGNORED
    return tokens, following


def test_comparing_with_so_many_as_there_are_is_comparing_with_all() -> None:
    tokens, following = read()
    for one, other in zip(model(0)(tokens, following), model(VOCABULARY)(tokens, following), strict=True):
        if isinstance(one, torch.Tensor):
            torch.testing.assert_close(one, other)


def test_the_sum_under_the_softmax_is_right_on_average() -> None:
    tokens, following = read()
    network = model(20)
    with torch.no_grad():
        logits, _ = network(tokens)
        asked = following != IGNORED
        truth = logits.exp().sum(2)[asked]
        chosen = logits.gather(2, following.clamp(min=0)[..., None])[..., 0][asked]
        sums = torch.stack([(network(tokens, following)[0][asked] + chosen).exp() for _ in range(400)])
    assert float((sums.mean(0) / truth - 1).abs().max()) < 0.05
    assert float((sums.std(0) / truth).min()) > 0.01  # they were drawn anew


def test_candidates_hold_what_is_frequent_and_what_follows_each_once() -> None:
    _, following = read()
    tokens, factor, place = model(20).candidates(following)
    known = set(range(10)) | set(following[following != IGNORED].tolist())
    assert known <= set(tokens.tolist())
    assert len(set(tokens.tolist())) == len(tokens) == len(known) + 20
    assert torch.equal(tokens[place[following != IGNORED]], following[following != IGNORED])
    assert place[0, 0] == IGNORED
    assert factor[: len(known)].tolist() == [0.0] * len(known)
    assert float(factor[-1]) == torch.tensor(math.log((VOCABULARY - len(known)) / 20)).item()


def test_evaluation_compares_with_all() -> None:
    tokens, following = read()
    assert torch.equal(model(20).eval()(tokens, following)[0], model(0).eval()(tokens, following)[0])
