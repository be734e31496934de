"""Pictures going in and out: which sources hold images, which files a prediction is asked for, and pixels as PNG."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from lamina.data import idx, images, video
from lamina.data.building import encode_each
from lamina.data.data import Arrays, Data, Raws, Source
from lamina.data.pixels import pictures_of
from lamina.data.rows import LOOKED_AT
from lamina.data.table_files import is_table, read_table
from lamina.data.tables import path_column
from lamina.errors import DataError

GREY_MODES = frozenset(("1", "L", "LA", "I", "I;16", "I;16B", "F"))
"""Pillow's modes that hold no colour."""
SMALLEST = 8  # pixels of a side that is chosen without being asked for


def recognised(source: Source) -> str | None:
    """Why a source holds images with classes, or None; looks at names, and at the first rows of a table."""
    if source.path is None:
        pair = isinstance(source.where, tuple | list) and len(source.where) == 2
        shape = _shape(source.where[0] if pair else source.where)
        return f"the array of shape {shape} holds pixels" if len(shape) in (3, 4) else None
    if idx.is_idx(source.path):
        return "the folder holds IDX files of images and labels"
    if source.path.is_dir():
        count = sum(1 for file in source.path.rglob("*") if file.suffix.lower() in images.ENDINGS)
        return f"the folder holds {count:,} image files" if count else None
    if source.path.suffix.lower() in images.ENDINGS or not is_table(source.path):
        return None
    column = path_column(read_table(source, LOOKED_AT), images.ENDINGS)
    return None if column is None else f'the column "{column}" holds paths of images'


def gather(inputs: Sequence[Any], films: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Image files, folders of them (all below, in alphabetical order), and arrays of pixels, in the order given.

    Args:
        inputs: what is to be answered.
        films: whether videos are taken, too, as their frames.

    Returns:
        The raws (paths or pixels), and for each of them where it came from. A file that is missing is kept: decoding says so.

    Raises:
        DataError: there is nothing at all, or an array is none of pictures.
    """
    raws: list[Any] = []
    where: list[str] = []
    arrays = 0
    for item in inputs:
        if isinstance(item, np.ndarray):
            shown = list(pictures_of(item))
            raws += shown
            where += [f"image {arrays + index}" for index in range(len(shown))]
            arrays += len(shown)
            continue
        found: list[Any] = [str(Path(item))]
        if films and video.is_video(item):
            found = video.frames(item)
        elif Path(item).is_dir():
            below = (Path(folder) / name for folder, _, names in os.walk(item) for name in names)
            found = sorted(str(file) for file in below if file.suffix.lower() in images.ENDINGS)
        raws += found
        where += map(str, found)
    if not raws:
        raise DataError(
            "there is no image in it.", ", ".join(map(str, inputs)), "Name image files, or folders of them."
        )
    column = np.empty(len(raws), dtype=object)
    for place, raw in enumerate(raws):
        column[place] = raw
    return column, np.array(where, dtype=object)


def decoded(raws: Raws, side: int, channels: int) -> Arrays:
    """``image``: (examples, side, side, channels) uint8. Raises DataError when one of them cannot be read."""
    return {"image": np.stack([images.decode(raw, side, channels) for raw in cast(np.ndarray, raws)])}


def looked_at(data: Data, rows: np.ndarray, side: int | None, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """Some pictures as a network will see them: grey where none has colour, in squares of the median short side.

    Args:
        data: its raws are pictures.
        rows: which of them are looked at.
        side: of the squares, where it was asked for.
        largest: that is chosen otherwise; ``SMALLEST`` at least.

    Returns:
        (pictures, side, side, channels) uint8, and the rows of those that could be read. Raises DataError where none could.
    """
    survey = images.survey(cast(np.ndarray, data.raws), len(rows))
    if survey:
        middle = int(np.median([min(width, height) for width, height, _ in survey]))
        chosen = side or min(largest, max(SMALLEST, middle))
        channels = 1 if all(mode in GREY_MODES for _, _, mode in survey) else 3
        arrays, good, _ = encode_each(data.raws[rows], lambda raws: decoded(raws, chosen, channels))
        if arrays is not None:
            return arrays["image"], rows[good]
    raise DataError("none of its images can be read.", str(data.where[0]), "Check the files.")


def mean_and_deviation(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per channel, the mean and the standard deviation of (images, height, width, channels) uint8, by counting values."""
    values = np.arange(256)
    counts = np.stack([np.bincount(pixels[..., c].ravel(), minlength=256) for c in range(pixels.shape[3])])
    mean = counts @ values / counts.sum(1)
    return mean, np.sqrt((counts * (values - mean[:, None]) ** 2).sum(1) / counts.sum(1))


def pixel_facts(pixels: np.ndarray) -> dict[str, Any]:
    """What a network must know of (images, height, width, channels) uint8: ``channels``, ``mean`` and ``deviation``."""
    mean, deviation = mean_and_deviation(pixels)
    return {
        "channels": pixels.shape[3],
        "mean": mean.round(3).tolist(),
        "deviation": np.maximum(deviation, 1.0).round(3).tolist(),
    }


def png(pixels: np.ndarray) -> bytes:
    """(height, width, 1 or 3) uint8 as the bytes of a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(stream, "PNG")
    return stream.getvalue()


def sheet(pixels: np.ndarray, columns: int = 8, cell: int = 96) -> bytes:
    """(pictures, height, width, channels) uint8 side by side, in rows of ``columns``, of fewer where pictures are wide, as the
    bytes of a PNG file; small ones are enlarged to ``cell`` pixels."""
    factor = max(1, cell // pixels.shape[1])
    pixels = pixels.repeat(factor, 1).repeat(factor, 2)
    count, height, width, channels = pixels.shape
    columns, gap = max(1, columns * height // max(height, width)), 4
    rows = -(-count // columns)
    page = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels + 1), 0, dtype=np.uint8)
    for index, picture in enumerate(pixels):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        page[top : top + height, left : left + width, :-1] = picture
        page[top : top + height, left : left + width, -1] = 255  # the gaps stay transparent
    stream = io.BytesIO()
    Image.fromarray(page, "LA" if channels == 1 else "RGBA").save(stream, "PNG")
    return stream.getvalue()


def write_digits(path: Path) -> Source:
    """The 1,797 handwritten digits that scikit-learn ships (Alpaydin & Kaynak 1998), as PNG files in class folders."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for index, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        file = path / "digits" / str(label) / f"{index:04d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png((pixels[:, :, None] * (255 / 16)).round().astype(np.uint8)))
    return Source(path / "digits")


def _shape(given: Any) -> tuple[int, ...]:
    """The shape of what holds numbers; of a frame, or of rows of different lengths, none."""
    try:
        return () if hasattr(given, "columns") else np.shape(given)
    except ValueError:
        return ()
