"""The steps of the pods: whether they run, why they wait, and which images they run."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ctscan.doctor.case import Case
from ctscan.doctor.cluster import Json, condition, name_of
from ctscan.doctor.finding import Finding, Rank, Remark, counted, failed, found, listed, note
from ctscan.doctor.inference_service import COMPONENTS
from ctscan.doctor.pod_states import Trouble, troubles
from ctscan.doctor.reader import Absent, ReadError
from ctscan.doctor.words import advice, last_words

# Where KServe mounts what STORAGE_URI names.
STORAGE = "/mnt/models"
SERVICE_LABEL = "serving.kserve.io/inferenceservice"


def pods(case: Case) -> Finding:
    """Every pod of the InferenceService, and why those that are not ready are not."""
    service = case.service.get()
    namespace, name = case.options.namespace, case.options.name
    all_pods = case.cluster.pods(namespace, f"{SERVICE_LABEL}={name}")
    mine = {
        component: [it for it in all_pods if it["metadata"]["labels"].get("component") == component]
        for component in COMPONENTS
        if component in service["spec"]
    }
    case.pods.learn(mine)
    remarks: list[Remark] = []
    counts = []
    for component, group in mine.items():
        ready = [it for it in group if is_ready(it)]
        alive = [it for it in group if not it["metadata"].get("deletionTimestamp")]
        counts.append(f"{len(ready)} of {counted(len(alive), component)} ready")
        remarks += _remarks(case, component, group)
        if component == "transformer" and ready:
            case.answering.learn(name_of(ready[0]))
    return found(", ".join(counts), remarks)


def is_ready(pod: Json) -> bool:
    """Whether a pod takes requests."""
    ending = pod["metadata"].get("deletionTimestamp")
    return not ending and condition(pod, "Ready").get("status") == "True"


def _remarks(case: Case, component: str, group: list[Json]) -> Iterator[Remark]:
    try:
        deployment = case.cluster.deployment(
            case.options.namespace, f"{case.options.name}-{component}"
        )
    except Absent:
        yield failed(
            f"KServe has made no Deployment for the {component}",
            "see what is said of the InferenceService above, and the log of KServe's controller",
        )
        return
    yield from _not_made(component, deployment, group)
    said = [(name_of(pod), it) for pod in group for it in _troubles(case, pod)]
    for trouble in dict.fromkeys(it for _, it in said):
        names = [name for name, it in said if it == trouble]
        what = f"{_called(component, names)}: {trouble.what}"
        yield Remark(trouble.outcome, what, trouble.todo, trouble.rank)


def _called(component: str, names: list[str]) -> str:
    if len(names) == 1:
        return f"{component} pod {names[0]}"
    return f"each of {len(names)} {component} pods ({names[0]} for one)"


def _not_made(component: str, deployment: Json, group: list[Json]) -> Iterator[Remark]:
    """Why pods that should be there are not."""
    refusal = condition(deployment, "ReplicaFailure")
    if refusal.get("status") == "True":
        what = f"no new {component} pod can be made: {refusal.get('message')}"
        yield failed(what, _admit(refusal))
    elif not group and deployment["spec"].get("replicas") == 0:
        what = f"the {component} is scaled to zero: the first request wakes it, and waits for it"
        yield note(what)
    elif not group:
        todo = "wait; then kubectl describe its Deployment says why"
        yield failed(f"there is no {component} pod yet", todo, Rank.PASSING)


def _admit(refusal: Json) -> str:
    """What to do about a pod that the API server does not admit."""
    message = refusal.get("message") or ""
    if "PodSecurity" in message:
        return "give the pod the security context that the namespace's pod security asks for"
    if "quota" in message:
        return "lower the requests and limits, or raise the namespace's ResourceQuota"
    if "webhook" in message:
        return "the webhook's own pods must run: see KServe's controller above"
    return "mend what the message names in the overlay, and apply it again"


def _troubles(case: Case, pod: Json) -> Iterator[Trouble]:
    """What is to be said of a pod, with the last words of a container that ended."""
    namespace = case.options.namespace
    try:
        events = case.cluster.events(namespace, pod["metadata"]["uid"])
    except ReadError:
        events = []
    for trouble in troubles(pod, events):
        if trouble.log is None:
            yield trouble
            continue
        lines = case.cluster.log(
            namespace, name_of(pod), trouble.log.container, trouble.log.previous
        )
        words = last_words(lines)
        known = words and advice(words, config_of(pod), weights_of(pod))
        yield replace(
            trouble,
            what=f"{trouble.what}: “{words}”" if words else trouble.what,
            todo=known or _look(namespace, pod, trouble),
        )


def _look(namespace: str, pod: Json, trouble: Trouble) -> str:
    """The command that shows the log of a trouble, and what else to do."""
    assert trouble.log is not None
    previous = " --previous" if trouble.log.previous else ""
    command = f"kubectl -n {namespace} logs {name_of(pod)} -c {trouble.log.container}{previous}"
    return f"{command} says more{f': {trouble.todo}' if trouble.todo else ''}"


def config_of(pod: Json) -> str:
    """Where a pod has its config.yaml from."""
    maps = [it["configMap"]["name"] for it in pod["spec"].get("volumes") or [] if "configMap" in it]
    if not maps:
        return "the configs/config.yaml that its image brings"
    return f"configs/config.yaml (it is in the ConfigMap {listed(maps, 'or')})"


def weights_of(pod: Json) -> str:
    """Where a pod has its weights from, and how to name others."""
    containers = pod["spec"].get("containers") or []
    env = {it["name"]: it.get("value") for each in containers for it in each.get("env") or []}
    mounts = {it["mountPath"] for each in containers for it in each.get("volumeMounts") or []}
    path = env.get("MODEL_PATH")
    if path is None:
        return "bring them into the image, or set MODEL_PATH in spec.predictor"
    where = f"MODEL_PATH in spec.predictor is {path}"
    if not path.startswith(STORAGE):
        return f"{where}: name a file that there is, or remove it for the weights in the image"
    if STORAGE in mounts:
        return f"{where}: name a file that the storage of STORAGE_URI holds"
    return f"{where}, but nothing is mounted at {STORAGE}: set STORAGE_URI beside it"


def images(case: Case) -> Finding:
    """Which images the ready pods run, and whether they are those of the InferenceService."""
    service = case.service.get()
    said, remarks = [], []
    for component, group in case.pods.get().items():
        wanted = _images(service["spec"][component].get("containers") or [])
        running = [_images(it["spec"]["containers"]) for it in group if is_ready(it)]
        others = {image for it in running for image in it.values()} - set(wanted.values())
        known = {image for it in running for name, image in it.items() if name in wanted}
        said.append(f"{component} {listed(sorted(set(wanted.values())))}")
        if stale := sorted(others & known):
            remarks.append(
                note(
                    f"ready {component} pods still run {listed(stale)}: a roll-out is under way, "
                    "or stuck where a pod above waits"
                )
            )
    return found(", ".join(said), remarks)


def _images(containers: Iterable[Json]) -> dict[str, str]:
    """Image by name of container."""
    return {it.get("name", "kserve-container"): it.get("image", "none") for it in containers}
