"""Proof: from what baselines learn, and that it is said where it is not all."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import lamina
from lamina import prove, training
from lamina.data.pictures import png
from lamina.metrics import classification
from lamina.tasks.image_classification import ImageClassification


def test_scores_are_told_without_the_examples_that_leaked() -> None:
    metrics = {"accuracy": classification.Accuracy()}
    right = torch.tensor([[1.0]] * 60 + [[0.0]] * 40, dtype=torch.float64)
    leaked = np.arange(100) < 30  # all of them right: learned by heart
    clean, said = prove.without_leaks(metrics, {"accuracy": right}, leaked)
    assert clean["left_out"] == 30
    assert clean["scores"]["accuracy"]["value"] == pytest.approx(30 / 70)
    assert clean["scores"]["accuracy"]["low"] < 30 / 70 < clean["scores"]["accuracy"]["high"]
    assert "Without the 30 examples" in said
    assert prove.without_leaks(metrics, {"accuracy": right}, leaked & False) == ({}, "")
    clean, said = prove.without_leaks(metrics, {"accuracy": right}, leaked | True)
    assert clean == {}
    assert "100 of these 100 examples" in said


def test_a_run_proves_what_is_left_when_leaks_are_left_out(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    for part, rows in (("train", range(300)), ("test", range(260, 400))):  # 40 test pictures are training pictures
        for row in rows:
            file = tmp_path / "data" / part / str(digits.target[row] % 3) / f"{row}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png((digits.images[row][:, :, None] * 15.9).astype(np.uint8)))
    model = training.train(
        tmp_path / "data", epochs=1, size="tiny", threads=1, precision="float32", out=tmp_path / "run"
    )
    proof = model.run.read("evaluation/test.json")
    assert proof["without_leaks"]["left_out"] == 40
    assert set(proof["without_leaks"]["scores"]) == set(proof["scores"])
    assert "Without the 40 examples" in proof["verdict"]


def test_a_temperature_is_settled_once_however_often_a_run_is_proved(tmp_path: Path) -> None:
    task = ImageClassification()
    model = training.train(
        task.tiny(tmp_path), task=task, epochs=2, size="tiny", threads=1, precision="float32", out=tmp_path / "run"
    )
    settled = model.facts["settled"]["temperature"]
    assert settled != 1.0  # label smoothing makes answers doubtful
    assert model.network.temperature == lamina.load(model.path).network.temperature == settled
    again = training.resume(model.path)
    assert again.facts["settled"]["temperature"] == settled


def test_a_run_tells_of_a_class_that_it_never_answers_once(tmp_path: Path) -> None:
    source = np.random.default_rng(0)
    label = np.array(["usual"] * 340 + ["rare"] * 40)
    table = pl.DataFrame({"noise": source.normal(size=380), "answer": source.permutation(label)})
    model = lamina.train(
        table, target="answer", size="tiny", epochs=1, threads=1, precision="float32", out=tmp_path / "run"
    )
    model.evaluate(table)
    told = [finding for finding in model.run.findings() if finding.kind == "class.never"]
    assert [finding.where for finding in told] == [("rare",)]
