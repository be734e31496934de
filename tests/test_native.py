"""What is written in C++ is compiled once on a machine; where it cannot be, training does without and a wish is refused."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from lamina import measuring, native
from lamina.batch import Batch, Loss
from lamina.data.cache import clear
from lamina.errors import OptionError
from lamina.execution import Execution
from lamina.measuring import choose

needs_a_compiler = pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler is here")


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and nothing compiled in this process."""
    monkeypatch.setenv("LAMINA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(native, "winograd", native.cache(native.winograd.__wrapped__))


@pytest.fixture
def no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)


def losses(network: nn.Module, batch: Batch) -> Iterator[Loss]:
    yield Loss("network", network(**batch.inputs).square().sum(), len(batch))


def fake(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that does what a script says."""
    file = folder / "fake-c++"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(file))


@needs_a_compiler
def test_it_is_compiled_once_and_kept_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert native.compiles()
    kept = list((tmp_path / "cache/native").iterdir())
    assert [file.suffix for file in kept] == [".so", ".so"]
    monkeypatch.setattr(native, "_compile", lambda *_: pytest.fail("compiled again"))
    native.winograd.cache_clear()
    assert native.compiles()
    clear()
    assert not list((tmp_path / "cache/native").iterdir())


@needs_a_compiler
def test_a_compiler_without_threads_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = native.compiler()
    fake(tmp_path, f'case "$*" in *-fopenmp*) echo "unknown option" >&2; exit 1;; esac; exec {real} "$@"', monkeypatch)
    assert native.compiles()


@pytest.mark.skipif(os.name == "nt", reason="the compiler is a shell script")
def test_a_compiler_that_is_stopped_leaves_nothing_without_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(
        tmp_path,
        'case "$*" in *-fopenmp*) kill -INT $$;; esac; for last; do :; done; echo library > $last',
        monkeypatch,
    )
    with pytest.raises(OptionError, match="SIGINT"):
        native.winograd()
    assert not list((tmp_path / "cache/native").iterdir())


def test_without_a_compiler_a_wish_is_refused_and_a_run_goes_on_without(no_compiler: None) -> None:
    assert native.compiler() is None
    assert not native.compiles()
    with pytest.raises(
        OptionError, match=r"no C\+\+ compiler was found.*Install a C\+\+ compiler, or ask for winograd"
    ):
        native.winograd()
    assert Execution(convolutions="winograd-compiled", threads=2).here() == Execution(
        convolutions="winograd", threads=2
    )
    network = Execution(convolutions="winograd-compiled").prepare(nn.Sequential(nn.Conv2d(64, 64, 3, padding=1)))
    with torch.inference_mode():
        network(torch.ones(2, 64, 8, 8))  # to predict, it needs none


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'winograd.cpp:1: what is this?' >&2; exit 1", r"\(winograd.cpp:1: what is this\?\)"),
        ("for last; do :; done; echo nonsense > $last", "file too short"),
        ("exit 1", "returned non-zero exit status 1"),
        ("exit 0", "No such file"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="the compiler is a shell script")
def test_a_compiler_that_fails_is_no_compiler(
    script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, script, monkeypatch)
    assert not native.compiles()
    with pytest.raises(OptionError, match=f"compiling Winograd's convolutions fails here.*{said}"):
        native.winograd()
    assert not list((tmp_path / "cache/native").iterdir())  # nothing half-made stays


@needs_a_compiler
def test_a_damaged_library_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert native.compiles()
    damaged = [tmp_path / "other/native" / file.name for file in (tmp_path / "cache/native").iterdir()]
    damaged[0].parent.mkdir(parents=True, mode=0o700)
    for file in damaged:
        file.write_bytes(b"nonsense")
    monkeypatch.setenv("LAMINA_CACHE", str(tmp_path / "other"))
    native.winograd.cache_clear()
    assert native.compiles()
    assert [file.stat().st_size > 1000 for file in damaged] == [True, True]


@needs_a_compiler
def test_what_others_may_have_put_there_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "user_cache_path", lambda _: tmp_path / "own")
    (tmp_path / "cache/native").mkdir(parents=True)
    (tmp_path / "cache/native").chmod(0o777)
    assert native.compiles()
    assert not list((tmp_path / "cache/native").iterdir())
    file, _ = (tmp_path / "own/native").iterdir()
    file.chmod(0o666)
    native.winograd.cache_clear()
    assert native.compiles()
    assert file.stat().st_mode & 0o777 != 0o666  # made anew
    (tmp_path / "own/native").chmod(0o777)
    native.winograd.cache_clear()
    with pytest.raises(OptionError, match="Let LAMINA_CACHE name a folder of your own"):
        native.winograd()


def test_a_wish_that_cannot_be_compiled_is_refused_before_measuring(no_compiler: None) -> None:
    wish = {"convolutions": "winograd-compiled"}
    with pytest.raises(OptionError, match=r"no C\+\+ compiler was found"):
        choose(nn.Linear(1, 1), lambda *_: iter(()), Batch({}, {}), Execution(), wish)


def test_what_is_chosen_while_a_compiler_fails_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, "exit 1", monkeypatch)
    network = nn.Conv2d(64, 64, 3, padding=1)
    batch = Batch({"input": torch.ones(8, 64, 8, 8)}, {"y": torch.zeros(8)})
    wishes = {"threads": 1, "precision": "float32", "layout": "channels-last", "micro_batches": 1}
    ways = [
        choose(network, losses, batch, Execution(), wishes, 1000.0).candidates[-1].execution.convolutions
        for _ in range(2)
    ]
    assert ways == ["winograd", "winograd"]
    assert not list((tmp_path / "cache").rglob("*.json"))


@needs_a_compiler
def test_a_recalled_choice_that_does_not_compile_any_more_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring._Contest, "steady", lambda _: True)
    monkeypatch.setattr(measuring, "_worth_a_look", lambda *_: False)
    batch = Batch({"input": torch.ones(8, 64, 8, 8)}, {"y": torch.zeros(8)})
    wishes = {"threads": 1, "precision": "float32", "layout": "channels-last", "micro_batches": 1}
    wishes |= {"convolutions": "winograd-compiled"}
    recalled = []
    for works in (True, True, False):
        monkeypatch.setattr(native, "compiles", lambda works=works: works)
        recalled.append(choose(nn.Conv2d(64, 64, 3, padding=1), losses, batch, Execution(), wishes, 1000.0).remembered)
    assert recalled == [False, True, False]
