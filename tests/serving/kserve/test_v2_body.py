import base64
from typing import Any

import numpy as np
import orjson
import pytest
from kserve import InferRequest, InferResponse
from kserve.protocol.infer_type import RequestedOutput

from serving.errors import InvalidField, InvalidRequest
from serving.kserve.v2_body import HEADER, read_v2, write_v2
from serving.tensors import TensorSpec, join_bytes, read_bytes, write_output

IMAGE = TensorSpec("image", "BYTES", (-1,))


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "image", "shape": [2], "datatype": "UINT8", "data": [1, 2], **changes}


def binary(size: Any, **changes: Any) -> dict[str, Any]:
    values = tensor(parameters={"binary_data_size": size}, **changes)
    del values["data"]
    return values


def read(body: Any, tail: bytes = b"", header: str | None = None) -> InferRequest:
    head = orjson.dumps(body)
    if tail and header is None:
        header = str(len(head))
    return read_v2(head + tail, header, "ctscan")


def test_a_json_request_is_read_with_all_it_says() -> None:
    request = read(
        {
            "id": "42",
            "parameters": {"input_digest": "abc"},
            "inputs": [tensor()],
            "outputs": [{"name": "logits", "parameters": {"binary_data": True}}],
            "unknown": "let be",
        }
    )
    assert (request.id, request.model_name) == ("42", "ctscan")
    assert request.parameters == {"input_digest": "abc"}
    (item,) = request.inputs
    assert (item.name, item.shape, item.datatype, item.data) == ("image", [2], "UINT8", [1, 2])
    (output,) = request.request_outputs
    assert (output.name, output.binary_data) == ("logits", True)


def test_what_may_be_left_out_may_be_null() -> None:
    nulls = {"id": None, "parameters": None, "outputs": None}
    given = read({**nulls, "inputs": [tensor(parameters=None)]})
    left_out = read({"inputs": [tensor()]})
    assert given == left_out
    assert read({"inputs": [tensor()], "outputs": [{"name": "a", "parameters": None}]})


def test_binary_tensors_follow_the_json_in_the_order_of_the_inputs() -> None:
    request = read({"inputs": [binary(3), tensor(name="b"), binary(0), binary(2)]}, b"abcde")
    assert [item._raw_data for item in request.inputs] == [b"abc", None, b"", b"de"]
    assert request.inputs[1].data == [1, 2]


def test_binary_elements_need_be_no_text() -> None:
    images = [b"\x89PNG\xff", b"\xff\xd8\x00"]
    tail = join_bytes(images)
    request = read({"inputs": [binary(len(tail), datatype="BYTES")]}, tail)
    assert read_bytes(request.inputs[0], IMAGE) == images


def test_the_sdk_takes_no_such_elements_and_makes_lists_of_the_others() -> None:
    # What `v2_body` mends; delete it when this fails.
    tail = join_bytes([b"\x89PNG\xff"])
    head = orjson.dumps({"inputs": [binary(len(tail), shape=[1], datatype="BYTES")]})
    with pytest.raises(Exception, match="UTF-8"):
        InferRequest.from_bytes(head + tail, len(head), "ctscan")
    head = orjson.dumps({"inputs": [binary(2)]})
    assert InferRequest.from_bytes(head + b"ab", len(head), "ctscan").inputs[0].data == [97, 98]
    with pytest.raises(ValueError, match="reshape"):
        InferRequest.from_bytes(head + b"a", len(head), "ctscan")


@pytest.mark.parametrize(
    ("body", "tail", "reason"),
    [
        ({"inputs": [binary(4)]}, b"abc", "binary_data_size is 4, but 3 bytes"),
        ({"inputs": [binary(2), binary(2)]}, b"abc", "binary_data_size is 2, but 1 bytes"),
        ({"inputs": [binary(-1)]}, b"abc", "binary_data_size is -1"),
        ({"inputs": [binary("3")]}, b"abc", "binary_data_size is 3"),
        ({"inputs": [binary(3.0)]}, b"abc", "binary_data_size is 3.0"),
        ({"inputs": [binary(True)]}, b"a", "binary_data_size is True"),
        (
            {"inputs": [tensor()], "parameters": {"binary_data_output": "false"}},
            b"",
            "binary_data_output is of type str: expected true or false",
        ),
        (
            {"inputs": [tensor()], "outputs": [{"name": "a", "parameters": {"binary_data": 0}}]},
            b"",
            "binary_data is of type int: expected true or false",
        ),
        ({"inputs": [binary(2)]}, b"abc", "1 bytes after the JSON belong to no input"),
        ({"inputs": [tensor()]}, b"abc", "3 bytes after the JSON belong to no input"),
        ({"inputs": [binary(3)]}, b"", "but 0 bytes are left"),
        ({"inputs": [tensor(data=None)]}, b"", "has no data"),
    ],
)
def test_sizes_that_do_not_add_up_are_refused(body: Any, tail: bytes, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        read(body, tail)


@pytest.mark.parametrize("header", ["-1", "x", "", "1.5", "²", "100000", "9" * 5000])
def test_a_header_that_is_no_length_within_the_body_is_refused(header: str) -> None:
    with pytest.raises(InvalidRequest, match="Inference-Header-Content-Length"):
        read({"inputs": [tensor()]}, b"abc", header)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b'"\\ud800"', b'{"inputs": NaN}', b"[" * 5000]
)
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="no valid JSON"):
        read_v2(body, None, "ctscan")


