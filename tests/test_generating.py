"""What a run makes up goes where it was asked to go, whole, or is refused with the reason."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lamina.errors import OptionError
from lamina.generating import write_made
from lamina.tasks.task import Picture, Piece
from lamina.watch import Quiet


def painted(count: int, kinds: tuple[str, ...] = ("a", "b/c", "d", "e", "f")) -> Iterator[dict[int, Piece]]:
    for start in range(0, count, 4):
        yield {
            index: Picture(np.full((5, 5, 3), index, dtype=np.uint8), kinds[index % len(kinds)])
            for index in range(start, min(count, start + 4))
        }


def make(made: Iterator[dict[int, Piece]], out: Path | None, prompts: int = 10, as_json: bool = False) -> None:
    write_made([""] * prompts, made, out, "runs/r", as_json, Quiet())


def test_a_grid_has_all_classes_side_by_side(tmp_path: Path) -> None:
    make(painted(10), tmp_path / "grid.png")
    grid = Image.open(tmp_path / "grid.png")
    cell = 5 * (64 // 5)
    assert grid.size == (5 * (cell + 4) - 4, 2 * (cell + 4) - 4)
    assert grid.getpixel((2 * (cell + 4) + 3, cell + 4 + 3)) == (7, 7, 7, 255)


def test_a_folder_has_class_folders_that_training_reads_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from lamina.data.data import Source
    from lamina.data.images import image_folders

    make(painted(10), tmp_path / "made", as_json=True)
    assert json.loads(capsys.readouterr().out) == {"run": "runs/r", "pictures": 10, "out": str(tmp_path / "made")}
    data = image_folders(Source(tmp_path / "made"))
    assert sorted(set(data.answers)) == ["a", "b_c", "d", "e", "f"]
    assert len(data) == 10


def test_without_classes_files_are_numbered(tmp_path: Path) -> None:
    make(painted(6, ("",)), tmp_path / "made", 6)
    assert [file.name for file in sorted((tmp_path / "made").iterdir())] == [f"{n:05d}.png" for n in range(1, 7)]


@pytest.mark.parametrize("name", [None, "grid.jpg", "full"])
def test_pictures_go_nowhere_else(name: str | None, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("mine")
    with pytest.raises(OptionError, match=r"out|grid\.jpg|already"):
        make(painted(3), None if name is None else tmp_path / name, 3)
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["precious.txt"]


def test_texts_are_joined_in_a_file_and_nowhere_else(tmp_path: Path) -> None:
    made: list[dict[int, Piece]] = [{0: "x", 1: "y"}, {1: "z"}]
    make(iter(made), tmp_path / "texts.txt", 2)
    assert (tmp_path / "texts.txt").read_text() == f"x\n{'-' * 40}\nyz\n"
    with pytest.raises(OptionError, match=r"\.txt"):
        make(iter(made), tmp_path / "texts.png", 2)


def test_one_text_appears_as_it_comes_and_several_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    write_made(["It"], iter([{0: " was"}, {0: " dark"}]), None, "r", False, Quiet())
    assert capsys.readouterr().out == "It was dark\n"
    write_made(["a", "b"], iter([{0: "1", 1: "2"}]), None, "r", False, Quiet())
    assert capsys.readouterr().out == f"a1\n{'-' * 40}\nb2\n"
    write_made(["a"], iter([{0: "1"}]), None, "r", True, Quiet())
    assert json.loads(capsys.readouterr().out) == {"run": "r", "texts": [{"prompt": "a", "text": "a1"}]}
    write_made(["alone"], iter([]), None, "r", False, Quiet())
    assert capsys.readouterr().out == "alone\n"


def test_classes_whose_folders_are_alike_lose_no_picture_and_none_leaves_the_folder(tmp_path: Path) -> None:
    make(painted(12, ("b/c", "b_c", "..")), tmp_path / "made", 12)
    assert sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.png")) == [
        *[f"made/_/{number:05d}.png" for number in range(1, 5)],
        *[f"made/b_c/{number:05d}.png" for number in range(1, 9)],
    ]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def broken() -> Iterator[dict[int, Piece]]:
        yield from painted(4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(broken(), tmp_path / "made")
    assert list(tmp_path.iterdir()) == []
