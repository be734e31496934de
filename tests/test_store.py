"""The store of encoded examples: made once, whole or not at all."""

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lamina.data import store
from lamina.data.data import Arrays, Data, Raws
from lamina.data.ragged import Ragged
from lamina.errors import DataError, TrainingError

COUNT = 300  # more than two chunks


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAMINA_CACHE", str(tmp_path))
    return tmp_path / "store"


def data(count: int = COUNT) -> Data:
    numbers = np.arange(count)
    parts = np.array(["train", "test", "valid"])[numbers % 3]
    where = np.array([f"row {n}" for n in numbers], dtype=object)
    return Data(numbers.astype(float), numbers * 2.0, where, parts, numbers.astype(np.uint64))


class Encoder:
    """Doubles numbers; cannot read those in ``bad``; counts what it is asked."""

    def __init__(self, *bad: int) -> None:
        self.bad, self.asked = bad, 0

    def __call__(self, raws: Raws) -> Arrays:
        self.asked += len(raws)
        assert isinstance(raws, np.ndarray)
        if set(raws.astype(int).tolist()) & set(self.bad):
            raise DataError(f"cannot read {raws[0]:g}")
        return {"double": np.stack([raws, 2 * raws], 1).astype(np.float32)}


def target(answers: np.ndarray) -> Arrays:
    return {"value": answers.astype(np.float32)}


def made(encoder: Encoder, examples: Data | None = None, decides: str = "") -> store.Store:
    return store.prepare(examples or data(), encoder, target, decides)


def test_order_is_kept_and_reuse_encodes_nothing() -> None:
    encoder = Encoder()
    for _ in range(2):
        found = made(encoder)
        assert torch.equal(found.inputs["double"][:, 1], 2 * torch.arange(COUNT).float())
        assert torch.equal(found.targets["value"], 2 * torch.arange(COUNT).float())
        assert encoder.asked == COUNT
    rows = found.rows_of(data(), "test")
    assert rows.tolist() == list(range(1, COUNT, 3))
    assert found.batch(torch.tensor([5, 2])).targets["value"].tolist() == [10.0, 4.0]


def test_other_data_or_options_are_another_store() -> None:
    encoder = Encoder()
    made(encoder)
    changed = data()
    changed.digests[7] = 999_999
    answers = replace(data(), answers=np.r_[1.0, data().answers[1:]])
    for number, (examples, decides) in enumerate([(changed, ""), (answers, ""), (data(), "other")], 2):
        made(encoder, examples, decides)
        assert encoder.asked == number * COUNT


def test_unreadable_examples_are_named_and_the_rest_kept() -> None:
    for _ in range(2):  # when built, and when opened
        found = made(Encoder(0, 150, 299))
        assert [where for where, _ in found.failures] == ["row 0", "row 150", "row 299"]
        assert found.failures[1][1] == "cannot read 150"
        assert len(found) == COUNT - 3
        assert torch.equal(found.inputs["double"][:, 0] * 2, found.targets["value"])
        assert found.kept[found.rows_of(data(), "train").numpy()].tolist() == [n for n in range(3, 299, 3) if n != 150]


def test_a_first_chunk_that_cannot_be_read_is_no_obstacle() -> None:
    assert len(made(Encoder(*range(200)))) == 100


def test_nothing_readable_is_an_error_that_leaves_nothing(cache: Path) -> None:
    with pytest.raises(DataError, match="none of the 300") as caught:
        made(Encoder(*range(COUNT)))
    assert caught.value.where == "row 0"
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_an_interrupted_build_is_never_taken_for_a_finished_one(
    cache: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    def interrupted(raws: Raws) -> Arrays:
        interrupted.calls += 1  # type: ignore[attr-defined]
        if interrupted.calls == moment:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return Encoder()(raws)

    interrupted.calls = 0  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:  # as when the process is killed: nobody tidies up
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            store.prepare(data(), interrupted, target, "")
    assert [folder.suffix for folder in cache.iterdir()] == [".partial"]
    assert len(made(Encoder())) == COUNT


def test_what_killed_builds_left_is_swept_after_a_day(cache: Path) -> None:
    old, new = cache / "a.partial", cache / "b.partial"
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (time.time() - 90_000,) * 2)
    made(Encoder())
    assert (old.exists(), new.exists()) == (False, True)


