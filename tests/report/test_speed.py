import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sample_runs
from sample_runs import HOSTILE, SPENT, layers, page

from lamina.report.material import Material, gather
from lamina.report.speed import speed
from lamina.run import Run


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """12 s of preparing, 20 epochs of 3.4 s, 3.1 s of proof."""
    return gather(sample_runs.whole(tmp_path_factory.mktemp("speed") / "run"))


def spending(material: Material, **seconds: float) -> Material:
    """One epoch, divided so; a training of no other time."""
    epoch = material.epochs[0] | {"spent": seconds, "seconds": sum(seconds.values())}
    return replace(material, epochs=[epoch], steps=[], end=None)


def rows(told: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {row["name"]: (row["time"], row["of_run"], row["of_training"]) for row in told["parts"] + told["totals"]}


def test_the_seconds_are_those_of_the_run(material: Material) -> None:
    told = speed(material)
    assert rows(told) == {
        "preparing": ("12 s", "14 %", ""),
        "waiting for data": ("0.8 s", "1.0 %", "1.2 %"),
        "forward pass": ("16 s", "19 %", "24 %"),
        "backward pass": ("38 s", "46 %", "56 %"),
        "optimizer": ("3.2 s", "3.9 %", "4.7 %"),
        "evaluation": ("9 s", "11 %", "13 %"),
        "checkpoints": ("0.6 s", "0.7 %", "0.9 %"),
        "everything else": ("0.4 s", "0.5 %", "0.6 %"),
        "proof": ("3.1 s", "3.7 %", ""),
        "training": ("1 min 08 s", "82 %", "100 %"),
        "the whole run": ("1 min 23 s", "100 %", ""),
    }
    widths = {row["part"]: float(row["width"]) for row in told["parts"]}
    assert sum(widths.values()) == pytest.approx(1, abs=1e-3)
    assert widths["backward"] == pytest.approx(20 * SPENT["backward"] / 83.1, abs=1e-5)
    assert "backward pass 38 s (46 %)" in told["label"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (
            {"forward": 30, "backward": 54, "data": 9, "evaluation": 7},
            "84 % of the training time goes into the forward and backward pass: the processor is the limit, not the data.",
        ),
        (
            {"forward": 20, "backward": 30, "data": 40, "other": 10},
            "50 % of the training time goes into the forward and backward pass: the processor is the limit. "
            "Next is waiting for data with 40 %.",
        ),
        (
            {"forward": 10, "backward": 20, "data": 60, "optimizer": 10},
            "60 % of the training time goes into waiting for data: reading and augmenting is the limit, the processor "
            "waits for it. Next is the forward and backward pass with 30 %.",
        ),
        ({"forward": 30, "backward": 10, "optimizer": 60}, "changing the weights is the limit"),
        ({"forward": 30, "backward": 10, "evaluation": 60}, "scoring after each epoch is the limit"),
        ({"forward": 30, "backward": 10, "checkpoints": 60}, "the disk is the limit"),
        ({"forward": 30, "backward": 10, "other": 60}, "another program may keep this machine busy"),
        ({"forward": 1, "backward": 1}, "Training was only 12 % of the whole run; preparing took 70 %."),
    ],
)
def test_the_limit_is_named_by_the_numbers(material: Material, seconds: dict[str, float], said: str) -> None:
    assert said in speed(spending(material, **seconds))["limit"]
    assert ("only" in said) == ("of the whole run" in speed(spending(material, **seconds))["limit"])


def test_an_accelerator_is_called_by_its_name(material: Material) -> None:
    recipe = material.recipe | {"execution": {"kind": "cuda"}}
    assert "the graphics processor is the limit" in speed(replace(material, recipe=recipe))["limit"]


def test_flops_count_three_forward_passes_over_the_seconds_that_compute(material: Material) -> None:
    steps = [{"examples_per_s": value, "step": place} for place, value in enumerate((900.0, 1000.0, 5000.0))]
    told = replace(spending(material, forward=2, backward=5, optimizer=1, data=2, evaluation=7), steps=steps)
    told = replace(told, layers={"flops": 10_000_000}, recipe=material.recipe | {"measured": {"gemm_flops": 1.5e11}})
    values = [(tile["label"], tile["value"]) for tile in speed(told)["tiles"]]
    assert values == [
        ("training examples per second", "1,000"),
        ("FLOP/s of the network", "37.5 G"),  # 3 × 10 M × 1,000 / 0.8
        ("share of the GEMM peak", "25 %"),
    ]
    quick = replace(told, recipe=material.recipe | {"measured": {"gemm_flops": 3e10}})
    assert speed(quick)["tiles"][2]["value"] == "125 %"
    assert "the machine was busy" in speed(quick)["tiles"][2]["detail"]
    execution = material.recipe["execution"] | {"convolutions": "winograd-compiled"}
    tiled = replace(quick, recipe=quick.recipe | {"execution": execution})
    assert "Winograd’s convolutions need fewer operations" in speed(tiled)["tiles"][2]["detail"]


