"""Making pictures: what one is made from, and how made ones are written and shown."""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lamina.data.data import Arrays
from lamina.data.pictures import png, sheet
from lamina.layers.differentiable import COLUMNS, PENALTY


def beside(image: np.ndarray, counts: Sequence[int], noise: int, penalised: float) -> Arrays:
    """From what the picture beside each of these is made: it follows from their pixels, so it is always the same.

    Args:
        image: (examples, side, side, channels) uint8.
        counts: of each class in the training part; empty without classes.
        noise: numbers of a picture.
        penalised: share of the examples on which gradients are penalised.

    Returns:
        ``noise`` (examples, noise) float32; ``wanted`` (examples,) int64, drawn as the classes come; ``variation``.
    """
    numbers = np.empty((len(image), noise), dtype=np.float32)
    wanted = np.zeros(len(image), dtype=np.int64)
    variation = np.zeros((len(image), COLUMNS), dtype=np.float32)
    shares = np.cumsum(counts) / max(1, sum(counts))
    for index, pixels in enumerate(image):
        digest = hashlib.blake2b(np.ascontiguousarray(pixels).tobytes(), digest_size=16).digest()
        generator = np.random.default_rng(int.from_bytes(digest, "little"))
        numbers[index] = generator.standard_normal(noise)
        if len(shares):
            drawn = int(np.searchsorted(shares, generator.random(), side="right"))
            wanted[index] = min(len(shares) - 1, drawn)
        variation[index, PENALTY] = (generator.random() < penalised) / penalised
    return {"noise": numbers, "wanted": wanted, "variation": variation}


def noises(seed: int, first: int, count: int, size: int, between: int = 0) -> np.ndarray:
    """(count, size) float32: the numbers that pictures are made from, one by one, from the picture ``first`` on.

    A picture has a generator of its own, of the seed and its number: how many there are changes none. With ``between`` so many
    pictures stand between two that are drawn, on the arc from one to the other (White 2016, arXiv:1609.04468).
    """
    step = between + 1

    def key(number: int) -> np.ndarray:
        return np.random.default_rng([seed % 2**64, number]).standard_normal(size)

    made = np.empty((count, size), dtype=np.float32)
    for index in range(count):
        number, past = divmod(first + index, step)
        made[index] = key(number) if past == 0 else arc(key(number), key(number + 1), past / step)
    return made


def arc(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """What lies this share of the way from a vector to another, turning evenly, and its length changing evenly."""
    lengths = float(np.linalg.norm(one)), float(np.linalg.norm(other))
    angle = float(np.arccos(np.clip(one @ other / (lengths[0] * lengths[1]), -1.0, 1.0)))
    if angle < 1e-6:
        return one
    turned = np.sin((1 - share) * angle) * one / lengths[0] + np.sin(share * angle) * other / lengths[1]
    found: np.ndarray = turned / np.sin(angle) * ((1 - share) * lengths[0] + share * lengths[1])
    return found


def shown(images: np.ndarray, columns: int = 8, cell: int = 48) -> dict[str, Any]:
    """(pictures, side, side, channels) uint8 side by side, as what a person looks at."""
    return {"picture": base64.b64encode(sheet(images, columns, cell)).decode()}


def write_files(pictures: Iterable[tuple[np.ndarray, str]], folder: Path) -> int:
    """Write pictures with their classes as PNG files into a folder, CLASS/00001.png, or 00001.png without classes; how many.

    Args:
        pictures: (side, side, channels) uint8, and the class of each, "" without. What cannot be part of a folder's name is
            left out of it, and two classes that are alike then share a folder.
        folder: is made where it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: Counter[Path] = Counter()
    for pixels, name in pictures:
        inside = folder / re.sub(r"[/\\\0]|^\.+$", "_", name) if name else folder
        written[inside] += 1
        inside.mkdir(exist_ok=True)
        (inside / f"{written[inside]:05d}.png").write_bytes(png(pixels))
    return written.total()
