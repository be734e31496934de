"""Subtitles: words with times in, SubRip captions out, as players of films and editors read them.

A caption holds what fits on two lines and is said without a pause.
"""

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lamina.data.parts import free_name
from lamina.errors import OptionError

LINE = 42  # characters of a line
LINES = 2
LONGEST = 6.0  # seconds that a caption stands, if its words go on
PAUSE = 0.8  # seconds between words after which a new one begins
Answered = Iterator[tuple[Any, dict[str, Any]]]
"""Recordings and their answers, ``{"input", "prediction", "words"}`` or ``{"input", "error"}``."""


def one(answered: Answered, out: Path) -> tuple[int, int]:
    """Write the captions of a single recording.

    Returns:
        How many answers there were, and how many of them were errors.

    Raises:
        OptionError: there are several.
    """
    failed = 0
    for number, (_, answer) in enumerate(answered):
        if number:
            raise OptionError(
                "these are several recordings, and a file of subtitles is of one.",
                str(out),
                "Name a folder with --out.",
            )
        failed += "error" in answer
        out.write_text(subrip(answer.get("words", [])), encoding="utf-8")
    return 1, failed


def folder(answered: Answered, out: Path) -> tuple[int, int]:
    """Write NAME.srt and NAME.txt for each recording into a new folder; likewise."""
    out.mkdir(parents=True)
    done = failed = 0
    taken: set[str] = set()
    for _, answer in answered:
        done += 1
        if "error" in answer:
            failed += 1
            continue
        name = free_name(f"{Path(answer['input']).stem.replace(':', '-')}.srt", taken)
        (out / name).write_text(subrip(answer["words"]), encoding="utf-8")
        (out / name).with_suffix(".txt").write_text(answer["prediction"] + "\n", encoding="utf-8")
    return done, failed


def subrip(words: Sequence[dict[str, Any]]) -> str:
    """Captions as SubRip has them: a number, the times, the lines, an empty line."""
    written = []
    for number, caption in enumerate(captions(words), 1):
        text = "\n".join(textwrap.wrap(" ".join(word["word"] for word in caption), LINE))
        written.append(f"{number}\n{_clock(caption[0]['start'])} --> {_clock(caption[-1]['end'])}\n{text}\n\n")
    return "".join(written)


def captions(words: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The words of each caption."""
    caption: list[dict[str, Any]] = []
    for word in words:
        text = " ".join(each["word"] for each in [*caption, word])
        if caption and (
            len(textwrap.wrap(text, LINE)) > LINES
            or word["end"] - caption[0]["start"] > LONGEST
            or word["start"] - caption[-1]["end"] > PAUSE
        ):
            yield caption
            caption = []
        caption.append(word)
    if caption:
        yield caption


def _clock(seconds: float) -> str:
    """01:02:03,450"""
    thousandths = round(seconds * 1000)
    hours, rest = divmod(thousandths, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02},{rest % 1000:03}"
