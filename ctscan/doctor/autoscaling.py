"""The step of the autoscalers: whether they have the metrics that they scale by."""

from collections.abc import Iterator

from ctscan.doctor.case import Case
from ctscan.doctor.cluster import Json, condition, name_of
from ctscan.doctor.finding import Finding, Remark, failed, found, listed, note
from ctscan.doctor.pods import is_ready

CLASS = "serving.kserve.io/autoscalerClass"
# The first metrics of a pod come 30 to 40 seconds after it is ready, at the latest.
METRICS_AFTER_S = 120.0


def autoscaling(case: Case) -> Finding:
    """The HPAs of both components, KEDA's among them."""
    pods = case.pods.get()
    scalers = case.cluster.autoscalers(case.options.namespace)
    said: list[str] = []
    remarks: list[Remark] = []
    for component in pods:
        target = f"{case.options.name}-{component}"
        mine = [it for it in scalers if it["spec"]["scaleTargetRef"]["name"] == target]
        said.append(f"{component} {_range(mine[0])}" if mine else f"{component} is not scaled")
        if _class(case.service.get(), component) == "external":
            remarks += _foreign(target, component, mine)
        for scaler in mine:
            remarks += _remarks(case, scaler, component, pods[component])
    return found(", ".join(said), remarks)


def _class(service: Json, component: str) -> str:
    """Who scales a component: `hpa` (KServe's), `keda`, `external` or `none`."""
    own = service["spec"][component].get("annotations") or {}
    of_all = service["metadata"].get("annotations") or {}
    return str(own.get(CLASS) or of_all.get(CLASS) or "hpa")


def _foreign(target: str, component: str, mine: list[Json]) -> Iterator[Remark]:
    """What is wrong with an autoscaler that is not KServe's."""
    rename = (
        f"give the autoscaler another name than {target}: KServe 0.20 takes one of that name for "
        "its own, writes over it and deletes it"
    )
    if not mine:
        yield note(
            f"{CLASS} is external, and the {component} has no autoscaler", f"apply one; {rename}"
        )
    elif name_of(mine[0]) == target:
        what = f"the autoscaler {target} is deleted when the InferenceService next changes"
        yield failed(what, rename)


def _range(scaler: Json) -> str:
    spec, status = scaler["spec"], scaler.get("status") or {}
    now = status.get("currentReplicas", 0)
    metrics = [text for it in status.get("currentMetrics") or [] if (text := _metric(it))]
    shown = f" ({listed(metrics)})" if metrics else ""
    return f"{now} of {spec.get('minReplicas', 1)} to {spec['maxReplicas']} pods{shown}"


def _metric(metric: Json) -> str:
    kind = str(metric.get("type", ""))
    value = metric.get(kind[:1].lower() + kind[1:]) or {}
    name = value.get("name") or (value.get("metric") or {}).get("name") or kind
    current = value.get("current") or {}
    if "averageUtilization" in current:
        return f"{name} at {current['averageUtilization']} %"
    amount = current.get("averageValue") or current.get("value")
    return f"{name} at {amount}" if amount is not None else ""


def _remarks(case: Case, scaler: Json, component: str, group: list[Json]) -> Iterator[Remark]:
    active, name = condition(scaler, "ScalingActive"), name_of(scaler)
    if active.get("status") == "False" and active.get("reason") != "ScalingDisabled":
        yield _blind(case, name, component, active, group)
    able = condition(scaler, "AbleToScale")
    if able.get("status") == "False":
        what = f"the autoscaler {name} cannot scale: {able.get('message')}"
        yield failed(what, "check that its scaleTargetRef names a Deployment that exists")
    limited = condition(scaler, "ScalingLimited")
    if limited.get("status") == "True" and limited.get("reason") == "TooManyReplicas":
        what = f"the {component} is at its most pods and would have more"
        yield note(what, "raise maxReplicas if its answers are slow")


def _blind(case: Case, name: str, component: str, active: Json, group: list[Json]) -> Remark:
    """An autoscaler without metrics: for now, or for want of what gives them."""
    ready = [condition(it, "Ready").get("lastTransitionTime") for it in group if is_ready(it)]
    youngest = max((case.age_s(since) for since in ready), default=0.0)
    said = f"the autoscaler {name} has no metrics ({active.get('reason')})"
    if youngest < METRICS_AFTER_S:
        return note(f"{said}: the first come up to {METRICS_AFTER_S:g} s after a pod is ready")
    message = " ".join((active.get("message") or "").split())[:200]
    if "External" in active.get("reason", ""):
        todo = "see that KEDA's operator and the metrics' source answer: kubectl describe hpa"
    elif not case.cluster.has_group("metrics.k8s.io"):
        todo = "install metrics-server; on kind with --kubelet-insecure-tls"
    else:
        todo = (
            "see that metrics-server answers (kubectl top pods), and that every container of the "
            f"{component} has a CPU request"
        )
    return failed(f"{said}, so the {component} does not scale: {message}", todo)
