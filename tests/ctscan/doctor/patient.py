"""A healthy cluster as dicts, for tests that make it ill; and the case of examining it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ctscan.doctor.case import Case, Options
from ctscan.doctor.cluster import Cluster
from ctscan.doctor.finding import Finding, Outcome
from ctscan.doctor.reader import Absent, ReadError

NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
LONG_AGO = "2026-11-25T11:00:00Z"
HOST = "ctscan-ctscan.example.com"
# Last segments of a path that stand for a list.
LISTS = (
    "deployments",
    "events",
    "horizontalpodautoscalers",
    "httproutes",
    "inferenceservices",
    "nodes",
    "pods",
    "services",
)

Json = dict[str, Any]


class FakeReader:
    """Answers from dicts: `things` by their path, and lists from what lies below a path."""

    where = "https://cluster.test:6443 (context test)"

    def __init__(self) -> None:
        self.things: dict[str, Json] = {}
        self.raw: dict[str, bytes] = {}
        self.refused: dict[str, ReadError] = {}

    def add(self, path: str, thing: Json) -> Json:
        """Put an object under the path of its list; the object, to be changed."""
        self.things[f"{path}/{thing['metadata']['name']}"] = thing
        return thing

    def read(self, path: str, **query: str) -> bytes:
        for part, error in self.refused.items():
            if part in path:
                raise error
        if path in self.raw:
            return self.raw[path]
        if path.rpartition("/")[2] in LISTS:
            return json.dumps({"items": self._below(path, query)}).encode()
        if path in self.things:
            return json.dumps(self.things[path]).encode()
        raise Absent(f"{path} is not there")

    def _below(self, path: str, query: dict[str, str]) -> list[Json]:
        kind = path.rpartition("/")[2]
        start = path if "/namespaces/" in path else path.removesuffix(kind)
        found = [
            thing
            for own, thing in self.things.items()
            if own.startswith(start) and own.split("/")[-2] == kind
        ]
        selector = query.get("labelSelector", "")
        wanted = dict(pair.split("=") for pair in selector.split(",") if pair)
        uid = query.get("fieldSelector", "").partition("involvedObject.uid=")[2]
        return [
            it
            for it in found
            if wanted.items() <= it["metadata"].get("labels", {}).items()
            and (not uid or it["involvedObject"]["uid"] == uid)
        ]


def state(kind: str, status: str = "True", reason: str = "", message: str = "") -> Json:
    """A condition."""
    said = {"reason": reason, "message": message}
    return {
        "type": kind,
        "status": status,
        "lastTransitionTime": LONG_AGO,
        **{key: text for key, text in said.items() if text},
    }


def pod(name: str, component: str = "predictor", **status: Any) -> Json:
    """A pod of the service, running and ready unless its status says otherwise."""
    container = {
        "name": "kserve-container",
        "image": f"ctscan-{component}:1",
        "ports": [
            {"name": "http", "containerPort": 8080},
            {"name": "grpc", "containerPort": 8081},
        ],
        "resources": {"limits": {"cpu": "2", "memory": "2Gi"}},
        "env": [],
    }
    labels = {"serving.kserve.io/inferenceservice": "ctscan", "component": component}
    healthy = {
        "phase": "Running",
        "conditions": [state("PodScheduled"), state("Ready")],
        "containerStatuses": [running()],
    }
    return {
        "metadata": {"name": name, "uid": f"uid-{name}", "labels": labels},
        "spec": {
            "nodeName": "node-1",
            "containers": [container],
            "volumes": [{"name": "config", "configMap": {"name": "ctscan-config-abc"}}],
        },
        "status": {**healthy, **status},
    }


def running(**more: Any) -> Json:
    """The status of a container that runs and is ready."""
    return {
        "name": "kserve-container",
        "image": "ctscan-predictor:1",
        "ready": True,
        "restartCount": 0,
        "state": {"running": {}},
        **more,
    }


def waiting(reason: str, message: str = "", **more: Any) -> Json:
    """The status of a pod whose container waits."""
    state_of_it = {"waiting": {"reason": reason, "message": message}}
    return not_ready(running(ready=False, state=state_of_it, **more))


def not_ready(container: Json) -> Json:
    """The status of a pod that is scheduled and not ready."""
    return {
        "phase": "Pending",
        "conditions": [state("PodScheduled"), state("Ready", "False")],
        "containerStatuses": [container],
    }


def event(reason: str, message: str, uid: str = "uid-p", time: str = LONG_AGO) -> Json:
    """A warning about the object with this uid."""
    return {
        "metadata": {"name": f"{uid}-{reason}-{time}"},
        "involvedObject": {"uid": uid},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "lastTimestamp": time,
    }


def healthy() -> FakeReader:
    """A cluster on which all is well."""
    reader = FakeReader()
    reader.things["/version"] = {"gitVersion": "v1.34.4"}
    reader.things["/apis/serving.kserve.io/v1beta1"] = {
        "resources": [{"name": "inferenceservices"}]
    }
    for group in ("gateway.networking.k8s.io", "metrics.k8s.io"):
        reader.things[f"/apis/{group}"] = {"name": group}
    _kserve(reader)
    _gateway(reader)
    _service(reader)
    return reader


def _kserve(reader: FakeReader) -> None:
    image = {"image": "kserve/kserve-controller:v0.20.0"}
    reader.add(
        "/apis/apps/v1/namespaces/kserve/deployments",
        {
            "metadata": {
                "name": "kserve-controller-manager",
                "namespace": "kserve",
                "labels": {"control-plane": "kserve-controller-manager"},
            },
            "spec": {"template": {"spec": {"containers": [image]}}},
            "status": {"availableReplicas": 1, "conditions": [state("Available")]},
        },
    )
    ingress = {"enableGatewayApi": True, "kserveIngressGateway": "kserve/gate"}
    reader.add(
        "/api/v1/namespaces/kserve/configmaps",
        {
            "metadata": {"name": "inferenceservice-config"},
            "data": {
                "ingress": json.dumps(ingress),
                "deploy": '{"defaultDeploymentMode": "Standard"}',
            },
        },
    )


def _gateway(reader: FakeReader) -> None:
    gateways = "/apis/gateway.networking.k8s.io/v1"
    reader.add(
        f"{gateways}/gatewayclasses",
        {"metadata": {"name": "envoy"}, "status": {"conditions": [state("Accepted")]}},
    )
    reader.add(
        f"{gateways}/namespaces/kserve/gateways",
        {
            "metadata": {"name": "gate", "namespace": "kserve"},
            "spec": {
                "gatewayClassName": "envoy",
                "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
            },
            "status": {
                "addresses": [{"value": "10.0.0.7"}],
                "conditions": [state("Accepted"), state("Programmed")],
                "listeners": [{"name": "http", "conditions": [state("Programmed")]}],
            },
        },
    )
    reader.add(
        "/api/v1/namespaces/envoy-gateway-system/services",
        {
            "metadata": {
                "name": "envoy-gate",
                "namespace": "envoy-gateway-system",
                "labels": {
                    "gateway.envoyproxy.io/owning-gateway-name": "gate",
                    "gateway.envoyproxy.io/owning-gateway-namespace": "kserve",
                },
            },
            "spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]},
        },
    )


def _service(reader: FakeReader) -> None:
    spec = {
        component: {"containers": [{"name": "kserve-container", "image": f"ctscan-{component}:1"}]}
        for component in ("predictor", "transformer")
    }
    kinds = ("IngressReady", "PredictorReady", "TransformerReady", "Ready")
    reader.add(
        "/apis/serving.kserve.io/v1beta1/namespaces/ctscan/inferenceservices",
        {
            "metadata": {"name": "ctscan", "namespace": "ctscan", "uid": "uid-isvc"},
            "spec": spec,
            "status": {
                "url": f"http://{HOST}",
                "deploymentMode": "Standard",
                "conditions": [*(state(it) for it in kinds), state("Stopped", "False")],
            },
        },
    )
    reader.add(
        "/apis/gateway.networking.k8s.io/v1/namespaces/ctscan/httproutes",
        {
            "metadata": {"name": "ctscan"},
            "spec": {"hostnames": [HOST], "rules": [{}, {}]},
            "status": {"parents": [{"conditions": [state("Accepted"), state("ResolvedRefs")]}]},
        },
    )
    for component in ("predictor", "transformer"):
        name = f"ctscan-{component}"
        reader.add(
            "/apis/apps/v1/namespaces/ctscan/deployments",
            {"metadata": {"name": name}, "spec": {"replicas": 1}, "status": {}},
        )
        reader.add("/api/v1/namespaces/ctscan/pods", pod(f"{component}-1", component))
        reader.add(
            "/apis/autoscaling/v2/namespaces/ctscan/horizontalpodautoscalers",
            {
                "metadata": {"name": name},
                "spec": {"scaleTargetRef": {"name": name}, "minReplicas": 1, "maxReplicas": 3},
                "status": {
                    "currentReplicas": 1,
                    "conditions": [state("AbleToScale"), state("ScalingActive")],
                    "currentMetrics": [
                        {
                            "type": "Resource",
                            "resource": {"name": "cpu", "current": {"averageUtilization": 7}},
                        }
                    ],
                },
            },
        )
    card(reader, "predictor-1")


def card(reader: FakeReader, name: str, version: str | None = "ac4f75dfda89") -> None:
    """What a predictor pod answers to `GET /card`."""
    reader.things[f"/api/v1/namespaces/ctscan/pods/{name}:8080/proxy/card"] = {
        "version": version,
        "device": "cpu",
        "precision": "fp32",
        "model_loaded": version is not None,
        "card": {"architecture": "resnet18"} if version else None,
    }


def case_of(
    reader: FakeReader,
    options: Options | None = None,
    connects: Callable[[str, int], bool] = lambda host, port: True,
) -> Case:
    """The case of a cluster, at one moment."""
    return Case(Cluster(reader), options or Options(), connects, lambda: NOW)


def failures(finding: Finding) -> list[str]:
    """What a finding says is wrong."""
    return [it.what for it in finding.remarks if it.outcome == Outcome.FAILED]
