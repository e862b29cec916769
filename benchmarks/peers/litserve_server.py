"""LitServe: decoding and batching in its worker, as its documentation has it."""

import sys

import litserve
import numpy as np
import torch
from fastapi import Request
from numpy.typing import NDArray

from benchmarks.peers.network import (
    BATCH_ROWS,
    BATCH_WAIT_S,
    answer,
    load_network,
    open_image,
    probabilities,
    to_tensor,
)


class Classifier(litserve.LitAPI):  # type: ignore[misc]  # checked without this package
    def setup(self, device: str) -> None:
        self.network = load_network()

    def decode_request(self, request: Request) -> torch.Tensor:
        # What comes is the form of the request.
        return to_tensor(open_image(request["file"].file.read()))

    def batch(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(inputs)

    def predict(self, batch: torch.Tensor) -> NDArray[np.float32]:
        return probabilities(self.network, batch)

    def unbatch(self, output: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        return list(output)

    def encode_response(self, output: NDArray[np.float32]) -> dict[str, int | str]:
        return answer(output)


if __name__ == "__main__":
    api = Classifier(max_batch_size=BATCH_ROWS, batch_timeout=BATCH_WAIT_S)
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
