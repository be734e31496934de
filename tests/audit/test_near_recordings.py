"""Near-duplicates among recordings: other formats, loudness and rates are seen through; words said twice are no copies."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from lamina.audit import near_recordings
from lamina.data.data import Data

Sound = tuple[np.ndarray, int]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Eighty recordings of a second, each of twelve tones of their own, one after the other."""
    folder, source = tmp_path_factory.mktemp("spoken"), np.random.default_rng(1)
    paths = np.empty(80, dtype=object)
    for number in range(80):
        pitches, loudness = source.uniform(150, 3000, 12), source.uniform(0.05, 0.8, 12)
        time = np.arange(8000) / 8000
        stretch = np.minimum((12 * time).astype(int), 11)
        samples = loudness[stretch] * np.sin(2 * np.pi * pitches[stretch] * time) + source.normal(0, 0.02, 8000)
        paths[number] = str(folder / f"{number}.wav")
        soundfile.write(paths[number], samples, 8000)
    part = np.array(["train"] * 50 + ["valid"] * 10 + ["test"] * 20)
    answers = np.array([f"words {number}" for number in range(80)], dtype=object)
    return Data(paths, answers, paths, part, np.arange(1000, 1080, dtype=np.uint64))


def louder(samples: np.ndarray, rate: int) -> Sound:
    return 0.4 * samples, rate


def quicker_clock(samples: np.ndarray, rate: int) -> Sound:
    return resample_poly(samples, 2, 1), 2 * rate


def noisy(samples: np.ndarray, rate: int) -> Sound:
    return samples + np.random.default_rng(0).normal(0, 0.03 * samples.std(), len(samples)), rate


def same(samples: np.ndarray, rate: int) -> Sound:
    return samples, rate


def test_different_sounds_are_no_copies(spoken: Data) -> None:
    assert list(near_recordings.find(spoken)) == []


@pytest.mark.parametrize(
    ("change", "ending"),
    [(louder, "wav"), (same, "flac"), (same, "ogg"), (quicker_clock, "wav"), (noisy, "wav")],
)
def test_copies_are_found_across_parts(
    spoken: Data, tmp_path: Path, change: Callable[[np.ndarray, int], Sound], ending: str
) -> None:
    tests, trained = (np.flatnonzero(spoken.part == part) for part in ("test", "train"))
    raws, digests = spoken.raws.copy(), spoken.digests.copy()
    assert isinstance(raws, np.ndarray)
    for place in range(4):
        samples, rate = change(*soundfile.read(raws[trained[place]], dtype="float64"))
        raws[tests[place]] = str(tmp_path / f"{place}.{ending}")
        soundfile.write(raws[tests[place]], samples, rate)
        digests[tests[place]] = place
    found = list(near_recordings.find(replace(spoken, raws=raws, digests=digests)))
    leaks = [
        finding for finding in found if finding.kind == "leak.near_duplicate" and finding.evidence["part"] == "test"
    ]
    assert [finding.evidence["indices"] for finding in leaks] == [sorted(tests[:4].tolist())]
    assert set(leaks[0].evidence["removable"]) == set(trained[:4].tolist())


def test_silence_and_a_click_have_no_fingerprint() -> None:
    assert near_recordings.fingerprint(np.zeros(8000, np.int16)) is None
    assert near_recordings.fingerprint(np.ones(100, np.int16)) is None


def test_other_data_have_no_recordings(spoken: Data) -> None:
    assert not near_recordings.recorded(replace(spoken, raws=np.zeros((len(spoken), 4, 4), np.uint8)))
