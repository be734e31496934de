"""Near-duplicates among texts: passages that are copies but for some edits, within and across parts.

Two passages are copies when the sets of their shingles, all stretches of 8 bytes of them in lower case and with single
spaces, have a Jaccard similarity of 0.8 or more; unrelated prose of one language stays below 0.1. Candidates come from MinHash
with banding (Broder 1997; Leskovec, Rajaraman & Ullman 2014, chapter 3), each then verified. One hash function serves all
places of the signature (Li, Owen & Zhang 2012): a shingle's hash says which place it belongs to, and the least stays there.
"""

from collections.abc import Iterator

import numpy as np

from lamina.audit.near_duplicates import different, reported
from lamina.data.data import Data
from lamina.findings import Finding

LEAST_JACCARD = 0.8
SHORTEST = 64
"""Bytes of a passage below which it is not judged: "yes" repeats "yes" honestly."""
_BANDS, _ROWS = 24, 4  # at a similarity of 0.8, 1 - (1 - 0.8^4)^24 = 99.9997 % of the copies share a band
_MIX = np.uint64(0x9E3779B97F4A7C15)  # an odd number whose product spreads bits (Knuth's multiplicative hashing)
_MOST_ALIKE = 20  # passages with the same band that are compared with each other: more are boilerplate


def find(data: Data) -> Iterator[Finding]:
    """Find passages of texts that are nearly equal; equal ones are another illness."""
    if not isinstance(data.raws, np.ndarray) or not len(data) or not hasattr(data.raws[0], "text"):
        return
    rows = different(data)
    pairs = copies([_shingles(data.raws[row].text) for row in rows])
    if len(pairs):
        yield from reported(data, rows[pairs])


def copies(shingles: list[np.ndarray]) -> np.ndarray:
    """Pairs of sets of hashes whose Jaccard similarity is 0.8 or more: (pairs, 2) int64, the lower first."""
    long = np.array([row for row, found in enumerate(shingles) if len(found) > SHORTEST - 8], dtype=np.int64)
    bands = np.stack([_bands(shingles[row]) for row in long]) if len(long) else np.zeros((0, _BANDS), np.uint64)
    pairs: set[tuple[int, int]] = set()
    for band in bands.T:
        order = np.argsort(band, kind="stable")
        for step in range(1, _MOST_ALIKE):
            same = np.flatnonzero(band[order[:-step]] == band[order[step:]])
            if not len(same):
                break
            pairs.update(zip(order[same].tolist(), order[same + step].tolist(), strict=True))
    found = sorted((int(long[a]), int(long[b])) for a, b in {(min(pair), max(pair)) for pair in pairs})
    alike = [pair for pair in found if _jaccard(shingles[pair[0]], shingles[pair[1]]) >= LEAST_JACCARD]
    return np.array(alike, dtype=np.int64).reshape(-1, 2)


def _shingles(text: str) -> np.ndarray:
    """The hashes of all different stretches of 8 bytes, ascending."""
    content = np.frombuffer(" ".join(text.lower().split()).encode("utf-8", "replace"), np.uint8)
    if len(content) < 8:
        return np.zeros(0, np.uint64)
    stretches = np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(content, 8)).view(np.uint64)[:, 0]
    mixed = stretches * _MIX
    return np.unique((mixed ^ (mixed >> np.uint64(29))) * _MIX)


def _bands(hashes: np.ndarray) -> np.ndarray:
    """(_BANDS,) uint64: of each band, one number made of the least hashes of its places."""
    least = np.full(_BANDS * _ROWS, np.iinfo(np.uint64).max, np.uint64)
    places = ((hashes >> np.uint64(8)) % np.uint64(_BANDS * _ROWS)).astype(np.int64)
    least[places[::-1]] = hashes[::-1]  # ascending hashes, written from behind: the least stays
    banded = least.reshape(_BANDS, _ROWS)
    number = np.arange(_BANDS, dtype=np.uint64)  # so that two empty bands of one passage are not told to be the same
    for row in range(_ROWS):
        number = (number ^ banded[:, row]) * _MIX
    return number


def _jaccard(left: np.ndarray, right: np.ndarray) -> float:
    shared = len(np.intersect1d(left, right, assume_unique=True))
    return shared / max(1, len(left) + len(right) - shared)
