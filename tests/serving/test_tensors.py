import base64
import struct
from typing import Any

import numpy as np
import pytest
from kserve import InferInput, InferRequest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.infer_type import RequestedOutput
from numpy.typing import NDArray

from serving.errors import InvalidField, InvalidTensor
from serving.tensors import (
    BASE64_PIECE,
    DATATYPES,
    TensorSpec,
    decode_base64,
    join_bytes,
    only_input,
    parameter,
    read_array,
    read_bytes,
    requested,
    write_output,
)

NUMERIC = [name for name in DATATYPES if name != "BYTES"]
IMAGE = TensorSpec("image", "BYTES", (-1,))
ROWS = TensorSpec("image", "UINT8", (-1, 2, 3))


def some_values(datatype: str) -> NDArray[Any]:
    """Six values of the datatype, its least and greatest among them."""
    dtype = np.dtype(DATATYPES[datatype])
    if dtype.kind == "b":
        return np.array([True, False, True, True, False, False])
    if dtype.kind == "f":
        return np.array([0.5, -1.25, 0, 2, 1e-3, -np.inf], dtype)
    limits = np.iinfo(dtype)
    # numpy has no type for lists that hold values on both sides of 2**63.
    return np.array([limits.min, min(limits.max, 2**63 - 1), 0, 1, 2, 3], dtype)


def raw(values: bytes, shape: list[int], datatype: str) -> InferInput:
    tensor = InferInput("image", shape, datatype)
    tensor._raw_data = values
    return tensor


def from_json(data: Any, shape: list[int], datatype: str = "UINT8") -> InferInput:
    return InferInput("image", shape, datatype, data)


def typed(contents: dict[str, Any], shape: list[int], datatype: str) -> InferInput:
    """As the SDK hands on typed contents of a gRPC request."""
    message = pb.ModelInferRequest(
        inputs=[{"name": "image", "datatype": datatype, "shape": shape, "contents": contents}]
    )
    return InferRequest.from_grpc(message).inputs[0]


@pytest.mark.parametrize("datatype", NUMERIC)
def test_what_is_written_is_read_back(datatype: str) -> None:
    spec = TensorSpec("image", datatype, (-1, 3))
    values = some_values(datatype).reshape(2, 3)
    output = write_output(spec, values)
    assert (output.name, output.datatype, output.shape) == ("image", datatype, [2, 3])
    read = read_array(raw(output._raw_data, [2, 3], datatype), spec)
    assert read.dtype == DATATYPES[datatype]
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize("datatype", NUMERIC)
def test_json_and_raw_bytes_mean_the_same(datatype: str) -> None:
    spec = TensorSpec("image", datatype, (-1, 3))
    values = some_values(datatype).reshape(2, 3)
    for data in (values.tolist(), values.ravel().tolist()):
        read = read_array(from_json(data, [2, 3], datatype), spec)
        assert read.dtype == DATATYPES[datatype]
        np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize(
    ("datatype", "contents"),
    [
        ("BOOL", "bool_contents"),
        ("UINT8", "uint_contents"),
        ("UINT16", "uint_contents"),
        ("UINT32", "uint_contents"),
        ("UINT64", "uint64_contents"),
        ("INT8", "int_contents"),
        ("INT16", "int_contents"),
        ("INT32", "int_contents"),
        ("INT64", "int64_contents"),
        ("FP32", "fp32_contents"),
        ("FP64", "fp64_contents"),
    ],
)
def test_typed_contents_and_raw_bytes_mean_the_same(datatype: str, contents: str) -> None:
    values = some_values(datatype)
    tensor = typed({contents: values.tolist()}, [6], datatype)
    np.testing.assert_array_equal(read_array(tensor, TensorSpec("image", datatype, (-1,))), values)


def test_raw_bytes_are_not_copied() -> None:
    data = bytes(range(12))
    read = read_array(raw(data, [2, 2, 3], "UINT8"), ROWS)
    assert np.shares_memory(read, np.frombuffer(data, np.uint8))


def test_an_array_that_is_not_contiguous_is_written_in_row_order() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3).T
    output = write_output(TensorSpec("logits", "FP32", (-1, 2)), values)
    assert output._raw_data == np.array([0, 3, 1, 4, 2, 5], "<f4").tobytes()


@pytest.mark.parametrize("size", [0, 11, 13, 24])
def test_byte_counts_that_lie_are_refused_with_both_numbers(size: int) -> None:
    with pytest.raises(InvalidTensor, match=rf"has {size} bytes.* needs 12") as refused:
        read_array(raw(bytes(size), [2, 2, 3], "UINT8"), ROWS)
    assert refused.value.fields[0].field == "image"


