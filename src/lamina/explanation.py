"""The page of explanations: what in each input made its answer, drawn over pictures, sounds and texts, and as bars."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamina.attribution.explain import Explained, Explanation
from lamina.data.pictures import png
from lamina.report import words
from lamina.report.gallery import picture as shown_picture
from lamina.report.report import template

SIDE = 224
"""Pixels of a side at which pictures are drawn."""
FOR, AGAINST = (42, 98, 184), (196, 84, 20)
STRONGEST = 0.99
"""Quantile of the sizes of the shares that has the full colour; single pixels may lie above."""
STRETCHES = 8
"""Into which a sound is cut, to say when."""
PLACES = (("upper left", "top", "upper right"), ("left", "middle", "right"), ("lower left", "bottom", "lower right"))

Part = tuple[str, str, float]
"""Its name, what stands there, and its share."""


def page(run: str, found: Explained) -> str:
    """One self-contained HTML page."""
    return template("explanation.html.jinja").render(
        run=run,
        explanations=[_card(one) for one in found.explanations],
        findings=found.findings(),
        errors=found.errors,
        left_out=found.left_out,
    )


def _card(one: Explanation) -> dict[str, Any]:
    difference = one.value - one.reference
    return {
        "where": one.where,
        "answer": answer_of(one),
        "about": one.about,
        "value": words.number(one.value),
        "reference": words.number(one.reference),
        "against": one.against,
        "difference": words.number(difference),
        "missing": words.number(round(one.missing, 4)),
        "random": words.number(one.random, 2),
        "doubtful": one.doubtful,
        "kind": one.kind,
        "shown": shown_picture(one.shown["picture"]) if "picture" in one.shown else None,
        "heat": None if one.picture is None else _encoded(heat(one.picture, _upright(one))),
        "tokens": _tokens(one),
        "bars": bars(one),
    }


def answer_of(one: Explanation) -> str:
    """The answer in one line."""
    said = one.answer["prediction"]
    if isinstance(said, list):
        return ", ".join(f"{box['class']} {box['score']:.2f}" for box in said) or "nothing above the threshold"
    return one.headline or words.number(said)


def parts(one: Explanation) -> list[Part]:
    """What is said in words, in its own order: columns, tokens, the ninths of a picture, stretches of a sound."""
    if one.kind == "columns":
        return list(zip(one.names, one.cells, one.shares.tolist(), strict=True))
    if one.kind == "tokens":
        count = len(one.names)
        return [(repr(name), f"{count - place} before", share) for place, (name, share) in enumerate(_named(one))]
    if one.kind == "picture":
        rows = np.array_split(one.shares, 3)
        return [
            (PLACES[down][across], "", float(cell.sum()))
            for down, row in enumerate(rows)
            for across, cell in enumerate(np.array_split(row, 3, axis=1))
        ]
    if one.kind == "sound":
        frames = np.array_split(np.arange(len(one.shares)), min(STRETCHES, len(one.shares)))
        return [_stretch(one, some) for some in frames]
    return [(f"number {place + 1}", "", share) for place, share in enumerate(one.shares.tolist())]


def bars(one: Explanation) -> list[dict[str, Any]]:
    """The parts with the lengths of their bars: the largest share first, but sounds in their order."""
    found = parts(one)
    most = max((abs(share) for _, _, share in found), default=0.0) or 1.0
    if one.kind != "sound":
        found.sort(key=lambda part: -abs(part[2]))
    return [
        {
            "name": name,
            "cell": cell,
            "share": words.number(share),
            "width": 100 * abs(share) / most,
            "side": "for" if share >= 0 else "against",
        }
        for name, cell, share in found
    ]


def heat(picture: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """A pale grey copy of a picture, coloured where places spoke for or against the answer: (height, width, 3) uint8."""
    grey = 128 + 0.5 * picture.astype(np.float64).mean(2, keepdims=True)
    strength = np.clip(np.abs(shares) / (np.quantile(np.abs(shares), STRONGEST) or 1.0), 0, 1)[..., None]
    colour = np.where(shares[..., None] >= 0, np.array(FOR), np.array(AGAINST))
    return np.asarray((1 - strength) * grey + strength * colour).round().astype(np.uint8)


def _upright(one: Explanation) -> np.ndarray:
    """The shares as the picture lies: of a sound, time goes to the right and low tones are below."""
    return one.shares.T[::-1] if one.kind == "sound" else one.shares


def _stretch(one: Explanation, frames: np.ndarray) -> Part:
    """Some frames of a sound, in seconds as the network hears them."""
    begin, end = frames[0] * one.seconds, (frames[-1] + 1) * one.seconds
    return f"{begin:.2f} to {end:.2f} s", _tones(one.shares[frames]), float(one.shares[frames].sum())


def _tones(shares: np.ndarray) -> str:
    """In which third of the mel scale most of some frames' shares lie."""
    thirds = [float(np.abs(some).sum()) for some in np.array_split(shares, 3, axis=1)]
    return f"mostly {('low', 'middle', 'high')[int(np.argmax(thirds))]} tones"


def _named(one: Explanation) -> Sequence[tuple[str, float]]:
    return list(zip(one.names, one.shares.tolist(), strict=True))


def _tokens(one: Explanation) -> list[dict[str, Any]]:
    """The text as it was read, each token with the depth of its colour."""
    if one.kind != "tokens":
        return []
    most = float(np.abs(one.shares).max()) or 1.0
    return [
        {
            "text": name if name.strip("\n") else "¶",
            "depth": f"{0.65 * abs(share) / most:.2f}",
            "side": "right" if share >= 0 else "wrong",
            "share": words.number(share),
        }
        for name, share in _named(one)
    ]


def _encoded(picture: np.ndarray) -> dict[str, Any] | None:
    times = max(1, SIDE // max(picture.shape[:2]))
    return shown_picture(base64.b64encode(png(picture.repeat(times, 0).repeat(times, 1))).decode())
