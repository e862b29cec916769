"""A roll-out to weights with another input size, and back, loses no request."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import PREDICTOR, TRANSFORMER, Cluster, until
from tests.e2e.ingress import Ingress
from tests.e2e.load import load
from tests.e2e.volume import applied, claim, image_of, succeeded

pytestmark = pytest.mark.further

LEAST = 2000
GO_ON_S = 10.0
ENV = "/spec/predictor/containers/0/env"
CLAIM = "ctscan-weights"
# Untrained, and of a size that the weights of the image do not have.
MAKE = """
from pathlib import Path
import torch
from predictor.checkpoint import weights_sha256
from predictor.networks import NETWORKS
from serving.card import Card, InputSpec, write_card
folder = Path("/volume/other")
folder.mkdir()
torch.manual_seed(5)
weights = folder / "model.pt"
torch.save(NETWORKS["resnet18"]().state_dict(), weights)
card = Card("resnet18", InputSpec(96, 160), weights_sha256=weights_sha256(weights))
write_card(card, folder / "model.yaml")
"""
MAKER = """
apiVersion: v1
kind: Pod
metadata: {{name: weights-maker}}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  securityContext:
    {{runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
    - name: maker
      image: {image}
      imagePullPolicy: IfNotPresent
      command: [python, -c, {program}]
      securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
      volumeMounts: [{{name: weights, mountPath: /volume}}]
  volumes: [{{name: weights, persistentVolumeClaim: {{claimName: {claim}}}}}]
"""


@pytest.fixture
def other_weights(cluster: Cluster) -> Iterator[str]:
    """A `STORAGE_URI` with weights and card; the service runs on its own again at the end."""
    image, program = image_of(cluster, PREDICTOR), json.dumps(MAKE)
    maker = MAKER.format(image=image, program=program, claim=CLAIM)
    with claim(cluster, CLAIM):
        with applied(cluster, maker):
            succeeded(cluster, "weights-maker", 120)
        yield f"pvc://{CLAIM}/other"
        cluster.apply()
        until(lambda: not users(cluster), "nobody uses the weights any more", 120)


def users(cluster: Cluster) -> list[str]:
    """The predictors that have the claim mounted."""
    return [
        pod["metadata"]["name"]
        for pod in cluster.pods(PREDICTOR)
        if any(
            it.get("persistentVolumeClaim", {}).get("claimName") == CLAIM
            for it in pod["spec"]["volumes"]
        )
    ]


async def test_weights_with_another_input_size_under_load(
    cluster: Cluster, ingress: Ingress, png: bytes, other_weights: str
) -> None:
    own: list[Any] = cluster.get("inferenceservice", "ctscan")["spec"]["predictor"]["containers"]
    env = own[0]["env"]
    other = [
        *env,
        {"name": "STORAGE_URI", "value": other_weights},
        {"name": "MODEL_PATH", "value": "/mnt/models/model.pt"},
    ]
    transformers = cluster.uids(TRANSFORMER)

    async with load(ingress, png) as found:
        await found.wait_for(100)
        versions = [await version(ingress, png)]
        for values in (other, env):
            await asyncio.to_thread(roll_out, cluster, values)
            await asyncio.sleep(GO_ON_S)
            versions.append(await version(ingress, png))
        await found.wait_for(max(0, LEAST - found.sent))

    assert found.failures == []
    assert found.sent >= LEAST
    assert versions[0] == versions[2] != versions[1]
    # The very same transformers prepared images for both.
    assert cluster.uids(TRANSFORMER) == transformers
    assert cluster.restarts(PREDICTOR) == cluster.restarts(TRANSFORMER) == 0


def roll_out(cluster: Cluster, env: list[Any]) -> None:
    """Give the predictor another environment; return when the last of the old pods is gone."""
    before = cluster.uids(PREDICTOR)
    cluster.change({"op": "replace", "path": ENV, "value": env})
    until(lambda: cluster.uids(PREDICTOR) - before, "a new predictor", 60)
    until(lambda: not before & cluster.uids(PREDICTOR), "the old predictors are gone", 240)


async def version(ingress: Ingress, png: bytes) -> str:
    """The version of the weights that answer."""
    async with ingress.async_client() as client:
        answer = await client.post("/predict", files={"file": ("slice.png", png)})
    assert answer.status_code == 200
    found: str = answer.json()["model"]["version"]
    return found
