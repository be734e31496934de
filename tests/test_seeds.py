"""Seeds: the same split, other trainings; their spread is what it is."""

import statistics
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import lamina
from lamina import seeds
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
    other = lamina.train(source, task=task, epochs=1, threads=1, precision="float32", seed=5, out=tmp_path / "other")
    (tmp_path / "run-seed-6").rename(tmp_path / "other-seed-6")
    with pytest.raises(OptionError, match=r"other-seed-6.*another recipe"):
        lamina.spread(other, 2)
    (tmp_path / "other-seed-6").rename(tmp_path / "run-seed-6")
    assert [(Path(path) / "best.safetensors").stat().st_mtime_ns for path in found["runs"]] == written
    assert again["scores"] == found["scores"]


class Body(nn.Module):
    """A backbone of one's own."""

    width = 4

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 4)

    def forward(self, numbers: Tensor, categories: Tensor) -> Tensor:
        """(batch, columns) -> (batch, 4)."""
        found: Tensor = self.first(numbers)
        return found


def test_each_training_of_a_network_of_ones_own_starts_from_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = np.random.default_rng(0).normal(size=(120, 2))
    data, fresh = (source, source[:, 0] > 0), Body()
    kept = {name: weight.clone() for name, weight in fresh.state_dict().items()}
    first = lamina.train(data, network=deepcopy(fresh), epochs=2, threads=1, precision="float32", out=tmp_path / "run")
    begun: list[Tensor] = []
    known = seeds.repeat

    def repeat(*given: Any, network: nn.Module, **others: Any) -> lamina.Model:
        begun.append(network.get_parameter("first.weight").detach().clone())
        return known(*given, network=network, **others)

    monkeypatch.setattr(seeds, "repeat", repeat)
    lamina.spread(first.path, 3, data=data, network=fresh)
    assert len(begun) == 2
    assert all(torch.equal(weight, kept["first.weight"]) for weight in (*begun, fresh.first.weight))


def test_one_training_has_no_spread(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="must be at least 2"):
        lamina.spread(tmp_path, 1)
