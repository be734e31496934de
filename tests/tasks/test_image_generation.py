"""Image generation: what is read, what follows from what, both players' losses, and what is made."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from lamina import find, training
from lamina.batch import Batch
from lamina.data import making, unlabelled
from lamina.data.data import Source
from lamina.errors import DataError, OptionError
from lamina.layers import differentiable
from lamina.layers.players import as_pixels, judged, signed
from lamina.layers.shapes import Canvas
from lamina.networks import gan
from lamina.sampling import Sampling
from lamina.tasks.image_classification import ImageClassification
from lamina.tasks.image_generation import ImageGeneration
from trained import Trained

a_run = pytest.mark.parametrize("trained", ["image_generation"], indirect=True)


def write(folder: Path, count: int, side: int = 12, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    for index in range(count):
        pixels = generator.integers(0, 255, (side, side, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")


# --- reading ---


def test_a_folder_of_images_and_nothing_else_is_recognised(tmp_path: Path) -> None:
    write(tmp_path / "plain", 3)
    claim = ImageGeneration.claim(Source(tmp_path / "plain"))
    other = ImageClassification.claim(Source(tmp_path / "plain"))
    assert claim is not None
    assert other is None or claim.strength > other.strength
    (tmp_path / "plain" / "labels.csv").write_text("file,label\n")
    assert ImageGeneration.claim(Source(tmp_path / "plain")) is None
    write(tmp_path / "classes" / "a", 2)
    write(tmp_path / "classes" / "b", 2)
    assert ImageGeneration.claim(Source(tmp_path / "classes")) is None


def test_classes_are_there_on_wish_and_by_themselves(tmp_path: Path) -> None:
    write(tmp_path / "a", 3)
    write(tmp_path / "b", 2)
    source = Source(tmp_path)
    assert set(ImageGeneration().read(source).answers) == {"a", "b"}
    forgotten = ImageGeneration(classes=False).read(source)
    assert not forgotten.answered
    assert len(forgotten) == 5


def test_one_class_is_none_and_cannot_be_wished_for(tmp_path: Path) -> None:
    write(tmp_path / "only", 3)
    data = ImageGeneration().read(Source(tmp_path))
    assert len(data) == 3
    assert not data.answered
    assert [finding.kind for finding in data.findings] == []
    with pytest.raises(DataError, match="fewer than two"):
        ImageGeneration(classes=True).read(Source(tmp_path))


def test_parts_of_a_collection_are_kept(tmp_path: Path) -> None:
    write(tmp_path / "train", 3)
    write(tmp_path / "test", 2, seed=1)
    data = unlabelled.collection(Source(tmp_path))
    assert sorted(data.part.tolist()) == ["test", "test", "train", "train", "train"]


def test_an_array_of_pixels_needs_no_answers() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (7, 9, 9), dtype=np.uint8)
    data = ImageGeneration().read(Source(pixels))
    assert len(data) == 7
    assert not data.answered


def test_a_folder_cannot_be_split_by_a_column(tmp_path: Path) -> None:
    write(tmp_path / "plain", 3)
    with pytest.raises(OptionError, match="--group"):
        ImageGeneration().read(Source(tmp_path / "plain", group="who"))


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image"):
        ImageGeneration().read(Source(tmp_path))


@pytest.mark.parametrize("options", [{"side": 4}, {"vary": 2.0}, {"penalty": 0.0}])
def test_options_outside_of_their_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        ImageGeneration(**options)


# --- what stands beside a picture ---


def test_noise_follows_from_the_pixels_and_classes_come_as_often_as_they_do() -> None:
    images = np.random.default_rng(0).integers(0, 255, (2000, 4, 4, 1), dtype=np.uint8)
    together = making.beside(images, [30, 10], 8, 0.25)
    alone = making.beside(images[5:6], [30, 10], 8, 0.25)
    assert all(np.array_equal(alone[name][0], together[name][5]) for name in alone)
    assert abs(together["noise"].mean()) < 0.05
    assert abs(together["noise"].std() - 1) < 0.05
    assert (together["wanted"] == 0).mean() == pytest.approx(0.75, abs=0.04)
    assert together["variation"][:, differentiable.PENALTY].mean() == pytest.approx(1, abs=0.15)


def test_a_picture_has_noise_of_its_own_and_those_between_lie_on_the_way() -> None:
    whole = making.noises(3, 0, 9, 64)
    assert np.array_equal(making.noises(3, 4, 5, 64), whole[4:])
    assert not np.array_equal(making.noises(4, 0, 1, 64), whole[:1])
    way = making.noises(3, 0, 5, 64, between=3)
    assert np.array_equal(way[0], whole[0])
    assert np.array_equal(way[4], whole[1])
    lengths = np.linalg.norm(way, axis=1)
    assert lengths.min() > 0.9 * min(lengths[0], lengths[4])  # no shorter in the middle, as on a straight line
    apart = np.linalg.norm(np.diff(way, axis=0), axis=1)
    assert apart.max() < 1.3 * apart.min()


# --- augmentation through which gradients pass ---


def test_no_variation_changes_nothing_and_each_number_changes_something() -> None:
    pictures = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    none = torch.zeros(2, differentiable.COLUMNS)
    assert torch.equal(differentiable.varied(pictures, none), pictures)
    for column in range(1, differentiable.COLUMNS - 1):
        some = none.clone()
        some[0, column] = 0.12
        varied = differentiable.varied(pictures, some)
        assert not torch.allclose(varied[0], pictures[0]), column
        torch.testing.assert_close(varied[1], pictures[1])


def test_a_variation_moves_whole_pixels_and_hides_a_square() -> None:
    pictures = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    moved = torch.zeros(1, differentiable.COLUMNS)
    moved[0, differentiable.DOWN] = 2 / 16
    torch.testing.assert_close(differentiable.varied(pictures, moved)[..., 2:, :], pictures[..., :-2, :])
    hidden = torch.zeros(1, differentiable.COLUMNS)
    hidden[0, differentiable.HIDDEN_DOWN :] = 0.5
    assert int((differentiable.varied(pictures, hidden) == 0).sum()) == 64


def test_variations_are_differentiated_twice() -> None:
    variation = differentiable.drawn(3, 1.0, torch.Generator().manual_seed(0), torch.device("cpu")).double()
    pictures = torch.rand(
        3, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True
    )
    assert torch.autograd.gradgradcheck(lambda some: differentiable.varied(some, variation).sin(), (pictures,))


def test_pixels_go_to_the_players_and_back() -> None:
    image = torch.randint(0, 256, (2, 5, 5, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    there = signed(image)
    assert float(there.min()) >= -1
    assert float(there.max()) <= 1
    assert torch.equal(as_pixels(there), image)


# --- both players ---


def batch_of(trained: Trained, count: int = 16) -> Batch:
    return trained.feed.batch(trained.feed.batches(count, np.random.default_rng(0))[0])


@a_run
def test_the_discriminator_comes_first_and_each_loss_moves_its_player_only(trained: Trained) -> None:
    network, task = trained.model.network, trained.model.task
    network.zero_grad()
    told = []
    for loss in task.losses(network, batch_of(trained)):
        loss.total.backward()
        told.append(loss.player)
        moved = {
            name.partition(".")[0]
            for name, p in network.named_parameters()
            if p.grad is not None and bool(p.grad.any())
        }
        assert moved == {loss.player}
        network.zero_grad()
    assert told == ["discriminator", "generator"]
    assert all(parameter.requires_grad for parameter in network.get_submodule("discriminator").parameters())


@a_run
def test_the_penalty_is_the_squared_slope_of_both_pictures(trained: Trained) -> None:
    network, task, batch = trained.model.network, trained.model.task, batch_of(trained, 4)
    inputs = dict(batch.inputs)
    inputs["variation"] = torch.zeros_like(inputs["variation"])
    inputs["variation"][1, differentiable.PENALTY] = 4.0
    loss = next(task.losses(network, replace(batch, inputs=inputs)))
    label = batch.targets["label"]
    with torch.no_grad():
        made = network.generator(inputs["noise"], label)  # type: ignore[operator]
    slope = 0.0
    for pictures in (signed(inputs["image"]), made):
        one = pictures[1:2].double().requires_grad_()
        critic = network.get_submodule("discriminator").double()
        (gradient,) = torch.autograd.grad(critic(one, label[1:2]), one)
        critic.float()
        slope += float(gradient.square().sum())
    assert float(loss.terms["penalty"].detach()) == pytest.approx(network.penalty / 2 * 4.0 * slope, rel=1e-3)  # type: ignore[attr-defined]


@a_run
def test_the_judge_never_learns(trained: Trained) -> None:
    from lamina import judge

    facts = trained.model.facts
    fresh = judge.restored(facts["judge"], facts).state_dict()
    kept = trained.model.network.get_submodule("judge").state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in fresh.items())


# --- what is made ---


@a_run
def test_more_pictures_change_none_and_a_class_can_be_wished_for(trained: Trained) -> None:
    model = trained.model
    few, many = model.generate(*[""] * 3), model.generate(*[""] * 300)
    assert all(np.array_equal(one, other) for one, other in zip(few, many, strict=False))
    assert few[0].shape == (8, 8, 1)
    assert few[0].dtype == np.uint8
    assert not np.array_equal(few[0], model.generate("", wish=Sampling(seed=1))[0])
    kinds = [piece.kind for pieces in model.generation(["7", "", ""], Sampling()) for piece in pieces.values()]  # type: ignore[union-attr]
    assert kinds == ["7", "1", "2"]


@a_run
def test_what_cannot_be_made_is_refused(trained: Trained) -> None:
    with pytest.raises(OptionError, match="no class"):
        trained.model.generate("shoe")
    with pytest.raises(OptionError, match="tokens"):
        trained.model.generate("", wish=Sampling(top_k=5))


@a_run
def test_a_temperature_of_zero_makes_one_picture_for_each_class(trained: Trained) -> None:
    made = trained.model.generate("3", "3", wish=Sampling(temperature=0.0))
    assert np.array_equal(*made)
    assert not np.array_equal(*trained.model.generate("3", "3"))


@a_run
def test_an_answer_says_how_real_a_picture_is_beside_made_ones(trained: Trained) -> None:
    stored = load_file(trained.model.path / "evaluation" / "test.safetensors")["outputs"]
    shares = [answer["prediction"] for answer in trained.model.task.decode(stored, trained.model.facts)]
    assert 0 <= min(shares) <= max(shares) <= 1
    assert np.mean(shares) > 0.5  # real ones mostly have the higher score
    made = np.stack(trained.model.generate(*[""] * 100))
    assert np.mean([answer["prediction"] for answer in trained.model.predict(made)]) < np.mean(shares)


@a_run
def test_a_judge_that_knows_no_classes_says_none(trained: Trained) -> None:
    """As Inception: a picture is placed where it stands highest."""
    facts = trained.model.facts
    stored = load_file(trained.model.path / "evaluation" / "test.safetensors")["outputs"]
    known, width = trained.model.task.decode(stored, facts), facts["judge"]["width"]
    stored[:, 2 * width : 2 * width + 3 : 2] = 0  # what ``judged`` gives without logits
    blind = facts | {"judge": {"inception": "weights.pth", "width": width, "said": ""}}
    answers = trained.model.task.decode(stored, blind)
    assert all(set(answer) == {"prediction", "score"} for answer in answers)
    assert all(answer["prediction"] >= one["prediction"] for answer, one in zip(answers, known, strict=True))
    assert {answer["class"] for answer in known} == set(facts["classes"])
    assert set(trained.model.task.metrics(facts)) - set(trained.model.task.metrics(blind)) == {"recognised"}


@a_run
def test_the_proof_shows_what_made_pictures_teach_and_the_nearest_that_trained(trained: Trained) -> None:
    exhibits = {one["title"]: one for one in trained.model.run.read("evaluation/test.json")["exhibits"]}
    table = exhibits["What made pictures teach"]
    assert [row[0] for row in table["rows"]] == ["made pictures", "training pictures"]
    assert len(exhibits["Made pictures, and the nearest that trained"]["items"]) == 12
    assert len(exhibits["From one to another"]["items"]) == 4
    assert "Worst mistakes" not in exhibits  # features are no measure of how wrong a picture is
    assert all(epoch["samples"] for epoch in trained.model.run.records("epoch"))


@a_run
def test_each_step_draws_other_noise_and_penalises_other_pictures(trained: Trained) -> None:
    task, batch = trained.model.task, batch_of(trained, 400)
    one, two = (task.augment(batch, trained.model.facts, torch.Generator().manual_seed(seed)).inputs for seed in (1, 2))
    for inputs in (one, two):
        assert not torch.equal(inputs["noise"], batch.inputs["noise"])
        assert float(inputs["variation"][:, differentiable.PENALTY].mean()) == pytest.approx(1, abs=0.3)
    assert not torch.equal(one["noise"], two["noise"])
    assert not torch.equal(one["variation"], two["variation"])


def test_made_folders_can_be_trained_on_and_pictures_without_classes_can_be_made(tmp_path: Path) -> None:
    write(tmp_path / "plain", 60, 9)
    model = training.train(
        tmp_path / "plain", epochs=1, size="tiny", threads=1, precision="float32", out=tmp_path / "run"
    )
    assert find.name_of(type(model.task)) == "image_generation"
    assert "recognised" not in model.scores
    made = model.generate(*[""] * 5)
    assert making.write_files([(pixels, "") for pixels in made], tmp_path / "new") == 5
    assert len(list((tmp_path / "new").glob("*.png"))) == 5
    assert len(unlabelled.collection(Source(tmp_path / "new"))) == 5
    with pytest.raises(OptionError, match="without classes"):
        model.generate("rose")
    assert [answer["prediction"] >= 0 for answer in model.predict(tmp_path / "new")] == [True] * 5


@pytest.mark.parametrize("trained", ["image_generation"], indirect=True)
def test_slices_go_by_single_pictures_and_not_by_distances_of_distributions(trained: Trained) -> None:
    """Pictures of one class are far from all others by any distance; that is no fault of the network."""
    proof = trained.model.run.read("evaluation/test.json")
    assert next(iter(proof["scores"])) == "frechet_distance"
    titles = [row["columns"][2] for row in proof["exhibits"] if row["title"] == "Slices"]
    assert "frechet distance" not in titles
    assert all(0 <= one["value"] <= 1 for one in proof["slices"])  # a share of pictures
    assert "By frechet" not in proof["verdict"]


def test_classes_keep_their_numbers_where_features_are_in_bfloat16() -> None:
    class Judge(nn.Module):
        def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
            return torch.zeros(len(pictures), 2).bfloat16(), torch.nn.functional.one_hot(pictures.long(), 300)

    seen = judged(Judge(), torch.tensor([299, 3]), torch.tensor([257, 5]), torch.tensor([259, 7]))
    assert seen[:, -3:].tolist() == [[299, 259, 257], [3, 7, 5]]


@pytest.mark.parametrize("side", [28, 60, 100])
def test_the_discriminator_averages_two_by_two_cells_on_grids_of_any_side(side: int) -> None:
    network = gan.Discriminator(Canvas(1, side, 0), gan.SIZES["tiny"], 0.0)
    picture = torch.randn(2, 1, side, side, requires_grad=True)
    seen: list[tuple[int, ...]] = []
    for stage in network.stages:
        stage.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[-2:]))
    (slope,) = torch.autograd.grad(network.features(picture).sum(), picture, create_graph=True)
    slope.square().sum().backward()  # as the penalties do
    assert seen == [(grid, grid) for grid in network.grids]
    assert bool(picture.grad.isfinite().all())
