"""Preparation: which task takes a source, and what is said where none does."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import lamina
from annotated import picture
from lamina import find, training
from lamina.data.data import Source
from lamina.errors import DataError, OptionError, RunError, TrainingError
from lamina.examples import open_data
from lamina.forecast import Forecast, disk_short
from lamina.prepare import recognise
from lamina.watch import Quiet


def test_a_text_in_place_of_a_path_is_no_file() -> None:
    with pytest.raises(DataError, match="no such file"):
        recognise(Source("Once upon a time. " * 1000), None, {}, Quiet())


def test_what_each_task_found_wrong_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(["Once", "upon"])
    said = {"image_classification": "the picture is torn.", "language_modelling": "the text is torn."}

    def claim_of(name: str) -> object:
        def claim(given: Source) -> None:
            if name in said:
                raise DataError(said[name], f"{name}.file")

        return type(name, (), {"claim": staticmethod(claim)})

    monkeypatch.setattr(find, "task", claim_of)
    with pytest.raises(DataError, match=r"Image classification: .*picture is torn.*Language modelling: .*text is torn"):
        recognise(source, None, {}, Quiet())
    del said["language_modelling"]
    with pytest.raises(DataError, match=r"^image_classification.file: the picture is torn.$"):
        recognise(source, None, {}, Quiet())
    said.clear()
    with pytest.raises(DataError, match="no task fits"):
        recognise(source, None, {}, Quiet())


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of 20 small pictures each."""
    for label in ("dark", "light"):
        for number in range(20):
            file = picture(tmp_path / "pictures" / label / f"{number}.png", 32, 32)
            if label == "dark":
                Image.fromarray(np.asarray(Image.open(file)) // 4).save(file)
    return tmp_path / "pictures"


def test_weights_are_refused_by_a_family_that_starts_from_none(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cnn starts from random weights"):
        training.train(pictures, network="cnn", size="tiny", weights="w.pth", epochs=1, threads=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_pretrained_network_starts_from_its_weights_and_only_once(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timm = pytest.importorskip("timm", reason="timm is an extra: pip install 'lamina[vision]'")
    torch.manual_seed(3)
    file = tmp_path / "w.safetensors"
    save_file(timm.create_model("mobilenetv2_050").state_dict(), file)
    given: dict[str, Any] = {"network": "pretrained", "size": "tiny", "weights": file, "epochs": 1, "threads": 1}
    model = training.train(pictures, precision="float32", out=tmp_path / "run", **given)
    notes = [str(record["what"]) for record in model.run.records("note")]
    assert f"Weights: those of the file {file}." in notes
    trained = model.network.state_dict()
    started = load_file(file)
    kept = "blocks.0.0.conv_dw.weight"  # of a stage that is not trained
    assert torch.equal(trained[f"backbone.stages.{kept}"], started[kept])
    moved = "blocks.6.0.conv_pw.weight"
    assert not torch.equal(trained[f"backbone.stages.{moved}"], started[moved])
    assert model.recipe.weights == str(file)
    file.unlink()
    assert lamina.load(tmp_path / "run").predict(pictures / "dark" / "0.png")[0]["prediction"] in ("dark", "light")
    training.resume(tmp_path / "run")  # has checkpoints: needs the file no more
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(OptionError, match="no such file"):  # killed before its first checkpoint: starts anew
        training.resume(tmp_path / "run")


class Mixing(nn.Module):
    """What it says of a picture depends on the others: a softmax over the batch."""

    width = 8

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Conv2d(3, 8, 3)

    def forward(self, image: Tensor) -> Tensor:
        """(batch, 3, side, side) → (batch, 8, side, side)."""
        features: Tensor = self.filters(image).softmax(0)
        return features


def test_a_network_that_mixes_examples_is_refused_before_it_trains(pictures: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"network": Mixing(), "epochs": 1, "threads": 1, "precision": "float32"}
    with pytest.raises(TrainingError, match=r"depends on the others of its batch.*--accept leak.batch"):
        training.train(pictures, **given, out=tmp_path / "run")
    assert list(tmp_path.glob("*run*")) == []
    model = training.train(pictures, **given, accept=["leak.batch"], out=tmp_path / "run")
    assert "leak.batch" in {finding.kind for finding in model.run.findings()}
    seen = model.run.read("preflight.json")
    assert [check["passed"] for check in seen["checks"]][-1] is False


def test_the_forecast_stands_beside_what_happened(pictures: Path, tmp_path: Path) -> None:
    model = training.train(pictures, network="cnn", size="tiny", epochs=2, threads=1, out=tmp_path / "run")
    foreseen = model.run.read("preflight.json")["forecast"]
    (end,) = model.run.records("end")
    first = 0.7 * foreseen["disk_bytes"]  # the first checkpoint, still here after so few steps, holds no optimizer
    assert first <= end["disk_bytes"] <= 1.2 * foreseen["disk_bytes"] + 200_000  # the log, pictures
    assert end["memory_bytes"] >= foreseen["memory_bytes"] > 0
    assert foreseen["seconds"] > 0


@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_part_of_which_nothing_can_be_read_is_refused_before_training(
    part: str, tmp_path: Path, pictures: Path
) -> None:
    for kind in pictures.iterdir():
        for place, folder in enumerate(("train", "valid", "test")):
            for file in sorted(kind.glob("*.png"))[place::3]:
                aside = tmp_path / "parts" / folder / kind.name / file.name
                aside.parent.mkdir(parents=True, exist_ok=True)
                aside.write_bytes(b"version https://git-lfs" if folder == part else file.read_bytes())
    with pytest.raises(DataError, match=rf"{part}/.*\.png: none of the .* examples of the {part} part can be read"):
        lamina.train(tmp_path / "parts", size="tiny", epochs=1, threads=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_could_not_be_read_stays_out_and_another_split_is_refused(tmp_path: Path, pictures: Path) -> None:
    (pictures / "dark" / "broken.png").write_bytes(b"no picture")
    model = lamina.train(pictures, size="tiny", epochs=1, threads=1, precision="float32", out=tmp_path / "run")
    data, store = open_data(model.recipe, model.facts)
    assert [str(data.where[row]) for row in model.recipe.unread] == ["dark/broken.png"]
    again = lamina.repeat(model.path, out=tmp_path / "again")
    assert (again.facts, again.recipe.parts) == (model.facts, model.recipe.parts)
    assert sum(data.counts().values()) == len(store) == len(data) - 1
    assert model.evaluate()["examples"] == data.counts()["test"]
    content = model.run.read("recipe.json")
    content["data"]["parts"] = "0" * 16
    model.run.write("recipe.json", content)
    with pytest.raises(RunError, match="splits the data otherwise"):
        lamina.load(model.path).evaluate()


def test_a_full_disk_is_foreseen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = shutil.disk_usage(tmp_path)
    forecast = Forecast(1.0, 0, usage.free // 4)
    assert disk_short(forecast, tmp_path / "runs" / "new") is None
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=usage.free // 4))
    finding = disk_short(forecast, tmp_path / "runs" / "new")
    assert finding is not None
    assert (finding.kind, finding.where) == ("disk.short", (str(tmp_path),))


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A table with its own parts; every fourth row of the test part is a row of the training part."""
    source = np.random.default_rng(0)
    numbers = source.normal(size=(400, 2))
    part = np.array(["train"] * 280 + ["valid"] * 60 + ["test"] * 60)
    numbers[340::4] = numbers[:15]
    numbers[20] = numbers[21]
    answers = np.where(numbers[:, 0] > 0, "yes", "no")
    answers[340] = "no" if answers[340] == "yes" else "yes"  # a test example that contradicts its copy
    folder = tmp_path / "copied"
    folder.mkdir()
    for name in ("train", "valid", "test"):
        rows = part == name
        table = pl.DataFrame({"a": numbers[rows, 0], "b": numbers[rows, 1], "answer": answers[rows]})
        table.write_csv(folder / f"{name}.csv")
    return folder


def test_copies_are_left_out_of_training_and_never_of_the_test_part(copied: Path, tmp_path: Path) -> None:
    given: dict[str, Any] = {"target": "answer", "epochs": 1, "threads": 1, "precision": "float32"}
    plain = training.train(copied, **given, out=tmp_path / "plain")
    fixed = training.train(copied, **given, fix=["leak.duplicate"], out=tmp_path / "fixed")
    counts = [model.run.read("recipe.json")["data"]["counts"] for model in (plain, fixed)]
    assert counts[0] == {"train": 280, "valid": 60, "test": 60}
    assert counts[1] == {"train": 265, "valid": 60, "test": 60}
    assert fixed.recipe.left_out == tuple(range(15))
    proofs = [model.run.read("evaluation/test.json") for model in (plain, fixed)]
    assert proofs[0]["fingerprint"] == proofs[1]["fingerprint"]
    assert proofs[0]["without_leaks"]["left_out"] == 15
    assert proofs[1]["without_leaks"] == {}  # nothing of the test part is known any more
    (told,) = [finding for finding in fixed.run.findings() if finding.kind == "leak.duplicate"]
    assert (told.severity, told.count) == ("note", 15)
    notes = [str(record["what"]) for record in fixed.run.records("note")]
    assert any("Left out: 15 of the train part, 0 of the valid part (15 by leak.duplicate)" in note for note in notes)
    again = training.repeat(fixed.path, out=tmp_path / "again")
    assert again.recipe.left_out == fixed.recipe.left_out
    assert training.resume(fixed.path).recipe.left_out == fixed.recipe.left_out
    every = training.train(copied, **given, fix=["all"], out=tmp_path / "every")
    assert set(every.recipe.left_out) >= {*range(15), 21}
    assert "label.conflict" in {finding.kind for finding in every.run.findings()}
    assert every.run.read("recipe.json")["data"]["counts"]["test"] == 60


def test_a_kind_that_leaves_nothing_out_is_refused(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"leak.duplicate"):
        training.train(copied, target="answer", epochs=1, fix=["leak.duplicates"], out=tmp_path / "run")


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([nn.Flatten(), nn.Linear(7, 2)], r"cannot be multiplied.*given image \(\d+, 32, 32, 3\)"),
        ([nn.Flatten(), nn.Linear(3072, 1)], r"out of bounds.*ImageClassification.losses takes"),
    ],
    ids=["inputs", "outputs"],
)
def test_a_network_that_does_not_fit_is_told_what_it_is_given(
    pictures: Path, tmp_path: Path, layers: list[nn.Module], said: str
) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(*layers)

        def forward(self, image: Tensor) -> Tensor:
            scores: Tensor = self.layers(image.float())
            return scores

    with pytest.raises(OptionError, match=said):
        training.train(pictures, network=Own(), epochs=1, threads=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "options"),
    [("tabular_regression", {}), ("image_classification", {"mix": "mixup"})],
    ids=["regression", "mixed"],
)
def test_easy_examples_are_not_spared_where_no_loss_of_each_is_told(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    task = find.task(name)(**options)
    with pytest.raises(OptionError) as caught:
        lamina.train(task.tiny(tmp_path), task=task, plan={"spare": 0.5}, epochs=1, out=tmp_path / "run")
    assert caught.value.where == "--spare"


@pytest.mark.parametrize("spare", [0.0, 0.5])
def test_weights_of_classes_are_kept_whether_or_not_some_are_spared(tmp_path: Path, spare: float) -> None:
    task = find.task("tabular_classification")(class_weights=True)  # type: ignore[call-arg]
    model = lamina.train(
        task.tiny(tmp_path),
        task=task,
        size="tiny",
        plan={"spare": spare},
        epochs=3,
        threads=1,
        out=tmp_path / "run",
    )
    assert model.recipe.plan.spare == spare
    assert model.scores["accuracy"]["value"] > 0.8
