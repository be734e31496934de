"""Box writing: the boxes that were found, in forms that other programs read or people look at.

In go examples and their answers, ``{"input", "prediction": [{"class", "score", "box"}, ...]}`` or ``{"input", "error"}``; out
come COCO annotations, or pictures and videos with the boxes drawn on them.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from lamina.data import drawing, images, pictures, video
from lamina.data.parts import free_name
from lamina.errors import DataError

Answered = Iterator[tuple[Any, dict[str, Any]]]
"""Examples (paths, pixels or frames of a video) and their answers."""


def coco(answered: Answered, out: Path) -> tuple[int, int]:
    """Write the images, categories and annotations of COCO's format, each annotation with its score.

    Returns:
        How many answers there were, and how many of them were errors.
    """
    shown: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    categories: dict[str, int] = {}
    failed = 0
    for raw, answer in answered:
        failed += "error" in answer
        entry: dict[str, Any] = {"id": len(shown) + 1, "file_name": answer["input"]}
        if isinstance(raw, str):
            with suppress(DataError):  # its answer says what is wrong with it
                entry["width"], entry["height"] = images.upright_size(raw)
        elif isinstance(raw, np.ndarray):
            entry["height"], entry["width"] = raw.shape[:2]
        shown.append(entry)
        for one in answer.get("prediction", []):
            left, top, right, bottom = one["box"]
            annotations.append({
                "id": len(annotations) + 1, "image_id": entry["id"], "score": one["score"], "iscrowd": 0,
                "category_id": categories.setdefault(one["class"], len(categories) + 1),
                "bbox": [left, top, round(right - left, 1), round(bottom - top, 1)],
                "area": round((right - left) * (bottom - top), 1),
            })  # fmt: skip
    named = [{"id": number, "name": name} for name, number in categories.items()]
    out.write_text(json.dumps({"images": shown, "categories": named, "annotations": annotations}), encoding="utf-8")
    return len(shown), failed


def annotated(answered: Answered, out: Path) -> tuple[int, int]:
    """Write each image as a PNG and each video as an MP4, in its full size, with the boxes drawn on it, into a new folder.

    Returns:
        How many answers there were, and how many of them were errors.
    """
    out.mkdir(parents=True)
    done = failed = 0
    taken: set[str] = set()
    for file, group in groupby(answered, key=lambda one: one[0].file if isinstance(one[0], video.Frame) else None):
        if file is not None:
            frames = list(group)  # the answers alone are small
            good = [one for one in frames if "error" not in one[1]]
            done, failed = done + len(frames), failed + len(frames) - len(good)
            _film(good, out / free_name(f"{Path(file).stem}.mp4", taken))
            continue
        for raw, answer in group:
            done += 1
            failed += "error" in answer
            if "error" not in answer:
                name = free_name(f"{Path(answer['input']).stem}.png", taken)
                (out / name).write_bytes(pictures.png(drawn(images.upright(raw), answer)))
    return done, failed


def drawn(pixels: np.ndarray, answer: dict[str, Any]) -> np.ndarray:
    """A picture, (height, width, channels) uint8, with the boxes of its answer on it."""
    boxes = [drawing.Drawn(one["box"], f"{one['class']} {one['score']:.2f}", "answer") for one in answer["prediction"]]
    return drawing.draw(pixels, boxes)


def _film(answered: list[tuple[video.Frame, dict[str, Any]]], out: Path) -> None:
    """The frames of one video, with their boxes."""
    if not answered:
        return
    writer = video.Writer(out, video.rate(answered[0][0].file))
    pictured = video.read([frame for frame, _ in answered])
    for pixels, (_, answer) in zip(pictured, answered, strict=True):
        writer.add(drawn(pixels, answer))
    writer.close()
