"""The steps of the InferenceService itself: its conditions, and the routes that KServe made."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from ctscan.doctor.case import Case, duration
from ctscan.doctor.cluster import Json, condition, conditions, name_of
from ctscan.doctor.finding import Finding, Rank, Remark, failed, found, listed, note
from ctscan.doctor.platform import STANDARD
from ctscan.doctor.reader import Absent, ReadError

APPLY = "kubectl apply -k manifests/overlays/kind, or another overlay"
MODE = "serving.kserve.io/deploymentMode"
STOP = "serving.kserve.io/stop"
COMPONENTS = ("predictor", "transformer")

# Condition of an InferenceService → what it is about, in plain words.
MEANINGS = {
    "PredictorReady": "the predictor has too few ready pods",
    "TransformerReady": "the transformer has too few ready pods",
    "IngressReady": "the ingress does not lead to it yet",
    "LatestDeploymentReady": "the newest roll-out has not finished",
}
# What follows from the pods, which a later step looks at.
OF_PODS = ("PredictorReady", "TransformerReady", "LatestDeploymentReady")


def inference_service(case: Case) -> Finding:
    """Whether the InferenceService is there and ready, and why not."""
    case.kserve.get()
    options = case.options
    try:
        service = case.cluster.inference_service(options.namespace, options.name)
    except Absent:
        return found(f"{options.name} is not in {options.namespace}", [_missing(case)])
    case.service.learn(service)
    host = urlsplit((service.get("status") or {}).get("url") or "").hostname
    if host:
        case.host.learn(host)
    remarks = [*_shape_remarks(service), *_condition_remarks(case, service)]
    state = condition(service, "Ready")
    if state.get("status") == "True":
        since = duration(case.age_s(state.get("lastTransitionTime")))
        said = f"{options.name} has been ready for {since}"
    else:
        said = f"{options.name} is not ready"
    return found(f"{said}{f', {host}' if host else ''}", remarks)


def _missing(case: Case) -> Remark:
    """What to do where there is no such InferenceService: another namespace, another name."""
    options = case.options
    try:
        others = [
            f"--namespace {it['metadata']['namespace']} --name {name_of(it)}"
            for it in case.cluster.inference_services()
        ]
    except ReadError:
        others = []
    what = f"the namespace {options.namespace} has no InferenceService {options.name}"
    if others:
        return failed(what, f"apply it ({APPLY}), or look at {listed(others[:3], 'or')}")
    return failed(what, APPLY)


def _shape_remarks(service: Json) -> Iterator[Remark]:
    annotations = service["metadata"].get("annotations") or {}
    status = service.get("status") or {}
    mode = status.get("deploymentMode") or annotations.get(MODE) or STANDARD[0]
    if mode not in STANDARD:
        yield failed(
            f"it is deployed in mode {mode}, which has one port for each component: this service "
            "needs two, REST and gRPC",
            f"set the annotation {MODE}: Standard; the mode of an existing InferenceService cannot "
            "be changed, so delete it and apply it again",
        )
    if annotations.get(STOP) == "true":
        yield failed(f"it was stopped by its annotation {STOP}", "remove the annotation")
    for component in COMPONENTS:
        if component not in service["spec"]:
            yield failed(f"it has no {component}", f"apply it as manifests have it: {APPLY}")


def _condition_remarks(case: Case, service: Json) -> Iterator[Remark]:
    metadata = service["metadata"]
    if not conditions(service):
        yield failed(
            "KServe's controller has said nothing of it yet",
            "wait some seconds; after that the controller's log says why: "
            "kubectl -n kserve logs deployment/kserve-controller-manager",
        )
        yield from _warnings(case, metadata["uid"])
        return
    bad = [it for it in conditions(service) if _is_bad(it)]
    for state in bad:
        meaning = MEANINGS.get(state["type"], f"its condition {state['type']} is not met")
        since = duration(case.age_s(state.get("lastTransitionTime")))
        yield failed(f"{meaning}, for {since}{_words(state)}", _where(state), Rank.CONSEQUENCE)
    if bad:
        yield from _model_remarks(service)
        yield from _warnings(case, metadata["uid"])


def _where(state: Json) -> str:
    """The step below that says why a condition is not met."""
    kind = state["type"].removesuffix("Ready").lower()
    if state["type"] in OF_PODS:
        return f"see what is said of the {kind}'s pods below"
    if "Deployment NotReady" in state.get("reason", ""):
        return "it waits for the pods: see below"
    return "see the route below"


def _is_bad(state: Json) -> bool:
    # `Stopped` is well when false, and `Ready` is the sum of the others.
    return state["type"] not in ("Ready", "Stopped") and state.get("status") != "True"


def _words(state: Json) -> str:
    said = ": ".join(state[key] for key in ("reason", "message") if state.get(key))
    return f" ({said})" if said else ""


def _model_remarks(service: Json) -> Iterator[Remark]:
    """KServe's own guess at why the model did not load."""
    info = ((service.get("status") or {}).get("modelStatus") or {}).get("lastFailureInfo") or {}
    if info.get("message"):
        yield note(f"KServe says of the model: {info.get('reason')}: {info['message'].strip()}")


def _warnings(case: Case, uid: str) -> Iterator[Remark]:
    """The newest warning that the controller wrote down."""
    try:
        events = case.cluster.events(case.options.namespace, uid)
    except ReadError:
        return
    # Two writers met, and the controller tried again.
    passing = "the object has been modified"
    warnings = [
        it
        for it in events
        if it.get("type") == "Warning" and passing not in (it.get("message") or "")
    ]
    if warnings:
        event = warnings[-1]
        yield note(f"KServe's controller warns: {event.get('reason')}: {event.get('message')}")


def routes(case: Case) -> Finding:
    """Whether the Gateway has taken the HTTPRoute of the InferenceService, REST and gRPC."""
    case.service.get()
    host = case.host.get()
    if not case.config.get().gateway_api:
        return found("KServe made an Ingress", [note("whether it works, the calls below say")])
    all_routes = case.cluster.routes(case.options.namespace)
    mine = [it for it in all_routes if host in (it["spec"].get("hostnames") or [])]
    if not mine:
        what = f"no HTTPRoute in {case.options.namespace} is for the host {host}"
        todo = "KServe's controller makes it when the transformer is ready; its log says why not"
        return found("no HTTPRoute", [failed(what, todo, Rank.CONSEQUENCE)])
    remarks = [remark for route in mine for remark in _route_remarks(route)]
    state = "was not taken by the Gateway" if remarks else "leads REST and gRPC to the transformer"
    return found(f"{host} {state}", remarks)


def _route_remarks(route: Json) -> Iterator[Remark]:
    parents = (route.get("status") or {}).get("parents") or []
    if not parents:
        yield failed(
            f"no Gateway has answered for the HTTPRoute {name_of(route)}",
            "see the step of the gateway above; its listener must allow routes from all namespaces",
        )
    for parent in parents:
        for state in parent.get("conditions") or []:
            if state["type"] in ("Accepted", "ResolvedRefs") and state["status"] != "True":
                yield failed(
                    f"the Gateway refuses the HTTPRoute {name_of(route)}{_words(state)}",
                    "NotAllowedByListeners: let the Gateway's listener take routes from all "
                    "namespaces; BackendNotFound: wait for KServe to make the Services",
                )
    if len(route["spec"].get("rules") or []) < 2:
        yield failed(
            f"the HTTPRoute {name_of(route)} has no rule for gRPC",
            "give the transformer's container the ports http (8080) and grpc (8081), in this order",
        )
