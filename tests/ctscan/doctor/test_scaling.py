"""GPUs, autoscalers and the weights of replicas."""

from typing import Any

import pytest

from ctscan.doctor.autoscaling import autoscaling
from ctscan.doctor.case import Case, NotTried
from ctscan.doctor.finding import Outcome
from ctscan.doctor.gpus import gpus
from ctscan.doctor.inference_service import inference_service
from ctscan.doctor.platform import api_server, kserve
from ctscan.doctor.pods import pods
from ctscan.doctor.reader import Refused
from ctscan.doctor.replicas import weights
from tests.ctscan.doctor.patient import (
    FakeReader,
    card,
    case_of,
    failures,
    healthy,
    pod,
    state,
    waiting,
)

SERVICE = "/apis/serving.kserve.io/v1beta1/namespaces/ctscan/inferenceservices/ctscan"
SCALERS = "/apis/autoscaling/v2/namespaces/ctscan/horizontalpodautoscalers"
PODS = "/api/v1/namespaces/ctscan/pods"


def examined(reader: FakeReader) -> Case:
    case = case_of(reader)
    for step in (api_server, kserve, inference_service, pods):
        step(case)
    return case


def asking(reader: FakeReader, resource: str = "nvidia.com/gpu", count: str = "1") -> FakeReader:
    """An InferenceService whose predictor asks for GPUs."""
    (container,) = reader.things[SERVICE]["spec"]["predictor"]["containers"]
    container["resources"] = {"limits": {"cpu": "1", resource: count}}
    return reader


def node(reader: FakeReader, name: str, many: str, ready: str = "True") -> dict[str, Any]:
    return reader.add(
        "/api/v1/nodes",
        {
            "metadata": {"name": name},
            "spec": {},
            "status": {
                "conditions": [state("Ready", ready)],
                "allocatable": {"nvidia.com/gpu": many, "nvidia.com/mig-1g.10gb": many},
            },
        },
    )


def test_a_service_on_cpus_needs_no_node_with_a_gpu() -> None:
    assert gpus(examined(healthy())).said.startswith("none asked for")
    assert gpus(examined(asking(healthy(), count="0"))).said.startswith("none asked for")


@pytest.mark.parametrize("resource", ["nvidia.com/gpu", "nvidia.com/mig-1g.10gb"])
def test_gpus_that_nodes_have(resource: str) -> None:
    reader = asking(healthy(), resource)
    node(reader, "a", "2")
    node(reader, "b", "0")
    finding = gpus(examined(reader))
    assert finding.outcome == Outcome.WELL
    assert finding.said == f"1 {resource} a pod, 2 on 1 node"


def test_nodes_that_take_no_pods_do_not_count() -> None:
    reader = asking(healthy())
    node(reader, "a", "2", ready="False")
    node(reader, "b", "2")["spec"]["unschedulable"] = True
    (what,) = failures(gpus(examined(reader)))
    assert what == "no node that takes pods has 1 of nvidia.com/gpu"


def test_a_pod_takes_its_gpus_from_one_node() -> None:
    reader = asking(healthy(), count="2")
    node(reader, "a", "1")
    node(reader, "b", "1")
    assert failures(gpus(examined(reader)))


