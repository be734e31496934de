"""The page of explanations: what in each input made its answer, drawn over pictures and as bars for columns."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.attribution import Explanation
from lamina.data.pictures import png
from lamina.report import words
from lamina.report.report import template

SIDE = 224
"""Pixels of a side at which pictures are drawn."""
FOR, AGAINST = (42, 98, 184), (196, 84, 20)
STRONGEST = 0.99
"""Quantile of the sizes of the shares that has the full colour; single pixels may lie above."""


def page(run: str, explanations: Sequence[Explanation]) -> str:
    """One self-contained HTML page."""
    return template("explanation.html.jinja").render(run=run, explanations=[_card(one) for one in explanations])


def _card(one: Explanation) -> dict[str, Any]:
    return {
        "where": one.where,
        "answer": words.number(one.answer["prediction"]),
        "about": one.about,
        "value": words.number(one.value),
        "reference": words.number(one.reference),
        "missing": words.number(one.missing),
        "random": words.number(one.random, 2),
        "doubtful": one.doubtful,
        "pictures": [] if one.picture is None else [_encoded(one.picture), _encoded(heat(one.picture, one.shares))],
        "bars": bars(one),
    }


def bars(one: Explanation) -> list[dict[str, Any]]:
    """The columns, the largest share first."""
    most = float(np.abs(one.shares).max()) or 1.0
    order = np.argsort(-np.abs(one.shares), kind="stable").tolist() if one.names else []
    return [
        {
            "name": one.names[place],
            "cell": one.cells[place],
            "share": words.number(float(one.shares[place])),
            "width": 100 * abs(float(one.shares[place])) / most,
            "side": "for" if one.shares[place] >= 0 else "against",
        }
        for place in order
    ]


def heat(picture: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """A pale grey copy of a picture, coloured where pixels spoke for or against the answer: (side, side, 3) uint8."""
    grey = 128 + 0.5 * picture.astype(np.float64).mean(2, keepdims=True)
    strength = np.clip(np.abs(shares) / (np.quantile(np.abs(shares), STRONGEST) or 1.0), 0, 1)[..., None]
    colour = np.where(shares[..., None] >= 0, np.array(FOR), np.array(AGAINST))
    return np.asarray((1 - strength) * grey + strength * colour).round().astype(np.uint8)


def _encoded(picture: np.ndarray) -> str:
    times = max(1, SIDE // len(picture))
    return base64.b64encode(png(picture.repeat(times, 0).repeat(times, 1))).decode()
