"""YOLO: a text file per image, a line per box: class number, then middle, width and height as shares of the image.

The images of a part are named in ``data.yaml``, or lie in images/PART beside labels/PART, or beside their text files with the
names of the classes in classes.txt or obj.names.
"""

from pathlib import Path
from typing import Any

from lamina.data.boxes import Annotated, Box, Found
from lamina.data.decoding import ENDINGS
from lamina.data.parts import PART_NAMES, listed
from lamina.errors import DataError

_NAMES = ("classes.txt", "obj.names", "labels.txt", "_darknet.labels")


def is_yolo(path: Path) -> bool:
    """Whether a path is a data.yaml, or a folder arranged so."""
    if path.is_file():
        return path.suffix.lower() in (".yaml", ".yml")
    if not path.is_dir():
        return False
    if _yaml_of(path) is not None or (_names_file(path) is not None and any(path.rglob("*.txt"))):
        return True
    return (path / "images").is_dir() and (path / "labels").is_dir()


def read(path: Path) -> Found:
    """Read the images of all parts with their boxes.

    Raises:
        DataError: naming file and line.
    """
    file = path if path.is_file() else _yaml_of(path)
    if file is not None:
        names, folders = _described(file)
        said = f"YOLO annotations, described by {file.name}"
    else:
        listed_names = _names_file(path)
        names = _lines(listed_names) if listed_names else {}
        folders = _folders(path)
        said = "YOLO annotations" + (f", classes named by {listed_names.name}" if listed_names else "")
    images: list[Annotated] = []
    for part, place in folders:
        images += [_read(image, part, names) for image in _images(place)]
    if not images:
        raise DataError("there is no image in its folders.", str(file or path), "Check the paths in it.")
    notes = [f"{said}."]
    if not names:
        notes.append("No file names the classes, so their numbers are their names.")
    if any(part for part, _ in folders):
        notes.append(f"The split is the source's own: {listed(sorted({part for part, _ in folders if part}))}.")
    return Found(images, tuple(notes))


def _yaml_of(folder: Path) -> Path | None:
    """The file that describes a data set, if a folder has one."""
    for file in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        if "names:" in file.read_text(encoding="utf-8-sig", errors="replace"):
            return file
    return None


def _names_file(folder: Path) -> Path | None:
    return next((folder / name for name in _NAMES if (folder / name).is_file()), None)


def _lines(file: Path) -> dict[int, str]:
    lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    return {number: line for number, line in enumerate(lines) if line}


def _described(file: Path) -> tuple[dict[int, str], list[tuple[str, Path]]]:
    """Class names by number, and (part, folder or list) of each part."""
    import yaml  # type: ignore[import-untyped]

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(getattr(error, "problem_mark", None), "line", None)
        raise DataError(
            "it is no YAML.", f"{file}:{place + 1}" if place is not None else str(file), "Correct the line."
        ) from None
    if not isinstance(content, dict) or not isinstance(content.get("names"), list | dict):
        raise DataError('it has no "names".', str(file), "List the classes: names: [cat, dog].")
    given = content["names"]
    pairs = enumerate(given) if isinstance(given, list) else given.items()
    names = {int(number): str(name) for number, name in pairs}
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
    return names, list(dict.fromkeys(folders))


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
    inside = [(images, folder) for folder in sorted(images.iterdir()) if folder.is_dir()] if images.is_dir() else []
    inside += [(root, folder) for folder in sorted(root.iterdir()) if folder.is_dir()]
    parts = [(PART_NAMES[folder.name.lower()], folder) for _, folder in inside if folder.name.lower() in PART_NAMES]
    return list(dict.fromkeys(parts)) or [("", images if images.is_dir() else root)]


def _images(place: Path) -> list[Path]:
    """The images of a folder, at any depth, or of a list of paths."""
    if place.is_dir():
        return sorted(path for path in place.rglob("*") if path.suffix.lower() in ENDINGS and path.name[0] != ".")
    lines = place.read_text(encoding="utf-8-sig").splitlines()
    return [place.parent / line.strip().replace("\\", "/") for line in lines if line.strip()]


def _read(image: Path, part: str, names: dict[int, str]) -> Annotated:
    """An image with the boxes of its text file; none where there is no file."""
    labels = _labels_of(image)
    boxes = []
    if labels is not None:
        for number, line in enumerate(labels.read_text(encoding="utf-8-sig").splitlines(), 1):
            if line.strip():
                boxes.append((_box(line.split(), names, f"{labels.name}:{number}"), f"{labels.name}:{number}"))
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


def _box(words: list[str], names: dict[int, str], where: str) -> Box:
    try:
        kind, *numbers = float(words[0]), *map(float, words[1:])
    except ValueError:
        raise DataError(
            f'"{" ".join(words)[:60]}" are no numbers.',
            where,
            "A line holds: class, middle x, middle y, width, height.",
        ) from None
    if names and int(kind) not in names:
        raise DataError(
            f"its class is {words[0]}, and there are {len(names)} classes, numbered from {min(names)} to {max(names)}.",
            where,
            "Correct the number, or name the class.",
        )
    label = names.get(int(kind), str(int(kind)))
    if len(numbers) >= 6 and len(numbers) % 2 == 0:  # a polygon
        return Box(label, min(numbers[0::2]), min(numbers[1::2]), max(numbers[0::2]), max(numbers[1::2]))
    if len(numbers) not in (4, 5):
        raise DataError(
            f"it has {len(words)} numbers.", where, "A line holds: class, middle x, middle y, width, height."
        )
    x, y, width, height = numbers[:4]
    return Box(label, x - width / 2, y - height / 2, x + width / 2, y + height / 2)
