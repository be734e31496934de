"""Formats of boxes: each gives the same data; each defect is an error that names file and line."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from annotated import picture
from lamina.data import detections
from lamina.data.boxes import Box
from lamina.data.data import Data, Source
from lamina.errors import DataError, OptionError
from lamina.tasks.image_classification import ImageClassification
from lamina.tasks.object_detection import ObjectDetection

BOXES: dict[str, list[Box]] = {  # by image, of 40 x 30 pixels
    "train/a": [Box("cat", 4, 3, 20, 15), Box("dog", 10, 6, 40, 30)],
    "train/b": [Box("dog", 0, 0, 12, 9)],
    "train/c": [],
    "test/d": [Box("cat", 8, 6, 16, 24)],
}
CLASSES = ["cat", "dog"]


def coco(root: Path, *parts: str) -> Path:
    """The boxes as COCO files, one per part, with category ids that do not count from 1."""
    for part in parts or ("train", "test"):
        names = [name for name in BOXES if name.startswith(part)]
        boxes = [(index, box) for index, name in enumerate(names) for box in BOXES[name]]
        content: dict[str, Any] = {
            "images": [
                {"id": index, "file_name": f"{name[-1]}.png", "width": 40, "height": 30} for index, name in enumerate(names)
            ],
            "categories": [{"id": 17, "name": "cat"}, {"id": 90, "name": "dog"}],
            "annotations": [
                {"id": number, "image_id": index, "category_id": 17 if box.label == "cat" else 90, "iscrowd": 0,
                 "bbox": [box.left, box.top, box.right - box.left, box.bottom - box.top]}
                for number, (index, box) in enumerate(boxes)
            ],
        }  # fmt: skip
        file = root / "annotations" / f"instances_{part}2017.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
        for name in names:
            picture(root / f"{part}2017" / f"{name[-1]}.png")
    return root


def voc(root: Path) -> Path:
    """The boxes as Pascal VOC."""
    (root / "Annotations").mkdir(parents=True)
    (root / "ImageSets/Main").mkdir(parents=True)
    for name, boxes in BOXES.items():
        part, stem = name.split("/")
        picture(root / "JPEGImages" / f"{stem}.png")
        objects = "".join(
            f"<object><name>{box.label}</name><difficult>0</difficult><bndbox><xmin>{box.left + 1}</xmin>"
            f"<ymin>{box.top + 1}</ymin><xmax>{box.right}</xmax><ymax>{box.bottom}</ymax></bndbox></object>"
            for box in boxes
        )
        size = "<size><width>40</width><height>30</height><depth>3</depth></size>"
        file = root / "Annotations" / f"{stem}.xml"
        file.write_text(f"<annotation><filename>{stem}.png</filename>{size}{objects}</annotation>")
        with (root / "ImageSets/Main" / f"{part}.txt").open("a") as stream:
            stream.write(f"{stem}\n")
    return root


def yolo(root: Path, described: bool = True) -> Path:
    """The boxes as YOLO, with or without a data.yaml."""
    for name, boxes in BOXES.items():
        part, stem = name.split("/")
        picture(root / "images" / part / f"{stem}.png")
        lines = [
            f"{CLASSES.index(box.label)} {(box.left + box.right) / 80} {(box.top + box.bottom) / 60} "
            f"{(box.right - box.left) / 40} {(box.bottom - box.top) / 30}"
            for box in boxes
        ]
        file = root / "labels" / part / f"{stem}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        if lines:
            file.write_text("\n".join(lines) + "\n")
    if described:
        (root / "data.yaml").write_text(
            "path: /elsewhere\ntrain: images/train\ntest: images/test\nnames: {0: cat, 1: dog}\n"
        )
    else:
        (root / "classes.txt").write_text("cat\ndog\n")
    return root


def table(root: Path) -> Path:
    """The boxes as a table."""
    root.mkdir(parents=True)
    with (root / "boxes.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "split", "class", "xmin", "ymin", "xmax", "ymax"])
        for name, boxes in BOXES.items():
            part, stem = name.split("/")
            picture(root / f"{stem}.png")
            for box in boxes:
                writer.writerow([f"{stem}.png", part, box.label, box.left, box.top, box.right, box.bottom])
            if not boxes:
                writer.writerow([f"{stem}.png", part, "", "", "", "", ""])
    return root / "boxes.csv"


def content(data: Data) -> dict[str, list[Box]]:
    """By part and name of the image, its boxes."""
    return {
        f"{part}/{Path(str(raw)).stem}": [Box(*box) for box in boxes]
        for part, raw, boxes in zip(data.part, data.raws, data.answers, strict=True)
    }


@pytest.mark.parametrize("make", [coco, voc, yolo, lambda root: yolo(root, False), table])
def test_every_format_gives_the_same_boxes(make: Callable[[Path], Path], tmp_path: Path) -> None:
    source = Source(make(tmp_path / "data"))
    found = detections.recognised(source)
    assert found is not None
    data = detections.read(source)
    assert {name: [Box(b.label, *map(round, b[1:5])) for b in boxes] for name, boxes in content(data).items()} == BOXES
    assert any(finding.kind == "box.none" for finding in data.findings)
    assert ObjectDetection.claim(source) is not None
    other = ImageClassification.claim(source)
    assert other is None or found[0] > other.strength


def test_other_folders_and_tables_are_left_alone(tmp_path: Path) -> None:
    picture(tmp_path / "classes/cat/1.png")
    picture(tmp_path / "classes/dog/1.png")
    (tmp_path / "rows.csv").write_text("x,y,width,height\n1,2,3,4\n")
    (tmp_path / "book.txt").write_text("It was a dark\nand stormy night.\n")
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "nothing").mkdir()
    for name in ("classes", "rows.csv", "book.txt", "list.json", "nothing", "missing"):
        assert detections.recognised(Source(tmp_path / name)) is None, name


def test_crowds_and_difficult_objects_do_not_count(tmp_path: Path) -> None:
    root = coco(tmp_path / "coco", "train")
    file = root / "annotations/instances_train2017.json"
    file.write_text(file.read_text().replace('"iscrowd": 0', '"iscrowd": 1', 1))
    assert [box.ignored for box in content(detections.read(Source(file)))["/a"]] == [True, False]
    root = voc(tmp_path / "voc")
    file = root / "Annotations/a.xml"
    file.write_text(file.read_text().replace("<difficult>0", "<difficult>1", 1))
    assert [box.ignored for box in content(detections.read(Source(root)))["train/a"]] == [True, False]


def test_columns_of_extents_and_shares_are_recognised(tmp_path: Path) -> None:
    picture(tmp_path / "images/a.png")
    for header, row, box in (
        ("image,label,x,y,width,height", "a.png,cat,4,3,16,12", BOXES["train/a"][0]),
        ("path,name,x1,y1,x2,y2", "a.png,cat,0.1,0.1,0.5,0.5", BOXES["train/a"][0]),
    ):
        (tmp_path / "boxes.csv").write_text(f"{header}\n{row}\n")
        (found,) = content(detections.read(Source(tmp_path / "boxes.csv")))["/a"]
        assert Box(found.label, *map(round, found[1:5])) == box


def test_polygons_become_their_bounding_boxes(tmp_path: Path) -> None:
    root = yolo(tmp_path / "data")
    (root / "labels/train/b.txt").write_text("1 0.1 0.2 0.5 0.2 0.5 0.8 0.3 0.9\n")
    (box,) = content(detections.read(Source(root)))["train/b"]
    assert [round(side, 3) for side in box[1:5]] == [4, 6, 20, 27]


def _changed(file: str, old: str, new: str) -> Callable[[Path], Path]:
    def change(root: Path) -> Path:
        text = (root / file).read_text()
        assert old in text
        (root / file).write_text(text.replace(old, new, 1))
        return root

    return change


@pytest.mark.parametrize(
    ("make", "change", "pattern"),
    [
        (yolo, _changed("labels/train/b.txt", "1 ", "7 "), r"b\.txt:1: its class is 7"),
        (yolo, _changed("labels/train/a.txt", "0 ", "0 x"), r"a\.txt:1: .* are no numbers"),
        (yolo, _changed("labels/train/b.txt", "\n", " 1 2 3\n"), r"b\.txt:1"),
        (yolo, _changed("data.yaml", "{0: cat", "{0: [cat"), r"data\.yaml:\d+: it is no YAML"),
        (yolo, _changed("data.yaml", "images/train", "images/trian"), '"images/trian" is not there'),
        (voc, _changed("Annotations/b.xml", "</annotation>", ""), r"b\.xml: it is no XML"),
        (voc, _changed("Annotations/b.xml", "<annotation>", '<!DOCTYPE a [<!ENTITY b "c">]><annotation>'), "document type"),
        (voc, _changed("Annotations/b.xml", "<name>dog</name>", ""), r"b\.xml, object 1: it has no name"),
        (voc, _changed("Annotations/b.xml", "<xmin>1</xmin>", ""), r"b\.xml, object 1: it has no bndbox"),
        (coco, _changed("annotations/instances_train2017.json", '"image_id": 0', '"image_id": 9'), "of an image 9"),
        (coco, _changed("annotations/instances_train2017.json", '"category_id": 17', '"category_id": 1'), "category 1"),
        (coco, _changed("annotations/instances_train2017.json", '"bbox": [4', '"bbox": ["x"'), "must be four numbers"),
        (coco, _changed("annotations/instances_train2017.json", '"images"', '"pictures"'), 'no list "images"'),
        (coco, _changed("annotations/instances_train2017.json", '{"images"', '{{"images"'), r"json:1: it is no JSON"),
    ],
)  # fmt: skip
def test_a_defect_is_named_with_its_place(
    make: Callable[[Path], Path], change: Callable[[Path], Path], pattern: str, tmp_path: Path
) -> None:
    root = change(make(tmp_path / "data"))
    with pytest.raises(DataError, match=pattern):
        detections.read(Source(root))


def test_defects_of_tables_are_named_with_their_rows(tmp_path: Path) -> None:
    file = table(tmp_path / "data")
    whole = file.read_text()
    for old, new, pattern in (
        ("4,3,20", "4,x,20", r'boxes\.csv:2: "x" in column "ymin" is no number'),
        ("a.png,train,dog", ",train,dog", r'boxes\.csv:3: the column "image" is empty'),
        ("a.png,train,dog", "a.png,test,dog", "two parts"),
        ("a.png,train,dog", "a.png,train,", 'column "class" is empty'),
        ("class", "kind", "no column holds the classes"),
    ):
        assert old in whole
        file.write_text(whole.replace(old, new, 1))
        with pytest.raises(DataError, match=pattern):
            detections.read(Source(file))
    file.write_text(whole.replace("class", "kind"))
    assert content(detections.read(Source(file, target="kind"))) == BOXES


def test_options_that_name_columns_are_refused_where_there_are_none(tmp_path: Path) -> None:
    root = voc(tmp_path / "data")
    for column in ({"target": "class"}, {"group": "place"}, {"time": "day"}):
        with pytest.raises(OptionError, match="have no columns"):
            detections.read(Source(root, **column))


def test_images_of_a_group_are_split_together(tmp_path: Path) -> None:
    file = table(tmp_path / "data")
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0] + ",place", *(f"{line},{line[0]}" for line in lines[1:])]))
    groups = detections.read(Source(file, group="place")).groups
    assert groups is not None
    assert groups.tolist() == ["a", "b", "c", "d"]


def test_an_empty_folder_and_one_without_annotations_say_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    picture(tmp_path / "bare/a.png")
    for name, rule in (("empty", "empty"), ("bare", "no annotations"), ("gone", "no such file")):
        with pytest.raises(DataError, match=rule):
            detections.read(Source(tmp_path / name))


def test_folders_that_look_alike_are_left_alone(tmp_path: Path) -> None:
    for name in ("cat/1.png", "dog/2.png", "images/3.png", "labels/3.png"):
        picture(tmp_path / name)
    (tmp_path / "cat" / "1.txt").write_text("a photo of a cat\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    (tmp_path / "config.yaml").write_text("filenames: x\ntrain: y\n")
    (tmp_path / "meta.json").write_text('{"categories": ["cat", "dog"]}')
    (tmp_path / "pom.xml").write_text("<project/>")
    for path in (tmp_path, tmp_path / "config.yaml", tmp_path / "meta.json"):
        assert detections.recognised(Source(path)) is None, path


def test_of_several_formats_one_is_read_and_the_others_are_told(tmp_path: Path) -> None:
    voc(tmp_path)
    coco(tmp_path)
    notes = detections.read(Source(tmp_path)).notes
    assert "VOC" in notes[0]
    assert any("COCO's format, too; they were not read" in note for note in notes)


def test_a_table_may_lie_in_a_folder_with_its_images(tmp_path: Path) -> None:
    root = table(tmp_path / "Ü b").parent
    assert detections.recognised(Source(root)) is not None
    assert content(detections.read(Source(root))) == BOXES


@pytest.mark.parametrize(
    ("name", "text", "pattern"),
    [
        ("a.json", '{"images": 3', r"a\.json:1: it is no JSON"),
        ("a.json", '{"a": 3}', 'no list "categories"'),
        ("a.yaml", "a: b\n", 'it has no "names"'),
        ("a.csv", "a,b\n1,2\n", "no columns hold image paths"),
    ],
)
def test_a_file_without_boxes_is_refused_in_the_words_of_its_format(
    tmp_path: Path, name: str, text: str, pattern: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=pattern):
        detections.read(Source(tmp_path / name))
