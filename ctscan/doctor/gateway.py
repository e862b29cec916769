"""The step of the Gateway: whether it is programmed, and by which address it is reached."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from ctscan.doctor.case import Case
from ctscan.doctor.cluster import Json, condition, name_of
from ctscan.doctor.finding import Finding, Remark, failed, found, listed, note, unknown
from ctscan.doctor.reader import Absent, ReadError

# The label that Gateway API asks for, then Envoy Gateway's own.
SERVICE_LABELS = (
    "gateway.networking.k8s.io/gateway-name={name}",
    "gateway.envoyproxy.io/owning-gateway-name={name},"
    "gateway.envoyproxy.io/owning-gateway-namespace={namespace}",
)
CONTROLLER = (
    "its controller's log says why: kubectl -n envoy-gateway-system logs deployment/envoy-gateway"
)


def gateway(case: Case) -> Finding:
    """The Gateway that KServe's ConfigMap names."""
    config = case.config.get()
    if not config.gateway_api:
        _learn_ingress(case, [])
        return found("KServe uses no Gateway", [note("the way in is not known", "name --ingress")])
    namespace, _, name = config.gateway.rpartition("/")
    try:
        thing = case.cluster.gateway(namespace, name)
    except Absent:
        return found(f"no Gateway {config.gateway}", [_missing(case, config.gateway)])
    remarks = [*_class_remarks(case, thing), *_gateway_remarks(thing)]
    service = _service(case, namespace, name)
    candidates = list(addresses(case, thing, service))
    tried = _learn_ingress(case, candidates)
    if not case.ingress.known:
        remarks.append(_unreached(tried, service))
    listeners = listed([f"{it['name']} ({it['port']})" for it in thing["spec"]["listeners"]])
    state = "is not ready" if any(_gateway_remarks(thing)) else "is programmed"
    way = f", reached at {case.ingress.get()}" if case.ingress.known else ""
    return found(f"{config.gateway} {state}, listener {listeners}{way}", remarks)


def _missing(case: Case, gateway: str) -> Remark:
    if not case.cluster.has_group("gateway.networking.k8s.io"):
        return failed(
            "the API server does not know Gateways",
            "install the Gateway API and a controller for it, Envoy Gateway for one: "
            "docs/kubernetes.md",
        )
    return failed(
        f"KServe's ConfigMap names the Gateway {gateway}, which does not exist",
        "create it, or put the right name under `ingress`, kserveIngressGateway",
    )


def _class_remarks(case: Case, thing: Json) -> Iterator[Remark]:
    name = thing["spec"]["gatewayClassName"]
    try:
        found_class = case.cluster.gateway_class(name)
    except Absent:
        yield failed(
            f"the GatewayClass {name!r} does not exist, so nobody brings the Gateway up",
            "install its controller, or name an existing class in the Gateway",
        )
        return
    except ReadError:
        return
    accepted = condition(found_class, "Accepted")
    if accepted.get("status") != "True":
        why = accepted.get("message") or "no controller has answered for it"
        yield failed(f"the GatewayClass {name!r} is not accepted: {why}", CONTROLLER)


def _gateway_remarks(thing: Json) -> Iterator[Remark]:
    for kind, meaning in (
        ("Accepted", "is not accepted"),
        ("Programmed", "is accepted, but no proxy serves it yet"),
    ):
        state = condition(thing, kind)
        if state.get("status") != "True":
            why = state.get("message") or "its controller has said nothing"
            yield failed(f"the Gateway {meaning}: {why}", CONTROLLER)
            return
    for listener in (thing.get("status") or {}).get("listeners") or []:
        state = condition({"status": listener}, "Programmed")
        if state.get("status") == "False":
            yield failed(
                f"the listener {listener['name']!r} does not work: {state.get('message')}",
                "mend it in the Gateway: its port, protocol or certificate",
            )


def _service(case: Case, namespace: str, name: str) -> Json | None:
    """The Service of the Gateway's proxy; None where it is not found or may not be read."""
    for label in SERVICE_LABELS:
        try:
            services = case.cluster.services(label.format(name=name, namespace=namespace))
        except ReadError:
            return None
        if services:
            return services[0]
    return None


def addresses(case: Case, thing: Json, service: Json | None) -> Iterator[str]:
    """Where the Gateway may be reached from here, best guess first."""
    listener = thing["spec"]["listeners"][0]
    scheme = "https" if listener["protocol"] in ("HTTPS", "TLS") else "http"
    hosts = [str(it["value"]) for it in (thing.get("status") or {}).get("addresses") or []]
    port = listener["port"]
    if service is not None and service["spec"].get("type") == "NodePort":
        ports = service["spec"]["ports"]
        port = next((it["nodePort"] for it in ports if it["port"] == port), ports[0]["nodePort"])
        # A cluster in containers of this machine hands its node's ports on to loopback.
        hosts = ["127.0.0.1", *hosts]
    for host in hosts:
        yield f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _learn_ingress(case: Case, candidates: list[str]) -> list[str]:
    """Learn the first address that takes a connection; those that were tried."""
    options = case.options
    wanted = [options.ingress] if options.ingress else [*candidates, options.fallback_ingress]
    tried = list(dict.fromkeys(wanted))
    for address in tried:
        parts = urlsplit(address)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if parts.hostname and case.connects(parts.hostname, port):
            case.ingress.learn(address)
            break
    return tried


def _unreached(tried: list[str], service: Json | None) -> Remark:
    forward = "kubectl port-forward to the proxy's Service"
    if service is not None:
        place, port = service["metadata"]["namespace"], service["spec"]["ports"][0]["port"]
        forward = f"kubectl -n {place} port-forward service/{name_of(service)} 8080:{port}"
    return unknown(
        f"nothing takes a connection from here at {listed(tried, 'or')}",
        f"name the right address with --ingress, or run `{forward}` and name "
        "--ingress http://127.0.0.1:8080",
    )
