"""What is written in C++ is compiled once on a machine; where it cannot be, training does without and a wish is refused."""

import os
import stat
from pathlib import Path

import pytest
import torch
from torch import nn

from lamina import native
from lamina.data.cache import clear
from lamina.errors import OptionError
from lamina.execution import Execution


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and nothing compiled in this process."""
    monkeypatch.setenv("LAMINA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(native, "winograd", native.cache(native.winograd.__wrapped__))


@pytest.fixture
def no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)


def fake(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler that does what a script says."""
    file = folder / "fake-c++"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(file))


@pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler is here")
def test_it_is_compiled_once_and_kept_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert native.compiles()
    kept = list((tmp_path / "cache/native").iterdir())
    assert [file.suffix for file in kept] == [".so"]
    monkeypatch.setattr(native, "_compile", lambda *_: pytest.fail("compiled again"))
    native.winograd.cache_clear()
    assert native.compiles()
    clear()
    assert not list((tmp_path / "cache/native").iterdir())


@pytest.mark.skipif(native.compiler() is None, reason="no C++ compiler is here")
def test_a_compiler_without_threads_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = native.compiler()
    fake(tmp_path, f'case "$*" in *-fopenmp*) echo "unknown option" >&2; exit 1;; esac; exec {real} "$@"', monkeypatch)
    assert native.compiles()


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
        ("echo fake; case $1 in --version) exit 0;; esac; echo 'no space left' >&2; exit 1", "no space left"),
        (
            "echo fake; case $1 in --version) exit 0;; esac; for last; do :; done; echo nonsense > $last",
            "file too short",
        ),
        ("exit 1", "returned non-zero exit status 1"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="the compiler is a shell script")
def test_a_compiler_that_fails_is_no_compiler(
    script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, script, monkeypatch)
    assert not native.compiles()
    with pytest.raises(OptionError, match=said):
        native.winograd()
    assert not list((tmp_path / "cache").rglob("*.*"))  # nothing half-made stays
