from typing import Any

import pytest

from predictor.old_model import card_from_old, old_facts
from serving.card import IMAGENET_MEAN, IMAGENET_STD, Card, CardError

DIGEST = "ab" * 32


def card(**section: Any) -> Card:
    return card_from_old(old_facts(section), DIGEST)


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("cnn", "custom_cnn"),
        ("CustomCNN", "custom_cnn"),
        ("custom_cnn", "custom_cnn"),
        ("resnet", "resnet18"),
        ("ResNet18", "resnet18"),
        ("efficientnet_lite0", "efficientnet_lite0"),
    ],
)
def test_a_name_of_the_old_script_means_a_network(name: str, architecture: str) -> None:
    assert card(name=name).architecture == architecture


def test_what_the_section_leaves_out_is_what_the_old_script_took() -> None:
    made = card(name="resnet18")
    assert (made.input.height, made.input.width, made.input.channels) == (224, 224, 3)
    assert (made.mean, made.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert made.temperature == 1
    assert dict(made.precisions) == {"fp32": 0.0}
    assert made.weights_sha256 == DIGEST


def test_arguments_size_and_constants_come_from_the_section() -> None:
    made = card(
        name="cnn",
        num_classes=4,
        input_channels=1,
        hidden_dims=[8, 16],
        fc_hidden=32,
        dropout=0.5,
        batch_norm=False,
        image_size=96,
        normalize={"mean": [0.5], "std": [0.25]},
    )
    assert dict(made.arguments) == {
        "hidden_dims": [8, 16],
        "fc_hidden": 32,
        "dropout": 0.5,
        "batch_norm": False,
    }
    assert (made.input.height, made.input.channels) == (96, 1)
    assert (made.mean, made.std) == ((0.5,), (0.25,))


def test_keys_that_do_not_decide_the_answer_are_let_be() -> None:
    made = card(name="resnet18", pretrained=True, freeze_backbone=False, dropout=0.3)
    assert dict(made.arguments) == {}


@pytest.mark.parametrize(
    ("section", "text"),
    [
        ({"name": "dual_pathway_top_features"}, "dual_pathway_top_features.*radiomics.*bring"),
        ({"name": "Dual_Pathway"}, "Dual_Pathway"),
        ({"name": "vgg16"}, "model.name is 'vgg16', expected one of resnet18"),
        ({}, "model.name is None, expected one of resnet18"),
        ({"name": "cnn", "num_classes": 2}, "num_classes is 2, expected 4: adenocarcinoma"),
        ({"name": "cnn", "image_size": "${size}"}, "image_size is '\\${size}', expected a whole"),
        ({"name": "cnn", "image_size": True}, "image_size is True"),
        ({"name": "cnn", "input_channels": 0}, "input_channels is 0"),
        ({"name": "cnn", "input_channels": 2}, "channels is 2, expected 1 or 3"),
        ({"name": "cnn", "input_channels": 1}, "mean and std have 3 and 3 values"),
        ({"name": "cnn", "normalize": True}, "normalize is True, expected a mapping"),
        ({"name": "cnn", "normalize": [0.5]}, r"normalize is \[0.5\], expected a mapping"),
        ({"name": "cnn", "normalize": {"mean": 0.5}}, "normalize.mean is 0.5, expected a list"),
        ({"name": "cnn", "normalize": {"std": ["x"]}}, "normalize.std is"),
    ],
)
def test_a_section_that_cannot_be_served_is_refused(section: dict[str, Any], text: str) -> None:
    with pytest.raises(CardError, match=text):
        card(**section)
