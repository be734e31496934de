"""Showing: what the audit suspects is there to be looked at, in its ranking, and copies stand beside each other."""

import numpy as np
import polars as pl
from sklearn.datasets import load_digits

from lamina.audit import label_errors, near_duplicates
from lamina.data.data import Data
from lamina.data.images import digests_of_rows
from lamina.findings import Finding
from lamina.showing import EXAMPLES, galleries
from lamina.tasks.image_classification import ImageClassification
from lamina.tasks.tabular_classification import TabularClassification

FACTS = {"side": 8, "channels": 1}


def digits() -> Data:
    bunch = load_digits()
    pixels = (bunch.images * 15.9).astype(np.uint8)
    answers = np.array([str(kind) for kind in bunch.target], dtype=object)
    part = np.resize(["train", "train", "train", "valid", "test"], len(pixels))
    return Data(pixels, answers, np.arange(len(pixels)).astype(str).astype(object), part, digests_of_rows(pixels))


def test_suspected_labels_are_shown_with_both_names_the_most_suspicious_first() -> None:
    data = digits()
    train = np.flatnonzero(data.part == "train")
    wrong = np.random.default_rng(0).choice(train, 60, replace=False)
    truth = data.answers[wrong].copy()
    data.answers[wrong] = [str((int(kind) + 1) % 10) for kind in truth]
    (finding,) = label_errors.find(data)
    (gallery,) = galleries(ImageClassification(), FACTS, data, [finding])
    assert len(gallery.items) == EXAMPLES
    assert [item["where"] for item in gallery.items] == [str(row) for row in finding.evidence["indices"][:EXAMPLES]]
    known = dict(zip(wrong.tolist(), truth, strict=True))
    right = [
        item["caption"] == f"{data.answers[int(item['where'])]}; looks like {known.get(int(item['where']))}"
        for item in gallery.items
    ]
    assert sum(right) >= EXAMPLES - 2
    assert all("picture" in item["shown"] for item in gallery.items)


def test_copies_stand_beside_each_other() -> None:
    data = digits()
    tests = np.flatnonzero(data.part == "test")[:12]
    trained = np.flatnonzero(data.part == "train")[:12]
    data.raws[tests] = np.clip(data.raws[trained].astype(int) + 3, 0, 255).astype(np.uint8)
    data = Data(data.raws, data.answers, data.where, data.part, digests_of_rows(data.raws))
    finding = next(found for found in near_duplicates.find(data) if found.evidence["part"] == "test")
    (gallery,) = galleries(ImageClassification(), FACTS, data, [finding])
    assert "test part and another one" in gallery.title
    for first, second in zip(gallery.items[::2], gallery.items[1::2], strict=True):
        assert first["caption"].split(",")[0] == second["caption"].split(",")[0]
        assert {first["caption"].split(", ")[1], second["caption"].split(", ")[1]} == {"train", "test"}


def test_rows_of_a_table_are_shown_as_rows() -> None:
    frame = pl.DataFrame({"a": [1.0, 2.0, 3.0]})
    where, part = np.array(["t:2", "t:3", "t:4"], dtype=object), np.array(["train"] * 3)
    data = Data(frame, np.array(["x", "y", "x"], dtype=object), where, part, np.arange(3).astype(str))
    evidence = {"indices": [2, 0], "suggested": ["y", "y"]}
    (gallery,) = galleries(
        TabularClassification(), {}, data, [Finding("label.suspect", "note", "", "", evidence=evidence)]
    )
    assert [item["caption"] for item in gallery.items] == ["x; looks like y"] * 2
    assert gallery.items[0]["shown"]["row"]["a"] == 3.0


def test_findings_that_name_no_examples_show_nothing() -> None:
    assert galleries(ImageClassification(), FACTS, digits(), [Finding("data.few", "note", "", "")]) == []
