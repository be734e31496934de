"""N-gram language models with interpolated modified Kneser-Ney smoothing: sequences of token ids in, probabilities out.

The probability of token w after the context c of k - 1 tokens is, with c' for c without its first token,

    p(w | c) = (count(c w) - D(count(c w))) / sum over v of count(c v)  +  backoff(c) p(w | c')

    count      at the highest order, how often the n-gram occurs; below it, how many different tokens stand before it,
               and once more for every sequence that begins with it, where nothing can stand before it
    D          the discount of the order: one each for counts of 1, of 2, and of 3 or more
    backoff    what the discounts freed at this context, so that the probabilities sum to one
    the empty context backs off to 1 / vocabulary, so that a token that was never seen has a probability too

The first token of a sequence, such as an end-of-text mark, is given: it is a context, never counted as predicted, and
never scored. No context reaches back into another sequence.

How the n-grams are kept: those of order k are numbered in the order of their keys, key = number of the context among
the n-grams of order k - 1, times the vocabulary, plus the last token. One sorted array of keys per order finds any
n-gram by bisection, and all that follow one context lie side by side. Nothing here runs in Python once per token.

Chen and Goodman, 1999, An empirical study of smoothing techniques for language modeling, section 3; for n-grams at the
beginning of a sequence, Heafield et al., 2013, Scalable modified Kneser-Ney language model estimation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from lamina.errors import DataError, OptionError

FALLBACK: Final = (0.5, 1.0, 1.5)
"""Discounts of counts of 1, 2, and 3 or more, where a corpus is too small to estimate them; KenLM's choice."""
MOST_TOKENS: Final = 2**31 - 1
"""Most tokens of a corpus, and of a vocabulary: numbers are kept in 32 bits, and a key must fit into 64."""


@dataclass(frozen=True, eq=False)
class Level:
    """What is known about the n-grams of one order, k, and about their contexts, the n-grams of order k - 1."""

    keys: np.ndarray  # (n-grams,) int64, ascending: context * vocabulary + token
    probability: np.ndarray  # (n-grams,) float32: of the token after the context, interpolated
    backoff: np.ndarray  # (contexts,) float32: weight of the shorter context; 1 where nothing followed
    best: np.ndarray  # (contexts,) int32: the most probable token after the context


