"""Columns that teach nothing: the same value in every row, or another one in every row; and texts, which teach little here.

A network for tables is told which of a text's most frequent words are there, and no more. That is a note where there are
other columns, and a warning where texts are all there is.
"""

from collections.abc import Iterator

import polars as pl

from lamina.data.columns import WORDS
from lamina.data.data import Data
from lamina.data.tables import columns_of
from lamina.findings import Finding

SENTENCE = 3  # words, in the middle of all rows, from which a text is one


def find(data: Data) -> Iterator[Finding]:
    """Find constant and identifier-like columns of the training part of a table."""
    if not isinstance(data.raws, pl.DataFrame):
        return
    columns = columns_of(data)
    texts = [column.name for column in columns if column.kind == "text" and _words(data.raws[column.name]) >= SENTENCE]
    if texts:
        alone = all(column.kind in ("constant", "identifier", "text") for column in columns)
        names = ", ".join(f'"{name}"' for name in texts[:5]) + ", ..." * (len(texts) > 5)
        told = f"{'The column' if len(texts) == 1 else 'The columns'} {names} {'holds' if len(texts) == 1 else 'hold'} texts"
        yield Finding(
            "column.text",
            "warning" if alone else "note",
            f"{told}, and of each the network is told only which of the {WORDS} most frequent words are there"
            + ("; there is nothing else to learn from." if alone else "."),
            "Where texts decide, add what they say as columns of numbers: counts of the words that matter, or the vectors of a "
            "language model.",
            where=tuple(texts[:20]),
            count=len(texts),
            evidence={"words": WORDS, "texts": len(texts), "columns": len(columns)},
        )
    for column in columns:
        if column.kind in ("constant", "identifier"):
            yield Finding(
                f"column.{column.kind}",
                "note",
                f'The column "{column.name}" teaches nothing: {column.reason}.',
                "It is no input of the network; nothing needs to be done.",
                where=(column.name,),
                evidence={"distinct": column.distinct, "missing": column.missing},
            )


def _words(column: pl.Series) -> float:
    """The median number of words."""
    count = column.cast(pl.String).str.strip_chars().str.split(" ").list.len().median()
    return float(count) if isinstance(count, int | float) else 0.0
