"""Image files: from the names that annotations give images to the files."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from lamina.data.boxes import Annotated, part_called
from lamina.data.decoding import ENDINGS
from lamina.data.images import relative_name
from lamina.errors import DataError

Nearness = tuple[float, ...]
"""How well a file fits what an annotation says of its image: the more, the better."""
SURE: Nearness = (math.inf,)
"""Of a file that lies where the annotation says."""


@dataclass(frozen=True)
class Claim:
    """That a file is the image of an annotation."""

    one: Annotated
    nearness: Nearness
    meant: str
    """What the annotation calls it: two that call it the same mean the same."""
    otherwise: str
    """Where it is looked for, and missed, where the file belongs to another annotation."""


def settle(claims: Iterable[Claim]) -> None:
    """Where annotations of different images were led to one file, since their names end alike, the nearest has it; the image
    of each other one is missing. Where several are equally near, it is nobody's."""
    rivals: dict[str, list[Claim]] = {}
    for claim in claims:
        rivals.setdefault(claim.one.image, []).append(claim)
    for group in rivals.values():
        highest = max(claim.nearness for claim in group)
        nearest = {claim.meant for claim in group if claim.nearness == highest}
        for claim in group:
            if claim.nearness < highest or (len(nearest) > 1 and highest != SURE):
                claim.one.image = claim.otherwise


class ImageFiles:
    """The images below a folder, by the names that annotations give them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.paths = sorted(path for path in self.folder.rglob("*") if path.suffix.lower() in ENDINGS)
        self._named: dict[str, list[Path]] = {}
        self._stems: dict[str, list[Path]] = {}
        for path in self.paths:
            if path.name[0] != ".":
                self._named.setdefault(path.name.lower(), []).append(path)
                self._stems.setdefault(path.stem.lower(), []).append(path)

    def named(self, name: str, annotation: Path, part: str = "") -> str | None:
        """The image of that name, which may begin with folders; None where there is none.

        Of several, the one whose folders are those of the name, then of the part, then nearest to the annotation.

        Raises:
            DataError: several are equally near.
        """
        return self._nearest(self._named.get(Path(name).name.lower(), []), name, annotation, part)

    def with_stem(self, stem: str, annotation: Path, part: str = "") -> str | None:
        """The image of that name whatever its ending, chosen as by ``named``."""
        return self._nearest(self._stems.get(stem.lower(), []), stem, annotation, part)

    def nearness(self, path: Path, name: str, annotation: Path, part: str = "") -> Nearness:
        """How many folders of a file are those of the name, whether it is in the part, and how near to the annotation it is."""
        below = path.relative_to(self.folder).parts[:-1]
        same = _alike(path.parts[-2::-1], Path(name).parts[-2::-1])
        in_part = bool(part) and part in map(part_called, below)
        return same, in_part, _alike(path.parts, annotation.absolute().parts)

    def _nearest(self, paths: list[Path], name: str, annotation: Path, part: str) -> str | None:
        if len(paths) < 2:
            return str(paths[0]) if paths else None

        paths = sorted(paths, key=lambda path: self.nearness(path, name, annotation, part), reverse=True)
        if len({self.nearness(path, name, annotation, part) for path in paths[:2]}) == 1:
            twice = " and ".join(relative_name(str(path), self.folder) for path in paths[:2])
            raise DataError(
                f'"{name}" may be {twice}.',
                str(annotation),
                "Give images names of their own, or write the folder, too.",
            )
        return str(paths[0])


def _alike(one: Sequence[str], other: Sequence[str]) -> int:
    """How many names two paths have in common, from their beginning."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))
