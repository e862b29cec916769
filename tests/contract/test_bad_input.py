"""What must be refused is refused in the contract's words, and the service answers on."""

import base64
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from tests.contract.doors import (
    IMAGE_ERRORS,
    assert_problem,
    image_request,
    infer,
    refusal,
    trailers,
)
from tests.contract.services import Pair
from tests.contract.slices import slice_png
from tests.images import BAD_IMAGES, GOOD_IMAGES, colours, padded, png, uniform_png

MIB = 1024 * 1024
NAMES = {
    "climbing": "../../etc/passwd",
    "long": "n" * 300,
    "other-script": "снимок-Ω.png",
    "quoted": 'my"slice"secret.png',
    "two-lines": "first-secret\nsecond-secret",
}


@pytest.fixture(scope="module")
def channel(pair: Pair) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(pair.transformer.grpc_address) as channel:
        yield channel


@pytest.fixture(autouse=True)
def a_good_one_still_succeeds(rest: httpx.Client, slices: list[bytes]) -> Iterator[None]:
    yield
    assert rest.post("/predict", files={"file": slices[0]}).status_code == 200


# Images


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_rest_refuses_a_bad_image(rest: httpx.Client, name: str) -> None:
    data, kind = BAD_IMAGES[name]
    problem = assert_problem(
        rest.post("/predict", files={"file": ("slice.png", data)}), IMAGE_ERRORS[kind][0]
    )
    assert problem["type"].endswith(
        {"InvalidImage": ":invalid-image", "UnsuitableImage": ":unsuitable-image"}[kind.__name__]
    )


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_grpc_refuses_a_bad_image(channel: grpc.Channel, name: str) -> None:
    data, kind = BAD_IMAGES[name]
    error = refusal(channel, image_request([data]))
    assert error.code() == IMAGE_ERRORS[kind][1]
    assert trailers(error)["ctscan-error"] == kind.__name__
    assert trailers(error)["x-request-id"]


@pytest.mark.parametrize("name", GOOD_IMAGES)
def test_both_doors_answer_alike_for_every_kind_of_image(
    rest: httpx.Client, channel: grpc.Channel, name: str
) -> None:
    data, pixels = GOOD_IMAGES[name]
    plain = rest.post("/predict", files={"file": png(pixels)}).json()
    said = rest.post("/predict", files={"file": data})
    assert said.status_code == 200
    answer = infer(channel, image_request([data], outputs=[{"name": "probabilities"}]))
    shares = np.frombuffer(answer.raw_output_contents[0], np.float32)
    assert shares.tolist() == pytest.approx(list(said.json()["probabilities"].values()), abs=1e-6)
    # JPEG and CMYK may round a grey value; the answer hardly moves.
    assert said.json()["probabilities"] == pytest.approx(plain["probabilities"], abs=0.01)


def test_an_image_without_contrast_is_refused(rest: httpx.Client, channel: grpc.Channel) -> None:
    problem = assert_problem(rest.post("/predict", files={"file": uniform_png()}), 422)
    assert "contrast" in problem["detail"]
    error = refusal(channel, image_request([uniform_png()]))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_bad_image_among_good_ones_is_named_by_its_index(
    rest: httpx.Client, channel: grpc.Channel, slices: list[bytes]
) -> None:
    files = [slices[0], slices[1], b"text"]
    instances = [{"b64": base64.b64encode(data).decode()} for data in files]
    problem = assert_problem(
        rest.post("/v1/models/ctscan:predict", json={"instances": instances}), 400
    )
    assert "[2]" in problem["detail"]
    assert "[2]" in str(refusal(channel, image_request(files)).details())


# Names and forms


@pytest.mark.parametrize("name", NAMES)
def test_no_name_of_a_clients_file_is_kept_or_logged(
    pair: Pair, rest: httpx.Client, slices: list[bytes], name: str
) -> None:
    given = NAMES[name]
    good = rest.post("/predict", files={"file": (given, slices[0])})
    assert good.status_code == 200
    bad = rest.post("/predict", files={"file": (given, b"no image")})
    assert given not in assert_problem(bad, 400)["detail"]
    form = {"predicted_class": "normal", "is_correct": "true"}
    saved = rest.post("/feedback", files={"file": (given, slices[0])}, data=form)
    assert saved.status_code == 200
    assert given not in saved.text
    logs = pair.logs()
    for part in (given, "passwd", "secret", json.dumps(given)[1:-1]):
        assert part not in logs
    assert not [path for path in pair.transformer.feedback.rglob("*") if "secret" in path.name]


