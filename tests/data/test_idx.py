"""IDX files: read as distributed, and every way in which they can be damaged."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from lamina.data.data import Source
from lamina.data.idx import idx, is_idx
from lamina.errors import DataError


def idx_bytes(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(folder: Path, prefix: str, count: int, packed: bool = True, dot: str = "-") -> None:
    pixels = np.arange(count * 6, dtype=np.uint8).reshape(count, 2, 3)
    labels = np.arange(count, dtype=np.uint8) % 2
    for name, array in ((f"{prefix}-images{dot}idx3-ubyte", pixels), (f"{prefix}-labels{dot}idx1-ubyte", labels)):
        content = idx_bytes(array)
        (folder / (name + (".gz" if packed else ""))).write_bytes(gzip.compress(content) if packed else content)


@pytest.mark.parametrize(("packed", "dot", "test"), [(True, "-", "t10k"), (False, ".", "test")])
def test_read_as_distributed(tmp_path: Path, packed: bool, dot: str, test: str) -> None:
    write(tmp_path, "train", 4, packed, dot)
    write(tmp_path, test, 2, packed, dot)
    assert is_idx(tmp_path)
    data = idx(Source(tmp_path))
    assert data.raws.shape == (6, 2, 3)
    assert data.raws[1].tolist() == [[6, 7, 8], [9, 10, 11]]
    assert data.answers.tolist() == ["0", "1", "0", "1", "0", "1"]
    assert data.part.tolist() == ["train"] * 4 + ["test"] * 2
    assert data.where[5] == f"{test}-images{dot}idx3-ubyte{'.gz' if packed else ''}:1"
    assert data.digests[0] == data.digests[4] != data.digests[1]


def test_refused_files(tmp_path: Path) -> None:
    assert not is_idx(tmp_path)
    with pytest.raises(DataError, match="no train-images"):
        idx(Source(tmp_path))
    write(tmp_path, "train", 4, packed=False)
    images, labels = tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte"
    whole = images.read_bytes()
    images.write_bytes(whole[:-1])
    with pytest.raises(DataError, match="promises 24 values, there are 23"):
        idx(Source(tmp_path))
    images.write_bytes(b"\x00\x00\x0d\x03" + whole[4:])
    with pytest.raises(DataError, match="00 00 0d 03"):
        idx(Source(tmp_path))
    images.write_bytes(whole)
    labels.write_bytes(idx_bytes(np.zeros(3, np.uint8)))
    with pytest.raises(DataError, match="4 images, but 3 labels"):
        idx(Source(tmp_path))
    labels.unlink()
    with pytest.raises(DataError, match="labels is not there"):
        idx(Source(tmp_path))
    images.unlink()
    write(tmp_path, "train", 4)
    packed = tmp_path / "train-images-idx3-ubyte.gz"
    packed.write_bytes(packed.read_bytes()[:20])
    with pytest.raises(DataError, match="cannot be read"):
        idx(Source(tmp_path))


def test_a_label_that_training_lacks_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "train", 1)
    write(tmp_path, "t10k", 2)
    with pytest.raises(DataError, match="labels 1 that the training part lacks"):
        idx(Source(tmp_path))


def test_one_class_is_a_finding(tmp_path: Path) -> None:
    write(tmp_path, "train", 1)
    assert [f.kind for f in idx(Source(tmp_path)).findings] == ["class.single"]
