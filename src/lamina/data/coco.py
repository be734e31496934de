"""COCO: a JSON file of images, categories and annotations (Lin et al. 2014, arXiv:1405.0312), or a folder with several."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lamina.data.boxes import Annotated, Box, Found, part_called
from lamina.data.image_files import SURE, Claim, ImageFiles, Nearness, settle
from lamina.data.images import relative_name
from lamina.data.parts import listed
from lamina.errors import DataError

_LOOKED_AT = 4096  # bytes at a file's beginning, and at its end
_FOLDERS = {"annotations", "annotation", "coco", "labels", "json"}
_ANEW = "Export it anew."


def is_coco(path: Path) -> bool:
    """Whether a file looks like COCO's with boxes, by its first bytes and its last."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    try:
        with path.open("rb") as stream:
            first = stream.read(_LOOKED_AT)
            stream.seek(max(0, path.stat().st_size - _LOOKED_AT))
            seen = first + stream.read()
    except OSError:  # whoever reads it says so
        return False
    boxes = any(word in seen for word in (b'"bbox"', b'"category_id"', b'"supercategory"'))
    images = any(word in seen for word in (b'"file_name"', b'"image_id"'))
    whole = all(word in seen for word in (b'"images"', b'"annotations"', b'"categories"'))
    return first.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and ((boxes and images) or whole)


def among(files: Iterable[Path]) -> list[Path]:
    """Those that are COCO's; files of captions and key points are left out."""
    return [file for file in files if not file.name.startswith((".", "captions", "person_keypoints")) and is_coco(file)]


def read(path: Path) -> Found:
    """Read one file, or those of a folder, at most two folders down.

    Raises:
        DataError: naming the file, and the entry that breaks the rule.
    """
    root = path.parent if path.is_file() else path
    below = ("*.json", "*/*.json", "*/*/*.json")
    sources = [path] if path.is_file() else among(file for some in below for file in sorted(root.glob(some)))
    parts = {file: _part_of(file, root) if len(sources) > 1 else "" for file in sources}
    unsaid = [file for file in sources if not parts[file]] if any(parts.values()) else []
    used = [file for file in sources if file not in unsaid]
    named = [relative_name(str(file), root) + (f" ({parts[file]})" if parts[file] else "") for file in used]
    notes = [f"COCO annotations: {listed(named)}."]
    if unsaid:
        notes.append(
            f"Left out, since their names say no part: {listed(relative_name(str(file), root) for file in unsaid)}."
        )
    known: dict[Path, ImageFiles] = {}
    claims = [claim for file in used for claim in _images(file, parts[file], root, known)]
    settle(claims)
    return Found([claim.one for claim in claims], tuple(notes))


def _part_of(file: Path, root: Path) -> str:
    """Which part a file is of, by its name or its folder's: instances_train2017.json, valid/_annotations.coco.json."""
    names = (file.stem, *reversed(file.relative_to(root).parts[:-1]))
    return next((part for part in map(part_called, names) if part), "")


def _images(file: Path, part: str, root: Path, known: dict[Path, ImageFiles]) -> list[Claim]:
    content, name = _load(file), relative_name(str(file), root)
    names: dict[int | str, str] = {}
    for number, entry in enumerate(_list(content, "categories", file), 1):
        kind = _id(entry, "id", names, f"{name}, category number {number}")
        if not isinstance(entry.get("name"), str) or not entry["name"].strip():
            raise DataError("it has no name.", f"{name}, category {kind}", "Name the class.")
        names[kind] = entry["name"].strip()
    found: dict[int | str, Claim] = {}
    for number, entry in enumerate(_list(content, "images", file), 1):
        where = f"{name}, image number {number}"
        image = _id(entry, "id", found, where)
        if not isinstance(entry.get("file_name"), str) or not entry["file_name"].strip():
            raise DataError("it has no file_name.", where, _ANEW)
        called = entry["file_name"].strip().replace("\\", "/")
        located, nearness = _locate(called, file, part, root, known)
        beside = str((file.parent / called).absolute())
        found[image] = Claim(Annotated(located or beside, part, size=_size(entry, where)), nearness, called, beside)
    for number, entry in enumerate(_list(content, "annotations", file), 1):
        where = f"{name}, annotation {entry.get('id', f'number {number}')}"
        shows, of = entry.get("image_id"), entry.get("category_id")
        if not isinstance(shows, int | str) or shows not in found:
            raise DataError(f"it is of an image {shows!r} that is not listed.", where, _ANEW)
        if not isinstance(of, int | str) or of not in names:
            raise DataError(f"its category {of!r} is not listed.", where, _ANEW)
        left, top, width, height = _bounds(entry, where)
        box = Box(names[of], left, top, left + width, top + height, bool(entry.get("iscrowd")))
        found[shows].one.boxes.append((box, where))
    return list(found.values())


def _load(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise DataError(f"it is no JSON ({error.msg}).", f"{file}:{error.lineno}", _ANEW) from None
    except RecursionError:
        raise DataError("its lists lie in one another too deeply.", str(file), _ANEW) from None
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


def _id(entry: dict[str, Any], name: str, taken: dict[int | str, Any], where: str) -> int | str:
    """A number or word that no other entry has."""
    given = entry.get(name)
    if not isinstance(given, int | str):
        raise DataError(f"its {name} is {given!r}; it must be a number.", where, _ANEW)
    if given in taken:
        raise DataError(f"its {name} {given!r} is that of another, too.", where, "Number them anew.")
    return given


def _size(entry: dict[str, Any], where: str) -> tuple[int, int] | None:
    """Width and height, where both are said."""
    width, height = entry.get("width"), entry.get("height")
    if not width or not height:
        return None
    try:
        return int(width), int(height)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"its size is {width!r} x {height!r}; it must be two numbers.", where, _ANEW) from None


def _bounds(entry: dict[str, Any], where: str) -> tuple[float, float, float, float]:
    """Left, top, width, height; of an annotation that has a polygon only, those of the polygon."""
    bounds, shape = entry.get("bbox"), entry.get("segmentation")
    try:
        if not bounds and isinstance(shape, list):
            points = [float(value) for polygon in shape for value in polygon]
            left, top = min(points[0::2]), min(points[1::2])
            return left, top, max(points[0::2]) - left, max(points[1::2]) - top
        left, top, width, height = (float(value) for value in bounds or ())
    except (TypeError, ValueError):
        if bounds or not isinstance(shape, list):
            what = f"its bbox is {bounds!r}; it must be four numbers: left, top, width, height."
        else:
            what = "it has no bbox, and its segmentation is no list of polygons."
        raise DataError(what, where, _ANEW) from None
    return left, top, width, height


def _locate(name: str, file: Path, part: str, root: Path, known: dict[Path, ImageFiles]) -> tuple[str | None, Nearness]:
    """Where an image is, and how sure that is: beside the file, in one of the usual folders, or anywhere below the root.

    Above the root nothing is searched, unless it is a folder of annotations: what lies there may be anybody's.
    """
    for folder in (file.parent, file.parent / "images", file.parent.parent / "images", file.parent.parent, root):
        if os.path.isfile(folder / name):
            return str((folder / name).absolute()), SURE
    for folder in (root, root.absolute().parent) if root.absolute().name.lower() in _FOLDERS else (root,):
        if folder not in known:  # once for all files
            known[folder] = ImageFiles(folder)
        if known[folder].paths:
            found = known[folder].named(name, file, part)
            return found, known[folder].nearness(Path(found), name, file, part) if found else ()
    return None, ()
