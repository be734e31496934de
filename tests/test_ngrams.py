"""N-gram models agree with the textbook written out slowly, sum to one everywhere, and bear tiny and odd corpora."""

import gzip
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lamina.errors import DataError, OptionError
from lamina.ngrams import FALLBACK, NGrams


class Textbook:
    """Chen and Goodman's interpolated modified Kneser-Ney with dictionaries, one probability at a time."""

    def __init__(self, sequences: list[list[int]], order: int, vocabulary: int) -> None:
        self.order, self.vocabulary = order, vocabulary
        self.counts: list[Counter[tuple[int, ...]]] = [Counter()]
        for k in range(1, order + 1):
            count: Counter[tuple[int, ...]] = Counter()
            standing_before: set[tuple[int, ...]] = set()
            for sequence in sequences:
                for end in range(max(2, k), len(sequence) + 1):  # the first token is given, never counted
                    gram = tuple(sequence[end - k : end])
                    if k == order or end == k:
                        count[gram] += 1
                    else:
                        standing_before.add(tuple(sequence[end - k - 1 : end]))
            count.update(longer[1:] for longer in standing_before)
            self.counts.append(count)

    def discount(self, k: int, count: int) -> float:
        n = Counter(self.counts[k].values())
        i = min(count, 3)
        if i == 0:
            return 0.0
        if n[1] and n[2] and n[i]:
            estimate = i - (i + 1) * n[1] / (n[1] + 2 * n[2]) * n[i + 1] / n[i]
            if 0 < estimate < i:
                return estimate
        return FALLBACK[i - 1]

    def probability(self, context: tuple[int, ...], token: int) -> float:
        context = context[max(0, len(context) - self.order + 1) :]
        below = self.probability(context[1:], token) if context else 1 / self.vocabulary
        k = len(context) + 1
        after = {gram: count for gram, count in self.counts[k].items() if gram[:-1] == context}
        total = sum(after.values())
        if total == 0:
            return below
        count = after.get((*context, token), 0)
        freed = sum(self.discount(k, c) for c in after.values())
        return (count - self.discount(k, count)) / total + freed / total * below


def corpus(seed: int = 0, vocabulary: int = 6) -> list[np.ndarray]:
    """Sequences of unequal lengths, some shorter than any order, in which some tokens are much more frequent."""
    generator = np.random.default_rng(seed)
    share = 0.5 ** np.arange(vocabulary)
    return [generator.choice(vocabulary, n, p=share / share.sum()) for n in (40, 1, 3, 0, 25, 2, 30, 2)]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_agrees_with_the_textbook(order: int) -> None:
    sequences, vocabulary = corpus(), 8  # two ids that never occur
    slow = Textbook([sequence.tolist() for sequence in sequences], order, vocabulary)
    model = NGrams.fit(sequences, order, vocabulary)
    new = np.random.default_rng(1).integers(0, vocabulary, 60)
    for text in (new, sequences[0]):
        expected = [-math.log(slow.probability(tuple(text[:i].tolist()), int(text[i]))) for i in range(1, len(text))]
        assert model.nats(text) == pytest.approx(expected, rel=1e-6)
    assert model.order == order


def test_the_estimated_discounts_are_in_use() -> None:
    """In the corpus of the test above: else it would compare fallbacks only."""
    slow = Textbook([sequence.tolist() for sequence in corpus()], 3, 8)
    assert {slow.discount(3, count) for count in (1, 2, 3)}.isdisjoint(FALLBACK)


def test_bigrams_by_hand() -> None:
    """a b a c a b, given the first a: ab 2, ba 1, ac 1, ca 1; standing before a: b, c; before b: a; before c: a."""
    model = NGrams.fit([np.array([0, 1, 0, 2, 0, 1])], 2, 3)
    # Counts of 1: three bigrams, of 2: one, so D1 = 3 / 5; D2 falls back as no bigram occurs 3 times: 1.
    # Unigrams: a 2, b 1, c 1: D1 = 2 / 4, D2 falls back to 1; freed: 2 of 4.
    a, b = (2 - 1) / 4 + 0.5 / 3, (1 - 0.5) / 4 + 0.5 / 3
    assert model.probabilities(np.array([], int)) == pytest.approx([a, b, b], abs=1e-6)
    freed = (1 + 0.6) / 3
    assert model.probabilities(np.array([0])) == pytest.approx(
        [freed * a, (2 - 1) / 3 + freed * b, (1 - 0.6) / 3 + freed * b], abs=1e-6
    )


