"""The steps below the InferenceService: the API server, and KServe on it."""

import json
from typing import Any

from ctscan.doctor.case import Case, KServeConfig
from ctscan.doctor.cluster import Json, condition, name_of
from ctscan.doctor.finding import Finding, Remark, failed, found, note, unknown
from ctscan.doctor.reader import Absent, Refused, Unreachable

CONFIG_MAP = "inferenceservice-config"
# KServe's own default, where its ConfigMap names none.
USUAL_GATEWAY = "kserve/kserve-ingress-gateway"
INSTALL = "install KServe in Standard mode: docs/kubernetes.md"
# Names of the mode from before KServe 0.16.
STANDARD = ("Standard", "RawDeployment")


def api_server(case: Case) -> Finding:
    """Whether the API server of the context answers."""
    where = case.cluster.reader.where
    try:
        version = case.cluster.version()
    except Unreachable as error:
        todo = "start the cluster, or name another one with --context"
        return found(where, [unknown(f"the API server does not answer: {error}", todo)])
    except Refused as error:
        todo = "log in to the cluster again, or name another one with --context"
        return found(where, [unknown(str(error), todo)])
    case.server.learn(version)
    return found(f"Kubernetes {version} at {where}")


def kserve(case: Case) -> Finding:
    """Whether KServe is there, its controller runs, and in which mode it deploys."""
    case.server.get()
    if not case.cluster.has_kserve():
        what = "the API server does not know InferenceServices"
        return found("KServe is not installed", [failed(what, INSTALL)])
    case.kserve.learn("installed")
    controllers = case.cluster.controllers()
    if not controllers:
        what = "no Deployment is labelled control-plane=kserve-controller-manager"
        return found("KServe's controller is missing", [failed(what, INSTALL)])
    controller = controllers[0]
    namespace = controller["metadata"]["namespace"]
    remarks = _controller_remarks(controller)
    config, more = _config(case, namespace)
    case.config.learn(config)
    state = "is not running" if remarks else f"{_image_tag(controller)} runs in {namespace}"
    return found(f"controller {state}, default mode {config.mode}", [*remarks, *more])


def _controller_remarks(controller: Json) -> list[Remark]:
    if (controller.get("status") or {}).get("availableReplicas"):
        return []
    namespace, name = controller["metadata"]["namespace"], name_of(controller)
    why = condition(controller, "Available").get("message", "no replica is available")
    return [
        failed(
            f"KServe's controller is not running ({why}): no InferenceService is brought up to "
            "date, and no pod of one can start, for the webhook that admits them is down too",
            f"kubectl -n {namespace} describe deployment {name}, then its pods and their logs",
        )
    ]


def _image_tag(controller: Json) -> str:
    image: str = controller["spec"]["template"]["spec"]["containers"][0]["image"]
    return image.rpartition("/")[2].partition("@")[0]


def _config(case: Case, namespace: str) -> tuple[KServeConfig, list[Remark]]:
    """KServe's configuration, and what in it this service cannot work with."""
    try:
        data = case.cluster.config_map(namespace, CONFIG_MAP)
    except Absent:
        what = f"KServe's ConfigMap {CONFIG_MAP} is missing in {namespace}"
        return _read_config({}), [failed(what, INSTALL)]
    except Refused as error:
        todo = f"ask for the right to read ConfigMaps in {namespace}"
        return _read_config({}), [unknown(str(error), todo)]
    config = _read_config(data)
    remarks = []
    if config.mode not in STANDARD:
        remarks.append(
            note(
                f"the default mode is {config.mode}: an InferenceService has to ask for Standard "
                "by its annotation serving.kserve.io/deploymentMode, as the one in manifests does"
            )
        )
    if not config.gateway_api:
        remarks.append(
            failed(
                "KServe writes Ingress objects, which have one port: gRPC cannot get in",
                f"set enableGatewayApi to true under `ingress` in the ConfigMap {CONFIG_MAP} of "
                f"{namespace}, then restart KServe's controller",
            )
        )
    return config, remarks


def _read_config(data: dict[str, str]) -> KServeConfig:
    ingress, deploy = _part(data, "ingress"), _part(data, "deploy")
    return KServeConfig(
        mode=str(deploy.get("defaultDeploymentMode") or "Standard"),
        # Nothing was read: the way this service needs it, so that the next steps can look.
        gateway_api=bool(ingress.get("enableGatewayApi", not data)),
        gateway=str(ingress.get("kserveIngressGateway") or USUAL_GATEWAY),
        domain=str(ingress.get("ingressDomain") or "example.com"),
    )


def _part(data: dict[str, str], key: str) -> dict[str, Any]:
    try:
        part = json.loads(data.get(key, "{}"))
    except ValueError:
        return {}
    return part if isinstance(part, dict) else {}
