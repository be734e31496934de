"""Object detection: boxes go with their pictures, answers are boxes of the image, and come in the forms that were asked for."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lamina.batch import Batch
from lamina.data import detections, video
from lamina.data.box_targets import box_facts, box_targets
from lamina.data.boxes import Box
from lamina.data.data import Source
from lamina.data.ragged import Ragged
from lamina.errors import DataError
from lamina.networks import cnn
from lamina.tasks.object_detection import ObjectDetection
from trained import Trained

SHAPES = pytest.mark.parametrize("trained", ["object_detection"], indirect=True)
FACTS = {"classes": ["cat", "dog"], "side": 64, "channels": 3, "mean": [100.0] * 3, "deviation": [60.0] * 3}


def batch(count: int, objects: int = 2) -> Batch:
    """Pictures of noise, of images of 128 x 96 pixels, with boxes."""
    generator = torch.Generator().manual_seed(3)
    corner = torch.rand(count, objects, 2, generator=generator) * 50
    kinds = torch.randint(0, 2, (count, objects, 1), generator=generator)
    boxes = torch.cat([corner, corner + 30, kinds, torch.zeros_like(kinds)], 2)
    image = torch.randint(0, 255, (count, 64, 64, 3), generator=generator, dtype=torch.uint8)
    sizes = torch.tensor([[128.0, 96.0]]).expand(count, -1).contiguous()
    return Batch({"image": image, "size": sizes}, {"boxes": boxes, "boxes_lengths": torch.full((count,), objects)})


def test_the_square_is_as_large_as_small_objects_need() -> None:
    sizes = np.tile([[640.0, 480.0]], (20, 1))
    for share, side in ((0.5, 224), (0.06, 320), (0.01, 512)):
        answers = np.empty(20, dtype=object)
        answers[:] = [(Box("a", 0, 0, share * 640, share * 640),)] * 20
        assert ObjectDetection()._side(sizes, answers)[0] == side
    assert ObjectDetection()._side(sizes / 10, answers)[0] == 64  # never larger than the images
    assert ObjectDetection(side=96)._side(sizes, answers)[0] == 96


def test_targets_are_boxes_with_classes() -> None:
    answers = np.empty(3, dtype=object)
    answers[:] = [(Box("dog", 1, 2, 3, 4), Box("cat", 5, 6, 7, 8, ignored=True)), (), (Box("cat", 0, 0, 9, 9),)]
    facts = box_facts(answers)
    assert facts == {"classes": ["cat", "dog"], "class_counts": {"cat": 2, "dog": 1}}
    padded, lengths = Ragged.of(box_targets(answers, facts)["boxes"]).gather(torch.arange(3))
    assert lengths.tolist() == [2, 0, 1]
    assert padded[0].tolist() == [[1, 2, 3, 4, 1, 0], [5, 6, 7, 8, 0, 1]]
    with pytest.raises(DataError, match="bird"):
        box_targets([(Box("bird", 0, 0, 1, 1),)], facts)


def test_augmented_boxes_are_in_pixels_of_the_picture() -> None:
    task = ObjectDetection(flip=False, scale=1.0, mosaic=0.0, colour=0.0)
    given = batch(4)
    seen = task.augment(given, FACTS, torch.Generator().manual_seed(0))
    torch.testing.assert_close(seen.targets["boxes"][..., :4], given.targets["boxes"][..., :4] / 2)
    assert seen.inputs["size"].tolist() == [[64, 64]] * 4
    torch.testing.assert_close(seen.inputs["image"], given.inputs["image"].float())


def test_the_loss_is_the_same_whether_the_picture_or_its_boxes_are_scaled() -> None:
    torch.manual_seed(0)
    task = ObjectDetection(flip=False, scale=1.0, mosaic=0.0, colour=0.0)
    network = task.network(cnn.build(task.takes(FACTS), "tiny"), FACTS).eval()
    given = batch(4)
    seen = task.augment(given, FACTS, torch.Generator())
    one, two = (next(iter(task.losses(network, some))) for some in (given, seen))
    assert float(one.total.detach()) == pytest.approx(float(two.total.detach()), rel=1e-4)
    assert one.count == two.count == 8


def test_an_image_without_objects_has_a_loss_and_a_gradient() -> None:
    torch.manual_seed(0)
    task = ObjectDetection()
    network = task.network(cnn.build(task.takes(FACTS), "tiny"), FACTS)
    given = batch(3, objects=0)
    loss = next(iter(task.losses(network, task.augment(given, FACTS, torch.Generator().manual_seed(0)))))
    loss.total.backward()  # type: ignore[no-untyped-call]
    assert loss.count == 3
    assert all(bool(p.grad.isfinite().all()) for p in network.parameters() if p.grad is not None)


def test_boxes_end_where_the_image_ends() -> None:
    torch.manual_seed(0)
    task = ObjectDetection()
    network = task.network(cnn.build(task.takes(FACTS), "tiny"), FACTS).eval()
    torch.nn.init.constant_(network.head.score.bias, 2.0)  # type: ignore[union-attr, arg-type]
    found = task.outputs(network, batch(2).inputs)
    assert found.shape == (2, 100, 6)
    assert (found[..., 4] > 0).any()
    assert (found[..., 0] >= 0).all()
    assert (found[..., 2] <= 128).all()
    assert (found[..., 3] <= 96).all()


@SHAPES
def test_the_report_shows_the_boxes_that_the_network_learns(trained: Trained) -> None:
    task, given = trained.model.task, trained.feed.batch(torch.arange(12))
    varied = task.augment(given, trained.model.facts, torch.Generator().manual_seed(0))
    seen = task.seen(varied, trained.model.facts)
    assert seen is not None
    plain = varied.inputs["image"].clamp(0, 255).byte().numpy()
    changed = (seen != plain).any((1, 2, 3))
    assert np.array_equal(changed, varied.targets["boxes_lengths"].numpy() > 0)
    assert (trained.model.path / "pictures/augmented.png").exists()


@SHAPES
def test_the_threshold_is_settled_on_the_validation_part(trained: Trained) -> None:
    settled = trained.model.run.read("settled.json")
    assert trained.model.facts["settled"] == settled
    assert 0 < settled["threshold"] < 1
    answers = trained.model.predict(*trained.data.of("test").raws[:20])
    scores = [one["score"] for answer in answers for one in answer["prediction"]]
    assert scores
    assert min(scores) >= settled["threshold"] - 1e-4


@SHAPES
def test_answers_are_written_as_a_table_that_can_be_read_again(trained: Trained, tmp_path: Path) -> None:
    from lamina.answers import write_answers

    raws = trained.data.of("test").raws[:20]
    write_answers(trained.model.stream(raws), tmp_path / "boxes.csv", rows=trained.model.task.rows)
    rows = list(csv.DictReader((tmp_path / "boxes.csv").read_text().splitlines()))
    assert {"input", "class", "score", "left", "top", "right", "bottom"} <= set(rows[0])
    again = detections.read(Source(tmp_path / "boxes.csv"))
    said = [answer["prediction"] for answer in trained.model.predict(*raws)]
    assert sum(map(len, again.answers)) == sum(map(len, said))


@SHAPES
def test_answers_are_written_as_coco(trained: Trained, tmp_path: Path) -> None:
    raws = trained.data.of("test").raws[:9]
    assert trained.model.write(raws, tmp_path / "boxes.json") == (9, 0)
    content = json.loads((tmp_path / "boxes.json").read_text())
    assert [entry["file_name"] for entry in content["images"]] == list(raws)
    assert {entry["width"] for entry in content["images"]} == {64}
    said = [one for answer in trained.model.predict(*raws) for one in answer["prediction"]]
    assert len(content["annotations"]) == len(said)
    names = {category["id"]: category["name"] for category in content["categories"]}
    for annotation, one in zip(content["annotations"], said, strict=True):
        left, top, width, height = annotation["bbox"]
        assert [left, top, left + width, top + height] == pytest.approx(one["box"], abs=0.11)
        assert names[annotation["category_id"]] == one["class"]


@SHAPES
def test_answers_are_drawn_on_pictures_and_videos(trained: Trained, tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="OpenCV is an extra: pip install 'lamina[video]'")
    raws = list(trained.data.of("test").raws[:5])
    writer = video.Writer(tmp_path / "film.mp4", 5.0)
    for raw in raws:
        writer.add(np.asarray(Image.open(raw).convert("RGB").resize((96, 96))))
    writer.close()
    (tmp_path / "bad.png").write_text("no picture")
    done, failed = trained.model.write(
        [raws[0], tmp_path / "film.mp4", tmp_path / "bad.png", raws[0]], tmp_path / "out"
    )
    assert (done, failed) == (8, 1)
    stem = Path(raws[0]).stem
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [f"{stem}-2.png", f"{stem}.png", "film.mp4"]
    assert len(video.frames(tmp_path / "out" / "film.mp4")) == 5
    drawn = np.asarray(Image.open(tmp_path / "out" / f"{stem}.png"))
    assert drawn.shape == (64, 64, 3)


@SHAPES
def test_the_report_shows_what_was_missed(trained: Trained) -> None:
    result = trained.model.run.read("evaluation/test.json")
    kinds = {exhibit["title"]: exhibit for exhibit in result["exhibits"]}
    gallery = kinds["Worst mistakes"]
    assert gallery["items"]
    assert all("missed" in item["caption"] and "picture" in item["shown"] for item in gallery["items"])
