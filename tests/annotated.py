"""Annotated: small images for the tests of annotation formats."""

from pathlib import Path

import numpy as np
from PIL import Image


def picture(file: Path, width: int = 40, height: int = 30) -> Path:
    """Write an image; each has pixels of its own, so that none is a copy of another."""
    file.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(map(ord, str(file)))
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    return file