@dataclass(frozen=True, eq=False)
class NGrams:
    """An n-gram language model, interpolated modified Kneser-Ney (Chen and Goodman, 1999); made by ``NGrams.fit``.

    It keeps 12 bytes per different n-gram and 8 more per n-gram below the highest order: per token of training at most
    12 (order - 1) + 8 (order - 2), which is 72 bytes at order 5 and 112 at order 7, were every n-gram to occur once
    only; text stays below. Fitting takes at most about 140 bytes per token on top.
    """

    vocabulary: int
    """How many token ids there are."""
    levels: tuple[Level, ...]
    """Order 1, 2, ...: the last is the order of the model."""

    @classmethod
    def fit(cls, sequences: Sequence[np.ndarray], order: int, vocabulary: int) -> "NGrams":
        """Count the n-grams of some sequences and smooth them.

        Args:
            sequences: each (tokens,) integer, ids below ``vocabulary``; the first token of each is given. A stream of
                text is one sequence.
            order: tokens of the longest n-gram, at least 1; 5 is usual for words, 7 for characters.
            vocabulary: how many token ids there are, seen or not.

        Raises:
            OptionError: order or vocabulary is out of range.
            DataError: a sequence is no row of whole numbers, an id is out of range, or there are too many tokens.
        """
        if not 1 <= order <= 100:
            raise OptionError(f"{order} is not an order of n-grams.", "order", "Give a number from 1 to 100.")
        if not 1 <= vocabulary <= MOST_TOKENS:
            raise OptionError(f"there cannot be {vocabulary} tokens.", "vocabulary", f"Give 1 to {MOST_TOKENS}.")
        tokens, before = _stream(sequences, order, vocabulary)
        # A count below the highest order says how many longer n-grams end with it: each order is numbered before the
        # one below it is smoothed, and only the numbers of two orders are held at a time.
        numbered = _Numbered(np.arange(vocabulary), np.zeros(vocabulary, np.int32), tokens)
        smoothed, levels = _nothing_known(vocabulary), []
        for k in range(1, order):
            longer = _number(tokens, np.flatnonzero(before >= k), numbered, vocabulary)
            counts = np.bincount(longer.suffix, minlength=len(numbered.keys))
            if k > 1:
                counts += np.bincount(numbered.at[before == k - 1], minlength=len(counts))
            level, smoothed = _smooth(numbered, counts, smoothed, vocabulary)
            levels.append(level)
            numbered = longer
        counts = np.bincount(numbered.at[before >= max(1, order - 1)], minlength=len(numbered.keys))
        levels.append(_smooth(numbered, counts, smoothed, vocabulary)[0])
        return cls(vocabulary, tuple(levels))

    @property
    def order(self) -> int:
        """Tokens of the longest n-gram."""
        return len(self.levels)

    def nats(self, sequence: np.ndarray) -> np.ndarray:
        """How surprising each token but the first is, given as many before it as the order can see.

        Args:
            sequence: (tokens,) integer.

        Returns:
            (tokens - 1,) float64, negative natural logarithms of probabilities, always finite: the value at i is that
            of ``sequence[i + 1]``. The mean is the cross-entropy, and its exponential the perplexity.

        Raises:
            DataError: as ``fit``.
        """
        return self.foresee(sequence)[0]

    def best(self, sequence: np.ndarray) -> np.ndarray:
        """The most probable token in the place of each token but the first, given those before it; exact.

        Args:
            sequence: (tokens,) integer.

        Returns:
            (tokens - 1,) int64 ids: the value at i is the answer for ``sequence[i + 1]``. Of equally probable tokens
            it gives one, always the same.

        Raises:
            DataError: as ``fit``.
        """
        return self.foresee(sequence)[1]

    def foresee(self, sequence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What ``nats`` and ``best`` give, together in one walk."""
        tokens = _joined([sequence], self.vocabulary)
        chance = np.full(len(tokens), 1 / self.vocabulary)  # (tokens,)
        answer = np.zeros(len(tokens), np.int64)
        for level, context, found in self._walk(tokens):
            known, seen = context >= 0, found >= 0
            chance[known] *= level.backoff[context[known]]
            chance[seen] = level.probability[found[seen]]
            answer[known] = level.best[context[known]]  # the longest known context has the last word
        return -np.log(chance[1:]), answer[1:]

    def probabilities(self, context: np.ndarray) -> np.ndarray:
        """The distribution of the next token after one context.

        Args:
            context: (tokens,) integer, oldest first; what lies further back than the order can see is ignored, and an
                empty one is a context too.

        Returns:
            (vocabulary,) float64, which sums to one.

        Raises:
            DataError: as ``fit``.
        """
        tokens = _joined([context], self.vocabulary)
        tokens = np.append(tokens[max(0, len(tokens) - self.order + 1) :], 0)  # any token, in the place of the next
        chance = np.full(self.vocabulary, 1 / self.vocabulary)
        for level, contexts, _ in self._walk(tokens):
            number = int(contexts[-1])
            if number >= 0:
                start = number * self.vocabulary
                first, end = np.searchsorted(level.keys, [start, start + self.vocabulary])
                chance *= level.backoff[number]
                chance[level.keys[first:end] - start] = level.probability[first:end]
        return chance

    def _walk(self, tokens: np.ndarray) -> Iterator[tuple[Level, np.ndarray, np.ndarray]]:
        """From order 1 up: the level, and for each token the numbers of its context and of its n-gram; -1 for unknown."""
        context = np.zeros(len(tokens), np.int64)  # the empty context is known everywhere
        for level in self.levels:
            found = np.full(len(tokens), -1)
            known = np.flatnonzero(context >= 0) if len(level.keys) else np.empty(0, np.int64)
            keys = context[known] * self.vocabulary + tokens[known]
            place = np.minimum(np.searchsorted(level.keys, keys), len(level.keys) - 1)
            found[known] = np.where(level.keys[place] == keys, place, -1)
            yield level, context, found
            context = np.append(-1, found[:-1])[: len(tokens)]  # one more token: the n-gram that ends just before


@dataclass(frozen=True, eq=False)
class _Numbered:
    """The n-grams of one order, found but not yet smoothed."""

    keys: np.ndarray  # (n-grams,) int64, ascending
    suffix: np.ndarray  # (n-grams,) int32: the number, one order below, of the n-gram without its first token
    at: np.ndarray  # (tokens,) int32: the number of the n-gram that ends here; what stands where none does is not read


@dataclass(frozen=True, eq=False)
class _Smoothed:
    """What the smoothing of one order hands to the next."""

    suffix: np.ndarray  # (n-grams,) int32
    probability: np.ndarray  # (n-grams,) float64
    best: np.ndarray  # (contexts,) int32
    chance: np.ndarray  # (contexts,) float64: the probability of ``best``


def _nothing_known(vocabulary: int) -> _Smoothed:
    """Below order 1: one n-gram, of no tokens, which has one context; and every token equally probable."""
    uniform, zero = np.array([1 / vocabulary]), np.zeros(1, np.int32)
    return _Smoothed(zero, uniform, zero, uniform)


def _number(tokens: np.ndarray, ends: np.ndarray, shorter: _Numbered, vocabulary: int) -> _Numbered:
    """Number the n-grams that end at some positions, from the numbers one order below."""
    keys = shorter.at[ends - 1] * np.int64(vocabulary) + tokens[ends]
    order = np.argsort(keys)
    keys = keys[order]
    ends = ends[order]
    new = np.append(True, keys[1:] != keys[:-1])[: len(keys)]
    at = np.zeros(len(tokens), np.int32)
    at[ends] = np.cumsum(new, dtype=np.int32) - 1
    return _Numbered(keys[new], shorter.at[ends[new]], at)


def _smooth(numbered: _Numbered, counts: np.ndarray, below: _Smoothed, vocabulary: int) -> tuple[Level, _Smoothed]:
    """Interpolate the n-grams of one order with the order below, and find the best token after each context.

    The best token after a context c is the best of those that were seen after it, or else b, the best after c', which
    is c without its first token. For let w not have been seen after c: then
    p(w | c) = backoff(c) p(w | c') <= backoff(c) p(b | c') <= p(b | c). So the orders below need not be searched.
    """
    contexts = len(below.probability)
    context = numbered.keys // vocabulary  # (n-grams,)
    total = np.bincount(context, counts, contexts)
    discount = _discounts(counts)[np.minimum(counts, 3)]
    freed = np.bincount(context, discount, contexts)
    backoff = np.divide(freed, total, out=np.ones(contexts), where=total > 0)
    probability = (counts - discount) / np.maximum(total, 1)[context] + backoff[context] * below.probability[
        numbered.suffix
    ]

    best, chance = below.best[below.suffix], backoff * below.chance[below.suffix]  # (contexts,)
    if len(context):
        first = np.flatnonzero(np.append(True, context[1:] != context[:-1]))  # where each context's n-grams begin
        highest = np.full(contexts, -1.0)
        highest[context[first]] = np.maximum.reduceat(probability, first)
        highest = np.where(highest >= chance, highest, np.inf)  # none reaches the inherited one
        reach = np.flatnonzero(probability == highest[context])[::-1]  # of equals the lowest id is written last
        best[context[reach]] = numbered.keys[reach] % vocabulary
        chance[context[reach]] = probability[reach]
    level = Level(numbered.keys, probability.astype(np.float32), backoff.astype(np.float32), best)
    return level, _Smoothed(numbered.suffix, probability, best, chance)


def _discounts(counts: np.ndarray) -> np.ndarray:
    """What to take from counts of 0, 1, 2, and 3 or more: (4,) float64, Chen and Goodman's equation 17.

    The fallback stands in where a count of counts is zero, or where the estimate would leave a count with nothing, or
    take nothing from it: so what was seen and what was not both have a probability above zero.
    """
    ones, twos, threes, fours = (float(np.count_nonzero(counts == c)) for c in (1, 2, 3, 4))
    found = [0.0, *FALLBACK]
    if ones and twos:
        base = ones / (ones + 2 * twos)
        found[1] = base
        estimates = [2 - 3 * base * threes / twos, 3 - 4 * base * fours / threes if threes else 0.0]
        for count, estimate, there in zip((2, 3), estimates, (threes, fours), strict=True):
            if there and 0 < estimate < count:
                found[count] = estimate
    return np.array(found)


def _stream(sequences: Sequence[np.ndarray], order: int, vocabulary: int) -> tuple[np.ndarray, np.ndarray]:
    """All sequences in a row, (tokens,) int32; and how many tokens of its own stand before each, at most ``order``."""
    tokens = _joined(sequences, vocabulary)
    before = np.full(len(tokens), order, np.uint8)
    starts = np.cumsum([0, *(len(sequence) for sequence in sequences)])[:-1]
    for k in reversed(range(order)):  # where a sequence is shorter than the order, the next one writes over it
        here = starts + k
        before[here[here < len(tokens)]] = k
    return tokens, before


def _joined(sequences: Sequence[np.ndarray], vocabulary: int) -> np.ndarray:
    """Sequences in a row, once they are found to hold nothing but ids: (tokens,) int32. Raises DataError."""
    rows = [np.asarray(sequence) for sequence in sequences]
    for number, row in enumerate(rows, 1):
        if row.ndim != 1 or (len(row) and not np.issubdtype(row.dtype, np.integer)):
            what = f"token ids must be a row of whole numbers, these are {row.dtype} of shape {row.shape}."
            raise DataError(what, f"sequence {number}", "Encode the text first.")
        wrong = np.flatnonzero((row < 0) | (row >= vocabulary))
        if len(wrong):
            what = f"token id {row[wrong[0]]} is outside of 0 to {vocabulary - 1}."
            where = f"sequence {number}, token {wrong[0] + 1}"
            raise DataError(what, where, "Give the vocabulary with which the text was encoded.")
    if sum(map(len, rows)) > MOST_TOKENS:
        raise DataError(f"there are more than {MOST_TOKENS} tokens.", remedy="Fit on a part of the text.")
    return np.concatenate([np.empty(0, np.int32), *(row.astype(np.int32, copy=False) for row in rows)])
