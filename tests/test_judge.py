"""The judge is the same whenever it is taught, tells classes or turns, and goes through JSON."""

import json

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from lamina import judge
from lamina.data.pictures import pixel_facts
from lamina.errors import DataError

DIGITS = load_digits()
PIXELS = (DIGITS.images[:600, :, :, None] * 15.9).astype(np.uint8)
LABELS = DIGITS.target[:600]


@pytest.fixture(scope="module")
def taught() -> dict[str, object]:
    return judge.learned(PIXELS, LABELS, pixel_facts(PIXELS))


def test_it_says_how_well_it_knows_what_it_learned(taught: dict[str, object]) -> None:
    assert "540 training pictures" in str(taught["said"])
    known = judge.restored(json.loads(json.dumps(taught)), pixel_facts(PIXELS))
    features, logits = known(torch.from_numpy(PIXELS))
    assert features.shape == (600, taught["width"])
    assert logits is not None
    assert float((logits.argmax(1).numpy() == LABELS).mean()) > 0.9
    assert not known.training


def test_the_same_pictures_give_the_same_judge_whatever_was_drawn_before(taught: dict[str, object]) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again = judge.learned(PIXELS, LABELS, pixel_facts(PIXELS))
    assert again == taught
    assert torch.equal(torch.get_rng_state(), before)


def test_without_classes_it_learns_how_far_pictures_are_turned() -> None:
    found = judge.learned(PIXELS, None, pixel_facts(PIXELS))
    assert "turned" in found["said"]
    known = judge.restored(found, pixel_facts(PIXELS))
    turned = torch.rot90(torch.from_numpy(PIXELS), 1, (1, 2))
    assert known(turned)[1] is None
    said = known.classifier(turned).argmax(1)  # type: ignore[union-attr, operator]
    assert float((said == 1).float().mean()) > 0.5


def test_a_classifier_that_saw_noise_only_knows_nothing() -> None:
    facts = pixel_facts(PIXELS) | {"side": 8, "classes": [str(kind) for kind in range(10)]}
    noise = torch.randint(0, 255, (600, 8, 8, 1), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    rows = torch.randperm(600, generator=torch.Generator().manual_seed(0))  # writers came one after the other
    labels = torch.from_numpy(LABELS)
    shares = []
    for pictures in (noise, torch.from_numpy(PIXELS)):
        classifier = judge.fresh(facts)
        judge.teach(classifier, lambda some, pictures=pictures: (pictures[some], labels[some]), rows[:500], 0)  # type: ignore[misc]
        shares.append(
            judge.accuracy(classifier, lambda some: (torch.from_numpy(PIXELS)[some], labels[some]), rows[500:])
        )
    assert shares[0] < 0.35
    assert shares[1] > 0.8


def test_inception_serves_by_a_file_of_its_weights(tmp_path: object) -> None:
    pytest.importorskip("torchvision")
    from pathlib import Path

    from safetensors.torch import save_file

    folder = Path(str(tmp_path))
    save_file(
        {name: tensor.contiguous() for name, tensor in judge.Inception().body.state_dict().items()},
        folder / "i.safetensors",
    )
    found = judge.inception(str(folder / "i.safetensors"))
    known = judge.restored(json.loads(json.dumps(found)), {})
    with torch.no_grad():
        features, logits = known(torch.from_numpy(PIXELS[:2]))
    assert features.shape == (2, 2048)
    assert logits is None


@pytest.mark.parametrize("content", [b"", b"not weights"])
def test_a_file_that_holds_no_weights_is_named(content: bytes, tmp_path: object) -> None:
    pytest.importorskip("torchvision")
    from pathlib import Path

    file = Path(str(tmp_path)) / "inception.pth"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"inception\.pth"):
        judge.inception(str(file))
