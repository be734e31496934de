"""IDX: the file format of MNIST and its successors. In goes a folder, out comes Data whose raws are the pixels.

The format (LeCun, Cortes & Burges 1998): two zero bytes, a byte for the type, a byte for the number of dimensions, each
dimension as a big-endian 32-bit number, then the values.
"""

import gzip
import re
import struct
import zlib
from pathlib import Path

import numpy as np

from lamina.data.data import Data, Part, Source
from lamina.data.images import digests_of_rows
from lamina.data.parts import listed, single_class
from lamina.errors import DataError

_NAME = re.compile(r"(train|t10k|test)[-_.](images|labels)[-_.]idx[13][-_.]ubyte(\.gz)?$", re.IGNORECASE)
_PARTS: dict[str, Part] = {"train": "train", "t10k": "test", "test": "test"}
_UNSIGNED_BYTE = 8


def is_idx(path: Path | None) -> bool:
    """Whether a folder holds the images of an IDX training part; looks at names only."""
    return path is not None and path.is_dir() and ("train", "images") in _files(path)


def idx(source: Source) -> Data:
    """Read the IDX files of a folder, such as ``train-images-idx3-ubyte.gz`` with ``train-labels-idx1-ubyte.gz``.

    Args:
        source: its path is the folder.

    Returns:
        Data whose raws are (examples, height, width) uint8 and whose answers are "0", "1", ...

    Raises:
        DataError: a file is missing, truncated or of another format, or images and labels differ in number.
    """
    folder = source.path
    if folder is None or not is_idx(folder):
        raise DataError("there is no train-images-idx3-ubyte[.gz].", str(source.where)[:200], "Name the folder of it.")
    files = _files(folder)
    pixels, labels, where, parts = [], [], [], []
    for part in ("train", "test"):
        if (part, "images") not in files:
            continue
        images = files[part, "images"]
        if (part, "labels") not in files:
            raise DataError("the file of its labels is not there.", str(images), "Put it into the same folder.")
        pixels.append(_read(images, dimensions=3))
        labels.append(_read(files[part, "labels"], dimensions=1))
        count = len(pixels[-1])
        if count != len(labels[-1]):
            raise DataError(f"{count:,} images, but {len(labels[-1]):,} labels.", str(images), "Get both files again.")
        where += [f"{images.name}:{row}" for row in range(count)]
        parts += [part] * count
    if len({array.shape[1:] for array in pixels}) > 1:
        raise DataError(f"image sizes differ: {listed(a.shape[1:] for a in pixels)}.", str(folder), "Get them again.")
    raws = np.concatenate(pixels)
    answers = np.concatenate(labels).astype(str).astype(object)
    _refuse_untrained(answers, np.array(parts), folder)
    return Data(
        raws=raws,
        answers=answers,
        where=np.array(where, dtype=object),
        part=np.array(parts),
        digests=digests_of_rows(raws),
        notes=(
            f"IDX files: {len(raws):,} grey images of {raws.shape[2]} x {raws.shape[1]} pixels "
            f"in {len(set(answers))} classes; the split is the source's own.",
        ),
        findings=tuple(single_class(answers)),
    )


def _files(folder: Path) -> dict[tuple[Part, str], Path]:
    """(part, "images" or "labels") -> file; of a file and its .gz the plain one is taken."""
    found: dict[tuple[Part, str], Path] = {}
    for file in sorted(folder.iterdir()):
        matched = _NAME.search(file.name)
        if matched is None or file.name.startswith(".") or not file.is_file():
            continue
        key = (_PARTS[matched[1].lower()], matched[2].lower())
        if key in found and found[key].name + ".gz" != file.name:
            raise DataError(
                f"{found[key].name} and {file.name} are both {key[0]} {key[1]}.",
                str(folder),
                "Keep one set per folder.",
            )
        found.setdefault(key, file)
    return found


def _read(file: Path, dimensions: int) -> np.ndarray:
    """The values of a file, uint8. Raises DataError when it is not what it must be."""
    again = "Get the file again."
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"the file cannot be read ({error}).", str(file), again) from None
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != bytes((0, 0, _UNSIGNED_BYTE, dimensions)):
        raise DataError(
            f"it begins with {content[:4].hex(' ')}; an IDX file of bytes in {dimensions} dimensions begins with "
            f"00 00 08 0{dimensions}.",
            str(file),
            again,
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    expected = int(np.prod(shape, dtype=object))
    if len(content) - header != expected or not expected:
        raise DataError(
            f"its header promises {expected:,} values, there are {len(content) - header:,}.", str(file), again
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _refuse_untrained(answers: np.ndarray, parts: np.ndarray, folder: Path) -> None:
    untrained = sorted(set(answers) - set(answers[parts == "train"]))
    if untrained:
        raise DataError(
            f"the test part has labels {listed(untrained)} that the training part lacks.", str(folder), "Get it again."
        )
