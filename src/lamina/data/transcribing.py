"""Transcribing: what a network says of recordings in, texts out, with the times of their words.

Outputs are rows of frames, as ``ctc`` has them; ``facts`` hold the vocabulary, the texts of the n-gram model, and in "settled"
what the validation part has decided: how many transcripts the search keeps, and what the n-gram model has to say.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from torch import Tensor

from lamina import ctc
from lamina.data.vocabulary import END, UNKNOWN, Vocabulary
from lamina.layers.log_mel import hop_of
from lamina.layers.sound_front import STRIDE
from lamina.metrics.speech import Hearing
from lamina.ngrams import NGrams

ORDERS = {"characters": 7, "words": 3, "bytepairs": 4}  # of the n-gram model, by what tokens are
EDGE = 0.05  # seconds of silence that are put around each recording, so that short ones have frames enough


def hearing(facts: dict[str, Any]) -> Hearing:
    """What the metrics are told."""
    reader = _reader(facts)

    def read(outputs: Tensor) -> list[str]:
        return [_text(sum(transcript, ()), reader.vocabulary) for transcript in _read(outputs, reader)]

    return Hearing(read, reader.vocabulary.decode)


def answers(outputs: Tensor, facts: dict[str, Any]) -> list[dict[str, Any]]:
    """For each recording the text as ``prediction``; ``confidence``, the geometric mean of the frames' probabilities; and
    ``words``, each with its own confidence, and ``start`` and ``end`` in seconds."""
    reader, lengths = _reader(facts), ctc.frames_of(outputs).tolist()
    frame = STRIDE * hop_of(facts["rate"]) / facts["rate"]  # seconds
    return [
        _answer(transcript, row[:length].numpy(), reader.vocabulary, frame)
        for transcript, row, length in zip(_read(outputs, reader), outputs, lengths, strict=True)
    ]


def vocabulary_of(facts: dict[str, Any]) -> Vocabulary:
    """The tokens that the network writes."""
    return Vocabulary.of_json(facts["vocabulary"])


@dataclass(frozen=True)
class _Reader:
    """How outputs are read."""

    vocabulary: Vocabulary
    beam: int
    opinion: ctc.Opinion | None


def _reader(facts: dict[str, Any]) -> _Reader:
    """As the validation part has settled it; before that, the best path."""
    settled, vocabulary = facts.get("settled", {}), vocabulary_of(facts)
    if not settled.get("weight"):
        return _Reader(vocabulary, settled.get("beam", 1), None)
    model = _language(tuple(facts["texts"]), vocabulary)
    return _Reader(vocabulary, settled["beam"], _opinion(model, settled["weight"], settled["bonus"]))


@lru_cache(maxsize=4)
def _language(texts: tuple[str, ...], vocabulary: Vocabulary) -> NGrams:
    """An n-gram model of these texts."""
    ends = np.array([END])
    sequences = [np.concatenate([ends, tokens, ends]) for tokens in vocabulary.encode(texts)]
    return NGrams.fit(sequences, ORDERS[vocabulary.kind], len(vocabulary))


@lru_cache(maxsize=4)
def _opinion(model: NGrams, weight: float, bonus: float) -> ctc.Opinion:
    """One for each weight and bonus, for it remembers what it was asked."""
    return ctc.Opinion(model, weight, bonus)


@lru_cache(maxsize=1)
def _read(outputs: Tensor, reader: _Reader) -> list[list[tuple[int, ...]]]:
    """The tokens of each piece of each recording. Metrics, exhibits and mistakes ask for the same, one after the other."""
    return [
        [
            ctc.best_path(piece) if reader.beam == 1 else ctc.search(piece, reader.beam, reader.opinion)
            for piece in ctc.pieces(row[:length].numpy())
        ]
        for row, length in zip(outputs, ctc.frames_of(outputs).tolist(), strict=True)
    ]


def _text(tokens: Sequence[int], vocabulary: Vocabulary) -> str:
    """What is written: a token that stands for what training never saw stands for nothing."""
    known = tokens if vocabulary.kind == "bytepairs" else [token for token in tokens if token != UNKNOWN]
    return " ".join(vocabulary.decode(known).split())


def _answer(
    transcript: list[tuple[int, ...]], frames: np.ndarray, vocabulary: Vocabulary, frame: float
) -> dict[str, Any]:
    """The answer for one recording, each of whose frames takes ``frame`` seconds."""
    found = [ctc.align(tokens, piece) for tokens, piece in zip(transcript, ctc.pieces(frames), strict=True)]
    starts = np.cumsum([0, *(len(told) for _, told in found)])
    spans = np.concatenate([spans + start for (spans, _), start in zip(found, starts[:-1], strict=True)])
    told = np.concatenate([told for _, told in found])
    tokens = sum(transcript, ())
    return {
        "prediction": _text(tokens, vocabulary),
        "confidence": _mean(told),
        "words": list(_words(tokens, spans, told, vocabulary, frame)),
    }


def _words(
    tokens: Sequence[int], spans: np.ndarray, told: np.ndarray, vocabulary: Vocabulary, frame: float
) -> Iterator[dict[str, Any]]:
    """The words that some tokens spell, and when each was said."""
    texts = [vocabulary.decode([token]) for token in tokens]
    begins = [
        place for place, text in enumerate(texts) if place == 0 or text[:1].isspace() or texts[place - 1][-1:].isspace()
    ]
    for first, after in pairwise([*begins, len(texts)]):
        word = _text(tokens[first:after], vocabulary)
        if not word:
            continue
        kept = [place for place in range(first, after) if texts[place].strip()]
        begin, end = int(spans[kept[0], 0]), int(spans[kept[-1], 1])
        times = [round(max(0.0, place * frame - EDGE), 2) for place in (begin, end)]
        yield {"word": word, "start": times[0], "end": times[1], "confidence": _mean(told[begin:end])}


def _mean(surprises: np.ndarray) -> float:
    """The geometric mean of probabilities."""
    return round(float(np.exp(surprises.mean())), 4) if len(surprises) else 0.0
