"""Word and character error rates, alignments, and scores by speaker."""

import itertools
import random
from collections.abc import Sequence

import pytest
import torch

from lamina.batch import Tensors
from lamina.exhibits import Rows
from lamina.metrics.metric import scores
from lamina.metrics.speech import Hearing, aligned, exhibits, in_words, speech, standard_error

TEXTS = [("one two", "one two"), ("one two three", "one too"), ("five", ""), ("six", "six six six")]


def heard_as(pairs: Sequence[tuple[str, str]], speakers: Sequence[str] = ()) -> tuple[Hearing, torch.Tensor, Tensors]:
    """Letters are their own code points; outputs are never looked at."""
    said = [torch.tensor([ord(letter) for letter in truth]) for truth, _ in pairs]
    names = [torch.tensor(list(name.encode()), dtype=torch.uint8) for name in speakers or [""] * len(pairs)]
    targets = {
        "transcript": torch.nn.utils.rnn.pad_sequence(said, batch_first=True),
        "transcript_lengths": torch.tensor([len(one) for one in said]),
        "speaker": torch.nn.utils.rnn.pad_sequence(names, batch_first=True),
        "speaker_lengths": torch.tensor([len(one) for one in names]),
    }
    hearing = Hearing(lambda outputs: [heard for _, heard in pairs], lambda ids: "".join(map(chr, ids)))
    return hearing, torch.zeros(len(pairs), 1), targets


def found(pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    hearing, outputs, targets = heard_as(pairs)
    metrics = speech(hearing)
    return {name: metric.value(metric.observe(outputs, targets)) for name, metric in metrics.items()}


def edits(one: Sequence[str], other: Sequence[str]) -> int:
    """The textbook's recursion."""
    if not one or not other:
        return len(one) + len(other)
    return min(edits(one[1:], other[1:]) + (one[0] != other[0]), edits(one[1:], other) + 1, edits(one, other[1:]) + 1)


def test_rates_are_errors_by_what_was_said() -> None:
    known = found(TEXTS)
    assert known["word_error_rate"] == pytest.approx((0 + 2 + 1 + 2) / (2 + 3 + 1 + 1))
    assert known["character_error_rate"] == pytest.approx((0 + 7 + 4 + 8) / (7 + 13 + 4 + 3))
    assert known["accuracy"] == pytest.approx(1 / 4)


def test_a_rate_can_be_above_one_and_is_nought_for_the_truth() -> None:
    assert found([("a", "b c d")])["word_error_rate"] == 3
    assert found([("a b", "a b")]) == {"word_error_rate": 0, "character_error_rate": 0, "accuracy": 1}


@pytest.mark.parametrize("seed", range(20))
def test_alignments_are_shortest_and_spell_both_sides(seed: int) -> None:
    draw = random.Random(seed)
    one, other = (draw.choices("abc", k=draw.randint(0, 6)) for _ in range(2))
    steps = aligned(one, other)
    assert [said for said, _ in steps if said] == one
    assert [heard for _, heard in steps if heard] == other
    assert sum(said != heard for said, heard in steps) == edits(one, other)
    assert found([(" ".join([*one, "x"]), " ".join([*other, "x"]))])["word_error_rate"] == pytest.approx(
        edits(one, other) / (len(one) + 1)
    )


def test_an_alignment_is_said_in_a_line() -> None:
    assert in_words(aligned(["one", "two", "end"], ["the", "one", "too"])) == "[+ the] one [two → too] [− end]"


def test_every_utterance_counts_by_its_words_in_the_interval() -> None:
    hearing, outputs, targets = heard_as(TEXTS * 10)
    metrics = speech(hearing)
    rows = {name: metric.observe(outputs, targets) for name, metric in metrics.items()}
    score = scores(metrics, rows)["word_error_rate"]
    assert score.low < score.value < score.high


def test_speakers_have_scores_of_their_own_and_it_is_said_who_was_heard_before() -> None:
    hearing, outputs, targets = heard_as(TEXTS, ["ann", "ben", "ann", "ben"])
    shown = [one for one in exhibits(outputs, targets, hearing, ["ann"]) if isinstance(one, Rows)]
    confused, speakers = shown
    assert ["two", "too", 1] in confused.rows
    assert ["five", "(nothing)", 1] in confused.rows
    assert ["(nothing)", "six", 2] in confused.rows
    assert "1 of 2 test speakers" in speakers.explanation
    table = {row[0]: row[1:] for row in speakers.rows}
    assert table["ann"] == [2, pytest.approx(1 / 3, abs=1e-3), 0.5, "yes"]
    assert table["ben"] == [2, pytest.approx(4 / 4), 0.0, "no"]


def test_without_names_there_is_no_table_of_speakers() -> None:
    hearing, outputs, targets = heard_as([("a", "a")])
    assert list(exhibits(outputs, targets, hearing, [])) == []


def test_brute_force_is_right_itself() -> None:
    assert edits("abc", "ac") == 1
    assert all(edits(a, b) == (a != b) for a, b in itertools.product("ab", repeat=2))


def test_no_errors_are_no_proof_of_perfection() -> None:
    hearing, outputs, targets = heard_as([("one two", "one two")] * 20)
    metrics = speech(hearing)
    rows = {name: metric.observe(outputs, targets) for name, metric in metrics.items()}
    for name, score in scores(metrics, rows).items():
        assert score.low < score.high, name


def test_the_standard_error_is_that_of_resampling() -> None:
    hearing, outputs, targets = heard_as(TEXTS * 50)
    metric = speech(hearing)["word_error_rate"]
    rows = metric.observe(outputs, targets)
    draw = torch.Generator().manual_seed(0)
    drawn = [metric.value(rows[torch.randint(0, len(rows), (len(rows),), generator=draw)]) for _ in range(2000)]
    assert standard_error(rows) == pytest.approx(float(torch.tensor(drawn).std()), rel=0.1)
