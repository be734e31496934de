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
    assert page.judged(contest, "fastai", [9.0] * 3, least=True) == ["≥ 5", "Lamina is ahead; aim met"]
    assert page.judged(contest, "fastai", [4.9] * 3, least=True) == ["≥ 5", "Lamina is ahead; aim not decided"]
    assert page.judged(contest, "fastai", [4.9] * 3) == ["≥ 5", "Lamina is ahead; aim missed"]
    assert [(bound, each) for *_, bound, each in page.bars({"fashion": {"rounds": rounds}})] == [
        ("≥ ", [9.0] * 3), ("", [0.5] * 3),
    ]  # fmt: skip


def test_names_in_the_picture_are_not_cut_off(page: ModuleType) -> None:
    labels = [
        f"{contest.title}: {other}" for contest in page.CONTESTS if contest.peers for other in contest.entrants[1:]
    ]
    assert max(map(len, labels)) <= 48  # as much as the left margin holds


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


def test_what_an_entrant_accounts_for_is_a_table_of_its_own(page: ModuleType) -> None:
    each = [{"share_of_peak": share, "images_per_s": 90.0, "peak": 400.0,
             "rows": [{"layers": "convolution", "ms": 100 * share, "share": 0.75, "share_of_work": 0.0}]}
            for share in (0.5, 0.29, 0.4)]  # fmt: skip
    text = page.text({"layers": result(lamina=[1] * 3) | {"rounds": [{"lamina": one} for one in each]}})
    assert "| lamina | 0.4 | 90 | 400 | ≥ 0.3 | aim met |" in text
    assert "| layers | ms | share | share of work |" in text
    assert "| convolution | 40 | 75% |  |" in text  # of the round in the middle


def test_the_account_of_a_step_counts_its_convolutions(page: ModuleType) -> None:
    import torch
    from benchmarks.layers import BETWEEN, Account, outermost
    from torch import nn
    from torch.profiler import ProfilerActivity, profile
    from torch.utils.flop_counter import FlopCounterMode

    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, padding=1)
    )
    image = torch.randn(4, 3, 16, 16)
    with FlopCounterMode(display=False) as counter:
        network(image).sum().backward()
    seen = profile(activities=[ProfilerActivity.CPU], record_shapes=True)
    seen.start()
    with torch.autocast("cpu", torch.bfloat16):
        network(image).sum().backward()
    seen.stop()
    account = Account()
    for event in outermost(list(seen.events())):
        account.add(event)
    convolutions = {"convolution 3 to 8, 3 x 3, on 16 x 16", "convolution 8 to 8, 3 x 3, on 16 x 16"}
    assert set(account.operations) == convolutions
    assert sum(account.operations.values()) == counter.get_total_flops()
    rows = account.rows(whole=10.0, steps=1, peak=1e9)
    assert sum(row["share"] for row in rows) == pytest.approx(1, abs=0.001)
    assert rows[0]["layers"] == BETWEEN
    assert {"batch normalisation", "ReLU", *convolutions} <= {row["layers"] for row in rows}
