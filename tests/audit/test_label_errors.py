"""Label errors are ranked first where some were planted, and clean data have none; shift and outliers likewise."""

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

from lamina.audit import label_errors, outliers, shift
from lamina.data.data import Data
from lamina.data.images import digests_of_rows
from lamina.data.kinds import columns
from lamina.data.tables import digests_of_table


def clean(name: str) -> Data:
    bunch = {"iris": load_iris, "wine": load_wine, "cancer": load_breast_cancer, "digits": load_digits}[name]()
    answers = np.array([f"class {kind}" for kind in bunch.target], dtype=object)
    part = np.random.default_rng(0).choice(["train", "valid", "test"], len(answers), p=[0.6, 0.15, 0.25])
    where = np.array([f"{n}" for n in range(len(answers))], dtype=object)
    if name == "digits":
        pixels = (bunch.images * 15.9).astype(np.uint8)
        return Data(pixels, answers, where, part, digests_of_rows(pixels))
    frame = pl.DataFrame(bunch.data, [f"c{n}" for n in range(bunch.data.shape[1])])
    return Data(frame, answers, where, part, digests_of_table(frame, columns(frame)))


NAMES = ["iris", "wine", "cancer", "digits"]


@pytest.mark.parametrize("name", NAMES)
def test_clean_data_are_sound(name: str) -> None:
    data = clean(name)
    assert [finding.kind for illness in (label_errors, shift, outliers) for finding in illness.find(data)] == []


@pytest.mark.parametrize("name", ["cancer", "digits"])
def test_wrong_labels_are_named_first(name: str) -> None:
    data = clean(name)
    generator = np.random.default_rng(1)
    wrong = np.flatnonzero(generator.random(len(data)) < 0.1)
    kinds = np.unique(data.answers.astype(str))
    for row in wrong:
        data.answers[row] = generator.choice(kinds[kinds != data.answers[row]])
    (finding,) = label_errors.find(data)
    rows = finding.evidence["indices"]
    severity = "warning" if name == "digits" else "note"  # in a table it may be an exception
    assert (finding.kind, finding.severity) == ("label.suspect", severity)
    assert np.isin(rows[:20], wrong).mean() >= 0.9
    assert len(rows) >= 0.4 * (data.part[wrong] == "train").sum()
    assert finding.where[0].startswith(f"{rows[0]}: {data.answers[rows[0]]}, looks like class ")


def test_a_classifier_that_knows_nothing_does_not_accuse() -> None:
    data = clean("digits")
    data.answers[:] = np.random.default_rng(0).permutation(data.answers)
    assert list(label_errors.find(data)) == []


def test_what_is_said_of_an_example_does_not_depend_on_its_own_label() -> None:
    generator = np.random.default_rng(0)
    features, label = generator.normal(size=(90, 3)).astype(np.float32), generator.integers(0, 2, 90)
    before = label_errors.left_out(features, label, 2)[0]
    label[0] = 1 - label[0]
    np.testing.assert_allclose(label_errors.left_out(features, label, 2)[0], before, atol=0.02)


@pytest.mark.parametrize("share", [0.0, 0.06])
def test_sentences_of_a_table_tell_of_wrong_labels(share: float) -> None:
    generator = np.random.default_rng(0)
    kinds = generator.integers(0, 2, 1200)
    words = np.where(
        generator.random((1200, 12)) < 0.25,
        np.char.add(np.where(kinds == 0, "good", "bad")[:, None], generator.integers(0, 20, (1200, 12)).astype(str)),
        np.char.add("word", generator.integers(0, 300, (1200, 12)).astype(str)),
    )
    wrong = generator.random(1200) < share
    answers = np.where(kinds ^ wrong, "no", "yes").astype(object)
    frame = pl.DataFrame({"said": [" ".join(row) for row in words], "noise": generator.normal(size=1200)})
    data = Data(
        frame, answers, np.arange(1200).astype(str).astype(object), np.full(1200, "train"), np.arange(1200).astype(str)
    )
    found = list(label_errors.find(data))
    if not share:
        assert found == []
        return
    suspected = found[0].evidence["indices"]
    assert found[0].severity == "note"
    assert wrong[suspected].mean() > 0.7
    assert wrong[suspected].sum() > 0.6 * wrong.sum()


@pytest.mark.parametrize("name", ["cancer", "digits"])
def test_a_shifted_test_part(name: str) -> None:
    data = clean(name)
    tests = np.flatnonzero(data.part == "test")
    if isinstance(data.raws, pl.DataFrame):
        moved = data.raws["c0"].to_numpy().copy()
        moved[tests] += 2 * moved.std()
        raws: np.ndarray | pl.DataFrame = data.raws.with_columns(c0=pl.Series(moved))
    else:
        raws = data.raws.copy()
        raws[tests] = np.roll(raws[tests], 1, axis=2)
    shifted = Data(raws, data.answers, data.where, data.part, data.digests)
    assert [(f.kind, f.severity) for f in shift.find(shifted)] == [("data.shift", "warning")]
    later = Data(raws, data.answers, data.where, data.part, data.digests, times=np.arange(len(data)))
    assert [(f.kind, f.severity) for f in shift.find(later)] == [("data.shift", "note")]


def test_auroc() -> None:
    assert shift.auroc(np.array([1.0, 2.0]), np.array([0.0, 1.0])) == 0.875


def test_outliers() -> None:
    data = clean("cancer")
    assert isinstance(data.raws, pl.DataFrame)
    values = data.raws["c3"].to_numpy().copy()
    values[7] = 999999.0
    frame = data.raws.with_columns(c3=pl.Series(values), income=np.random.default_rng(0).lognormal(size=len(data)))
    (found,) = outliers.find(Data(frame, data.answers, data.where, data.part, data.digests))
    assert (found.kind, found.where) == ("value.outlier", ("7: 999999",))


def test_blank_pictures() -> None:
    data = clean("digits")
    assert isinstance(data.raws, np.ndarray)
    pixels = data.raws.copy()
    pixels[5], pixels[9] = 0, 255
    (found,) = outliers.find(Data(pixels, data.answers, data.where, data.part, data.digests))
    assert (found.kind, found.severity, found.where) == ("picture.blank", "note", ("5", "9"))


def test_examples_are_judged_alike_however_many_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    bunch = load_digits()
    pixels, label = bunch.images[:300], bunch.target[:300]
    pictures = (255 / 16 * pixels).astype(np.uint8)[..., None]
    where = np.array([str(n) for n in range(300)], dtype=object)
    data = Data(pictures, label.astype(str), where, np.resize(["train"], 300), digests_of_rows(pictures))
    rows, found = np.arange(0, 300, 2), []
    for together in (2048, 7):
        monkeypatch.setattr(label_errors, "_TOGETHER", together)
        described = label_errors.described(data, rows)
        assert described is not None
        found.append((described, label_errors.left_out(described, label[rows], 10)))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-3)