@pytest.mark.parametrize("order", [1, 2, 4, 7])
def test_sums_to_one_and_says_what_nats_says(order: int) -> None:
    sequences, vocabulary = corpus(2), 9
    model = NGrams.fit(sequences, order, vocabulary)
    for text in (sequences[0], np.random.default_rng(3).integers(0, vocabulary, 30)):
        cost = model.nats(text)
        assert cost.dtype == np.float64
        assert cost.shape == (len(text) - 1,)
        for i in range(1, len(text)):
            chance = model.probabilities(text[:i])
            assert chance.sum() == pytest.approx(1, abs=1e-6)
            assert chance.min() > 0
            assert -math.log(chance[text[i]]) == pytest.approx(cost[i - 1], rel=1e-12)


def test_no_context_is_that_of_the_unigrams() -> None:
    model = NGrams.fit(corpus(), 3, 6)
    assert model.probabilities(np.array([], int)).sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("order", [1, 2, 3, 6])
@pytest.mark.parametrize("seed", range(5))
def test_best_is_the_most_probable_of_all(order: int, seed: int) -> None:
    sequences, vocabulary = corpus(seed), 7
    model = NGrams.fit(sequences, order, vocabulary)
    for text in (sequences[4], np.random.default_rng(seed).integers(0, vocabulary, 50)):
        answer = model.best(text)
        assert answer.shape == (len(text) - 1,)
        for i, token in enumerate(answer):
            chance = model.probabilities(text[: i + 1])
            assert chance[token] == pytest.approx(chance.max(), rel=1e-6)


def test_the_best_token_may_not_have_been_seen_after_the_context() -> None:
    """After 5 came many different tokens, once each, and never the one that all others are followed by."""
    others = np.arange(10, 40)
    usual = np.stack([others, np.full(30, 1)], 1).ravel()
    rare = [np.array([0, 5, other]) for other in range(50, 60)]
    model = NGrams.fit([usual, *rare], 2, 60)
    assert model.best(np.array([5, 1])).tolist() == [1]
    assert model.probabilities(np.array([5])).argmax() == 1


def test_contexts_do_not_reach_into_the_next_sequence() -> None:
    model = NGrams.fit([np.array([0, 1, 2]), np.array([3, 4, 5])], 3, 6)
    after = model.probabilities(np.array([1, 2]))
    assert after == pytest.approx(model.probabilities(np.array([], int)))
    joined = NGrams.fit([np.array([0, 1, 2, 3, 4, 5])], 3, 6).probabilities(np.array([1, 2]))
    assert joined.argmax() == 3


def test_how_many_sequences_begin_so_is_counted() -> None:
    """Nothing can stand before a beginning: there, each occurrence counts, though below the highest order."""
    begins = [np.array([0, 1, 3, 1])] * 9 + [np.array([0, 2, 3, 2])]
    chance = NGrams.fit(begins, 3, 4).probabilities(np.array([0]))
    assert chance[1] > 3 * chance[2]


def test_order_one_ignores_the_context() -> None:
    model = NGrams.fit([np.array([0, *[1] * 30, *[2] * 10])], 1, 4)
    chance = model.probabilities(np.array([2, 2]))
    assert chance.tolist() == model.probabilities(np.array([0])).tolist()
    assert chance[1] == pytest.approx((30 - 1.5) / 40 + 3 / 40 / 4)
    assert chance[3] == pytest.approx(3 / 40 / 4)


@pytest.mark.parametrize("order", [1, 2, 5])
@pytest.mark.parametrize(
    "sequences", [[], [[]], [[2]], [[2], [], [1]], [[1, 2]], [[2] * 50], [[2] * 2, [2] * 3]], ids=str
)
def test_degenerate_corpora(sequences: list[list[int]], order: int) -> None:
    model = NGrams.fit([np.array(sequence, dtype=np.uint8) for sequence in sequences], order, 5)
    text = np.array([2, 2, 2, 0, 4, 2, 1, 2])
    assert np.isfinite(model.nats(text)).all()
    for i in range(len(text)):
        assert model.probabilities(text[:i]).sum() == pytest.approx(1, abs=1e-6)
    if max(map(len, sequences), default=0) < 2:
        assert model.nats(text) == pytest.approx([math.log(5)] * 7)  # nothing was ever predicted
    else:
        assert model.best(text).tolist() == [2] * 7


