"""The examples of a recipe: what was found out of them once holds as long as nothing that decides it changes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lamina.data.data import Arrays, Data, Raws
from lamina.data.recording_checks import Transcript
from lamina.examples import encoded, learned
from lamina.tasks.speech_recognition import SpeechRecognition
from lamina.tasks.task import Facts


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMINA_CACHE", str(tmp_path / "cache"))


@dataclass(frozen=True)
class Heard(SpeechRecognition):
    """Learns who speaks, and the lines of a file; needs no recordings for that."""

    def facts(self, data: Data) -> Facts:
        """What there is."""
        return {"speakers": sorted({answer.speaker for answer in data.answers}), "lines": self._lines()}

    def encode(self, raws: Raws, facts: Facts) -> Arrays:
        """A zero of each."""
        return {"x": np.zeros((len(raws), 1), np.float32)}

    def target(self, answers: np.ndarray, facts: Facts) -> Arrays:
        """The number of the speaker."""
        return {"speaker": np.array([facts["speakers"].index(answer.speaker) for answer in answers])}


def heard(*speakers: str) -> Data:
    count = len(speakers)
    answers = np.empty(count, dtype=object)
    answers[:] = [Transcript("one", speaker) for speaker in speakers]
    names = np.array([f"{number}.wav" for number in range(count)], dtype=object)
    return Data(names, answers, names, np.full(count, "train"), np.arange(count, dtype=np.uint64))


def test_a_file_that_an_option_names_is_read_again_when_it_changes(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    data, task = heard("a", "b"), Heard(text=str(text))
    for line in ("old", "new"):
        text.write_text(line)
        assert learned(task, data)["lines"] == [line]


def test_an_answer_that_changes_in_what_it_does_not_tell_is_learned_and_encoded_anew() -> None:
    task = Heard()
    for speakers in (("a", "b", "b"), ("a", "a", "b")):
        data = heard(*speakers)
        facts = learned(task, data)
        assert facts["speakers"] == ["a", "b"]
        found = encoded(task, facts, data).targets["speaker"]
        assert found.tolist() == [["a", "b"].index(speaker) for speaker in speakers]  # type: ignore[union-attr]
