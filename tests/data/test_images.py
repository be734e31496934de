"""Images: layouts of folders, tables and arrays of them, and decoding of every mode and kind of damage."""

import io
import os
import struct
import warnings
import zlib
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from lamina.data.data import Source
from lamina.data.decoding import MOST_PIXELS
from lamina.data.images import decode, image_arrays, image_column, image_folders, image_size_and_mode, survey
from lamina.data.pictures import sheet
from lamina.errors import DataError, OptionError


def picture(file: Path, colour: object = "red", size: tuple[int, int] = (8, 6), mode: str = "RGB") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(file)  # type: ignore[arg-type]
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(["cats/a.png", "cats/deep/b.png", "dogs/c.PNG", "dogs/d.png"]):
        picture(tmp_path / name, (number, 0, 0))
    return tmp_path


def test_class_folders_without_parts(folder: Path) -> None:
    (folder / "cats" / "Thumbs.db").write_bytes(b"x")
    (folder / "cats" / "notes.txt").write_bytes(b"x")
    (folder / ".hidden").mkdir()
    data = image_folders(Source(str(folder)))
    assert data.where.tolist() == ["cats/a.png", "cats/deep/b.png", "dogs/c.PNG", "dogs/d.png"]
    assert data.answers.tolist() == ["cats", "cats", "dogs", "dogs"]
    assert set(data.part) == {""}
    assert all(os.path.isabs(path) for path in data.raws)
    assert len(set(data.digests)) == 4
    assert any("1 files" in note and "notes.txt" in note for note in data.notes)


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "VALIDATION", "testing"), ("TRAIN", "dev", "Test")]
)
def test_parts_by_any_of_their_names(tmp_path: Path, names: tuple[str, str, str]) -> None:
    for number, name in enumerate(names):
        for kind in ("cats", "dogs"):
            picture(tmp_path / name / kind / "1.png", (number, 0, 0))
    picture(tmp_path / "other" / "x.png")
    data = image_folders(Source(tmp_path))
    assert data.counts() == {"train": 2, "valid": 2, "test": 2}
    assert data.part.tolist() == ["train"] * 2 + ["valid"] * 2 + ["test"] * 2
    assert any("left out: other" in note for note in data.notes)


def test_equal_files_have_equal_digests(folder: Path) -> None:
    (folder / "dogs" / "copy.png").write_bytes((folder / "cats" / "a.png").read_bytes())
    data = image_folders(Source(folder))
    digest = dict(zip(data.where, data.digests, strict=True))
    assert digest["dogs/copy.png"] == digest["cats/a.png"] != digest["dogs/d.png"]


def test_a_folder_in_a_folder_is_entered(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outer = tmp_path_factory.mktemp("outer")
    folder.rename(outer / "unpacked")
    assert image_folders(Source(outer)).where[0] == "unpacked/cats/a.png"


def test_links_that_go_round_are_survived(folder: Path) -> None:
    (folder / "cats" / "round").symlink_to(folder / "cats", target_is_directory=True)
    assert len(image_folders(Source(folder))) == 4


def test_one_class_and_empty_class_are_findings(folder: Path) -> None:
    (folder / "birds").mkdir()
    assert [(f.kind, f.severity, f.where) for f in image_folders(Source(folder)).findings] == [
        ("class.empty", "warning", ("birds",))
    ]
    for file in (folder / "dogs").iterdir():
        file.unlink()
    kinds = {f.kind: f.severity for f in image_folders(Source(folder)).findings}
    assert kinds == {"class.empty": "warning", "class.single": "stop"}


def test_a_test_folder_without_classes_is_left_out_and_said(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "a" / "1.png")
    picture(tmp_path / "train" / "b" / "1.png")
    picture(tmp_path / "test" / "1.png")
    data = image_folders(Source(tmp_path))
    assert [f.kind for f in data.findings] == ["file.unused"]
    assert data.counts()["test"] == 0


def test_refused_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="empty"):
        image_folders(Source(tmp_path))
    with pytest.raises(DataError, match="not a folder"):
        image_folders(Source(tmp_path / "nowhere"))
    picture(tmp_path / "1.png")
    with pytest.raises(
        DataError, match=r"1 images \(such as 1.png\) that are in no class folder.*one folder per class"
    ):
        image_folders(Source(tmp_path))
    (tmp_path / "cats").mkdir()
    with pytest.raises(DataError, match="no image in any"):
        image_folders(Source(tmp_path))
    picture(tmp_path / "test" / "cats" / "1.png")
    with pytest.raises(DataError, match="none for training"):
        image_folders(Source(tmp_path))
    picture(tmp_path / "train" / "dogs" / "1.png")
    with pytest.raises(DataError, match='test part has a class "cats" that the training part lacks'):
        image_folders(Source(tmp_path))


