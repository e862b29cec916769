"""Why a pod is not what it should be, in plain words: pure functions of what the API shows."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ctscan.doctor import images
from ctscan.doctor.cluster import Json, condition
from ctscan.doctor.finding import Outcome, Rank, counted
from ctscan.doctor.scheduling import unschedulable

APPLY = "mend it in the overlay, and apply it again"
RECREATE = "kubectl delete pod: its Deployment makes another one"


@dataclass(frozen=True)
class Log:
    """A container's log that says more; `previous` is that of the run before this one."""

    container: str
    previous: bool


@dataclass(frozen=True)
class Trouble:
    """One thing about a pod, what to do about it, and the log that may say more."""

    what: str
    todo: str
    outcome: Outcome = Outcome.FAILED
    log: Log | None = None
    rank: Rank = Rank.FAULT


def troubles(pod: Json, events: Sequence[Json]) -> list[Trouble]:
    """All that is to be said of a pod; `events` are its own, oldest first."""
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return [Trouble("is being ended", "", Outcome.NOTE)]
    if status.get("phase") == "Failed":
        return [_over(status)]
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return [Trouble(*unschedulable(scheduled.get("message") or ""))]
    found = [*_containers(pod, events)]
    if found or condition(pod, "Ready").get("status") == "True":
        return found
    return [*_not_ready(events)]


def _over(status: Json) -> Trouble:
    """A pod that the kubelet gave up as a whole."""
    reason, message = status.get("reason") or "Failed", status.get("message") or ""
    if reason == "Evicted":
        todo = "free memory or disk on the node, or raise the requests to what the pod uses"
        return Trouble(f"was evicted from its node: {message}", todo)
    return Trouble(f"is over ({reason}): {message}".rstrip(": "), RECREATE)


def _containers(pod: Json, events: Sequence[Json]) -> Iterator[Trouble]:
    status = pod.get("status") or {}
    for container in status.get("initContainerStatuses") or []:
        state = container.get("state") or {}
        if (state.get("terminated") or {}).get("exitCode") != 0 and "running" not in state:
            yield from _container(pod, container, events)
    # These wait for the init containers, which then say why.
    for container in status.get("containerStatuses") or []:
        yield from _container(pod, container, events)


def _container(pod: Json, status: Json, events: Sequence[Json]) -> Iterator[Trouble]:
    """One container, init or not, from its status."""
    state = status.get("state") or {}
    last = (status.get("lastState") or {}).get("terminated")
    if "waiting" in state:
        if last and state["waiting"].get("reason") in ("CrashLoopBackOff", "RunContainerError"):
            yield _ended(pod, status, last, events, previous=True)
        else:
            yield from _waiting(status, state["waiting"], events)
    elif "terminated" in state:
        yield _ended(pod, status, state["terminated"], events, previous=False)
    elif last and not status.get("ready"):
        yield _ended(pod, status, last, events, previous=True)
    elif last:
        how = _end(pod, status, last, events, previous=True)
        again = counted(status.get("restartCount", 1), "restart")
        what = f"is ready again after {again}; before the last one, {how.what}"
        yield Trouble(what, "", Outcome.NOTE, how.log)


def _waiting(status: Json, waiting: Json, events: Sequence[Json]) -> Iterator[Trouble]:
    reason, message = waiting.get("reason") or "", waiting.get("message") or ""
    image = status.get("image") or ""
    if reason in ("ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable"):
        # The waiting message of older kubelets says no more than that they wait.
        said = " ".join([message, *(_said(events, "Failed"))])
        yield Trouble(*images.unpullable(image, said))
    elif reason == "ErrImageNeverPull":
        yield Trouble(*images.absent(image))
    elif reason == "InvalidImageName":
        yield Trouble(*images.invalid(image))
    elif reason in ("ContainerCreating", "PodInitializing", ""):
        yield from _mounting(events)
    else:
        yield Trouble(*_unmade(status["name"], reason, message))


MISSING = re.compile(r"(configmap|secret|persistentvolumeclaim) \"([^\"]+)\" not found", re.I)
KINDS = {
    "configmap": "ConfigMap",
    "secret": "Secret",
    "persistentvolumeclaim": "PersistentVolumeClaim",
}


