"""Exhibits and pictures: stored exhibits in, plain values for the page out; drawn by kind, whatever the task was."""

import base64
import binascii
import struct
from typing import Any

import numpy as np

from lamina.report import charts, words
from lamina.report.material import Json, Material

MOST_CLASSES = 30
"""A larger matrix is a picture and a table of its largest entries off the diagonal."""
MOST_ENTRIES = 15
MOST_SAMPLES = 6  # epochs


def exhibits(material: Material) -> list[Json]:
    """What the network made up epoch by epoch, and each exhibit of the test part's evaluation; a kind that this page cannot
    draw is named."""
    return _samples(material) + _drawn(material.test.get("exhibits") or [], "exhibit")


def audited(material: Material) -> list[Json]:
    """What the audit's findings point at."""
    return _drawn(material.audit.get("exhibits") or [], "audit")


def _drawn(stored: list[Json], name: str) -> list[Json]:
    drawn = []
    for place, exhibit in enumerate(stored):
        kind = exhibit.get("kind")
        shared = {"kind": kind, "title": exhibit.get("title", ""), "explanation": exhibit.get("explanation", "")}
        if kind == "matrix":
            drawn.append({**shared, **_matrix(exhibit)})
        elif kind == "scatter":
            drawn.append({**shared, **_scatter(exhibit, f"{name}{place}")})
        elif kind == "rows":
            columns = [words.title(str(column)) for column in exhibit["columns"]]
            rows = [[_cell(cell) for cell in row] for row in exhibit["rows"]]
            numeric = [any(row[place]["number"] for row in rows if place < len(row)) for place in range(len(columns))]
            drawn.append({**shared, "columns": list(zip(columns, numeric, strict=True)), "rows": rows})
        elif kind == "gallery":
            drawn.append({**shared, "cards": [_card(item) for item in exhibit["items"]]})
        else:
            drawn.append({**shared, "kind": "unknown", "named": str(kind)})
    return drawn


def _samples(material: Material) -> list[Json]:
    """What the network made up in some epochs, from the first to the last, where its task is to generate."""
    known = [epoch for epoch in material.epochs if epoch.get("samples")]
    if not known:
        return []
    places = sorted({round(place) for place in np.linspace(0, len(known) - 1, MOST_SAMPLES)})
    cards = [
        _card({"caption": f"epoch {known[place]['epoch']}", "shown": shown})
        for place in places
        for shown in known[place]["samples"]
    ]
    explanation = "The same request after each epoch, answered with the same random numbers: watch it learn."
    return [{"kind": "gallery", "title": "What it makes up", "explanation": explanation, "cards": cards}]


def augmented(material: Material) -> Json | None:
    """The picture of augmented training examples."""
    return None if material.augmented is None else picture(base64.b64encode(material.augmented).decode())


def picture(encoded: Any) -> Json | None:
    """A PNG for an ``<img>``.

    Args:
        encoded: base64.

    Returns:
        ``src`` (a data URI), ``width``, ``height``, and ``small`` when its pixels should be seen as squares; None when
        it is not a PNG.
    """
    try:
        content = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError, TypeError):
        return None
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        return None
    width, height = struct.unpack(">II", content[16:24])
    return {
        "src": f"data:image/png;base64,{encoded}",
        "width": width,
        "height": height,
        "small": max(width, height) <= 100,
    }


def _matrix(exhibit: Json) -> Json:
    rows, columns = [str(row) for row in exhibit["rows"]], [str(column) for column in exhibit["columns"]]
    values = np.array([[np.nan if value is None else float(value) for value in row] for row in exhibit["values"]])
    values = np.nan_to_num(values.reshape(len(rows), len(columns)))
    square = rows == columns  # then the diagonal is what went right
    sums = values.sum(1, keepdims=True)
    shares = np.divide(values, sums, out=np.zeros_like(values), where=sums > 0)
    wrong = [(i, j) for i, j in np.argwhere(values > 0).tolist() if not square or i != j]
    wrong = sorted(wrong, key=lambda entry: -values[entry])[:MOST_ENTRIES]
    large = max(len(rows), len(columns)) > MOST_CLASSES
    return {
        "square": square,
        "rows": rows,
        "columns": columns,
        "upright": len(columns) > 12 or max(map(len, columns), default=0) > 6,
        "row_title": exhibit.get("row_title", "truth"),
        "column_title": exhibit.get("column_title", "prediction"),
        "cells": None
        if large
        else [[_heat(i, j, values, shares, square) for j in range(len(columns))] for i in range(len(rows))],
        "image": _condensed(shares) if large else None,
        "largest": [
            {
                "row": rows[i],
                "column": columns[j],
                "count": words.number(_whole(values[i, j])),
                "share": f"{shares[i, j]:.0%}",
            }
            for i, j in wrong
        ],
    }


def _heat(i: int, j: int, values: np.ndarray, shares: np.ndarray, square: bool) -> Json:
    share = float(shares[i, j])
    shade = share if square and i == j else share**0.5  # rare mistakes are what one looks for
    return {
        "value": words.number(_whole(values[i, j])) if values[i, j] else "",
        "share": f"{share:.1%}",
        "shade": f"{0.12 + 0.46 * shade:.2f}" if values[i, j] else "0",
        "right": square and i == j,
    }


def _whole(value: float) -> int | float:
    return int(value) if float(value).is_integer() else float(value)


def _condensed(shares: np.ndarray) -> Json | None:
    """The matrix as a picture, one pixel an entry, whose transparency shows the share; it suits light and dark."""
    import io

    from PIL import Image

    pixels = np.zeros((*shares.shape, 4), np.uint8)
    pixels[...] = (63, 124, 214, 0)
    pixels[..., 3] = np.round(255 * np.sqrt(shares))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return picture(base64.b64encode(file.getvalue()).decode())


def _scatter(exhibit: Json, name: str) -> Json:
    x, y, titles = exhibit["x"], exhibit["y"], (str(exhibit["x_title"]), str(exhibit["y_title"]))
    label = f"{exhibit.get('title', '')}: {titles[1]} against {titles[0]}, {words.count(len(x), 'point')}"
    drawn = charts.scatter(name, x, y, label, *titles, diagonal=bool(exhibit.get("diagonal")))
    if drawn is None:
        return {"svg": None, "drawn": ""}
    some = f"{words.number(drawn[1])} of {words.number(len(x))} points are drawn." if drawn[1] < len(x) else ""
    return {"svg": drawn[0], "drawn": some, "diagonal": bool(exhibit.get("diagonal"))}


def _card(item: Json) -> Json:
    shown = item.get("shown") or {}
    seen = picture(shown["picture"]) if "picture" in shown else None
    row = shown.get("row")
    return {
        "caption": str(item.get("caption") or ""),
        "where": str(item.get("where") or ""),
        "picture": seen,
        "text": str(shown["text"]) if "text" in shown else None,
        "row": [(str(key), words.number(value)) for key, value in row.items()] if isinstance(row, dict) else None,
    }


def _cell(value: Any) -> Json:
    return {"text": words.number(value), "number": isinstance(value, int | float) and not isinstance(value, bool)}
