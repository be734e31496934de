"""The model card: a header that hubs can read, scores and limits; whatever the state of the run."""

from pathlib import Path
from typing import Any

import pytest
import sample_runs
import yaml

from lamina.report.card import card
from lamina.report.material import gather
from lamina.run import Run


def parted(path: Path) -> tuple[dict[str, Any], str]:
    text = card(gather(Run.open(path)))
    start, header, body = text.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(header), body


def test_a_card_of_a_whole_run(tmp_path: Path) -> None:
    run = sample_runs.whole(tmp_path)
    header, body = parted(run.path)
    scores = run.read("evaluation/test.json")["scores"]
    (result,) = header["model-index"][0]["results"]
    assert {row["type"]: row["value"] for row in result["metrics"]} == {
        name: score["value"] for name, score in scores.items() if score["value"] is not None
    }
    assert header["pipeline_tag"] == "image-classification"
    for line in (line for line in body.splitlines() if line.startswith("| ")):
        assert line.count(" | ") == len(run.read("evaluation/test.json")["baselines"]) + 2
    warned = [finding for finding in run.findings() if finding.severity != "note"]
    assert all(finding.kind in body for finding in warned)


@pytest.mark.parametrize("name", ["regression", "stopped_at_once", "stopped_early", "hostile", "of_an_older_lamina"])
def test_a_card_of_any_run(name: str, tmp_path: Path) -> None:
    header, body = parted(getattr(sample_runs, name)(tmp_path).path)
    assert header["library_name"] == "lamina"
    assert body.lstrip().startswith("# ")
    assert "<script" not in body
    assert "## Intended use" in body
