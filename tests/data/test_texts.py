"""Texts: every source in, passages out that joined are the documents again; each kind of bad text is refused."""

import gzip
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as some

from lamina.data import texts
from lamina.data.data import PARTS, Data, Source
from lamina.data.split import complete
from lamina.data.texts import CONTEXT, PASSAGE, Passage, gather, read, recognised, show
from lamina.errors import DataError, LaminaError, OptionError

LINE = "All happy families are alike; each unhappy family is unhappy in its own way.\n"
LONG = "A text that is long enough to be taken for one: words, words, words, words and words.\n"


def write(folder: Path, content: str | bytes, name: str = "book.txt") -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return file


def rows(*records: dict[str, Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def passages(data: Data) -> list[Passage]:
    return list(cast(Sequence[Passage], data.raws))


def joined(data: Data) -> list[str]:
    documents: list[str] = []
    for passage in passages(data):
        documents += [""] * passage.first
        documents[-1] += passage.text
    return documents


# --- passages ---


@given(some.text(some.sampled_from("ab \n\té😀"), min_size=1, max_size=400), some.integers(1, 50))
def test_passages_are_the_document_and_know_what_stands_before(text: str, size: int) -> None:
    found = list(texts._passages(text, size, None))
    assert "".join(passage.text for passage in found) == text
    assert [passage.first for passage in found] == [True] + [False] * (len(found) - 1)
    assert [passage.last for passage in found] == [False] * (len(found) - 1) + [True]
    begin = 0
    for passage in found:
        assert 0 < len(passage.text) <= size + size // 4
        assert text[:begin].endswith(passage.before)
        assert len(passage.before) == min(begin, CONTEXT)
        begin += len(passage.text)


def test_passages_are_cut_at_lines_then_at_spaces_then_anywhere() -> None:
    lines = list(texts._passages(LINE * 200, PASSAGE, None))
    assert all(passage.text.endswith("\n") and len(passage.text) > PASSAGE // 2 for passage in lines)
    assert all(passage.before == "" or LINE.startswith(passage.before[:20]) for passage in lines)
    assert all(CONTEXT // 2 <= len(passage.before) <= CONTEXT for passage in lines[1:])
    words = list(texts._passages("word " * 4000, PASSAGE, None))
    assert all(passage.text.endswith("word ") for passage in words)
    assert all(passage.before.startswith("word ") for passage in words[1:])
    letters = list(texts._passages("x" * 10_000, PASSAGE, None))
    assert [len(passage.text) for passage in letters] == [4096, 4096, 1808]
    assert [len(passage.before) for passage in letters] == [0, 1024, 1024]


def test_a_large_file_without_a_line_end(tmp_path: Path) -> None:
    data = read(Source(write(tmp_path, b"x" * 20_000_000)))
    assert len(data) == pytest.approx(20_000_000 / PASSAGE, abs=1)
    assert sum(len(passage.text) for passage in passages(data)) == 20_000_000


def test_places_are_lines_of_the_file(tmp_path: Path) -> None:
    data = read(Source(write(tmp_path, LINE * 3000)))
    assert data.where[0].startswith("book.txt:1-")
    line = 1
    for where, passage in zip(data.where, passages(data), strict=True):
        begin, end = map(int, where.partition(":")[2].split("-"))
        assert (begin, end) == (line, line + passage.text.count("\n") - 1)
        line = end + 1
    assert line == 3001
    assert read(Source(write(tmp_path, "one line only " * 3))).where.tolist() == ["book.txt:1"]


# --- sources ---


@pytest.mark.parametrize("name", ["book.txt", "book.txt.gz", "book.md", "book.text", "BOOK.TXT"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file(tmp_path: Path, name: str, encoding: str) -> None:
    text = "Süß war's 😀.\n" * 40
    source = Source(write(tmp_path, text.encode(encoding), name))
    data = read(source)
    assert joined(data) == [text]
    assert data.part.tolist() == [""] * len(data)
    assert np.isnan(data.answers).all()
    assert not data.answered
    assert recognised(source) == (0.9, "it is a text file")
    assert len(set(data.digests.tolist())) < len(data) > 5  # equal lines, equal digests


def test_windows_line_ends_become_plain_ones_and_that_is_said(tmp_path: Path) -> None:
    data = read(Source(write(tmp_path, "one\r\ntwo\rthree\r\n")))
    assert joined(data) == ["one\ntwo\rthree\n"]
    assert any("CR LF" in note for note in data.notes)
    assert not any("CR LF" in note for note in read(Source(write(tmp_path, "one\n"))).notes)


def test_a_folder_below_and_in_order_without_its_read_me(tmp_path: Path) -> None:
    for name in ("b/2.txt", "a.md", "b/1.txt.gz", ".hidden.txt", "README.md", "notes.pdf"):
        write(tmp_path, f"This is {name}.", name)
    data = read(Source(tmp_path))
    assert data.where.tolist() == ["a.md:1", "b/1.txt.gz:1", "b/2.txt:1"]
    assert joined(data) == ["This is a.md.", "This is b/1.txt.gz.", "This is b/2.txt."]
    assert "Left out: README.md." in data.notes
    assert recognised(Source(tmp_path)) == (0.9, "the folder holds 4 text files")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_utf_8_are_shown_without_what_is_none(tmp_path: Path) -> None:
    file = write(tmp_path / "below", LINE, os.fsdecode(b"caf\xe9.txt"))
    assert read(Source(tmp_path)).where[0] == "below/caf\ufffd.txt:1"
    assert gather([file])[1].tolist() == ["caf\ufffd.txt"]


def test_folders_that_may_be_classes_are_claimed_less(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name in ("pos/1.txt", "neg/1.txt"):
            write(tmp_path, LINE, f"{part}/{name}")
    assert (recognised(Source(tmp_path)) or (0, ""))[0] == 0.5
    assert (recognised(Source(tmp_path / "train")) or (0, ""))[0] == 0.5
    assert (recognised(Source(tmp_path / "train" / "pos")) or (0, ""))[0] == 0.9
    assert read(Source(tmp_path)).counts() == {"train": 2, "valid": 0, "test": 2}


@pytest.mark.parametrize(
    "names",
    [
        ("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"),
        ("train.txt", "val.txt", "test.txt"),
        ("train.md", "dev.md.gz", "test.text"),
        ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens"),
        ("train/1.txt", "valid/1.txt", "test/1.txt"),
        ("train.jsonl", "valid.jsonl.gz", "test.jsonl"),
    ],
)
def test_parts_by_name(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        text = f"{name} {LONG}" * 5
        write(tmp_path, rows({"text": text}) if "jsonl" in name else text, name)
    data = read(Source(tmp_path))
    for part, name in zip(PARTS, names, strict=True):
        assert len(data.of(part))
        assert all(where.startswith(name + ":") for where in data.of(part).where)
    assert data.groups is None
    assert data.times is None
    assert (recognised(Source(tmp_path)) or (0, ""))[0] == 0.9


def test_names_that_sound_like_parts_but_are_few_are_not(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "the test of time.txt", "training day.txt"):
        write(tmp_path, LINE, name)
    data = read(Source(tmp_path))
    assert data.part.tolist() == [""] * len(data)
    assert any("Most files name no part" in note for note in data.notes)


def test_a_few_files_beside_parts_are_left_out(tmp_path: Path) -> None:
    for name in ("train.txt", "test.txt", "vocab.txt"):
        write(tmp_path, LINE, name)
    assert "Left out: vocab.txt." in read(Source(tmp_path)).notes


@pytest.mark.parametrize("name", ["t.jsonl", "t.ndjson.gz", "t.csv", "t.tsv.gz", "t.parquet"])
def test_a_column(tmp_path: Path, name: str) -> None:
    frame = pl.DataFrame({"id": ["x1", "x2"], "body": [LONG, "second " + LONG]})
    file = tmp_path / name
    if "json" in name:
        write(tmp_path, rows(*frame.to_dicts()), name)
    elif name.endswith("parquet"):
        frame.write_parquet(file)
    else:
        write(tmp_path, frame.write_csv(separator="\t" if "tsv" in name else ","), name)
    data = read(Source(file))
    assert joined(data) == [LONG, "second " + LONG]
    assert any('column "body"' in note for note in data.notes)
    assert {passage.column for passage in passages(data)} == {"body"}
    first = {"t.csv": ["t.csv:2", "t.csv:4"], "t.tsv.gz": ["t.tsv.gz:2", "t.tsv.gz:4"]}
    assert list(dict.fromkeys(data.where)) == first.get(name, [f"{name}:1", f"{name}:2"])
    assert recognised(Source(file)) is None
    assert joined(read(Source(file, target="id"))) == ["x1", "x2"]


def test_a_column_called_text_is_the_one(tmp_path: Path) -> None:
    source = Source(write(tmp_path, rows({"Text": "Short.", "long": LONG, "meta": {"a": [1]}}) * 3, "t.jsonl"))
    data = read(source)
    assert joined(data) == ["Short."] * 3
    assert recognised(source) == (0.3, 'the column "Text" holds texts')
    assert recognised(Source(source.where, target="long")) is None


@pytest.mark.parametrize(
    ("table", "strength"),
    [
        ("text\nshort\nshorter\n", 0.9),
        (f'body\n"{LONG}"\n"{LONG}"\n', 0.9),
        ("body\nshort\nshorter\n", None),
        ("Y\n1\n2\n", None),
        ("text\n1\n2\n", None),
        ("age,city\n1,Rome\n2,Oslo\n", None),
    ],
)
def test_what_tables_are_claimed(tmp_path: Path, table: str, strength: float | None) -> None:
    found = recognised(Source(write(tmp_path, table, "t.csv")))
    assert (None if found is None else found[0]) == strength


def test_fields_that_hold_several_values_are_no_columns(tmp_path: Path) -> None:
    source = Source(write(tmp_path, rows({"text": "Short.", "meta": {"a": 1}, "tags": ["b"]}) * 3, "t.jsonl"))
    assert recognised(source) == (0.9, 'its only column, "text", holds texts')


def test_long_cells_are_looked_at_whole(tmp_path: Path) -> None:
    source = Source(write(tmp_path, "text\n" + f'"{LINE * 100}"\n' * 600, "t.csv"))
    assert recognised(source) == (0.9, 'its only column, "text", holds texts')


@pytest.mark.parametrize(
    "files",
    [
        ("1.jpg", "2.png", "README.txt", "about.md", "more.txt"),
        ("train.csv", "test.csv", "classes.txt"),
        ("a.py", "b.py", "README.md"),
        (),
    ],
)
def test_folders_of_other_things_are_not_claimed(tmp_path: Path, files: tuple[str, ...]) -> None:
    for name in files:
        write(tmp_path, "age,city\n1,Rome\n", name)
    assert recognised(Source(tmp_path)) is None


@pytest.mark.parametrize("given", [np.zeros((3, 8, 8)), np.zeros((3, 2)), [1, 2], [], (np.zeros((3, 2)), [1, 2, 3])])
def test_other_things_from_memory_are_not_claimed(given: Any) -> None:
    assert recognised(Source(given)) is None


def test_a_text_file_with_a_target_is_a_table(tmp_path: Path) -> None:
    assert recognised(Source(write(tmp_path, "a,b\n1,2\n"), target="b")) is None


@pytest.mark.parametrize("made", [list, np.array, pl.Series, pd.Series, lambda cells: np.array(cells, dtype=object)])
def test_texts_from_memory(made: Any) -> None:
    source = Source(made(["One text.", "Two texts."]))
    data = read(source)
    assert joined(data) == ["One text.", "Two texts."]
    assert data.where.tolist() == ["text 1", "text 2"]
    assert recognised(source) == (0.9, "there are 2 texts from memory")


@pytest.mark.parametrize("made", [pl.DataFrame, pd.DataFrame])
def test_data_frames(made: Any) -> None:
    source = Source(made({"text": ["One text.", None, "Two texts."]}))
    data = read(source)
    assert joined(data) == ["One text.", "Two texts."]
    assert data.where.tolist() == ["row 0", "row 2"]
    assert recognised(source) == (0.9, 'its only column, "text", holds texts')
    assert [(finding.kind, finding.where) for finding in data.findings] == [("text.empty", ("row 1",))]


# --- how they are split ---


def test_one_document_is_split_in_its_order(tmp_path: Path) -> None:
    data = complete(read(Source(write(tmp_path, LINE * 30))), seed=3)
    assert data.part.tolist() == sorted(data.part, key=["train", "valid", "test"].index)
    assert len(data) >= 30  # short as it is, there is something of each part
    assert min(data.counts().values()) >= 3


def test_many_documents_stay_whole(tmp_path: Path) -> None:
    for number in range(25):
        write(tmp_path, f"{number} {LINE}" * 100, f"{number:02d}.txt")
    data = complete(read(Source(tmp_path)), seed=3)
    part: dict[str, set[str]] = {}
    for where, one in zip(data.where, data.part, strict=True):
        part.setdefault(where.partition(":")[0], set()).add(one)
    assert len(part) == 25
    assert all(len(parts) == 1 for parts in part.values())
    assert min(data.counts().values()) >= 3


def test_groups_and_times_of_a_table(tmp_path: Path) -> None:
    table = rows(
        *({"text": LINE * 100, "who": number // 2, "when": f"2024-01-{number + 1:02d}"} for number in range(30))
    )
    file = write(tmp_path, table, "t.jsonl")
    data = read(Source(file, group="who"))
    assert data.groups is not None
    assert data.times is None
    assert dict(zip(data.where.tolist(), data.groups.tolist(), strict=True)) == {
        f"t.jsonl:{number + 1}": str(number // 2) for number in range(30)
    }
    data = read(Source(file, time="when"))
    assert data.times is not None
    assert data.groups is None
    assert (np.diff(data.times).astype(int) >= 0).all()
    assert len(np.unique(data.times)) == 30


def test_a_column_split_is_the_split(tmp_path: Path) -> None:
    file = write(tmp_path, rows({"text": "a", "split": "train"}, {"text": "b", "split": "test"}), "t.jsonl")
    assert read(Source(file)).part.tolist() == ["train", "test"]


# --- bad input ---


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"fine\n\xe9t\xe9", "book.txt:2: byte 0xe9 at offset 5 is not UTF-8.*iconv"),
        (b"PNG\0\1\2", "byte 3 is zero, so it is not a text file"),
        (b"x" * 10_000 + b"\0", "byte 10,000 is zero"),
        (b"\xff\xfea\0\0\xd8", "not UTF-16"),
        (b"", "there is no text in it"),
        (b" \n\t\r\n", "there is no text in it"),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes, expected: str) -> None:
    with pytest.raises(DataError, match=expected):
        read(Source(write(tmp_path, content)))


def test_a_cut_archive(tmp_path: Path) -> None:
    file = tmp_path / "book.txt.gz"
    file.write_bytes(gzip.compress(LINE.encode() * 100)[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        read(Source(file))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (rows({"text": LONG}, {"text": 5}), 't.jsonl:2: "5" is no text but int'),
        (rows({"text": LONG}, {"text": ["a"]}), "t.jsonl:2.*no text but list"),
        (rows({"text": LONG}, {"text": "\ud800"}), "t.jsonl:2.*half of a character"),
        (rows({"a": LONG, "b": LONG}), "not clear which.*a, b.*--target a"),
        (rows({"a": "x", "b": "y"}), "not clear which.*--target a"),
        (rows({"a": 1, "b": 2.5}), "no column holds texts; columns: a, b"),
        ('{"text": "a"}\nnonsense\n', "t.jsonl:2: the line is not JSON"),
        ('["a"]\n', "t.jsonl:1: the line is not a JSON object"),
        ("\n", "there is no row"),
        (rows({"text": None}, {"text": " "}), "there is no text in it"),
    ],
)
def test_bad_rows(tmp_path: Path, content: str, expected: str) -> None:
    with pytest.raises(DataError, match=f"(?s){expected}"):
        read(Source(write(tmp_path, content, "t.jsonl")))


@pytest.mark.parametrize("option", ["target", "group", "time"])
def test_columns_that_are_not_there(tmp_path: Path, option: str) -> None:
    table = write(tmp_path, rows({"text": LONG, "speaker": "a"}), "t.jsonl")
    with pytest.raises(OptionError, match=f'--{option}.*"speakr".*speaker'):
        read(Source(table, **{option: "speakr"}))
    with pytest.raises(OptionError, match=f"--{option}: texts have no columns"):
        read(Source(write(tmp_path, LONG), **{option: "speaker"}))


def test_keys_that_cannot_be_split_by(tmp_path: Path) -> None:
    table = write(tmp_path, rows({"text": LONG, "who": "a"}, {"text": LONG, "who": None}), "t.jsonl")
    with pytest.raises(DataError, match=r't.jsonl:2: .*have no value in the column "who" \(--group\)'):
        read(Source(table, group="who"))
    table = write(tmp_path, rows({"text": LONG, "who": "a"}, {"text": LONG, "who": "b"}), "t.jsonl")
    with pytest.raises(DataError, match="neither dates nor numbers"):
        read(Source(table, time="who"))


def test_a_target_that_holds_no_texts() -> None:
    with pytest.raises(DataError, match='column "n" holds'):
        read(Source(pl.DataFrame({"n": [1, 2]}), target="n"))
    with pytest.raises(DataError, match='row 1: "5" is no text but int'):
        read(Source(pd.DataFrame({"text": ["a", 5]})))
    with pytest.raises(DataError, match='text 2: "5" is no text but int'):
        read(Source(["a", 5]))


def test_nothing_there(tmp_path: Path) -> None:
    for where in (tmp_path / "no.txt", tmp_path / "no.csv", "Once upon a time there was a text. " * 200):
        with pytest.raises(DataError, match=r'no such file or folder.*"text"'):
            read(Source(where))
    with pytest.raises(DataError, match=r"no text files.*\.txt"):
        read(Source(tmp_path))
    for name in ("valid.txt", "test.txt"):
        write(tmp_path, LINE, name)
    with pytest.raises(DataError, match="no file says that it is for training"):
        read(Source(tmp_path))


# --- prediction ---


def test_what_is_asked_for(tmp_path: Path) -> None:
    book, table = write(tmp_path, "A book.\r\n"), write(tmp_path, rows({"body": "A row."}, {"body": None}), "t.jsonl")
    known = Passage("known", "un", False, True)
    inputs = [book, str(table), {"body": "A record."}, [{"body": "1"}, {"body": "2"}], pl.DataFrame({"body": ["3"]})]
    raws, where = gather([*inputs, pd.Series(["4"]), known], column="body")
    assert [passage.text for passage in raws] == ["A book.\n", "A row.", "", "A record.", "1", "2", "3", "4", "known"]
    assert where[:4].tolist() == ["book.txt", "t.jsonl:1", "t.jsonl:2", "record 1"]
    assert raws[-1] is known
    assert all((passage.before, passage.first, passage.last) == ("", True, False) for passage in raws[:-1])


def test_a_folder_is_answered_whole(tmp_path: Path) -> None:
    for name in ("train.txt", "README.md", "b/test.txt"):
        write(tmp_path, LINE * 100, name)
    raws, where = gather([tmp_path])
    assert where.tolist() == ["README.md", "b/test.txt", "train.txt"]
    assert [passage.text for passage in raws] == [LINE * 100] * 3


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["Once upon a time"], "no such file or folder"),
        ([], "no text to answer"),
        ([{"txt": "a"}], 'record 1: there is no "text" in it'),
        ([[{"text": "a"}, {"text": 3}]], 'record 2: "3" is no text but int'),
        ([pl.DataFrame({"body": ["a"]})], "(?s)text.*body"),
    ],
)
def test_what_cannot_be_answered(inputs: list[Any], expected: str) -> None:
    with pytest.raises(LaminaError, match=expected):
        gather(inputs, column="text")


def test_a_person_is_shown_the_beginning() -> None:
    raws, _ = gather([{"text": "short"}, {"text": "x" * 1000}])
    assert show(raws) == [{"text": "short"}, {"text": "x" * 300 + " ..."}]
