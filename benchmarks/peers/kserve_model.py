"""A custom model on KServe's own server, as its documentation has it: V1, base64, one image a call.

It has no batching of its own; KServe's batcher is a container beside the model.
"""

import base64
import sys
from typing import Any

import kserve

from benchmarks.peers.network import answer, load_network, open_image, probabilities, to_tensor


class Classifier(kserve.Model):  # type: ignore[misc]  # the SDK is untyped
    def __init__(self) -> None:
        super().__init__("peer")
        self.network = load_network()
        self.ready = True

    async def predict(
        self, payload: dict[str, Any], headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        images = [base64.b64decode(item["image"]["b64"]) for item in payload["instances"]]
        rows = [to_tensor(open_image(image))[None] for image in images]
        return {"predictions": [answer(probabilities(self.network, row)[0]) for row in rows]}


if __name__ == "__main__":
    kserve.ModelServer(http_port=int(sys.argv[1]), enable_grpc=False).start([Classifier()])
