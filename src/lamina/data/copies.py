"""Copies: by what rows of a table are known to be equal, and whether that tells anything."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from lamina.data.kinds import Column, columns


def coincidence_is_likely(frame: Any) -> bool:
    """Whether rows of a table can be equal without being copies: no column tells them apart, but one that only counts them."""
    if not isinstance(frame, pl.DataFrame) or frame.height == 0:
        return False
    telling = [kind.distinct for kind in columns(frame) if kind.kind not in ("identifier", "constant")]
    return max(telling, default=0) < 0.2 * frame.height


def digests_of_table(frame: pl.DataFrame, kinds: Sequence[Column]) -> np.ndarray:
    """(rows,) uint64: a hash of each row's values, identifiers left out: a copied row may have a new number."""
    names = [kind.name for kind in kinds if kind.kind not in ("identifier", "constant")] or frame.columns
    cells = [pl.col(name).cast(pl.String).fill_null("\x00") for name in names]
    rows = frame.select(pl.concat_str(cells, separator="\x1f")).to_series()
    hashes = (hashlib.blake2b(row.encode(), digest_size=8).digest() for row in rows)
    return np.frombuffer(b"".join(hashes), dtype="<u8").astype(np.uint64)