def test_an_empty_name_makes_no_file(rest: httpx.Client, slices: list[bytes]) -> None:
    body = multipart(b'form-data; name="file"; filename=""', slices[0])
    assert rest.post("/predict", **body).status_code in (200, 400)


def multipart(disposition: bytes, content: bytes) -> dict[str, Any]:
    parts = (b"--edge\r\nContent-Disposition: ", disposition, b"\r\n\r\n", content, b"\r\n--edge--")
    return {
        "content": b"".join(parts),
        "headers": {"Content-Type": "multipart/form-data; boundary=edge"},
    }


@pytest.mark.parametrize(
    "request_of",
    [
        lambda: {},
        lambda: {"content": b"", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        lambda: {"content": b"nonsense", "headers": {"Content-Type": "multipart/form-data"}},
        lambda: {"content": b"--edge", "headers": {"Content-Type": "multipart/form-data"}},
        lambda: multipart(b'form-data; name="file"', b"no file, a field"),
        lambda: {"data": {"file": "text"}},
        lambda: {"files": {"image": b"another field"}},
        lambda: {"json": {"file": "text"}},
    ],
    ids=[
        "no-body",
        "empty",
        "nonsense",
        "cut-off",
        "plain-field",
        "form",
        "other-field",
        "json",
    ],
)
def test_predict_without_a_file_says_what_is_missing(
    rest: httpx.Client, request_of: Callable[[], dict[str, Any]]
) -> None:
    assert_problem(rest.post("/predict", **request_of()), 400)


@pytest.mark.parametrize(
    ("form", "status", "field"),
    [
        ({"predicted_class": "cat", "is_correct": "true"}, 400, "predicted_class"),
        ({"predicted_class": "normal", "is_correct": "false"}, 400, "correct_class"),
        (
            {"predicted_class": "normal", "is_correct": "false", "correct_class": "cat"},
            400,
            "correct_class",
        ),
        ({"predicted_class": "normal", "is_correct": "perhaps"}, 400, "is_correct"),
        ({"is_correct": "true"}, 400, "predicted_class"),
        ({"predicted_class": "normal"}, 400, "is_correct"),
        (
            {"predicted_class": "normal", "is_correct": "true", "comment": "c" * 2001},
            400,
            "comment",
        ),
        (
            {"predicted_class": "normal", "is_correct": "true", "prediction_id": "../x"},
            400,
            "prediction_id",
        ),
    ],
)
def test_feedback_names_the_field_at_fault(
    rest: httpx.Client, slices: list[bytes], form: dict[str, str], status: int, field: str
) -> None:
    problem = assert_problem(rest.post("/feedback", files={"file": slices[0]}, data=form), status)
    assert [item["field"] for item in problem["errors"]] == [field]


@pytest.mark.parametrize(("correct", "seen"), [("true", "adenocarcinoma"), ("false", "normal")])
def test_contradictory_feedback_is_refused(
    rest: httpx.Client, slices: list[bytes], correct: str, seen: str
) -> None:
    form = {"predicted_class": "normal", "is_correct": correct, "correct_class": seen}
    assert_problem(rest.post("/feedback", files={"file": slices[0]}, data=form), 422)


@pytest.mark.parametrize(("image", "status"), [(b"text", 400), (uniform_png(), 422)])
def test_feedback_on_a_bad_image_is_refused(rest: httpx.Client, image: bytes, status: int) -> None:
    form = {"predicted_class": "normal", "is_correct": "true"}
    assert_problem(rest.post("/feedback", files={"file": image}, data=form), status)


@pytest.mark.parametrize("timeout", ["0", "-1", "soon", "1.5", "", "٣"])
def test_a_timeout_must_be_milliseconds(
    rest: httpx.Client, slices: list[bytes], timeout: str
) -> None:
    headers = {b"X-Request-Timeout-Ms": timeout.encode()}
    answer = rest.post("/predict", files={"file": slices[0]}, headers=headers)
    assert_problem(answer, 400)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("POST", "/predict/", 404),
        ("GET", "/predict", 405),
        ("GET", "/v2/models/other", 404),
        ("POST", "/v1/models/other:predict", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("POST", "/v2/models/ctscan/versions/1/infer", 404),
        ("POST", "/v2/repository/models/ctscan/unload", 403),
    ],
)
def test_what_is_not_there_is_a_problem_too(
    rest: httpx.Client, method: str, path: str, status: int
) -> None:
    assert_problem(rest.request(method, path, json=v2_body() if method == "POST" else None), status)


