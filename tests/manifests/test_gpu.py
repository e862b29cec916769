"""The component `gpu`."""

import pytest

from serving.settings import ENVIRONMENT
from tests.manifests.render import Objects, base_with, container, spec_of


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    return base_with(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    return base_with(tmp_path_factory.mktemp("gpu"), "gpu")


def test_a_predictor_has_one_gpu_and_a_transformer_none(rendered: Objects) -> None:
    assert container(spec_of(rendered, "predictor"))["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in str(container(spec_of(rendered, "transformer")))


def test_the_rest_of_the_container_is_as_it_was(plain: Objects, rendered: Objects) -> None:
    before, after = (
        container(spec_of(plain, "predictor")),
        container(spec_of(rendered, "predictor")),
    )
    assert after["env"][:-1] == before["env"]
    assert after["resources"]["requests"]["cpu"] == before["resources"]["requests"]["cpu"]
    assert after["resources"]["limits"]["cpu"] == before["resources"]["limits"]["cpu"]
    for key in before.keys() - {"env", "resources"}:
        assert after[key] == before[key], key


def test_it_does_not_start_without_a_gpu(rendered: Objects) -> None:
    assert container(spec_of(rendered, "predictor"))["env"][-1] == {
        "name": "DEVICE",
        "value": "cuda",
    }
    assert "DEVICE" in ENVIRONMENT


def test_a_roll_out_needs_no_spare_gpu(rendered: Objects) -> None:
    predictor = spec_of(rendered, "predictor")
    assert predictor["deploymentStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
    }


def test_it_goes_to_nodes_with_gpus_alone(rendered: Objects) -> None:
    predictor = spec_of(rendered, "predictor")
    assert predictor["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    (toleration,) = predictor["tolerations"]
    assert toleration == {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    assert "nodeSelector" not in spec_of(rendered, "transformer")


def test_cuda_has_memory_of_its_own(plain: Objects, rendered: Objects) -> None:
    before, after = (
        container(spec_of(given, "predictor"))["resources"] for given in (plain, rendered)
    )
    assert (before["limits"]["memory"], after["limits"]["memory"]) == ("2Gi", "8Gi")
    assert after["requests"]["memory"] == "4Gi"