def test_gpus_that_are_all_taken_are_a_note() -> None:
    reader = asking(healthy())
    node(reader, "a", "1")
    holder = reader.things[f"{PODS}/predictor-1"]
    holder["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "1"}}
    finding = gpus(examined(reader))
    assert finding.outcome == Outcome.NOTE
    assert "all 1 of nvidia.com/gpu are taken" in finding.remarks[0].what
    # One that is over holds none.
    holder["status"]["phase"] = "Failed"
    assert gpus(examined(reader)).outcome == Outcome.WELL
    reader.refused["/api/v1/pods"] = Refused("you may not")
    assert gpus(examined(reader)).outcome == Outcome.WELL


def test_nodes_that_may_not_be_listed_leave_it_open() -> None:
    reader = asking(healthy())
    reader.refused["nodes"] = Refused("you may not")
    assert gpus(examined(reader)).outcome == Outcome.UNKNOWN


def test_autoscalers_with_metrics() -> None:
    finding = autoscaling(examined(healthy()))
    assert finding.outcome == Outcome.WELL
    assert finding.said == (
        "predictor 1 of 1 to 3 pods (cpu at 7 %), transformer 1 of 1 to 3 pods (cpu at 7 %)"
    )


def test_other_kinds_of_metric_are_shown() -> None:
    reader = healthy()
    status = reader.things[f"{SCALERS}/ctscan-predictor"]["status"]
    rows = {"metric": {"name": "rows"}, "current": {"averageValue": "3"}}
    status["currentMetrics"] = [{"type": "External", "external": rows}, {"type": ""}]
    assert "predictor 1 of 1 to 3 pods (rows at 3)" in autoscaling(examined(reader)).said


def test_a_service_without_autoscalers_has_a_fixed_size() -> None:
    reader = healthy()
    for name in ("ctscan-predictor", "ctscan-transformer"):
        del reader.things[f"{SCALERS}/{name}"]
    other = {"metadata": {"name": "other"}, "spec": {"scaleTargetRef": {"name": "other"}}}
    reader.add(SCALERS, other)
    finding = autoscaling(examined(reader))
    assert finding.said == "predictor is not scaled, transformer is not scaled"
    assert finding.outcome == Outcome.WELL


def external(reader: FakeReader, component: str | None = None) -> FakeReader:
    """The autoscalers are not KServe's: those of both components, or of one."""
    service = reader.things[SERVICE]
    place = service["spec"][component] if component else service["metadata"]
    place["annotations"] = {"serving.kserve.io/autoscalerClass": "external"}
    return reader


def test_an_autoscaler_that_kserve_takes_for_its_own_is_named() -> None:
    (what,) = failures(autoscaling(examined(external(healthy(), "predictor"))))
    assert what == (
        "the autoscaler ctscan-predictor is deleted when the InferenceService next changes"
    )
    assert len(failures(autoscaling(examined(external(healthy()))))) == 2


def test_an_autoscaler_of_ones_own_with_a_name_of_its_own_is_well() -> None:
    reader = external(healthy(), "predictor")
    scaler = reader.things.pop(f"{SCALERS}/ctscan-predictor")
    scaler["metadata"]["name"] = "predictor-by-cpu"
    reader.add(SCALERS, scaler)
    assert autoscaling(examined(reader)).outcome == Outcome.WELL


def test_an_autoscaler_that_somebody_forgot_is_a_note() -> None:
    reader = external(healthy(), "transformer")
    del reader.things[f"{SCALERS}/ctscan-transformer"]
    finding = autoscaling(examined(reader))
    assert finding.outcome == Outcome.NOTE
    assert "the transformer has no autoscaler" in finding.remarks[0].what


def blind(reader: FakeReader, reason: str = "FailedGetResourceMetric") -> FakeReader:
    """An autoscaler of the predictor without metrics."""
    inactive = state("ScalingActive", "False", reason, "unable to get\nmetrics")
    reader.things[f"{SCALERS}/ctscan-predictor"]["status"]["conditions"] = [inactive]
    return reader


@pytest.mark.parametrize(
    ("reason", "gone", "todo"),
    [
        ("FailedGetResourceMetric", True, "install metrics-server"),
        ("FailedGetResourceMetric", False, "kubectl top pods"),
        ("FailedGetExternalMetric", False, "KEDA"),
    ],
)
def test_an_autoscaler_without_metrics_does_not_scale(reason: str, gone: bool, todo: str) -> None:
    reader = blind(healthy(), reason)
    if gone:
        del reader.things["/apis/metrics.k8s.io"]
    (remark,) = autoscaling(examined(reader)).remarks
    assert remark.outcome == Outcome.FAILED
    assert f"({reason}), so the predictor does not scale: unable to get metrics" in remark.what
    assert todo in remark.todo


def test_a_young_pod_has_no_metrics_yet() -> None:
    reader = blind(healthy())
    ready = reader.things[f"{PODS}/predictor-1"]["status"]["conditions"][1]
    ready["lastTransitionTime"] = "2026-11-25T11:59:00Z"
    finding = autoscaling(examined(reader))
    assert finding.outcome == Outcome.NOTE
    assert "the first come up to 120 s" in finding.remarks[0].what


def test_an_autoscaler_that_was_told_to_rest_is_no_fault() -> None:
    assert autoscaling(examined(blind(healthy(), "ScalingDisabled"))).outcome == Outcome.WELL


def test_a_lost_target_and_the_upper_end_are_named() -> None:
    reader = healthy()
    reader.things[f"{SCALERS}/ctscan-predictor"]["status"]["conditions"] = [
        state("AbleToScale", "False", "FailedGetScale", "no such Deployment"),
        state("ScalingLimited", "True", "TooManyReplicas"),
    ]
    lost, full = autoscaling(examined(reader)).remarks
    assert lost.what == "the autoscaler ctscan-predictor cannot scale: no such Deployment"
    assert (full.outcome, full.todo.startswith("raise maxReplicas")) == (Outcome.NOTE, True)


def test_the_card_of_the_predictors_is_told() -> None:
    finding = weights(examined(healthy()))
    assert finding.outcome == Outcome.WELL
    assert finding.said == "version ac4f75dfda89 (resnet18, fp32 on cpu) in 1 of 1 predictors"


def test_predictors_with_different_weights_are_named() -> None:
    reader = healthy()
    for number, version in ((2, "ac4f75dfda89"), (3, "000000000000")):
        reader.add(PODS, pod(f"predictor-{number}"))
        card(reader, f"predictor-{number}", version)
    (what,) = failures(weights(examined(reader)))
    assert what == (
        "the predictors have different weights: ac4f75dfda89 in predictor-1 and predictor-2 and "
        "000000000000 in predictor-3"
    )


def test_a_predictor_without_weights_is_named() -> None:
    reader = healthy()
    card(reader, "predictor-1", None)
    finding = weights(examined(reader))
    assert failures(finding) == ["predictor-1 runs without weights (LOAD_MODEL=0)"]
    assert "no weights" in finding.said


def test_the_port_is_the_one_that_is_called_http() -> None:
    reader = healthy()
    ports = reader.things[f"{PODS}/predictor-1"]["spec"]["containers"][0]["ports"]
    ports[0]["containerPort"] = 9000
    reader.things[f"{PODS}/predictor-1:9000/proxy/card"] = {"version": "x", "model_loaded": True}
    assert weights(examined(reader)).said.startswith("version x")


def test_a_predictor_that_cannot_be_asked_leaves_it_open() -> None:
    reader = healthy()
    reader.refused["/proxy/card"] = Refused("you may not")
    finding = weights(examined(reader))
    assert (finding.said, finding.outcome) == ("not known", Outcome.UNKNOWN)
    assert "pods/proxy" in finding.remarks[0].todo


def test_predictors_that_are_not_ready_are_not_asked() -> None:
    reader = healthy()
    reader.add(PODS, pod("predictor-1", **waiting("ContainerCreating")))
    with pytest.raises(NotTried, match="no predictor pod is ready"):
        weights(examined(reader))
