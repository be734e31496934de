"""Baselines of speech recognition: what they say is the transcript of training that fits."""

from typing import Any

import numpy as np
import pytest

from lamina import ctc
from lamina.baselines import Arrays
from lamina.data import spoken
from lamina.data.ragged import ragged

FACTS: dict[str, Any] = {"rate": 8000}
PITCHES = {(1, 2): (300, 2000), (3,): (2000, 300), (2, 2, 1): (900, 900)}
"""Transcripts, and the two tones, one after the other, that say each."""


def recordings(said: list[tuple[int, ...]], seed: int = 0) -> Arrays:
    draw = np.random.default_rng(seed)
    rows = []
    for transcript in said:
        time = np.arange(draw.integers(3000, 5000)) / 8000
        pitch = np.where(time < time[-1] / 2, *PITCHES[transcript])
        wave = 8000 * np.sin(2 * np.pi * pitch * time) + draw.normal(0, 200, len(time))
        rows.append(wave.astype(np.int16))
    return {"audio": ragged(rows), "audio_lengths": np.array([len(row) for row in rows])}


def targets(said: list[tuple[int, ...]]) -> Arrays:
    return {
        "transcript": ragged([np.array(each) for each in said]),
        "transcript_lengths": np.array([len(each) for each in said]),
    }


def heard(outputs: Any) -> list[tuple[int, ...]]:
    return [
        ctc.best_path(row[:length].numpy())
        for row, length in zip(outputs, ctc.frames_of(outputs).tolist(), strict=True)
    ]


KNOWN = list(PITCHES) * 10
ASKED = [*PITCHES, (3,)]


def test_the_usual_transcript_is_the_most_frequent_one() -> None:
    said = [*KNOWN, (3,)]
    outputs = spoken.usual_transcript(recordings(said), targets(said), recordings(ASKED), FACTS)
    assert heard(outputs) == [(3,)] * 4


@pytest.mark.parametrize("few", [50, 2])
def test_the_linear_one_and_the_nearest_tell_tones_apart(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoken, "FEW", few)
    outputs = spoken.linear_on_mean_spectra(recordings(KNOWN), targets(KNOWN), recordings(ASKED, seed=1), FACTS)
    assert heard(outputs) == ASKED


def test_a_single_transcript_is_always_the_answer() -> None:
    said = [(3,)] * 5
    assert heard(spoken.linear_on_mean_spectra(recordings(said), targets(said), recordings(ASKED), FACTS)) == said[:4]
