"""What a predictor answers, for those that stand in for one."""

import numpy as np
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from numpy.typing import NDArray


def logits_answer(logits: NDArray[np.float32], version: str) -> pb.ModelInferResponse:
    """Logits [N,K] of the weights of that version as a V2 answer."""
    return pb.ModelInferResponse(
        model_name="ctscan",
        model_version=version,
        outputs=[{"name": "logits", "datatype": "FP32", "shape": list(logits.shape)}],
        raw_output_contents=[logits.tobytes()],
    )
