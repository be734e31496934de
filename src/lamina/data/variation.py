"""Variation: which changes leave an image one that could have been there? Trials on the training images decide whether
images are mirrored, and whether they are shifted."""

import numpy as np

SIDE = 12  # of the shrunken pictures
KEPT = 0.6  # share of its accuracy that the classifier must keep on mirrored pictures
TRIED = 4000  # images at most that are mirrored to see whether it shows
SYMMETRIC = 0.6  # share of right guesses from which it does; half are right by chance
CHANCE = 1.5  # times chance that it must reach at all, or nothing can be told
PLACED = 0.8  # share of right guesses from which things lie alike: centred ones 0.9 to 1, photographs 0.5 to 0.6 (docs/log.md)


def mirror_trial(pixels: np.ndarray, answers: np.ndarray) -> tuple[bool, str]:
    """Train a ridge classifier on half of the images; compare it on the other half as they are, and mirrored.

    A mirrored flower is a flower, and the classifier finds it nearly as often. A mirrored 2 is no digit, and it does not.

    Args:
        pixels: (images, side, side, channels) uint8.
        answers: (images,) class names.

    Returns:
        Whether to mirror, and why, in words.
    """
    labels = np.unique(answers.astype(str), return_inverse=True)[1]
    order = np.random.default_rng(0).permutation(len(labels))
    train, judge = order[: len(order) // 2], order[len(order) // 2 :]
    if len(train) < 20:
        return True, "there are too few images for a trial"
    small = _shrunk(pixels)
    straight = _accuracy(small[train], labels[train], small[judge], labels[judge])
    mirrored = _accuracy(small[train], labels[train], small[judge][:, :, ::-1], labels[judge])
    said = f"a linear classifier finds {straight:.0%} of the classes in images as they are and {mirrored:.0%} in mirrored ones"
    guess = np.bincount(labels).max() / len(labels)
    if straight < CHANCE * guess:
        return True, f"{said}, which is too little to tell, and for photographs it helps"
    return mirrored >= KEPT * straight, said


def symmetry_trial(pixels: np.ndarray) -> tuple[bool, str]:
    """Mirror half of the images, and let a ridge classifier tell which; it learns from one half, and is asked about the other.

    Where pictures shall be made, a mirrored one must not only be of its class: it must be one that could have been there. A
    shoe that points to the right is a shoe; but in a catalogue in which all point to the left there is none.

    Args:
        pixels: (images, side, side, channels) uint8.

    Returns:
        Whether to mirror, and why, in words.
    """
    chosen = np.random.default_rng(0).permutation(len(pixels))[:TRIED]
    mirrored = np.arange(len(chosen)) % 2
    small = _shrunk(pixels[chosen])
    shown = np.where(mirrored[:, None, None, None] == 1, small[:, :, ::-1], small)
    half = len(chosen) // 2
    if half < 20:
        return True, "there are too few images for a trial"
    right = _accuracy(shown[:half], mirrored[:half], shown[half:], mirrored[half:])
    return right < SYMMETRIC, f"a linear classifier tells mirrored images from others in {right:.0%} of the cases"


def placing_trial(pixels: np.ndarray, farthest: int) -> tuple[bool, str]:
    """Shift half of the images one way and half the other; a ridge classifier tells which, both across and down.

    A thing can stand anywhere in a photograph. But where a catalogue, a scanner or a program has put each one into the same
    place, a shifted one is like none that will be asked about, and learning from it costs accuracy.

    Args:
        pixels: (images, side, side, channels) uint8.
        farthest: how many pixels a shift goes, below the side.

    Returns:
        Whether to shift, and why, in words.
    """
    chosen = np.random.default_rng(0).permutation(len(pixels))[:TRIED]
    half = len(chosen) // 2
    if half < 20:
        return True, "there are too few images for a trial"
    there, back = slice(2 * farthest, None), slice(None, -2 * farthest)
    odd = np.arange(len(chosen)) % 2
    edges = [(0, 0), (farthest, farthest), (farthest, farthest), (0, 0)]
    padded = np.pad(pixels[chosen], edges, mode="reflect")  # as training shifts
    middle = padded[:, farthest:-farthest], padded[:, :, farthest:-farthest]
    right = []
    for one, other in (
        (middle[0][:, :, there], middle[0][:, :, back]),
        (middle[1][:, there], middle[1][:, back]),
    ):
        small = _shrunk(np.where(odd[:, None, None, None] == 1, one, other))
        right.append(_accuracy(small[:half], odd[:half], small[half:], odd[half:]))
    told = sum(right) / len(right)
    return told < PLACED, f"a linear classifier tells which way they were shifted in {told:.0%} of the cases"


def _shrunk(pixels: np.ndarray) -> np.ndarray:
    """(images, at most SIDE, at most SIDE, channels): means over blocks."""
    side = pixels.shape[1]
    block = max(1, side // SIDE)
    kept = side // block * block
    start = (side - kept) // 2  # cut alike on both sides, so that mirroring stays mirroring
    cut = pixels[:, start : start + kept, start : start + kept]
    rows = np.add.reduceat(cut, np.arange(0, kept, block), axis=1, dtype=np.uint32)
    sums = np.add.reduceat(rows, np.arange(0, kept, block), axis=2, dtype=np.uint32)
    shrunk: np.ndarray = sums / block**2
    return shrunk


def _accuracy(train: np.ndarray, labels: np.ndarray, judge: np.ndarray, truth: np.ndarray) -> float:
    """Of ridge regression on one-hot classes (Hoerl & Kennard 1970)."""
    mean = train.mean(0)
    known, asked = ((part - mean).reshape(len(part), -1) for part in (train, judge))
    scale = known.std() or 1.0
    gram = known @ known.T / scale**2
    penalty = 0.1 * np.trace(gram) / len(gram) + 1e-9
    weights = np.linalg.solve(gram + penalty * np.eye(len(gram)), np.eye(labels.max() + 1)[labels])
    return float((np.argmax(asked @ known.T / scale**2 @ weights, 1) == truth).mean())
