"""Audio: what is written is decoded, at any rate; what is damaged is refused by name."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from lamina.data import audio
from lamina.errors import DataError


def wave(seconds: float = 0.5, rate: int = 8000, hertz: float = 440.0, size: float = 0.5) -> np.ndarray:
    """(samples,) float64 of a tone."""
    found: np.ndarray = size * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return found


@pytest.mark.parametrize(
    ("ending", "subtype"),
    [("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "FLOAT"), ("wav", "ULAW"), ("flac", "PCM_16"), ("ogg", "VORBIS")],
)
def test_formats_are_decoded_alike(tmp_path: Path, ending: str, subtype: str) -> None:
    file = tmp_path / f"a.{ending}"
    soundfile.write(file, wave(), 8000, subtype=subtype)
    decoded = audio.decode(file, 8000)
    assert decoded.dtype == np.int16
    assert decoded.shape == (4000,)
    assert np.corrcoef(decoded, wave())[0, 1] > 0.99
    told = audio.header(file)
    assert (told.rate, told.channels, told.samples, told.seconds) == (8000, 1, 4000, 0.5)


@pytest.mark.parametrize("own", [8000, 11025, 22050, 44100, 48000])
def test_any_rate_becomes_the_one_that_is_asked_for(tmp_path: Path, own: int) -> None:
    soundfile.write(tmp_path / "a.wav", wave(rate=own), own)
    decoded = audio.decode(tmp_path / "a.wav", 16000)
    assert abs(len(decoded) - 8000) <= 1
    inner = slice(500, 7500)
    assert np.abs(decoded[:8000][inner] / 32767 - wave(rate=16000)[: len(decoded)][inner]).max() < 0.01


def test_what_a_lower_rate_cannot_hold_is_filtered_out(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", wave(rate=48000, hertz=7000), 48000)
    assert np.abs(audio.decode(tmp_path / "a.wav", 8000)[100:-100]).max() < 0.02 * 32767


def test_channels_are_mixed(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([wave(), np.zeros(4000)], 1), 8000)
    assert np.abs(audio.decode(tmp_path / "a.wav", 8000)).max() == pytest.approx(0.25 * 32767, rel=0.01)


def test_bytes_and_samples_are_recordings_too(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", wave(), 8000)
    file = audio.decode(tmp_path / "a.wav", 8000)
    assert np.array_equal(audio.decode((tmp_path / "a.wav").read_bytes(), 8000), file)
    assert np.array_equal(audio.decode(file, 8000), file)


@pytest.mark.parametrize(
    "samples",
    [
        wave(),
        wave().astype(np.float32),
        np.round(wave() * 32767).astype(np.int64),
        np.round(wave() * (2**31 - 1)).astype(np.int32),
        np.round(wave() * 32767 + 32768).astype(np.uint16),
        np.stack([wave() + 0.2, wave() - 0.2], 1),
        np.stack([wave() + 0.2, wave() - 0.2], 0),
        np.round(np.stack([wave()] * 2, 1) * 32767).astype(np.int16),
        wave()[:, None],
    ],
)
def test_samples_are_scaled_by_what_they_are(samples: np.ndarray) -> None:
    decoded = audio.decode(samples, 8000)
    assert decoded.dtype == np.int16
    assert np.abs(decoded - wave() * 32767).max() <= 1.5


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        (wave(size=1.5), "reach from -1.5 to 1.5.*Scale them"),
        (np.array([0.0, np.nan]), "no finite numbers"),
        (np.array([0.0, -np.inf]), "no finite numbers"),
        (np.array([0, 40_000]), "reach from 0 to 40000"),
        (np.zeros((2, 3, 4)), r"shape \(2, 3, 4\)"),
        (np.zeros(0), r"shape \(0,\)"),
        (np.array(["a"]), "type <U1"),
    ],
)
def test_samples_that_are_no_sound_are_refused(samples: np.ndarray, says: str) -> None:
    with pytest.raises(DataError, match=says):
        audio.decode(samples, 8000)


def test_samples_that_go_a_little_beyond_and_short_ones_in_wide_types_are_what_they_were() -> None:
    assert audio.decode(np.array([0.5, 1.0004, -1.02]), 8000).tolist() == [16384, 32767, -32767]
    for kind in (np.int16, np.int32, np.int64):
        assert audio.decode(np.array([0, 100, -30_000], kind), 8000).tolist() == [0, 100, -30_000]


def test_how_loud_a_recording_is(tmp_path: Path) -> None:
    loud = np.clip(wave(size=1.5), -1, 1)
    soundfile.write(tmp_path / "loud.wav", loud, 8000)
    soundfile.write(tmp_path / "fair.wav", wave(size=0.5), 8000)
    soundfile.write(tmp_path / "none.wav", np.zeros(4000), 8000)
    assert audio.level(tmp_path / "loud.wav").clipped == pytest.approx(np.mean(np.abs(loud) >= 0.999), abs=0.01)
    assert audio.level(tmp_path / "fair.wav").clipped == 0
    assert audio.level(tmp_path / "fair.wav").peak == pytest.approx(0.5, abs=0.01)
    assert audio.level(tmp_path / "none.wav").peak == 0


def test_what_is_no_recording_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.wav").write_bytes(b"")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 8000)
    infinite = wave()
    infinite[7] = np.inf
    soundfile.write(tmp_path / "infinite.wav", infinite, 8000, subtype="DOUBLE")
    for name, reason in {
        "text.wav": "no recording of a known format", "empty.wav": "empty", "missing.wav": "no such file",
        "none.wav": "no samples", "infinite.wav": "no finite numbers",
    }.items():  # fmt: skip
        with pytest.raises(DataError, match=reason) as caught:
            audio.decode(tmp_path / name, 8000)
        assert name in caught.value.where
    with pytest.raises(DataError, match="no recording") as caught:
        audio.decode(b"RIFF", 8000)
    assert caught.value.where == "standard input"
