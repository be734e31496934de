"""Texts: files, folders, tables, JSON lines and lists of texts in; Data whose raws are passages out.

A document is a file, a row or an item (``documents``). It is cut into passages of some thousand characters, at line ends where
there are some; joined they are the document again. A passage knows what stands before it, so that none is read without context.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from lamina.data.data import Data, Raws, Source
from lamina.data.documents import Documents, documents, from_records, has_columns
from lamina.data.documents import recognised as recognised
from lamina.data.parts import listed
from lamina.errors import DataError
from lamina.findings import Finding

PASSAGE = 4096  # characters of a passage, about
CONTEXT = 1024  # characters before a passage that it knows, at most
FEW_PASSAGES = 100  # where there would be fewer, passages are shorter: something must be left to validate and to test
SHORTEST = 64  # characters; below that nothing is made shorter
WHOLE = 20  # documents from which on they stay whole in a split; fewer are split in their order


@dataclass(frozen=True)
class Passage:
    """A stretch of a document."""

    text: str
    """What is to be predicted."""
    before: str
    """What stands before it in the same document, at most ``CONTEXT`` characters of it; "" at the document's beginning."""
    first: bool
    """Whether it begins a document."""
    last: bool
    """Whether the document ends with it."""
    column: str | None = None
    """The column that it was found in, if it comes from a table."""