def test_a_table_of_paths(folder: Path) -> None:
    table = folder / "labels.csv"
    table.write_text(
        f"file,kind,fold\ncats/a.png,cat,1\n{folder}/dogs/d.png,dog,2\ndogs/gone.png,dog,1\ndogs/c.PNG,,1\n"
    )
    data = image_column(Source(table, target="kind", group="fold"))
    assert data.answers.tolist() == ["cat", "dog"]
    assert data.where.tolist() == ["labels.csv:2", "labels.csv:3"]
    assert data.groups is not None
    assert data.groups.tolist() == ["1", "2"]
    found = {f.kind: f for f in data.findings}
    assert found["file.missing"].where == ("labels.csv:4: dogs/gone.png",)
    assert found["target.missing"].where == ("labels.csv:5",)
    assert decode(data.raws[1], 4, 3).shape == (4, 4, 3)


def test_a_table_of_paths_can_be_split_by_time(folder: Path) -> None:
    table = folder / "labels.csv"
    table.write_text(
        "file,kind,day\ncats/a.png,cat,2024-03-01\ndogs/gone.png,dog,2024-01-01\ndogs/d.png,dog,2024-02-01\n"
    )
    times = image_column(Source(table, target="kind", time="day")).times
    assert times is not None
    assert times.astype("datetime64[D]").tolist() == [date(2024, 3, 1), date(2024, 2, 1)]
    table.write_text("file,kind,day\ncats/a.png,cat,2024-03-01\ndogs/d.png,dog,\n")
    for option in ("group", "time"):
        with pytest.raises(DataError, match=rf"labels\.csv:3.*\(--{option}\)"):
            image_column(Source(table, target="kind", **{option: "day"}))


def test_classes_in_a_table_of_paths_may_be_numbers(folder: Path) -> None:
    files = [str(folder / name) for name in ("cats/a.png", "dogs/d.png", "dogs/d.png")]
    data = image_column(Source(pl.DataFrame({"file": files, "kind": [7.0, None, 8.0]}), target="kind"))
    assert data.answers.tolist() == ["7", "8"]


