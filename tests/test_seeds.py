"""Seeds: the same split, other trainings; their spread is what it is."""

import statistics
from pathlib import Path

import pytest

import lamina
from lamina.errors import OptionError
from lamina.tasks.tabular_classification import TabularClassification


def test_the_spread_of_three_trainings(tmp_path: Path) -> None:
    task = TabularClassification()
    source = task.tiny(tmp_path)
    first = lamina.train(source, task=task, epochs=2, threads=1, precision="float32", seed=5, out=tmp_path / "run")
    found = lamina.spread(first, 3)
    assert found["seeds"] == [5, 6, 7]
    runs = [lamina.load(path) for path in found["runs"]]
    proofs = [model.run.read("evaluation/test.json") for model in runs]
    assert len({proof["fingerprint"] for proof in proofs}) == 1  # the split is one
    assert len({str(proof["scores"]["log_loss"]["value"]) for proof in proofs}) == 3  # the trainings are not
    values = [proof["scores"]["log_loss"]["value"] for proof in proofs]
    spread = found["scores"]["log_loss"]
    assert spread["values"] == values
    assert spread["mean"] == pytest.approx(statistics.fmean(values))
    assert spread["deviation"] == pytest.approx(statistics.stdev(values))
    assert spread["high"] - spread["mean"] == pytest.approx(
        4.303 * spread["deviation"] / 3**0.5, rel=1e-3
    )  # t, 2 degrees
    page = (first.path / "report" / "index.html").read_text(encoding="utf-8")
    assert "Over 3 trainings with different seeds accuracy is" in page
    assert proofs[1]["other_readers"] == 1
    written = [(Path(path) / "best.safetensors").stat().st_mtime_ns for path in found["runs"]]
    again = lamina.spread(first.path, 3)  # nothing is trained anew
    assert [(Path(path) / "best.safetensors").stat().st_mtime_ns for path in found["runs"]] == written
    assert again["scores"] == found["scores"]


def test_one_training_has_no_spread(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="must be at least 2"):
        lamina.spread(tmp_path, 1)
