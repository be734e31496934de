"""The store of encoded examples: made once, whole or not at all."""

import os
import shutil
import time
from dataclasses import replace
from errno import EMFILE, ENOSPC, EROFS
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
import torch

from lamina.data import building, store
from lamina.data.cache import Hold
from lamina.data.data import Arrays, Data, Raws
from lamina.data.ragged import Ragged, ragged
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


def made(encoder: building.Encode, examples: Data | None = None, decides: str = "", again: bool = False) -> store.Store:
    return store.prepare(examples or data(), encoder, target, decides, again=again)


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


def test_examples_that_can_be_read_by_now_are_taken_in(cache: Path) -> None:
    """A disk may have failed, or too many files have been open: the fault need not be the example's."""
    held = made(Encoder(0, 150))
    still = Encoder(0)
    assert len(made(still, again=True)) == COUNT - 2, "another process uses the store"
    assert still.asked < COUNT
    del held
    assert len(made(Encoder(0))) == COUNT - 2, "a run that goes on needs what it had"
    assert len(made(Encoder(0), again=True)) == COUNT - 1
    assert len(made(Encoder(0))) == COUNT - 1
    assert len(list(cache.iterdir())) == 1


def test_a_store_that_cannot_be_opened_now_is_not_taken_for_a_broken_one(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(Encoder())

    def too_many(*_: object) -> None:
        raise OSError(EMFILE, os.strerror(EMFILE))

    encoder = Encoder()
    with monkeypatch.context() as patch:
        patch.setattr("lamina.data.store.mapped", too_many)
        with pytest.raises(TrainingError, match="Too many open files"):
            made(encoder)
    made(encoder)
    assert encoder.asked == 0


@pytest.mark.skipif(not hasattr(os, "umask") or os.name == "nt", reason="there are no such permissions")
def test_others_may_read_a_store_where_new_files_may_be_read(cache: Path) -> None:
    before = os.umask(0o022)
    try:
        made(Encoder())
    finally:
        os.umask(before)
    assert [place.stat().st_mode & 0o777 for place in cache.iterdir()] == [0o755]


def test_a_bad_example_is_looked_for_in_ever_fewer() -> None:
    encoder, calls = Encoder(150), []

    def counted(raws: Raws) -> Arrays:
        calls.append(len(raws))
        return encoder(raws)

    assert len(made(counted)) == COUNT - 1
    assert len(calls) == 3 + building.SHARES + building.CHUNK // building.SHARES


def test_rows_of_a_table_are_encoded_many_at_a_time() -> None:
    asked: list[int] = []

    def encode(rows: Raws) -> Arrays:
        asked.append(len(rows))
        return {"double": cast(pl.DataFrame, rows)["number"].to_numpy()[:, None].astype(np.float32)}

    table = replace(data(), raws=pl.DataFrame({"number": np.arange(COUNT)}))
    assert torch.equal(made(encode, table).inputs["double"][:, 0], torch.arange(COUNT).float())
    assert asked == [COUNT]


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


def test_what_killed_builds_left_is_swept_but_no_build_that_goes_on(cache: Path) -> None:
    folders = dead, living, _ = [cache / f"{name}.partial" for name in "abc"]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "lock").touch()
    hold = Hold(living)
    for folder in (dead, living):
        os.utime(folder, (time.time() - 90_000,) * 2)
    made(Encoder())
    assert [folder.exists() for folder in folders] == [False, True, True]
    del hold


def test_a_store_without_its_end_is_made_anew(cache: Path) -> None:
    made(Encoder())
    (folder,) = cache.iterdir()
    (folder / "store.json").unlink()
    encoder = Encoder()
    assert len(made(encoder)) == COUNT
    assert encoder.asked == COUNT


