"""Boxes: what readers of annotations give in, Data come out; and the checks on boxes, once for all formats."""

import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lamina.data.data import Data
from lamina.data.decoding import ENDINGS, upright_size
from lamina.data.images import digests_of_files, relative_name
from lamina.data.parts import PART_NAMES, listed
from lamina.errors import DataError
from lamina.findings import Finding

LAYOUTS = (
    "Expected: a COCO file; Annotations/*.xml beside JPEGImages/ (Pascal VOC); data.yaml, or images/ beside labels/ (YOLO); "
    "or a table with a row per box."
)
ROUNDING = 2.0  # pixels by which boxes may leave an image without a word: annotations count from 0 or 1, and round


class Box(NamedTuple):
    """An object in an image, in pixels of the image as it is shown; right and bottom are where it ends."""

    label: str
    left: float
    top: float
    right: float
    bottom: float
    ignored: bool = False
    """Neither to be found nor to be missed: a crowd (COCO), or a difficult object (Pascal VOC)."""


@dataclass
class Annotated:
    """An image and what its annotation says of it."""

    image: str
    """Absolute path."""
    part: str
    """"train", "valid", "test", or "" where the source does not say."""
    boxes: list[tuple[Box, str]] = field(default_factory=list)
    """Each with its place, for messages: a file and a line or number."""
    size: tuple[int, int] | None = None
    """Width and height, where the annotation says them."""
    relative: bool = False
    """Whether the boxes are in shares of the image's width and height."""
    group: str | None = None
    """What it is split with; for a table of boxes, in the first row of the image."""
    time: Any = None
    """A number or a moment (datetime64) that it is split by, likewise."""


@dataclass(frozen=True)
class Found:
    """What a reader gives."""

    images: list[Annotated]
    notes: tuple[str, ...]
    """What was recognised and assumed."""
    findings: tuple[Finding, ...] = ()


def assemble(found: Found, root: Path) -> Data:
    """Check boxes against their images, leave out what cannot be used, and say so.

    Args:
        found: what a reader gave.
        root: the folder that messages name files in.

    Raises:
        DataError: no image is there, no box is left, or a part shows nothing, or a class that the training part lacks.
    """
    there = [one for one in found.images if os.path.isfile(one.image)]
    findings = [*found.findings, *_missing(found.images, there, root)]
    if not there:
        first = found.images[0].image if found.images else str(root)
        raise DataError("none of the images that the annotations name is there.", first, LAYOUTS)
    with ThreadPoolExecutor(8) as workers:
        sizes = list(workers.map(_size, (one.image for one in there)))
    checks = _Checks()
    answers = np.empty(len(there), dtype=object)
    for index, (one, size) in enumerate(zip(there, sizes, strict=True)):
        answers[index] = tuple(checks.sound(one, size, relative_name(one.image, root)))
    where = np.array([relative_name(one.image, root) for one in there], dtype=object)
    part = np.array([one.part for one in there]).astype("<U5")
    findings += checks.findings()
    findings += _background(answers, where)
    counts = Counter(box.label for boxes in answers for box in boxes)
    if not counts:
        wrong = [f"{finding.what} The first: {finding.where[0]}" for finding in checks.findings()]
        raise DataError("no box is left.", str(root), wrong[0] if wrong else "There is no box in any annotation.")
    _refuse_unmeasurable_parts(answers, part, root)
    named = listed([f"{name} ({count:,})" for name, count in counts.most_common()], 12)
    return Data(
        raws=np.array([one.image for one in there], dtype=object),
        answers=answers,
        where=where,
        part=part,
        digests=digests_of_files(np.array([one.image for one in there], dtype=object)),
        groups=np.array([one.group for one in there], dtype=object) if there[0].group is not None else None,
        times=np.array([one.time for one in there]) if there[0].time is not None else None,
        balanced=_rarest(answers),
        notes=(*found.notes, f"{len(there):,} images with {sum(counts.values()):,} boxes: {named}."),
        findings=tuple(findings),
    )


