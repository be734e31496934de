"""COCO: categories have any ids, crowds are ignored, and every broken entry is named."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lamina.data import coco
from lamina.data.boxes import Box
from lamina.errors import DataError


def write(file: Path, images: list[Any], annotations: list[Any], categories: list[Any] | None = None) -> Path:
    """A COCO file, and the images that it names, beside it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    categories = [{"id": 7, "name": "cat"}, {"id": 90, "name": "dog"}] if categories is None else categories
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return file


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (100, 80)).save(path)


def image(number: Any, name: str, **more: Any) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": 100, "height": 80} | more


def box(number: int, shows: Any = 1, kind: Any = 7, bounds: Any = (10, 20, 30, 40), **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": shows, "category_id": kind, "bbox": bounds} | more


def test_boxes_with_any_ids(tmp_path: Path) -> None:
    picture(tmp_path / "b c.png")
    crowd = box(3, kind=90, iscrowd=1)
    outlined = box(4, bounds=None, segmentation=[[5, 6, 15, 6, 15, 36], [2, 9, 3, 9, 3, 12]])
    file = write(tmp_path / "a.json", [image(1, "b c.png")], [box(1), crowd, outlined])
    (one,) = coco.read(file).images
    assert [found for found, _ in one.boxes] == [
        Box("cat", 10, 20, 40, 60),
        Box("dog", 10, 20, 40, 60, ignored=True),
        Box("cat", 2, 6, 15, 36),
    ]
    assert [where for _, where in one.boxes] == [f"a.json, annotation {number}" for number in (1, 3, 4)]
    assert (one.image, one.size, one.part) == (str(tmp_path / "b c.png"), (100, 80), "")


@pytest.mark.parametrize(
    ("files", "images"),
    [
        (("annotations/instances_train2017.json", "annotations/instances_val2017.json"), ("train2017", "val2017")),
        (("train/_annotations.coco.json", "valid/_annotations.coco.json"), ("train", "valid")),
        (("train.json", "val.json"), ("images/train", "images/val")),
        (("coco/train.json", "coco/val.json"), ("data/train", "data/val")),
    ],
)
def test_files_of_parts_find_their_own_images(tmp_path: Path, files: tuple[str, ...], images: tuple[str, ...]) -> None:
    for file, folder in zip(files, images, strict=True):
        write(tmp_path / file, [image(1, "1.png")], [box(1)])
        picture(tmp_path / folder / "1.png")  # the same name in both
    found = coco.read(tmp_path).images
    assert {one.part: one.image for one in found} == {
        part: str(tmp_path / folder / "1.png") for part, folder in zip(("train", "valid"), images, strict=True)
    }
    assert files[0] in found[0].boxes[0][1]


def test_images_may_lie_beside_the_folder_that_was_named(tmp_path: Path) -> None:
    picture(tmp_path / "JPEGImages" / "1.png")
    write(tmp_path / "coco" / "a.json", [image(1, "C:\\data\\1.png")], [box(1)])
    (one,) = coco.read(tmp_path / "coco").images
    assert one.image == str(tmp_path / "JPEGImages" / "1.png")


def test_a_missing_image_does_not_take_another_of_its_name(tmp_path: Path) -> None:
    picture(tmp_path / "cam1" / "1.png")
    picture(tmp_path / "train" / "2.png")
    write(tmp_path / "a.json", [image(1, "cam2/1.png"), image(2, "cam1/1.png")], [box(1), box(2, shows=2)])
    found = coco.read(tmp_path / "a.json").images
    assert [one.image for one in found] == [str(tmp_path / folder / "1.png") for folder in ("cam2", "cam1")]
    for part in ("train", "val"):
        write(tmp_path / f"{part}.json", [image(1, "2.png")], [box(1)])
    found = coco.read(tmp_path).images
    assert {one.part: Path(one.image).is_file() for one in found} == {"train": True, "valid": False}


def test_what_lies_above_is_not_taken(tmp_path: Path) -> None:
    picture(tmp_path / "others" / "1.png")
    file = write(tmp_path / "mine" / "a.json", [image(1, "1.png")], [box(1)])
    assert coco.read(file).images[0].image == str(tmp_path / "mine" / "1.png")


def test_a_file_of_no_part_is_left_out_beside_those_of_parts(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    for name in ("all", "train", "test"):
        write(tmp_path / f"{name}.json", [image(1, "1.png")], [box(1)])
    found = coco.read(tmp_path)
    assert [one.part for one in found.images] == ["test", "train"]
    assert "all.json" in found.notes[1]


@pytest.mark.parametrize(
    ("images", "annotations", "categories", "says"),
    [
        ([image(1, "1.png")], [box(1, shows=2)], None, "annotation 1: it is of an image 2 that is not listed"),
        ([image(1, "1.png")], [box(1, shows=[1])], None, r"annotation 1: it is of an image \[1\]"),
        ([image(1, "1.png")], [box(5, kind=1)], None, "annotation 5: its category 1 is not listed"),
        ([image(1, "1.png")], [box(1, bounds=[1, 2, 3])], None, r"annotation 1: its bbox is \[1, 2, 3\]"),
        ([image(1, "1.png")], [box(1, bounds="wide")], None, "annotation 1: its bbox is 'wide'"),
        ([image(1, "1.png")], [box(1, bounds=None)], None, "annotation 1: its bbox is None"),
        ([image(1, "1.png")], [box(1, bounds=[], segmentation=[1, 2])], None, "annotation 1: it has no bbox"),
        ([image(1, "1.png")], [box(1, bounds=[], segmentation=[[]])], None, "annotation 1: it has no bbox"),
        ([image(1, "1.png"), image(1, "2.png")], [], None, "image number 2: its id 1 is that of another"),
        ([image(None, "1.png")], [], None, "image number 1: its id is None"),
        ([{"id": 1}], [], None, "image number 1: it has no file_name"),
        ([image(1, "1.png", width="wide")], [], None, "image number 1: its size is 'wide' x 80"),
        ([image(1, "1.png")], [], [{"id": 1}], "category 1: it has no name"),
        ([image(1, "1.png")], [], [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "category number 2: its id 1"),
        ([3], [], None, 'no list "images"'),
    ],
)
def test_broken_entries_are_named(
    tmp_path: Path, images: list[Any], annotations: list[Any], categories: list[Any] | None, says: str
) -> None:
    file = write(tmp_path / "a.json", images, annotations, categories)
    with pytest.raises(DataError, match=says):
        coco.read(file)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"images": [],\n "annotations": [,', r"a\.json:2: it is no JSON"),
        (b"[1]", "it is a list"),
        (b'{"images": [], "x": ' + b"[" * 100_000, "too deeply"),
        (b'{"images": "\xff"}', "cannot be read"),
        (b'\xef\xbb\xbf{"images": [], "annotations": []}', 'no list "categories"'),
    ],
)
def test_broken_files_are_named(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=says):
        coco.read(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("content", "is_one"),
    [
        ('{"images": [], "annotations": [], "categories": []}', True),
        ('{"images": [{"file_name": "a"}], ' + " " * 9000 + '"annotations": [{"bbox": [1,2,3,4]}]}', True),
        ('{"products": [{"categories": ["a"], "images": ["b"]}]}', False),
        ('{"images": [{"file_name": "a"}], "annotations": [{"image_id": 1, "caption": "a"}]}', False),
        ('[{"bbox": [1, 2, 3, 4], "image_id": 1}]', False),
        ("", False),
    ],
)
def test_what_looks_like_coco(tmp_path: Path, content: str, is_one: bool) -> None:
    (tmp_path / "A.JSON").write_text(content)
    assert coco.is_coco(tmp_path / "A.JSON") == is_one
