"""YOLO: a line per box in shares of the image; every other line is named."""

from pathlib import Path

import pytest
from PIL import Image

from lamina.data import yolo
from lamina.data.boxes import Box, assemble, glance
from lamina.data.data import Data
from lamina.errors import DataError

LINE = "1 .5 .5 .2 .5\n"


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (100, 80)).save(path)


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def tree(
    root: Path, line: str = LINE, names: str | None = "names: [cat, dog]\n", parts: tuple[str, ...] = ("train", "val")
) -> Path:
    """images/PART, labels/PART and a data.yaml."""
    for part in parts:
        picture(root / "images" / part / f"{part} 1.png")
        text(root / "labels" / part / f"{part} 1.txt", line)
    if names is not None:
        text(root / "data.yaml", "".join(f"{part}: images/{part}\n" for part in parts) + names)
    return root


def read(path: Path) -> Data:
    return assemble(yolo.read(path), path if path.is_dir() else path.parent)


@pytest.mark.parametrize(
    ("line", "box"),
    [
        (LINE, Box("dog", 40, 20, 60, 60)),
        ("\ufeff" + LINE, Box("dog", 40, 20, 60, 60)),
        ("1.0\t.5 .5  .2 .5\r\n\r\n", Box("dog", 40, 20, 60, 60)),
        ("0 .1 .1 .5 .1 .5 .6\n", Box("cat", 10, 8, 50, 48)),  # an outline
    ],
)
def test_lines(tmp_path: Path, line: str, box: Box) -> None:
    data = read(tree(tmp_path, line))
    assert data.answers.tolist() == [(box,), (box,)]
    assert data.part.tolist() == ["train", "valid"]


