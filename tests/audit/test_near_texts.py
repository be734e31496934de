"""Near-duplicate texts: edited copies are found, whatever their part; other texts are not."""

import numpy as np
import pytest

from lamina.audit.near_texts import find
from lamina.data.data import Data
from lamina.data.texts import Passage

WORDS = [f"{first}{last}" for first in ("ma", "te", "lo", "ri", "su", "ka", "wen") for last in ("n", "lt", "ras", "do")]


def put(texts: list[str]) -> Data:
    raws = np.empty(len(texts), dtype=object)
    raws[:] = [Passage(text, "", True, True) for text in texts]
    part = np.resize(["train", "train", "valid", "test"], len(texts))
    where = np.array([f"t.txt:{n}" for n in range(len(texts))], dtype=object)
    digests = np.array([hash(text) & (2**63 - 1) for text in texts], dtype=np.uint64)
    return Data(raws, np.full(len(texts), np.nan), where, part, digests)


def prose(rows: int = 60, words: int = 80) -> list[str]:
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice(WORDS, words)) for _ in range(rows)]


@pytest.mark.parametrize(
    "change", [str.upper, lambda t: t.replace(" ", "\n"), lambda t: t + " And more.", lambda t: t[40:]]
)
def test_edited_copies_are_found(change) -> None:  # type: ignore[no-untyped-def]
    texts = prose()
    texts[3] = change(texts[0])
    texts[5] = change(texts[4])
    assert [(f.kind, f.where) for f in find(put(texts))] == [
        ("leak.near_duplicate", ("t.txt:0 ~ t.txt:3",)),
        ("duplicate.near", ("t.txt:4 ~ t.txt:5",)),
    ]


def test_other_texts_and_short_and_equal_ones_are_not() -> None:
    assert list(find(put(prose()))) == []
    assert list(find(put(["Yes, that is so.", "yes, that is so!", "Yes, that is  so."] * 20))) == []
    assert list(find(put([prose(1)[0]] * 8))) == []
    assert list(find(put(["", "a"] * 8))) == []


def test_half_of_a_text_is_no_copy() -> None:
    texts = prose()
    texts[3] = texts[0][:200] + texts[3][200:]
    assert list(find(put(texts))) == []
