"""The command line: help, JSON, exit codes, errors in one line, quiet where nobody looks, Ctrl-C."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from lamina import cli, find
from lamina.run import Run
from trained import Trained

VERBS = sorted(get_command(cli.app).commands)  # type: ignore[attr-defined]
TABLE_RUN = pytest.mark.parametrize("trained", ["tabular_classification"], indirect=True)
IMAGE_RUN = pytest.mark.parametrize("trained", ["image_classification"], indirect=True)
QUICK = ("--size", "tiny", "--epochs", "2", "--threads", "1", "--precision", "float32")


@dataclass(frozen=True)
class Said:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The last line on standard output."""
        found: dict[str, Any] = json.loads(self.out.splitlines()[-1], parse_constant=pytest.fail)
        assert isinstance(found, dict)
        return found


@pytest.fixture
def lamina(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["lamina", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert "\x1b" not in said.out + said.err, "nobody looks, so nothing is coloured"
        return Said(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """200 rows whose class follows from two columns."""
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=(2, 200)).round(4)
    answers = np.where(a + b > 0, "yes", "no")
    pl.DataFrame({"a": a, "b": b, "answer": answers}).write_csv(tmp_path / "table.csv")
    return tmp_path / "table.csv"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(lamina: Any, verb: str) -> None:
    said = lamina(verb, "--help")
    assert said.code == 0
    assert f"Example: lamina {verb}" in said.out


def test_nothing_typed_shows_the_help(lamina: Any) -> None:
    said = lamina()
    assert (said.code, said.err) == (0, "")
    assert all(verb in said.out for verb in VERBS)


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lamina", "tran"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "`python -m lamina --help` shows an example" in done.stderr


@pytest.mark.parametrize(
    ("words", "code"), [(["networks"], 0), (["networks", "--json"], 0), (["train", "nowhere", "--json"], 3)]
)
def test_that_nobody_reads_is_no_failure(words: list[str], code: int) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    done = subprocess.run(
        [sys.executable, "-m", "lamina", *words], stdout=writes, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(writes)
    assert (done.returncode, done.stderr) == (code, b"")


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['lamina', '--help']\nimport lamina.cli\n"
        "try: lamina.cli.main()\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'polars', 'sklearn', 'matplotlib', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "code", "pattern"),
    [
        (["trian"], 2, "Did you mean 'train'"),
        (["train", "x", "--epoch", "3"], 2, 'Did you mean "--epochs"'),
        (["train", "x", "--epochs", "many"], 2, "--epochs: it must be a valid integer."),
        (["train", "x", "--threads", "0"], 2, "--threads: it must be greater than or equal to 1."),
        (["train", "x", "--precision", "float17"], 2, 'Did you mean "float16"'),
        (["train"], 2, "DATA is missing"),
        (["train", "TABLE", "--target", "answer", "--lr", "-1"], 2, "--lr: -1.0 was given"),
        (["train", "TABLE", "--budget", "soon"], 2, "'soon' is not a time"),
        (["train", "TABLE", "--target", "answer", "--network", "cn"], 2, 'Did you mean "cnn"'),
        (["train", "TABLE", "--target", "answer", "--size", "smal"], 2, 'Did you mean "small"'),
        (["train", "TABLE", "--task", "tabular_clasification"], 2, 'Did you mean "tabular_classification"'),
        (["train", "TABLE", "--target", "anser"], 2, 'Did you mean "answer"'),
        (["train", "TABLE", "--target", "answer", "--set", "label_smothing=1"], 2, 'Did you mean "label_smoothing"'),
        (["train", "TABLE", "--target", "answer", "--set", "flip"], 2, "NAME=VALUE"),
        (["train", "--task", "nothing.py", "TABLE"], 2, "no such file"),
        (["train", "nowhere"], 3, "nowhere: there is no such file or folder"),
        (["check", "nowhere"], 3, "nowhere"),
        (["train", "--resume", "nowhere"], 4, "no such run"),
        (["train", "--resume", "x", "--network", "cnn"], 2, "--network cannot be given with --resume"),
        (["train", "--resume", "x", "--dropout", "0"], 2, "--dropout cannot be given with --resume"),
        (["train", "--recipe", "x", "--test-share", "0.15"], 2, "--test-share cannot be given with --recipe"),
        (["train", "--recipe", "x", "--epochs", "2"], 2, "--epochs cannot be given with --recipe"),
        (["predict", "nowhere", "x"], 4, "no such run"),
        (["evaluate", "nowhere"], 4, "no such run"),
        (["report", "nowhere"], 4, "no such run"),
        (["explain", "nowhere"], 4, "no such run"),
        (["compare", "nowhere", "else"], 4, "no such run"),
        (["demo", "imageclassification"], 2, 'Did you mean "image_classification"'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("as_json", [False, True])
def test_an_error_is_one_line_and_a_code(
    lamina: Any, table: Path, words: list[str], code: int, pattern: str, as_json: bool
) -> None:
    words = [str(table) if word == "TABLE" else word for word in words]
    said = lamina(*words, *(["--json"] if as_json else []))
    assert said.code == code
    if as_json:
        assert set(said.json["error"]) == {"what", "where", "remedy"}
        assert pattern.split(": ")[0] in " ".join(said.json["error"].values())
    else:
        errors = [line for line in said.err.splitlines() if line]
        assert errors[-1].startswith("error: ")
        assert pattern in errors[-1]
        assert len(errors) == 1
        assert said.out == ""
    assert list(table.parent.iterdir()) == [table], "nothing is left behind"


def test_something_unforeseen_is_one_line_too(lamina: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Path) -> None:
        raise RuntimeError("one\n\ttwo")

    monkeypatch.setattr("lamina.run.listed", broken)
    said = lamina("runs")
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "RuntimeError: one two" in said.err


def test_train_says_what_programs_and_people_need(lamina: Any, table: Path, tmp_path: Path) -> None:
    words = ("train", table, "--target", "answer", *QUICK)
    said = lamina(*words, "--out", tmp_path / "one", "--json")
    assert (said.code, said.err) == (0, "")
    assert len(said.out.splitlines()) == 1
    assert said.json.keys() >= {"run", "task", "metrics", "baselines", "findings", "seconds"}
    assert said.json["task"] == "tabular_classification"
    assert all(set(score) == {"value", "low", "high"} for score in said.json["metrics"].values())
    assert "majority_class" in said.json["baselines"]
    said = lamina(*words, "--out", tmp_path / "two", "--seed", "1")
    assert said.code == 0
    assert all(word in said.out for word in ("Verdict", "Findings", "Report", "Next", "accuracy"))
    told = said.err.splitlines()
    assert all(line.startswith(("note ", "warning ", "epoch ")) for line in told), "bars are for terminals"
    assert sum(line.startswith("epoch ") for line in told) == 2, "a job's log shows how it goes"
    said = lamina("train", "--recipe", tmp_path / "one", "--out", tmp_path / "three", "--json")
    assert said.code == 0
    weights = [(tmp_path / name / "best.safetensors").read_bytes() for name in ("one", "two", "three")]
    assert weights[0] == weights[2] != weights[1]
    said = lamina("compare", tmp_path / "one", tmp_path / "three", "--json")
    assert (said.code, said.json.get("differs", False)) == (0, False)
    rows = lamina("runs", tmp_path, "--json").json["runs"]
    assert {Path(row["run"]).name: row["state"] for row in rows} == dict.fromkeys(("one", "two", "three"), "proved")
    assert lamina(*words, "--out", tmp_path / "one").code == 4


@TABLE_RUN
def test_answers_are_written_in_a_form_that_the_task_has(lamina: Any, trained: Trained, tmp_path: Path) -> None:
    said = lamina("predict", str(trained.model.path), "x", "--out", str(tmp_path / "a.txt"))
    assert said.code == 2
    assert 'ends in ".txt"' in said.err
    assert ".jsonl" in said.err


@TABLE_RUN
def test_the_other_verbs_of_a_run(lamina: Any, trained: Trained) -> None:
    path = trained.model.path
    reads = len(trained.model.run.read("test_reads.json"))
    said = lamina("evaluate", path, "--json")
    assert said.json.keys() >= {"run", "task", "metrics", "baselines", "findings", "seconds"}
    stored = trained.model.scores
    assert said.json["metrics"]["accuracy"]["value"] == pytest.approx(stored["accuracy"]["value"])
    assert len(trained.model.run.read("test_reads.json")) == reads + 1
    other = lamina("evaluate", path, trained.source.where, "--target", "diagnosis", "--json")
    assert other.code == 0
    assert other.json["metrics"]["accuracy"]["value"] > 0.8
    assert Path(lamina("report", path, "--json").json["report"]).exists()
    layers = lamina("explain", path, "--json").json
    assert layers["parameters"] == sum(row["parameters"] for row in layers["rows"])
    assert "parameters" in lamina("explain", path).out
    found = lamina("check", trained.source.where, "--target", "diagnosis", "--json")
    assert isinstance(found.json["findings"], list)


@TABLE_RUN
@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_an_output_that_is_not_utf_8_takes_all_that_is_said(
    monkeypatch: pytest.MonkeyPatch, trained: Trained, tmp_path: Path, encoding: str
) -> None:
    run = tmp_path / "añ − run"
    shutil.copytree(trained.model.path, run)

    def said(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["lamina", *words])
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
        with pytest.raises(SystemExit, match="0"):
            cli.main()
        sys.stdout.flush()
        written: bytes = sys.stdout.buffer.getvalue()  # type: ignore[attr-defined]
        return written.decode(encoding)

    assert "accuracy ^" in said("evaluate", str(run))
    assert json.loads(said("report", str(run), "--json"))["run"] == str(run)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_utf_8_do_no_harm(lamina: Any, tmp_path: Path) -> None:
    """Of folders, classes, pictures and runs."""
    name = os.fsdecode(b"caf\xe9")
    for shade, kind in enumerate(("bar", name)):
        (tmp_path / name / kind).mkdir(parents=True)
        for number in range(40):
            pixels = np.random.default_rng([shade, number]).integers(0, 100, (8, 8), dtype=np.uint8) + 120 * shade
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name / kind / f"{name}{number}.png")
    run = tmp_path / f"{name}-run"
    said = lamina("train", tmp_path / name, *QUICK, "--out", run, "--json")
    assert (said.code, said.json["run"]) == (0, str(run))
    assert name in Run.open(run).facts()["classes"]
    assert lamina("evaluate", run).code == 0
    picture = tmp_path / name / name / f"{name}0.png"
    for out in ("a.csv", "a.jsonl"):
        assert lamina("predict", run, picture, "--out", tmp_path / out).code == 0
    answer = json.loads((tmp_path / "a.jsonl").read_text(encoding="utf-8"))
    assert set(answer["probabilities"]) == {"bar", name}
    assert lamina("explain", run, picture, "--out", tmp_path / "why.html").code == 0


def test_lists(lamina: Any, tmp_path: Path) -> None:
    for kind in ("tasks", "networks"):
        assert [row["name"] for row in lamina(kind, "--json").json[kind]] == find.names(kind)  # type: ignore[arg-type]
        assert all(name in lamina(kind).out for name in find.names(kind))  # type: ignore[arg-type]
    assert lamina("runs", tmp_path, "--json").json == {"runs": []}
    assert "no run" in lamina("runs", tmp_path).out


@TABLE_RUN
def test_predictions_of_a_table_keep_its_order(lamina: Any, trained: Trained, tmp_path: Path) -> None:
    rows = pl.read_csv(trained.source.where)[:7]
    rows.write_csv(tmp_path / "new.csv")
    for out in ("answers.csv", "answers.jsonl"):
        said = lamina("predict", trained.model.path, tmp_path / "new.csv", "--out", tmp_path / out, "--json")
        assert (said.code, said.json["predictions"], said.json["errors"]) == (0, 7, 0)
    with (tmp_path / "answers.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [row["prediction"] for row in table] == [str(line["prediction"]) for line in lines]
    assert [answer["prediction"] for answer in trained.model.predict(rows)] == [line["prediction"] for line in lines]
    assert all("error" in row for row in table)
    assert lamina("predict", trained.model.path, tmp_path / "new.csv").out.startswith("input,prediction")
    said = lamina("predict", trained.model.path, tmp_path / "new.csv", "--out", tmp_path / "no" / "x.csv")
    assert said.code == 0


@IMAGE_RUN
def test_one_corrupt_image_gets_an_error_of_its_own(lamina: Any, trained: Trained, tmp_path: Path) -> None:
    good = [str(file) for file in sorted(Path(trained.source.where).rglob("*.png"))[:2]]
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(good[0]).read_bytes()[:60])
    asked = [good[0], str(broken), good[1]]
    said = lamina("predict", trained.model.path, *asked, "--out", tmp_path / "a.csv")
    assert said.code == 6
    assert "1 of them errors" in said.err
    with (tmp_path / "a.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [bool(row["error"]) for row in rows] == [False, True, False]
    assert [Path(row["input"]).name for row in rows] == [Path(name).name for name in asked]
    said = lamina("predict", trained.model.path, *asked, "--json")
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [("error" in line) for line in lines[:3]] == [False, True, False]
    assert (said.code, lines[3]["predictions"], lines[3]["errors"]) == (6, 3, 1)
    assert lamina("predict", trained.model.path, broken).code == 6


def test_ctrl_c_ends_with_a_checkpoint_and_says_how_to_go_on(lamina: Any, table: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["train", str(table), "--target", "answer", "--size", "tiny", "--epochs", "5000", "--threads", "1"]
    script = (
        "import sys, lamina.cli\nif sys.argv[1] == 'quick':\n    import lamina.loop\n    lamina.loop.LOG_EVERY = 2\n"
        "    del sys.argv[1]\nlamina.cli.main()"
    )
    command = [sys.executable, "-W", "error", "-c", script, "quick", *words]
    process = subprocess.Popen(
        [*command, "--precision", "float32", "--out", str(run)], stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    _wait_for_an_epoch(run, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("error: ")
    assert f"lamina train --resume {run}" in said
    assert "Traceback" not in said
    assert list((run / "checkpoints").glob("*.safetensors"))
    recipe = Run.open(run).read("recipe.json")
    done = len(list(Run.open(run).records("epoch")))
    recipe["plan"]["epochs"] = done + 1  # so that little is left to do
    Run.open(run).write("recipe.json", recipe)
    said = lamina("train", "--resume", run, "--json")
    assert (said.code, said.json["run"]) == (0, str(run))


def _wait_for_an_epoch(run: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < deadline:
        if (run / "log.jsonl").exists() and '"epoch", "epoch"' in (run / "log.jsonl").read_text():
            return
        time.sleep(0.05)
    pytest.fail("training did not begin")


def test_a_demo_leaves_its_data_so_that_its_run_can_be_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lamina.cli.DEMO_SECONDS", 1.0)
    run = tmp_path / "run"
    made = CliRunner().invoke(cli.app, ["demo", "tabular_classification", "--out", str(run), "--json"])
    assert made.exit_code == 0, made.output
    assert list((tmp_path / "demo-data" / "tabular_classification").iterdir())
    told = CliRunner().invoke(cli.app, ["explain", str(run), "--activations", "--json"])
    assert told.exit_code == 0, told.output
    assert any("spread" in row for row in json.loads(told.stdout)["rows"])
