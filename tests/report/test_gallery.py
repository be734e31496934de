import base64

import numpy as np
import sample_runs

from lamina.report import gallery


def test_only_a_png_becomes_a_picture() -> None:
    content = sample_runs.png(np.zeros((3, 5), np.uint8))
    seen = gallery.picture(base64.b64encode(content).decode())
    assert seen is not None
    assert (seen["width"], seen["height"], seen["small"]) == (5, 3, True)
    for broken in (
        "not base64!",
        base64.b64encode(b"GIF89a").decode(),
        base64.b64encode(content[:12]).decode(),
        None,
        7,
    ):
        assert gallery.picture(broken) is None


def test_a_matrix_tells_right_from_wrong_only_when_both_sides_are_the_same() -> None:
    exhibit = {"rows": ["a", "b"], "columns": ["a", "b"], "values": [[8, 2], [None, 0]]}
    drawn = gallery._matrix(exhibit)
    assert [[cell["right"] for cell in row] for row in drawn["cells"]] == [[True, False], [False, True]]
    assert [[cell["value"] for cell in row] for row in drawn["cells"]] == [["8", "2"], ["", ""]]
    assert drawn["cells"][0][0]["share"] == "80.0%"
    assert drawn["largest"] == [{"row": "a", "column": "b", "count": "2", "share": "20%"}]
    other = gallery._matrix({**exhibit, "columns": ["c", "d"]})
    assert not any(cell["right"] for row in other["cells"] for cell in row)
    assert [entry["count"] for entry in other["largest"]] == ["8", "2"]


def test_a_large_matrix_is_one_pixel_an_entry() -> None:
    names = [str(name) for name in range(40)]
    drawn = gallery._matrix({"rows": names, "columns": names, "values": np.eye(40).tolist()})
    assert drawn["cells"] is None
    assert (drawn["image"]["width"], drawn["image"]["height"]) == (40, 40)
