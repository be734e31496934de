"""Shapes drawn: a small data set for detection, made by a program: discs, squares and triangles, with COCO annotations."""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

CLASSES = ("disc", "square", "triangle")


def draw_shapes(folder: Path, count: int, side: int) -> Path:
    """Write images with up to four shapes each, of many colours and sizes, on noise; some show none.

    Args:
        folder: where ``images/`` and ``annotations.json`` go.
        count: how many images.
        side: of each image, in pixels.

    Returns:
        The folder.
    """
    generator = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    shown: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number in range(count):
        ground = generator.integers(0, 90, 3) + generator.integers(0, 40, (side, side, 3))
        image = Image.fromarray(ground.astype(np.uint8))
        canvas = ImageDraw.Draw(image)
        taken: list[tuple[int, int, int, int]] = []
        for _ in range(generator.integers(0, 5)):
            size = int(generator.integers(side // 6, side // 2))
            left, top = (int(place) for place in generator.integers(0, side - size, 2))
            box = (left, top, left + size, top + size)
            if any(left < other[2] and other[0] < box[2] and top < other[3] and other[1] < box[3] for other in taken):
                continue
            kind = int(generator.integers(len(CLASSES)))
            colour = tuple(int(value) for value in generator.integers(120, 256, 3))
            last = (box[2] - 1, box[3] - 1)
            if kind == 0:
                canvas.ellipse((left, top, *last), fill=colour)
            elif kind == 1:
                canvas.rectangle((left, top, *last), fill=colour)
            else:
                canvas.polygon([(left, last[1]), (last[0], last[1]), ((left + last[0]) // 2, top)], fill=colour)
            taken.append(box)
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": kind + 1, "iscrowd": 0,
                 "bbox": [left, top, size, size], "area": size * size}
            )  # fmt: skip
        name = f"{number:04d}.png"
        image.save(folder / "images" / name)
        shown.append({"id": number, "file_name": name, "width": side, "height": side})
    categories = [{"id": kind + 1, "name": name} for kind, name in enumerate(CLASSES)]
    content = {"images": shown, "categories": categories, "annotations": annotations}
    (folder / "annotations.json").write_text(json.dumps(content), encoding="utf-8")
    return folder
