"""Between the tensors of the Open Inference Protocol and numpy, checked against a spec.

Source: Open Inference Protocol v2, "Tensor Data" and the binary tensor data extension. A tensor
arrives in one of three forms: raw bytes (gRPC `raw_input_contents`, REST binary extension), typed
contents (gRPC) or a JSON list. Images travel as BYTES: raw as they are, base64 in JSON.
"""

import base64
import binascii
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from kserve import InferInput, InferOutput, InferRequest
from numpy.typing import NDArray

from serving.errors import FieldError, InvalidField, InvalidTensor

DATATYPES: dict[str, type[np.generic]] = {
    "BOOL": np.bool_,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}


# Decoded at a stretch, in characters: no other thread runs meanwhile. A multiple of four.
BASE64_PIECE = 256 * 1024


@dataclass(frozen=True)
class TensorSpec:
    """Name, datatype and shape of a tensor; -1 is a free dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def metadata(self) -> dict[str, Any]:
        """As model metadata shows it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


def only_input(request: InferRequest, spec: TensorSpec) -> InferInput:
    """The one input that the model takes.

    Raises:
        InvalidTensor: another number of inputs, or another name, datatype or shape.
    """
    names = [tensor.name for tensor in request.inputs]
    if names != [spec.name]:
        raise InvalidTensor(f"inputs are {names}, expected the one input [{spec.name!r}]")
    tensor = request.inputs[0]
    if tensor.datatype != spec.datatype:
        raise _wrong(spec, f"datatype is {tensor.datatype}, expected {spec.datatype}")
    shape = list(tensor.shape)
    fits = len(shape) == len(spec.shape) and all(
        size > 0 and (free == -1 or size == free)
        for size, free in zip(shape, spec.shape, strict=True)
    )
    if not fits:
        raise _wrong(spec, f"shape is {shape}, expected {list(spec.shape)} (-1: any above 0)")
    return tensor


def read_array(tensor: InferInput, spec: TensorSpec) -> NDArray[Any]:
    """The values of a numeric tensor in its own shape, without a copy where they came raw.

    Raises:
        InvalidTensor: the bytes or values are not as many as the shape says, or do not fit.
    """
    dtype = np.dtype(DATATYPES[spec.datatype])
    shape = [int(size) for size in tensor.shape]
    count = math.prod(shape)
    raw = tensor._raw_data
    if raw is not None:
        if len(raw) != count * dtype.itemsize:
            raise _wrong(
                spec,
                f"has {len(raw)} bytes, but shape {shape} of {spec.datatype} needs "
                f"{count * dtype.itemsize}",
            )
        return np.frombuffer(raw, dtype).reshape(shape)
    values = _values(tensor)
    try:
        array = np.asarray(values).ravel()
    except ValueError as error:
        raise _wrong(spec, "data is ragged: expected as many values in each row") from error
    if array.size != count:
        raise _wrong(spec, f"has {array.size} values, but shape {shape} needs {count}")
    if array.dtype.kind not in "biuf" or not _fits(array, dtype):
        raise _wrong(spec, f"data has values that are no {spec.datatype}")
    return array.astype(dtype).reshape(shape)


def read_bytes(tensor: InferInput, spec: TensorSpec) -> list[bytes]:
    """The elements of a BYTES tensor [N].

    Raises:
        InvalidTensor: lengths that lie, elements that are no base64 in JSON, another number.
    """
    count = math.prod(tensor.shape)
    raw = tensor._raw_data
    # No further than one element too many, for millions of empty ones fit into one body.
    found = _split(raw, spec) if raw is not None else _typed_or_base64(tensor, spec)
    elements = list(islice(found, count + 1))
    if len(elements) != count:
        more = "more" if len(elements) > count else f"{len(elements)}"
        raise _wrong(spec, f"has {more} elements, but its shape needs {count}")
    return elements


def join_bytes(elements: Iterable[bytes]) -> bytes:
    """BYTES elements as raw tensor data: each after its length, four bytes little-endian."""
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def write_output(spec: TensorSpec, array: NDArray[Any]) -> InferOutput:
    """An output tensor that holds its values as raw bytes. BYTES arrays hold `bytes` objects."""
    output = InferOutput(spec.name, list(array.shape), spec.datatype)
    if spec.datatype == "BYTES":
        output._raw_data = join_bytes(array.ravel())
    else:
        output._raw_data = np.ascontiguousarray(array, DATATYPES[spec.datatype]).tobytes()
    return output


def requested(request: InferRequest, offered: Sequence[str], default: Sequence[str]) -> list[str]:
    """Names of the outputs that the request selects, in its order; `default` if it names none.

    Raises:
        InvalidTensor: an output is unknown.
    """
    names = [output.name for output in request.request_outputs or ()]
    for name in names:
        if name not in offered:
            raise InvalidTensor(
                f"output {name!r} is unknown, expected some of {list(offered)}",
                fields=(FieldError(f"outputs.{name}", "is unknown"),),
            )
    return names or list(default)


def _values(tensor: InferInput) -> Any:
    return [] if tensor.data is None else list(tensor.data)


def _fits(array: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "f":
        return True
    if array.dtype.kind == "f" or array.size == 0:
        return False
    if dtype.kind == "b":
        return array.dtype.kind == "b"
    limits = np.iinfo(dtype)
    return bool(array.min() >= limits.min and array.max() <= limits.max)


def _split(raw: bytes, spec: TensorSpec) -> Iterable[bytes]:
    offset = index = 0
    while offset < len(raw):
        end = offset + 4
        length = int.from_bytes(raw[offset:end], "little")
        if end > len(raw) or end + length > len(raw):
            raise _wrong(spec, f"element {index} runs past the end of the data ({len(raw)} bytes)")
        yield raw[end : end + length]
        offset, index = end + length, index + 1


def _typed_or_base64(tensor: InferInput, spec: TensorSpec) -> Iterable[bytes]:
    for index, value in enumerate(_values(tensor)):
        if isinstance(value, bytes):
            yield value
        else:
            yield decode_base64(value, f"{spec.name}[{index}]")


def decode_base64(value: object, field: str) -> bytes:
    """An image from a JSON string.

    Raises:
        InvalidField: the value is no string or no base64; `field` names it.
    """
    expected = "expected an image as a base64 string"
    if not isinstance(value, str):
        raise InvalidField(f"{field}: {expected}", fields=(FieldError(field, expected),))
    try:
        if "=" in value[:-2]:
            raise ValueError  # a piece may end in padding, the text before the last may not
        return b"".join(
            base64.b64decode(value[start : start + BASE64_PIECE], validate=True)
            for start in range(0, len(value), BASE64_PIECE)
        )
    except (binascii.Error, ValueError) as error:
        raise InvalidField(
            f"{field}: is no valid base64, {expected}", fields=(FieldError(field, expected),)
        ) from error


def _wrong(spec: TensorSpec, what: str) -> InvalidTensor:
    return InvalidTensor(f"tensor {spec.name!r}: {what}", fields=(FieldError(spec.name, what),))


def parameter(request: InferRequest, name: str) -> str | None:
    """A string parameter of the request, from either door, or None."""
    value = (request.parameters or {}).get(name)
    value = getattr(value, "string_param", value)
    return value if isinstance(value, str) and value else None
