"""BentoML: an adaptive batch of images, as its documentation has it."""

import bentoml
import torch
from PIL.Image import Image

from benchmarks.peers.network import BATCH_ROWS, answer, load_network, probabilities, to_tensor


@bentoml.service(traffic={"timeout": 60})
class Classifier:
    def __init__(self) -> None:
        self.network = load_network()

    @bentoml.api(route="/predict", batchable=True, max_batch_size=BATCH_ROWS, max_latency_ms=60000)  # type: ignore[untyped-decorator]
    def predict(self, file: list[Image]) -> list[dict[str, int | str]]:
        batch = torch.stack([to_tensor(image.convert("RGB")) for image in file])
        return [answer(row) for row in probabilities(self.network, batch)]
