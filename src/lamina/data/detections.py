"""Detections: images with boxes, in whichever format they lie."""

from pathlib import Path

from lamina.data import box_table, coco, voc, yolo
from lamina.data.boxes import LAYOUTS, Found, assemble
from lamina.data.data import Data, Source
from lamina.data.images import path_column
from lamina.data.rows import LOOKED_AT
from lamina.data.table_files import is_table, read_table
from lamina.errors import DataError, OptionError

STRENGTH = 0.95  # of the claim: surer than that a folder of images holds classes


def recognised(source: Source) -> tuple[float, str] | None:
    """How surely a source holds images with boxes, and why; looks at names, and at the first rows of a table."""
    path = source.path
    if path is None or not path.exists():
        return None
    if path.is_dir():
        if voc.is_voc(path):
            return STRENGTH, "the folder holds XML files that annotate images (Pascal VOC)"
        if yolo.is_yolo(path):
            return STRENGTH, "the folder holds images with text files of boxes (YOLO)"
        files = coco.files(path)
        return (STRENGTH, f"{files[0].name} holds annotations in COCO's format") if files else None
    if coco.is_coco(path):
        return STRENGTH, "the file holds annotations in COCO's format"
    if yolo.is_yolo(path):
        return STRENGTH, "the file describes a data set of YOLO's format"
    if not is_table(path):
        return None
    table = read_table(source, LOOKED_AT)
    if box_table.corners(table) is None or path_column(table) is None:
        return None
    return STRENGTH, "the table has image paths and corners of boxes"


def read(source: Source) -> Data:
    """Find the images and their boxes.

    Returns:
        Data whose raws are absolute paths and whose answers are tuples of ``Box``.

    Raises:
        DataError: naming file and row.
        OptionError: an option that this format has no use for.
    """
    path = source.path
    if path is None:
        raise DataError("boxes are read from files.", "data", LAYOUTS)
    if not path.exists():
        raise DataError("there is no such file or folder.", str(path), "Check the spelling of the path.")
    root = path if path.is_dir() else path.parent
    listed = not path.is_dir() and is_table(path)
    for option, given in (("--target", source.target), ("--group", source.group), ("--time", source.time)):
        if given is not None and (not listed or option == "--time"):
            raise OptionError("these annotations have no columns.", f"{option} {given}", "Leave the option out.")
    return assemble(_found(source, path), root)


def _found(source: Source, path: Path) -> Found:
    if path.is_dir():
        if not any(path.iterdir()):
            raise DataError("the folder is empty.", str(path), LAYOUTS)
        if voc.is_voc(path):
            return voc.read(path)
        if yolo.is_yolo(path):
            return yolo.read(path)
        if coco.files(path):
            return coco.read(path)
        raise DataError("it holds no annotations of boxes.", str(path), LAYOUTS)
    if coco.is_coco(path):
        return coco.read(path)
    return yolo.read(path) if yolo.is_yolo(path) else box_table.read(source)
