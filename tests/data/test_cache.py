"""The cache: what is there is listed, what is too much goes, what is in use stays."""

import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lamina.data import cache, store
from lamina.data.data import Data
from lamina.data.remembered import recall, remember
from lamina.errors import OptionError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAMINA_CACHE", str(tmp_path / "not" / "yet"))
    return tmp_path / "not" / "yet"


def make(name: str, age: float = 0.0, encode: store.Encode = lambda raws: {"x": np.asarray(raws)}) -> store.Store:
    numbers = np.arange(50.0)
    parts = np.full(50, "train")
    data = Data(numbers, numbers, np.array([name] * 50, dtype=object), parts, numbers.astype(np.uint64))
    made = store.prepare(data, encode, lambda answers: {"y": answers}, name, name=name, task="test")
    for entry in cache.entries():
        if entry.data == name and age:
            for file in entry.folder.iterdir():
                os.utime(file, (time.time() - age,) * 2)
    return made


def names() -> list[str]:
    return [entry.data for entry in cache.entries()]


def test_stores_are_listed_the_latest_first() -> None:
    assert cache.entries() == []
    make("old", 100)
    held = make("new")
    first, second = cache.entries()
    assert (first.data, first.task, first.examples, first.open) == ("new", "test", 50, True)
    assert first.bytes > held.bytes == 800
    assert (second.data, second.open) == ("old", False)
    assert second.in_words() | {"size": ""} == {
        "data": "old", "task": "test", "examples": "50", "size": "", "last used": "1 min 40 s ago", "in use": "no"
    }  # fmt: skip
    assert second.to_json()["used"].endswith("+00:00")


def test_a_place_that_is_empty_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    usual = tmp_path / "usual"
    monkeypatch.setattr(cache, "user_cache_path", lambda name: usual)
    monkeypatch.setenv("LAMINA_CACHE", "")
    assert cache.cache_folder() == usual


def test_clearing_removes_what_was_found_out_and_nothing_else(folder: Path) -> None:
    for kind in (*cache.FOUND_OUT, "readers"):
        remember(kind, "key", {"a": 1})
        (folder / kind / "own.txt").touch()
    cache.clear()
    assert [recall(kind, "key") for kind in cache.FOUND_OUT] == [None] * len(cache.FOUND_OUT)
    assert recall("readers", "key") == {"a": 1}, "who has read a test part cannot be found out again"
    assert len(list(folder.glob("*/own.txt"))) == len(cache.FOUND_OUT) + 1


def test_clearing_spares_what_is_in_use() -> None:
    held = make("held", 100)
    make("free")
    remember("facts", "key", {"a": 1})
    gc.collect()
    assert [entry.data for entry in cache.clear()] == ["free"]
    assert names() == ["held"]
    assert recall("facts", "key") is None
    del held
    gc.collect()
    cache.clear()
    assert names() == []


def test_building_one_too_many_removes_the_one_used_longest_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        make(str(number), 100 - number)
    size = cache.entries()[0].bytes
    monkeypatch.setenv("LAMINA_CACHE_LIMIT", str(3 * size + 10))
    make("0")  # is used again, and so no longer the oldest
    make("new")
    assert set(names()) == {"new", "0", "3"}


def test_a_process_that_is_killed_lets_go(folder: Path) -> None:
    make("store")
    (entry,) = cache.entries()
    program = f"import sys, time; sys.path.insert(0, {str(Path(cache.__file__).parents[2])!r})\n"
    program += "from lamina.data.cache import Hold; from pathlib import Path\n"
    program += f"hold = Hold(Path({str(entry.folder)!r})); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert not cache.remove(entry.folder)
        assert cache.entries()[0].open
        other.kill()
    assert cache.remove(entry.folder)
    assert names() == []


def test_a_build_that_is_killed_leaves_nothing_that_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = f"""
import sys, time
sys.path[:0] = [{str(Path(cache.__file__).parents[2])!r}, {str(Path(__file__).parent)!r}]
import test_cache
from lamina.data import building
def encode(raws):
    if raws[0] >= 40:
        print("building", flush=True)
        time.sleep(60)
    return {{"x": raws}}
building.CHUNK = 10
test_cache.make("killed", encode=encode)
"""
    monkeypatch.setattr(cache, "ABANDONED", -1.0)
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "building\n"
        cache.sweep()
        assert [left.suffix for left in cache.stores().iterdir()] == [".partial"], "it is still at work"
        other.kill()
    assert cache.entries() == []
    assert cache.clear() == []
    assert list(cache.stores().iterdir()) == []


def test_stores_of_an_earlier_version_are_listed_and_removed() -> None:
    old = cache.stores() / "old"
    old.mkdir(parents=True)
    (old / "store.json").write_text('{"format": 1, "failures": []}')
    for _ in range(2):
        (entry,) = cache.entries()
        assert (entry.data, entry.examples, entry.open) == ("", 0, False)
    assert cache.clear() == [entry]
    assert names() == []


def test_without_locks_stores_are_used_and_never_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(cache.fcntl, "flock", unsupported)
    make("store")
    make("store")
    assert cache.clear() == []
    assert names() == ["store"]


def test_a_wrong_limit_is_said_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMINA_CACHE_LIMIT", "-1GB")
    with pytest.raises(OptionError, match="LAMINA_CACHE_LIMIT"):
        make("store")
    assert names() == []


@pytest.mark.parametrize(
    ("said", "meant"), [("500", 500), ("1.5 kB", 1500), ("20GB", 20 * 10**9), ("2GiB", 2 * 2**30), ("7b", 7)]
)
def test_the_limit_is_read(monkeypatch: pytest.MonkeyPatch, said: str, meant: int) -> None:
    assert 0 < cache.limit() <= cache.MOST
    monkeypatch.setenv("LAMINA_CACHE_LIMIT", said)
    assert cache.limit() == meant


def test_a_limit_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMINA_CACHE_LIMIT", "much")
    with pytest.raises(OptionError, match="500MB or 20GB"):
        cache.limit()