def test_a_store_without_its_end_is_made_anew(cache: Path) -> None:
    made(Encoder())
    (folder,) = cache.iterdir()
    (folder / "store.json").unlink()
    encoder = Encoder()
    assert len(made(encoder)) == COUNT
    assert encoder.asked == COUNT


@pytest.mark.parametrize("moment", ["_flush", "_Column.append"])
def test_a_full_disk_is_said_and_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"lamina.data.store.{moment}", full)
    with pytest.raises(TrainingError, match=r"No space left.*lamina cache --clear.*LAMINA_CACHE"):
        made(Encoder())
    assert list(cache.iterdir()) == []


def test_a_store_whose_file_was_cut_is_made_anew(cache: Path) -> None:
    made(Encoder())
    (folder,) = cache.iterdir()
    os.truncate(folder / "inputs.double.bin", 100)
    encoder = Encoder()
    assert torch.equal(made(encoder).inputs["double"][:, 0], torch.arange(COUNT).float())
    assert encoder.asked == COUNT


def ragged(raws: Raws) -> Arrays:
    """As many rows as the number says, modulo 4, each (number, index)."""
    if 150.0 in raws:
        raise DataError("cannot read 150")
    boxes = np.empty(len(raws), dtype=object)
    for place, number in enumerate(raws):
        boxes[place] = np.array([[number, index] for index in range(int(number) % 4)], dtype=np.float32).reshape(-1, 2)
    return {"boxes": boxes, "double": np.asarray(raws)[:, None] * 2}


def test_ragged_arrays_come_padded_with_their_lengths() -> None:
    for _ in range(2):  # when built, and when opened
        found = store.prepare(data(), ragged, target, "")
        assert len(found) == COUNT - 1
        rows = torch.tensor([7, 4, 153, 3])  # row 153 is example 154, since 150 is left out
        batch = found.batch(rows)
        assert batch.inputs["boxes_lengths"].tolist() == [3, 0, 2, 3]
        assert batch.inputs["boxes"].shape == (4, 3, 2)
        assert batch.inputs["boxes"][2].tolist() == [[154, 0], [154, 1], [0, 0]]
        assert batch.inputs["boxes"][1].tolist() == [[0, 0]] * 3
        assert batch.inputs["double"][:, 0].tolist() == [14, 8, 308, 6]
        column = found.inputs["boxes"]
        assert isinstance(column, Ragged)
        assert column.lengths.tolist() == [number % 4 for number in range(COUNT) if number != 150]
    assert found.batch(torch.tensor([4, 8])).inputs["boxes"].shape == (2, 0, 2)
    assert found.to(torch.device("cpu")).bytes == found.bytes


def test_an_encoder_that_changes_its_mind_is_told_so(cache: Path) -> None:
    def fickle(raws: Raws) -> Arrays:
        return {"x": np.zeros((len(raws), 2 if raws[0] < 128 else 3), dtype=np.float32)}

    with pytest.raises(DataError, match=r"float32 \(3,\).*first example's is float32 \(2,\)"):
        store.prepare(data(), fickle, target, "")
    assert list(cache.iterdir()) == []


def test_two_processes_may_build_the_same_store_at_once(cache: Path) -> None:
    class Rival(Encoder):
        def __call__(self, raws: Raws) -> Arrays:
            if self.asked == 0:
                self.asked = 1
                made(Encoder())  # the other one is done first
            return super().__call__(raws)

    assert torch.equal(made(Rival()).inputs["double"][:, 0], torch.arange(COUNT).float())
    assert len(list(cache.iterdir())) == 1


def test_a_batch_takes_memory_of_its_own_only() -> None:
    found = made(Encoder())
    batch = found.batch(torch.arange(3))
    batch.inputs["double"].add_(1)
    assert found.inputs["double"][0, 0] == 0
