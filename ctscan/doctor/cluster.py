"""The objects of a cluster that the steps look at, by the names that they have there."""

import json
from collections.abc import Sequence
from typing import Any

from ctscan.doctor.reader import Absent, Reader, ReadError

# An object as the API server has it.
Json = dict[str, Any]

GATEWAY = "/apis/gateway.networking.k8s.io/v1"
KSERVE = "/apis/serving.kserve.io/v1beta1"
LOG_LINES = "80"


class Cluster:
    """Looks things up; every method raises what `Reader.read` raises."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def version(self) -> str:
        return str(self._get("/version")["gitVersion"])

    def has_kserve(self) -> bool:
        """Whether the API server knows InferenceServices. Everybody may ask that."""
        try:
            kinds = self._get(KSERVE)["resources"]
        except Absent:
            return False
        return any(kind["name"] == "inferenceservices" for kind in kinds)

    def has_group(self, group: str) -> bool:
        """Whether the API server knows the API group, `metrics.k8s.io` for one."""
        try:
            self._get(f"/apis/{group}")
        except Absent:
            return False
        return True

    def controllers(self) -> list[Json]:
        """KServe's controller, wherever it runs."""
        return self._list(
            "/apis/apps/v1/deployments", labelSelector="control-plane=kserve-controller-manager"
        )

    def config_map(self, namespace: str, name: str) -> dict[str, str]:
        """Its data."""
        found = self._get(f"/api/v1/namespaces/{namespace}/configmaps/{name}")
        return dict(found.get("data") or {})

    def gateway(self, namespace: str, name: str) -> Json:
        return self._get(f"{GATEWAY}/namespaces/{namespace}/gateways/{name}")

    def gateway_class(self, name: str) -> Json:
        return self._get(f"{GATEWAY}/gatewayclasses/{name}")

    def routes(self, namespace: str) -> list[Json]:
        """HTTPRoutes."""
        return self._list(f"{GATEWAY}/namespaces/{namespace}/httproutes")

    def services(self, selector: str) -> list[Json]:
        """Services of all namespaces."""
        return self._list("/api/v1/services", labelSelector=selector)

    def inference_service(self, namespace: str, name: str) -> Json:
        return self._get(f"{KSERVE}/namespaces/{namespace}/inferenceservices/{name}")

    def inference_services(self) -> list[Json]:
        """Those of all namespaces."""
        return self._list(f"{KSERVE}/inferenceservices")

    def deployment(self, namespace: str, name: str) -> Json:
        return self._get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")

    def pods(self, namespace: str, selector: str) -> list[Json]:
        return self._list(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector)

    def all_pods(self) -> list[Json]:
        """Those of all namespaces that are not over."""
        return self._list("/api/v1/pods", fieldSelector="status.phase!=Succeeded")

    def events(self, namespace: str, uid: str) -> list[Json]:
        """What was reported of one object, oldest first."""
        found = self._list(
            f"/api/v1/namespaces/{namespace}/events", fieldSelector=f"involvedObject.uid={uid}"
        )
        return sorted(found, key=when)

    def log(self, namespace: str, pod: str, container: str, previous: bool) -> list[str]:
        """The last lines; none where the kubelet keeps none."""
        try:
            text = self.reader.read(
                f"/api/v1/namespaces/{namespace}/pods/{pod}/log",
                container=container,
                previous=str(previous).lower(),
                tailLines=LOG_LINES,
            )
        except ReadError:
            return []
        return text.decode(errors="replace").splitlines()

    def ask_pod(self, namespace: str, pod: str, port: int, path: str) -> Json:
        """JSON from a pod, through the API server: works where pods cannot be reached."""
        return self._get(f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/{path}")

    def nodes(self) -> list[Json]:
        return self._list("/api/v1/nodes")

    def autoscalers(self, namespace: str) -> list[Json]:
        return self._list(f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers")

    def _get(self, path: str) -> Json:
        return self._parse(path, self.reader.read(path))

    def _list(self, path: str, **query: str) -> list[Json]:
        items = self._parse(path, self.reader.read(path, **query)).get("items")
        return list(items or [])

    def _parse(self, path: str, body: bytes) -> Json:
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ReadError(f"{path} does not answer with a JSON object")
        return found


def when(event: Json) -> str:
    """The time of an event as the API writes it, for sorting."""
    times = (event.get("lastTimestamp"), event.get("eventTime"), event.get("firstTimestamp"))
    return str(next((time for time in times if time), ""))


def condition(thing: Json, kind: str) -> Json:
    """One of an object's conditions; empty where it has none of that type."""
    return next((it for it in conditions(thing) if it.get("type") == kind), {})


def conditions(thing: Json) -> Sequence[Json]:
    """All of an object's conditions."""
    return (thing.get("status") or {}).get("conditions") or []


def name_of(thing: Json) -> str:
    return str(thing["metadata"]["name"])
