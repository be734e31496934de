"""Drawing: boxes on a picture, for people."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Kind = Literal["answer", "right", "alarm", "missed"]
COLOURS: dict[Kind, tuple[int, int, int]] = {  # told apart by colour-blind eyes, too (Okabe & Ito 2008)
    "answer": (0, 158, 115),
    "right": (0, 158, 115),
    "alarm": (213, 94, 0),
    "missed": (86, 180, 233),
}
LARGEST = 400  # pixels of the long side of a picture on a page


class Drawn(NamedTuple):
    """A box to draw, with what is written at it."""

    box: Sequence[float]
    """Left, top, right, bottom, in pixels of the picture."""
    text: str
    kind: Kind


def draw(pixels: np.ndarray, boxes: Sequence[Drawn]) -> np.ndarray:
    """(height, width, 1 or 3) uint8 with boxes on it, (height, width, 3); what was missed has dashed sides."""
    image = Image.fromarray(pixels.repeat(3, 2) if pixels.shape[2] == 1 else pixels)
    canvas = ImageDraw.Draw(image)
    thick = max(1, round(max(image.size) / 320))
    height = max(10, round(max(image.size) / 40))  # of letters
    font = ImageFont.load_default(height)
    for box, text, kind in sorted(boxes, key=lambda one: one.kind != "missed"):
        left, top, right, bottom = (float(side) for side in box)
        if kind == "missed":
            _dashed(canvas, (left, top, right, bottom), COLOURS[kind], thick)
        else:
            canvas.rectangle((left, top, max(left, right), max(top, bottom)), outline=COLOURS[kind], width=thick)
        if text:
            above = top > height + thick
            place, anchor = ((left, top - 1), "lb") if above else ((left, top + thick), "lt")
            canvas.rectangle(canvas.textbbox(place, text, font=font, anchor=anchor), fill=COLOURS[kind])
            canvas.text(place, text, fill=(255, 255, 255), font=font, anchor=anchor)
    return np.asarray(image)


def _dashed(
    canvas: ImageDraw.ImageDraw, box: tuple[float, float, float, float], colour: tuple[int, int, int], thick: int
) -> None:
    """The sides of a box, half of each drawn."""
    left, top, right, bottom = box
    dash = 4.0 * thick
    for start, end in (((left, top), (right, top)), ((left, bottom), (right, bottom)),
                       ((left, top), (left, bottom)), ((right, top), (right, bottom))):  # fmt: skip
        length = max(end[0] - start[0], end[1] - start[1], 1e-6)
        for begin in np.arange(0, length, 2 * dash):
            stop = min(begin + dash, length)
            points = [
                tuple(start[axis] + (end[axis] - start[axis]) * share / length for axis in (0, 1))
                for share in (begin, stop)
            ]
            canvas.line([(float(x), float(y)) for x, y in points], fill=colour, width=thick)
