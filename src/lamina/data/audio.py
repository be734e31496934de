"""Audio: a file of sound in, samples of one channel at a given rate out, or the reason why not.

WAV, FLAC, OGG and MP3 are decoded by libsndfile, which ``soundfile`` brings along: nothing else has to be installed.
"""

import io
import os
from dataclasses import dataclass
from math import gcd
from pathlib import Path

import numpy as np

from lamina.errors import DataError

ENDINGS = frozenset((".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au"))
"""File name endings of recordings, in lower case."""
FULL = 32767
LOUDEST = 1.1  # of samples in -1..1: resampling goes a little beyond
"""The largest sample of 16 bits."""
LIMIT = 0.999
"""The share of it from which a sample is taken for clipped."""


@dataclass(frozen=True)
class Header:
    """What the beginning of a file says."""

    rate: int
    """Samples per second."""
    channels: int
    samples: int
    """Per channel."""

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.samples / self.rate


@dataclass(frozen=True)
class Level:
    """How loud a recording is."""

    peak: float
    """The largest sample, of 1."""
    clipped: float
    """The share of samples that are as large as a file can hold."""


def header(file: str | Path) -> Header:
    """Rate, channels and length, without decoding. Raises DataError."""
    import soundfile

    try:
        told = soundfile.info(os.fspath(file))
    except Exception as error:  # decoders of damaged files raise all kinds of errors
        raise _unreadable(file, error) from None
    return Header(told.samplerate, told.channels, told.frames)


def level(file: str | Path) -> Level:
    """How loud a recording is, of all its channels. Raises DataError when it cannot be decoded to its end."""
    import soundfile

    peak, clipped, samples = 0.0, 0, 0
    try:
        for block in soundfile.blocks(os.fspath(file), 1 << 20, dtype="float32", always_2d=True):
            size = np.abs(block)
            peak = max(peak, float(size.max()))
            clipped += int((size >= LIMIT).sum())
            samples += size.size
    except Exception as error:  # as above
        raise _unreadable(file, error) from None
    return Level(peak, clipped / max(1, samples))


def decode(recording: str | Path | bytes | np.ndarray, rate: int) -> np.ndarray:
    """Decode one recording, mix its channels evenly, and resample it by a polyphase filter.

    Args:
        recording: a file, the bytes of one, or samples that have the rate already: (samples,) or (samples, channels), as
            floats in -1..1, or as whole numbers that use the range of their type (those of 32 and 64 bits may be of 16).
        rate: samples per second of what is returned.

    Returns:
        (samples,) int16.

    Raises:
        DataError: the file is missing, corrupt, empty or holds what is no number; ``where`` names it. Or samples are no sound.
    """
    import soundfile

    if isinstance(recording, np.ndarray):
        return _samples(recording)
    name = "standard input" if isinstance(recording, bytes) else os.fspath(recording)
    try:
        opened = io.BytesIO(recording) if isinstance(recording, bytes) else name
        samples, own = soundfile.read(opened, dtype="float32", always_2d=True)
    except Exception as error:  # as above
        raise _unreadable(name, error) from None
    if not len(samples):
        raise DataError("it has no samples.", name, "Replace it, or leave it out.")
    if not np.isfinite(samples).all():
        raise DataError("it has samples that are no finite numbers.", name, "Replace it, or leave it out.")
    mixed = samples.mean(1)
    if own != rate:
        from scipy.signal import resample_poly

        shared = gcd(own, rate)
        mixed = resample_poly(mixed, rate // shared, own // shared)
    return _of_16_bit(mixed)


def _samples(given: np.ndarray) -> np.ndarray:
    """(samples,) int16 of an array, as ``decode`` takes it; the shorter of two sides is that of the channels."""
    kind, size = given.dtype.kind, given.dtype.itemsize
    if given.ndim not in (1, 2) or not given.size or kind not in "fiu":
        raise DataError(
            f"an array of shape {given.shape} and type {given.dtype} was given.",
            remedy="Give samples as numbers, (samples,) or (samples, channels).",
        )
    low, high = float(given.min()), float(given.max())
    if low != low or high - low == np.inf:
        raise DataError("it has samples that are no finite numbers.", remedy="Replace it, or leave it out.")
    short = -FULL - 1 <= low <= high <= FULL  # of 16 bits, whatever they are kept in
    if (kind == "f" and max(-low, high) > LOUDEST) or (size == 8 and kind != "f" and not short):
        raise DataError(f"its samples reach from {low:g} to {high:g}.", remedy="Scale them to -1..1, or to 16 bits.")
    kept = short and (size == 8 or (size == 4 and kind == "i"))
    whole = given.astype(np.int16) if kept and kind != "f" else given
    if whole.dtype == np.int16 and whole.ndim == 1:
        return whole
    half = 1.0 if kind == "f" else 2.0 ** (8 * whole.dtype.itemsize - 1)
    shares = (whole.astype(np.float64) - (half if whole.dtype.kind == "u" else 0.0)) / half
    return _of_16_bit(shares if shares.ndim == 1 else shares.mean(int(np.argmin(shares.shape))))


def _of_16_bit(shares: np.ndarray) -> np.ndarray:
    """int16 of samples in -1..1; what is beyond is cut."""
    return np.asarray(np.clip(np.round(shares * FULL), -FULL, FULL), dtype=np.int16)


def _unreadable(file: str | Path, error: Exception) -> DataError:
    name = os.fspath(file)
    if name != "standard input" and not os.path.exists(name):
        reason = "there is no such file"
    elif os.path.isfile(name) and os.path.getsize(name) == 0:
        reason = "the file is empty"
    elif isinstance(error, PermissionError):
        reason = "it cannot be opened"
    else:
        reason = "its content is no recording of a known format, or is damaged"
    return DataError(f"{reason}.", name, "Replace it by WAV, FLAC or OGG, or leave it out.")
