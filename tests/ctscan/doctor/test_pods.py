from typing import Any

import pytest

from ctscan.doctor.case import Case
from ctscan.doctor.finding import Finding, Outcome
from ctscan.doctor.inference_service import inference_service
from ctscan.doctor.platform import api_server, kserve
from ctscan.doctor.pods import images, pods
from ctscan.doctor.reader import ReadError
from tests.ctscan.doctor.patient import (
    FakeReader,
    case_of,
    event,
    failures,
    healthy,
    pod,
    state,
    waiting,
)

PODS = "/api/v1/namespaces/ctscan/pods"
DEPLOYMENT = "/apis/apps/v1/namespaces/ctscan/deployments/ctscan-predictor"
CRASHED = waiting(
    "CrashLoopBackOff",
    lastState={"terminated": {"reason": "Error", "exitCode": 1}},
    restartCount=2,
)


def look(reader: FakeReader) -> tuple[Case, Finding]:
    case = case_of(reader)
    for step in (api_server, kserve, inference_service):
        step(case)
    return case, pods(case)


def with_log(reader: FakeReader, text: str) -> FakeReader:
    reader.raw[f"{PODS}/predictor-1/log"] = text.encode()
    return reader


def crashing(text: str, **changed: Any) -> FakeReader:
    """A predictor that ends with this log; `changed` are keys of its container."""
    reader = with_log(healthy(), text)
    thing = reader.add(PODS, pod("predictor-1", **CRASHED))
    thing["spec"]["containers"][0].update(changed)
    return reader


def test_pods_that_are_ready_are_counted() -> None:
    case, finding = look(healthy())
    assert finding.outcome == Outcome.WELL
    assert finding.said == "1 of 1 predictor ready, 1 of 1 transformer ready"
    assert case.answering.get() == "transformer-1"


def test_a_wrong_image_tag_is_named() -> None:
    reader = healthy()
    status = waiting("ImagePullBackOff", "x: not found", image="ctscan-predictor:wrong")
    reader.add(PODS, pod("predictor-1", **status))
    (remark,) = look(reader)[1].remarks
    assert remark.what == (
        "predictor pod predictor-1: its image ctscan-predictor:wrong cannot be pulled: "
        "there is no such image or tag"
    )
    assert "ctscan-predictor:wrong under `images:` of the overlay" in remark.todo


def test_a_wrong_weights_path_is_named() -> None:
    log = "ctscan predictor: weights /none.pt do not exist: set MODEL_PATH, or put the file there"
    env = [{"name": "MODEL_PATH", "value": "/none.pt"}]
    (remark,) = look(crashing(log, env=env))[1].remarks
    assert remark.what.endswith(f"ended with status 1, 3 times so far: “{log}”")
    assert remark.todo == (
        "/none.pt is not in the container: MODEL_PATH in spec.predictor is /none.pt: "
        "name a file that there is, or remove it for the weights in the image"
    )


def test_a_wrong_path_in_a_volume_names_the_storage() -> None:
    log = "ctscan predictor: weights /mnt/models/x.pt do not exist: set MODEL_PATH"
    env = [{"name": "MODEL_PATH", "value": "/mnt/models/x.pt"}]
    bare = look(crashing(log, env=env))[1].remarks[0].todo
    assert bare.endswith("but nothing is mounted at /mnt/models: set STORAGE_URI beside it")
    mounts = [{"name": "storage", "mountPath": "/mnt/models"}]
    mounted = look(crashing(log, env=env, volumeMounts=mounts))[1].remarks[0].todo
    assert mounted.endswith("name a file that the storage of STORAGE_URI holds")


def test_weights_that_the_image_lacks() -> None:
    log = "ctscan predictor: weights models/model.pt do not exist: set MODEL_PATH"
    assert "bring them into the image" in look(crashing(log))[1].remarks[0].todo


def test_a_bad_config_map_is_named() -> None:
    log = "ctscan predictor: configuration: limits.rowz: Key 'rowz' not in 'Limits'"
    (remark,) = look(crashing(log))[1].remarks
    assert "limits.rowz" in remark.what
    assert remark.todo == (
        "mend that in configs/config.yaml (it is in the ConfigMap ctscan-config-abc), and apply "
        "the overlay again"
    )


