"""Preparation: which task takes a source, and what is said where none does."""

import pytest

from lamina import find
from lamina.data.data import Source
from lamina.errors import DataError
from lamina.prepare import recognise
from lamina.watch import Quiet


def test_a_text_in_place_of_a_path_is_no_file() -> None:
    with pytest.raises(DataError, match="no such file"):
        recognise(Source("Once upon a time. " * 1000), None, {}, Quiet())


def test_what_each_task_found_wrong_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source(["Once", "upon"])
    said = {"image_classification": "the picture is torn.", "language_modelling": "the text is torn."}

    def claim_of(name: str) -> object:
        def claim(given: Source) -> None:
            if name in said:
                raise DataError(said[name], f"{name}.file")

        return type(name, (), {"claim": staticmethod(claim)})

    monkeypatch.setattr(find, "task", claim_of)
    with pytest.raises(DataError, match=r"Image classification: .*picture is torn.*Language modelling: .*text is torn"):
        recognise(source, None, {}, Quiet())
    del said["language_modelling"]
    with pytest.raises(DataError, match=r"^image_classification.file: the picture is torn.$"):
        recognise(source, None, {}, Quiet())
    said.clear()
    with pytest.raises(DataError, match="no task fits"):
        recognise(source, None, {}, Quiet())