def _absent(message: str) -> tuple[str, str] | None:
    """What a pod needs and its namespace does not have."""
    if match := MISSING.search(message):
        thing = f"{KINDS[match[1].lower()]} {match[2]}"
        return f"needs the {thing}, which does not exist", f"create it, or {APPLY}"
    return None


def _unmade(name: str, reason: str, message: str) -> tuple[str, str]:
    """A container that cannot be made or started."""
    if missing := _absent(message):
        return missing
    if "runAsNonRoot" in message:
        return (
            f"its container {name} may not run as root, and its image would",
            "set runAsUser in the InferenceService, or USER in the Dockerfile, to a number above 0",
        )
    said = " ".join(message.split())[:200]
    return f"its container {name} cannot be started ({reason}): {said}", APPLY


def _mounting(events: Sequence[Json]) -> Iterator[Trouble]:
    """What keeps the kubelet from making the containers: volumes and the network."""
    for message in _said(events, "FailedMount", "FailedAttachVolume")[-1:]:
        what, todo = _absent(message) or (
            f"a volume cannot be mounted: {' '.join(message.split())[:200]}",
            f"check the volumes of the InferenceService: {APPLY}",
        )
        yield Trouble(what, todo)
        return
    for message in _said(events, "FailedCreatePodSandBox", "NetworkNotReady")[-1:]:
        yield Trouble(
            f"the node cannot give it a network: {' '.join(message.split())[:200]}",
            "look at the cluster's network plugin on that node",
        )


def _ended(
    pod: Json, status: Json, end: Json, events: Sequence[Json], *, previous: bool
) -> Trouble:
    """A container whose last run is over, and how often that was so."""
    how = _end(pod, status, end, events, previous=previous)
    times = status.get("restartCount", 0)
    return replace(how, what=f"{how.what}, {times + 1} times so far") if times else how


def _end(pod: Json, status: Json, end: Json, events: Sequence[Json], *, previous: bool) -> Trouble:
    """How the last run of a container came to its end."""
    name = status["name"]
    log = Log(name, previous)
    code, message = end.get("exitCode"), " ".join((end.get("message") or "").split())[:200]
    if end.get("reason") == "OOMKilled":
        return Trouble(
            f"its container {name} ran out of memory: it needs more than its limit"
            f"{_memory_limit(pod, name)}",
            "raise resources.limits.memory of that container in the InferenceService, or lower "
            "what config.yaml lets it hold: limits.queue_rows, limits.body_bytes",
        )
    if end.get("reason") in ("StartError", "ContainerCannotRun"):
        # The runtime tells its own way to the error before the error.
        why = message.rpartition("unable to start container process: ")[2]
        return Trouble(f"its container {name} cannot be started: {why}", APPLY)
    if any("failed liveness probe" in it for it in _said(events, "Killing")):
        todo = "look for what kept it from answering: too little CPU, or a fault in its log"
        return Trouble(f"the liveness probe of its container {name} failed", todo, log=log)
    if code == 137:
        todo = "kubectl describe pod, and the memory of the node"
        return Trouble(f"its container {name} was killed by the node", todo, log=log)
    how = "by itself, as if it were done" if code == 0 else f"with status {code}"
    return Trouble(f"its container {name} ended {how}", APPLY, log=log)


def _memory_limit(pod: Json, name: str) -> str:
    for container in pod["spec"].get("containers") or []:
        limits = (container.get("resources") or {}).get("limits") or {}
        if container["name"] == name and "memory" in limits:
            return f" of {limits['memory']}"
    return ""


def _not_ready(events: Sequence[Json]) -> Iterator[Trouble]:
    """A pod that runs and is not ready, or that has not come so far yet."""
    for message in _said(events, "Unhealthy")[-1:]:
        said = " ".join(message.split())[:200]
        todo = "wait if it has just started; else kubectl logs says why"
        yield Trouble(f"is running, but not ready: {said}", todo, rank=Rank.PASSING)
        return
    yield Trouble("is starting", "wait, and ask again", rank=Rank.PASSING)


def _said(events: Sequence[Json], *reasons: str) -> list[str]:
    return [it.get("message") or "" for it in events if it.get("reason") in reasons]
