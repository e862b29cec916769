"""Both doors of a service, with one budget for the bodies that come through either."""

from collections.abc import Callable

from fastapi import FastAPI
from grpc import aio
from prometheus_client import REGISTRY

from serving.byte_budget import ByteBudget
from serving.http_door import install_http_door
from serving.kserve.grpc_server import grpc_server
from serving.kserve.readiness import TruthfulDataPlane
from serving.kserve.repository import ClosedRepository
from serving.kserve.statuses import SDK_ERRORS, translate
from serving.metrics import expose
from serving.settings import Settings


def both_doors(
    app: FastAPI,
    data_plane: TruthfulDataPlane,
    repository: ClosedRepository,
    settings: Settings,
    shed: Callable[[str], None],
    admit: Callable[[], None] = lambda: None,
) -> aio.Server:
    """Give the app its metrics and its door, and make the gRPC server; it is not started.

    `shed` is told of each body that the budget refuses; `admit` is asked before one is read.
    """
    # A path with a slash too many is an unknown route, not a redirection to another scheme or host.
    app.router.redirect_slashes = False
    expose(app, REGISTRY)
    budget = ByteBudget(settings.limits.bodies_bytes, shed)
    install_http_door(app, settings.limits, translate, SDK_ERRORS, budget, admit)
    return grpc_server(
        settings.process.grpc_address,
        data_plane,
        repository,
        data_plane.ready,
        settings.limits,
        REGISTRY,
        budget,
    )
