"""Columns that teach nothing: the same value in every row, or another one in every row."""

from collections.abc import Iterator

import polars as pl

from lamina.data.data import Data
from lamina.data.tables import columns_of
from lamina.findings import Finding


def find(data: Data) -> Iterator[Finding]:
    """Find constant and identifier-like columns of the training part of a table."""
    if not isinstance(data.raws, pl.DataFrame):
        return
    for column in columns_of(data):
        if column.kind in ("constant", "identifier"):
            yield Finding(
                f"column.{column.kind}",
                "note",
                f'The column "{column.name}" teaches nothing: {column.reason}.',
                "It is no input of the network; nothing needs to be done.",
                where=(column.name,),
                evidence={"distinct": column.distinct, "missing": column.missing},
            )
