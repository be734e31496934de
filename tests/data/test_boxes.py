"""Boxes: each kind of defect is found, named with its place, and handled."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from annotated import picture
from lamina.data.boxes import Annotated, Box, Found, assemble, glance, part_called, text_of
from lamina.data.data import Data
from lamina.data.split import complete
from lamina.errors import DataError
from lamina.findings import Finding


def data_of(root: Path, *images: Annotated) -> tuple[Data, dict[str, Finding]]:
    """What becomes of annotations, and the findings by kind."""
    data = assemble(Found(list(images), ("A format.",)), root)
    return data, {finding.kind: finding for finding in data.findings}


def one(root: Path, *boxes: Box, relative: bool = False, size: tuple[int, int] | None = None) -> Annotated:
    """An image of 40 x 30 pixels with these boxes."""
    file = picture(root / "a.png")
    return Annotated(str(file), "", [(box, f"a.txt:{n}") for n, box in enumerate(boxes, 1)], size, relative)


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        (Box("cat", 5, 5, 5, 9), "box.degenerate"),
        (Box("cat", 9, 5, 5, 9), "box.degenerate"),
        (Box("cat", 5, 5, float("nan"), 9), "box.degenerate"),
        (Box("cat", 5, 5, float("inf"), 9), "box.degenerate"),
        (Box("cat", 41, 5, 50, 9), "box.outside"),
        (Box("cat", 5, -9, 9, -1), "box.outside"),
        (Box("cat", 1, 2, 30, 20), "box.duplicate"),
    ],
)
def test_a_box_that_cannot_be_learned_from_is_left_out_and_named(tmp_path: Path, box: Box, kind: str) -> None:
    good = Box("cat", 1, 2, 30, 20)
    data, findings = data_of(tmp_path, one(tmp_path, good, box))
    assert data.answers[0] == (good,)
    assert set(findings) == {kind}
    assert findings[kind].count == 1
    assert findings[kind].where[0].startswith("a.txt:2: cat (")


def test_a_box_that_leaves_its_image_is_cut(tmp_path: Path) -> None:
    data, findings = data_of(tmp_path, one(tmp_path, Box("cat", -8, 3, 20, 36), Box("dog", -1, 0, 9, 31)))
    assert data.answers[0] == (Box("cat", 0, 3, 20, 30), Box("dog", 0, 0, 9, 30))
    assert findings["box.clipped"].count == 1  # the other one leaves it by rounding only
    assert findings["box.clipped"].severity == "note"


def test_shares_become_pixels(tmp_path: Path) -> None:
    data, findings = data_of(tmp_path, one(tmp_path, Box("cat", 0.25, 0.5, 0.5, 1.0), relative=True))
    assert data.answers[0] == (Box("cat", 10, 15, 20, 30),)
    assert not findings


def test_images_without_boxes_are_kept_as_background(tmp_path: Path) -> None:
    background = Annotated(str(picture(tmp_path / "b.png")), "")
    data, findings = data_of(tmp_path, one(tmp_path, Box("cat", 1, 2, 3, 4)), background)
    assert data.answers[1] == ()
    assert findings["box.none"].where == ("b.png",)


def test_images_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    gone = Annotated(str(tmp_path / "gone.png"), "", [(Box("cat", 1, 2, 3, 4), "gone.txt:1")])
    data, findings = data_of(tmp_path, one(tmp_path, Box("cat", 1, 2, 3, 4)), gone)
    assert len(data) == 1
    assert findings["file.missing"].where == ("gone.png",)
    with pytest.raises(DataError, match="none of the images"):
        data_of(tmp_path, gone)


def test_another_size_than_was_annotated_is_told(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "turned.jpg", exif=exif)  # 30 x 40 as it is shown
    turned = Annotated(str(tmp_path / "turned.jpg"), "", [(Box("cat", 1, 2, 9, 9), "t:1")], (40, 30))
    _, findings = data_of(tmp_path, turned, one(tmp_path, Box("cat", 1, 2, 9, 9), size=(80, 60)))
    first, second = findings["box.size"].where
    assert "turned.jpg: 40 x 30 is said, it has 30 x 40 (turned by its EXIF orientation)" in first
    assert "a.png: 80 x 60 is said, it has 40 x 30" in second


def test_an_image_that_cannot_be_read_stays_until_it_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    bad = Annotated(str(tmp_path / "bad.png"), "", [(Box("cat", 1, 2, 9, 9), "b:1")], (40, 30))
    data, _ = data_of(tmp_path, bad, one(tmp_path, Box("cat", 1, 2, 9, 9)))
    assert len(data) == 2


def test_a_class_that_is_never_trained_is_refused(tmp_path: Path) -> None:
    train = Annotated(str(picture(tmp_path / "a.png")), "train", [(Box("cat", 1, 2, 3, 4), "a:1")])
    test = Annotated(str(picture(tmp_path / "b.png")), "test", [(Box("bird", 1, 2, 3, 4), "b:1")])
    with pytest.raises(DataError, match='test part has a class "bird"'):
        data_of(tmp_path, train, test)


@pytest.mark.parametrize("part", ["valid", "test"])
@pytest.mark.parametrize("boxes", [[], [(Box("cat", 1, 2, 3, 4, ignored=True), "b:1")]])
def test_a_part_that_shows_nothing_is_refused(tmp_path: Path, part: str, boxes: list[tuple[Box, str]]) -> None:
    train = Annotated(str(picture(tmp_path / "a.png")), "train", [(Box("cat", 1, 2, 3, 4), "a:1")])
    bare = Annotated(str(picture(tmp_path / "b.png")), part, boxes)
    with pytest.raises(DataError, match=f"the {part} part of 1 images has no box that counts.*take that part away"):
        data_of(tmp_path, train, bare)


def test_the_split_balances_the_rarest_class_of_an_image(tmp_path: Path) -> None:
    cats = [Annotated(str(picture(tmp_path / f"{n}.png")), "", [(Box("cat", 1, 2, 9, 9), "")]) for n in range(3)]
    cats[1].boxes.append((Box("dog", 1, 2, 3, 4), ""))
    cats[2].boxes.clear()
    cats[1].boxes += [
        (Box("dog", 1, 2, 4, side), "") for side in (5, 6)
    ]  # on fewer images, although there are more of them
    data, _ = data_of(tmp_path, *cats)
    assert data.balanced is not None
    assert data.balanced.tolist() == ["cat", "dog", ""]
    assert not data.classified


def test_at_most_twenty_places_are_named_and_all_are_counted(tmp_path: Path) -> None:
    flat = [Box("cat", at, 5, at, 9) for at in range(1, 31)]
    _, findings = data_of(tmp_path, one(tmp_path, Box("cat", 1, 2, 3, 4), *flat))
    assert (findings["box.degenerate"].count, len(findings["box.degenerate"].where)) == (30, 20)


def test_boxes_of_an_image_of_unknown_size_are_not_cut(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    box = Box("cat", 10, 20, 400, 600)
    data, findings = data_of(tmp_path, Annotated(str(tmp_path / "bad.png"), "", [(box, "b:1")]))
    assert data.answers[0] == (box,)
    assert not findings


def test_a_test_part_alone_can_be_evaluated_but_not_trained(tmp_path: Path) -> None:
    shown = [(part, kind) for part in ("test", "valid") for kind in ("cat", "bird")]
    images = [
        Annotated(str(picture(tmp_path / f"{part}{kind}.png")), part, [(Box(kind, 1, 2, 3, 4), "b:1")])
        for part, kind in shown
    ]
    data, _ = data_of(tmp_path, *images)
    assert data.part.tolist() == [part for part, _ in shown]
    with pytest.raises(DataError, match="a test part, but none for training"):
        complete(data, 0)


def test_where_no_box_is_left_it_says_why(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no box is left.*no area.*a\.txt:1"):
        data_of(tmp_path, one(tmp_path, Box("cat", 5, 5, 5, 5)))


@pytest.mark.parametrize(
    ("name", "part"),
    [("instances_train2017", "train"), ("VAL", "valid"), ("my-test.coco", "test"), ("contest", ""), ("all", "")],
)
def test_names_say_parts(name: str, part: str) -> None:
    assert part_called(name) == part


def test_a_glance_goes_in_once_and_not_for_ever(tmp_path: Path) -> None:
    for name in ("1.png", ".hidden/2.png", "a/3.png", "a/b/c/4.png", "a/b/c/d/5.png"):
        picture(tmp_path / name)
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert [file.name for file in glance(tmp_path)] == ["1.png", "3.png", "4.png"]


def test_text_that_is_no_utf_8_is_named_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\n")
    assert text_of(tmp_path / "a.txt") == "one\n"
    (tmp_path / "b.txt").write_bytes(b"one\ntw\xf6\n")
    with pytest.raises(DataError, match=r"b\.txt:2: it is no UTF-8"):
        text_of(tmp_path / "b.txt")


def test_of_many_images_a_glance_tells_the_first_and_all_that_is_beside_them(tmp_path: Path) -> None:
    for number in range(1100):
        (tmp_path / f"{number:04}.png").touch()
    (tmp_path / "z.json").touch()
    assert [file.name for file in glance(tmp_path)] == [*(f"{number:04}.png" for number in range(1000)), "z.json"]