def test_refused_tables_of_paths(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("file,kind\na.png,cat\nb.png,dog\n")
    with pytest.raises(DataError, match="none of the 2 paths"):
        image_column(Source(table, target="kind"))
    with pytest.raises(DataError, match="--target kind"):
        image_column(Source(table))
    with pytest.raises(OptionError, match='Did you mean "kind"'):
        image_column(Source(table, target="kinds"))
    table.write_text("file,kind\na.doc,cat\nb.doc,dog\n")
    with pytest.raises(DataError, match="no column holds paths"):
        image_column(Source(table, target="kind"))


@pytest.mark.parametrize(
    ("pixels", "shape", "brightest"),
    [
        (np.full((3, 4, 5), 200, np.uint8), (3, 4, 5), 200),
        (np.full((3, 4, 5, 3), 0.5, np.float32), (3, 4, 5, 3), 128),
        (np.full((3, 3, 4, 5), 200.4), (3, 4, 5, 3), 200),
        (np.full((3, 4, 5), 65535, np.uint16), (3, 4, 5), 255),
        (np.ones((3, 4, 5), bool), (3, 4, 5), 255),
        (np.full((3, 4, 5), 7), (3, 4, 5), 7),
    ],
)
def test_arrays(pixels: np.ndarray, shape: tuple[int, ...], brightest: int) -> None:
    data = image_arrays(Source((pixels, [0.0, 1.0, 1.0])))
    assert data.raws.shape == shape
    assert data.raws.dtype == np.uint8  # type: ignore[union-attr]
    assert data.raws.max() == brightest  # type: ignore[union-attr]
    assert data.answers.tolist() == ["0", "1", "1"]
    assert decode(data.raws[0], 2, 3).shape == (2, 2, 3)


@pytest.mark.parametrize(
    ("pixels", "answers", "message"),
    [
        (np.zeros((3, 4)), [1, 2, 3], "shape"),
        (np.zeros((3, 5, 4, 7)), [1, 2, 3], "channels"),
        (np.zeros((3, 4, 4)), [1, 2], "3 images"),
        (np.zeros((3, 4, 4)), [1, None, 2], r"answers\[1\]"),
        (np.full((3, 4, 4), 300.0), [1, 2, 3], "300"),
        (np.full((3, 4, 4), np.nan), [1, 2, 3], "image 0"),
    ],
)
def test_refused_arrays(pixels: np.ndarray, answers: list[object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        image_arrays(Source((pixels, answers)))
    with pytest.raises(DataError, match="pair"):
        image_arrays(Source(pixels))


def test_decode_cuts_the_middle_out(tmp_path: Path) -> None:
    pixels = np.zeros((30, 90, 3), np.uint8)
    pixels[:, 30:60] = (10, 20, 30)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert (decode(tmp_path / "a.png", 30, 3) == (10, 20, 30)).all()
    assert decode(tmp_path / "a.png", 10, 1).shape == (10, 10, 1)


@pytest.mark.parametrize(("mode", "colour", "seen"), [
    ("1", 1, 255), ("L", 100, 100), ("P", 3, None), ("CMYK", (0, 0, 0, 0), 255), ("LA", (0, 0), 255),
    ("RGBA", (0, 0, 0, 0), 255), ("RGBA", (0, 0, 0, 255), 0), ("I;16", 65535, 255), ("I;16", 32896, 128), ("F", 0.5, 128),
])  # fmt: skip
def test_decode_every_mode(tmp_path: Path, mode: str, colour: object, seen: int | None) -> None:
    file = tmp_path / ("a.tif" if mode in ("CMYK", "F") else "a.png")
    picture(file, colour, (8, 8), mode)
    for channels in (1, 3):
        pixels = decode(file, 4, channels)
        assert pixels.shape == (4, 4, channels)
        assert pixels.dtype == np.uint8
        assert seen is None or (pixels == seen).all()


def test_decode_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(tmp_path / "a.png", transparency=0)
    assert (decode(tmp_path / "a.png", 4, 3) == 255).all()


def test_decode_turns_by_exif(tmp_path: Path) -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8] = 255  # light above
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right by 90 degrees: light comes to the right
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    seen = decode(tmp_path / "a.jpg", 16, 1)[..., 0]
    assert seen[:, :6].max() < 50 < 200 < seen[:, 10:].min()


def test_decode_the_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (decode(tmp_path / "a.gif", 4, 3) == 255).all()


def test_a_large_jpeg_is_decoded_at_a_smaller_scale_to_the_same_picture(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:1024, :1024]
    pixels = np.stack([rows // 4, columns // 4, (rows + columns) // 8], 2).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    seen, exact = decode(tmp_path / "a.jpg", 32, 3), decode(pixels, 32, 3)
    assert np.abs(seen.astype(int) - exact).mean() < 2


def test_refused_images(tmp_path: Path) -> None:
    whole = picture(tmp_path / "a.jpg", size=(200, 200)).read_bytes()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.jpg")
    Image.fromarray(noise).save(tmp_path / "noise.png")
    cases = {"truncated.jpg": (tmp_path / "noise.jpg").read_bytes()[:-900], "text.jpg": b"hello", "empty.png": b""}
    broken = bytearray((tmp_path / "noise.png").read_bytes())
    broken[2000] ^= 255
    cases |= {"broken.png": bytes(broken), "header.jpg": whole[:30]}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError) as caught:
            decode(tmp_path / name, 8, 3)
        assert caught.value.where.endswith(name)
        assert name not in caught.value.what
        assert "image" in caught.value.what or "empty" in caught.value.what
    with pytest.raises(DataError, match="no such file"):
        decode(tmp_path / "gone.png", 8, 3)


@pytest.mark.parametrize("side", [30_000, 13_200])
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, side: int) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # as importing the module does outside of tests
        with pytest.raises(DataError, match=r"million pixels.*Shrink it"):
            decode(tmp_path / "bomb.png", 8, 3)
    assert side * side > MOST_PIXELS


def test_header_and_survey(folder: Path) -> None:
    paths = np.array([str(folder / "cats" / "a.png"), str(folder / "gone.png")], dtype=object)
    assert image_size_and_mode(paths[0]) == (8, 6, "RGB")
    assert survey(paths) == [(8, 6, "RGB")]
    assert len(survey(np.array([paths[0]] * 1000, dtype=object), most=10)) == 10
    assert survey(np.zeros((3, 4, 5), np.uint8)) == [(5, 4, "L")] * 3


def test_a_sheet_holds_pictures_side_by_side_however_wide_they_are() -> None:
    for height, width, columns in ((8, 8, 8), (96, 200, 3), (200, 50, 8), (96, 2000, 1)):
        pixels = np.random.default_rng(0).integers(0, 255, (9, height, width, 1), dtype=np.uint8)
        page = np.asarray(Image.open(io.BytesIO(sheet(pixels))))
        factor = max(1, 96 // height)
        high, wide = height * factor + 4, width * factor + 4
        assert page.shape == (-(-9 // columns) * high - 4, columns * wide - 4, 2)
        last = page[-(high - 4) :: factor, (8 % columns) * wide :: factor][:, :width, 0]
        assert np.array_equal(last, pixels[8, :, :, 0])