def read(source: Source) -> Data:
    """Read texts and cut them into passages.

    Args:
        source: a text file or a folder of them (UTF-8, or UTF-16 with a byte order mark; also .gz); a table or JSON lines,
            ``target`` being the column of texts where several might be; a DataFrame; or a list, an array or a Series of texts.

    Returns:
        Data whose raws are an array of ``Passage``. Answers are not-a-number: a text is its own answer. Where the source
        names no parts, few documents are split in their order (``times``), many stay whole (``groups``).

    Raises:
        DataError: naming file and line or byte.
        OptionError: an option that needs columns, where there are none.
    """
    found = documents(source)
    kept = [number for number, text in enumerate(found.texts) if text and not text.isspace()]
    if not kept:
        raise DataError("there is no text in it, at most white space.", found.name, "Give a text.")
    characters = sum(len(found.texts[number]) for number in kept)
    size = PASSAGE if len(kept) >= FEW_PASSAGES else min(PASSAGE, max(SHORTEST, characters // FEW_PASSAGES))
    passages: list[Passage] = []
    where: list[str] = []
    owner: list[int] = []
    findings = [*found.findings, *_blank(found, kept)]
    for number in kept:
        made = list(_passages(found.texts[number], size, found.column))
        found.texts[number] = ""  # a corpus is large: not twice in memory for longer than needed
        passages += made
        where += _lines(found.where[number], made) if found.numbered else [found.where[number]] * len(made)
        owner += [number] * len(made)
    what = "1 document" if len(kept) == 1 else f"{len(kept):,} documents"
    told = f"Texts: {what}, {characters:,} characters, in {len(passages):,} passages of at most about {size:,}."
    made_of = np.array(owner)
    part = np.array(found.part, dtype="<U5")[made_of]
    groups, times, note = _order(found, kept, made_of, part)
    return Data(
        raws=_array(passages),
        answers=np.full(len(passages), np.nan),
        where=np.array(where, dtype=object),
        part=part,
        digests=np.array([_digest(passage.text) for passage in passages], dtype=np.uint64),
        groups=groups,
        times=times,
        notes=(*found.notes, told, *note),
        findings=tuple(findings),
    )


def gather(inputs: Sequence[Any], column: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Texts at prediction, each whole, as one passage that begins a document.

    Args:
        inputs: paths of text files, of folders of them, of tables or JSON lines; dictionaries or lists of them; DataFrames;
            lists, arrays or Series of texts; passages, taken as they are. A string alone is a path.
        column: of tables and dictionaries the column of texts; found as in ``read`` when None.

    Returns:
        An array of ``Passage``, and where each came from.

    Raises:
        DataError: a file is missing or is no text, a table lacks the column, or there is nothing at all.
    """
    passages: list[Passage] = []
    where: list[str] = []
    for item in inputs:
        if isinstance(item, Passage):
            passages.append(item)
            where.append(f"text {len(passages)}")
            continue
        if isinstance(item, dict) or (isinstance(item, list) and item and isinstance(item[0], dict)):
            found = from_records([item] if isinstance(item, dict) else item, column or "text")
        else:
            source = Source(item, target=column if has_columns(item) else None)
            found = documents(source, sort_out=False)
        passages += [Passage(text, "", first=True, last=False, column=found.column) for text in found.texts]
        where += found.where
    if not passages:
        raise DataError(
            "there is no text to answer.", listed(inputs), "Name text files, or give dictionaries of texts."
        )
    return _array(passages), np.array(where, dtype=object)


def show(raws: Raws) -> list[dict[str, Any]]:
    """The beginnings of passages, for a report."""
    texts = [passage.text for passage in cast(Sequence[Passage], raws)]
    return [{"text": text if len(text) <= 300 else text[:300] + " ..."} for text in texts]


def _blank(found: Documents, kept: list[int]) -> Iterator[Finding]:
    """The finding that documents hold no text."""
    blank = sorted(set(range(len(found.texts))) - set(kept))
    if blank:
        yield Finding(
            "text.empty",
            "warning",
            f"{len(blank):,} of {len(found.texts):,} documents hold no text; they were left out.",
            "Fill them in, or leave them out yourself.",
            where=tuple(found.where[number] for number in blank[:20]),
            count=len(blank),
            evidence={"documents": len(found.texts), "empty": len(blank)},
        )


def _order(
    found: Documents, kept: list[int], owner: np.ndarray, part: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None, tuple[str, ...]]:
    """(groups, times, notes) by which the passages are split, where the source leaves something to split."""
    if found.groups is not None or found.times is not None:
        groups, times = (None if keys is None else keys[owner] for keys in (found.groups, found.times))
        return groups, times, ()
    if {"train", "valid", "test"} <= set(part):
        return None, None, ()
    trained = len(np.unique(owner[(part == "") | (part == "train")]))
    if trained < WHOLE:
        what = "The document is" if len(kept) == 1 else "The documents are"
        return None, np.arange(len(owner)), (f"{what} split in order: what comes first is trained on.",)
    return (None if len(owner) == len(kept) else owner), None, ("Documents stay whole in the split.",)


# --- passages ---


def _passages(text: str, size: int, column: str | None) -> Iterator[Passage]:
    """A document cut into pieces of about ``size``; joined they are the document."""
    begin = 0
    for end in _cuts(text, size):
        before = text[_context(text, begin) : begin]
        yield Passage(text[begin:end], before, first=begin == 0, last=end == len(text), column=column)
        begin = end


def _cuts(text: str, size: int) -> Iterator[int]:
    """Where pieces end: after a line, else after white space, else anywhere; the last may be a quarter longer."""
    begin = 0
    while len(text) - begin > size + size // 4:
        least, most = begin + size // 2, begin + size
        line = text.rfind("\n", least, most) + 1
        begin = line or max(text.rfind(" ", least, most), text.rfind("\t", least, most)) + 1 or most
        yield begin
    yield len(text)


def _context(text: str, begin: int) -> int:
    """Where the context of what begins at ``begin`` begins."""
    least = begin - CONTEXT
    if least <= 0:
        return 0
    middle = begin - CONTEXT // 2
    line = text.find("\n", least - 1, middle) + 1
    return line or text.find(" ", least - 1, middle) + 1 or least


def _lines(name: str, passages: list[Passage]) -> Iterator[str]:
    """``book.txt:120-188`` for each passage of a file."""
    line = 1
    for passage in passages:
        breaks = passage.text.count("\n")
        last = line + breaks - passage.text.endswith("\n")
        yield f"{name}:{line}" if last == line else f"{name}:{line}-{last}"
        line += breaks


def _array(passages: list[Passage]) -> np.ndarray:
    array = np.empty(len(passages), dtype=object)
    array[:] = passages
    return array


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
