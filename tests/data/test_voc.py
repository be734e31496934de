"""Pascal VOC: pixels count from 1, the split is that of the lists, and images are those of their own folder."""

from pathlib import Path

import pytest
from PIL import Image

from lamina.data import voc
from lamina.data.boxes import Box, assemble, glance
from lamina.data.data import Data
from lamina.errors import DataError

OBJECT = (
    "<object><name>{}</name><difficult>{}</difficult>"
    "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)
CAT = OBJECT.format("cat", 0, 11, 21, 40, 60)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (100, 80)).save(path)


def annotate(file: Path, content: str = CAT, image: str | None = None) -> Path:
    """An XML file, without its image."""
    file.parent.mkdir(parents=True, exist_ok=True)
    name = f"{file.stem}.png" if image is None else image
    size = "<size><width>100</width><height>80</height></size>"
    file.write_text(f"<annotation><filename>{name}</filename>{size}{content}</annotation>", encoding="utf-8")
    return file


def pair(root: Path, name: str, content: str = CAT) -> None:
    """An annotation in Annotations/ and its image in JPEGImages/."""
    picture(root / "JPEGImages" / f"{name}.png")
    annotate(root / "Annotations" / f"{name}.xml", content)


def lists(root: Path, **names: str) -> None:
    folder = root / "ImageSets" / "Main"
    folder.mkdir(parents=True)
    for name, content in names.items():
        (folder / f"{name}.txt").write_text(content)


def parts(data: Data) -> dict[str, str]:
    return dict(zip(data.where.tolist(), data.part.tolist(), strict=True))


def read(root: Path) -> Data:
    return assemble(voc.read(root), root)


def test_pixels_count_from_1_and_the_last_ones_are_inside(tmp_path: Path) -> None:
    pair(tmp_path, "1", CAT + OBJECT.format("dog", 1, 1, 1, 100, 80))
    (one,) = voc.read(tmp_path).images
    assert [box for box, _ in one.boxes] == [Box("cat", 10, 20, 40, 60), Box("dog", 0, 0, 100, 80, ignored=True)]
    assert [where for _, where in one.boxes] == ["Annotations/1.xml, object 1", "Annotations/1.xml, object 2"]
    assert one.size == (100, 80)


def test_a_click_without_a_drag_is_no_box(tmp_path: Path) -> None:
    pair(tmp_path, "1", CAT + OBJECT.format("cat", 0, 50, 50, 50, 50) + OBJECT.format("cat", 0, 1, 5, "wide", 9))
    data = read(tmp_path)
    assert data.answers[0] == (Box("cat", 10, 20, 40, 60),)
    (finding,) = data.findings
    assert (finding.kind, finding.count) == ("box.degenerate", 2)
    assert finding.where[0] == "Annotations/1.xml, object 2: cat (50, 50, 50, 50)"


def test_the_split_is_that_of_the_lists(tmp_path: Path) -> None:
    for name in ("1", "2", "3 of b.c", "4", "5"):
        pair(tmp_path, name)
    lists(tmp_path, train="1.png\n", val="2  1\n\n", test="C:\\x\\3 of b.c\n9\n", trainval="1\n2\n", cat_train="5 -1\n")
    data = read(tmp_path)
    assert parts(data) == {"JPEGImages/1.png": "train", "JPEGImages/2.png": "valid", "JPEGImages/3 of b.c.png": "test"}
    kinds = {finding.kind: finding for finding in data.findings}
    assert kinds["file.unused"].where == ("Annotations/4.xml", "Annotations/5.xml")
    assert kinds["file.missing"].where == ("9",)


def test_trainval_serves_where_there_is_no_train(tmp_path: Path) -> None:
    for name in "123":
        pair(tmp_path, name)
    lists(tmp_path, trainval="1\n2\n", val="2\n", test="3\n")
    assert list(parts(read(tmp_path)).values()) == ["train", "train", "test"]


def test_an_image_in_two_parts_is_refused(tmp_path: Path) -> None:
    pair(tmp_path, "1")
    lists(tmp_path, train="1\n", test="\n1\n")
    with pytest.raises(DataError, match=r'test\.txt:2: "1" is in the train part, too'):
        voc.read(tmp_path)


def test_lists_of_other_images_are_refused(tmp_path: Path) -> None:
    pair(tmp_path, "1")
    lists(tmp_path, train="7\n")
    with pytest.raises(DataError, match="name none of the annotations"):
        voc.read(tmp_path)


