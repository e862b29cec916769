"""Every state of a pod in plain words, from dicts as the API writes them."""

from typing import Any

import pytest

from ctscan.doctor.finding import Outcome
from ctscan.doctor.pod_states import Log, troubles
from tests.ctscan.doctor.patient import event, not_ready, pod, running, state, waiting

PULL = (
    'failed to pull and unpack image "docker.io/library/ctscan:9": failed to resolve reference '
    '"docker.io/library/ctscan:9": docker.io/library/ctscan:9: not found'
)


def said(status: dict[str, Any], *events: dict[str, Any]) -> str:
    """The one trouble that a status means: what and todo."""
    (found,) = troubles(pod("p", **status), list(events))
    return f"{found.what} → {found.todo}"


def crashed(reason: str = "Error", code: int = 1, message: str = "", restarts: int = 4) -> Any:
    last = {"terminated": {"reason": reason, "exitCode": code, "message": message}}
    return waiting("CrashLoopBackOff", "back-off", lastState=last, restartCount=restarts)


def test_a_ready_pod_is_no_trouble() -> None:
    assert troubles(pod("p"), []) == []


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (waiting("ErrImagePull", PULL), "there is no such image or tag"),
        (waiting("ImagePullBackOff", "Back-off", image="ctscan:9"), "its image ctscan:9 cannot"),
        (waiting("ErrImageNeverPull"), "is not on the node and is not to be pulled"),
        (waiting("InvalidImageName", image="ctscan:"), "has the name 'ctscan:', which is none"),
        (
            waiting("CreateContainerConfigError", 'configmap "settings" not found'),
            "needs the ConfigMap settings, which does not exist → create it",
        ),
        (
            waiting("CreateContainerConfigError", 'secret "key" not found'),
            "needs the Secret key, which does not exist",
        ),
        (
            waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run"),
            "may not run as root, and its image would",
        ),
        (
            waiting("RunContainerError", "exec: no such file"),
            "cannot be started (RunContainerError): exec: no such file",
        ),
        (waiting("ContainerCreating"), "is starting → wait"),
        (crashed(), "its container kserve-container ended with status 1, 5 times so far"),
        (crashed(code=0, reason="Completed"), "ended by itself, as if it were done"),
        (crashed("OOMKilled", 137), "needs more than its limit of 2Gi, 5 times so far"),
        (
            crashed("StartError", 128, "exec: no such file"),
            "cannot be started: exec: no such file, 5",
        ),
        (crashed("Error", 137), "was killed by the node, 5 times so far"),
        (
            {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."},
            "was evicted from its node: The node was low on memory.",
        ),
        ({"phase": "Failed", "reason": "NodeLost"}, "is over (NodeLost) → kubectl delete pod"),
        (
            {
                "phase": "Pending",
                "conditions": [
                    state("PodScheduled", "False", "Unschedulable", "0/1 nodes are available: 1 x")
                ],
            },
            "no node takes it",
        ),
    ],
)
def test_a_state_in_plain_words(status: dict[str, Any], words: str) -> None:
    assert words in said(status)


def test_the_reason_of_an_image_may_stand_in_an_event_alone() -> None:
    assert "no such image or tag" in said(
        waiting("ImagePullBackOff", "Back-off pulling image"), event("Failed", PULL)
    )


@pytest.mark.parametrize(
    ("reason", "message", "words"),
    [
        (
            "FailedMount",
            'MountVolume.SetUp failed for volume "config" : configmap "ctscan-config" not found',
            "needs the ConfigMap ctscan-config, which does not exist",
        ),
        ("FailedMount", "timed out waiting for the condition", "a volume cannot be mounted: timed"),
        ("FailedAttachVolume", "volume is in use", "a volume cannot be mounted: volume is in use"),
        ("FailedCreatePodSandBox", "cni: no address", "cannot give it a network: cni: no address"),
    ],
)
def test_what_keeps_a_container_from_being_made(reason: str, message: str, words: str) -> None:
    assert words in said(waiting("ContainerCreating"), event(reason, message))


def test_a_failing_probe_is_quoted() -> None:
    status = not_ready(running(ready=False))
    probe = event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
    assert "is running, but not ready: Readiness probe failed: HTTP" in said(status, probe)
    assert "is starting" in said(status)


def test_the_error_of_a_runtime_is_told_without_the_way_to_it() -> None:
    message = "failed to create task: unable to start container process: exec: no such file"
    assert "cannot be started: exec: no such file" in said(crashed("StartError", 128, message))


def test_a_failed_liveness_probe_is_told_from_a_crash() -> None:
    event_of_it = event("Killing", "Container kserve-container failed liveness probe, restarted")
    assert "the liveness probe of its container" in said(crashed(code=137), event_of_it)


def test_the_log_of_the_run_that_ended_is_wanted() -> None:
    (waits,) = troubles(pod("p", **crashed()), [])
    assert waits.log == Log("kserve-container", previous=True)
    ended = running(ready=False, state={"terminated": {"reason": "Error", "exitCode": 1}})
    (over,) = troubles(pod("p", **not_ready(ended)), [])
    assert over.log == Log("kserve-container", previous=False)


def test_a_container_that_was_started_anew_is_named_until_it_is_ready() -> None:
    last = {"terminated": {"reason": "Error", "exitCode": 3}}
    again = running(ready=False, lastState=last, restartCount=1)
    assert "ended with status 3" in said(not_ready(again))


def test_a_past_end_of_a_ready_pod_is_a_note() -> None:
    last = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    healed = running(lastState=last, restartCount=1)
    (found,) = troubles(pod("p", containerStatuses=[healed]), [])
    assert found.outcome == Outcome.NOTE
    assert found.what == (
        "is ready again after 1 restart; before the last one, its container kserve-container ran "
        "out of memory: it needs more than its limit of 2Gi"
    )


def test_an_init_container_speaks_for_those_that_wait_for_it() -> None:
    status = waiting("PodInitializing")
    failed = {"terminated": {"reason": "Error", "exitCode": 2}}
    done = {"terminated": {"reason": "Completed", "exitCode": 0}}
    status["initContainerStatuses"] = [
        running(name="first", ready=True, state=done),
        running(name="storage-initializer", ready=False, state=failed),
    ]
    assert "its container storage-initializer ended with status 2" in said(status)


def test_a_pod_that_ends_is_left_in_peace() -> None:
    ending = pod("p", **crashed())
    ending["metadata"]["deletionTimestamp"] = "2026-11-25T12:00:00Z"
    (found,) = troubles(ending, [])
    assert (found.what, found.outcome) == ("is being ended", Outcome.NOTE)
