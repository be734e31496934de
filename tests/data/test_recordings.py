"""Recordings: every layout gives the same; what cannot be used is a finding that names it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from lamina import find
from lamina.data import recordings
from lamina.data.data import Data, Source
from lamina.data.split import complete
from lamina.data.tones import speak_tones
from lamina.errors import DataError, LaminaError, OptionError
from lamina.prepare import recognise
from lamina.watch import Quiet

SAID = ["one", "two ten", "no", "tea"]


def sound(seconds: float = 0.6, rate: int = 8000, seed: int = 0, size: float = 0.2) -> np.ndarray:
    found: np.ndarray = size * np.random.default_rng(seed).uniform(-1, 1, round(seconds * rate))
    return found


def write(folder: Path, names: list[str], rate: int = 8000) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, sound(rate=rate, seed=number), rate)


def as_table(folder: Path) -> Path:
    names = [f"clips/{number}.flac" for number in range(4)]
    write(folder, names)
    lines = [f"{name},{text},{voice}" for name, text, voice in zip(names, SAID, "aabb", strict=True)]
    (folder / "all.csv").write_text("\n".join(["path,sentence,client_id", *lines]))
    return folder / "all.csv"


def as_json_lines(folder: Path) -> Path:
    names = [f"{number}.wav" for number in range(4)]
    write(folder, names)
    lines = [json.dumps({"audio": name, "text": text}) for name, text in zip(names, SAID, strict=True)]
    (folder / "all.jsonl").write_text("\n".join(lines))
    return folder / "all.jsonl"


def as_ljspeech(folder: Path) -> Path:
    write(folder, [f"wavs/LJ{number}.wav" for number in range(4)])
    lines = [f"LJ{number}|{text.upper()}|{text}" for number, text in enumerate(SAID)]
    (folder / "metadata.csv").write_text("\n".join(lines))
    return folder


def as_hugging_face(folder: Path) -> Path:
    names = [f"data/{number}.wav" for number in range(4)]
    write(folder, names)
    lines = [f"{name},{text}" for name, text in zip(names, SAID, strict=True)]
    (folder / "metadata.csv").write_text("\n".join(["file_name,transcription", *lines]))
    return folder


def as_loud_pairs(folder: Path) -> Path:
    as_pairs(folder)
    for file in (folder / "some").iterdir():
        file.rename(file.with_suffix(file.suffix.upper()))
    return folder


def as_pairs(folder: Path) -> Path:
    write(folder, [f"some/{number}.wav" for number in range(4)])
    for number, text in enumerate(SAID):
        (folder / f"some/{number}.txt").write_text(text + "\n")
    return folder


LAYOUTS: list[Callable[[Path], Path]] = [as_table, as_json_lines, as_ljspeech, as_hugging_face, as_pairs, as_loud_pairs]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_recognised_and_gives_the_same(layout: Callable[[Path], Path], tmp_path: Path) -> None:
    source = Source(layout(tmp_path))
    assert find.name_of(type(recognise(source, None, {}, Quiet()))) == "speech_recognition"
    data = recordings.read(source)
    assert [str(answer) for answer in data.answers] == SAID
    assert all(Path(raw).is_absolute() and Path(raw).is_file() for raw in data.raws)
    assert not data.findings
    assert any("4" in note and "8000" in note.replace(",", "") for note in data.notes)


def test_transcripts_may_be_numbers(tmp_path: Path) -> None:
    as_json_lines(tmp_path)
    said = [7, 20, None, 3.5]
    frame = pd.DataFrame({"audio": [str(tmp_path / f"{n}.wav") for n in range(4)], "text": said, "speaker": said})
    data = recordings.read(Source(frame))
    assert [answer.text for answer in data.answers] == ["7", "20", "3.5"]
    assert [answer.speaker for answer in data.answers] == ["7", "20", "3.5"]


def test_a_relative_path_is_read_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_pairs(tmp_path / "here")
    monkeypatch.chdir(tmp_path)
    assert len(recordings.read(Source(Path("here")))) == 4


def test_speakers_are_known_and_can_be_kept_apart(tmp_path: Path) -> None:
    data = recordings.read(Source(as_table(tmp_path), group="client_id"))
    assert [answer.speaker for answer in data.answers] == ["a", "a", "b", "b"]
    assert data.groups is not None
    assert data.groups.tolist() == ["a", "a", "b", "b"]
    assert any("--group client_id" in note for note in data.notes)
    for column in ({"group": "speaker"}, {"time": "day"}):
        with pytest.raises(OptionError, match="columns"):
            recordings.read(Source(as_pairs(tmp_path / "pairs"), **column))


def test_recordings_can_be_split_by_time(tmp_path: Path) -> None:
    names = [f"{number}.wav" for number in range(4)]
    for part in ("train", "test"):
        write(tmp_path / part, names)
        lines = [f"{name},{text},{day}" for name, text, day in zip(names, SAID, (4, 3, 2, 1), strict=True)]
        (tmp_path / part / "metadata.csv").write_text("\n".join(["path,said,day", *lines]))
    alone = recordings.read(Source(tmp_path / "train", time="day"))
    assert alone.times is not None
    assert alone.times.tolist() == [4, 3, 2, 1]
    both = recordings.read(Source(tmp_path, time="day"))
    assert both.times is not None
    assert both.times.tolist() == [4, 3, 2, 1] * 2


@pytest.mark.parametrize("layout", [as_ljspeech, as_hugging_face, as_pairs])
def test_folders_named_after_parts_are_parts(layout: Callable[[Path], Path], tmp_path: Path) -> None:
    for part in ("train", "test"):
        layout(tmp_path / part)
    data = recordings.read(Source(tmp_path))
    assert recordings.recognised(Source(tmp_path))
    assert data.counts() == {"train": 4, "valid": 0, "test": 4}
    assert len(set(data.where)) == 8
    assert all(part in where for part, where in zip(data.part, data.where, strict=True))


def test_a_test_part_alone_can_be_evaluated_but_not_trained(tmp_path: Path) -> None:
    as_hugging_face(tmp_path / "test")
    data = recordings.read(Source(tmp_path))
    assert data.counts() == {"train": 0, "valid": 0, "test": 4}
    with pytest.raises(DataError, match="a test part, but none for training"):
        complete(data, 0)


def test_one_transcript_for_all_is_nothing_to_learn(tmp_path: Path) -> None:
    write(tmp_path, ["a.wav", "b.wav"])
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("yes")
    assert [finding.kind for finding in recordings.read(Source(tmp_path)).findings] == ["class.single"]


def ill(tmp_path: Path) -> Data:
    table = as_table(tmp_path)
    (tmp_path / "clips/cut.flac").write_bytes((tmp_path / "clips/0.flac").read_bytes()[:900])
    (tmp_path / "clips/text.wav").write_text("no sound")
    soundfile.write(tmp_path / "clips/silent.wav", np.zeros(8000), 8000)
    soundfile.write(tmp_path / "clips/long.wav", sound(61), 8000)
    soundfile.write(tmp_path / "clips/clipped.wav", np.clip(sound(size=4.0), -1, 1), 8000)
    more = {
        "cut.flac": "one", "text.wav": "one", "silent.wav": "one", "long.wav": "one", "missing.wav": "one",
        "0.flac": "said so quickly that nobody ever could", "clipped.wav": "ten", "1.flac": "",
    }  # fmt: skip
    with table.open("a") as file:
        file.write("".join(f"\nclips/{name},{text},a" for name, text in more.items()))
    return recordings.read(Source(table))


def test_what_is_ill_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.data.recording_checks.FEWEST", 1)
    data = ill(tmp_path)
    found = {finding.kind: finding for finding in data.findings}
    assert {kind: finding.count for kind, finding in found.items()} == {
        "recording.broken": 3, "recording.silent": 1, "recording.long": 1, "recording.fast": 1, "recording.clipped": 1,
        "target.missing": 1,
    }  # fmt: skip
    assert any("no such file" in place for place in found["recording.broken"].where)
    assert all("all.csv:" in place for finding in found.values() for place in finding.where)
    assert [str(answer) for answer in data.answers] == [*SAID, "ten"]  # the clipped one is used


def test_what_was_found_is_remembered_until_a_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = as_table(tmp_path)
    recordings.read(Source(table))
    heard: list[str] = []
    monkeypatch.setattr("lamina.data.audio.level", lambda file: heard.append(file))
    recordings.read(Source(table))
    assert heard == []
    monkeypatch.undo()
    soundfile.write(tmp_path / "clips/0.flac", np.zeros(8000), 8000)
    with pytest.raises(DataError, match="only 3 of the 4 recordings can be used") as caught:
        recordings.read(Source(table))
    assert "1 are silent" in caught.value.remedy
    monkeypatch.setattr("lamina.data.recording_checks.FEWEST", 1)
    assert [finding.kind for finding in recordings.read(Source(table)).findings] == ["recording.silent"]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "all.csv").write_text("path,sentence\n"), "no"),
        (lambda folder: (folder / "all.csv").write_text("path,x,y\na.wav,1,2\n"), "--target"),
        (lambda folder: (folder / "all.csv").write_text("sentence,words\nhello,you\n"), "paths of recordings"),
        (lambda folder: (folder / "all.csv").write_text("path,sentence\na.wav,hello\n"), "no such file"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(spoil: Callable[[Path], object], says: str, tmp_path: Path) -> None:
    spoil(tmp_path)
    with pytest.raises(LaminaError) as caught:
        recordings.read(Source(tmp_path / "all.csv"))
    assert says in f"{caught.value.what} {caught.value.where} {caught.value.remedy}"


def test_folders_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no recording"):
        recordings.read(Source(tmp_path))
    write(tmp_path, ["a.wav"])
    with pytest.raises(DataError, match="no recording has a transcript"):
        recordings.read(Source(tmp_path))
    (tmp_path / "a.txt").write_bytes("grün".encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        recordings.read(Source(tmp_path))
    as_ljspeech(tmp_path / "lj")
    (tmp_path / "lj/metadata.csv").write_text("LJ0|one\nLJ1|\n")
    with pytest.raises(DataError, match="no transcript") as caught:
        recordings.read(Source(tmp_path / "lj"))
    assert caught.value.where == "metadata.csv:2"


def test_inputs_are_files_folders_tables_and_arrays(tmp_path: Path) -> None:
    table = as_table(tmp_path)
    (tmp_path / "none").mkdir()
    raws, where = recordings.gather([table, tmp_path / "clips", "alone.wav", np.zeros(5, np.int16)])
    assert len(raws) == 4 + 4 + 1 + 1
    assert where[0] == "all.csv:2"
    assert raws[8] == "alone.wav"
    with pytest.raises(DataError, match="no recording"):
        recordings.gather([tmp_path / "none"])


def test_tones_are_recordings_with_transcripts(tmp_path: Path) -> None:
    data = recordings.read(Source(speak_tones(tmp_path, 12)))
    assert len(data) == 12
    assert {answer.speaker for answer in data.answers} == {f"voice{number}" for number in range(6)}
