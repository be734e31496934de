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
        recording: a file, the bytes of one, or (samples,) int16 that have the rate already.
        rate: samples per second of what is returned.

    Returns:
        (samples,) int16.

    Raises:
        DataError: the file is missing, corrupt, empty or holds what is no number; ``where`` names it.
    """
    import soundfile

    if isinstance(recording, np.ndarray):
        return recording.astype(np.int16)
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
    return np.asarray(np.clip(np.round(mixed * FULL), -FULL, FULL), dtype=np.int16)


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
