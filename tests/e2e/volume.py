"""Claims that get a volume, whether or not the cluster makes volumes by itself."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.e2e.cluster import TRANSFORMER, Cluster, kubectl

DEFAULT = "storageclass.kubernetes.io/is-default-class"
FOLDER = "/tmp/ctscan-e2e"
CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: {name}}}
spec:
  accessModes: [ReadWriteOnce]
  resources: {{requests: {{storage: 1Gi}}}}
"""
# The claim asks for it by name, and it is kept for that claim.
CLASSLESS = """
  storageClassName: ""
  volumeName: {namespace}-{name}
"""
VOLUME = """
apiVersion: v1
kind: PersistentVolume
metadata: {{name: {namespace}-{name}}}
spec:
  capacity: {{storage: 1Gi}}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Retain
  storageClassName: ""
  claimRef: {{namespace: {namespace}, name: {name}}}
  hostPath: {{path: {folder}/{namespace}-{name}}}
  nodeAffinity:
    required:
      nodeSelectorTerms:
        - matchExpressions:
            - {{key: kubernetes.io/hostname, operator: In, values: [{node}]}}
"""
# A folder of the node belongs to root: somebody who may must hand it over.
CARETAKER = """
apiVersion: v1
kind: Pod
metadata: {{name: caretaker}}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  securityContext: {{runAsUser: 0}}
  containers:
    - name: caretaker
      image: {image}
      imagePullPolicy: IfNotPresent
      command: [python, -c, {program}]
      volumeMounts: [{{name: folder, mountPath: /folder}}]
  volumes: [{{name: folder, hostPath: {{path: {folder}, type: DirectoryOrCreate}}}}]
"""
MAKE = "import os; os.makedirs({path!r}); os.chown({path!r}, 1000, 1000)"
REMOVE = "import shutil; shutil.rmtree({path!r}, ignore_errors=True)"


@contextmanager
def claim(cluster: Cluster, name: str) -> Iterator[str]:
    """A claim of that name in the cluster's namespace; whoever used it must be gone at the end.

    Where nothing makes volumes, it is bound to a folder of the node.
    """
    if has_provisioner():
        with applied(cluster, CLAIM.format(name=name)):
            yield name
        return
    places = {"namespace": cluster.namespace, "name": name, "folder": FOLDER}
    path = "/folder/{namespace}-{name}".format(**places)
    node = take_care(cluster, REMOVE.format(path=path) + "; " + MAKE.format(path=path))
    volume = VOLUME.format(node=node, **places)
    try:
        kubectl("apply", "-f", "-", given=volume)
        with applied(cluster, (CLAIM + CLASSLESS.lstrip("\n")).format(**places)):
            yield name
    finally:
        kubectl("delete", "-f", "-", "--ignore-not-found", "--timeout=60s", given=volume)
        take_care(cluster, REMOVE.format(path=path))


def has_provisioner() -> bool:
    """Whether a claim that names no class gets a volume."""
    classes = json.loads(kubectl("get", "storageclasses", "-o", "json"))["items"]
    return any(it["metadata"].get("annotations", {}).get(DEFAULT) == "true" for it in classes)


@contextmanager
def applied(cluster: Cluster, manifest: str) -> Iterator[None]:
    """The objects, until the block ends."""
    cluster.kubectl("apply", "-f", "-", given=manifest)
    try:
        yield
    finally:
        cluster.kubectl("delete", "-f", "-", "--ignore-not-found", "--timeout=90s", given=manifest)


def take_care(cluster: Cluster, program: str) -> str:
    """Run a program as root beside the folders on a node; the name of that node."""
    image = image_of(cluster, TRANSFORMER)
    # Not in the namespace of the service: there only the restricted profile is let in.
    elsewhere = Cluster(f"{cluster.namespace}-volumes")
    manifest = CARETAKER.format(image=image, program=json.dumps(program), folder=FOLDER)
    kubectl("create", "namespace", elsewhere.namespace)
    try:
        elsewhere.kubectl("apply", "-f", "-", given=manifest)
        succeeded(elsewhere, "caretaker")
        node: str = elsewhere.get("pod", "caretaker")["spec"]["nodeName"]
    finally:
        elsewhere.delete()
    return node


def succeeded(cluster: Cluster, pod: str, seconds: float = 90) -> None:
    """Wait until the pod has done its work."""
    phase = "--for=jsonpath={.status.phase}=Succeeded"
    cluster.kubectl("wait", f"pod/{pod}", phase, f"--timeout={seconds:g}s")


def image_of(cluster: Cluster, component: str) -> str:
    """The image that a component runs."""
    spec: Any = cluster.get("inferenceservice", "ctscan")["spec"]
    image: str = spec[component]["containers"][0]["image"]
    return image
