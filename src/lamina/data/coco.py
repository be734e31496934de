"""COCO: a JSON file of images, categories and annotations (Lin et al. 2014, arXiv:1405.0312), or a folder with several."""

import json
import os
from pathlib import Path
from typing import Any

from lamina.data.boxes import Annotated, Box, Found
from lamina.data.decoding import ENDINGS
from lamina.data.parts import PART_NAMES, listed
from lamina.errors import DataError

_LOOKED_AT = 4096  # bytes at a file's beginning


def is_coco(path: Path) -> bool:
    """Whether a file looks like COCO's, by its first bytes and its last."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    with path.open("rb") as stream:
        first = stream.read(_LOOKED_AT)
        stream.seek(max(0, path.stat().st_size - _LOOKED_AT))
        seen = first + stream.read()
    return first.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and any(
        word in seen for word in (b'"bbox"', b'"annotations"', b'"categories"')
    )


def files(folder: Path) -> list[Path]:
    """The COCO files of a folder, at most two folders down; those of captions and key points are left out."""
    found = [file for pattern in ("*.json", "*/*.json", "*/*/*.json") for file in sorted(folder.glob(pattern))]
    return [file for file in found if not file.name.startswith((".", "captions", "person_keypoints")) and is_coco(file)]


def read(path: Path) -> Found:
    """Read one file, or those of a folder.

    Raises:
        DataError: naming the file, and the entry that breaks the rule.
    """
    sources = [path] if path.is_file() else files(path)
    root = path.parent if path.is_file() else path
    parts = {file: _part_of(file, root) for file in sources}
    images: list[Annotated] = []
    index: dict[str, str] = {}
    for file in sources:
        images += _images(file, parts[file] if len(sources) > 1 else "", root, index)
    if len(sources) == 1:
        notes = [f"COCO annotations: {sources[0].name}."]
    else:
        said = [f"{file.name} ({parts[file] or 'training, to be split'})" for file in sources]
        notes = [f"COCO annotations: {listed(said)}."]
    return Found(images, tuple(notes))


def _part_of(file: Path, root: Path) -> str:
    """Which part a file is of, by its name or its folder's: instances_train2017.json, valid/_annotations.coco.json."""
    relative = file.relative_to(root)
    for name in (file.stem, *reversed(relative.parent.parts)):
        for word in name.lower().replace("-", "_").replace(".", "_").split("_"):
            if word.rstrip("0123456789") in PART_NAMES:
                return PART_NAMES[word.rstrip("0123456789")]
    return ""


def _images(file: Path, part: str, root: Path, index: dict[str, str]) -> list[Annotated]:
    content = _load(file)
    names = {entry.get("id"): str(entry.get("name")) for entry in _list(content, "categories", file)}
    found: dict[Any, Annotated] = {}
    for number, entry in enumerate(_list(content, "images", file)):
        if "id" not in entry or not isinstance(entry.get("file_name"), str):
            raise DataError(f"image number {number + 1} has no id or no file_name.", str(file), "Export it anew.")
        size = (int(entry["width"]), int(entry["height"])) if entry.get("width") and entry.get("height") else None
        found[entry["id"]] = Annotated(_locate(entry["file_name"], file, root, index), part, size=size)
    for number, entry in enumerate(_list(content, "annotations", file)):
        where = f"{file.name}, annotation {entry.get('id', number + 1)}"
        if entry.get("image_id") not in found:
            raise DataError(
                f"it is of an image {entry.get('image_id')!r} that is not listed.", where, "Export it anew."
            )
        if entry.get("category_id") not in names:
            raise DataError(f"its category {entry.get('category_id')!r} is not listed.", where, "Export it anew.")
        left, top, width, height = _bounds(entry, where)
        box = Box(names[entry["category_id"]], left, top, left + width, top + height, bool(entry.get("iscrowd")))
        found[entry["image_id"]].boxes.append((box, where))
    return list(found.values())


def _load(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"it is no JSON ({error.msg}).", f"{file}:{error.lineno}", "Export it anew.") from None
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"it cannot be read ({error}).", str(file), "Export it anew, as UTF-8.") from None
    if not isinstance(content, dict):
        raise DataError("it is a list, where COCO's format has an object.", str(file), "Export images, too.")
    return content


def _list(content: dict[str, Any], name: str, file: Path) -> list[dict[str, Any]]:
    entries = content.get(name)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f'it has no list "{name}".', str(file), "COCO's format has images, categories and annotations.")
    return entries


def _bounds(entry: dict[str, Any], where: str) -> tuple[float, float, float, float]:
    """Left, top, width, height; of an annotation that has a polygon only, those of the polygon."""
    bounds = entry.get("bbox")
    if not bounds and isinstance(entry.get("segmentation"), list):
        points = [float(value) for polygon in entry["segmentation"] for value in polygon]
        if points:
            left, top = min(points[0::2]), min(points[1::2])
            return left, top, max(points[0::2]) - left, max(points[1::2]) - top
    try:
        left, top, width, height = (float(value) for value in bounds or ())
    except (TypeError, ValueError):
        raise DataError(
            f"its bbox is {bounds!r}; it must be four numbers: left, top, width, height.", where, "Export it anew."
        ) from None
    return left, top, width, height


def _locate(name: str, file: Path, root: Path, index: dict[str, str]) -> str:
    """Where an image is: beside the file, in one of the usual folders, or anywhere below the root."""
    name = name.replace("\\", "/")
    for folder in (file.parent, file.parent / "images", file.parent.parent / "images", file.parent.parent, root):
        if os.path.isfile(folder / name):
            return str((folder / name).absolute())
    if not index:  # once for all files
        for folder in {root, file.parent.parent}:
            for path in sorted(folder.rglob("*")):
                if path.suffix.lower() in ENDINGS:
                    index.setdefault(path.name, str(path.absolute()))
        index.setdefault("", "")
    return index.get(Path(name).name) or str((file.parent / name).absolute())
