"""Tables: every source in, typed columns and answers out; conform at prediction; each kind of bad table is refused."""

import gzip
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from lamina.data.conforming import conform, extra_columns
from lamina.data.data import Source
from lamina.data.delimited import read_delimited
from lamina.data.kinds import Column
from lamina.data.rows import is_rows, quantity
from lamina.data.split import complete
from lamina.data.table_files import part_of_name
from lamina.data.tables import columns_of, is_table, read_table, tabular
from lamina.errors import DataError, OptionError

ROWS = "age,city,ok,seen,answer\n39,Rome,yes,2024-01-31,a\n?,Oslo,no,2024-02-29,b\n50,Rome,yes,,a\n"


def write(folder: Path, text: str | bytes, name: str = "t.csv") -> str:
    content = text.encode() if isinstance(text, str) else text
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return str(folder / name)


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv", "t.tsv.gz", "t.txt"])
@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
def test_delimited(tmp_path: Path, name: str, delimiter: str) -> None:
    data = tabular(Source(write(tmp_path, ROWS.replace(",", delimiter), name), target="answer"))
    assert isinstance(data.raws, pl.DataFrame)
    assert data.raws["age"].to_list() == [39, None, 50]
    assert data.raws["city"].to_list() == ["Rome", "Oslo", "Rome"]
    assert data.raws["ok"].to_list() == [True, False, True]
    assert data.raws["seen"].to_list() == [datetime(2024, 1, 31), datetime(2024, 2, 29), None]
    assert data.answers.tolist() == ["a", "b", "a"]
    assert data.where.tolist() == [f"{name}:2", f"{name}:3", f"{name}:4"]
    assert any('"age": 1 of 3 values are missing (also written ?)' in note for note in data.notes)
    named = {",": "commas", ";": "semicolons", "|": "vertical bars", "\t": "tabs"}[delimiter]
    usual = delimiter == ("\t" if ".tsv" in name else ",")
    assert any(f"separated by {named}" in note for note in data.notes) is not usual


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks(tmp_path: Path, encoding: str) -> None:
    table = read_table(Source(write(tmp_path, "é,b\nü,2\n".encode(encoding))))
    assert table.frame.columns == ["é", "b"]
    assert any("UTF-16" in note for note in table.notes) is (encoding == "utf-16")


def test_quoted_line_breaks_keep_line_numbers_right(tmp_path: Path) -> None:
    path = write(tmp_path, 'a,b\n"x\ny, z",1\n\nw,2\n')
    table = read_table(Source(path))
    assert table.frame["a"].to_list() == ["x\ny, z", "w"]
    assert table.where.tolist() == ["t.csv:2", "t.csv:5"]


def test_quotation_marks_in_tab_separated_text(tmp_path: Path) -> None:
    table = read_table(Source(write(tmp_path, 'a\tb\n"so he said\t1\nfine"\t2\n', "t.tsv")))
    assert table.frame["a"].to_list() == ['"so he said', 'fine"']


