"""Trained: what the fixture of that name gives."""

from dataclasses import dataclass

from lamina.data.data import Data, Source
from lamina.data.feed import Feed
from lamina.data.store import Store
from lamina.model import Model


@dataclass(frozen=True)
class Trained:
    """A run on a task's ``tiny`` data."""

    name: str
    source: Source
    model: Model
    data: Data
    store: Store
    feed: Feed
