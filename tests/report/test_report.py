import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
import sample_runs
from sample_runs import page

from lamina.errors import RunError
from lamina.findings import Finding
from lamina.records import Step
from lamina.report.report import render, write_report
from lamina.run import Run

SAMPLES = [
    "whole",
    "regression",
    "many_classes",
    "of_an_older_lamina",
    "undefined",
    "stopped_at_once",
    "stopped_early",
    "hostile",
]
VOID = {"meta", "link", "img", "br"}


class Reader(HTMLParser):
    """Reads a page strictly: every element is closed, in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def read(path: Path) -> Reader:
    return Reader(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SAMPLES)
def test_every_run_gets_a_sound_page_that_loads_and_runs_nothing(name: str) -> None:
    seen = read(page(name))
    ids = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in seen.tags:
        assert tag not in {"script", "iframe", "object", "embed", "form", "base"}
        assert not any(key.startswith("on") for key in attributes)
        for key in ("src", "href", "xlink:href"):
            target = attributes.get(key) or "#"
            assert target.startswith(("data:", "#")), (tag, attributes)
            assert not (target.startswith("#") and len(target) > 1) or target[1:] in ids
        if tag == "img":
            assert attributes["alt"]
        if tag == "svg":
            assert attributes["role"] == "img"
            assert attributes["aria-label"]
    levels = [int(tag[1]) for tag, _ in seen.tags if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    policy = next(a["content"] for t, a in seen.tags if t == "meta" and a.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@pytest.mark.parametrize("name", [name for name in SAMPLES if name != "hostile"])
def test_nothing_shows_through_that_only_programs_say(name: str) -> None:
    prose = re.sub(r"\{.*\}", "", read(page(name)).text)  # all but the recipe, which is JSON
    assert not re.search(r"\bNone\b|\bnan\b|\bNaN\b|\binf\b|\bnull\b|\bTrue\b|\bFalse\b|Undefined|#0[0-9a]0", prose)


def test_the_chapters_come_in_order() -> None:
    seen = read(page("whole"))
    sections = [attributes["id"] for tag, attributes in seen.tags if tag == "section"]
    assert sections == [
        "verdict",
        "scores",
        "data",
        "learning",
        "seen",
        "exhibits",
        "network",
        "speed",
        "findings",
        "repeat",
        "terms",
    ]
    links = [a["href"] for t, a in seen.tags if t == "a"]
    assert links[: len(sections)] == [f"#{section}" for section in sections]
    assert all(link.startswith("#term-") for link in links[len(sections) :])


def test_every_term_is_explained_once_in_full_where_it_is_linked_to() -> None:
    seen = read(page("whole"))
    linked = {a["href"][1:] for t, a in seen.tags if t == "a" and a["href"].startswith("#term-")}
    explained = [a["id"] for _, a in seen.tags if a.get("id", "").startswith("term-")]
    assert linked == set(explained)
    assert {"term-test-part", "term-overfitting", "term-accuracy", "term-convolution", "term-softmax"} <= linked
    assert "the bootstrap of Efron & Tibshirani" in seen.text


def test_the_page_says_what_the_run_holds() -> None:
    text = read(page("whole")).text
    for said in (
        "handwritten-digits",
        "A small cnn with 389 k parameters learned image classification",
        "3,830 examples to learn from, 894 to choose the best epoch, 896 to prove it",
        "Accuracy 0.9746 (95 % interval 0.9642 to 0.9850): better than the best baseline",
        "0.975",
        "0.964 to 0.985",
        "linear model on 8×8 pixels",
        "The test part was read once",
        "Higher is better: share of examples whose answer is right.",
        "Lower is better: how far the stated probabilities are from the truth",
        "There is no test part in the layout",
        "The weights of epoch 17 scored best",
        "Training ended after 20 epochs: the budget is spent.",
        "clipped above 1",
        "All 19 layers",
        "Conv2d",
        "float32, channels last",
        "✓ chosen",
        "leak.duplicate",
        "and 9 more",
        "Delete one of each pair",
        "lamina train --recipe",
        "lamina predict",
        "lamina evaluate",
        "2.14.1",
        "1,200 of 3,000 points are drawn.",
        "I could not stop laughing.",
        ">50K; the truth: <=50K",
    ):
        assert said in text, said
    assert text.index("leak.duplicate") < text.index("imbalance.class")  # the gravest first


def test_pictures_are_in_the_page() -> None:
    images = [attributes for tag, attributes in read(page("whole")).tags if tag == "img"]
    assert len(images) == 13
    assert all((image["src"] or "").startswith("data:image/png;base64,iVBOR") for image in images)


def test_a_baseline_that_wins_is_said_to_win() -> None:
    text = read(page("regression")).text
    assert "learned tabular from the column “price” of “houses.csv”" in text
    assert (
        "RMSE is 49,800 (95 % interval 48,900 to 50,700); the best baseline, gradient boosting, reaches 47,100" in text
    )
    assert "the baseline is proved better. Use the baseline." in text
    assert "best baseline: gradient boosting" in text


def test_many_classes_and_epochs_are_condensed() -> None:
    path = page("many_classes")
    text = read(path).text
    assert path.stat().st_size < 400_000
    assert "100 rows (truth) and 100 columns (prediction)" in text
    assert "The most frequent mistakes" in text
    assert "100 classes of 20 to 119 examples" in text
    assert "There is no baseline to compare it with." in text
    assert "The test part was read 3 times" in text
    assert "each further look weakens the proof" in text
    assert "No findings: the checks of the data, of the network and of the training noticed nothing wrong." in text


def test_what_is_missing_is_said() -> None:
    undefined = read(page("undefined")).text
    assert "accuracy is not defined" in undefined
    assert "learned image classification from data in memory" in undefined
    assert "cannot draw an exhibit of kind “hologram”" in undefined
    assert "This example cannot be shown." in undefined
    assert "There is no point to draw." in undefined
    early = read(page("stopped_early")).text
    assert "Training has not come to its end: this is the state before the first epoch was complete." in early
    assert "There is no score: training was stopped before the first epoch was complete." in early
    assert "The test part was not evaluated." in early
    assert "not been read" in early
    assert "A small cnn with 389 k parameters is to learn image classification" in early
    at_once = read(page("stopped_at_once")).text
    assert "Training was stopped before its first record" in at_once
    assert "The layers were not recorded" in at_once


def test_hostile_text_stays_text() -> None:
    path = page("hostile")
    html, seen = path.read_text(encoding="utf-8"), read(path)
    assert "<script" not in html
    assert "<img src=x" not in html
    assert seen.text.count("<script>alert('x')</script>") > 40
    assert all("onerror" not in attributes for _, attributes in seen.tags)


def test_the_validation_score_stands_in_when_the_test_part_was_not_evaluated(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", sample_runs.RECIPE)
    sample_runs.train_records(run, epochs=4, steps=5)
    text = Reader(render(run)).text
    assert "nothing is proved. On the validation part" in text
    assert "Training has not come to its end: this is the state after epoch 4." in text
    assert "is to learn image classification" in text


def test_a_run_that_was_resumed_has_not_ended(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", sample_runs.RECIPE)
    run.log({"kind": "end", "epochs": 1, "seconds": 1.0})
    assert "has not come to its end" not in render(run)
    run.log(Step(5, 2, 0.5, {"network": 1.0}, 0.1, 1.0, 10.0, 1, 2.0))
    assert "has not come to its end" in render(run)


def test_a_damaged_file_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    run = sample_runs.stopped_early(tmp_path / "run")
    (run.path / "evaluation").mkdir()
    (run.path / "evaluation" / "test.json").write_text('{"scores": {"accu')
    (run.path / "facts.json").write_text("[1]")
    text = Reader(render(run)).text
    assert "evaluation/test.json: the file cannot be read" in text
    assert "facts.json: its content is not what Lamina writes there." in text
    assert "Learning curves" in text
    (run.path / "recipe.json").write_text("{")
    with pytest.raises(RunError, match=r"recipe\.json"):
        write_report(run)


def test_the_page_is_the_same_each_time() -> None:
    path = page("regression")
    assert render(Run(path.parent.parent)) == path.read_text(encoding="utf-8")


def test_the_page_needs_only_the_directory(tmp_path: Path) -> None:
    path = page("whole")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for file in path.parent.parent.rglob("*"):
        if file.is_file() and "report" not in file.parts[-2:]:
            (moved / file.relative_to(path.parent.parent)).parent.mkdir(parents=True, exist_ok=True)
            (moved / file.relative_to(path.parent.parent)).write_bytes(file.read_bytes())
    again = write_report(Run.open(moved)).read_text(encoding="utf-8")
    assert again.replace(str(moved), str(path.parent.parent)) == path.read_text(encoding="utf-8")


def test_importing_the_report_loads_nothing_heavy() -> None:
    program = "import sys, json, lamina.report.report; print(json.dumps([m for m in sys.modules]))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)
    assert {"matplotlib", "jinja2", "PIL", "torch"} & set(loaded) == set()


def test_text_can_be_read_in_light_and_dark() -> None:
    """WCAG 2: a contrast of at least 4.5 for text on every ground it stands on, 3 for lines."""
    css = (Path(sys.modules["lamina.report.report"].__file__ or "").parent / "style.css").read_text()
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)
    )
    for colours in (light, dark):
        for ground in ("paper", "card"):
            for ink in ("ink", "soft", "link", "valid", "good", "bad"):
                assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
            for line in ("valid", "train", "baseline", "s1", "s2", "s3", "s4", "backward", "disk", "proof"):
                assert contrast(colours[line], colours[ground]) >= 3, (line, ground)
        assert contrast(colours["open"], colours["open-tint"]) >= 4.5
        assert contrast(colours["bad"], colours["bad-tint"]) >= 4.5
        assert contrast(colours["ink"], colours["open-tint"]) >= 4.5


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_what_the_audit_points_at_is_shown_with_the_data(tmp_path: Path) -> None:
    run = sample_runs.whole(tmp_path / "run")
    item = {"where": "rose/1.jpg", "caption": "rose; looks like tulip", "shown": {"text": "a text"}}
    exhibit = {"kind": "gallery", "title": "Labels to look at", "explanation": "Look.", "items": [item]}
    run.write("audit.json", {"exhibits": [exhibit]})
    html = render(run)
    chapter = html[html.index('<section id="data">') : html.index('<section id="learning">')]
    assert "Labels to look at" in chapter
    assert "rose; looks like tulip" in chapter


def test_evidence_that_names_rows_is_for_programs(tmp_path: Path) -> None:
    run = sample_runs.whole(tmp_path / "run")
    run.log(
        Finding(
            "label.suspect",
            "note",
            "Some.",
            "Look.",
            evidence={"share": 0.5, "indices": [123456], "pairs": [[1, 654321]]},
        )
    )
    html = render(run)
    assert not re.search("123,?456|654,?321", html)
