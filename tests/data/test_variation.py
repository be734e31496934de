"""Whether images are mirrored, and whether they are shifted, is decided by trials."""

import numpy as np
from sklearn.datasets import load_digits

from lamina.data.variation import mirror_trial, placing_trial, symmetry_trial


def test_digits_are_not_mirrored() -> None:
    digits = load_digits()
    pixels = (digits.images * 15.9).astype(np.uint8)[..., None]
    mirror, why = mirror_trial(pixels[:600], digits.target[:600])
    assert not mirror
    assert "mirrored" in why


def test_things_without_a_side_are_mirrored() -> None:
    generator = np.random.default_rng(0)
    pixels = generator.normal(128, 40, (200, 16, 16, 3))
    answers = np.where(np.arange(200) % 2, "bright", "dark")
    pixels[answers == "bright"] += 60
    assert mirror_trial(pixels.clip(0, 255).astype(np.uint8), answers)[0]


def test_an_arrow_left_is_no_arrow_right() -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 60, (200, 12, 12, 1), dtype=np.uint8)
    answers = np.where(np.arange(200) % 2, "left", "right")
    pixels[answers == "left", :, :4] += 150
    pixels[answers == "right", :, 8:] += 150
    assert not mirror_trial(pixels, answers)[0]


def test_where_nothing_can_be_told_images_are_mirrored_and_it_is_said() -> None:
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 255, (200, 12, 12, 1), dtype=np.uint8)
    mirror, why = mirror_trial(noise, np.arange(200) % 4)
    assert mirror
    assert "too little to tell" in why


def test_pictures_that_all_point_one_way_are_not_mirrored_where_pictures_shall_be_made() -> None:
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 100, (300, 16, 16, 1), dtype=np.uint8)
    assert symmetry_trial(noise)[0]
    pointing = noise.copy()
    pointing[:, 6:10, :6] += 100
    mirror, why = symmetry_trial(pointing)
    assert not mirror
    assert "mirrored" in why


def test_what_lies_in_the_same_place_everywhere_is_not_shifted() -> None:
    digits = (load_digits().images[:600] * 15.9).astype(np.uint8)[..., None]
    shifted, why = placing_trial(digits, 1)
    assert not shifted
    assert "shifted" in why
    generator = np.random.default_rng(0)
    anywhere = np.zeros((600, 24, 24, 1), np.uint8)
    for picture, digit, (down, across) in zip(anywhere, digits, generator.integers(0, 17, (600, 2)), strict=True):
        picture[down : down + 8, across : across + 8] = digit
    assert placing_trial(anywhere, 2)[0]


def test_one_axis_alone_in_which_all_lie_alike_does_not_decide() -> None:
    generator = np.random.default_rng(0)
    lines = np.zeros((400, 24, 24, 1), np.uint8)
    lines[:, 11:13] = 200  # always in the same row; across there is nothing to tell
    assert placing_trial(lines + generator.integers(0, 40, lines.shape, dtype=np.uint8), 2)[0]
