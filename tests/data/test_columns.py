"""From typed columns to numbers and codes."""

import numpy as np
import polars as pl
import pytest

from lamina.data import columns
from lamina.data.kinds import columns as kinds_of


def _learned(frame: pl.DataFrame) -> dict[str, list[dict[str, object]]]:
    return columns.learn(frame, kinds_of(frame))


def test_numbers_become_normal_scores_of_their_ranks_whatever_their_unit() -> None:
    values = np.random.default_rng(0).lognormal(size=2000)
    for scale in (1.0, 1e6):
        frame = pl.DataFrame({"x": values * scale})
        encoded = columns.apply(frame, _learned(frame))["numbers"][:, 0]
        assert abs(encoded.mean()) < 0.02
        assert encoded.std() == pytest.approx(1.0, abs=0.05)
        assert np.array_equal(np.argsort(encoded, kind="stable"), np.argsort(values, kind="stable"))


def test_values_beyond_the_training_range_stay_within_the_farthest_score() -> None:
    frame = pl.DataFrame({"x": np.linspace(0.0, 1.0, 500)})
    beyond = pl.DataFrame({"x": [-1e9, 1e9]})
    encoded = columns.apply(beyond, _learned(frame))["numbers"][:, 0]
    assert np.abs(encoded).max() <= columns.FARTHEST


def test_a_missing_number_is_filled_and_marked() -> None:
    values = [float(value) if value % 7 else None for value in range(400)]
    frame = pl.DataFrame({"x": values})
    learned = _learned(frame)
    encoded = columns.apply(frame, learned)["numbers"]
    assert [one["from"] for one in learned["numbers"]] == ["value", "missing"]
    missing = np.array([value is None for value in values])
    assert np.array_equal(encoded[:, 1], missing)
    assert np.isfinite(encoded).all()
    assert np.unique(encoded[missing, 0]).size == 1


def test_codes_start_at_one_and_strangers_are_zero() -> None:
    frame = pl.DataFrame({"town": ["Bonn", "Köln", "Bonn", None] * 30})
    learned = _learned(frame)
    new = pl.DataFrame({"town": ["Köln", "Bonn", "Trier", None]})
    assert columns.apply(new, learned)["categories"][:, 0].tolist() == [2, 1, 0, 0]


def test_a_number_with_few_values_is_a_category_as_well() -> None:
    values = np.random.default_rng(0).integers(0, 30, 3000).astype(float)
    few = pl.DataFrame({"x": values})
    assert [one["column"] for one in _learned(few)["categories"]] == ["x"]
    many = pl.DataFrame({"x": np.random.default_rng(0).normal(size=3000)})
    assert _learned(many)["categories"] == []
    codes = columns.apply(few, _learned(few))["categories"][:, 0]
    assert len(np.unique(codes)) == 30
    assert all(np.unique(codes[values == value]).size == 1 for value in range(30))


def test_dates_become_the_parts_that_vary() -> None:
    frame = pl.DataFrame(
        {"when": pl.datetime_range(pl.datetime(2020, 1, 1), pl.datetime(2020, 12, 30), "1d", eager=True)}
    )
    parts = [one["from"] for one in _learned(frame)["numbers"]]
    assert parts == ["epoch", "month", "day", "weekday"]  # neither the year nor the hour varies


def test_frequent_words_of_a_text_become_marks() -> None:
    texts = [f"{'big' if row % 2 else 'small'} house number{'abcdefghij'[row % 10] * 3} {row}" for row in range(300)]
    frame = pl.DataFrame({"text": texts})
    learned = _learned(frame)
    words = {str(one["word"]): place for place, one in enumerate(learned["numbers"]) if one["from"] == "word"}
    assert {"big", "small"} <= set(words)
    assert "house" not in words, "a word in every row tells nothing"
    marks = columns.apply(pl.DataFrame({"text": ["a BIG one", None]}), learned)["numbers"]
    assert marks[:, words["big"]].tolist() == [1, 0]
