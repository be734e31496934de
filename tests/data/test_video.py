"""Videos: what is written is read again, frame by frame, in any order."""

from pathlib import Path

import numpy as np
import pytest

from lamina.data import video
from lamina.data.pictures import gather
from lamina.data.video import Frame
from lamina.errors import DataError

pytest.importorskip("cv2", reason="OpenCV is an extra: pip install 'lamina[video]'")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames, each lighter than the one before, and red on the left."""
    file = tmp_path_factory.mktemp("film") / "film.mp4"
    writer = video.Writer(file, 10.0)
    for number in range(12):
        pixels = np.full((48, 64, 3), 20 * number, np.uint8)
        pixels[:, :32, 1:] = 0
        writer.add(pixels)
    writer.close()
    return file


def test_frames_are_counted_and_read_in_any_order(film: Path) -> None:
    frames = video.frames(film)
    assert frames == [Frame(str(film), number) for number in range(12)]
    assert video.rate(film) == pytest.approx(10)
    wanted = [frames[3], frames[4], frames[9], frames[2]]
    for frame, pixels in zip(wanted, video.read(wanted), strict=True):
        assert pixels.shape == (48, 64, 3)
        assert abs(float(pixels[:, 40:].mean()) - 20 * frame.number) < 8
        if frame.number > 5:
            assert pixels[:, :24, 0].mean() > pixels[:, :24, 2].mean() + 50  # red first


def test_frames_are_gathered_among_pictures(film: Path) -> None:
    pixels = np.zeros((2, 4, 5, 3), np.uint8)
    raws, where = gather([pixels, film, "a.png", pixels[0]], films=True)
    assert where.tolist() == [
        "image 0", "image 1", *(f"{film}:{number}" for number in range(12)), "a.png", "image 2",
    ]  # fmt: skip
    assert raws[2:14].tolist() == video.frames(film)
    assert np.shape(raws[-1]) == (4, 5, 3)


def test_files_that_are_no_videos_are_refused(tmp_path: Path) -> None:
    (tmp_path / "no.mp4").write_text("no video")
    with pytest.raises(DataError, match=r"no\.mp4"):
        video.frames(tmp_path / "no.mp4")
    with pytest.raises(DataError, match="no such file"):
        video.frames(tmp_path / "none.mp4")
