"""Drawing: boxes lie where they are said to lie, in the colour of their kind."""

import numpy as np

from lamina.data.drawing import COLOURS, Drawn, draw


def test_sides_are_drawn_in_the_colour_of_their_kind() -> None:
    plain = np.full((80, 120, 1), 200, np.uint8)
    drawn = draw(plain, [Drawn((10, 20, 60, 70), "", "right"), Drawn((70, 5, 110, 40), "", "missed")])
    assert drawn.shape == (80, 120, 3)
    assert (drawn[20, 10:61] == COLOURS["right"]).all()
    assert (drawn[20:71, 60] == COLOURS["right"]).all()
    side = (drawn[5, 70:110] == COLOURS["missed"]).all(1)
    assert 10 < side.sum() < 30  # dashed
    assert (drawn[30, 20:50] == 200).all()


def test_text_stands_above_a_box_or_inside_where_there_is_no_room() -> None:
    plain = np.zeros((60, 120, 3), np.uint8)
    below, above = (
        draw(plain, [Drawn((10, 2, 60, 50), "cat", "alarm")]),
        draw(plain, [Drawn((10, 40, 60, 50), "cat", "alarm")]),
    )
    assert (below[5:12, 12:24] == COLOURS["alarm"]).all(2).any()
    assert (above[30:38, 12:24] == COLOURS["alarm"]).all(2).any()


def test_boxes_beyond_the_picture_do_not_fail() -> None:
    draw(np.zeros((20, 20, 3), np.uint8), [Drawn((-5, -5, 50, 50), "x", "answer"), Drawn((3, 3, 3, 3), "y", "missed")])