def test_a_shape_that_overflows_is_only_a_wrong_byte_count() -> None:
    spec = TensorSpec("image", "UINT8", (-1, -1))
    with pytest.raises(InvalidTensor, match="has 0 bytes"):
        read_array(raw(b"", [2**32, 2**32], "UINT8"), spec)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ([[1, 2, 3], [4, 5]], "ragged"),
        ([1, 2, 3, 4, 5], "has 5 values"),
        ([1, 2, 3, 4, 5, 6, 7], "has 7 values"),
        ([], "has 0 values"),
        (None, "has 0 values"),
        ([-1, 2, 3, 4, 5, 6], "no UINT8"),
        ([300, 2, 3, 4, 5, 6], "no UINT8"),
        ([2**70, 2, 3, 4, 5, 6], "no UINT8"),
        ([1.5, 2, 3, 4, 5, 6], "no UINT8"),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "no UINT8"),
        (["1", "2", "3", "4", "5", "6"], "no UINT8"),
        (["a", 2, 3, 4, 5, 6], "no UINT8"),
        ([None, 2, 3, 4, 5, 6], "no UINT8"),
        ([{}, 2, 3, 4, 5, 6], "no UINT8"),
        ([[[[1, 2, 3], [4, 5, 6]]], [[1]]], "ragged"),
    ],
)
def test_json_that_does_not_fill_the_tensor_is_refused(data: Any, reason: str) -> None:
    with pytest.raises(InvalidTensor, match=reason):
        read_array(from_json(data, [1, 2, 3]), ROWS)


@pytest.mark.parametrize(
    ("datatype", "value"),
    [("BOOL", 1), ("INT8", -129), ("INT8", 128), ("INT64", 2**63), ("UINT64", -1), ("FP32", "1")],
)
def test_a_value_outside_its_datatype_is_refused(datatype: str, value: Any) -> None:
    with pytest.raises(InvalidTensor, match=datatype):
        read_array(from_json([value], [1], datatype), TensorSpec("image", datatype, (-1,)))


def test_typed_contents_beside_their_range_are_refused() -> None:
    with pytest.raises(InvalidTensor, match="no UINT8"):
        read_array(
            typed({"uint_contents": [256]}, [1], "UINT8"), TensorSpec("image", "UINT8", (1,))
        )


@pytest.mark.parametrize(
    "elements", [[], [b""], [b"a"], [b"", b"\x00\xff", b"\x89PNG"], [bytes(300)] * 5]
)
def test_byte_elements_survive_the_wire(elements: list[bytes]) -> None:
    array = np.array([*elements, b"last"], np.object_)[:-1]
    output = write_output(IMAGE, array)
    assert output.shape == [len(elements)]
    assert read_bytes(raw(output._raw_data, [len(elements)], "BYTES"), IMAGE) == elements


def test_an_element_stands_after_its_length_in_four_bytes() -> None:
    assert join_bytes([b"abc", b""]) == b"\x03\x00\x00\x00abc\x00\x00\x00\x00"


def test_typed_and_base64_elements_are_the_same_images() -> None:
    images = [b"\x89PNG", b"\xff\xd8"]
    typed_tensor = typed({"bytes_contents": images}, [2], "BYTES")
    in_json = from_json([base64.b64encode(image).decode() for image in images], [2], "BYTES")
    assert read_bytes(typed_tensor, IMAGE) == read_bytes(in_json, IMAGE) == images


@pytest.mark.parametrize(
    ("data", "index"),
    [
        (b"\x01", 0),
        (b"\x01\x00\x00", 0),
        (b"\x05\x00\x00\x00abcd", 0),
        (b"\xff\xff\xff\xffabcd", 0),
        (join_bytes([b"abc"]) + b"\x00", 1),
        (join_bytes([b"abc", b""]) + b"\x05\x00\x00\x00abcd", 2),
    ],
)
def test_the_first_length_that_runs_past_the_end_is_refused(data: bytes, index: int) -> None:
    with pytest.raises(InvalidTensor, match=f"element {index} runs past the end"):
        read_bytes(raw(data, [5], "BYTES"), IMAGE)


@pytest.mark.parametrize(("count", "found"), [(1, "more"), (3, "2"), (2**40, "2")])
def test_another_number_of_elements_than_the_shape_says_is_refused(count: int, found: str) -> None:
    with pytest.raises(InvalidTensor, match=rf"has {found} elements.* needs {count}"):
        read_bytes(raw(join_bytes([b"a", b"b"]), [count], "BYTES"), IMAGE)


