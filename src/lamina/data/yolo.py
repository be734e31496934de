"""YOLO: a text file per image, a line per box: class number, then middle, width and height as shares of the image.

The images of a part are named in ``data.yaml``, or lie in images/PART beside labels/PART, or beside their text files with the
names of the classes in classes.txt or obj.names.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lamina.data.boxes import Annotated, Box, Found, beginning, part_called, text_of
from lamina.data.decoding import ENDINGS
from lamina.data.images import relative_name
from lamina.data.parts import PART_NAMES, listed
from lamina.errors import DataError
from lamina.findings import Finding

_NAMES = ("classes.txt", "obj.names", "labels.txt", "_darknet.labels")
_LINE = re.compile(rb"\s*\d+(\.0+)?([ \t]+[-+.\de]+){4,}[ \t]*(\r?\n|$)")
_LOOKED_AT = 2048  # bytes
_DESCRIPTION = 1_000_000
_TRIED = 100  # files: those of images that show nothing are empty
_ROW = "A line holds: class, middle x, middle y, width, height."


def is_yolo(path: Path, files: Sequence[Path] = ()) -> bool:
    """Whether a path is a data.yaml, or a folder with such files: among ``files``, text goes with images, and is numbers."""
    if path.is_file():
        return _describes(path)
    if _yaml_of(path) is not None:
        return True
    images = {file.stem for file in files if file.suffix.lower() in ENDINGS}
    texts = [file for file in files if file.suffix.lower() == ".txt" and file.stem in images][:_TRIED]
    if (path / "images").is_dir() and any(path / "labels" in file.parents for file in texts):
        return True
    return any(_LINE.match(beginning(file, _LOOKED_AT).lstrip(b"\xef\xbb\xbf")) for file in texts)


def read(path: Path) -> Found:
    """Read the images of all parts with their boxes.

    Raises:
        DataError: naming file and line.
    """
    file = path if path.is_file() else _yaml_of(path)
    root = path.parent if path.is_file() else path
    points: int | None = None
    if file is not None:
        names, folders, points = _described(file)
        said = f"YOLO annotations, described by {file.name}"
    else:
        folders = _folders(path)
        listed_names = _names_file([path, path / "labels", *(folder for _, folder in folders)])
        names = _lines(listed_names) if listed_names else {}
        said = "YOLO annotations" + (f", classes named by {listed_names.name}" if listed_names else "")
    images: list[Annotated] = []
    for part, place in folders:
        images += [_read(image, part, names, root, points) for image in _images(place, root)]
    if not images:
        raise DataError("there is no image in its folders.", str(file or path), "Check the paths in it.")
    notes = [f"{said}. An image without a text file shows nothing."]
    if not names:
        notes.append("No file names the classes, so their numbers are their names.")
    if any(part for part, _ in folders):
        notes.append(f"The split is the source's own: {listed(sorted({part for part, _ in folders if part}))}.")
    return Found(images, tuple(notes), tuple(_orphans(images, [place for _, place in folders], root)))


def _yaml_of(folder: Path) -> Path | None:
    """The file that describes a data set, if a folder has one."""
    for file in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        if _describes(file):
            return file
    return None


def _describes(file: Path) -> bool:
    """Whether a file is a YAML with names of classes and a training part."""
    if file.suffix.lower() not in (".yaml", ".yml"):
        return False
    content = beginning(file, _DESCRIPTION)
    return all(
        re.search(rb"(?m)^(\xef\xbb\xbf)?[{ ]*[\"']?" + key + rb"[\"']?\s*:", content) for key in (b"names", b"train")
    )


def _names_file(folders: Iterable[Path]) -> Path | None:
    """The file that names the classes, in the first folder that has one."""
    return next((folder / name for folder in folders for name in _NAMES if (folder / name).is_file()), None)


def _lines(file: Path) -> dict[int, str]:
    lines = [line.strip() for line in text_of(file).splitlines()]
    return {number: line for number, line in enumerate(lines) if line}


def _described(file: Path) -> tuple[dict[int, str], list[tuple[str, Path]], int | None]:
    """Class names by number; (part, folder or list) of each part; and how many numbers of key points follow each box."""
    import yaml  # type: ignore[import-untyped]

    try:
        content = yaml.safe_load(text_of(file))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        place = getattr(getattr(error, "problem_mark", None), "line", None)
        raise DataError(
            "it is no YAML.", f"{file}:{place + 1}" if place is not None else str(file), "Correct the line."
        ) from None
    if not isinstance(content, dict) or not isinstance(content.get("names"), list | dict):
        raise DataError('it has no "names".', str(file), "List the classes: names: [cat, dog].")
    names = _names(content["names"], file)
    base = file.parent
    if content.get("path"):
        said = Path(str(content["path"]))
        base = said if said.is_absolute() and said.is_dir() else file.parent / said
        base = base if base.is_dir() else file.parent  # written where the data lay on another machine
    folders = []
    for key, part in PART_NAMES.items():
        for entry in _each(content.get(key)):
            folders.append((part, _place(str(entry).replace("\\", "/"), base, file)))
    if not any(part == "train" for part, _ in folders):
        raise DataError('it has no "train".', str(file), "Name the folder of the training images: train: images/train.")
    return names, list(dict.fromkeys(folders)), _points(content.get("kpt_shape"), file)


def _names(given: list[Any] | dict[Any, Any], file: Path) -> dict[int, str]:
    """Class names by number."""
    pairs = dict(enumerate(given)) if isinstance(given, list) else given
    for number, name in pairs.items():
        if not re.fullmatch(r"\d+", str(number)) or name is None or isinstance(name, list | dict):
            raise DataError(
                f'"{number}: {name}" among its names is no number with a name.', str(file), "Write: 0: cat, 1: dog."
            )
    return {int(number): str(name) for number, name in pairs.items()}


def _points(shape: Any, file: Path) -> int | None:
    """How many numbers of key points follow each box; None where these are no poses."""
    if shape is None:
        return None
    if not (isinstance(shape, list) and len(shape) == 2 and all(type(size) is int and size > 0 for size in shape)):
        raise DataError(
            f"its kpt_shape is {shape!r}; it must be two whole numbers.",
            str(file),
            "Write how many key points there are, and how many numbers each has: kpt_shape: [17, 3].",
        )
    return int(shape[0] * shape[1])


def _each(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _place(entry: str, base: Path, file: Path) -> Path:
    """The folder or list that an entry names; exports often write one ``..`` too many."""
    for candidate in (base / entry, file.parent / entry, file.parent / entry.lstrip("./")):
        if candidate.exists():
            return candidate
    raise DataError(f'"{entry}" is not there.', str(file), "Paths are relative to `path`, or to the file.")


def _folders(root: Path) -> list[tuple[str, Path]]:
    """(part, folder) of images/train, train/images and the like; the root itself where there are no parts."""
    images = root / "images"
    inside = [folder for folder in sorted(images.iterdir()) if folder.is_dir()] if images.is_dir() else []
    inside += [folder for folder in sorted(root.iterdir()) if folder.is_dir()]
    parts = [(part_called(folder.name), folder) for folder in inside if part_called(folder.name)]
    return list(dict.fromkeys(parts)) or [("", images if images.is_dir() else root)]


def _images(place: Path, root: Path) -> list[Path]:
    """The images of a folder, at any depth, or of a list of paths, relative to the list or to the data set."""
    if place.is_dir():
        return sorted(path for path in place.rglob("*") if path.suffix.lower() in ENDINGS and path.name[0] != ".")
    named = [line.strip().replace("\\", "/") for line in text_of(place).splitlines() if line.strip()]
    return [root / name if (root / name).is_file() else place.parent / name for name in named]


def _read(image: Path, part: str, names: dict[int, str], root: Path, points: int | None) -> Annotated:
    """An image with the boxes of its text file; none where there is no file."""
    labels = _labels_of(image)
    boxes = []
    if labels is not None:
        for number, line in enumerate(text_of(labels).splitlines(), 1):
            if line.strip():
                where = f"{relative_name(str(labels), root)}:{number}"
                boxes.append((_box(line.split(), names, where, points), where))
    return Annotated(str(image.absolute()), part, boxes, relative=True)


def _labels_of(image: Path) -> Path | None:
    """The text file of an image: in labels/ where the image is in images/, or beside it."""
    places = [image.with_suffix(".txt")]
    folders = list(image.parts)
    for place in reversed(range(len(folders) - 1)):
        if folders[place] == "images":
            places.insert(0, Path(*folders[:place], "labels", *folders[place + 1 :]).with_suffix(".txt"))
            break
    return next((file for file in places if file.is_file()), None)


def _orphans(images: list[Annotated], places: list[Path], root: Path) -> Iterator[Finding]:
    """Text files of boxes, beside those that were read, that belong to no image."""
    used = {text for text in (_labels_of(Path(one.image)) for one in images) if text is not None}
    if not all(place.is_dir() for place in places):  # a list may leave images out on purpose
        return
    beside = sorted({text for folder in {file.parent for file in used} for text in folder.glob("*.txt")} - used)
    gone = [text for text in beside if _LINE.match(beginning(text, _LOOKED_AT).lstrip(b"\xef\xbb\xbf"))]
    if gone:
        yield Finding(
            "file.missing",
            "warning",
            f"{len(gone):,} text files of boxes have no image; they were left out.",
            "Put the images there, or remove the text files.",
            where=tuple(relative_name(str(text), root) for text in gone[:20]),
            count=len(gone),
        )


def _box(words: list[str], names: dict[int, str], where: str, points: int | None) -> Box:
    """A line as a box; of a pose that of the object, whose key points are ``points`` numbers."""
    try:
        kind, *numbers = map(float, words)
    except ValueError:
        raise DataError(f'"{" ".join(words)[:60]}" are no numbers.', where, _ROW) from None
    if not kind.is_integer() or kind < 0:
        raise DataError(f"its class is {words[0]}; it must be a whole number from 0.", where, _ROW)
    if names and int(kind) not in names:
        raise DataError(
            f"its class is {words[0]}, and there are {len(names)} classes, numbered from {min(names)} to {max(names)}.",
            where,
            "Correct the number, or name the class.",
        )
    label = names.get(int(kind), str(int(kind)))
    if points is not None:
        if len(numbers) != 4 + points:
            raise DataError(
                f"it has {len(words)} numbers, and by kpt_shape {5 + points}.", where, f"{_ROW[:-1]}, and key points."
            )
        numbers = numbers[:4]
    if len(numbers) >= 6 and len(numbers) % 2 == 0:  # a polygon
        return Box(label, min(numbers[0::2]), min(numbers[1::2]), max(numbers[0::2]), max(numbers[1::2]))
    if len(numbers) != 4:
        also = " A score, as predictions have, is no part of it." if len(numbers) == 5 else ""
        raise DataError(f"it has {len(words)} numbers.", where, _ROW + also)
    x, y, width, height = numbers
    return Box(label, x - width / 2, y - height / 2, x + width / 2, y + height / 2)
