"""The component `gateway-auth`."""

import pytest

from tests.manifests.render import Objects, base_with, every, one

# The routes that KServe makes to the transformer. The third, to the predictor, is denied to all by
# the component `gateway-policy`.
ROUTES = ["ctscan", "ctscan-transformer"]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    return base_with(tmp_path_factory.mktemp("auth"), "gateway-auth", "gateway-policy")


@pytest.mark.parametrize(
    ("kind", "name"),
    [("SecurityPolicy", "ctscan-api-keys"), ("EnvoyExtensionPolicy", "ctscan-no-metrics")],
)
def test_every_way_to_the_transformer_is_behind_it(rendered: Objects, kind: str, name: str) -> None:
    policy = one(rendered, kind, name)
    assert policy["metadata"]["namespace"] == "ctscan"
    targets = policy["spec"]["targetRefs"]
    assert [target["name"] for target in targets] == ROUTES
    assert {target["kind"] for target in targets} == {"HTTPRoute"}


def test_no_route_has_two_policies_of_a_kind(rendered: Objects) -> None:
    # The gateway would take the older one and leave the other out.
    for kind in ("SecurityPolicy", "EnvoyExtensionPolicy", "BackendTrafficPolicy"):
        names = [ref["name"] for it in every(rendered, kind) for ref in it["spec"]["targetRefs"]]
        assert len(set(names)) == len(names), kind


def test_keys_come_from_a_secret_that_is_not_in_the_manifests(rendered: Objects) -> None:
    spec = one(rendered, "SecurityPolicy", "ctscan-api-keys")["spec"]["apiKeyAuth"]
    assert spec["credentialRefs"] == [{"name": "ctscan-api-keys"}]
    assert spec["extractFrom"] == [{"headers": ["x-api-key"]}]
    assert spec["sanitize"] is True
    assert every(rendered, "Secret") == []
