"""Recordings that were found in, Data of those that can be trained with out; the others are findings."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from lamina.data import audio
from lamina.data.data import Data
from lamina.data.images import digests_of_files
from lamina.data.parts import listed, single_class
from lamina.data.remembered import key_of, recall, remember
from lamina.data.split import FEWEST
from lamina.errors import DataError
from lamina.findings import Finding

LAYOUT = "Give a table with columns of paths and transcripts, an LJSpeech folder, or a folder of a.wav beside a.txt."
LONGEST = 60.0  # seconds of a recording to train with
FASTEST = 30.0  # characters per second that anybody speaks
HEARD = 10 * 3600.0  # seconds of recordings whose loudness is looked at; of more, so many of them from all over
SILENT = 0.001  # of full scale: -60 dB
CLIPPED = 0.001  # share of the samples
MOST = 0.5  # share of the recordings that may be left out
SAME = 10  # recordings of each transcript from which on the transcripts are balanced in a split


@dataclass(frozen=True)
class Transcript:
    """What was said, and by whom, where that is known."""

    text: str
    speaker: str = ""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Found:
    """What a source holds, row by row."""

    paths: list[str]
    texts: list[str]
    speakers: list[str]
    where: list[str]
    part: list[str]
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    groups: np.ndarray | None = None
    times: np.ndarray | None = None


def checked(found: Found, name: str) -> Data:
    """Data of what can be used; findings about the rest."""
    if not found.paths:
        raise DataError("there is no recording with a transcript in it.", name, LAYOUT)
    paths, where = (np.array(column, dtype=object) for column in (found.paths, found.where))
    digests = digests_of_files(paths)
    looks = _looks(found.paths, digests)
    seconds = np.array([look.seconds for look in looks])
    good = np.array([not look.broken for look in looks])
    silent = good & (np.array([look.peak for look in looks]) < SILENT)
    clipped = np.array([look.clipped for look in looks]) > CLIPPED
    long, fast = good & (seconds > LONGEST), good & (np.array([len(text) for text in found.texts]) > FASTEST * seconds)
    kept = np.flatnonzero(good & ~silent & ~long & ~fast)
    broken = [f"{place}: {look.broken}" for place, look in zip(where, looks, strict=True) if look.broken]
    ill = {
        "recording.broken": ("cannot be read", np.array(broken, dtype=object), "Replace them."),
        "recording.silent": ("are silent: no sample is above -60 dB", where[silent], "Record them anew."),
        "recording.long": (f"last longer than {LONGEST:.0f} s", where[long], "Cut them at pauses."),
        "recording.fast": (
            f"have more than {FASTEST:.0f} characters per second", where[fast],
            "Compare them with their transcripts: one of the two is cut off, or they belong to others.",
        ),
    }  # fmt: skip
    findings = [*found.findings]
    for kind, (what, which, remedy) in ill.items():
        findings += illness(kind, f"{what}; they were left out", which, len(paths), remedy, MOST)
    if len(kept) < min(FEWEST, len(paths)):
        raise DataError(
            f"only {len(kept):,} of the {len(paths):,} recordings can be used.", broken[0] if broken else str(where[0]),
            "; ".join(f"{len(which):,} {what}" for what, which, _ in ill.values() if len(which)) + ".",
        )  # fmt: skip
    most = "are clipped: a thousandth of their samples, or more, is as large as can be"
    findings += illness(
        "recording.clipped", most, where[clipped & good], len(paths), "They are used; record with less gain next time."
    )
    answers = np.empty(len(kept), dtype=object)
    for place, row in enumerate(kept):
        answers[place] = Transcript(found.texts[row], found.speakers[row])
    texts = np.array(found.texts, dtype=object)[kept]
    findings += single_class(texts)
    few = len(set(texts)) * SAME <= len(texts)
    return Data(
        raws=paths[kept],
        answers=answers,
        where=where[kept],
        part=np.array(found.part, dtype="<U5")[kept],
        digests=digests[kept],
        groups=None if found.groups is None else found.groups[kept],
        times=None if found.times is None else found.times[kept],
        balanced=texts if few else np.full(len(kept), "", dtype=object),
        notes=(*found.notes, _amount([looks[row] for row in kept])),
        findings=tuple(findings),
    )


def illness(
    kind: str, what: str, where: Sequence[str] | np.ndarray, of: int, remedy: str, most: float = 1.0
) -> Iterator[Finding]:
    """The finding about some recordings, where there are any: their places, of how many, and the remedy; it stops the run
    where they are more than a share of ``most``."""
    if len(where):
        yield Finding(
            kind,
            "stop" if len(where) > most * of else "warning",
            f"{len(where):,} of {of:,} recordings {what}.",
            remedy,
            where=tuple(map(str, where[:20])),
            count=len(where),
            evidence={"recordings": of, "found": len(where)},
        )


@dataclass(frozen=True)
class _Look:
    """What a file was found to be."""

    broken: str = ""
    """Why it cannot be used."""
    rate: int = 0
    channels: int = 1
    seconds: float = 0.0
    peak: float = 1.0
    clipped: float = 0.0


def _amount(looks: list[_Look]) -> str:
    """How much there is, in a sentence."""
    rates, channels = sorted({look.rate for look in looks}), sorted({look.channels for look in looks})
    minutes = sum(look.seconds for look in looks) / 60
    mixed = "" if channels == [1] else f", {listed(channels)} channels, mixed to one"
    return f"Recordings: {len(looks):,}, {minutes:,.1f} minutes, at {listed(rates)} samples per second{mixed}."


def _looks(paths: Sequence[str], digests: np.ndarray) -> list[_Look]:
    """What each file is found to be; remembered, since all of them have to be decoded."""
    key = key_of(list(paths), [str(digest) for digest in digests])
    known = recall("recordings", key)
    looks = [_Look("not looked at yet")] * len(paths) if known is None else [_Look(**look) for look in known["looks"]]
    new = [row for row, look in enumerate(looks) if look.broken]  # what could not be read may be by now
    before = list(looks)
    with ThreadPoolExecutor(4) as workers:
        for row, look in zip(new, workers.map(_header, (paths[row] for row in new)), strict=True):
            looks[row] = look
        every = max(1, math.ceil(sum(look.seconds for look in looks) / HEARD))
        chosen = [row for row in new if row % every == 0 and not looks[row].broken]
        for row, heard in zip(chosen, workers.map(_heard, (paths[row] for row in chosen)), strict=True):
            looks[row] = replace(looks[row], **heard)
    if looks != before:
        remember("recordings", key, {"looks": [asdict(look) for look in looks]})
    return looks


def _header(path: str) -> _Look:
    try:
        told = audio.header(path)
    except DataError as error:
        return _Look(error.what)
    return _Look("" if told.samples else "it has no samples", told.rate, told.channels, told.seconds)


def _heard(path: str) -> dict[str, Any]:
    try:
        return asdict(audio.level(path))
    except DataError as error:
        return {"broken": error.what}
