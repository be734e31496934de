"""Connectionist temporal classification (Graves et al. 2006): what frames say in, tokens out, and when each was said.

A row of frames is (frames, 2 ``CANDIDATES``): the ids of the most probable tokens, the most probable first, and then their
log-probabilities; rows of zeros lie behind the end. Token 0 is the blank: a transcript is what is left of the frames' tokens
when equal neighbours are one and blanks are none.

    best_path    the most probable token of each frame
    search       the most probable transcripts, over all their ways through the frames, with an n-gram model's opinion
    align        when each token of a transcript was said
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from torch import Tensor

from lamina.ngrams import NGrams

BLANK: Final = 0
CANDIDATES: Final = 12
"""Tokens of a frame that are kept: the others have next to no probability, whatever the vocabulary's size."""
NEVER: Final = -30.0
"""Log-probability of a token that is not among them."""
UNLIKELY: Final = -9.0
"""Log-probability below which a token is not tried in a search."""
SURE: Final = -1e-3
"""Log-probability of the blank from which on a search tries nothing else."""
REMEMBERED: Final = 20_000_000
"""Numbers that an opinion remembers, at most."""
PIECE: Final = 1_500
"""Frames that are searched and aligned at once; longer recordings are cut in pauses."""


def condensed(scores: Tensor) -> Tensor:
    """(batch, frames, vocabulary) log-probabilities, zero behind each end, as rows of frames."""
    kept = min(CANDIDATES, scores.shape[2])
    best, tokens = scores.topk(kept, dim=2)
    there = (scores != 0).any(2, keepdim=True)
    spare = scores.new_zeros(*scores.shape[:2], CANDIDATES - kept)
    return torch.cat([tokens * there, spare, best, spare + NEVER * there], 2)


def frames_of(rows: Tensor) -> Tensor:
    """(batch,) how many frames each of (batch, frames, 2 CANDIDATES) has: behind the end all is zero, before it the second
    token has some other probability than one."""
    return (rows[..., CANDIDATES:] != 0).any(2).sum(1)


def spoken(transcripts: Iterable[Sequence[int]], sure: float = 0.99) -> Tensor:
    """Rows of frames that say these transcripts, each token after a blank: the form in which baselines answer."""
    paths = [[BLANK] + [token for each in tokens for token in (each, BLANK)] for tokens in transcripts]
    rows = torch.zeros(len(paths), max(map(len, paths)), 2 * CANDIDATES)
    for row, path in zip(rows, paths, strict=True):
        row[: len(path), 0] = torch.tensor(path)
        row[: len(path), CANDIDATES] = math.log(sure)
        row[: len(path), CANDIDATES + 1 :] = NEVER
    return rows


