"""Calls a service with Triton's gRPC client and prints what it heard, as JSON.

A program of its own: `tritonclient.grpc` and `kserve` register the same messages, so that one
process cannot import both.

    python triton_grpc_client.py ADDRESS DATATYPE FILE OUTPUT…
"""

import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton

address, datatype, file, *outputs = sys.argv[1:]
is_bytes = datatype == "BYTES"
values = np.array([Path(file).read_bytes()], dtype=object) if is_bytes else np.load(file)
with triton.InferenceServerClient(address) as client:
    image = triton.InferInput("image", list(values.shape), datatype)
    image.set_data_from_numpy(values)
    answer = client.infer(
        "ctscan", [image], outputs=[triton.InferRequestedOutput(o) for o in outputs]
    )
    metadata = client.get_model_metadata("ctscan", as_json=True)
    heard = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready("ctscan"),
        "server": client.get_server_metadata(as_json=True),
        "metadata": metadata,
        "outputs": {
            name: [
                item.decode() if isinstance(item, bytes) else item
                for item in answer.as_numpy(name).ravel().tolist()
            ]
            for name in outputs
        },
        "version": answer.get_response().model_version,
    }
print(json.dumps(heard))
