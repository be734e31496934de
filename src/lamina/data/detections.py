"""Detections: images with boxes, in whichever format they lie."""

from dataclasses import replace
from pathlib import Path

from lamina.data import box_table, coco, voc, yolo
from lamina.data.boxes import LAYOUTS, Found, assemble, glance
from lamina.data.data import Data, Source
from lamina.data.decoding import ENDINGS
from lamina.data.rows import LOOKED_AT
from lamina.data.table_files import is_table, read_table
from lamina.data.tables import path_column
from lamina.errors import DataError, OptionError

STRENGTH = 0.95  # of the claim: surer than that a folder of images holds classes
TRIED = 100  # JSON files that are looked into


def recognised(source: Source) -> tuple[float, str] | None:
    """How surely a source holds images with boxes, and why; looks at names, and at the first rows of a table."""
    path = source.path
    if path is None or not path.exists():
        return None
    formats = _formats(source, path)
    return (STRENGTH, f"there are {_KINDS[formats[0]]}") if formats else None


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
    if path.is_dir() and not any(path.iterdir()):
        raise DataError("the folder is empty.", str(path), LAYOUTS)
    formats = _formats(source, path)
    if not formats and not path.is_file():
        raise DataError("it holds no annotations of boxes.", str(path), LAYOUTS)
    chosen = formats[0] if formats else _USUAL.get(path.suffix.lower(), "table")  # its reader says what the file lacks
    for option, given in (("--target", source.target), ("--group", source.group), ("--time", source.time)):
        if given is not None and chosen != "table":
            raise OptionError("these annotations have no columns.", f"{option} {given}", "Leave the option out.")
    found = _found(chosen, source, path)
    if len(formats) > 1:
        others = " and ".join(_KINDS[name] for name in formats[1:])
        found = replace(found, notes=(*found.notes, f"There are {others}, too; they were not read."))
    return assemble(found, root)


_KINDS = {
    "voc": "XML files that annotate images (Pascal VOC)",
    "yolo": "images with text files of boxes (YOLO)",
    "coco": "annotations in COCO's format",
    "table": "image paths and corners of boxes in a table",
}
"""In words, each format, first the one that is preferred."""
_USUAL = {".json": "coco", ".yaml": "yolo", ".yml": "yolo"}


def _formats(source: Source, path: Path) -> list[str]:
    """Which formats there are, the preferred first."""
    files = glance(path) if path.is_dir() else [path]
    found = {
        "voc": path.is_dir() and voc.is_voc(files),
        "yolo": yolo.is_yolo(path, files),
        "coco": bool(coco.among([file for file in files if file.suffix.lower() == ".json"][:TRIED])),
    }
    if not any(found.values()) and is_table(path):
        found["table"] = _is_box_table(source)
    return [name for name, there in found.items() if there]


def _is_box_table(source: Source) -> bool:
    try:
        table = read_table(source, LOOKED_AT)
    except DataError:  # whoever reads it says so
        return False
    return box_table.corners(table) is not None and path_column(table, ENDINGS) is not None


def _found(name: str, source: Source, path: Path) -> Found:
    if name == "table":
        return box_table.read(source)
    return {"voc": voc.read, "yolo": yolo.read, "coco": coco.read}[name](path)
