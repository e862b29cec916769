"""The step of the GPUs, where the InferenceService asks for some."""

from collections.abc import Iterable

from ctscan.doctor.case import Case
from ctscan.doctor.cluster import Json, condition, name_of
from ctscan.doctor.finding import Finding, counted, failed, found, listed, note, unknown
from ctscan.doctor.reader import ReadError


def gpus(case: Case) -> Finding:
    """Whether nodes have the GPUs that the pods ask for."""
    spec = case.service.get()["spec"]
    asked = {
        resource: count
        for component in ("predictor", "transformer")
        for resource, count in _asked((spec.get(component) or {}).get("containers") or []).items()
    }
    if not asked:
        return found("none asked for: the predictor runs on CPUs")
    said, remarks = [], []
    try:
        nodes = case.cluster.nodes()
    except ReadError as error:
        return found("not known", [unknown(str(error), "ask for the right to list nodes")])
    for resource, count in asked.items():
        having = {name_of(it): _capacity(it, resource) for it in nodes if _serves(it)}
        having = {name: many for name, many in having.items() if many}
        total = sum(having.values())
        said.append(f"{counted(count, resource)} a pod, {total} on {counted(len(having), 'node')}")
        if not any(many >= count for many in having.values()):
            remarks.append(
                failed(
                    f"no node that takes pods has {count} of {resource}",
                    "install the device plugin (NVIDIA's GPU operator), check the driver of the "
                    "node, or deploy an overlay without GPUs",
                )
            )
            continue
        used = _used(case, resource)
        if used is not None and used >= total:
            held = f"all {total} of {resource} are taken"
            remarks.append(note(f"{held}: another replica has to wait for one"))
    return found(listed(said), remarks)


def _asked(containers: Iterable[Json]) -> dict[str, int]:
    """GPUs of one pod by resource; `nvidia.com/gpu`, `amd.com/gpu` and MIG slices count."""
    found: dict[str, int] = {}
    for container in containers:
        limits = (container.get("resources") or {}).get("limits") or {}
        for resource, count in limits.items():
            if resource.endswith("/gpu") or "/mig-" in resource:
                found[resource] = found.get(resource, 0) + int(count)
    return {resource: count for resource, count in found.items() if count}


def _serves(node: Json) -> bool:
    ready = condition(node, "Ready").get("status") == "True"
    return ready and not node["spec"].get("unschedulable")


def _capacity(node: Json, resource: str) -> int:
    return int(((node.get("status") or {}).get("allocatable") or {}).get(resource, 0))


def _used(case: Case, resource: str) -> int | None:
    """GPUs that pods of the whole cluster hold; None where they may not be listed."""
    try:
        pods = case.cluster.all_pods()
    except ReadError:
        return None
    held = [it for it in pods if it["spec"].get("nodeName") and _runs(it)]
    return sum(_asked(it["spec"]["containers"]).get(resource, 0) for it in held)


def _runs(pod: Json) -> bool:
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