def test_one_token_repeated_is_learned() -> None:
    model = NGrams.fit([np.zeros(1000, int)], 3, 10)
    assert model.nats(np.zeros(5, int))[1:].max() < 0.01  # the first has a context below the highest order
    assert model.nats(np.array([0, 7])).tolist() == model.nats(np.array([0, 3])).tolist()


@pytest.mark.parametrize("length", [0, 1])
def test_nothing_to_predict(length: int) -> None:
    model = NGrams.fit(corpus(), 4, 6)
    assert model.nats(np.zeros(length, int)).shape == (0,)
    assert model.best(np.zeros(length, int)).shape == (0,)


@pytest.mark.parametrize("wrong", [-1, 6, 300])
def test_ids_out_of_range_are_refused_and_named(wrong: int) -> None:
    good, bad = np.array([0, 1]), np.array([3, 2, wrong])
    with pytest.raises(DataError, match=rf"^sequence 2, token 3: token id {wrong} is outside of 0 to 5\. Give"):
        NGrams.fit([good, bad], 2, 6)
    model = NGrams.fit([good], 2, 6)
    for ask in (model.nats, model.best, model.probabilities):
        with pytest.raises(DataError, match=rf"^sequence 1, token 3: token id {wrong} "):
            ask(bad)


@pytest.mark.parametrize(
    "bad", [np.array([0.0, 1.0]), np.array([[0, 1]]), np.array(["a"]), np.array([True]), np.array(3)]
)
def test_what_is_no_row_of_ids_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"^sequence 1: token ids must be a row of whole numbers"):
        NGrams.fit([bad], 2, 6)


def test_options_out_of_range_are_refused() -> None:
    for order in (0, -1, 101):
        with pytest.raises(OptionError, match=r"^order: "):
            NGrams.fit(corpus(), order, 6)
    for vocabulary in (0, 2**31):
        with pytest.raises(OptionError, match=r"^vocabulary: "):
            NGrams.fit(corpus(), 2, vocabulary)


def test_ids_near_the_end_of_a_large_vocabulary() -> None:
    """Keys need more than 32 bits here."""
    text = np.array([9, 8, 7, 9, 8, 7, 9, 8]) + 299_990
    small = NGrams.fit([np.array([9, 8, 7, 9, 8, 7, 9, 8])], 3, 300_000)
    large = NGrams.fit([text], 3, 300_000)
    assert large.nats(text) == pytest.approx(small.nats(text - 299_990), rel=1e-12)
    assert large.best(text).tolist() == (small.best(text - 299_990) + 299_990).tolist()


@pytest.mark.data
def test_words_of_the_penn_treebank(shared_data: Path) -> None:
    texts = []
    for part in ("train", "test"):
        lines = gzip.decompress((shared_data / "ptb" / f"ptb.{part}.txt.gz").read_bytes()).decode().splitlines()
        texts.append(["<eos>", *(word for line in lines for word in [*line.split(), "<eos>"])])
    ids = {word: i for i, word in enumerate(dict.fromkeys(texts[0]))}
    train, test = (np.array([ids[word] for word in text]) for text in texts)
    model = NGrams.fit([train], 5, len(ids))
    assert math.exp(model.nats(test).mean()) == pytest.approx(141.06, abs=0.05)
    assert (model.best(test) == test[1:]).mean() == pytest.approx(0.2387, abs=0.001)


@pytest.mark.data
def test_characters_of_shakespeare(shared_data: Path) -> None:
    file = shared_data / "tinyshakespeare" / "input.txt.gz"
    _, text = np.unique(np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8), return_inverse=True)
    cut = len(text) * 9 // 10
    model = NGrams.fit([text[:cut]], 7, int(text.max()) + 1)
    assert model.nats(text[cut - 1 :]).mean() == pytest.approx(1.5165, abs=0.0005)