class _Checks:
    """What is wrong with boxes, kind by kind, as images go by."""

    def __init__(self) -> None:
        self.places: dict[str, list[str]] = {}
        self.boxes = 0

    def sound(self, one: Annotated, size: tuple[int, int] | None, where: str) -> Iterator[Box]:
        """The boxes of an image that can be learned from, cut at its edges."""
        width: float
        height: float
        if size is None:  # the image cannot be read: encoding will say so, and leave it out
            width, height = one.size or ((1, 1) if one.relative else (math.inf, math.inf))
        else:
            width, height = size
            if one.size is not None and one.size != size:
                turned = " (turned by its EXIF orientation)" if one.size == size[::-1] else ""
                self._note(
                    "box.size", f"{where}: {one.size[0]} x {one.size[1]} is said, it has {width} x {height}{turned}"
                )
        scale = np.array([width, height, width, height]) if one.relative else np.ones(4)
        seen: set[Box] = set()
        for box, place in one.boxes:
            self.boxes += 1
            left, top, right, bottom = np.round(np.array(box[1:5], dtype=float) * scale, 4).tolist()
            if not all(map(math.isfinite, (left, top, right, bottom))) or right <= left or bottom <= top:
                self._note("box.degenerate", f"{place}: {box.label} {_sides(box)}")
                continue
            if right <= 0 or bottom <= 0 or left >= width or top >= height:
                self._note("box.outside", f"{place}: {box.label} {_sides(box)} in {width} x {height}")
                continue
            if min(left, top, width - right, height - bottom) < -ROUNDING:
                self._note("box.clipped", f"{place}: {box.label} {_sides(box)} in {width} x {height}")
            whole = Box(box.label, max(left, 0), max(top, 0), min(right, width), min(bottom, height), box.ignored)
            if whole in seen:
                self._note("box.duplicate", f"{place}: {box.label} {_sides(box)}")
                continue
            seen.add(whole)
            yield whole

    def findings(self) -> Iterator[Finding]:
        """One for each kind of defect that was met."""
        for kind, (severity, what, remedy) in _DEFECTS.items():
            places = self.places.get(kind, [])
            if places:
                yield Finding(
                    kind,
                    severity,  # type: ignore[arg-type]
                    what.format(count=len(places)),
                    remedy,
                    where=tuple(places[:20]),
                    count=len(places),
                    evidence={"boxes": self.boxes, "wrong": len(places)},
                )

    def _note(self, kind: str, place: str) -> None:
        self.places.setdefault(kind, []).append(place)


_DEFECTS = {
    "box.degenerate": (
        "warning",
        "{count:,} boxes have no area, and were left out.",
        "Draw them again, or remove them.",
    ),
    "box.outside": (
        "warning",
        "{count:,} boxes lie outside of their image, and were left out.",
        "Correct or remove them.",
    ),
    "box.duplicate": (
        "warning",
        "{count:,} boxes are there twice in their image; one of each was kept.",
        "Remove the copies.",
    ),
    "box.clipped": (
        "note",
        "{count:,} boxes leave their image, and were cut at its edges.",
        "Check that they are in pixels of it.",
    ),
    "box.size": (
        "warning",
        "{count:,} images have another size than their annotation says, so their boxes may lie elsewhere.",
        "Annotate the images as they are now; where one was turned, annotate it upright.",
    ),
}


def _sides(box: Box) -> str:
    return "(" + ", ".join(f"{side:g}" for side in box[1:5]) + ")"


def _size(image: str) -> tuple[int, int] | None:
    try:
        return upright_size(image)
    except DataError:
        return None


def _missing(images: Sequence[Annotated], there: Sequence[Annotated], root: Path) -> Iterator[Finding]:
    known = {id(one) for one in there}
    gone = [relative_name(one.image, root) for one in images if id(one) not in known]
    if gone:
        yield Finding(
            "file.missing",
            "warning",
            f"{len(gone):,} of {len(images):,} annotated images are not there; they were left out.",
            "Put the files there, or remove their annotations.",
            where=tuple(gone[:20]),
            count=len(gone),
            evidence={"images": len(images), "missing": len(gone)},
        )


