"""Remembered: small things that took long to find out, as JSON files in the cache."""

import hashlib
import json
from contextlib import suppress
from typing import Any

from lamina.data.cache import cache_folder, partial_of


def key_of(*parts: Any) -> str:
    """The name of what follows from ``parts`` (JSON, or what has a ``str``)."""
    content = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(content.encode(), digest_size=12).hexdigest()


def recall(kind: str, key: str) -> dict[str, Any] | None:
    """What was remembered, or None."""
    try:
        content: dict[str, Any] = json.loads((cache_folder() / kind / f"{key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content


def remember(kind: str, key: str, content: dict[str, Any]) -> None:
    """Keep it for later; where it cannot be written, it is found out again."""
    folder = cache_folder() / kind
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        partial = partial_of(folder / key)
        partial.write_text(json.dumps(content), encoding="utf-8")
        partial.replace(folder / f"{key}.json")
