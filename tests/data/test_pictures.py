"""Pictures: what is to be answered is taken in order, in all forms that training takes."""

from pathlib import Path

import numpy as np
import pytest

from annotated import picture
from lamina.data.data import Source
from lamina.data.images import image_arrays
from lamina.data.pictures import decoded, gather, recognised
from lamina.errors import DataError

COLOURS = np.random.default_rng(0).integers(0, 256, (5, 12, 9, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "given",
    [
        COLOURS,
        COLOURS / np.float32(255),
        COLOURS.astype(float),
        COLOURS.astype(np.uint16) * 257,
        COLOURS.astype(np.int64),
        COLOURS.transpose(0, 3, 1, 2),
        COLOURS[..., 0],
        COLOURS[..., :1],
        COLOURS > 100,
    ],
)
def test_arrays_are_answered_as_they_are_trained(given: np.ndarray) -> None:
    known = image_arrays(Source((given, list("ababa")))).raws
    raws, where = gather([given])
    assert where.tolist() == [f"image {index}" for index in range(5)]
    assert np.array_equal(decoded(raws, 8, 3)["image"], decoded(known, 8, 3)["image"])


def test_inputs_are_answered_in_order_and_none_is_dropped(tmp_path: Path) -> None:
    file = str(picture(tmp_path / "a.png"))
    raws, where = gather([file, COLOURS[:2], COLOURS[0, :5, :, :1], tmp_path, COLOURS[1, ..., 0]])
    assert where.tolist() == [file, "image 0", "image 1", "image 2", file, "image 3"]
    assert [np.shape(raw) for raw in raws] == [(), (12, 9, 3), (12, 9, 3), (5, 9, 1), (), (12, 9)]
    assert len(decoded(raws, 8, 1)["image"]) == 6


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.zeros((2, 5, 12, 9)), r"the shape is \(2, 5, 12, 9\)"),
        (COLOURS * -1.0, "pixels reach from -255"),
        (COLOURS[0] * np.nan, "NaN"),
        (np.zeros(5), r"shape \(1, 5\)|shape \(5,\)"),
        (np.array(["a.png"]), "type <U5"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(given: np.ndarray, says: str) -> None:
    with pytest.raises(DataError, match=says):
        gather([given])


def test_pairs_are_recognised_as_lists_too() -> None:
    for pair in ((COLOURS, list("ababa")), [COLOURS, np.arange(5)]):
        assert recognised(Source(pair)) == "the array of shape (5, 12, 9, 3) holds pixels"
    assert recognised(Source([[1, 2], [3]])) is None
    assert recognised(Source([[[1, 2], [3]], [0]])) is None