@pytest.mark.parametrize(
    ("content", "where", "message"),
    [
        (b"", "t.csv", "empty"),
        (b"a,b\n", "t.csv", "no rows"),
        (b"a,b\n1,2\n\n1,2,3,4,5\n", "t.csv:4", "line 4 has 5 fields, the header has 2"),
        (b"a,b\n1,2\n\xff,2\n", "t.csv:3", "offset 8 is not UTF-8.*iconv"),
        (b"a,a\n1,2\n", "t.csv:1", '"a"'),
        (b"a,,c\n1,2,3\n", "t.csv:1", "column 2 of 3 has no name"),
        (b"5.1,3.5,0\n4.9,3.0,1\n", "t.csv:1", "looks like data.*column names first"),
        (b'a,b\n1,"2\n3,4\n', "t.csv:2", "quotation"),
        (b"PK\x03\x04\x00\x00", "t.csv", "not a text file"),
    ],
)
def test_refused_delimited(tmp_path: Path, content: bytes, where: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_table(Source(write(tmp_path, content)))
    assert caught.value.where.endswith(where)


def test_a_cell_may_hold_a_book(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('title,text\n"One","' + "word, " * 60_000 + '"\n"Two","short"\n')
    frame = read_delimited(tmp_path / "a.csv").frame
    assert [len(cell) for cell in frame["text"]] == [360_000, 5]


def test_a_list_of_texts_is_no_table_and_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamina.data.rows.np.shape", None)
    assert not is_rows(Source(["Once upon a time", "there was"]))


def test_a_source_is_named_without_its_ending() -> None:
    assert [Source(name).name for name in ("a/wiki.train.tokens", "b.csv.gz")] == ["wiki.train", "b"]


def test_a_cut_gzip_is_refused(tmp_path: Path) -> None:
    file = Path(write(tmp_path, ROWS * 50, "t.csv.gz"))
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        read_table(Source(file))


def test_an_unnamed_first_column_is_called_so(tmp_path: Path) -> None:
    table = read_table(Source(write(tmp_path, ",a\n0,x\n1,y\n")))
    assert table.frame.columns == ["unnamed", "a"]


def test_a_look_reads_first_rows_only(tmp_path: Path) -> None:
    path = write(tmp_path, "a,b\n" + "1,2\n" * 100_000 + "ragged\n")
    assert read_table(Source(path), rows=5).frame.height == 5


def test_parquet_and_json_lines(tmp_path: Path) -> None:
    frame = pl.DataFrame({"n": [1, 2], "s": ["x", "2"], "b": [True, None], "t": [datetime(2024, 1, 1), None]})
    frame.write_parquet(tmp_path / "t.parquet")
    table = read_table(Source(tmp_path / "t.parquet"))
    assert table.frame.equals(frame)
    lines = '{"n": 1, "s": "x", "b": true}\n\n{"n": 2.5, "s": 2, "extra": null}\n'
    for name in ("t.jsonl", "t.ndjson.gz"):
        table = read_table(Source(write(tmp_path, lines, name)))
        assert table.frame["n"].to_list() == [1, 2.5]
        assert table.frame["s"].to_list() == ["x", "2"]
        assert table.frame["b"].to_list() == [True, None]
        assert table.where.tolist() == [f"{name}:1", f"{name}:3"]


@pytest.mark.parametrize(
    ("line", "message"), [("{", "not JSON"), ("[1]", "not a JSON object"), ('{"a": [1]}', '"a" holds a list')]
)
def test_refused_json_lines(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_table(Source(write(tmp_path, '{"a": 1}\n' + line + "\n", "t.jsonl")))
    assert caught.value.where.endswith("t.jsonl:2")


def test_other_refused_files(tmp_path: Path) -> None:
    for name, message in (("t.parquet", "not a readable Parquet"), ("t.xlsx", '".xlsx" are not read')):
        with pytest.raises(DataError, match=message):
            read_table(Source(write(tmp_path, "junk", name)))
    with pytest.raises(DataError, match="no such file"):
        read_table(Source(tmp_path / "gone.csv"))
    nested = pl.DataFrame({"a": [[1], [2]]})
    with pytest.raises(DataError, match='column "a" holds List'):
        read_table(Source(nested))


def test_a_folder_with_parts(tmp_path: Path) -> None:
    write(tmp_path, "x,y\n1,a\n2,b\n", "my_train.csv")
    write(tmp_path, "y,x\na,3\n", "my_test.csv.gz")
    write(tmp_path, "y,x\nb,4\n", "my-dev.csv")
    write(tmp_path, "id\n1\n", "sample.csv")
    assert is_table(tmp_path)
    data = tabular(Source(tmp_path, target="y"))
    assert data.part.tolist() == ["train", "train", "valid", "test"]
    assert data.raws["x"].to_list() == [1, 2, 4, 3]
    assert data.where[3] == "my_test.csv.gz:2"
    assert any("Left out: sample.csv" in note for note in data.notes)
    write(tmp_path, "y,x,z\na,3,1\n", "my_test.csv.gz")
    with pytest.raises(DataError, match="it has z besides"):
        tabular(Source(tmp_path, target="y"))
    write(tmp_path, "3,a\n4,b\n", "my_test.csv.gz")
    with pytest.raises(DataError, match=r"looks like data|may be data"):
        tabular(Source(tmp_path, target="y"))
    write(tmp_path, "x,y\n3,A\n", "my_test.csv.gz")
    with pytest.raises(DataError, match='"A", a class that no training row has') as caught:
        tabular(Source(tmp_path, target="y"))
    assert caught.value.where == "my_test.csv.gz:2"


def test_a_test_file_without_answers_is_left_out_and_said(tmp_path: Path) -> None:
    write(tmp_path, "x,y\n1,a\n2,b\n", "train.csv")
    write(tmp_path, "x\n3\n", "test.csv")
    data = tabular(Source(tmp_path, target="y"))
    assert data.counts() == {"train": 2, "valid": 0, "test": 0}
    assert [f.kind for f in data.findings] == ["file.unused"]


def test_several_tables_without_parts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no table"):
        read_table(Source(tmp_path))
    write(tmp_path, ROWS, "a.csv")
    write(tmp_path, ROWS, "b.csv")
    with pytest.raises(DataError, match=r"several tables: a\.csv, b\.csv"):
        read_table(Source(tmp_path))


def test_part_of_name() -> None:
    names = ("adult_train.csv.gz", "x.test.parquet", "VALID.tsv", "contest.csv", "trained.csv", "dev.jsonl")
    assert [part_of_name(Path(name)) for name in names] == ["train", "test", "valid", None, None, "valid"]


def test_a_split_column(tmp_path: Path) -> None:
    data = tabular(Source(write(tmp_path, "x,Split,y\n1,train,a\n2,TRAIN,b\n3,val,a\n4,test,b\n"), target="y"))
    assert data.part.tolist() == ["train", "train", "valid", "test"]
    assert data.raws.columns == ["x"]
    data = tabular(Source(write(tmp_path, "x,split,y\n1,wood,a\n2,metal,b\n"), target="y"))
    assert data.raws.columns == ["x", "split"]


def test_frames_and_arrays_from_python() -> None:
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None, 3], dtype="Int64"),
            "f": [1.5, np.nan, 2.5],
            "s": ["a", None, "b"],
            "b": [True, False, True],
            "t": pd.to_datetime(["2024-01-01", None, "2024-01-03"]),
            "c": pd.Categorical(["u", "v", None]),
            "y": ["p", "q", "p"],
        },
        index=[10, 20, 30],
    )
    data = tabular(Source(frame, target="y"))
    assert data.where.tolist() == ["row 10", "row 20", "row 30"]
    assert data.raws.to_dict(as_series=False) == {
        "i": [1, None, 3],
        "f": [1.5, None, 2.5],
        "s": ["a", None, "b"],
        "b": [True, False, True],
        "t": [datetime(2024, 1, 1), None, datetime(2024, 1, 3)],
        "c": ["u", "v", None],
    }
    same = tabular(Source(pl.DataFrame(data.raws).with_columns(y=pl.Series(["p", "q", "p"])), target="y"))
    assert same.raws.equals(data.raws)
    assert (same.digests == data.digests).all()
    data = tabular(Source((np.arange(6.0).reshape(3, 2), [1, 2, 1]), target="target"))
    assert data.raws.columns == ["0", "1"]
    assert data.answers.tolist() == ["1", "2", "1"]
    with pytest.raises(DataError, match="3 rows, and answers"):
        tabular(Source((np.zeros((3, 2)), [1, 2]), target="target"))
    with pytest.raises(DataError, match="no table"):
        tabular(Source(np.zeros(3), target="target"))
    with pytest.raises(DataError, match="there twice"):
        tabular(Source(pd.DataFrame([[1, 2]], columns=["a", "a"]), target="a"))