# V1

B64 = base64.b64encode(slice_png(0)).decode()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"instances": []}, 400),
        ({"instances": None}, 400),
        ({"instances": B64}, 400),
        ({"instances": {"b64": B64}}, 400),
        ({"instances": [B64]}, 400),
        ({"instances": [{"b64": 7}]}, 400),
        ({"instances": [{"b64": "no base64!"}]}, 400),
        ({"instances": [{"b64": B64[:-1]}]}, 400),
        ({"instances": [{"b64": B64, "more": 1}]}, 400),
        ({"instances": [{"b64": ""}]}, 400),
        ({"instances": [{"b64": B64}] * 65}, 413),
        ({"instances": [{"b64": "AAAA"}] * 1000}, 413),
        ([], 400),
        ([{"b64": B64}], 400),
        ("text", 400),
        (7, 400),
        (None, 400),
    ],
    ids=lambda value: None if isinstance(value, int) and value > 99 else str(value)[:40],
)
def test_v1_refuses_other_bodies(rest: httpx.Client, body: Any, status: int) -> None:
    assert_problem(rest.post("/v1/models/ctscan:predict", json=body), status)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"instances": [NaN]}'])
@pytest.mark.parametrize("path", ["/v1/models/ctscan:predict", "/v2/models/ctscan/infer"])
def test_a_body_that_is_no_json_is_refused(rest: httpx.Client, path: str, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    assert_problem(rest.post(path, content=content, headers=headers), 400)


# V2


def v2_body(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [B64], **changes}
    return {"inputs": [tensor]}


@pytest.mark.parametrize(
    "body",
    [
        v2_body(name="picture"),
        v2_body(datatype="UINT8"),
        v2_body(datatype="nonsense"),
        v2_body(shape=[2]),
        v2_body(shape=[]),
        v2_body(shape=[0]),
        v2_body(shape=[-1]),
        v2_body(shape=[1, 1]),
        v2_body(shape="1"),
        v2_body(shape=[1.5]),
        v2_body(shape=[2**62, 4]),
        v2_body(data=None),
        v2_body(data=[]),
        v2_body(data=B64),
        v2_body(data=["no base64!"]),
        v2_body(data=[7]),
        v2_body(data=[None]),
        v2_body(parameters={"binary_data_size": 10}),
        v2_body(parameters={"binary_data_size": -1}),
        v2_body(parameters={"binary_data_size": "ten"}),
        {"inputs": []},
        {"inputs": v2_body()["inputs"] * 2},
        {"inputs": "image"},
        {},
        [],
        {**v2_body(), "outputs": [{"name": "nothing"}]},
        {**v2_body(), "outputs": "probabilities"},
        {**v2_body(), "id": 7},
    ],
    ids=lambda body: json.dumps(body)[:60].replace(B64[:20], "…"),
)
def test_v2_refuses_other_bodies(rest: httpx.Client, body: Any) -> None:
    assert_problem(rest.post("/v2/models/ctscan/infer", json=body), 400)


def binary(tail: bytes, size: int | None = None, header: str | None = None) -> dict[str, Any]:
    body = v2_body(parameters={"binary_data_size": len(tail) if size is None else size})
    del body["inputs"][0]["data"]
    head = json.dumps(body).encode()
    length = str(len(head)) if header is None else header
    return {"content": head + tail, "headers": {"Inference-Header-Content-Length": length}}


WHOLE = struct.pack("<I", 3) + b"abc"


@pytest.mark.parametrize(
    "request_",
    [
        binary(WHOLE, size=len(WHOLE) + 1),
        binary(WHOLE, size=len(WHOLE) - 1),
        binary(WHOLE, size=2**63),
        binary(struct.pack("<I", 4) + b"abc"),
        binary(struct.pack("<I", 2**32 - 1) + b"abc"),
        binary(WHOLE + b"\0"),
        binary(WHOLE + WHOLE),
        binary(b""),
        binary(WHOLE, header="1000000"),
        binary(WHOLE, header="-5"),
        binary(WHOLE, header="five"),
        binary(WHOLE, header=""),
        binary(WHOLE, header="3"),
    ],
    ids=[
        "size-over",
        "size-under",
        "size-huge",
        "element-over",
        "element-huge",
        "half-a-length",
        "two-elements",
        "nothing",
        "header-over",
        "header-negative",
        "header-word",
        "header-empty",
        "header-inside",
    ],
)
def test_v2_refuses_byte_counts_that_lie(rest: httpx.Client, request_: dict[str, Any]) -> None:
    assert_problem(rest.post("/v2/models/ctscan/infer", **request_), 400)


IMAGE = {"name": "image", "datatype": "BYTES", "shape": [1]}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"inputs": [{**IMAGE, "name": "picture"}]}, "INVALID_ARGUMENT"),
        ({"inputs": [{**IMAGE, "datatype": "UINT8"}]}, "INVALID_ARGUMENT"),
        ({"inputs": [{**IMAGE, "shape": [2]}]}, "INVALID_ARGUMENT"),
        ({"inputs": [{**IMAGE, "shape": []}]}, "INVALID_ARGUMENT"),
        ({"inputs": [{**IMAGE, "shape": [-1]}]}, "INVALID_ARGUMENT"),
        ({"inputs": [IMAGE, IMAGE]}, "INVALID_ARGUMENT"),
        ({"inputs": []}, "INVALID_ARGUMENT"),
        ({"raw_input_contents": [b"\xff\xff\xff\xff"]}, "INVALID_ARGUMENT"),
        ({"raw_input_contents": [b"\x01"]}, "INVALID_ARGUMENT"),
        ({"raw_input_contents": []}, "INVALID_ARGUMENT"),
        ({"raw_input_contents": [WHOLE, WHOLE]}, "INVALID_ARGUMENT"),
        (
            {
                "inputs": [{**IMAGE, "contents": {"fp32_contents": [1.0]}}],
                "raw_input_contents": [],
            },
            "INVALID_ARGUMENT",
        ),
        ({"outputs": [{"name": "nothing"}]}, "INVALID_ARGUMENT"),
        ({"model_name": "other"}, "NOT_FOUND"),
        ({"model_name": ""}, "NOT_FOUND"),
        ({"model_version": "7"}, "NOT_FOUND"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_grpc_refuses_other_requests(
    channel: grpc.Channel, slices: list[bytes], fields: dict[str, Any], code: str
) -> None:
    error = refusal(channel, image_request(slices[:1], **fields))
    assert error.code().name == code
    assert trailers(error)["ctscan-error"]


def test_grpc_refuses_more_rows_than_the_limit(channel: grpc.Channel) -> None:
    error = refusal(channel, image_request([b"x"] * 65))
    assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_predictor_refuses_what_is_no_row_of_its_card(pair: Pair) -> None:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, 64, 64, 3]}
    whole = bytes(64 * 64 * 3)
    wrong: list[dict[str, Any]] = [
        {"raw_input_contents": [whole[:-1]]},
        {"inputs": [{**tensor, "shape": [1, 32, 32, 3]}]},
        {"inputs": [{**tensor, "shape": [1, 64, 64, 2]}]},
        {"inputs": [{**tensor, "shape": [1, 64, 64]}]},
        {"inputs": [{**tensor, "shape": [2, 64, 64, 3]}]},
        {"inputs": [{**tensor, "datatype": "FP32"}]},
        {"inputs": [{**tensor, "name": "picture"}]},
        {"outputs": [{"name": "nothing"}]},
    ]
    with grpc.insecure_channel(pair.predictor.grpc_address) as channel:
        given = {"inputs": [tensor], "raw_input_contents": [whole]}
        assert infer(channel, image_request([], **given)).model_version == pair.card.version
        for fields in wrong:
            error = refusal(channel, image_request([], **{**given, **fields}))
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, fields


# The real limits


def test_a_file_of_exactly_the_limit_is_classified_and_one_byte_more_is_not(
    rest: httpx.Client,
) -> None:
    whole = png(colours())
    fits = rest.post("/predict", files={"file": padded(whole, 16 * MIB)})
    assert fits.status_code == 200
    larger = rest.post("/predict", files={"file": padded(whole, 16 * MIB + 1)})
    assert str(16 * MIB) in assert_problem(larger, 413)["detail"]


def test_a_body_over_its_limit_is_refused(rest: httpx.Client) -> None:
    answer = rest.post("/v1/models/ctscan:predict", content=bytes(64 * MIB + 1))
    assert_problem(answer, 413)


@pytest.mark.parametrize("path", ["/v1/models/ctscan:predict", "/v2/models/ctscan/infer"])
def test_a_body_of_a_million_lists_is_refused_unread(rest: httpx.Client, path: str) -> None:
    problem = assert_problem(rest.post(path, content=b'{"inputs":[' + b"[]," * 10**6), 413)
    assert "one base64 text" in problem["detail"]
