"""Near-duplicates among recordings: the same sound in another format, louder, at another rate, or with some noise.

A fingerprint is how the energy goes through the recording: its spectrum in ``BANDS`` bands, evenly spread over their
logarithms, of as many stretches of time for all. Loudness is a constant there and goes with the mean; what is far below the
loudest is the same. Two recordings are copies when they last equally long, to a hundredth, and are nearer to one another
than chance allows (``near_duplicates.copies``), and correlate by ``LEAST``: the same person saying the same word twice
comes near, too.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from lamina.audit.near_duplicates import copies, different, reported
from lamina.data import audio
from lamina.data.data import Data
from lamina.errors import DataError
from lamina.findings import Finding

RATE = 8000
"""Samples per second to which all recordings are brought."""
BANDS, TIMES = 16, 32
LOWEST = 100.0  # Hz
RANGE = 6.0  # natural logarithms below the loudest, 26 dB, that are told apart
LEAST = 0.985
_WINDOW = 256  # samples, 32 ms
_FEWEST = 50  # recordings below which nothing can be said of chance
_MOST = 20_000  # recordings that are listened to
_ALIKE = 0.01  # by which durations may differ


def find(data: Data) -> Iterator[Finding]:
    """Find recordings that are nearly equal, in two parts or in one; equal files are another illness."""
    if not recorded(data) or len(data) < _FEWEST:
        return
    rows = different(data)[:_MOST]
    with ThreadPoolExecutor(4) as workers:
        heard = list(workers.map(_heard, np.asarray(data.raws)[rows].tolist()))
    known = np.array([print_ is not None for print_, _ in heard])
    if known.sum() < _FEWEST:
        return
    vectors = np.stack([print_ for print_, _ in heard if print_ is not None])
    seconds = np.array([duration for _, duration in heard])[known]
    pairs = copies(vectors)
    longer = np.maximum(seconds[pairs[:, 0]], seconds[pairs[:, 1]])
    equally = np.abs(seconds[pairs[:, 0]] - seconds[pairs[:, 1]]) <= _ALIKE * longer
    alike = np.einsum("pi,pi->p", vectors[pairs[:, 0]], vectors[pairs[:, 1]]) >= LEAST
    yield from reported(data, rows[known][pairs[equally & alike]])


def recorded(data: Data) -> bool:
    """Whether the examples are paths of recordings."""
    if not isinstance(data.raws, np.ndarray) or data.raws.dtype != object or not len(data):
        return False
    return isinstance(data.raws[0], str) and os.path.splitext(data.raws[0])[1].lower() in audio.ENDINGS


def _heard(path: str) -> tuple[np.ndarray | None, float]:
    """A recording's fingerprint, and its seconds; None for one that cannot be read or is silent."""
    try:
        samples = audio.decode(path, RATE)
    except DataError:
        return None, 0.0
    return fingerprint(samples), len(samples) / RATE


def fingerprint(samples: np.ndarray) -> np.ndarray | None:
    """(BANDS * TIMES,) float32 of mean 0 and norm 1, of (samples,) int16 at ``RATE``; None where nothing is to be heard."""
    if len(samples) < 2 * _WINDOW:
        return None
    starts = np.linspace(0, len(samples) - _WINDOW, 4 * TIMES).astype(np.int64)
    frames = samples[starts[:, None] + np.arange(_WINDOW)].astype(np.float32) * np.hanning(_WINDOW).astype(np.float32)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    edges = np.geomspace(LOWEST, RATE / 2, BANDS + 1) / RATE * _WINDOW
    places = np.clip(np.digitize(np.arange(power.shape[1]), edges) - 1, -1, BANDS - 1)
    banded = np.stack([power[:, places == band].sum(1) for band in range(BANDS)], 1)
    energy = banded.reshape(TIMES, 4, BANDS).sum(1)
    if not energy.max() > 0:
        return None
    loud = np.log(np.maximum(energy, energy.max() * np.exp(-RANGE)))
    vector = (loud - loud.mean()).ravel()
    length = float(np.linalg.norm(vector))
    return None if length < 1e-3 else (vector / length).astype(np.float32)
