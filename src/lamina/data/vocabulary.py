"""Vocabulary: texts in, token ids out, and back; tokens are characters, words or byte pairs.

``choose`` learns one from the training texts and says why it is of that kind. Ids: 0 is END, the mark between documents; 1 is
UNKNOWN, a character or word that training never saw; byte pairs need none, for every byte is a token, and count on from 1.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, Literal, get_args

import numpy as np

from lamina.errors import DataError, OptionError, unknown

Kind = Literal["characters", "words", "bytepairs"]
END = 0
UNKNOWN = 1
END_MARK = "<|end|>"
UNKNOWN_WORD = "<unk>"
"""How distributed corpora write a word outside their vocabulary."""
SMALLEST: dict[Kind, int] = {"characters": 2, "words": 2, "bytepairs": 257}  # of byte pairs: each byte, and END
FEW_BYTES = 3_000_000  # below that, characters
SIZES = ((5_000_000, 1_024), (20_000_000, 4_096), (100_000_000, 8_192))  # bytes of text below which so many byte pairs
LARGEST_SIZE = 16_384
WORDS = 30_000  # most kinds of words, of natural text
SEEN = 2  # times that a word of natural text must occur
ALPHABET = 256  # kinds of characters above which those that occur once are left unknown, so that UNKNOWN is trained
SAMPLE = 20_000_000  # characters from which byte pairs are learned
LOOKED_AT = 1_000_000  # characters from which it is told whether a text is split into words
AT_ONCE = 4_000_000  # characters that are worked on together
_CLOSING = frozenset(".,;:!?)]}%…»”’、。")
_OPENING = frozenset("([{«“‘¿¡$£€#@")
_BINDING = frozenset("/_")  # no space on either side
_SPACES = re.compile(r"[^\S\n]+")


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a kind, each with its id."""

    kind: Kind
    symbols: tuple[str, ...] = ()
    """Characters or words: the first one's id is 2."""
    distributed: bool = False
    """Of words: whether the text came split, so that tokens are what spaces part, and a line end."""
    pairs: str = ""
    """Of byte pairs: the JSON of Hugging Face's ``tokenizers``, whose id 0 is id 1 here."""

    def __len__(self) -> int:
        return 1 + _tokenizer(self.pairs).get_vocab_size() if self.kind == "bytepairs" else 2 + len(self.symbols)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of each text, (tokens,) int32; no END is added.

        Raises:
            DataError: a text holds half of a character, so that it has no bytes.
        """
        if self.kind == "bytepairs":
            return _pair_ids(texts, self.pairs)
        if self.kind == "characters":
            return _character_ids(texts, self.symbols)
        index = _index(self.symbols)
        split = _distributed if self.distributed else _natural
        return [np.array([index.get(word, UNKNOWN) for word in split(text)], dtype=np.int32) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids, as a person reads it; of characters and byte pairs, exactly what was encoded.

        END becomes an empty line; an unknown character U+FFFD, as do bytes that are but part of a character; an unknown word
        <unk>. Words get spaces between them, but for punctuation.
        """
        if self.kind == "bytepairs":
            return "\n\n".join(_tokenizer(self.pairs).decode(run) for run in _runs(ids))
        if self.kind == "characters":
            symbols = ("\n\n", "\ufffd", *self.symbols)
            return "".join([symbols[token] for token in ids])
        symbols = ("\n\n", UNKNOWN_WORD, *self.symbols)
        return "".join(_spaced([symbols[token] for token in ids], self.distributed))

    def bytes_of(self) -> np.ndarray:
        """(tokens of the vocabulary,) int64: how many bytes of UTF-8 each token stands for; 0 for END and UNKNOWN.

        Bits per byte are counted over these. A word of a text that came split counts one more, for the space before it, the
        first of a line for the line end; where lines are not empty and one space parts words, that is exactly the text's
        length. Words of natural text have 0, for they stand with a space or without: see ``bytes_in``.
        """
        if self.natural:
            return np.zeros(len(self), dtype=np.int64)
        if self.kind == "bytepairs":  # in the tokenizer's alphabet, a letter stands for a byte
            named = _tokenizer(self.pairs).get_vocab()
            return np.array([0, *(len(name) for name in sorted(named, key=named.__getitem__))], dtype=np.int64)
        lengths = [len(symbol.encode()) for symbol in self.symbols]
        if self.kind == "words":
            lengths = [0 if word == "\n" else length + 1 for word, length in zip(self.symbols, lengths, strict=True)]
        return np.array([0, 0, *lengths], dtype=np.int64)

    @property
    def natural(self) -> bool:
        """Whether tokens are words of a text that did not come split."""
        return self.kind == "words" and not self.distributed

    def bytes_in(self, texts: Sequence[str], ids: Sequence[np.ndarray]) -> np.ndarray:
        """(texts,) int64: how many bytes of UTF-8 the words of each natural text stand for, with what parts them.

        Unknown words count none, and spaces in a row as one: words do not tell how many there were.
        """
        found = []
        for text, own in zip(texts, ids, strict=True):
            words = zip(_natural(text), own.tolist(), strict=True) if (own == UNKNOWN).any() else ()
            unknown = "".join(word for word, token in words if token == UNKNOWN)
            found.append(_size(_SPACES.sub(" ", text)) - _size(unknown))
        return np.array(found, dtype=np.int64)

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the fields as they are named here."""
        return {
            "kind": self.kind,
            "symbols": list(self.symbols),
            "distributed": self.distributed,
            "pairs": self.pairs,
        }

    @classmethod
    def of_json(cls, stored: dict[str, Any]) -> "Vocabulary":
        """The inverse of ``to_json``."""
        return cls(**{**stored, "symbols": tuple(stored["symbols"])})


def choose(texts: Sequence[str], kind: Kind | None = None, size: int | None = None) -> tuple[Vocabulary, str]:
    """Learn the vocabulary of some texts.

    Args:
        texts: of the training part.
        kind: what tokens are. When None: words where the text came split into them, else characters below 3 MB of text, else
            byte pairs.
        size: most kinds of tokens. When None: all characters (of more than 256 kinds, those that occur twice); the 30,000 most
            frequent words that occur twice, but all of a text that came split with <unk> for the others; of byte pairs 1,024
            below 5 MB of text, 4,096 below 20 MB, 8,192 below 100 MB, else 16,384.

    Returns:
        The vocabulary, and what is said aloud about it.

    Raises:
        DataError: there is nothing to learn from.
        OptionError: there is no such kind, or the size is too small for it.
    """
    if kind is not None and kind not in get_args(Kind):
        raise unknown("kind of tokens", kind, get_args(Kind))
    amount = sum(len(text) if text.isascii() else len(text.encode()) for text in texts)
    if amount == 0:
        raise DataError("the training texts hold no characters.", "", "Give texts.")
    look = _looks(texts)
    decided: Kind = kind or ("words" if look else "characters" if amount < FEW_BYTES else "bytepairs")
    if size is not None and size < SMALLEST[decided]:
        raise OptionError(f"{size} {decided} were asked for.", "vocabulary", f"Ask for {SMALLEST[decided]} or more.")
    if decided == "bytepairs":
        made = Vocabulary("bytepairs", pairs=_learned_pairs(texts, size or _size_for(amount)))
    elif decided == "characters":
        made = Vocabulary("characters", _frequent_characters(texts, size))
    else:
        made = Vocabulary("words", _frequent_words(texts, look, size), distributed=bool(look))
    kinds = len(made) - (1 if decided == "bytepairs" or (look == UNKNOWN_WORD and decided == "words") else 2)
    why = _reason(decided, amount, look) if kind is None else "as was asked for"
    other = "characters" if decided == "bytepairs" else "bytepairs"
    chance = "" if kind else f"; --set tokens={other} chooses otherwise"
    return made, f"Tokens: {decided.replace('tep', 'te p')} ({kinds:,} kinds), {why}{chance}."


def _reason(kind: Kind, amount: int, look: str) -> str:
    megabytes = f"{amount / 1e6:.1f} MB" if amount >= 100_000 else f"{amount / 1e3:.1f} kB"
    if kind == "words":
        seen = f"it holds {UNKNOWN_WORD}" if look == UNKNOWN_WORD else "spaces stand around its punctuation"
        return f"because the text is already split into words ({seen})"
    return f"because there is {'only ' if kind == 'characters' else ''}{megabytes} of text"


# --- characters ---


def _frequent_characters(texts: Sequence[str], size: int | None) -> tuple[str, ...]:
    """The characters to know, in the order of Unicode."""
    counts: Counter[int] = Counter()
    for piece in _together(texts):
        codes, found = np.unique(_codes("".join(piece)), return_counts=True)
        counts.update(dict(zip(codes.tolist(), found.tolist(), strict=True)))
    kept = sorted(counts, key=lambda code: (-counts[code], code))[:size]
    if size is None and len(kept) > ALPHABET:
        kept = [code for code in kept if counts[code] > 1] or kept
    return tuple(map(chr, sorted(kept)))


def _character_ids(texts: Sequence[str], symbols: tuple[str, ...]) -> list[np.ndarray]:
    table = _table(symbols)
    ids: list[np.ndarray] = []
    for piece in _together(texts):
        found = table[np.minimum(_codes("".join(piece)), len(table) - 1)]
        ids += np.split(found, np.cumsum([len(text) for text in piece])[:-1])
    return ids


@lru_cache(maxsize=4)
def _table(symbols: tuple[str, ...]) -> np.ndarray:
    """(largest code point + 2,) int32: the id of each code point; the last is that of all beyond."""
    codes = [ord(symbol) for symbol in symbols]
    table = np.full(max(codes, default=0) + 2, UNKNOWN, dtype=np.int32)
    table[codes] = np.arange(2, 2 + len(codes))
    return table


def _codes(text: str) -> np.ndarray:
    """(characters,) uint32 code points; of half a character too."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _together(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts in pieces that are worked on together; each piece holds at least one text."""
    piece: list[str] = []
    held = 0
    for text in texts:
        piece.append(text)
        held += len(text)
        if held >= AT_ONCE:
            yield piece
            piece, held = [], 0
    if piece:
        yield piece


