"""The predictor is reached from the transformer alone, where the network enforces policies."""

from collections.abc import Iterator

import pytest

from tests.e2e.cluster import TRANSFORMER, Cluster

TARGETS = ("ctscan-predictor-grpc", 8081), ("ctscan-predictor", 80)
OUTSIDER = """
apiVersion: v1
kind: Pod
metadata: {{name: outsider, labels: {{app: outsider}}}}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  securityContext: {{runAsNonRoot: true, runAsUser: 1000, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
    - name: outsider
      image: {image}
      imagePullPolicy: IfNotPresent
      command: [python, -m, http.server, "8000", --directory, /tmp]
      readinessProbe: {{tcpSocket: {{port: 8000}}, periodSeconds: 1}}
      securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: outsider-closed}}
spec: {{podSelector: {{matchLabels: {{app: outsider}}}}, policyTypes: [Ingress]}}
"""
CONNECT = """
import socket
try:
    socket.create_connection(({host!r}, {port}), timeout=5).close()
    print("open")
except TimeoutError:
    print("closed")
except ConnectionRefusedError:
    print("closed")
"""


@pytest.fixture
def outsider(cluster: Cluster) -> Iterator[str]:
    """A pod that is neither of ours, to which a policy lets nobody; its address."""
    (transformer, *_) = cluster.pods(TRANSFORMER)
    manifest = OUTSIDER.format(image=transformer["spec"]["containers"][0]["image"])
    cluster.kubectl("apply", "-f", "-", given=manifest)
    try:
        cluster.kubectl("wait", "pod/outsider", "--for=condition=Ready", "--timeout=60s")
        yield cluster.get("pod", "outsider")["status"]["podIP"]
    finally:
        cluster.kubectl("delete", "-f", "-", "--ignore-not-found", given=manifest)


def test_the_predictor_is_reached_from_the_transformer_alone(
    cluster: Cluster, outsider: str
) -> None:
    for host, port in TARGETS:
        program = CONNECT.format(host=host, port=port)
        assert cluster.run_in(TRANSFORMER, program).strip() == "open"
    if cluster.run_in(TRANSFORMER, CONNECT.format(host=outsider, port=8000)).strip() == "open":
        pytest.skip("this cluster's network plugin does not enforce NetworkPolicy")
    for host, port in TARGETS:
        program = CONNECT.format(host=host, port=port)
        found = cluster.kubectl("exec", "outsider", "--", "python", "-c", program)
        assert found.strip() == "closed"
