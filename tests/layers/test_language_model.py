"""The head of language models: with some of the tokens it learns what it would learn with all."""

import math

import pytest
import torch
from torch import nn

from lamina.batch import Batch
from lamina.data.stream import Stream
from lamina.descent import descend
from lamina.layers.heads import LanguageModel
from lamina.layers.linear_cross_entropy import IGNORED
from lamina.networks import lstm
from lamina.plan import Plan
from lamina.state import State
from lamina.tasks.language_modelling import LanguageModelling

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


def gradient(drawn: int, seed: int, pieces: int = 1) -> torch.Tensor:
    """What a step of training moves the weights by, at a rate of one."""
    network = model(drawn)
    task = LanguageModelling()
    tokens, following = read()
    plan = Plan(optimizer="sgd", momentum=0.0, weight_decay=0.0, clip=None, batch_size=3, micro_batches=pieces)
    state = State(network, plan, Stream(tokens.flatten(), 4, False))
    before = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
    torch.manual_seed(seed)
    descend(state, task, Batch({"tokens": tokens}, {"following": following}), 1.0, False)
    return before - torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def test_a_step_with_some_tokens_goes_where_one_with_all_goes() -> None:
    full = gradient(0, 0)
    assert float(full.norm()) > 0.01
    torch.testing.assert_close(gradient(VOCABULARY, 0), full)  # all of them drawn
    torch.testing.assert_close(gradient(VOCABULARY, 0, pieces=3), full)
    steps = torch.stack([gradient(30, seed) for seed in range(60)])
    assert float(steps.std(0).max()) > 0  # drawn anew each time
    mean = steps.mean(0)
    assert float(torch.cosine_similarity(mean, full, dim=0)) > 0.97
    assert float(mean.norm() / full.norm()) == pytest.approx(1, abs=0.1)


def test_the_count_of_a_loss_is_of_all_tokens_that_follow() -> None:
    tokens, following = read()
    batch = Batch({"tokens": tokens}, {"following": following})
    for drawn in (0, 20):
        (loss,) = LanguageModelling().losses(model(drawn), batch)
        assert int(loss.count) == int((following != IGNORED).sum())