# --- words ---


def _looks(texts: Sequence[str]) -> str:
    """How it can be seen that a text came split into words: by "<unk>", by "punctuation"; "" where it did not."""
    start: list[str] = []
    held = 0
    for text in texts:
        start.append(text[: LOOKED_AT - held])
        held += len(start[-1])
        if held >= LOOKED_AT:
            break
    sample = "\n".join(start)
    words = sample.split()
    if words.count(UNKNOWN_WORD) >= max(1, len(words) // 1000):
        return UNKNOWN_WORD
    marks = re.findall(r"(?:^|(.))[.,;:!?](?=\s|$)", sample, re.DOTALL)  # what stands before a mark that ends something
    apart = sum(1 for before in marks if not before or before.isspace())
    return "punctuation" if len(marks) >= 20 and apart >= 0.95 * len(marks) else ""


def _frequent_words(texts: Sequence[str], look: str, size: int | None) -> tuple[str, ...]:
    """The words to know, the most frequent first."""
    split = _distributed if look else _natural
    counts = Counter(chain.from_iterable(map(split, texts)))
    counts.pop(UNKNOWN_WORD, None)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    if look != UNKNOWN_WORD:
        ranked = [word for word in ranked if counts[word] >= SEEN][: size or WORDS]
    if not ranked:
        raise DataError(
            "no word of the training texts occurs twice.", "", "Give more text, or --set tokens=characters."
        )
    return tuple(ranked[:size])


def _distributed(text: str) -> list[str]:
    """What spaces part, and a line end for each; so the Penn Treebank is counted (Mikolov et al. 2010)."""
    first, *lines = text.split("\n")
    words = first.split()
    for line in lines:
        words.append("\n")
        words += line.split()
    return words


def _natural(text: str) -> list[str]:
    """Runs of letters and digits, with apostrophes and hyphens inside; single marks; line ends."""
    return _word_pattern(text.isascii()).findall(text)


@lru_cache(maxsize=2)
def _word_pattern(plain: bool) -> re.Pattern[str]:
    """What a word is; ``plain``, for a text in ASCII, is quicker and the same.

    ``re`` counts accents and vowel signs that combine with a letter (categories M*) as no part of a word; here they are.
    """
    marks = [chr(code) for code in range(0x300, 0x20000) if unicodedata.category(chr(code))[0] == "M"]
    run = "[A-Za-z0-9]++" if plain else rf"(?:[^\W_]++[{''.join(marks)}]*+)++"
    return re.compile(rf"{run}(?:['’-]{run})*+|\n|\S")


@lru_cache(maxsize=4)
def _index(symbols: tuple[str, ...]) -> dict[str, int]:
    """The id of each word."""
    return {UNKNOWN_WORD: UNKNOWN} | {symbol: 2 + place for place, symbol in enumerate(symbols)}


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _spaced(words: list[str], distributed: bool) -> Iterator[str]:
    """Words with the spaces that a person would put between them; what is added never changes what stands before."""
    glued, quoted = True, False  # whether no space comes before the next word; whether a quotation is open
    for word in words:
        if word[0] == "\n":
            glued, quoted = True, False
            yield word
            continue
        closes = not distributed and (word in _CLOSING or word in _BINDING or (word == '"' and quoted))
        if not (glued or closes):
            yield " "
        yield word
        quoted = quoted != (word == '"')
        glued = not distributed and (word in _OPENING or word in _BINDING or (word == '"' and quoted))


# --- byte pairs ---


def _size_for(amount: int) -> int:
    return next((size for limit, size in SIZES if amount < limit), LARGEST_SIZE)


def _learned_pairs(texts: Sequence[str], size: int) -> str:
    """Byte-level byte pair encoding (Sennrich et al. 2016; of bytes, Radford et al. 2019), learned from a sample."""
    _one_thread()
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size - 1, min_frequency=2, initial_alphabet=alphabet, special_tokens=[], show_progress=False
    )
    step = max(1, -(-sum(map(len, texts)) // SAMPLE))  # every so many-th text, so that all of the corpus is seen
    tokenizer.train_from_iterator(texts[::step], trainer)
    return str(tokenizer.to_str(pretty=False))


def _pair_ids(texts: Sequence[str], pairs: str) -> list[np.ndarray]:
    tokenizer = _tokenizer(pairs)
    ids: list[np.ndarray] = []
    for begin in range(0, len(texts), 256):
        try:
            found = tokenizer.encode_batch_fast(list(texts[begin : begin + 256]))
        except (UnicodeEncodeError, TypeError):
            raise DataError("a text holds half of a character (a lone surrogate).", "", "Write it in UTF-8.") from None
        ids += [1 + np.array(one.ids, dtype=np.int32) for one in found]
    return ids


@lru_cache(maxsize=4)
def _tokenizer(pairs: str) -> Any:
    _one_thread()
    from tokenizers import Tokenizer

    return Tokenizer.from_str(pairs)


def _one_thread() -> None:
    """Let ``tokenizers`` start no threads: before 0.23 it warns when a process forks that did. Texts are encoded in threads of
    our own (``building``). A hack, because it asks the environment only."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _runs(ids: Sequence[int]) -> Iterator[list[int]]:
    """The tokenizer's ids of what stands between ENDs."""
    run: list[int] = []
    for token in ids:
        if token == END:
            yield run
            run = []
        else:
            run.append(int(token) - 1)
    yield run
