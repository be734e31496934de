"""The audit: each illness is found where it is, and not where it is not."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from lamina.audit.audit import audit, audited, corrupt, illnesses
from lamina.data.data import Data
from lamina.data.images import digests_of_rows
from lamina.data.kinds import columns
from lamina.data.tables import digests_of_table
from lamina.findings import Finding


def pictures(rows: int = 600, seed: int = 0) -> Data:
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 255, (rows, 4, 4), np.uint8)
    part = np.repeat(["train", "valid", "test"], [rows // 2, rows // 6, rows - rows // 2 - rows // 6])
    answers = np.array([f"c{n % 3}" for n in range(rows)], dtype=object)
    return put(pixels, answers, part)


def put(
    raws: np.ndarray | pl.DataFrame, answers: np.ndarray, part: np.ndarray, groups: np.ndarray | None = None
) -> Data:
    table = isinstance(raws, pl.DataFrame)
    digests = digests_of_table(raws, columns(raws)) if isinstance(raws, pl.DataFrame) else digests_of_rows(raws)
    where = np.array([f"t.csv:{n}" if table else f"{n}.png" for n in range(len(answers))], dtype=object)
    return Data(raws, answers, where, part, digests, groups)


def kinds(data: Data) -> dict[str, Finding]:
    return {finding.kind: finding for finding in audit(data) if finding.kind != "data.few"}


def test_what_was_found_is_remembered_until_a_name_or_a_part_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def two() -> list[str]:
        looked.append(1)
        return ["few", "leaks"]

    monkeypatch.setattr("lamina.audit.audit.illnesses", two)
    data = pictures(40)
    told: list[tuple[int, int]] = []
    first = audited(data, lambda done, of: told.append((done, of)))
    assert audited(data) == first == audit(data)
    assert len(looked) == 2  # the second of the three was recalled
    assert told == [(1, 2), (2, 2)]
    audited(replace(data, where=data.where[::-1]))
    audited(replace(data, part=np.full(40, "test")))
    assert len(looked) == 4


def test_sound_pictures_have_no_findings() -> None:
    assert kinds(pictures()) == {}


def test_every_file_of_the_folder_is_run() -> None:
    assert illnesses() == [
        "columns",
        "duplicates",
        "few",
        "giveaway",
        "groups",
        "imbalance",
        "label_errors",
        "leaks",
        "near_duplicates",
        "near_recordings",
        "near_texts",
        "outliers",
        "shift",
    ]


def test_duplicates_and_conflicts() -> None:
    data = pictures()
    assert isinstance(data.raws, np.ndarray)
    data.raws[3], data.raws[6], data.raws[7] = data.raws[0], data.raws[0], data.raws[1]
    data.raws[8] = data.raws[0]  # another class
    found = kinds(put(data.raws, data.answers, data.part))
    assert found["duplicate.within"].count == 4
    assert found["duplicate.within"].where == ("0.png (4 times)", "1.png (2 times)")
    assert found["duplicate.within"].severity == "warning"
    assert found["label.conflict"].count == 1
    assert "8.png (c2)" in found["label.conflict"].where[0]


def test_leaks_are_counted_and_named() -> None:
    data = pictures()
    assert isinstance(data.raws, np.ndarray)
    data.raws[500:510] = data.raws[:10]
    data.raws[320] = data.raws[20]
    found = [f for f in audit(put(data.raws, data.answers, data.part)) if f.kind == "leak.duplicate"]
    assert [(f.evidence["part"], f.count, f.severity) for f in found] == [
        ("test", 10, "warning"),
        ("valid", 1, "warning"),
    ]
    assert found[0].where[0] == "500.png = 0.png"
    assert found[0].evidence["share"] == 0.05


def table(rows: int = 900) -> pl.DataFrame:
    generator = np.random.default_rng(0)
    return pl.DataFrame({"x": generator.normal(size=rows), "city": generator.choice(["Rome", "Oslo"], rows).tolist()})


PART = np.repeat(["train", "valid", "test"], 300)


def test_coincidences_of_a_coarse_table_are_no_copies() -> None:
    generator = np.random.default_rng(0)
    frame = pl.DataFrame(
        {"sex": generator.choice(["m", "f"], 900).tolist(), "age": generator.integers(0, 90, 900) * 1.0}
    )
    answers = generator.choice(["a", "b"], 900).astype(object)
    counted = frame.with_columns(id=pl.int_range(900).cast(pl.Float64))
    for one in (frame, counted):  # a column that only counts rows tells nothing
        found = kinds(put(one, answers, PART))
        assert {kind: finding.severity for kind, finding in found.items() if kind != "column.identifier"} == {
            "leak.duplicate": "note"
        }
        assert not found["leak.duplicate"].evidence.keys() & {"indices", "removable"}


def test_sound_and_honestly_strong_columns_raise_no_alarm() -> None:
    frame = table()
    noise = np.random.default_rng(1).normal(size=900)
    x = frame["x"].to_numpy()
    assert kinds(put(frame, np.where(x + 0.3 * noise > 0, "a", "b").astype(object), PART)) == {}
    assert kinds(put(frame, x + 0.1 * noise, PART)) == {}


@pytest.mark.parametrize("target", ["class", "number"])
@pytest.mark.parametrize("kind", ["number", "string", "missing"])
def test_a_column_that_gives_the_answer_away(target: str, kind: str) -> None:
    frame = table()
    hidden = np.random.default_rng(2).integers(0, 3, 900)
    answers = hidden * 10.0 if target == "number" else np.array([f"c{n}" for n in hidden], dtype=object)
    if kind == "missing":  # a value is there only where the answer is one and the same
        answers = np.where(hidden == 0, answers, answers[hidden > 0][0])
        leak = pl.Series("boat", [f"b{n}" if h == 0 else None for n, h in enumerate(hidden)], dtype=pl.String)
    else:
        leak = pl.Series("boat", (hidden * -2.0).tolist() if kind == "number" else [f"v{(h + 1) % 3}" for h in hidden])
    found = kinds(put(frame.with_columns(leak), answers, PART))
    assert list(found) == ["leak.column"]
    assert found["leak.column"].where == ("boat",)


@pytest.mark.parametrize("rows", [120, 900])
@pytest.mark.parametrize("skew", ["normal", "exponential", "lognormal"])
def test_a_copy_of_a_skewed_quantity_is_found(skew: str, rows: int) -> None:
    generator = np.random.default_rng(3)
    answers = getattr(generator, skew)(size=rows)
    part = np.repeat(["train", "valid", "test"], rows // 3)
    part[: rows // 2] = "train"
    noisy = answers * np.exp(0.3 * generator.normal(size=rows))
    frame = table(rows).with_columns(gross=pl.Series(2 * answers + 1), near=pl.Series(noisy))
    found = kinds(put(frame, answers, part))
    assert found["leak.column"].where == ("gross",)


def test_whether_it_rains_is_not_how_much() -> None:
    generator = np.random.default_rng(3)
    for dry in (0.93, 0.6):
        answers = np.where(generator.random(900) < dry, 0.0, generator.exponential(size=900))
        frame = table().with_columns(wet=pl.Series((answers > 0) * 1.0))
        assert "leak.column" not in kinds(put(frame, answers, PART))
    told = table().with_columns(gross=pl.Series(2 * answers + 1))
    assert kinds(put(told, answers, PART))["leak.column"].where == ("gross",)


def test_a_copy_of_many_classes_is_found() -> None:
    hidden = np.random.default_rng(4).integers(0, 100, 3000)
    frame = table(3000).with_columns(code=pl.Series(hidden * 3.0))
    part = np.repeat(["train", "valid", "test"], 1000)
    part[:2400] = "train"
    found = kinds(put(frame, np.array([f"c{n:03}" for n in hidden], dtype=object), part))
    assert found["leak.column"].where == ("code",)


def test_constant_and_identifier_columns_are_noted() -> None:
    frame = table().with_columns(id=pl.int_range(900).cast(pl.Float64), same=pl.lit(1.0))
    found = [f for f in audit(put(frame, np.random.default_rng(5).normal(size=900), PART)) if f.kind != "data.few"]
    assert [(f.kind, f.severity, f.where) for f in found] == [
        ("column.identifier", "note", ("id",)),
        ("column.constant", "note", ("same",)),
    ]


@pytest.mark.parametrize(("kept", "severity"), [(["x"], "note"), ([], "warning")])
def test_texts_in_a_table_are_told_to_say_little_there(kept: list[str], severity: str) -> None:
    words = np.random.default_rng(0).choice(["a", "good", "film", "about", "dogs", "and", "rain"], (900, 9))
    frame = table().with_columns(said=pl.Series([" ".join(row) + f" {i}" for i, row in enumerate(words)]))[
        [*kept, "said"]
    ]
    answers = np.random.default_rng(1).choice(["yes", "no"], 900).astype(object)
    told = [f for f in audit(put(frame, answers, PART)) if f.kind == "column.text"]
    assert [(f.severity, f.where) for f in told] == [(severity, ("said",))]


def test_an_identifier_in_the_order_of_classes_is_no_leak() -> None:
    rows = np.random.default_rng(0).permutation(900)
    frame = table().with_columns(id=pl.Series(rows.astype(float)))
    found = kinds(put(frame, np.where(rows < 450, "a", "b").astype(object), PART))
    assert list(found) == ["column.identifier"]


def test_groups_that_straddle() -> None:
    groups = np.array([f"g{n // 10}" for n in range(900)], dtype=object)
    frame, answers = table(), np.random.default_rng(5).normal(size=900)
    assert kinds(put(frame, answers, PART, groups)) == {}
    groups[600] = "g0"
    assert kinds(put(frame, answers, PART, groups))["leak.group"].where == ("g0",)


def test_imbalance() -> None:
    data = pictures(1200)
    answers = np.where(np.arange(1200) % 12 == 0, "rare", "usual").astype(object)
    found = kinds(put(data.raws, answers, data.part))
    assert list(found) == ["class.imbalance"]
    assert found["class.imbalance"].where == ("rare: 50",)
    answers = np.where(np.arange(1200) % 4 == 0, "rare", "usual").astype(object)
    assert kinds(put(data.raws, answers, data.part)) == {}


@pytest.mark.parametrize(("rows", "severity"), [(6000, None), (600, "note"), (60, "warning")])
def test_few(rows: int, severity: str | None) -> None:
    found = [f.severity for f in audit(pictures(rows)) if f.kind == "data.few"]
    assert found == ([severity] if severity else [])


def test_corrupt() -> None:
    finding = corrupt([("a.jpg", "truncated."), ("b.jpg", "empty.")], 10)
    assert (finding.kind, finding.severity, finding.count) == ("file.unreadable", "warning", 2)
    assert finding.where == ("a.jpg: truncated.", "b.jpg: empty.")
    assert corrupt([("a.jpg", "x")] * 6, 10).severity == "stop"


def test_the_gravest_come_first_and_reading_is_included() -> None:
    from dataclasses import replace

    data = replace(pictures(60), findings=(Finding("a", "note", "", ""), Finding("b", "stop", "", "")))
    assert [f.severity for f in audit(data)] == ["stop", "warning", "note"]
