"""Box tables: a row per box, with corners under any of their usual names."""

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from lamina.data import box_table
from lamina.data.boxes import Box, assemble
from lamina.data.data import Data, Source
from lamina.errors import DataError, OptionError

BOX = Box("cat", 10, 20, 40, 60)


def table(folder: Path, content: str) -> Path:
    """A table, and the images 1.png beside it and 2.png in images/."""
    (folder / "images").mkdir(parents=True)
    for name in ("1.png", "images/2.png"):
        Image.new("RGB", (100, 80)).save(folder / name)
    (folder / "boxes.csv").write_text(content)
    return folder / "boxes.csv"


def read(folder: Path, content: str, target: str | None = None, group: str | None = None) -> Data:
    return assemble(box_table.read(Source(table(folder, content), target, group)), folder)


@pytest.mark.parametrize(
    ("columns", "cells"),
    [
        ("xmin,ymin,xmax,ymax", "10,20,40,60"),
        ("X1,Y1,X2,Y2", "10,20,40,60"),
        ("left,top,right,bottom", "10, 20 ,40.0,60"),
        ("x,y,width,height", "10,20,30,40"),
        ("x,y,w,h", "0.1,0.25,0.3,0.5"),
        ("x_min,y_min,x_max,y_max", ".1,.25,.4,.75"),
    ],
)
def test_corners_have_many_names(tmp_path: Path, columns: str, cells: str) -> None:
    data = read(tmp_path / "d d", f"image,class,{columns}\n1.png,cat,{cells}\n2.png,cat,{cells}\nimages\\2.png,,,,,\n")
    assert data.where.tolist() == ["1.png", "images/2.png"]
    assert data.answers.tolist() == [(BOX,), (BOX,)]
    said = " ".join(data.notes)
    assert ("shares of the image" in said) == ("." in cells and "40.0" not in cells)
    assert ("upper left corner" in said) == columns.startswith("x,")


def test_classes_may_be_numbers(tmp_path: Path) -> None:
    table(tmp_path, "")
    file = str(next(tmp_path.glob("*.png")))
    frame = pd.DataFrame({"image": file, "label": [7, None, 8], "x1": [1, None, 3], "y1": 1, "x2": 9, "y2": 9})
    frame.loc[1, ["y1", "x2", "y2"]] = None
    data = assemble(box_table.read(Source(frame)), tmp_path)
    assert [box.label for box in data.answers[0]] == ["7", "8"]


def test_a_row_without_corners_is_an_image_without_objects(tmp_path: Path) -> None:
    data = read(tmp_path / "d", "image,class,x1,y1,x2,y2\n1.png,cat,10,20,40,60\n2.png,,,,,\n")
    assert data.answers.tolist() == [(BOX,), ()]
    assert [finding.kind for finding in data.findings] == ["box.none"]


def test_whole_numbers_are_pixels_however_small(tmp_path: Path) -> None:
    data = read(tmp_path / "d", "image,class,x1,y1,x2,y2\n1.png,cat,0,0,1,1\n")
    assert data.answers[0] == (Box("cat", 0, 0, 1, 1),)


def test_sizes_of_images_are_compared_and_those_of_boxes_are_not(tmp_path: Path) -> None:
    head = "filename,width,height,class,xmin,ymin,xmax,ymax\n"
    assert read(tmp_path / "a", head + "1.png,100,80,cat,10,20,40,60\n").findings == ()
    (finding,) = read(tmp_path / "b", head + "1.png,200,160,cat,10,20,40,60\n").findings
    assert finding.kind == "box.size"
    assert read(tmp_path / "c", head + "1.png,30,40,cat,10,20,40,60\n").findings == ()  # those of the box


def test_the_split_and_groups_are_the_tables_own(tmp_path: Path) -> None:
    rows = "1.png,cat,1,1,9,9,train,a\n2.png,cat,1,1,9,9,test,b\n"
    data = read(tmp_path / "d", "image,kind,x1,y1,x2,y2,split,patient\n" + rows, "kind", "patient")
    assert data.part.tolist() == ["train", "test"]
    assert data.groups is not None
    assert data.groups.tolist() == ["a", "b"]
    dated = "image,class,x1,y1,x2,y2,day\n2.png,cat,1,1,9,9,7\n1.png,cat,1,1,9,9,5\n2.png,cat,3,3,9,9,6\n"
    found = assemble(box_table.read(Source(table(tmp_path / "f", dated), time="day")), tmp_path / "f")
    assert found.times is not None
    assert found.times.tolist() == [7, 5]
    with pytest.raises(DataError, match=r"boxes\.csv:3.*two parts"):
        read(tmp_path / "e", "image,class,x1,y1,x2,y2,split\n1.png,a,1,1,9,9,train\n1.png,a,1,1,9,8,test\n")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("1.png,cat,10,wide,40,60\n", r'boxes\.csv:2: "wide" in column "y1" is no number'),
        ("1.png,cat,1,1,9,9\n2.png,,1,1,9,9\n", r'boxes\.csv:3: the column "class" is empty'),
        ("C:\\gone\\1.png,cat,1,1,9,9\n", "none of the images"),
        ("1.png,cat,1,,9,9\n", r"no box is left.*boxes\.csv:2"),
    ],
)
def test_broken_rows_are_named(tmp_path: Path, rows: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        read(tmp_path / "d", "image,class,x1,y1,x2,y2\n" + rows)


def test_columns_that_lack_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column holds the classes"):
        read(tmp_path / "a", "image,x1,y1,x2,y2\n1.png,1,1,9,9\n")
    with pytest.raises(OptionError, match='Did you mean "kind"'):
        read(tmp_path / "b", "image,kind,x1,y1,x2,y2\n1.png,cat,1,1,9,9\n", "kinds")
    with pytest.raises(DataError, match="no columns hold image paths and corners"):
        read(tmp_path / "c", "image,class,x1,y1,x2\n1.png,cat,1,1,9\n")
