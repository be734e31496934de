import errno
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from lamina.errors import RunError, TrainingError
from lamina.findings import Finding
from lamina.records import Step
from lamina.run import FORMAT, Run, listed, to_json_text

RECIPE = {
    "data": {"source": "<b>flowers</b>"},
    "task": {"name": "image_classification", "options": {}},
    "network": {"name": "cnn", "size": "tiny"},
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", RECIPE)


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_is_whole_or_as_before_when_the_disk_is_full(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.write("facts.json", {"a": 1})
    monkeypatch.setattr(os, "fsync", full)
    for name in ("facts.json", "new.json", "folder/new.bin"):
        with pytest.raises(TrainingError, match="No space left") as caught:
            run.write(name, {"a": 2})
        assert name in caught.value.where
    assert run.read("facts.json") == {"a": 1}
    assert sorted(file.name for file in run.path.rglob("*") if file.is_file()) == ["facts.json", "recipe.json"]


def test_a_name_that_is_no_utf_8_comes_back_as_it_was(run: Run) -> None:
    name = os.fsdecode(b"\\caf\xe9")
    run.write("recipe.json", RECIPE | {"data": {"source": name, name: "é"}})
    run.log(name)
    assert run.read("recipe.json")["data"] == {"source": name, name: "é"}
    assert [record["what"] for record in run.records()] == [name]


def test_stopping_while_a_file_is_written_leaves_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        run.write("facts.json", {})
    assert [file.name for file in run.path.iterdir()] == ["recipe.json"]


def test_a_newer_format_is_refused_and_an_older_read(run: Run) -> None:
    run.write("recipe.json", {"format": FORMAT + 1})
    with pytest.raises(RunError, match="Update Lamina"):
        Run.open(run.path)
    run.write("recipe.json", {"format": 0})
    assert Run.open(run.path).path == run.path


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such run"):
        Run.open(tmp_path / "none")
    with pytest.raises(RunError, match=r"no recipe\.json"):
        Run.open(tmp_path)
    (tmp_path / "recipe.json").write_text('{"format": ')
    with pytest.raises(RunError, match="cannot be read"):
        Run.open(tmp_path)


def test_nothing_is_overwritten(run: Run) -> None:
    with pytest.raises(RunError, match="already"):
        Run.create(run.path, {})
    assert run.read("recipe.json")["task"]["name"] == "image_classification"


def test_the_log_keeps_records_findings_and_notes(run: Run) -> None:
    step = Step(1, 1, 0.1, {"network": math.nan}, 0.1, math.inf, 1.0, 1, 1.0)
    finding = Finding("leak.duplicate", "warning", "what", "remedy", ("a", "b"), 2, {"x": 1})
    for record in ("a note", step, finding, {"kind": "end"}):
        run.log(record)
    assert [record["kind"] for record in run.records()] == ["note", "step", "finding", "end"]
    (read,) = run.records("step")
    assert read["loss"] == {"network": None}
    assert read["gradient_norm"] is None
    assert run.findings() == [finding]


def test_a_half_written_last_line_is_ignored_and_cut(run: Run) -> None:
    run.log("one")
    size = run.log_size()
    with (run.path / "log.jsonl").open("a") as stream:
        stream.write('{"kind": "note", "wh')
    assert [record["what"] for record in run.records()] == ["one"]
    for kept in (size + 5, size + 1000, size):  # beyond the end: a power cut took what was written last
        run.cut_log(kept)
        assert run.log_size() == size


def test_a_damaged_line_is_named(run: Run) -> None:
    (run.path / "log.jsonl").write_text('{"kind": "note", "what": "a"}\n{"kind": \n')
    with pytest.raises(RunError, match=r"log\.jsonl:2"):
        list(run.records())


def test_json_is_strict() -> None:
    content = {1: math.nan, "a": [math.inf, np.float32(2), torch.tensor(3)], "b": np.arange(2), "p": Path("x")}
    assert json.loads(to_json_text(content), parse_constant=pytest.fail) == {
        "1": None, "a": [None, 2.0, 3], "b": [0, 1], "p": "x",
    }  # fmt: skip


def test_reads_of_the_test_part_are_counted(run: Run) -> None:
    assert [run.count_test_read(why) for why in ("train", "evaluate")] == [1, 2]
    assert [read["why"] for read in run.read("test_reads.json")] == ["train", "evaluate"]


def test_a_full_disk_stops_the_log(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(TrainingError, match="log cannot be written"):
        run.log("note")


def test_a_notebook_shows_it_escaped_at_every_stage(run: Run) -> None:
    page = run._repr_html_()
    assert "&lt;b&gt;flowers" in page
    assert "<b>" not in page
    assert "not finished" in page
    run.log(Finding("leak.duplicate", "warning", "<i>leak</i>", "remedy"))
    score = {"value": 0.93217, "low": 0.9, "high": None}
    run.write("evaluation/test.json", {"scores": {"macro_f1": score}, "verdict": "better & more"})
    page = run._repr_html_()
    assert "0.9322 (95 % interval 0.9 to –)" in page
    assert "macro f1" in page
    assert "better &amp; more" in page
    assert "&lt;i&gt;leak" in page


def test_runs_are_listed_damaged_ones_too(tmp_path: Path) -> None:
    Run.create(tmp_path / "a", RECIPE)
    done = Run.create(tmp_path / "deep" / "b", RECIPE)
    done.write("evaluation/test.json", {"scores": {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}}})
    Run.create(tmp_path / "c", {"task": None})
    Run.create(tmp_path / "d", RECIPE).write("recipe.json", {"format": FORMAT + 1})
    (Run.create(tmp_path / "e", RECIPE).path / "recipe.json").write_text("{")
    rows = {Path(row["run"]).name: row for row in listed(tmp_path)}
    assert rows["a"]["state"] == "not finished"
    assert (rows["b"]["state"], rows["b"]["metric"], rows["b"]["value"]) == ("proved", "accuracy", 0.5)
    assert rows["c"]["state"] == "its files are damaged"
    assert "its format is" in rows["d"]["state"]
    assert "cannot be read" in rows["e"]["state"]
    assert len({tuple(row) for row in rows.values()}) == 1