def test_a_bad_configuration_without_a_config_map_is_in_the_image() -> None:
    reader = crashing("ctscan predictor: configuration: limits: expected a mapping")
    reader.things[f"{PODS}/predictor-1"]["spec"]["volumes"] = []
    assert "the configs/config.yaml that its image brings" in look(reader)[1].remarks[0].todo


@pytest.mark.parametrize("log", ["", "RuntimeError: out of ideas"])
def test_an_unknown_end_names_the_command_that_shows_the_log(log: str) -> None:
    (remark,) = look(crashing(log))[1].remarks
    command = "kubectl -n ctscan logs predictor-1 -c kserve-container --previous says more"
    assert remark.todo.startswith(command)
    assert ("“" in remark.what) == bool(log)


def test_a_log_that_the_kubelet_does_not_keep() -> None:
    reader = healthy()
    reader.add(PODS, pod("predictor-1", **CRASHED))
    (what,) = failures(look(reader)[1])
    assert what.endswith("3 times so far")


def test_pods_with_the_same_trouble_are_named_once() -> None:
    reader = healthy()
    for name in ("predictor-1", "predictor-2", "predictor-3"):
        reader.add(PODS, pod(name, **waiting("ErrImageNeverPull")))
    (what,) = failures(look(reader)[1])
    assert what.startswith("each of 3 predictor pods (predictor-1 for one): its image")


def test_events_are_those_of_the_pod_and_may_be_missing() -> None:
    reader = healthy()
    reader.add(PODS, pod("predictor-1", **waiting("ContainerCreating")))
    mount = event("FailedMount", 'secret "key" not found', "uid-predictor-1")
    reader.add("/api/v1/namespaces/ctscan/events", mount)
    assert "needs the Secret key" in failures(look(reader)[1])[0]
    reader.refused["events"] = ReadError("you may not")
    assert "is starting" in failures(look(reader)[1])[0]


def test_a_component_without_a_deployment() -> None:
    reader = healthy()
    del reader.things[DEPLOYMENT]
    assert failures(look(reader)[1]) == ["KServe has made no Deployment for the predictor"]


def test_a_component_that_is_scaled_to_zero_is_a_note() -> None:
    reader = healthy()
    del reader.things[f"{PODS}/predictor-1"]
    reader.things[DEPLOYMENT]["spec"]["replicas"] = 0
    finding = look(reader)[1]
    assert finding.outcome == Outcome.NOTE
    assert "scaled to zero" in finding.remarks[0].what


@pytest.mark.parametrize(
    ("message", "todo"),
    [
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest"', "security context"),
        ('pods "x" is forbidden: exceeded quota: q', "ResourceQuota"),
        ("failed calling webhook: no endpoints", "KServe's controller above"),
        ("out of ideas", "mend what the message names"),
    ],
)
def test_pods_that_are_not_admitted(message: str, todo: str) -> None:
    reader = healthy()
    refusal = state("ReplicaFailure", "True", "FailedCreate", message)
    reader.things[DEPLOYMENT]["status"]["conditions"] = [refusal]
    (remark,) = look(reader)[1].remarks
    assert remark.what == f"no new predictor pod can be made: {message}"
    assert todo in remark.todo


def test_pods_that_are_not_there_yet() -> None:
    reader = healthy()
    del reader.things[f"{PODS}/predictor-1"]
    assert failures(look(reader)[1]) == ["there is no predictor pod yet"]


def test_a_pod_that_ends_counts_no_more() -> None:
    reader = healthy()
    old = reader.add(PODS, pod("transformer-0", "transformer"))
    old["metadata"]["deletionTimestamp"] = "2026-11-25T12:00:00Z"
    case, finding = look(reader)
    assert finding.said.endswith("1 of 1 transformer ready")
    assert finding.outcome == Outcome.NOTE
    assert case.answering.get() == "transformer-1"


def test_images_of_the_service_are_named() -> None:
    finding = images(look(healthy())[0])
    assert finding.outcome == Outcome.WELL
    assert finding.said == "predictor ctscan-predictor:1, transformer ctscan-transformer:1"


def test_ready_pods_with_another_image_are_a_roll_out() -> None:
    reader = healthy()
    old = reader.things[f"{PODS}/predictor-1"]["spec"]["containers"]
    old[0]["image"] = "ctscan-predictor:0"
    # A sidecar that somebody else adds is nobody's business.
    old.append({"name": "proxy", "image": "mesh:1"})
    (remark,) = images(look(reader)[0]).remarks
    assert remark.what.startswith("ready predictor pods still run ctscan-predictor:0:")
