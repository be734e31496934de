"""Split: every example gets its part. In goes Data as read, out comes Data whose every part is known.

Parts that the source has stay as they are. A missing validation or test part is carved from the training part; the test
part is never used for anything but the last measurement.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from lamina.data.copies import coincidence_is_likely
from lamina.data.data import Data
from lamina.data.parts import listed
from lamina.errors import DataError, OptionError
from lamina.findings import Finding

SHARE = 0.15
"""Of the examples that are carved, for each of the other two parts."""
FEWEST = 10
"""Examples below which nothing can be learned and measured."""
MOST = {"valid": 5_000, "test": 10_000}
"""Examples that a carved part has at most: more would measure little better, and be missed in training."""
_BINS = 10


def complete(data: Data, seed: int, valid_share: float = SHARE, test_share: float = SHARE) -> Data:
    """Give every example a part.

    A part that is carved is stratified by class (by quantile, for numbers); examples with equal content stay together,
    unless rows of a table are equal by coincidence, as do examples of one group, and boxes of each class are in the training
    part; with times, the latest examples are the test part, those before them the validation part. What goes where follows
    from the seed and the examples' content, not from the order of files.

    Args:
        data: as read.
        seed: of what is carved.
        valid_share: of the examples that are carved, 0 to 1; at most ``MOST`` examples are taken.
        test_share: likewise.

    Returns:
        The examples in their order, with notes on what was done.

    Raises:
        DataError: there are too few examples, classes or groups.
        OptionError: shares that leave nothing to train on, or a split by group and by time at once.
    """
    if valid_share <= 0 or test_share <= 0 or valid_share + test_share >= 0.9:
        raise OptionError(f"shares of {valid_share} and {test_share} were given.", "split", "Leave most for training.")
    if data.groups is not None and data.times is not None:
        raise OptionError("a split by group and by time at once was asked for.", "--group, --time", "Choose one.")
    part = np.where(data.part == "", "train", data.part).astype("<U5")
    counts = {name: int((part == name).sum()) for name in ("train", "valid", "test")}
    carved = np.flatnonzero(part == "train")
    _refuse_too_few(data, carved)
    asked = {"test": 0.0 if counts["test"] else test_share, "valid": 0.0 if counts["valid"] else valid_share}
    shares = {name: min(share, MOST[name] / len(carved)) for name, share in asked.items()}
    if not any(shares.values()):
        return replace(data, part=part, notes=(*data.notes, "Training, validation and test part are the source's own."))
    if data.times is not None:
        part[carved] = _by_time(data.times[carved], shares)
    else:
        part[carved] = _at_random(data.take(carved), shares, seed)
    made = replace(data, part=part)
    for name, share in shares.items():
        if share and made.counts()[name] == 0:
            kind = "groups" if data.groups is not None else "examples"
            raise DataError(f"there are too few {kind} to carve a {name} part from.", "", f"Add {kind}.")
    if made.counts()["train"] == 0:
        raise DataError("nothing is left to train on.", "", "Add examples or groups.")
    how = "by time" if data.times is not None else f"at random (seed {seed})"
    return replace(
        made, notes=(*data.notes, *_notes(made, shares, how)), findings=(*data.findings, *_rare(data, carved))
    )


def _by_time(times: np.ndarray, shares: dict[str, float]) -> np.ndarray:
    """The part of each example: the latest test, those before validate; equal times stay together."""
    moments, index, counts = np.unique(times, return_inverse=True, return_counts=True)
    if len(moments) < 3:
        raise DataError(f"there are only {len(moments)} different times.", "--time", "Split at random or by group.")
    part_of_moment = np.full(len(moments), "train", dtype="<U5")
    end = len(moments)
    for name in ("test", "valid"):
        if shares[name]:
            wanted = shares[name] * len(times)
            taken = np.cumsum(counts[:end][::-1])
            number = int(np.abs(taken - wanted).argmin()) + 1
            number = min(number, end - 1)  # the earliest moment trains
            part_of_moment[end - number : end] = name
            end -= number
    part: np.ndarray = part_of_moment[index]
    return part


def _at_random(data: Data, shares: dict[str, float], seed: int) -> np.ndarray:
    """The part of each example, (examples,). Units (equal content or group) are dealt within strata."""
    if coincidence_is_likely(data.raws):
        data = replace(data, digests=_told_apart(data))
    units = _units(data)
    sizes = np.bincount(units)
    order = np.argsort(_shuffled(_least(data.digests, units), seed), kind="stable")
    strata = _strata(data.answers if data.balanced is None else data.balanced, units, len(sizes))
    part_of_unit = _dealt(strata, sizes, order, shares)
    if data.groups is not None:  # few large groups can leave a part empty; then balance gives way
        parts = set(part_of_unit)
        if "train" not in parts or any(share and name not in parts for name, share in shares.items()):
            part_of_unit = _dealt(np.zeros_like(strata), sizes, order, shares)
    part: np.ndarray = part_of_unit[units]
    _teach_every_class(data, part, units)
    return part


def _teach_every_class(data: Data, part: np.ndarray, units: np.ndarray) -> None:
    """Move a unit back to training for each class of boxes that no example there shows: the smallest that shows it."""
    if not isinstance(data.answers[0], tuple):
        return
    rows_of: dict[str, list[int]] = {}
    for row, boxes in enumerate(data.answers):
        for label in {box.label for box in boxes}:
            rows_of.setdefault(label, []).append(row)
    sizes = np.bincount(units)
    for _, rows in sorted(rows_of.items()):
        if not (part[rows] == "train").any():
            smallest = min(rows, key=lambda row: (sizes[units[row]], data.digests[row]))
            part[units == units[smallest]] = "train"


def _told_apart(data: Data) -> np.ndarray:
    """(examples,) uint64: digests of which equal ones are made different, by how many of them come before, in the order of
    answers and groups."""
    ties = [data.answers.astype(str)] + ([] if data.groups is None else [data.groups.astype(str)])
    order = np.lexsort((*ties, data.digests))
    starts = np.flatnonzero(np.r_[True, np.diff(data.digests[order]) != 0])
    before = np.arange(len(order)) - np.repeat(starts, np.diff(np.r_[starts, len(order)]))
    apart = data.digests.copy()
    apart[order] += before.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return apart


def _dealt(strata: np.ndarray, sizes: np.ndarray, order: np.ndarray, shares: dict[str, float]) -> np.ndarray:
    """The part of each unit: from each stratum, in random order, first the test part is filled, then the validation."""
    part = np.full(len(sizes), "train", dtype="<U5")
    in_stratum = order[np.argsort(strata[order], kind="stable")]
    for members in np.split(in_stratum, np.flatnonzero(np.diff(strata[in_stratum])) + 1):
        total, left = int(sizes[members].sum()), len(members)
        names = [name for name in ("test", "valid") if shares[name]]
        wanted = {name: max(1, round(shares[name] * total)) for name in names}
        for unit in members:
            for name in names:
                # Taken when that comes nearer to what is wanted, and a unit stays to train on.
                if left > 1 and wanted[name] > 0 and sizes[unit] <= 2 * wanted[name]:
                    part[unit] = name
                    wanted[name] -= int(sizes[unit])
                    left -= 1
                    break
    return part


def _units(data: Data) -> np.ndarray:
    """(examples,): the number of the unit that each belongs to; examples of a unit are never parted."""
    by_content = np.unique(data.digests, return_inverse=True)[1]
    if data.groups is None:
        return by_content
    by_group = np.unique(data.groups.astype(str), return_inverse=True)[1]
    root = np.arange(int(by_group.max()) + 1)  # groups that share an example are one: union-find

    def find(group: int) -> int:
        while root[group] != group:
            root[group] = root[root[group]]
            group = int(root[group])
        return group

    order = np.argsort(by_content, kind="stable")
    for before, after in pairwise(order.tolist()):
        if by_content[before] == by_content[after]:
            root[find(int(by_group[after]))] = find(int(by_group[before]))
    roots = np.array([find(group) for group in range(len(root))])
    return np.unique(roots[by_group], return_inverse=True)[1]


def _least(digests: np.ndarray, units: np.ndarray) -> np.ndarray:
    """(units,): the least digest of each; a name for the unit that depends on its content alone."""
    order = np.lexsort((digests, units))
    first = np.r_[True, np.diff(units[order]) > 0]
    least: np.ndarray = digests[order][first]
    return least


def _shuffled(digests: np.ndarray, seed: int) -> np.ndarray:
    """A random-looking number for each digest and seed: the finalizer of SplitMix64 (Steele, Lea & Flood 2014)."""
    mixed = digests.astype(np.uint64) ^ np.random.default_rng(seed).integers(0, 2**64, dtype=np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _strata(answers: np.ndarray, units: np.ndarray, count: int) -> np.ndarray:
    """(units,): the class that most of a unit's examples have; for numbers, the tenth of the range of ranks."""
    if answers.dtype.kind == "f":
        bins = max(1, min(_BINS, len(answers) // 20))
        sums = np.bincount(units, weights=answers, minlength=count)
        ranks = np.argsort(np.argsort(sums / np.bincount(units, minlength=count), kind="stable"), kind="stable")
        return ranks * bins // count
    classes = np.unique(answers.astype(str), return_inverse=True)[1]
    pairs, held = np.unique(np.stack([units, classes]), axis=1, return_counts=True)
    order = np.lexsort((held, pairs[0]))  # the last of a unit holds most
    last = np.r_[np.diff(pairs[0][order]) > 0, True]
    most: np.ndarray = pairs[1][order][last]
    return most


def _refuse_too_few(data: Data, carved: np.ndarray) -> None:
    where = str(data.where[0]) if len(data) else ""
    if len(data) and len(carved) == 0:
        what = f"there is a {data.part[0]} part, but none for training."
        raise DataError(
            what, where, "Name one part train, or name none; on this one, what was trained can be evaluated."
        )
    if len(data) < FEWEST:
        what = f"there are {len(data)} examples, {len(carved)} of them for training; at least {FEWEST} are needed."
        raise DataError(what, where, "Add examples.")
    if data.classified:
        classes, counts = np.unique(data.answers[carved].astype(str), return_counts=True)
        if counts.max() < 2:
            raise DataError(
                f"each of the {len(classes)} classes has one example for training; at least 2 are needed.",
                where,
                "Add examples of each class.",
            )


def _rare(data: Data, carved: np.ndarray) -> list[Finding]:
    """The finding that classes are too small to be in every part."""
    if not data.classified:
        return []
    classes, counts = np.unique(data.answers[carved].astype(str), return_counts=True)
    rare = [f"{name}: {count}" for name, count in zip(classes, counts, strict=True) if count < 3]
    if not rare:
        return []
    return [
        Finding(
            "class.few",
            "warning",
            f"{len(rare)} of {len(classes)} classes have fewer than 3 examples, too few for each part: {listed(rare, 5)}.",
            "Add examples of them, or leave those classes out.",
            where=tuple(rare[:20]),
            count=len(rare),
            evidence={"classes": len(classes), "fewer_than_3": len(rare)},
        )
    ]


def _notes(data: Data, shares: dict[str, float], how: str) -> list[str]:
    counts = data.counts()
    made = [name for name in ("valid", "test") if shares[name]]
    which = " and ".join({"valid": "validation", "test": "test"}[name] for name in made)
    kept = "" if shares["test"] else " The source's own test part was left alone."
    return [
        f"A {which} part was carved from the training part {how}: {counts['train']:,} train, {counts['valid']:,} "
        f"validate, {counts['test']:,} test.{kept}"
    ]