def test_json_that_ends_before_its_length_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no valid JSON"):
        read({"inputs": [tensor()]}, b"", "10")


@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        ([], "body", "expected an object"),
        ("text", "body", "expected an object"),
        ({}, "inputs", "is missing"),
        ({"inputs": {}}, "inputs", "expected a list"),
        ({"inputs": [5]}, "inputs[0]", "expected an object"),
        ({"inputs": [tensor(), tensor(name=5)]}, "inputs[1].name", "expected a string"),
        ({"inputs": [tensor(shape="2")]}, "inputs[0].shape", "expected a list"),
        ({"inputs": [tensor(shape=["a"])]}, "inputs[0].shape[0]", "expected a whole number"),
        ({"inputs": [tensor(shape=[1.5])]}, "inputs[0].shape[0]", "expected a whole number"),
        ({"inputs": [tensor(data="YQ==")]}, "inputs[0].data", "expected a list"),
        ({"inputs": [tensor(parameters=[])]}, "inputs[0].parameters", "expected an object"),
        ({"inputs": [tensor()], "outputs": ["a"]}, "outputs[0]", "expected an object"),
        ({"inputs": [tensor()], "id": 5}, "id", "expected a string"),
    ],
)
def test_a_field_of_another_type_is_named(body: Any, field: str, detail: str) -> None:
    with pytest.raises(InvalidField) as refused:
        read(body)
    assert [(item.field, item.detail) for item in refused.value.fields] == [(field, detail)]


def test_a_body_full_of_mistakes_gets_one_answer_and_not_one_for_each() -> None:
    many = 100_000
    for body in (
        {"inputs": [1] * many},
        {"inputs": [tensor()], "outputs": [1] * many},
        {"inputs": [tensor(shape=["x"] * many)]},
    ):
        with pytest.raises(InvalidField) as refused:
            read(body)
        assert len(refused.value.fields) == 1
    read({"inputs": [tensor()], "parameters": {str(index): None for index in range(many)}})


def answered(request: InferRequest) -> tuple[dict[str, Any], bytes]:
    """The JSON part of the answer to a request, and the bytes behind it."""
    outputs = {
        "values": write_output(
            TensorSpec("values", "FP32", (-1, 2)), np.array([[0.5, 1]], np.float32)
        ),
        "names": write_output(
            TensorSpec("names", "BYTES", (-1,)), np.array(["größe".encode(), b""], np.object_)
        ),
    }
    names = [item.name for item in request.request_outputs or ()] or list(outputs)
    answer = InferResponse("7", "ctscan", [outputs[name] for name in names], model_version="v1")
    response = write_v2(request, answer)
    body = bytes(response.body)
    if HEADER not in response.headers:
        assert response.headers["content-type"] == "application/json"
        return orjson.loads(body), b""
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers[HEADER])
    return orjson.loads(body[:length]), body[length:]


def ask(outputs: dict[str, Any] | None = None, **parameters: Any) -> InferRequest:
    asked = [RequestedOutput(name, found) for name, found in (outputs or {}).items()]
    return InferRequest("ctscan", [], parameters=parameters, request_outputs=asked)


def test_an_answer_is_json_unless_asked_otherwise() -> None:
    head, tail = answered(ask())
    assert tail == b""
    assert head == {
        "model_name": "ctscan",
        "model_version": "v1",
        "id": "7",
        "outputs": [
            {"name": "values", "shape": [1, 2], "datatype": "FP32", "data": [0.5, 1.0]},
            {"name": "names", "shape": [2], "datatype": "BYTES", "data": ["größe", ""]},
        ],
    }


VALUES = np.array([0.5, 1], "<f4").tobytes()
NAMES = join_bytes(["größe".encode(), b""])


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (ask(binary_data_output=True), VALUES + NAMES),
        (ask({"names": {"binary_data": True}, "values": {}}), NAMES),
        (ask({"names": None, "values": {"binary_data": True}}), VALUES),
        (ask({"names": {"binary_data": False}, "values": {}}, binary_data_output=True), VALUES),
        (ask({"names": {}}, binary_data_output=True), NAMES),
        (ask({"names": {"binary_data": False}}, binary_data_output=True), b""),
        (ask(binary_data_output=False), b""),
    ],
)
def test_each_output_takes_the_form_that_was_asked_for(
    request_: InferRequest, expected: bytes
) -> None:
    head, tail = answered(request_)
    assert tail == expected
    sizes = [
        item["parameters"]["binary_data_size"] for item in head["outputs"] if "data" not in item
    ]
    assert sum(sizes) == len(expected)


def test_base64_of_json_and_binary_bytes_are_the_same_image() -> None:
    image = b"\x89PNG"
    in_json = read(
        {"inputs": [tensor(shape=[1], datatype="BYTES", data=[base64.b64encode(image).decode()])]}
    )
    tail = join_bytes([image])
    in_bytes = read({"inputs": [binary(len(tail), shape=[1], datatype="BYTES")]}, tail)
    assert read_bytes(in_json.inputs[0], IMAGE) == read_bytes(in_bytes.inputs[0], IMAGE) == [image]
