"""Generating: what a run makes up, for people at a terminal, for programs, or into files.

Texts go to the terminal as they come, or into a file; pictures into one grid, or into a folder that training can read again.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from lamina.answers import write_whole
from lamina.data.making import write_files
from lamina.data.pictures import sheet
from lamina.errors import OptionError
from lamina.printing import print_json
from lamina.tasks.task import Picture, Piece
from lamina.watch import Watch

RULE = f"\n{'-' * 40}\n"
COLUMNS = 8  # of a grid, unless all classes come in turn
WIDEST = 20  # classes that stand side by side
CELL = 64  # pixels to which small pictures are enlarged in a grid

Made = Iterable[dict[int, Piece]]


def write_made(prompts: Sequence[str], made: Made, out: Path | None, run: str, as_json: bool, watch: Watch) -> None:
    """Write what a run makes up, piece by piece as it comes.

    Args:
        prompts: what was asked for.
        made: by the number of a prompt, what is added to it.
        out: where to; standard output otherwise.
        run: its directory, for programs.
        as_json: one JSON object on standard output.
        watch: who is told how far it is.

    Raises:
        OptionError: ``out`` is missing, or its ending does not fit.
    """
    pieces = iter(made)
    first = next(pieces, {})
    every = chain([first], pieces)
    if any(isinstance(piece, Picture) for piece in first.values()):
        if out is None:
            raise OptionError("pictures cannot be printed.", "--out", "Add --out grid.png, or the name of a folder.")
        _write_pictures(len(prompts), every, out, watch)
        if as_json:
            print_json({"run": run, "pictures": len(prompts), "out": str(out)})
        else:
            sys.stderr.write(f"{len(prompts):,} picture{'s' * (len(prompts) > 1)} in {out}\n")
    elif out is None:
        _print_texts(prompts, every, run, as_json)
    else:
        if out.suffix != ".txt":
            raise OptionError(f'its name ends in "{out.suffix}".', str(out), "Texts are written into a .txt file.")
        texts = list(_texts(prompts, every))[-1]
        write_whole(lambda path: (path.write_text(RULE.join(texts) + "\n", encoding="utf-8"), 0), out)
        if as_json:
            print_json({"run": run, "texts": len(texts), "out": str(out)})


def _write_pictures(count: int, made: Made, out: Path, watch: Watch) -> None:
    """One grid, or a file each; the grid's columns are the classes where each row has them all in turn."""
    if out.suffix not in (".png", ""):
        what = f'its name ends in "{out.suffix}".'
        remedy = "Pictures are written into one .png file, or into a folder, whose name has no ending."
        raise OptionError(what, str(out), remedy)
    pictures = _counted(count, made, watch)
    if out.suffix:
        content = _grid(list(pictures))
        write_whole(lambda path: (path.write_bytes(content), 0), out)
    else:
        write_whole(lambda path: (write_files(pictures, path), 0), out)


def _counted(count: int, made: Made, watch: Watch) -> Iterator[Picture]:
    """The pictures, one by one; it is told how many of how many there are."""
    done = 0
    for pieces in made:
        some = [piece for piece in pieces.values() if isinstance(piece, Picture)]
        yield from some
        done += len(some)
        watch.progress("making", done, count)


def _grid(pictures: list[Picture]) -> bytes:
    """All pictures in one, as the bytes of a PNG file."""
    turn = next((place for place, one in enumerate(pictures) if place and one.kind == pictures[0].kind), 0)
    columns = turn if COLUMNS / 2 < turn <= WIDEST else COLUMNS
    return sheet(np.stack([one.pixels for one in pictures]), min(columns, len(pictures)), CELL)


def _texts(prompts: Sequence[str], made: Made) -> Iterator[list[str]]:
    """The texts so far, after each step."""
    written = list(prompts)
    for pieces in made:
        for number, piece in pieces.items():
            written[number] += str(piece)
        yield written


def _print_texts(prompts: Sequence[str], made: Made, run: str, as_json: bool) -> None:
    """A single text as it comes, several one after the other, or one JSON object."""
    alone = len(prompts) == 1 and not as_json
    shown, written = 0, list(prompts)
    for written in _texts(prompts, made):
        if alone:
            sys.stdout.write(written[0][shown:])
            sys.stdout.flush()
            shown = len(written[0])
    if as_json:
        texts = [{"prompt": prompt, "text": text} for prompt, text in zip(prompts, written, strict=True)]
        print_json({"run": run, "texts": texts})
    elif alone:
        sys.stdout.write("\n")
    else:
        sys.stdout.write(RULE.join(text.strip("\n") for text in written) + "\n")