def test_targets(tmp_path: Path) -> None:
    path = write(tmp_path, "price,x\n" + "".join(f"{n}.5,{n}\n" for n in range(30)) + ",7\ninf,8\n")
    data = tabular(Source(path, target="price"))
    assert data.answers.dtype == np.float64
    assert len(data) == 30
    found = {f.kind: f for f in data.findings}
    assert found["target.missing"].where == ("t.csv:32", "t.csv:33")
    assert found["value.infinite"].where == ('t.csv:33: "inf"',)
    assert tabular(Source(path, target="price"), regression=False).answers[0] == "0.5"
    with pytest.raises(DataError, match="--target price"):
        tabular(Source(path))
    with pytest.raises(OptionError, match=r'no column .--target. "prise".*Did you mean "price"'):
        tabular(Source(path, target="prise"))
    with pytest.raises(OptionError, match="--group"):
        tabular(Source(path, target="price", group="g"))
    with pytest.raises(DataError, match="no column to learn from"):
        tabular(Source(write(tmp_path, "y\n1\n2\n"), target="y"))
    with pytest.raises(DataError, match="no row has a value"):
        tabular(Source(write(tmp_path, "x,y\n1,\n2,NA\n"), target="y"))
    with pytest.raises(DataError, match="cannot be regressed"):
        tabular(Source(write(tmp_path, "x,y\n1,a\n2,b\n"), target="y"), regression=True)


def test_one_class_is_a_finding(tmp_path: Path) -> None:
    assert [f.kind for f in tabular(Source(write(tmp_path, "x,y\n1,a\n2,a\n"), target="y")).findings] == [
        "class.single"
    ]


