"""Pascal VOC: an XML file per image (Everingham et al. 2010), in Annotations/ beside JPEGImages/, or beside the images."""

import os
import re
from pathlib import Path
from xml.etree import ElementTree

from lamina.data.boxes import Annotated, Box, Found
from lamina.data.decoding import ENDINGS
from lamina.data.parts import PART_NAMES
from lamina.errors import DataError
from lamina.findings import Finding

_LOOKED_AT = 2048  # bytes


def annotations(folder: Path) -> list[Path]:
    """The XML files that describe images: in Annotations/, at most one folder down, or anywhere where there is none."""
    for place in (folder / "Annotations", *sorted(folder.glob("*/Annotations"))):
        if place.is_dir():
            return sorted(place.rglob("*.xml"))
    return [file for file in sorted(folder.rglob("*.xml")) if file.name[0] != "."]


def is_voc(folder: Path) -> bool:
    """Whether a folder holds such files, by the first of them."""
    if not folder.is_dir():
        return False
    first = next(iter(annotations(folder)), None)
    return first is not None and b"<annotation" in first.read_bytes()[:_LOOKED_AT]


def read(folder: Path) -> Found:
    """Read all annotations of a folder; the split is that of ImageSets/Main, or of folders named train and test.

    Raises:
        DataError: naming the file and the rule.
    """
    files = annotations(folder)
    root = files[0].parent.parent if files[0].parent.name == "Annotations" else folder
    index = {path.name: str(path.absolute()) for path in sorted(root.rglob("*")) if path.suffix.lower() in ENDINGS}
    by_stem = {Path(name).stem: path for name, path in index.items()}
    parts, listed_in = _parts(root)
    images = []
    for file in files:
        one = _read(file, index, by_stem)
        one.part = parts.get(file.stem, "") if parts else _part_of(file, root)
        if not parts or file.stem in parts:
            images.append(one)
    if not images:
        raise DataError("its lists name none of the annotations.", str(root / "ImageSets"), "Correct the lists.")
    notes = [f"Pascal VOC annotations: {len(files):,} XML files."]
    if listed_in:
        notes.append(f"The split is the source's own: {', '.join(listed_in)}.")
    return Found(images, tuple(notes), tuple(_unlisted(files, parts, by_stem)))


def _parts(root: Path) -> tuple[dict[str, str], list[str]]:
    """By image, its part, from lists of names; and which lists there were. "trainval" serves where there is no "train"."""
    folder = root / "ImageSets" / "Main"
    lists = {file.stem.lower(): file for file in sorted(folder.glob("*.txt"))} if folder.is_dir() else {}
    chosen = {name: part for name, part in PART_NAMES.items() if name in lists}
    if "train" not in chosen.values() and "trainval" in lists:
        chosen["trainval"] = "train"
    parts: dict[str, str] = {}
    for name, part in chosen.items():
        for line in lists[name].read_text(encoding="utf-8-sig").splitlines():
            if line.strip():
                parts[Path(line.split()[0].replace("\\", "/")).stem if "/" in line else line.split()[0]] = part
    return parts, [lists[name].name for name in chosen]


def _part_of(file: Path, root: Path) -> str:
    names = [name.lower() for name in file.relative_to(root).parts[:-1]]
    return next((PART_NAMES[name] for name in names if name in PART_NAMES), "")


def _read(file: Path, index: dict[str, str], by_stem: dict[str, str]) -> Annotated:
    content = file.read_bytes()
    if re.search(rb"<!(DOCTYPE|ENTITY)", content):  # an entity can grow without bound while it is read
        raise DataError("it declares a document type, which annotations have no need of.", str(file), "Remove it.")
    try:
        tree = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        raise DataError(f"it is no XML ({error}).", str(file), "Annotate the image anew, or remove the file.") from None
    name = Path((tree.findtext("filename") or "").strip().replace("\\", "/")).name
    image = by_stem.get(file.stem) or index.get(name) or str(file.with_name(name or f"{file.stem}.jpg").absolute())
    image = index.get(name, image) if name and Path(name).stem == file.stem else image
    width, height = (tree.findtext(f"size/{side}") or "0" for side in ("width", "height"))
    size = (int(float(width)), int(float(height))) if _number(width) > 0 and _number(height) > 0 else None
    boxes = []
    for number, item in enumerate(tree.iter("object"), 1):
        where = f"{file.name}, object {number}"
        label = (item.findtext("name") or "").strip()
        if not label:
            raise DataError("it has no name.", where, "Name its class.")
        sides = [item.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
        if any(side is None for side in sides):
            raise DataError("it has no bndbox of xmin, ymin, xmax and ymax.", where, "Draw its box.")
        left, top, right, bottom = (_number(side or "") for side in sides)
        ignored = (item.findtext("difficult") or "0").strip() == "1"
        boxes.append((Box(label, left - 1, top - 1, right, bottom, ignored), where))  # VOC counts pixels from 1
    return Annotated(image, "", boxes, size)


def _number(text: str) -> float:
    """A number; not-a-number for what is none, which the checks name."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _unlisted(files: list[Path], parts: dict[str, str], by_stem: dict[str, str]) -> list[Finding]:
    known = {file.stem for file in files}
    bare = sorted(os.path.basename(path) for stem, path in by_stem.items() if stem not in known)
    found = []
    if bare:
        found.append(_unused("images have no annotation", bare))
    out = sorted(file.name for file in files if parts and file.stem not in parts)
    if out:
        found.append(_unused("annotations are in none of the lists of ImageSets/Main", out))
    return found


def _unused(what: str, names: list[str]) -> Finding:
    return Finding(
        "file.unused",
        "note",
        f"{len(names):,} {what}; they were left out.",
        "Annotate or list them, to learn from them.",
        where=tuple(names[:20]),
        count=len(names),
    )
