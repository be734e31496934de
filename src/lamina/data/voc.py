"""Pascal VOC: an XML file per image (Everingham et al. 2010), in Annotations/ beside JPEGImages/, or beside the images."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree

from lamina.data.boxes import Annotated, Box, Found, beginning, bytes_of, part_called, text_of
from lamina.data.decoding import ENDINGS
from lamina.data.image_files import Claim, ImageFiles, settle
from lamina.data.images import relative_name
from lamina.data.parts import PART_NAMES
from lamina.errors import DataError
from lamina.findings import Finding

_LOOKED_AT = 2048  # bytes
_TRIED = 20  # files


def is_voc(files: Iterable[Path]) -> bool:
    """Whether some files of a folder are such, by the first that end so."""
    found = [file for file in files if file.suffix.lower() == ".xml"][:_TRIED]
    return any(b"<annotation" in beginning(file, _LOOKED_AT).replace(b"\0", b"") for file in found)


def read(folder: Path) -> Found:
    """Read all annotations of a folder; the split is that of ImageSets/Main, or of folders named train and test.

    Raises:
        DataError: naming the file and the rule.
    """
    images: list[Annotated] = []
    findings: list[Finding] = []
    lists: list[str] = []
    files = 0
    for root in _roots(folder):
        xml = [file for file in sorted(root.rglob("*")) if file.suffix.lower() == ".xml" and file.name[0] != "."]
        known = ImageFiles(root)
        parts, names = _parts(root, {file.stem for file in xml})
        listed_xml = [file for file in xml if file.stem in parts] if names else xml
        if not listed_xml:
            raise DataError("its lists name none of the annotations.", str(root / "ImageSets"), "Correct the lists.")
        read_xml = [
            (file, _read(file, known, parts.get(file.stem) or _part_of(file, folder), folder)) for file in listed_xml
        ]
        claims = [claim for _, claim in read_xml if claim is not None]
        settle(claims)
        found = [claim.one for claim in claims]
        taken, stems = {one.image for one in found}, {file.stem.lower() for file in xml}
        bare = [path for path in known.paths if str(path) not in taken and path.stem.lower() not in stems]
        findings += _unused("images have no annotation", bare, folder)
        findings += _unused("XML files annotate no image", [file for file, claim in read_xml if claim is None], folder)
        out = [file for file in xml if names and file.stem not in parts]
        findings += _unused("annotations are in none of the lists of ImageSets/Main", out, folder)
        findings += _unannotated(sorted(parts.keys() - {file.stem for file in xml}))
        images, lists, files = images + found, lists + names, files + len(found)
    notes = [f"Pascal VOC annotations: {files:,} XML files."]
    if lists:
        notes.append(f"The split is the source's own: {', '.join(dict.fromkeys(lists))}.")
    return Found(images, tuple(notes), tuple(findings))


def _roots(folder: Path) -> list[Path]:
    """The folders that hold Annotations/, at most two down; the folder itself where none does."""
    places = [place for some in (".", "*", "*/*") for place in sorted(folder.glob(f"{some}/Annotations"))]
    return [place.parent for place in places if place.is_dir()] or [folder]


def _parts(root: Path, known: set[str]) -> tuple[dict[str, str], list[str]]:
    """By the stem of an image's name, its part, from lists of names; and which lists there were.

    "trainval" serves where there is no "train". Names may have endings, folders, spaces, or 1 or -1 behind them.
    """
    folder = root / "ImageSets" / "Main"
    lists = {file.stem.lower(): file for file in sorted(folder.glob("*.txt"))} if folder.is_dir() else {}
    chosen: dict[str, str] = {name: part for name, part in PART_NAMES.items() if name in lists}
    if "train" not in chosen.values() and "trainval" in lists:
        chosen = {"trainval": "train"} | {name: part for name, part in chosen.items() if part == "test"}
    parts: dict[str, str] = {}
    for name, part in chosen.items():
        for number, line in enumerate(text_of(lists[name]).splitlines(), 1):
            if not line.strip():
                continue
            stem = _stem(line.strip())
            if stem not in known:
                stem = _stem(re.sub(r"\s+-?[01]$", "", line.strip()))
            if parts.setdefault(stem, part) != part:
                raise DataError(
                    f'"{stem}" is in the {parts[stem]} part, too.',
                    f"{lists[name]}:{number}",
                    "Keep an image in one part of the split.",
                )
    return parts, [lists[name].name for name in chosen]


def _stem(line: str) -> str:
    """The name of an image without folders and ending."""
    name = line.replace("\\", "/").rpartition("/")[2]
    stem, dot, ending = name.rpartition(".")
    return stem if dot and f".{ending.lower()}" in {*ENDINGS, ".xml"} else name


def _part_of(file: Path, folder: Path) -> str:
    """The part that the folders above a file say, the outermost first."""
    return next((part for part in map(part_called, file.relative_to(folder).parts[:-1]) if part), "")


def _read(file: Path, known: ImageFiles, part: str, folder: Path) -> Claim | None:
    """An image's annotation, and how sure its image is; None where the file annotates none."""
    tree = _tree(file)
    if tree.tag != "annotation":
        return None
    name = (tree.findtext("filename") or "").strip().replace("\\", "/")
    beside = known.named(name, file, part) if _stem(name) == file.stem else None
    image = beside or known.with_stem(file.stem, file, part) or (known.named(name, file, part) if name else None)
    by_stem = image is not None and Path(image).stem.lower() == file.stem.lower()
    folders = name if "/" in name else str(file)
    nearness = () if image is None else (by_stem, *known.nearness(Path(image), folders, file, part))
    if image is None:
        image = str(file.with_name(Path(name).name or f"{file.stem}.jpg").absolute())
    missed = str(file.with_name(file.stem + (Path(name).suffix or ".jpg")).absolute())
    width, height = (_number(tree.findtext(f"size/{side}") or "0") for side in ("width", "height"))
    size = (int(width), int(height)) if 0 < width < 1e9 and 0 < height < 1e9 else None
    boxes = [
        _box(item, f"{relative_name(str(file), folder)}, object {number}")
        for number, item in enumerate(tree.iter("object"), 1)
    ]
    return Claim(Annotated(image, part, boxes, size), nearness, file.stem.lower() if by_stem else name, missed)


