"""Box table: a row per box, with the path of its image, its class, and its corners."""

import os
from pathlib import Path

import numpy as np
import polars as pl

from lamina.data.boxes import Annotated, Box, Found
from lamina.data.classes import as_written
from lamina.data.data import Source
from lamina.data.decoding import ENDINGS
from lamina.data.table_files import Table, read_table
from lamina.data.tables import path_column, split_keys
from lamina.errors import DataError, unknown

CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
    ("x_min", "y_min", "x_max", "y_max"),
)
EXTENTS = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"))
CLASSES = ("class", "label", "name", "category", "class_name", "object")


def corners(table: Table) -> tuple[dict[str, str], bool] | None:
    """Which columns hold left, top, right and bottom (or width and height: then the second is True); None without them."""
    columns = {name.strip().lower(): name for name in table.frame.columns}
    for names in CORNERS:
        if all(name in columns for name in names):
            return {side: columns[name] for side, name in zip(CORNERS[2], names, strict=True)}, False
    for names in EXTENTS:
        if all(name in columns for name in names):
            return {side: columns[name] for side, name in zip(CORNERS[2], names, strict=True)}, True
    return None


def read(source: Source) -> Found:
    """Read a table of boxes. A row whose corners are empty says that its image shows nothing.

    Raises:
        DataError: naming file and row.
    """
    table = read_table(source)
    found, paths = corners(table), path_column(table, ENDINGS)
    if found is None or paths is None:
        raise DataError(
            "no columns hold image paths and corners of boxes.",
            table.name,
            "Name them: image, class, xmin, ymin, xmax, ymax.",
        )
    sides, extents = found
    label = _label(source, table, paths)
    numbers = np.stack([_numbers(table, column) for column in sides.values()], 1)  # (rows, 4)
    known = ~np.isnan(numbers).all(1)
    relative = _are_shares(numbers[known])
    sizes = None if extents else _sizes(table, numbers[known], known)
    groups, times = (split_keys(table, getattr(source, option), option) for option in ("group", "time"))
    labels = [(name or "").strip() for name in as_written(table.frame[label])]
    images: dict[str, Annotated] = {}
    for row, cell in enumerate(table.frame[paths].cast(pl.String).to_list()):
        if not cell or not cell.strip():
            raise DataError(f'the column "{paths}" is empty.', str(table.where[row]), "Name the box's image.")
        path = _locate(cell.strip().replace("\\", "/"), table.folder or Path())
        group, time = (None if keys is None else keys[row] for keys in (groups, times))
        size = None if sizes is None or not (sizes[row] > 0).all() else (int(sizes[row][0]), int(sizes[row][1]))
        one = images.setdefault(path, Annotated(path, str(table.part[row]), [], size, relative, group, time))
        if one.part != table.part[row]:
            raise DataError(
                f"{cell} is in two parts of the split.", str(table.where[row]), "Keep an image in one part."
            )
        if known[row]:
            if not labels[row]:
                raise DataError(f'the column "{label}" is empty.', str(table.where[row]), "Name the class of the box.")
            left, top, right, bottom = numbers[row].tolist()
            if extents:
                right, bottom = left + right, top + bottom
            one.boxes.append((Box(labels[row], left, top, right, bottom), str(table.where[row])))
    notes = [
        *table.notes,
        f'A table of boxes: images in column "{paths}", classes in "{label}", corners in {", ".join(sides.values())}'
        + (" (x and y are the upper left corner)" if extents else "")
        + (", as shares of the image" if relative else "")
        + ".",
    ]
    return Found(list(images.values()), tuple(notes), table.findings)


def _label(source: Source, table: Table, paths: str) -> str:
    """The column of the boxes' classes. Raises OptionError for one that is not there, DataError where none is known."""
    columns = table.frame.columns
    if source.target is not None:
        if source.target not in columns:
            raise unknown("column", source.target, columns)
        return source.target
    for known in CLASSES:
        for name in columns:
            if name.strip().lower() == known and name != paths:
                return name
    raise DataError("no column holds the classes of the boxes.", table.name, "Name it with --target.")


def _are_shares(numbers: np.ndarray) -> bool:
    """Whether sides, (boxes, 4), are shares of the image: none above 1, and not whole numbers all."""
    there = numbers[np.isfinite(numbers)]
    return bool(len(there)) and bool((there <= 1).all()) and not bool((there == np.round(there)).all())


def _sizes(table: Table, numbers: np.ndarray, known: np.ndarray) -> np.ndarray | None:
    """(rows, 2): the images' widths and heights, where columns hold them, rather than those of the boxes."""
    columns = {name.strip().lower(): name for name in table.frame.columns}
    if not {"width", "height"} <= columns.keys():
        return None
    sizes = np.stack([_numbers(table, columns[side]) for side in ("width", "height")], 1)
    return sizes if len(numbers) and float((sizes[known] >= numbers[:, 2:]).all(1).mean()) > 0.5 else None


def _numbers(table: Table, column: str) -> np.ndarray:
    """(rows,) float64, not-a-number where a cell is empty. Raises DataError at a cell that holds something else."""
    cells = table.frame[column].cast(pl.String).str.strip_chars()
    numbers = cells.cast(pl.Float64, strict=False)
    wrong = (numbers.is_null() & cells.is_not_null() & (cells != "")).to_numpy()
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f'"{cells[row]}" in column "{column}" is no number.', str(table.where[row]), "Correct the cell."
        )
    return numbers.to_numpy().astype(np.float64)


def _locate(cell: str, folder: Path) -> str:
    """An absolute path; one relative to the table's folder, or to a folder of images beside it."""
    for base in (folder, folder / "images", folder.parent / "images"):
        if os.path.isfile(base / cell):
            return str((base / cell).absolute())
    return str((folder / cell).absolute())
