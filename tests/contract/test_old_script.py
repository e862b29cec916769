"""A user of the old script: its weights, its Hydra-style configuration, its variables."""

import io
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torchvision import models, transforms

from serving.card import CLASSES, IMAGENET_MEAN, IMAGENET_STD
from serving.phantom import phantom
from tests.contract.doors import image_request, infer
from tests.contract.services import Predictor, Transformer
from tests.contract.slices import probabilities, row_of
from tests.images import colours


class Backboned(torch.nn.Module):
    """The old script's network: torchvision's ResNet-18 as `backbone`."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = models.resnet18(weights=None, num_classes=len(CLASSES))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.backbone(x)
        return logits


def old_probabilities(network: torch.nn.Module, data: bytes) -> list[float]:
    """What the old script answered, by torchvision alone."""
    prepare = transforms.Compose(
        [
            transforms.Resize((224, 224)),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )
    image = Image.open(io.BytesIO(data)).convert("RGB")
    with torch.inference_mode():
        shares: list[float] = network(prepare(image)[None]).softmax(1)[0].tolist()
    return shares


def encoded(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], kind: str) -> bytes:
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, kind)
    return target.getvalue()


def test_old_weights_and_configuration_give_the_old_answers(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = Backboned().eval()
    # Far from all alike, as a trained network's answers are.
    with torch.no_grad():
        network.backbone.fc.weight *= 8
    configs = tmp_path / "configs"
    (configs / "model").mkdir(parents=True)
    (configs / "data").mkdir()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    config = configs / "config.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "defaults": ["_self_", {"model": "resnet18"}, {"data": "chest_ct"}],
                "train": {"epochs": 3, "seed": "${oc.env:NO_SUCH_VARIABLE}"},
                "wandb": {"mode": "offline"},
            }
        )
    )
    (configs / "model" / "resnet18.yaml").write_text(
        "name: resnet18\nnum_classes: 4\npretrained: true\nfreeze_backbone: false\n"
    )
    (configs / "data" / "chest_ct.yaml").write_text("image_size: 224\nbatch_size: 32\n")

    predictor = Predictor(tmp_path / "model.pt", config, tmp_path / "p.log", sockets=tmp_path)
    transformer = Transformer(config, tmp_path, predictor.http_address, predictor.grpc_address)
    for process in (predictor, transformer):
        process.start()
    try:
        predictor.wait_ready()
        transformer.wait_ready()
        files = [
            encoded(phantom(1), "PNG"),
            encoded(phantom(2, 300, 411), "JPEG"),
            encoded(colours(), "PNG"),
        ]
        with transformer.client() as client:
            for data in files:
                assert_like_the_old_script(client, data, old_probabilities(network, data))
        assert_cam_on_request(predictor, files[0])
    finally:
        statuses = [transformer.stop(), predictor.stop()]
    assert statuses == [0, 0]


def assert_like_the_old_script(client: httpx.Client, data: bytes, expected: list[float]) -> None:
    said = client.post("/predict", files={"file": data}).json()
    assert said["pred_index"] == int(np.argmax(expected))
    assert said["pred_class"] == CLASSES[said["pred_index"]]
    assert probabilities(said) == pytest.approx(expected, abs=1e-3)


def assert_cam_on_request(predictor: Predictor, data: bytes) -> None:
    """Class activation maps beside logits where the network has them and the call selects them."""
    row = row_of(data, 224)[np.newaxis]
    with grpc.insecure_channel(predictor.grpc_address) as channel:
        answer = infer(
            channel,
            image_request(
                [],
                inputs=[{"name": "image", "datatype": "UINT8", "shape": list(row.shape)}],
                outputs=[{"name": "cam"}, {"name": "logits"}],
                raw_input_contents=[row.tobytes()],
            ),
        )
    assert [output.name for output in answer.outputs] == ["cam", "logits"]
    cam, logits = (np.frombuffer(raw, np.float32) for raw in answer.raw_output_contents)
    assert list(answer.outputs[0].shape) == [1, 4, 7, 7]
    # The map's mean is the class's logit but for the bias.
    spread = logits - cam.reshape(4, -1).mean(1)
    assert spread.std() < logits.std()