def test_groups_and_times(tmp_path: Path) -> None:
    path = write(tmp_path, "x,who,when,y\n1,p,2024-01-02,a\n2,q,2024-01-01,b\n")
    data = tabular(Source(path, target="y", group="who", time="when"))
    assert data.groups is not None
    assert data.times is not None
    assert data.groups.tolist() == ["p", "q"]
    assert data.times[0] > data.times[1]
    assert data.raws.columns == ["x", "when"]
    with pytest.raises(DataError, match="neither dates nor numbers"):
        tabular(Source(path, target="y", time="who"))
    with pytest.raises(DataError, match="no value in the column") as caught:
        tabular(Source(write(tmp_path, "x,who,y\n1,p,a\n2,,b\n"), target="y", group="who"))
    assert caught.value.where == "t.csv:3"
    odd = "".join(f"{n},{n // 3 if n != 7 else '77b'},{'ab'[n % 2]}\n" for n in range(300))
    groups = tabular(Source(write(tmp_path, "x,who,y\n" + odd), target="y", group="who")).groups
    assert groups is not None
    assert groups[6:9].tolist() == ["2", "77b", "2"]


def test_rows_that_differ_only_by_identifier_have_equal_digests(tmp_path: Path) -> None:
    rows = "".join(f"{n},{n // 2},{'ab'[n % 3 == 0]}\n" for n in range(40))
    data = tabular(Source(write(tmp_path, "id,x,y\n" + rows), target="y"))
    assert data.digests[0] == data.digests[1] != data.digests[2]


SPELLED = (
    "price,when,part,ok,y\n"
    + "".join(f'"1,{n}0",{n}/02/2024,{n % 3},yes,a\n' for n in range(10, 30))
    + '"2,345",01/02/2024,,no,b\n'
)


def test_conform_reads_a_new_table_as_training_was_written(tmp_path: Path) -> None:
    data = tabular(Source(write(tmp_path, SPELLED), target="y"))
    assert data.raws["price"][20] == 2345
    assert data.raws["when"][20] == datetime(2024, 2, 1)
    kinds = [Column.from_json(kind.to_json()) for kind in columns_of(data)]
    new = pl.DataFrame({"price": ["1,234", "7"], "when": ["03/04/2024", None], "part": ["2.0", "?"], "ok": ["no", ""],
                        "more": ["x", "y"]})  # fmt: skip
    assert conform(new, kinds).to_dict(as_series=False) == {
        "price": [1234, 7],
        "when": [datetime(2024, 4, 3), None],
        "part": [2, None],
        "ok": [False, None],
    }
    assert extra_columns(new, kinds) == ["more"]
    assert conform(data.raws, kinds).equals(data.raws)
    typed = [{"price": 5, "when": "2024-12-31", "ok": True}, {"price": None, "part": 1}]
    assert conform(typed, kinds).rows() == [(5, datetime(2024, 12, 31), None, True), (None, None, 1, None)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"price": ["12.5.7"]}, 'row 0, column "price": "12.5.7" is not a number'),
        ({"price": ["cheap"]}, "cheap"),
        ({"when": ["2024-13-45"]}, "is not a date"),
        ({"ok": ["maybe"]}, "is not a boolean"),
    ],
)
def test_conform_refuses_cells(tmp_path: Path, change: dict[str, list[Any]], message: str) -> None:
    kinds = columns_of(tabular(Source(write(tmp_path, SPELLED), target="y")))
    row = {"price": ["1"], "when": ["03/04/2024"], "part": ["2"], "ok": ["no"]}
    with pytest.raises(DataError, match=message):
        conform(pl.DataFrame({**row, **change}), kinds)
    with pytest.raises(DataError, match='lacks the column "price"'):
        conform(pl.DataFrame({"Price": ["1"]}), kinds)


def test_codes_stay_codes_from_numbers(tmp_path: Path) -> None:
    rows = "".join(f"{n % 3},{n},{'ab'[n % 2]}\n" for n in range(40))
    kinds = columns_of(tabular(Source(write(tmp_path, "shop_code,x,y\n" + rows), target="y")))
    assert kinds[0].kind == "category"
    assert conform(pl.DataFrame({"shop_code": [1.0, 2.0], "x": [1, 2]}), kinds)["shop_code"].to_list() == ["1", "2"]


@pytest.mark.parametrize("written", ["1.0", "1", "01"])
def test_codes_are_known_again_however_they_are_written(tmp_path: Path, written: str) -> None:
    rows = "".join(f"{n % 3}.0,{n},{'ab'[n % 2]}\n" if n % 7 else f",{n},a\n" for n in range(60))
    data = tabular(Source(write(tmp_path, "payment_type,x,y\n" + rows), target="y"))
    kinds = [Column.from_json(kind.to_json()) for kind in columns_of(data)]
    new = pl.DataFrame({"payment_type": [written, "none", "cash"], "x": ["1", "2", "3"]})
    assert conform(new, kinds)["payment_type"].to_list() == ["1", None, "cash"]
    assert conform(data.raws, kinds).equals(data.raws)


