"""CTC: probabilities over all ways through the frames, by counting them all where that is possible."""

import itertools
import math

import numpy as np
import pytest
import torch

from lamina import ctc
from lamina.ngrams import NGrams


def rows(frames: int, vocabulary: int, seed: int = 0, sharp: float = 2.0) -> torch.Tensor:
    """(1, frames, vocabulary) log-probabilities."""
    scores = torch.randn(1, frames, vocabulary, generator=torch.Generator().manual_seed(seed)) * sharp
    return scores.log_softmax(2)


def frames(scores: torch.Tensor) -> np.ndarray:
    """The only row, as rows of frames."""
    found: np.ndarray = ctc.condensed(scores)[0].numpy()
    return found


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(token for token, _ in itertools.groupby(path) if token != ctc.BLANK)


def chances(scores: torch.Tensor) -> dict[tuple[int, ...], float]:
    """The log-probability of each transcript: the sum over all paths that collapse to it."""
    table, found = scores[0].double().numpy(), dict[tuple[int, ...], float]()
    for path in itertools.product(range(scores.shape[2]), repeat=scores.shape[1]):
        chance = math.exp(sum(table[frame, token] for frame, token in enumerate(path)))
        found[collapsed(path)] = found.get(collapsed(path), 0.0) + chance
    return {tokens: math.log(chance) for tokens, chance in found.items()}


@pytest.mark.parametrize("seed", range(8))
def test_a_search_finds_the_most_probable_transcript(seed: int) -> None:
    scores = rows(6, 4, seed)
    known = chances(scores)
    assert ctc.search(frames(scores), 100) == max(known, key=known.__getitem__)


@pytest.mark.parametrize("seed", range(8))
def test_a_search_weighs_what_the_model_of_language_says(seed: int) -> None:
    scores = rows(5, 4, seed, sharp=1.0)
    texts = [np.array([0, *text, 0]) for text in ([1, 2], [1, 2, 3], [3, 1, 2], [2])]
    model, weight, bonus = NGrams.fit(texts, 3, 4), 0.8, 0.4

    def worth(tokens: tuple[int, ...]) -> float:
        said = -model.nats(np.array([0, *tokens, 0])).sum()
        return known[tokens] + weight * float(said) + bonus * len(tokens)

    known = chances(scores)
    found = ctc.search(frames(scores), 200, ctc.Opinion(model, weight, bonus))
    assert found == max(known, key=worth)


def test_what_an_opinion_remembers_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, model = frames(rows(30, 6, 3)), NGrams.fit([np.array([0, 1, 2, 3, 4, 5, 0])], 4, 6)
    found = ctc.search(scores, 16, ctc.Opinion(model, 0.5, 0.5))
    monkeypatch.setattr(ctc, "REMEMBERED", 60)
    small = ctc.Opinion(model, 0.5, 0.5)
    assert ctc.search(scores, 16, small) == found
    assert 0 < len(small._known) <= 10


def test_a_search_can_beat_the_best_path() -> None:
    scores = torch.tensor([[[0.6, 0.4], [0.6, 0.4]]]).log()  # blank blank 0.36; but token 1 in three ways 0.64
    assert ctc.best_path(frames(scores)) == ()
    assert ctc.search(frames(scores), 4) == (1,)


def test_the_best_path_joins_equal_neighbours_and_parts_what_a_blank_parts() -> None:
    said = [0, 2, 2, 0, 2, 3, 3, 0]
    assert ctc.best_path(ctc.spoken([()])[0].numpy()) == ()
    scores = torch.full((1, len(said), 5), -9.0)
    scores[0, torch.arange(len(said)), torch.tensor(said)] = -0.01
    assert ctc.best_path(frames(scores)) == (2, 2, 3)
    assert ctc.search(frames(scores), 8) == (2, 2, 3)


def test_what_baselines_say_is_read_as_they_say_it() -> None:
    said = [(3, 3, 1), (), (2,)]
    outputs = ctc.spoken(said)
    assert ctc.frames_of(outputs).tolist() == [7, 1, 3]
    for tokens, row, length in zip(said, outputs.numpy(), ctc.frames_of(outputs).tolist(), strict=True):
        assert ctc.best_path(row[:length]) == tokens
        assert ctc.search(row[:length], 8) == tokens


@pytest.mark.parametrize("vocabulary", [3, 40])
def test_what_is_kept_of_a_frame_are_its_most_probable_tokens(vocabulary: int) -> None:
    scores = rows(7, vocabulary)
    scores[0, 5:] = 0.0  # behind the end
    kept = ctc.condensed(scores)
    assert kept.shape == (1, 7, 2 * ctc.CANDIDATES)
    assert ctc.frames_of(kept).tolist() == [5]
    assert bool((kept[0, 5:] == 0).all())
    count = min(vocabulary, ctc.CANDIDATES)
    best = scores[0, :5].topk(count)
    assert torch.equal(kept[0, :5, :count].long(), best.indices)
    assert torch.equal(kept[0, :5, ctc.CANDIDATES : ctc.CANDIDATES + count], best.values)


def test_a_frame_that_is_quite_sure_is_not_taken_for_the_end() -> None:
    scores = torch.tensor([[[200.0, 0.0, 1.0], [0.0, 200.0, 1.0]]]).log_softmax(2)
    assert float(scores.max()) == 0.0
    assert ctc.frames_of(ctc.condensed(scores)).tolist() == [2]


@pytest.mark.parametrize("seed", range(5))
def test_the_alignment_is_the_most_probable_way(seed: int) -> None:
    scores = rows(6, 4, seed)
    table = scores[0].numpy()
    for tokens in [(1, 2), (1, 1), (3,), ()]:
        ways = [path for path in itertools.product(range(4), repeat=6) if collapsed(path) == tokens]
        best = max(ways, key=lambda path: sum(table[frame, token] for frame, token in enumerate(path)))
        spans, told = ctc.align(tokens, frames(scores))
        assert told.sum() == pytest.approx(sum(table[frame, token] for frame, token in enumerate(best)), abs=1e-5)
        assert spans.shape == (len(tokens), 2)
        for token, (begin, end) in zip(tokens, spans, strict=True):
            assert all(best[frame] == token for frame in range(begin, end))
            assert end > begin


def test_more_tokens_than_frames_are_aligned_somehow() -> None:
    spans, told = ctc.align((1, 2, 3, 1, 2), frames(rows(2, 4)))
    assert spans.shape == (5, 2)
    assert told.shape == (2,)


def test_long_recordings_are_cut_in_the_longest_pause() -> None:
    said = torch.zeros(4000, 2 * ctc.CANDIDATES)
    said[:, 0] = 5
    said[1000:1003, 0] = ctc.BLANK
    said[1400:1410, 0] = ctc.BLANK
    pieces = ctc.pieces(said.numpy())
    assert [len(piece) for piece in pieces] == [1405, 1500, 1095]  # and by force where something is said all the time
    assert np.array_equal(np.concatenate(pieces), said.numpy())