def pieces(frames: np.ndarray) -> list[np.ndarray]:
    """The frames in pieces of at most ``PIECE``, each cut in the middle of the longest pause of its second half."""
    found = []
    while len(frames) > PIECE:
        quiet = np.r_[False, frames[PIECE // 2 : PIECE, 0] == BLANK, False]
        begins, ends = np.flatnonzero(quiet[1:] & ~quiet[:-1]), np.flatnonzero(~quiet[1:] & quiet[:-1])
        longest = int((ends - begins).argmax()) if len(begins) else -1
        cut = PIECE // 2 + (begins[longest] + ends[longest]) // 2 if len(begins) else PIECE
        found.append(frames[:cut])
        frames = frames[cut:]
    return [*found, frames]


@dataclass(frozen=True, eq=False)
class Opinion:
    """What an n-gram model says of the next token."""

    model: NGrams
    """Over the same tokens; 0 stands for beginning and end."""
    weight: float
    """Of its log-probabilities against those of the frames."""
    bonus: float
    """Added for each token, since a model of language alone prefers short transcripts."""
    _known: dict[tuple[int, ...], np.ndarray] = field(default_factory=dict)

    def next(self, context: tuple[int, ...]) -> np.ndarray:
        """(vocabulary,) what each token adds to a score after this context."""
        context = context[len(context) - self.model.order + 1 :] if len(context) >= self.model.order else context
        if context not in self._known:
            if len(self._known) * self.model.vocabulary >= REMEMBERED:
                self._known.clear()
            chances = self.model.probabilities(np.array(context, dtype=np.int64))
            self._known[context] = self.weight * np.log(chances) + self.bonus
        return self._known[context]

    def end(self, context: tuple[int, ...]) -> float:
        """What it adds that nothing follows."""
        return float(self.next(context)[BLANK]) - self.bonus


def best_path(frames: np.ndarray) -> tuple[int, ...]:
    """The transcript of the most probable tokens of (frames, 2 CANDIDATES)."""
    path = frames[:, 0].astype(int)
    first = np.r_[True, path[1:] != path[:-1]][: len(path)]
    return tuple(path[first & (path != BLANK)].tolist())


def search(frames: np.ndarray, width: int, opinion: Opinion | None = None) -> tuple[int, ...]:
    """Prefix beam search (Graves & Jaitly 2014; with a model of language, Hannun et al. 2014, arXiv:1408.2873).

    Args:
        frames: (frames, 2 CANDIDATES).
        width: transcripts that are kept in each frame.
        opinion: of an n-gram model; none when None.

    Returns:
        The tokens of the best transcript.
    """
    beam: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}  # probability to end in a blank, or not
    told: dict[tuple[int, ...], float] = {(): 0.0}  # what the model of language says of each
    for row in frames:
        tokens, scores = row[:CANDIDATES].astype(int).tolist(), row[CANDIDATES:].tolist()
        tried = {token: score for token, score in zip(tokens, scores, strict=True) if score > UNLIKELY}
        blank = tried.pop(BLANK, NEVER)
        if blank > SURE:
            beam = {prefix: (_sum(*ends) + blank, -math.inf) for prefix, ends in beam.items()}
            continue
        grown: dict[tuple[int, ...], tuple[float, float]] = {}
        for prefix, (empty, full) in beam.items():
            whole = _sum(empty, full)
            last = prefix[-1] if prefix else BLANK
            before = grown.get(prefix, (-math.inf, -math.inf))
            again = _sum(before[1], full + tried[last]) if last in tried else before[1]
            grown[prefix] = (_sum(before[0], whole + blank), again)
            for token, score in tried.items():
                longer = (*prefix, token)
                before = grown.get(longer, (-math.inf, -math.inf))
                grown[longer] = (before[0], _sum(before[1], (empty if token == last else whole) + score))
                if longer not in told:
                    told[longer] = told[prefix] + (_added(prefix, token, opinion) if opinion else 0.0)
        best = sorted(grown, key=lambda prefix: -_sum(*grown[prefix]) - told[prefix])[:width]
        beam = {prefix: grown[prefix] for prefix in best}
    end = {prefix: opinion.end((BLANK, *prefix)) if opinion else 0.0 for prefix in beam}
    return max(beam, key=lambda prefix: _sum(*beam[prefix]) + told[prefix] + end[prefix])


def align(tokens: Sequence[int], frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most probable way of a transcript through the frames (Viterbi 1967).

    Args:
        tokens: of the transcript.
        frames: (frames, 2 CANDIDATES).

    Returns:
        (tokens, 2): the frame in which each begins, and the one after its last; (frames,) the log-probability of what each
        frame then says.
    """
    states = np.array([BLANK, *(state for token in tokens for state in (token, BLANK))])
    heard = np.full((len(frames), len(states)), NEVER)  # log-probability of each state in each frame
    for place in range(CANDIDATES):
        same = frames[:, place, None] == states
        heard = np.where(same, np.maximum(heard, frames[:, CANDIDATES + place, None]), heard)
    skips = np.r_[False, False, (states[2:] != BLANK) & (states[2:] != states[:-2])][: len(states)]
    score = np.where(np.arange(len(states)) < 2, 0.0, -np.inf)
    came = np.zeros(heard.shape, int)  # by how many states the best way moved on
    for frame, told in enumerate(heard):
        if frame:
            one, two = (
                np.r_[-np.inf, score[:-1]],
                np.where(skips, np.r_[-np.inf, -np.inf, score[:-2]][: len(score)], -np.inf),
            )
            moves = np.stack([score, one, two])
            came[frame] = moves.argmax(0)
            score = moves.max(0)
        score = score + told
    state = len(states) - 1 if len(states) == 1 or score[-1] >= score[-2] else len(states) - 2
    way = np.zeros(len(frames), int)
    for frame in reversed(range(len(frames))):
        way[frame] = state
        state -= came[frame, state]
    spans = np.array([
        (np.searchsorted(way, place), np.searchsorted(way, place, "right")) for place in range(1, len(states), 2)
    ]).reshape(-1, 2)  # fmt: skip
    return spans, heard[np.arange(len(frames)), way]


def _added(prefix: tuple[int, ...], token: int, opinion: Opinion) -> float:
    return float(opinion.next((BLANK, *prefix))[token])


def _sum(one: float, other: float) -> float:
    """The logarithm of the sum of what these are the logarithms of."""
    more, less = (one, other) if one > other else (other, one)
    return more if less == -math.inf else more + math.log1p(math.exp(less - more))