def test_key_points_are_no_outline(tmp_path: Path) -> None:
    names = "names: [cat, dog]\nkpt_shape: [2, 3]\n"
    data = read(tree(tmp_path / "a", "1 .5 .5 .2 .5 .1 .1 2 .9 .9 2\n", names))
    assert data.answers[0] == (Box("dog", 40, 20, 60, 60),)
    with pytest.raises(DataError, match=r"train 1\.txt:1: it has 9 numbers, and by kpt_shape 11"):
        yolo.read(tree(tmp_path / "b", "1 .5 .5 .2 .5 .1 .1 .9 .9\n", names))
    with pytest.raises(DataError, match=r"its kpt_shape is 3"):
        yolo.read(tree(tmp_path / "c", names="names: [cat, dog]\nkpt_shape: 3\n"))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("7 .5 .5 .2 .2", "its class is 7, and there are 2 classes"),
        ("-1 .5 .5 .2 .2", "its class is -1"),
        ("1.5 .5 .5 .2 .2", r"its class is 1\.5"),
        ("nan .5 .5 .2 .2", "its class is nan"),
        ("inf .5 .5 .2 .2", "its class is inf"),
        ("cat .5 .5 .2 .2", "are no numbers"),
        ("0 .5 .5", "it has 3 numbers"),
        ("0 .5 .5 .2 .2 .9", "it has 6 numbers.*score"),
    ],
)
def test_broken_lines_are_named(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(DataError, match=rf"labels/train/train 1\.txt:2: .*{says}"):
        yolo.read(tree(tmp_path, LINE + line + "\n"))


def test_lines_in_pixels_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no box is left.*outside.*train 1\.txt:1"):
        read(tree(tmp_path, "0 50 40 20 20\n"))


def test_text_that_is_no_utf_8_is_named(tmp_path: Path) -> None:
    tree(tmp_path)
    (tmp_path / "labels" / "train" / "train 1.txt").write_bytes(LINE.encode() + b"\xe9\n")
    with pytest.raises(DataError, match=r"train 1\.txt:2: it is no UTF-8"):
        yolo.read(tmp_path)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("names: {cat: 0}\n", '"cat: 0" among its names'),
        ("names: [cat, null]\n", '"1: None" among its names'),
        ("names: cat\n", 'it has no "names"'),
        ("names: [cat\n", r"data\.yaml:4: it is no YAML"),
        ("names:\n\t- cat\n", r"data\.yaml:4: it is no YAML"),
        ("names: [cat, dog]\ntest: images/gone\n", '"images/gone" is not there'),
    ],
)
def test_broken_descriptions_are_named(tmp_path: Path, names: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        yolo.read(tree(tmp_path, names=names))


def test_a_description_without_training_is_refused(tmp_path: Path) -> None:
    tree(tmp_path)
    with pytest.raises(DataError, match='no "train"'):
        yolo.read(text(tmp_path / "data.yaml", "names: [cat, dog]\nval: images/val\n"))


@pytest.mark.parametrize(
    "names",
    ["names: {0: cat, 1: dog}\n", "names:\n- cat\n- dog\npath: C:/gone\n", "names:\n  '0': cat\n  '1': dog\nnc: 2\n"],
)
def test_names_are_a_list_or_numbered(tmp_path: Path, names: str) -> None:
    assert read(tree(tmp_path, names=names)).answers[0][0].label == "dog"


def test_paths_may_have_one_step_up_too_many(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "images" / "1.png")
    text(tmp_path / "train" / "labels" / "1.txt", LINE)
    text(tmp_path / "data.yaml", "names: [cat, dog]\ntrain: ../train/images\n")
    assert read(tmp_path).where.tolist() == ["train/images/1.png"]


def test_lists_of_images(tmp_path: Path) -> None:
    tree(tmp_path)
    text(tmp_path / "lists" / "a.txt", "images\\train\\train 1.png\nimages/train/gone.png\n")
    text(tmp_path / "data.yaml", "names: [cat, dog]\ntrain: lists/a.txt\n")
    data = read(tmp_path)
    assert data.where.tolist() == ["images/train/train 1.png"]
    assert data.findings[0].kind == "file.missing"
    text(tmp_path / "lists" / "a.txt", "\n")
    with pytest.raises(DataError, match="no image"):
        yolo.read(tmp_path)


def test_folders_without_a_description(tmp_path: Path) -> None:
    tree(tmp_path, names=None, parts=("train2017", "val2017"))
    assert yolo.is_yolo(tmp_path, glance(tmp_path))
    data = read(tmp_path)
    assert data.part.tolist() == ["train", "valid"]
    assert data.answers[0][0].label == "1"
    assert any("numbers are their names" in note for note in data.notes)


@pytest.mark.parametrize("place", ["classes.txt", "labels/classes.txt", "images/train/_darknet.labels"])
def test_names_lie_above_or_beside(tmp_path: Path, place: str) -> None:
    tree(tmp_path, names=None)
    text(tmp_path / place, "cat\ndog\n")
    assert read(tmp_path).answers[0][0].label == "dog"


def test_text_beside_images(tmp_path: Path) -> None:
    picture(tmp_path / "1.PNG")
    text(tmp_path / "1.txt", LINE)
    text(tmp_path / "classes.txt", "cat\ndog\n")
    assert yolo.is_yolo(tmp_path, glance(tmp_path))
    assert read(tmp_path).answers[0] == (Box("dog", 40, 20, 60, 60),)


def test_images_without_text_show_nothing_and_text_without_images_is_told(tmp_path: Path) -> None:
    tree(tmp_path)
    picture(tmp_path / "images" / "train" / "bare.png")
    text(tmp_path / "labels" / "train" / "gone.txt", LINE)
    findings = {finding.kind: finding.where for finding in read(tmp_path).findings}
    assert findings == {"box.none": ("images/train/bare.png",), "file.missing": ("labels/train/gone.txt",)}


def test_what_is_not_yolo(tmp_path: Path) -> None:
    for name in ("captions/1.png", "images/2.png", "labels/2.png"):
        picture(tmp_path / name)
    text(tmp_path / "captions" / "1.txt", "a photo of a cat\n")
    text(tmp_path / "classes.txt", "cat\ndog\n")
    other = text(tmp_path / "config.yaml", "filenames: x\ntrain: y\n")
    assert not yolo.is_yolo(tmp_path, glance(tmp_path))
    assert not yolo.is_yolo(other, [other])