@pytest.mark.parametrize(
    ("annotation", "image"),
    [
        ("{}/Annotations/x.xml", "{}/JPEGImages/x.png"),
        ("{}/x.xml", "{}/x.png"),
        ("{}/x.xml", "{}/x.JPG"),
        ("annotations/{}/x.XML", "images/{}/x.png"),
    ],
)
def test_folders_of_parts_keep_images_of_the_same_name_apart(tmp_path: Path, annotation: str, image: str) -> None:
    for part in ("train", "test"):
        picture(tmp_path / image.format(part))
        annotate(tmp_path / annotation.format(part))
    assert voc.is_voc(glance(tmp_path))
    assert parts(read(tmp_path)) == {image.format("train"): "train", image.format("test"): "test"}


@pytest.mark.parametrize("annotation", ["{}/x.xml", "annotations/{}/x.xml", "{}/Annotations/x.xml"])
def test_a_missing_image_does_not_take_another_of_its_name(tmp_path: Path, annotation: str) -> None:
    picture(tmp_path / "train" / "x.png")
    for part in ("train", "test"):
        annotate(tmp_path / annotation.format(part))
    data = read(tmp_path)
    assert parts(data) == {"train/x.png": "train"}
    assert [finding.kind for finding in data.findings] == ["file.missing"]


def test_several_years_are_read_together(tmp_path: Path) -> None:
    for year in ("VOC2007", "VOC2012"):
        pair(tmp_path / year, year)
        lists(tmp_path / year, train=f"{year}\n")
    assert list(parts(read(tmp_path)).values()) == ["train", "train"]


def test_the_file_name_inside_may_be_wrong(tmp_path: Path) -> None:
    for name in ("1", "2"):
        picture(tmp_path / f"{name}.png")
    annotate(tmp_path / "1.xml", image="C:\\old\\2.png")
    annotate(tmp_path / "2.xml", image="")
    assert [Path(one.image).name for one in voc.read(tmp_path).images] == ["1.png", "2.png"]
    (tmp_path / "1.png").unlink()
    assert [Path(one.image).name for one in voc.read(tmp_path).images] == ["1.png", "2.png"]  # 2.png is that of 2.xml


def test_other_files_are_named(tmp_path: Path) -> None:
    pair(tmp_path, "1")
    picture(tmp_path / "JPEGImages" / "bare.png")
    (tmp_path / "Annotations" / "0.xml").write_text("<project/>")
    assert voc.is_voc(glance(tmp_path))
    found = voc.read(tmp_path)
    assert len(found.images) == 1
    assert [finding.where for finding in found.findings] == [("JPEGImages/bare.png",), ("Annotations/0.xml",)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_entities_are_refused_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    picture(tmp_path / "1.png")
    bomb = '<!DOCTYPE a [<!ENTITY b "catcat"><!ENTITY c "&b;&b;&b;">]><annotation>&c;</annotation>'
    (tmp_path / "1.xml").write_bytes(bomb.encode(encoding))
    with pytest.raises(DataError, match=r"1\.xml: it declares a document type"):
        voc.read(tmp_path)


def test_declared_encodings_are_followed(tmp_path: Path) -> None:
    picture(tmp_path / "1.png")
    text = annotate(tmp_path / "1.xml", OBJECT.format("Kätzchen", 0, 1, 1, 9, 9)).read_text(encoding="utf-8")
    for name in ("latin-1", "utf-16"):
        (tmp_path / "1.xml").write_bytes(f'<?xml version="1.0" encoding="{name}"?>{text}'.encode(name))
        assert voc.read(tmp_path).images[0].boxes[0][0].label == "Kätzchen"
    (tmp_path / "1.xml").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match="not in its encoding, UTF-8"):
        voc.read(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("<object><bndbox/></object>", "object 1: it has no name"),
        ("<object><name>cat</name></object>", "object 1: it has no bndbox"),
        (CAT + "<object><name>cat</name><bndbox><xmin>1</xmin></bndbox></object>", "object 2: it has no bndbox"),
        ("<object>", r"1\.xml: it is no XML"),
        ("\0", r"1\.xml: it is no XML"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, content: str, says: str) -> None:
    pair(tmp_path, "1", content)
    with pytest.raises(DataError, match=says):
        voc.read(tmp_path)
