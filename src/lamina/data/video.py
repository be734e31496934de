"""Video: its frames are pictures. In goes a video file; out come its frames, one by one, and back again.

OpenCV reads and writes them; it is needed for nothing else, so it is an extra.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lamina.errors import DataError, OptionError

ENDINGS = frozenset((".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"))
"""File name endings of videos, in lower case."""


class Frame(NamedTuple):
    """One picture of a video."""

    file: str
    number: int
    """From 0."""

    def __str__(self) -> str:
        return f"{self.file}:{self.number}"


def is_video(file: str | Path) -> bool:
    """Whether a file is named like a video."""
    return Path(file).suffix.lower() in ENDINGS


def frames(file: str | Path) -> list[Frame]:
    """All frames of a video, in their order; they are counted, since headers often do not know.

    Raises:
        DataError: it cannot be read as a video.
        OptionError: OpenCV is not installed.
    """
    video = _opened(file)
    count = 0
    while video.grab():
        count += 1
    video.release()
    if not count:
        raise DataError("it holds no frame that can be read.", str(file), "Save it anew, as MP4 for instance.")
    return [Frame(str(file), number) for number in range(count)]


def rate(file: str | Path) -> float:
    """Frames per second; 25 where the file does not say."""
    import cv2

    video = _opened(file)
    known = float(video.get(cv2.CAP_PROP_FPS))
    video.release()
    return known if 1 <= known <= 1000 else 25.0


def read(wanted: Sequence[Frame]) -> Iterator[np.ndarray]:
    """The pixels of frames, (height, width, 3) uint8 each, red first. Those that follow one another are read in one go."""
    for file, group in groupby(wanted, key=lambda frame: frame.file):
        video, place = _opened(file), 0
        for frame in group:
            if frame.number < place:
                video.release()
                video, place = _opened(file), 0
            while place < frame.number and video.grab():  # jumping is inexact between the frames that are stored whole
                place += 1
            there, pixels = video.read()
            place += 1
            if not there:
                raise DataError("the frame cannot be read.", str(frame), "Save the video anew, as MP4 for instance.")
            yield np.ascontiguousarray(pixels[..., ::-1])
        video.release()


class Writer:
    """A video that is being written, frame by frame; its size is that of the first."""

    def __init__(self, file: Path, per_second: float) -> None:
        self.file, self.per_second = file, per_second
        self.video: Any = None

    def add(self, pixels: np.ndarray) -> None:
        """Append a frame, (height, width, 3) uint8. Raises OSError when the file cannot be written."""
        import cv2

        if self.video is None:
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self.video = cv2.VideoWriter(str(self.file), code, self.per_second, (pixels.shape[1], pixels.shape[0]))
            if not self.video.isOpened():
                raise OSError(5, "no video can be written there", str(self.file))
        self.video.write(np.ascontiguousarray(pixels[..., ::-1]))

    def close(self) -> None:
        """Finish the file."""
        if self.video is not None:
            self.video.release()


def _opened(file: str | Path) -> Any:
    """OpenCV's reader at the first frame."""
    try:
        import cv2
    except ImportError:
        raise OptionError(
            "videos are read by OpenCV, which is not installed.", str(file), "Install it: pip install 'lamina[video]'."
        ) from None
    if not Path(file).is_file():
        raise DataError("there is no such file.", str(file), "Check the spelling of the path.")
    video = cv2.VideoCapture(str(file))
    if not video.isOpened():
        raise DataError("it cannot be opened as a video.", str(file), "Save it anew, as MP4 for instance.")
    return video
