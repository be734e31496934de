"""Split: parts are complete, stratified, seeded; copies, groups and moments are never parted."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from lamina.data.boxes import Box
from lamina.data.data import Data
from lamina.data.split import complete
from lamina.errors import DataError, OptionError


def made(answers: list[object] | np.ndarray, part: str = "", seed: int = 0) -> Data:
    count = len(answers)
    given = np.asarray(answers)
    return Data(
        raws=np.arange(count),
        answers=given if given.dtype.kind == "f" else given.astype(object),
        where=np.array([f"t.csv:{row}" for row in range(count)], dtype=object),
        part=np.full(count, part, dtype="<U5"),
        digests=np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64),
    )


def test_parts_are_complete_and_stratified() -> None:
    data = made(["a"] * 800 + ["b"] * 190 + ["c"] * 10)
    split = complete(data, seed=0)
    assert split.counts() == {"train": 700, "valid": 150, "test": 150}
    for part in ("valid", "test"):
        answers = split.answers[split.part == part].tolist()
        assert (answers.count("a"), answers.count("b"), answers.count("c")) == (120, 28, 2)
    assert (split.raws == data.raws).all()
    assert "at random (seed 0)" in split.notes[-1]


def test_every_class_with_three_examples_is_in_every_part() -> None:
    data = made([f"class {n % 40}" for n in range(120)] + ["rare", "rare", "single"])
    split = complete(data, seed=3)
    for part in ("train", "valid", "test"):
        assert len({a for a in split.answers[split.part == part] if str(a).startswith("class")}) == 40
    assert set(split.part[-3:]) == {"test", "train"}
    assert split.part[-1] == "train"
    assert [(f.kind, f.count) for f in split.findings] == [("class.few", 2)]


def test_numbers_are_stratified_by_quantile() -> None:
    values = np.random.default_rng(0).lognormal(size=1000)
    split = complete(made(values), seed=0)
    for part in ("train", "valid", "test"):
        assert np.median(values[split.part == part]) == pytest.approx(np.median(values), rel=0.1)
    assert split.counts() == {"train": 700, "valid": 150, "test": 150}


def test_the_split_follows_seed_and_content_not_order() -> None:
    data = made([n % 3 for n in range(300)])
    shuffled = data.take(np.random.default_rng(1).permutation(300))
    first, second, other = complete(data, 5), complete(shuffled, 5), complete(data, 6)
    assert dict(zip(first.where, first.part, strict=True)) == dict(zip(second.where, second.part, strict=True))
    assert (first.part != other.part).any()


def test_official_parts_stay_and_missing_ones_are_carved_from_training() -> None:
    part = np.array(["train"] * 80 + ["test"] * 20)
    data = replace(made([n % 2 for n in range(100)]), part=part)
    split = complete(data, 0)
    assert (split.part[80:] == "test").all()
    assert split.counts() == {"train": 68, "valid": 12, "test": 20}
    assert "test part was left alone" in split.notes[-1]
    data = replace(data, part=np.where(part == "test", "valid", part))
    split = complete(data, 0)
    assert (split.part[80:] == "valid").all()
    assert split.counts() == {"train": 68, "valid": 20, "test": 12}
    whole = complete(split, 1)
    assert (whole.part == split.part).all()


def test_copies_stay_together() -> None:
    data = made([n % 2 for n in range(300)])
    data.digests[:] = np.repeat(data.digests[:100], 3)
    data.digests[:50] = 7
    split = complete(data, 0)
    assert all(len(set(split.part[data.digests == digest])) == 1 for digest in set(data.digests))
    assert min(split.counts().values()) > 20


def test_groups_stay_together_and_grow_by_shared_copies() -> None:
    data = replace(made([n % 2 for n in range(400)]), groups=np.array([f"g{n % 40}" for n in range(400)], dtype=object))
    data.digests[0] = data.digests[1]  # groups 0 and 1 share an example
    split = complete(data, 0)
    assert split.groups is not None
    assert all(len(set(split.part[split.groups == group])) == 1 for group in set(split.groups))
    assert split.part[0] == split.part[1]
    assert min(split.counts().values()) >= 40


def test_rows_that_are_equal_by_coincidence_are_no_copies() -> None:
    """Otherwise visits of all patients hang together, and kinds of rows are in one part only."""
    source = np.random.default_rng(0)
    columns = {"id": range(3000), "stage": source.integers(1, 4, 3000), "score": source.integers(0, 30, 3000)}
    frame = pl.DataFrame(columns).cast(pl.Float64)
    data = replace(
        made([n % 2 for n in range(3000)]),
        raws=frame,
        digests=(frame["stage"] * 100 + frame["score"]).to_numpy().astype(np.uint64),
    )
    split = complete(data, 0)
    seen = set(split.digests[split.part == "train"])
    assert np.isin(split.digests[split.part == "test"], list(seen)).mean() > 0.9
    order = np.random.default_rng(1).permutation(3000)
    mixed = complete(data.take(order), 0)
    dealt = [sorted(zip(one.digests.tolist(), one.answers, one.part, strict=True)) for one in (split, mixed)]
    assert dealt[0] == dealt[1]
    grouped = complete(replace(data, groups=(np.arange(3000) // 10).astype(str)), 0)
    assert grouped.counts()["test"] > 300


def test_few_groups_still_make_every_part() -> None:
    groups = np.repeat(["a", "b", "c", "d"], 10).astype(object)
    split = complete(replace(made(list(groups)), groups=groups), 0)
    assert min(split.counts().values()) == 10
    with pytest.raises(DataError, match="too few groups"):
        complete(replace(made([n % 2 for n in range(40)]), groups=np.repeat(["a", "b"], 20).astype(object)), 0)


def test_every_class_of_boxes_is_trained() -> None:
    shown = [*["cup"] * 20, "lid spoon", "lid", "fork spoon", "fork"]
    data = made(shown)
    for row, labels in enumerate(shown):
        data.answers[row] = tuple(Box(label, 1, 2, 3, 4) for label in labels.split())
    balanced = np.array([labels.split()[0] for labels in shown], dtype=object)  # so that both spoons may leave
    for seed in range(20):
        split = complete(replace(data, balanced=balanced), seed)
        assert {box.label for boxes in split.of("train").answers for box in boxes} == {"cup", "fork", "lid", "spoon"}
        assert min(split.counts().values()) > 0


def test_time_orders_parts_and_moments_stay_together() -> None:
    times = np.random.default_rng(0).integers(0, 40, 400).astype(float)
    split = complete(replace(made([n % 2 for n in range(400)]), times=times), 0)
    assert times[split.part == "train"].max() < times[split.part == "valid"].min()
    assert times[split.part == "valid"].max() < times[split.part == "test"].min()
    assert split.counts()["test"] == pytest.approx(60, abs=10)
    assert "by time" in split.notes[-1]
    with pytest.raises(DataError, match="2 different times"):
        complete(replace(made([0, 1] * 10), times=np.array([0.0, 1.0] * 10)), 0)


def test_refused_splits() -> None:
    with pytest.raises(DataError, match="9 examples"):
        complete(made([0, 1, 0, 1, 0, 1, 0, 1, 0]), 0)
    with pytest.raises(DataError, match="each of the 12 classes has one example"):
        complete(made([f"c{n}" for n in range(12)]), 0)
    with pytest.raises(DataError, match="a test part, but none for training"):
        complete(made([0, 1] * 10, part="test"), 0)
    with pytest.raises(OptionError, match="shares"):
        complete(made([0, 1] * 10), 0, valid_share=0.5, test_share=0.5)
    both = replace(made([0, 1] * 10), groups=np.arange(20), times=np.arange(20.0))
    with pytest.raises(OptionError, match="at once"):
        complete(both, 0)