@pytest.mark.parametrize("moment", ["os.fsync", "lamina.data.building._Column.append"])
@pytest.mark.parametrize(
    ("number", "reason", "remedy"),
    [(ENOSPC, "No space left", "lamina cache --clear"), (EROFS, "Read-only", "write to")],
)
def test_a_full_or_read_only_disk_is_said_and_leaves_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch, moment: str, number: int, reason: str, remedy: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(moment, full)
    with pytest.raises(TrainingError, match=f"{reason}.*LAMINA_CACHE") as caught:
        store.prepare(data(), both, target, "")
    assert remedy in caught.value.remedy
    assert list(cache.iterdir()) == []


def test_a_cache_that_may_only_be_read_is_used(cache: Path) -> None:
    """As root, who may write anywhere, this tests nothing."""
    made(Encoder())
    (folder,) = cache.iterdir()
    for place in (*folder.iterdir(), folder, cache):
        place.chmod(0o555 if place.is_dir() else 0o444)
    try:
        encoder = Encoder()
        assert len(made(encoder)) == COUNT
        assert encoder.asked == 0
    finally:
        for place in (cache, folder):
            place.chmod(0o755)


@pytest.mark.parametrize("file", ["inputs.double.bin", "targets.value.bin", "kept.bin", "store.json"])
def test_a_store_whose_file_was_cut_is_made_anew(cache: Path, file: str) -> None:
    made(Encoder())
    (folder,) = cache.iterdir()
    os.truncate(folder / file, 80)
    encoder = Encoder()
    assert torch.equal(made(encoder).inputs["double"][:, 0], torch.arange(COUNT).float())
    assert encoder.asked == COUNT


def both(raws: Raws) -> Arrays:
    """As many boxes as the number says, modulo 4, each (number, index); and the number doubled."""
    if 150.0 in raws:
        raise DataError("cannot read 150")
    boxes = [np.array([[number, index] for index in range(int(number) % 4)], dtype=np.float32) for number in raws]
    return {"boxes": ragged([box.reshape(-1, 2) for box in boxes]), "double": np.asarray(raws)[:, None] * 2}


def test_ragged_arrays_come_padded_with_their_lengths() -> None:
    for _ in range(2):  # when built, and when opened
        found = store.prepare(data(), both, target, "")
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


def test_ragged_examples_of_equal_length_and_ragged_targets() -> None:
    def tokens(answers: np.ndarray) -> Arrays:
        return {"tokens": ragged([np.arange(int(answer) % 5) for answer in answers])}

    def samples(raws: Raws) -> Arrays:
        return {"samples": ragged([np.full((2, 3), number, dtype=np.int16) for number in raws])}

    batch = store.prepare(data(), samples, tokens, "").batch(torch.tensor([299, 2]))
    assert batch.inputs["samples"].tolist() == [[[299] * 3] * 2, [[2] * 3] * 2]
    assert batch.targets["tokens"].tolist() == [[0, 1, 2, 0], [0, 1, 2, 3]]
    assert batch.targets["tokens_lengths"].tolist() == [3, 4]


def test_rows_of_like_lengths_come_together_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = [3, 5000, 1, 4, 2, 2500]
    columns = store.columns_of({"tokens": ragged([np.zeros(length, np.int32) for length in lengths])})
    monkeypatch.setattr("lamina.data.store.PADDED", 100)
    pieces = [piece.tolist() for piece in store.alike(columns, 6)]
    assert sorted(row for piece in pieces for row in piece) == list(range(6))
    for piece in pieces:
        long = [lengths[row] for row in piece]
        assert max(long) * len(long) <= max(100, 2 * sum(long))
    assert len(pieces) == 2
    assert [piece.tolist() for piece in store.alike({"image": torch.zeros(3, 2)}, 3)] == [[0, 1, 2]]


def test_in_memory_arrays_are_gathered_as_those_of_a_store_are() -> None:
    found = store.prepare(data(), both, target, "")
    rows = torch.tensor([2, 3, 0])
    tensors = store.gathered(store.columns_of(both(np.arange(4.0))), rows)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in found.batch(rows).inputs.items())
    assert set(tensors) == {"boxes", "boxes_lengths", "double"}


