"""The images that the benchmarks train on: taken from the user's folder, or made.

Both come as ``train/CLASS/*.jpg``, ``valid/...`` and ``test/...``, so that every peer trains on the very same files.
"""

import random
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("amber", "blue", "green", "red", "violet")
TINTS = ((230, 170, 60), (60, 90, 220), (70, 180, 80), (210, 60, 50), (140, 70, 200))
ASIDE = 60  # images for validation, and as many for the test


def take(source: Path, folder: Path, images: int) -> None:
    """Copy ``images`` training images of ``source/train/CLASS``, as many of each class, and some of ``source/test``."""
    chooser = random.Random(0)
    classes = sorted(path.name for path in (source / "train").iterdir() if path.is_dir())
    for name, count in zip(classes, shares(images, len(classes)), strict=True):
        known = sorted((source / "train" / name).glob("*.jpg"))
        unseen = sorted((source / "test" / name).glob("*.jpg"))
        chooser.shuffle(known)
        chooser.shuffle(unseen)
        aside = ASIDE // len(classes)
        parts = {"train": known[:count], "valid": unseen[:aside], "test": unseen[aside : 2 * aside]}
        for part, files in parts.items():
            (folder / part / name).mkdir(parents=True)
            for file in files:
                shutil.copy(file, folder / part / name)


def make(folder: Path, images: int, width: int, height: int) -> None:
    """Write pictures of clouds, tinted by their class: smooth shapes with a grain, so that the files are as large as photos."""
    generator = np.random.default_rng(0)
    for part, total in (("train", images), ("valid", ASIDE), ("test", ASIDE)):
        for name, tint, count in zip(CLASSES, TINTS, shares(total, len(CLASSES)), strict=True):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = clouds(generator, width, height, tint)
                Image.fromarray(pixels).save(folder / part / name / f"{number}.jpg", quality=90)


def shares(total: int, classes: int) -> list[int]:
    """How many of each class, so that together they are ``total``."""
    return [total // classes + (number < total % classes) for number in range(classes)]


def clouds(generator: np.random.Generator, width: int, height: int, tint: tuple[int, int, int]) -> np.ndarray:
    """(height, width, 3) uint8: noise at several scales around a tint."""
    sky = np.full((height, width, 3), tint, dtype=np.float32)
    for cells, strength in ((4, 60), (16, 30), (64, 15)):
        noise = generator.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        grown = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
        sky += (np.asarray(grown, dtype=np.float32) - 128) * (strength / 64)
    sky += generator.integers(-8, 9, (height, width, 1), dtype=np.int8)
    return np.clip(sky, 0, 255).astype(np.uint8)
