"""Image files: names lead to the nearest image, and an image belongs to the nearest of those that mean it."""

from pathlib import Path

import pytest

from annotated import picture
from lamina.data.boxes import Annotated
from lamina.data.image_files import SURE, Claim, ImageFiles, Nearness, settle
from lamina.errors import DataError


def test_an_image_is_the_one_nearest_to_its_annotation(tmp_path: Path) -> None:
    for name in ("train/1.png", "val/1.png", "deep/val/2.png", "Ü b.PNG"):
        picture(tmp_path / name)
    files = ImageFiles(tmp_path)
    beside = tmp_path / "a.json"
    assert files.named("1.png", beside, "valid") == str(tmp_path / "val/1.png")
    assert files.named("val/1.png", beside, "train") == str(tmp_path / "val/1.png")  # the name says more
    assert files.named("1.png", tmp_path / "train" / "1.xml") == str(tmp_path / "train/1.png")
    assert files.named("ü B.png", beside) == str(tmp_path / "Ü b.PNG")
    assert files.with_stem("2", beside) == str(tmp_path / "deep/val/2.png")
    assert files.named("3.png", beside) is None
    with pytest.raises(DataError, match=r"train/1\.png"):
        files.named("1.png", beside)


@pytest.mark.parametrize(
    ("claims", "kept"),
    [
        ([(SURE, "a/1.png"), ((1, 0), "b/1.png")], [True, False]),
        ([((0, 3), "x/1.png"), ((0, 4), "y/1.png")], [False, True]),
        ([((0, 3), "x/1.png"), ((0, 3), "y/1.png")], [False, False]),
        ([((0, 3), "x/1.png"), ((0, 3), "x/1.png")], [True, True]),
        ([(SURE, "a/1.png"), (SURE, "1.png")], [True, True]),
        ([((0, 0), "x/1.png")], [True]),
    ],
)
def test_an_image_is_of_the_annotation_that_means_it(claims: list[tuple[Nearness, str]], kept: list[bool]) -> None:
    made = [Claim(Annotated("a/1.png", ""), nearness, meant, "missed") for nearness, meant in claims]
    settle(made)
    assert [claim.one.image == "a/1.png" for claim in made] == kept