def test_durations_and_times_of_day_are_numbers_each_time() -> None:
    frame = pl.DataFrame({"took": [timedelta(seconds=n) for n in range(30)], "at": [time(n % 24) for n in range(30)]})
    data = tabular(Source(frame.with_columns(y=pl.Series(["a", "b"] * 15)), target="y"))
    assert conform(frame, columns_of(data)).equals(data.raws)


def test_another_table_is_read_as_training_was(tmp_path: Path) -> None:
    rows = "".join(
        f"{('yes', 'no', 'maybe')[n % 3]},1.234.{n:03},{n % 28 + 1:02}/{n % 12 + 1:02}/2024,x{n % 5},{'ab'[n % 2]}\n"
        for n in range(60)
    )
    data = tabular(Source(write(tmp_path, "sure,price,day,kind,y\n" + rows), target="y"))
    known = [kind.to_json() for kind in columns_of(data)]
    other = write(
        tmp_path, "y,kind,more,day,price,sure\na,x1,7,03/08/2024,2.101,yes\nc,x9,8,04/08/2024,3,no\n", "o.csv"
    )
    found = tabular(Source(other, target="y", columns=known))
    assert found.raws.rows() == [("yes", 2101, datetime(2024, 8, 3), "x1"), ("no", 3, datetime(2024, 8, 4), "x9")]
    assert found.answers.tolist() == ["a", "c"]
    odd = "".join(
        f"{'yes' if n else 'perhaps'},{n if n != 7 else 'abc'},{f'{n % 28 + 1:02}/03/2024' if n != 9 else 'soon'},x1,a\n"
        for n in range(200)
    )
    table = tabular(Source(write(tmp_path, "sure,price,day,kind,y\n" + odd, "odd.csv"), target="y", columns=known))
    assert table.raws["price"][6:9].to_list() == [6, None, 8]
    places = [finding.where for finding in table.findings if finding.kind == "value.unparsable"]
    assert places == [('odd.csv:9: "abc"',), ('odd.csv:11: "soon"',)]
    bad = write(tmp_path, "sure,price,day,kind,y\nyes,abc,01/03/2024,x1,a\n", "bad.csv")
    with pytest.raises(DataError, match=r'bad\.csv:2: column "price": "abc" is not a number'):
        tabular(Source(bad, target="y", columns=known))
    lacking = write(tmp_path, "y,kind,day,price\na,x1,03/08/2024,2.101\n", "l.csv")
    with pytest.raises(DataError, match=r'l\.csv: .*lacks the column "sure"'):
        tabular(Source(lacking, target="y", columns=known))


def test_none_may_be_a_class(tmp_path: Path) -> None:
    path = write(tmp_path, "x,y\n1,None\n2,Apnea\n3,none\n4,\n5,Insomnia\n6,NA\n")
    data = tabular(Source(path, target="y"))
    assert data.answers.tolist() == ["None", "Apnea", "None", "Insomnia"]
    assert any('"None" is taken as a class (2 rows)' in note for note in data.notes)
    numbers = tabular(
        Source(write(tmp_path, "x,y\n" + "".join(f"{n},{n}.5\n" for n in range(30)) + "1,None\n"), target="y")
    )
    assert len(numbers) == 30


def test_a_table_of_test_rows_alone_can_be_read(tmp_path: Path) -> None:
    path = write(tmp_path, "x,split,y\n" + "".join(f"{n},test,{'ab'[n % 2]}\n" for n in range(20)))
    data = tabular(Source(path, target="y"))
    assert data.part.tolist() == ["test"] * 20
    with pytest.raises(DataError, match="none for training"):
        complete(data, 0)


def test_a_look_that_cuts_a_quotation_looks_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = "of many\n" * 3000
    path = write(tmp_path, "x,y\n" + "".join(f'"{n} {book}",{n}.5\n' for n in range(40)))
    monkeypatch.setattr("lamina.data.rows.LOOKED_AT", 10)
    with pytest.raises(DataError):
        read_table(Source(path), 10)
    found = quantity(Source(path, target="y"))
    assert found is not None
    assert found[0]


def test_classes_keep_the_names_that_the_table_gives_them(tmp_path: Path) -> None:
    rows = "".join(f"{row},{'Yes' if row % 3 else 'no'}\n" for row in range(30))
    (tmp_path / "t.csv").write_text("x,bought\n" + rows)
    assert set(tabular(Source(tmp_path / "t.csv", "bought")).answers) == {"Yes", "no"}