def _background(answers: np.ndarray, where: np.ndarray) -> Iterator[Finding]:
    empty = [str(where[index]) for index, boxes in enumerate(answers) if not boxes]
    if empty:
        yield Finding(
            "box.none",
            "note",
            f"{len(empty):,} of {len(answers):,} images have no box; they are kept as examples of background.",
            "Annotate them if there is something to be found in them.",
            where=tuple(empty[:20]),
            count=len(empty),
            evidence={"images": len(answers), "without": len(empty)},
        )


def _refuse_unmeasurable_parts(answers: np.ndarray, part: np.ndarray, root: Path) -> None:
    """Raise DataError where a network trained on one part would find nothing, or what it does not know, in another."""
    here = (part == "train") | (part == "")
    if not here.any():  # to be evaluated, by a network that was trained on something else
        return
    trained, counted = _labels(answers[here]), _labels(answers[here], counted=True)
    for name in ("valid", "test"):
        of_part = answers[part == name]
        strangers = sorted(_labels(of_part) - trained)
        if strangers:
            raise DataError(
                f'the {name} part has a class "{strangers[0]}" that the training part lacks.',
                str(root),
                f"Classes for training: {listed(sorted(trained))}. Spell them alike, or move those images.",
            )
        if len(of_part) and counted and not _labels(of_part, counted=True):
            raise DataError(
                f"the {name} part of {len(of_part):,} images has no box that counts, so nothing can be measured on it.",
                str(root),
                "Annotate it, or take that part away: one is carved from the training part then.",
            )


def _labels(answers: np.ndarray, counted: bool = False) -> set[str]:
    """The classes that some images show; without those of ignored boxes, where only what is ``counted`` is asked for."""
    return {box.label for boxes in answers for box in boxes if not (counted and box.ignored)}


def _rarest(answers: np.ndarray) -> np.ndarray:
    """(images,): of the classes that an image shows the one on fewest images, so that a split gives each part some of it; ""
    for background."""
    images = Counter(label for boxes in answers for label in {box.label for box in boxes})
    rarest = [min((box.label for box in boxes), key=lambda label: images[label], default="") for boxes in answers]
    return np.array(rarest, dtype=object)


# --- what readers share ---


def part_called(name: str) -> str:
    """The part that a file's or folder's name says: instances_train2017 is for training; "" where it says none."""
    words = re.split("[^a-z]+", name.lower())
    return next((PART_NAMES[word] for word in words if word in PART_NAMES), "")


def beginning(file: Path, count: int) -> bytes:
    """The first bytes of a file; none of one that cannot be read, which reading it will say."""
    try:
        with file.open("rb") as stream:
            return stream.read(count)
    except OSError:
        return b""


def bytes_of(file: Path) -> bytes:
    """A file's content. Raises DataError where it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"it cannot be read ({error.strerror}).", str(file), "Check the file.") from None


def text_of(file: Path) -> str:
    """A text file's content. Raises DataError where it is no UTF-8, naming the line."""
    content = bytes_of(file)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError("it is no UTF-8.", f"{file}:{line}", "Save it as UTF-8.") from None


def glance(folder: Path) -> list[Path]:
    """The files of a folder and of those below it, nearest first; of a large tree, a part of them that takes no time.

    Of each folder's images there are the first only, by name: they tell what the others are like.
    """
    files: list[Path] = []
    folders, entered, looked = [(folder, 0)], {os.path.realpath(folder)}, 0
    for here, depth in folders:  # grows while it is gone through
        try:
            with os.scandir(here) as entries:
                found = {entry.name: entry.is_dir() for entry in islice(entries, _ENTRIES - looked)}
        except OSError:
            continue
        looked += len(found)
        images = 0
        for name in sorted(name for name in found if name[0] != "."):
            if found[name]:
                real = os.path.realpath(here / name)
                if depth < _DEPTH and len(folders) < _FOLDERS and real not in entered:
                    entered.add(real)
                    folders.append((here / name, depth + 1))
                continue
            images += os.path.splitext(name)[1].lower() in ENDINGS
            if images <= _IMAGES or os.path.splitext(name)[1].lower() not in ENDINGS:
                files.append(here / name)
    return files


_DEPTH, _FOLDERS, _ENTRIES = 3, 100, 100_000  # how deep, how many folders, and how many entries in all are looked at
_IMAGES = 1000
