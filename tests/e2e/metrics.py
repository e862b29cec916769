"""What a pod counts, read in the pod itself: no ingress and no policy in between."""

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.cluster import Cluster

READ = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:8080/metrics", timeout=10).read().decode())
"""


def metric(cluster: Cluster, pod: Any, name: str) -> float:
    """The sum of a metric over its labels, in one pod."""
    text = cluster.run_in_pod(pod["metadata"]["name"], READ)
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    )
