"""Subtitles: captions of two lines, broken at pauses, with times as SubRip has them."""

from pathlib import Path
from typing import Any

import pytest

from lamina.data import subtitles
from lamina.errors import OptionError


def said(text: str, start: float = 0.0, each: float = 0.3) -> list[dict[str, Any]]:
    return [
        {"word": word, "start": start + each * place, "end": start + each * (place + 0.9), "confidence": 1.0}
        for place, word in enumerate(text.split())
    ]


def test_times_and_numbers_are_those_of_subrip() -> None:
    words = said("hello there", 3661.5) + said("again", 3670.0)
    assert subtitles.subrip(words) == (
        "1\n01:01:01,500 --> 01:01:02,070\nhello there\n\n2\n01:01:10,000 --> 01:01:10,270\nagain\n\n"
    )
    assert subtitles.subrip([]) == ""


def test_captions_fit_on_two_lines_and_hold_every_word_once() -> None:
    words = said("a recogniser writes down everything that anybody says for a very long time " * 8, each=0.1)
    found = list(subtitles.captions(words))
    assert [word for caption in found for word in caption] == words
    for block in subtitles.subrip(words).strip().split("\n\n"):
        lines = block.splitlines()[2:]
        assert 1 <= len(lines) <= 2
        assert max(map(len, lines)) <= 42


def test_a_caption_does_not_stand_too_long_nor_across_a_pause() -> None:
    assert [len(caption) for caption in subtitles.captions(said("a b c d e f g h", each=1.0))] == [6, 2]
    assert [len(caption) for caption in subtitles.captions(said("a b") + said("c", 1.5))] == [2, 1]


def test_one_file_is_of_one_recording(tmp_path: Path) -> None:
    answer = {"input": "talk.wav", "prediction": "so it is", "words": said("so it is")}
    assert subtitles.one(iter([("talk.wav", answer)]), tmp_path / "a.srt") == (1, 0)
    assert "so it is" in (tmp_path / "a.srt").read_text()
    with pytest.raises(OptionError, match="several"):
        subtitles.one(iter([("a", answer), ("b", answer)]), tmp_path / "b.srt")


def test_a_folder_holds_subtitles_and_text_of_each(tmp_path: Path) -> None:
    answer = {"input": "x/talk.wav", "prediction": "so it is", "words": said("so it is")}
    answers = [("", answer), ("", answer | {"input": "y/talk.wav"}), ("", {"input": "z.wav", "error": "broken"})]
    assert subtitles.folder(iter(answers), tmp_path / "out") == (3, 1)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "talk-2.srt", "talk-2.txt", "talk.srt", "talk.txt",
    ]  # fmt: skip
    assert (tmp_path / "out/talk.txt").read_text() == "so it is\n"
