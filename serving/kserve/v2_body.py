"""V2 REST bodies: JSON, and the binary tensor data extension.

Without this the SDK turns binary tensors into Python lists (3 s for 4 MB), answers 500 for byte
counts that lie and for BYTES that are no UTF-8, and refuses the content types that clients send.
Source: Open Inference Protocol, "Binary tensor data extension".
"""

import re
from typing import Any

import orjson
from fastapi import Response
from kserve import InferInput, InferRequest, InferResponse
from kserve.protocol.infer_type import RequestedOutput
from pydantic import BaseModel, ConfigDict, Field, SkipValidation, ValidationError

from serving.errors import InvalidRequest
from serving.http_door import invalid_fields
from serving.json_body import read_json

HEADER = "inference-header-content-length"

# Checked where one is read: a body may hold millions, and each wrong one would be reported.
# `fail_fast` below has the same reason.
Parameters = dict[str, SkipValidation[bool | int | float | str]] | None


class V2Tensor(BaseModel):
    """An input tensor: `data`, or `parameters.binary_data_size` bytes after the JSON."""

    name: str = Field(examples=["image"])
    shape: list[int] = Field(examples=[[1]], fail_fast=True)
    datatype: str = Field(examples=["BYTES"])
    parameters: Parameters = None
    data: list[Any] | None = Field(default=None, examples=[["iVBORw0KGgo…"]])


class V2Output(BaseModel):
    """An output that the client asks for; `parameters.binary_data` says in which form."""

    name: str = Field(examples=["probabilities"])
    parameters: Parameters = None


class V2Request(BaseModel):
    """A V2 inference request."""

    model_config = ConfigDict(strict=True)

    id: str | None = Field(default=None, examples=["42"])
    parameters: Parameters = None
    inputs: list[V2Tensor] = Field(fail_fast=True)
    outputs: list[V2Output] | None = Field(default=None, fail_fast=True)


class V2OutputTensor(BaseModel):
    """An output tensor of a JSON answer."""

    name: str = Field(examples=["pred_index"])
    shape: list[int] = Field(examples=[[1]])
    datatype: str = Field(examples=["INT64"])
    data: list[Any] = Field(examples=[[0]])


class V2Response(BaseModel):
    """A V2 inference answer."""

    model_name: str = Field(examples=["ctscan"])
    model_version: str | None = Field(default=None, examples=["0f3a9c1d2b4e"])
    id: str = Field(examples=["42"])
    outputs: list[V2OutputTensor]


def read_v2(
    body: bytes, header: str | None, model_name: str, most_parts: int | None = None
) -> InferRequest:
    """The request in a REST body; `header` is the length of its JSON part, if one was sent.

    Raises:
        InvalidRequest: no JSON, a field of the wrong type, or sizes that do not add up.
        TooLarge: more than `most_parts` lists, objects and values in the JSON.
    """
    length = _json_length(header, len(body))
    try:
        values = read_json(body[:length], "expected a V2 request", most_parts)
        parsed = V2Request.model_validate(values)
    except ValidationError as error:
        raise invalid_fields(error.errors(include_url=False, include_input=False)) from error
    _require_flag(parsed.parameters, "binary_data_output")
    for output in parsed.outputs or ():
        _require_flag(output.parameters, "binary_data")
    tail = memoryview(body)[length:]
    inputs = []
    for tensor in parsed.inputs:
        parameters = tensor.parameters or {}
        size = parameters.get("binary_data_size")
        item = InferInput(tensor.name, tensor.shape, tensor.datatype, tensor.data, parameters)
        if size is not None:
            if type(size) is not int or not 0 <= size <= len(tail):
                raise InvalidRequest(
                    f"input {tensor.name!r}: binary_data_size is {size}, but {len(tail)} bytes "
                    "are left after the JSON"
                )
            item._raw_data, tail = bytes(tail[:size]), tail[size:]
        elif tensor.data is None:
            raise InvalidRequest(
                f"input {tensor.name!r} has no data: expected `data`, or "
                "`parameters.binary_data_size` and bytes after the JSON"
            )
        inputs.append(item)
    if len(tail):
        raise InvalidRequest(f"{len(tail)} bytes after the JSON belong to no input")
    return InferRequest(
        model_name,
        inputs,
        request_id=parsed.id,
        parameters=parsed.parameters,
        request_outputs=[RequestedOutput(out.name, out.parameters) for out in parsed.outputs or ()],
    )


def _require_flag(parameters: dict[str, Any] | None, name: str) -> None:
    value = (parameters or {}).get(name)
    if value is not None and type(value) is not bool:
        raise InvalidRequest(f"{name} is of type {type(value).__name__}: expected true or false")


def write_v2(request: InferRequest, answer: InferResponse) -> Response:
    """The REST answer: JSON, or JSON and bytes where the request asked for binary outputs."""
    default = bool((request.parameters or {}).get("binary_data_output", False))
    binary = {out.name: out.binary_data for out in request.request_outputs or ()}
    outputs, tails = [], []
    for output in answer.outputs:
        shown = {"name": output.name, "shape": output.shape, "datatype": output.datatype}
        wanted = binary.get(output.name)
        if default if wanted is None else wanted:
            raw = output._raw_data
            shown["parameters"] = {"binary_data_size": len(raw)}
            tails.append(raw)
        else:
            shown["data"] = _json_values(output)
        outputs.append(shown)
    head = orjson.dumps(
        {
            "model_name": answer.model_name,
            "model_version": answer.model_version,
            "id": answer.id,
            "outputs": outputs,
        }
    )
    if not tails:
        return Response(head, media_type="application/json")
    return Response(
        head + b"".join(tails),
        media_type="application/octet-stream",
        headers={HEADER: str(len(head))},
    )


def _json_length(header: str | None, size: int) -> int:
    if header is None:
        return size
    if not re.fullmatch("[0-9]{1,18}", header) or int(header) > size:
        raise InvalidRequest(
            f"Inference-Header-Content-Length is {header!r}, but the body has {size} bytes"
        )
    return int(header)


def _json_values(output: Any) -> list[Any]:
    array = output.as_numpy().ravel()
    if output.datatype == "BYTES":
        return [element.decode() for element in array]
    values: list[Any] = array.tolist()
    return values
