"""The last steps: the golden slice through the ingress, over REST and over gRPC."""

import struct
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import grpc
import httpx

from ctscan.doctor.answers import disagreement, read_prediction, refused, wrong_probabilities
from ctscan.doctor.case import Case
from ctscan.doctor.finding import Finding, Rank, Remark, failed, found, note, unknown
from ctscan.doctor.picture import golden_slice
from serving.card import CLASSES
from serving.settings import MODEL_NAME

# The service's own deadline is 30 s by default: its answer says more than a timeout of ours.
TIMEOUT_S = 35.0
# Pods that have just become ready are found within seconds.
TRIES = 3
LONGEST_WAIT_S = 5.0


def rest(case: Case) -> Finding:
    """`POST /predict` through the ingress."""
    host, ingress = case.host.get(), case.ingress.get()
    _need_transformer(case)
    headers = {**dict(case.options.headers), "Host": host}
    try:
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False) as client:
            answer = _post(client, f"{ingress}/predict", headers, host)
    except httpx.HTTPError as error:
        return found(ingress, [_no_answer(ingress, type(error).__name__)])
    if answer.status_code != 200:
        remark = refused(answer.status_code, answer.headers, answer.content, host)
        return found(f"POST {ingress}/predict", [remark])
    try:
        probabilities, version = read_prediction(answer.content)
    except ValueError as error:
        what = f"an answer came, but {error}"
        return found(f"POST {ingress}/predict", [failed(what, "see the images above")])
    case.prediction.learn(probabilities)
    seconds = answer.elapsed.total_seconds()
    label = max(probabilities, key=lambda name: probabilities[name])
    return found(
        f"POST /predict: {label} at {probabilities[label]:.1%} by version {version}, "
        f"{seconds * 1000:.0f} ms"
    )


def _post(client: httpx.Client, url: str, headers: Mapping[str, str], host: str) -> httpx.Response:
    """The answer to the golden slice; asked again where the service says that it may."""
    image = golden_slice()
    for attempt in range(TRIES):
        answer = client.post(
            url,
            files={"file": ("slice.png", image, "image/png")},
            headers=headers,
            extensions={"sni_hostname": host},
        )
        wait = answer.headers.get("retry-after", "")
        if not wait.isdigit() or attempt == TRIES - 1:
            break
        time.sleep(min(float(wait), LONGEST_WAIT_S))
    return answer


def _need_transformer(case: Case) -> None:
    """Raises NotTried where pods were looked at and no transformer is ready."""
    if case.pods.known:
        case.answering.get()


def _no_answer(ingress: str, why: str) -> Remark:
    return failed(
        f"{ingress} gives no answer ({why})",
        "see the Gateway's proxy: kubectl get pods -n envoy-gateway-system; or name another "
        "address with --ingress",
        Rank.CONSEQUENCE,
    )


def v2_grpc(case: Case) -> Finding:
    """`ModelInfer` through the ingress, held against what REST said."""
    host, ingress = case.host.get(), case.ingress.get()
    _need_transformer(case)
    # Not above: the SDK takes a second to import, and is not needed before there is a way in.
    from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
    from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

    image = golden_slice()
    request = pb.ModelInferRequest(
        model_name=MODEL_NAME,
        inputs=[pb.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])],
        outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name="probabilities")],
        raw_input_contents=[struct.pack("<I", len(image)) + image],
    )
    metadata = [(name.lower(), value) for name, value in case.options.headers]
    try:
        with channel(ingress, host) as way:
            answer = GRPCInferenceServiceStub(way).ModelInfer(
                request, timeout=TIMEOUT_S, metadata=metadata
            )
    except grpc.RpcError as error:
        return found(f"ModelInfer at {ingress}", [_failed_call(error, host)])
    values = _probabilities(answer)
    if wrong := wrong_probabilities(dict(zip(CLASSES, values, strict=False))):
        what = f"an answer came, but {wrong}"
        return found(f"ModelInfer at {ingress}", [failed(what, "see the images above")])
    if not case.prediction.known:
        return found("ModelInfer: an answer came", [note("there is none of REST to hold it to")])
    if apart := disagreement(case.prediction.get(), values):
        todo = "see whether the predictors have the same weights and precision"
        return found("ModelInfer: another answer", [failed(apart, todo)])
    return found("ModelInfer: the same answer as over REST")


def channel(ingress: str, host: str) -> grpc.Channel:
    """A channel to the ingress that names the service's host, as routes ask for it."""
    parts = urlsplit(ingress)
    secure = parts.scheme == "https"
    target = f"{parts.hostname}:{parts.port or (443 if secure else 80)}"
    if ":" in (parts.hostname or ""):
        target = f"[{parts.hostname}]:{parts.port or (443 if secure else 80)}"
    options = [("grpc.default_authority", host), ("grpc.enable_http_proxy", 0)]
    if secure:
        options.append(("grpc.ssl_target_name_override", host))
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(), options)
    return grpc.insecure_channel(target, options)


def _probabilities(answer: object) -> list[float]:
    """The FP32 values of the one output, raw or typed."""
    raw = list(getattr(answer, "raw_output_contents", []))
    if raw:
        return [float(it[0]) for it in struct.iter_unpack("<f", raw[0])]
    outputs = list(getattr(answer, "outputs", []))
    return [float(it) for it in outputs[0].contents.fp32_contents] if outputs else []


# Code → what it means where REST goes through.
MEANINGS: Mapping[str, str] = {
    "UNIMPLEMENTED": "no route leads gRPC to the transformer: its container needs the ports http "
    "(8080) and grpc (8081), in this order",
    "UNAVAILABLE": "the proxy cannot reach the transformer's gRPC port: see its pods and ports",
    "DEADLINE_EXCEEDED": "the transformer did not answer in time: see its pods and their CPU",
}


def _failed_call(error: grpc.RpcError, host: str) -> Remark:
    code, detail = error.code().name, error.details() or ""
    said = " ".join(detail.split())[:200]
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return unknown(
            f"the ingress answers {code}: it asks for credentials that were not given",
            "name them with --header, 'x-api-key: …' for one",
        )
    todo = MEANINGS.get(code, "see the transformer's log")
    return failed(f"gRPC to {host} fails with {code}: {said}", todo, Rank.CONSEQUENCE)