def test_elements_are_read_no_further_than_the_shape_goes() -> None:
    # What follows the second element is broken, and is never looked at.
    data = join_bytes([b"a", b"b"]) + struct.pack("<I", 1000)
    with pytest.raises(InvalidTensor, match="has more elements"):
        read_bytes(raw(data, [1], "BYTES"), IMAGE)


@pytest.mark.parametrize(
    "value", ["no base64", "YQ", "YQ==\n", "Ã¤=", "YQ-_", 5, None, ["YQ=="], {}]
)
def test_what_is_no_base64_is_refused_by_its_index(value: Any) -> None:
    with pytest.raises(InvalidField, match=r"image\[1\]") as refused:
        read_bytes(from_json(["YQ==", value], [2], "BYTES"), IMAGE)
    assert [item.field for item in refused.value.fields] == ["image[1]"]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5])
def test_base64_of_several_pieces_is_one_image(size: int) -> None:
    image = bytes(range(256)) * 1024 * 2 + bytes(size)
    text = base64.b64encode(image).decode()
    assert len(text) > 2 * BASE64_PIECE
    assert decode_base64(text, "x") == image


@pytest.mark.parametrize("padding", ["YQ==", "YWE="])
def test_padding_inside_is_no_base64_even_where_a_piece_ends(padding: str) -> None:
    for text in (padding + "YWFh", "YWFh" * (BASE64_PIECE // 4 - 1) + padding + "YWFh"):
        with pytest.raises(InvalidField):
            decode_base64(text, "x")


def test_base64_is_decoded() -> None:
    assert decode_base64("", "x") == b""
    assert decode_base64("iVBORw==", "x") == b"\x89PNG"


def request(*inputs: InferInput, **others: Any) -> InferRequest:
    return InferRequest("ctscan", list(inputs), **others)


def test_the_one_input_is_found_by_name_datatype_and_shape() -> None:
    tensor = raw(b"", [4, 2, 3], "uint8")
    assert only_input(request(tensor), ROWS) is tensor


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ([], r"inputs are \[\]"),
        ([InferInput("picture", [1, 2, 3], "UINT8")], "picture"),
        ([InferInput("image", [1, 2, 3], "UINT8")] * 2, "the one input"),
        ([InferInput("image", [1, 2, 3], "FP32")], "datatype is FP32, expected UINT8"),
        ([InferInput("image", [1, 2], "UINT8")], r"shape is \[1, 2\], expected \[-1, 2, 3\]"),
        ([InferInput("image", [1, 2, 4], "UINT8")], "shape"),
        ([InferInput("image", [0, 2, 3], "UINT8")], "shape"),
        ([InferInput("image", [-1, 2, 3], "UINT8")], "shape"),
        ([InferInput("image", [], "UINT8")], "shape"),
        ([InferInput("image", [1, 2, 3, 1], "UINT8")], "shape"),
    ],
)
def test_another_input_is_refused(inputs: list[InferInput], reason: str) -> None:
    with pytest.raises(InvalidTensor, match=reason):
        only_input(request(*inputs), ROWS)


def test_outputs_are_those_asked_for_in_their_order() -> None:
    offered = ["logits", "cam"]
    assert requested(request(), offered, ["logits"]) == ["logits"]
    both = [RequestedOutput("cam"), RequestedOutput("logits")]
    assert requested(request(request_outputs=both), offered, ["logits"]) == ["cam", "logits"]


def test_an_unknown_output_is_refused_by_name() -> None:
    asked = [RequestedOutput("logits"), RequestedOutput("distance")]
    with pytest.raises(InvalidTensor, match="'distance' is unknown") as refused:
        requested(request(request_outputs=asked), ["logits"], ["logits"])
    assert refused.value.fields[0].field == "outputs.distance"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("abc", "abc"),
        (pb.InferParameter(string_param="abc"), "abc"),
        (pb.InferParameter(int64_param=5), None),
        ("", None),
        (5, None),
        (None, None),
    ],
)
def test_a_parameter_is_a_string_from_either_door(value: Any, expected: str | None) -> None:
    assert parameter(request(parameters={"digest": value}), "digest") == expected
    assert parameter(request(), "digest") is None


def test_metadata_shows_name_datatype_and_shape() -> None:
    assert ROWS.metadata() == {"name": "image", "datatype": "UINT8", "shape": [-1, 2, 3]}