def box(raws: Raws, odd: Any) -> Arrays:
    """A box for each example, but for number 200."""
    boxes = np.empty(len(raws), dtype=object)
    for place, number in enumerate(raws):
        boxes[place] = odd if number == 200 else np.zeros((int(number) % 3, 4), dtype=np.float32)
    return {"x": boxes}


@pytest.mark.parametrize(
    ("encode", "said", "where"),
    [
        (lambda raws: {"x": np.zeros((len(raws), 2 + (raws[0] >= 128)))}, r"float64 \(3,\).*is float64 \(2,\)", "row 128"),
        (lambda raws: {"x": np.zeros(len(raws), "f4" if raws[0] < 128 else "f8")}, r"float64.*is float32", "row 128"),
        (lambda raws: box(raws, np.zeros((2, 5), dtype=np.float32)), r"float32 \(5,\).*is float32 \(4,\)", "row 200"),
        (lambda raws: box(raws, np.zeros((2, 4))), r"float64 \(4,\); .*is float32 \(4,\)", "row 200"),
        (lambda raws: box(raws, np.zeros(4, dtype=np.float32)), "is float32", "row 200"),
        (lambda raws: box(raws, [1.0, 2.0]), r"a list; .*lamina\.data\.ragged", "row 200"),
        (lambda raws: {"x": np.array([[1, 2]] * len(raws), dtype=object)}, "object.*arrays of numbers", "row 0"),
        (lambda raws: {"x": np.array([["a"]] * len(raws))}, "<U1.*arrays of numbers", "row 0"),
        (lambda raws: {"x": np.zeros(1 + len(raws))}, "129 rows for 128 examples", "row 0"),
        (lambda raws: {"x": raws} | ({"y": raws} if raws[0] else {}), r"only some examples have inputs\.y", "row 128"),
        (lambda raws: {"x": box(raws, 0)["x"], "x_lengths": raws}, "is what batches call", ""),
    ],
)  # fmt: skip
def test_an_encoder_whose_arrays_do_not_fit_is_told_so(
    cache: Path, encode: store.Encode, said: str, where: str
) -> None:
    with pytest.raises(DataError, match=said) as caught:
        store.prepare(data(), encode, target, "")
    assert caught.value.where == where
    assert list(cache.iterdir()) == []


def test_targets_must_be_as_many_as_the_examples() -> None:
    with pytest.raises(DataError, match=r"targets\.value.*299 rows for 300"):
        store.prepare(data(), Encoder(), lambda answers: {"value": answers[1:]}, "")


def test_encoded_examples_do_not_pile_up_before_a_slow_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "CHUNK", 10)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    encoder, seen, write = Encoder(), [], building._Writer.append

    def slow(*given: Any) -> None:
        time.sleep(0.01)
        write(*given)
        seen.append(encoder.asked - 10 * len(seen))

    monkeypatch.setattr(building._Writer, "append", slow)
    assert len(made(encoder)) == COUNT
    assert max(seen) <= 10 * (building.AHEAD * 2 + 2)


def test_a_store_larger_than_memory_is_read_as_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = store.prepare(data(), both, target, "")
    monkeypatch.setattr(store, "_memory", lambda: 100)
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(
        store, "fetch", lambda values, begins, ends: asked.append((len(values), int((ends - begins).sum())))
    )
    found = store.prepare(data(), both, target, "")
    assert (whole.streamed, found.streamed) == (False, True)
    rows = torch.tensor([290, 5, 7])
    assert torch.equal(found.batch(rows).inputs["boxes"], whole.batch(rows).inputs["boxes"])
    assert asked == [(len(found.inputs["boxes"].values), 9), (299, 3), (299, 3)]  # type: ignore[union-attr]


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
