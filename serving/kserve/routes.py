"""V1 and V2 REST routes: the SDK's endpoints, documented, with our V2 bodies.

Without this OpenAPI shows neither bodies nor errors of V1 and V2, V1 takes JSON for raw bytes where
the content type names a charset, and `infer` reads bodies as `v2_body` says it should not.
"""

from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import APIRouter, HTTPException, Request, Response
from kserve.protocol.rest.v1_endpoints import V1Endpoints
from kserve.protocol.rest.v2_datamodels import (
    ListModelsResponse,
    ModelMetadataResponse,
    ModelReadyResponse,
    ServerLiveResponse,
    ServerMetadataResponse,
    ServerReadyResponse,
)
from kserve.protocol.rest.v2_endpoints import V2Endpoints
from pydantic import BaseModel

from serving import errors
from serving.json_body import MOST_PARTS, read_json
from serving.kserve.readiness import TruthfulDataPlane
from serving.kserve.repository import ClosedRepository
from serving.kserve.v2_body import HEADER, V2Request, V2Response, read_v2, write_v2
from serving.kserve.versions import no_versions
from serving.openapi import SCHEMAS, problem_responses

# The binary tensor data extension, as OpenAPI shows it of a request and of its answer.
BINARY = {
    "application/octet-stream": {
        "schema": {
            "type": "string",
            "format": "binary",
            "description": "The JSON, and after it the bytes of each tensor that has a "
            "`parameters.binary_data_size`, in order.",
        }
    }
}
JSON_LENGTH = {
    "description": "Bytes of JSON before those of the tensors; without it all is JSON.",
    "schema": {"type": "integer", "minimum": 0},
}
READY = "Whether a prediction would succeed now"
INFER_ERRORS = (
    errors.InvalidRequest,
    errors.InvalidTensor,
    errors.InvalidImage,
    errors.UnsuitableImage,
    errors.TooLarge,
    errors.UnknownModel,
    errors.Overloaded,
    errors.Unavailable,
    errors.DeadlineExceeded,
)


@dataclass(frozen=True)
class V1Api:
    """What OpenAPI shows of a V1 call: `body` as its `requestBody`, and `answer`."""

    body: dict[str, Any]
    answer: type[BaseModel]


def v1_routes(data_plane: TruthfulDataPlane, predict_api: V1Api, explain_api: V1Api) -> APIRouter:
    """`/v1/models…`; the last two are what OpenAPI shows of `:predict` and `:explain`."""
    endpoints = V1Endpoints(data_plane)
    router = APIRouter(prefix="/v1", tags=["V1"])
    router.add_api_route("/models", endpoints.models, summary="Names of the models")

    async def predict(model_name: str, request: Request) -> Response:
        body = await read(model_name, request)
        found, _ = await data_plane.infer(model_name, body, dict(request.headers))
        return Response(orjson.dumps(found), media_type="application/json")

    async def explain(model_name: str, request: Request) -> Response:
        body = await read(model_name, request)
        found, _ = await data_plane.explain(model_name, body, dict(request.headers))
        return Response(orjson.dumps(found), media_type="application/json")

    async def read(model_name: str, request: Request) -> Any:
        await data_plane.get_model(model_name)
        return read_json(await request.body(), "see /docs", MOST_PARTS)

    router.add_api_route(
        "/models/{model_name}:predict",
        predict,
        methods=["POST"],
        response_model=None,
        summary="Classify images (V1)",
        openapi_extra=predict_api.body,
        responses={200: {"model": predict_api.answer}, **problem_responses(*INFER_ERRORS)},
    )
    router.add_api_route(
        "/models/{model_name}:explain",
        explain,
        methods=["POST"],
        response_model=None,
        summary="Say how much each cell of an image adds to a class (V1)",
        openapi_extra=explain_api.body,
        responses={
            200: {"model": explain_api.answer},
            **problem_responses(*INFER_ERRORS, errors.NoActivationMaps),
        },
    )
    for verb in ("predict", "explain"):
        # Else the route of a model's readiness below takes the verb for part of its name.
        router.add_api_route(f"/models/{{model_name}}:{verb}", _post_only, include_in_schema=False)
    router.add_api_route(
        "/models/{model_name}",
        endpoints.model_ready,
        summary=READY,
        responses=problem_responses(errors.UnknownModel, errors.Unavailable),
    )
    return router


def v2_routes(
    data_plane: TruthfulDataPlane, repository: ClosedRepository, most_parts: int | None = None
) -> APIRouter:
    """`/v2…`: health, metadata, inference, and a repository that refuses.

    `most_parts` bounds the JSON of a request where no tensor of it is a list of numbers.
    """
    endpoints = V2Endpoints(data_plane, repository)
    router = APIRouter(prefix="/v2", tags=["V2"])
    unavailable = problem_responses(errors.Unavailable)
    unknown = problem_responses(errors.UnknownModel, errors.Unavailable)
    reads: tuple[tuple[str, Any, Any, str, dict[int | str, Any]], ...] = (
        ("", endpoints.metadata, ServerMetadataResponse, "Name, version and extensions", {}),
        ("/health/live", endpoints.live, ServerLiveResponse, "This process lives", {}),
        ("/health/ready", endpoints.ready, ServerReadyResponse, READY, unavailable),
        ("/models", endpoints.models, ListModelsResponse, "Names of the models", {}),
        (
            "/models/{model_name}",
            endpoints.model_metadata,
            ModelMetadataResponse,
            "Inputs and outputs with their datatypes and shapes",
            unknown,
        ),
        ("/models/{model_name}/ready", endpoints.model_ready, ModelReadyResponse, READY, unknown),
    )
    for path, endpoint, model, summary, responses in reads:
        router.add_api_route(
            path, endpoint, response_model=model, summary=summary, responses=responses
        )
    for path in (
        "/models/{model_name}/versions/{version}",
        "/models/{model_name}/versions/{version}/infer",
        "/models/{model_name}/versions/{version}/ready",
    ):
        router.add_api_route(path, _no_versions, methods=["GET", "POST"], include_in_schema=False)
    for verb in (endpoints.load, endpoints.unload):
        router.add_api_route(
            "/repository/models/{model_name}/" + verb.__name__,
            verb,
            methods=["POST"],
            include_in_schema=False,
        )

    async def infer(model_name: str, request: Request) -> Response:
        await data_plane.get_model(model_name)
        body = await request.body()
        parsed = read_v2(body, request.headers.get(HEADER), model_name, most_parts)
        answer, _ = await data_plane.infer(model_name, parsed, dict(request.headers))
        return write_v2(parsed, answer)

    router.add_api_route(
        "/models/{model_name}/infer",
        infer,
        methods=["POST"],
        summary="Infer (V2, JSON or binary tensor data)",
        responses={
            200: {"model": V2Response, "content": BINARY, "headers": {HEADER.title(): JSON_LENGTH}},
            **problem_responses(*INFER_ERRORS),
        },
        openapi_extra={
            "parameters": [
                {"name": HEADER.title(), "in": "header", "required": False, **JSON_LENGTH}
            ],
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": V2Request.model_json_schema(ref_template=SCHEMAS + "{model}")
                    },
                    **BINARY,
                },
            },
        },
    )
    return router


async def _post_only(model_name: str) -> None:
    raise HTTPException(405, headers={"Allow": "POST"})


async def _no_versions(model_name: str, version: str) -> None:
    raise no_versions("leave /versions/… out of the path")
