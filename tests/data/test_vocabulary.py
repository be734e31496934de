"""Vocabulary: what is counted as a token, text -> ids -> text, and the choice that is said aloud."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from lamina.data.data import PARTS, Data, Source
from lamina.data.texts import Passage, read
from lamina.data.vocabulary import END, FEW_BYTES, UNKNOWN, Kind, Vocabulary, choose
from lamina.errors import DataError, OptionError

TREEBANK = " the <unk> said N shares rose \n the company said <unk> shares fell \n\n no <unk> comment\n"
SAID = 'said: "We don\'t know (yet) what e-mail costs/brings."'
NATURAL = f"He {SAID} She {SAID}\n"
KINDS: tuple[Kind, ...] = get_args(Kind)


@pytest.fixture(scope="module")
def pairs() -> Vocabulary:
    return choose([NATURAL * 20, "naïve café 😀\r\n" * 5], "bytepairs", 400)[0]


def words_of(data: Data) -> list[str]:
    return [passage.text for passage in cast(Sequence[Passage], data.raws)]


def decoded(vocabulary: Vocabulary, text: str) -> str:
    return vocabulary.decode(vocabulary.encode([text])[0].tolist())


# --- characters ---


@given(some.lists(some.text(max_size=30), min_size=1, max_size=5).filter(lambda texts: any(texts)))
def test_characters_come_back(texts: list[str]) -> None:
    vocabulary, _ = choose(texts, "characters")
    ids = vocabulary.encode(texts)
    assert [vocabulary.decode(one.tolist()) for one in ids] == texts
    assert [len(one) for one in ids] == [len(text) for text in texts]
    assert [int(vocabulary.bytes_of()[one].sum()) for one in ids] == [len(text.encode()) for text in texts]
    assert all(one.dtype == np.int32 for one in ids)
    assert len(vocabulary) == 2 + len(set("".join(texts))) == len(vocabulary.bytes_of())


def test_an_unknown_character_is_seen_and_counts_no_bytes() -> None:
    vocabulary, _ = choose(["abba"], "characters")
    ids = vocabulary.encode(["aéb😀\ud800", ""])
    assert ids[0].tolist() == [2, UNKNOWN, 3, UNKNOWN, UNKNOWN]
    assert ids[1].tolist() == []
    assert vocabulary.decode([2, UNKNOWN, END, 3]) == "a\ufffd\n\nb"
    assert vocabulary.bytes_of().tolist() == [0, 0, 1, 1]


def test_of_many_characters_those_that_occur_once_are_unknown() -> None:
    han = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    assert len(choose([han[:200] + "ab"], "characters")[0]) == 2 + 202
    assert len(choose([han + "abab"], "characters")[0]) == 2 + 2
    assert choose(["aaabbc"], "characters", 2)[0].symbols == ("a", "b")


def test_characters_are_encoded_together_and_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["one", "", "two", "three\n", "", "four"]
    vocabulary, _ = choose(texts, "characters")
    whole = vocabulary.encode(texts)
    monkeypatch.setattr("lamina.data.vocabulary.AT_ONCE", 4)
    assert choose(texts, "characters")[0] == vocabulary
    assert [one.tolist() for one in vocabulary.encode(texts)] == [one.tolist() for one in whole]


# --- words ---


def test_words_as_distributed_are_what_spaces_part_and_line_ends() -> None:
    vocabulary, said = choose([TREEBANK])
    assert (vocabulary.kind, vocabulary.distributed) == ("words", True)
    ids = vocabulary.encode([TREEBANK])[0]
    assert len(ids) == 15 + 4
    assert int((ids == UNKNOWN).sum()) == 3
    assert set(vocabulary.symbols) == {*TREEBANK.split(), "\n"} - {"<unk>"}  # rare as they are, all are kept
    assert said == (
        "Tokens: words (11 kinds), because the text is already split into words (it holds <unk>); "
        "--set tokens=bytepairs chooses otherwise."
    )
    assert (
        decoded(vocabulary, TREEBANK)
        == "the <unk> said N shares rose\nthe company said <unk> shares fell\n\nno <unk> comment\n"
    )
    assert decoded(vocabulary, "the bank said\n") == "the <unk> said\n"


def test_words_that_are_cut_up_count_alike() -> None:
    vocabulary, _ = choose([TREEBANK])
    lines = TREEBANK.splitlines(keepends=True)
    assert np.concatenate(vocabulary.encode(lines)).tolist() == vocabulary.encode([TREEBANK])[0].tolist()
    assert choose(lines)[0] == vocabulary


def test_words_stand_for_the_bytes_of_the_text_but_unknown_ones() -> None:
    vocabulary, _ = choose([TREEBANK])
    text = "the company said\nshares rose\n"
    assert vocabulary.bytes_of()[vocabulary.encode([text])[0]].sum() == len(text)
    text = "the <unk> said\n"
    assert vocabulary.bytes_of()[vocabulary.encode([text])[0]].sum() == len("the said\n")
    natural, _ = choose(["We know it, and they know it.\n" * 2], "words")
    whole, marked, wide = (
        "We know it, and they know it.\n",
        "We (they) know \u2019it\u2019.\n\n and/or it",
        "\tWe   know\n",
    )
    counted = natural.bytes_in([whole, marked, wide], natural.encode([whole, marked, wide])).tolist()
    unknown = "()\u2019\u2019/or"
    assert counted == [len(whole), len(marked.encode()) - len(unknown.encode()), len(" We know\n")]
    assert not natural.bytes_of().any()


def test_punctuation_apart_means_that_words_are_split() -> None:
    vocabulary, said = choose(["it 's here , and there .\n" * 20])
    assert (vocabulary.kind, vocabulary.distributed) == ("words", True)
    assert "spaces stand around its punctuation" in said
    assert choose(["it's here, and there.\n" * 20])[0].kind == "characters"
    assert choose(["it's here , and there .\n" * 10 + "it's here, and there.\n" * 10])[0].kind == "characters"
    assert choose(["it 's here , and there .\n"])[0].kind == "characters"  # too little to tell
    assert choose(["Some say <unk> once. " + NATURAL * 1000])[0].kind == "characters"


def test_words_of_natural_text() -> None:
    vocabulary, said = choose([NATURAL], "words")
    assert "as was asked for" in said
    assert {"He", "don't", "e-mail", "(", "/", '"'} & set(vocabulary.symbols) == {"don't", "e-mail", "(", "/", '"'}
    assert decoded(vocabulary, NATURAL) == NATURAL.replace("He", "<unk>").replace("She", "<unk>").replace(
        "\n", " <unk>"
    )
    assert vocabulary.symbols[0] == '"'  # the most frequent first


def test_letters_keep_their_accents_and_vowel_signs() -> None:
    text = "cafe\u0301 हिन्दी naïve cafe\u0301 हिन्दी naïve"
    assert set(choose([text], "words")[0].symbols) == {"cafe\u0301", "हिन्दी", "naïve"}


@given(some.text(some.sampled_from("ab'’-_ 1.\n\"("), max_size=40))
def test_ascii_or_not_words_are_the_same(text: str) -> None:
    vocabulary, _ = choose(["a b ' - _ 1 . \" ( \n" * 2, text * 2], "words")
    ids = vocabulary.encode([text, text + " é"])
    assert ids[1].tolist() == [*ids[0].tolist(), UNKNOWN]


def test_what_is_decoded_grows_at_its_end() -> None:
    for vocabulary in (choose([NATURAL * 2], "words")[0], choose([TREEBANK])[0]):
        ids = vocabulary.encode([NATURAL + TREEBANK])[0].tolist()
        whole = vocabulary.decode(ids)
        assert all(whole.startswith(vocabulary.decode(ids[:end])) for end in range(len(ids)))


def test_the_most_frequent_words_are_kept() -> None:
    assert choose(["c c c b b a a d"], "words")[0].symbols == ("c", "a", "b")
    assert choose(["c c c b b a a d"], "words", 2)[0].symbols == ("c", "a")
    assert choose([TREEBANK], "words", 3)[0].symbols == ("\n", "said", "shares")


# --- byte pairs ---


@given(text=some.text(max_size=60))
def test_byte_pairs_come_back(pairs: Vocabulary, text: str) -> None:
    ids = pairs.encode([text])[0]
    assert pairs.decode(ids.tolist()) == text
    assert pairs.bytes_of()[ids].sum() == len(text.encode())
    assert len(ids) == 0 or (ids.min() > END and ids.max() < len(pairs))


@pytest.mark.parametrize(
    "text", ["a\r\nb", "e\u0301 ḍ̇", "👩‍👩‍👧 🇩🇪", "<|end|>", "\ufeff\u2028", "   spaces  ", "\t\0\x7f"]
)
def test_byte_pairs_and_characters_of_all_kinds_come_back(pairs: Vocabulary, text: str) -> None:
    assert decoded(pairs, text) == text
    assert decoded(choose([text], "characters")[0], text) == text


def test_byte_pairs_have_the_size_that_was_asked_for_and_join_bytes(pairs: Vocabulary) -> None:
    assert len(pairs) == len(pairs.bytes_of())
    assert 257 < len(pairs) <= 400
    assert len(choose([NATURAL], "bytepairs", 257)[0]) == 257
    assert len(pairs.encode([NATURAL])[0]) < len(NATURAL) / 2
    assert pairs.bytes_of()[END] == 0
    assert pairs.bytes_of()[1:257].tolist() == [1] * 256


def test_an_end_parts_what_is_decoded_and_a_part_of_a_character_is_no_error(pairs: Vocabulary) -> None:
    first, second = (ids.tolist() for ids in pairs.encode(["one", "two"]))
    assert pairs.decode([*first, END, *second]) == "one\n\ntwo"
    ids = pairs.encode(["\u20ac"])[0].tolist()
    assert pairs.decode(ids[:1]) == "\ufffd"


def test_half_a_character_has_no_byte_pairs(pairs: Vocabulary) -> None:
    with pytest.raises(DataError, match="half of a character"):
        pairs.encode(["fine", "\ud800"])


def test_learning_byte_pairs_is_repeatable_silent_and_bears_a_fork() -> None:
    script = (
        "import hashlib, os, sys; from lamina.data.vocabulary import choose\n"
        "words = ['%x%x ' % (n * n, n % 7) for n in range(4000)]\n"
        "vocabulary, _ = choose([''.join(words)], 'bytepairs', 600)\n"
        "vocabulary.encode(words)\n"
        "if os.fork() == 0: vocabulary.encode(words); os._exit(0)\n"
        "os.wait(); print(hashlib.sha256(vocabulary.pairs.encode()).hexdigest(), 'huggingface_hub' in sys.modules)\n"
        "print(os.environ['TOKENIZERS_PARALLELISM'])  # versions before 0.23 warn at the fork without\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"}
    runs = [
        subprocess.run(
            [sys.executable, "-c", script], env={**environment, "PYTHONHASHSEED": seed}, capture_output=True, text=True
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout != ""
    assert runs[0].stdout.split()[1:] == ["False", "false"]
    assert [run.stderr for run in runs] == ["", ""]


# --- the choice ---


@pytest.mark.parametrize("kind", KINDS)
def test_json_and_back(kind: Kind) -> None:
    vocabulary, _ = choose([NATURAL * 3], kind, 300)
    again = Vocabulary.of_json(json.loads(json.dumps(vocabulary.to_json())))
    assert again == vocabulary
    assert len(again) == len(vocabulary)
    assert again.encode([NATURAL])[0].tolist() == vocabulary.encode([NATURAL])[0].tolist()


def test_the_choice_follows_the_amount_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    text = NATURAL * 10_000
    assert choose([text])[1] == (
        f"Tokens: characters ({len(set(NATURAL))} kinds), because there is only {len(text) / 1e6:.1f} MB of text; "
        "--set tokens=bytepairs chooses otherwise."
    )
    assert "1.1 kB" in choose([NATURAL * 10])[1]
    monkeypatch.setattr("lamina.data.vocabulary.FEW_BYTES", 1_000_000)
    monkeypatch.setattr("lamina.data.vocabulary.SAMPLE", 1_000)
    vocabulary, said = choose([NATURAL] * 10_000)
    assert vocabulary.kind == "bytepairs"
    assert said.startswith("Tokens: byte pairs (")
    assert said.endswith("1.1 MB of text; --set tokens=characters chooses otherwise.")
    assert FEW_BYTES == 3_000_000


@pytest.mark.parametrize(("amount", "size"), [(1, 1024), (5e6, 4096), (2e7, 8192), (99_999_999, 8192), (1e8, 16_384)])
def test_the_number_of_byte_pairs_follows_the_amount(amount: float, size: int) -> None:
    from lamina.data.vocabulary import _size_for

    assert _size_for(int(amount)) == size


@pytest.mark.parametrize(
    ("texts", "wish", "error", "expected"),
    [
        ([], {}, DataError, "no characters"),
        (["", ""], {}, DataError, "no characters"),
        (["all differ here"], {"kind": "words"}, DataError, "no word of the training texts occurs twice"),
        (["abc"], {"kind": "letters"}, OptionError, 'no kind of tokens "letters".*characters, words'),
        (["abc"], {"kind": "bytepair"}, OptionError, 'Did you mean "bytepairs"'),
        (["abc"], {"kind": "bytepairs", "size": 256}, OptionError, "256 bytepairs were asked for.*257 or more"),
        (["abc"], {"kind": "words", "size": 0}, OptionError, "2 or more"),
        (["abc"], {"size": -1}, OptionError, "2 or more"),
    ],
)
def test_what_is_refused(texts: list[str], wish: dict[str, Any], error: type[Exception], expected: str) -> None:
    with pytest.raises(error, match=expected):
        choose(texts, **wish)


# --- real texts ---


@pytest.mark.data
def test_the_penn_treebank_is_counted_as_in_the_literature(shared_data: Path) -> None:
    data = read(Source(shared_data / "ptb"))
    parts = {part: words_of(data.of(part)) for part in PARTS}
    vocabulary, said = choose(parts["train"])
    assert "words (10,000 kinds)" in said
    assert len(vocabulary) == 10_001  # 9,999 words, <unk> among them, the line end, and END
    tokens = {part: sum(map(len, vocabulary.encode(texts))) for part, texts in parts.items()}
    assert tokens == {"train": 929_589, "valid": 73_760, "test": 82_430}


@pytest.mark.data
def test_the_characters_of_shakespeare(shared_data: Path) -> None:
    texts = words_of(read(Source(shared_data / "tinyshakespeare")))
    vocabulary, said = choose(texts)
    assert said.startswith("Tokens: characters (65 kinds), because there is only 1.1 MB of text;")
    assert sum(map(len, vocabulary.encode(texts))) == 1_115_394
