"""The page of the benchmarks: made from results alone, and fair to the peers by rule."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """``benchmarks/page.py``."""
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import page

    return page


def result(**speeds: Sequence[float | None]) -> dict[str, Any]:
    """What a benchmark's file holds, with these images per second, round by round; None is a failure."""
    rounds = [
        {
            name.replace("_", "-"): {"error": "no memory"}
            if speed is None
            else {"images_per_s": speed, "peak_mib": 900.0}
            for name, speed in zip(speeds, one, strict=True)
        }
        for one in zip(*speeds.values(), strict=True)
    ]
    return {
        "benchmark": "photographs",
        "date": "2026-11-22T10:00+00:00",
        "machine": {"processor": "A processor", "cores": 2, "skills": ["avx2"], "memory_gib": 23},
        "versions": {"torch": "2.14.1"},
        "commit": "abc",
        "data": "made",
        "settings": {"images": 64, "epochs": 2, "batch": 32, "side": 128, "limit": 900},
        "rounds": rounds,
    }


def wins(text: str) -> str:
    """The section on where a peer wins."""
    return text.partition("## Where a peer wins")[2].partition("\n## ")[0]


def test_a_peer_that_wins_is_said_to(page: ModuleType) -> None:
    text = page.text({"photographs": result(lamina=[20, 21, 19], fastai=[30, 31, 32], pytorch=[10, 10, 10])})
    assert "fastai is ahead" in wins(text)
    assert "pytorch" not in wins(text)
    assert "**2** (1.9 – 2.1)" in text  # the median of pytorch's ratios, the lowest and the highest
    assert "Lamina is ahead; aim missed" in text


def test_nobody_is_ahead_when_rounds_disagree_or_are_few(page: ModuleType) -> None:
    mixed = page.text({"photographs": result(lamina=[20, 21, 19], fastai=[30, 31, 18], pytorch=[19, 22, 20])})
    few = page.text({"photographs": result(lamina=[20, 21], fastai=[30, 31], pytorch=[10, 10])})
    for text in (mixed, few):
        assert "none of the benchmarks" in wins(text)
        assert "no difference shown" in text
        assert "ahead;" not in text


def test_what_failed_or_is_missing_is_said(page: ModuleType) -> None:
    text = page.text({"photographs": result(lamina=[20] * 3, fastai=[None] * 3, pytorch=[10] * 3)})
    assert "| fastai | failed |" in text
    assert "fastai failed: no memory" in text
    assert "Not measured yet: ResNet-18 on small JPEGs;" in text
    assert "1024 x 768" not in text.partition("\n\n")[0]
    assert "benchmarks.svg" not in page.text({})


def test_a_target_that_was_not_reached_is_not_a_time(page: ModuleType) -> None:
    contest = next(contest for contest in page.CONTESTS if contest.name == "fashion")
    times = {"lamina": 100.0, "fastai": None, "keras": 50.0}
    rounds = [{name: {"seconds_to_0.93": time, "trained_seconds": 900.0} for name, time in times.items()}] * 3
    measure = contest.measures[0]
    assert page.ratios(contest, {"rounds": rounds}, "keras", measure) == [0.5] * 3
    assert page.ratios(contest, {"rounds": rounds}, "fastai", measure) == [9.0] * 3  # at least
    assert page.verdict([9.0] * 3) == "lamina"
    assert page.middle({"rounds": rounds}, "fastai", measure) == "not reached in 900"


def test_the_page_is_what_the_results_say(page: ModuleType, tmp_path: Path) -> None:
    page.write(ROOT / "benchmarks" / "results", tmp_path)
    for made in tmp_path.iterdir():
        assert made.read_text(encoding="utf-8") == (ROOT / "docs" / made.name).read_text(encoding="utf-8"), (
            "rebuild it: python -m benchmarks.page"
        )


def test_every_entrant_is_a_script(page: ModuleType) -> None:
    contests = sys.modules["benchmarks.contests"]
    settings = contests.Settings(64, 2, 32, 128, 10.0, Path("fashion"), Path("cifar10"))
    for contest in contests.CONTESTS:
        for entrant in contest.entrants:
            module = contests.command(contest.name, entrant, 0, settings, Path("place"))[2]
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module