def _tree(file: Path) -> ElementTree.Element:
    """The root of a file's tree.

    A document type may declare entities, which can grow without bound while they are read, so it is refused; in the
    decoded text, where no encoding hides it. Expat reads that text, whatever encoding the file declares.
    """
    content = bytes_of(file)
    declared = re.match(rb"""<\?xml[^>]*encoding=["']([\w.-]+)["']""", content)
    encoding = (
        "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else declared[1].decode() if declared else "utf-8-sig"
    )
    try:
        text = content.decode(encoding).lstrip("\ufeff")
    except (LookupError, UnicodeError):
        raise DataError(
            f"it is not in its encoding, {encoding.removesuffix('-sig').upper()}.", str(file), "Save it as UTF-8."
        ) from None
    if re.search("<!(DOCTYPE|ENTITY)", text):
        raise DataError("it declares a document type, which annotations have no need of.", str(file), "Remove it.")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise DataError(f"it is no XML ({error}).", str(file), "Annotate the image anew, or remove the file.") from None


def _box(item: ElementTree.Element, where: str) -> tuple[Box, str]:
    label = (item.findtext("name") or "").strip()
    if not label:
        raise DataError("it has no name.", where, "Name its class.")
    sides = [item.findtext(f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")]
    if any(side is None for side in sides):
        raise DataError("it has no bndbox of xmin, ymin, xmax and ymax.", where, "Draw its box.")
    left, top, right, bottom = (_number(side or "") for side in sides)
    if right > left and bottom > top:  # otherwise a click without a drag: as it is written, it has no area
        left, top = left - 1, top - 1  # VOC counts pixels from 1, and its last ones are inside
    return Box(label, left, top, right, bottom, (item.findtext("difficult") or "0").strip() == "1"), where


def _number(text: str) -> float:
    """A number; not-a-number for what is none, which the checks name."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _unused(what: str, files: list[Path], folder: Path) -> Iterator[Finding]:
    if files:
        yield Finding(
            "file.unused",
            "note",
            f"{len(files):,} {what}; they were left out.",
            "Annotate or list them, to learn from them.",
            where=tuple(relative_name(str(file), folder) for file in files[:20]),
            count=len(files),
        )


def _unannotated(names: list[str]) -> Iterator[Finding]:
    if names:
        yield Finding(
            "file.missing",
            "warning",
            f"{len(names):,} names in the lists of ImageSets/Main have no annotation; they were left out.",
            "Annotate them, or remove the names.",
            where=tuple(names[:20]),
            count=len(names),
        )