@pytest.mark.parametrize("flops", [0, None, "many", float("nan")])
def test_without_counted_operations_no_flops_are_told(material: Material, flops: Any) -> None:
    told = speed(replace(material, layers=layers() | {"flops": flops}))
    assert [tile["label"] for tile in told["tiles"]] == ["training examples per second"]


def test_the_measured_ways_say_why_one_was_refused(material: Material) -> None:
    told = speed(material)
    assert "Measured with this run’s network" in told["measured"]
    ways = {way.pop("name"): way for way in told["candidates"]}
    assert [name for name, way in ways.items() if way["chosen"]] == ["float32, channels last, 2 threads"]
    assert ways["bfloat16, channels last, 2 threads"] == {
        "speed": "3,911",
        "error": "31.32 %",
        "note": "refused: it does not compute the same",
        "chosen": False,
    }
    assert ways["bfloat16, channels last, 1 thread"] | {"chosen": 0} == {
        "speed": "–",
        "error": "–",
        "note": "out of memory",
        "chosen": 0,
    }
    assert ways["float32, channels first, 2 threads"]["error"] == "< 0.01 %"


def test_it_is_said_where_the_figures_are_from(material: Material) -> None:
    def of(**measured: Any) -> dict[str, Any]:
        return speed(replace(material, recipe=material.recipe | {"measured": material.recipe["measured"] | measured}))

    assert "in an earlier run" in of(remembered=True)["measured"]
    assert "in an earlier run" not in of()["measured"]
    assert "nothing was measured" in of(table=[])["measured"]


def test_a_run_of_an_older_lamina_says_what_it_knows(tmp_path: Path) -> None:
    told = speed(gather(sample_runs.of_an_older_lamina(tmp_path / "run")))
    assert rows(told)["training, not divided"] == ("10 s", "77 %", "100 %")
    assert list(rows(told)) == ["training, not divided", "proof", "training", "the whole run"]
    assert told["limit"] == "How the time of training was divided was not recorded."
    assert [tile["label"] for tile in told["tiles"]] == ["training examples per second"]
    assert [way["error"] for way in told["candidates"]] == ["0", "< 0.01 %", "1.32 %", "out of memory"]
    assert "table" not in dict(told["execution"])


def test_what_a_run_under_way_has_not_divided_yet_is_shown(material: Material) -> None:
    told = replace(material, epochs=material.epochs[:1], steps=[{"seconds": 6.8}], end=None, test={})
    assert rows(speed(told))["training, not divided"] == ("3.4 s", "18 %", "50 %")
    assert "proof" not in rows(speed(told))
    early = replace(told, epochs=[], prepared=None)
    assert speed(early)["limit"].endswith("none is complete yet.")
    assert rows(speed(early))["training, not divided"] == ("6.8 s", "100 %", "100 %")


def test_an_audit_that_takes_more_than_a_tenth_says_why(material: Material) -> None:
    told = speed(replace(material, audited=4.0, flown=3.0))
    assert [rows(told)[name] for name in ("preparing", "audit", "pre-flight")] == [
        ("5 s", "6.0 %", ""),
        ("4 s", "4.8 %", ""),
        ("3 s", "3.6 %", ""),
    ]
    assert "audit" not in told["limit"]
    assert "The audit took 13 %: it grows with the examples" in speed(replace(material, audited=11.0))["limit"]


def test_a_run_without_records_has_no_time(tmp_path: Path) -> None:
    told = speed(gather(Run.create(tmp_path / "run", {"format": 1})))
    assert (told["parts"], told["totals"], told["tiles"], told["limit"], told["figure"]) == ([], [], [], "", None)


def test_the_page_shows_the_chapter() -> None:
    html = page("whole").read_text(encoding="utf-8")
    chapter = html[html.index('<section id="speed">') : html.index('<section id="findings">')]
    assert re.search(r'<div class="parts spent" role="img" aria-label="Where the time went: preparing 12 s', chapter)
    assert chapter.count('class="swatch ') == 9
    assert "79 % of the training time goes into the forward and backward pass" in chapter
    assert "GEMM peak" in chapter
    assert "refused: it does not compute the same" in chapter
    assert 'aria-label="training examples per second by step' in chapter


def test_hostile_settings_and_candidates_stay_text() -> None:
    html = page("hostile").read_text(encoding="utf-8")
    chapter = html[html.index('<section id="speed">') : html.index('<section id="findings">')]
    assert HOSTILE not in chapter
    assert chapter.count("&lt;script&gt;") == 8  # a setting and its value, the precision twice, four cells


def test_every_part_has_a_colour() -> None:
    from lamina.report import speed as chapter

    css = (Path(chapter.__file__).parent / "style.css").read_text(encoding="utf-8")
    assert [part for part in chapter.PARTS if f".spent .{part} {{ background: " not in css] == []
