"""Why no node takes a pod, from the scheduler's message. Pure functions."""

import re
from collections.abc import Iterator

from ctscan.doctor.finding import listed

REQUEST = "lower the request in the InferenceService, free some on a node, or add a node"

# A clause of the scheduler's message → plain words, and what to do.
CLAUSES: tuple[tuple[str, str, str], ...] = (
    (r"Insufficient (\S*gpu)", "too few free GPUs ({0})", "free a GPU or add a node with one"),
    (r"Insufficient cpu", "too little free CPU", REQUEST),
    (r"Insufficient memory", "too little free memory", REQUEST),
    (r"Insufficient (\S+)", "too little free {0}", REQUEST),
    (r"Too many pods", "as many pods as the node takes", "free some on the node, or add a node"),
    (
        r"untolerated taint(?:\(s\))? ?(\{[^}]*\})?",
        "a taint that the pod does not tolerate {0}",
        "add a toleration to the InferenceService, or take the taint off the node",
    ),
    (
        r"didn't match Pod's node affinity/selector",
        "other labels than the pod's nodeSelector or affinity asks for",
        "label a node so (kubectl label node), or mend the selector in the InferenceService",
    ),
    (
        r"didn't match pod (?:anti-)?affinity rules|topology spread",
        "pods of the same kind that this one must not join",
        "add a node, or loosen the pod's affinity or topology spread",
    ),
    (r"were unschedulable", "been cordoned", "kubectl uncordon the node"),
    (
        r"persistentvolumeclaim \"([^\"]+)\" not found",
        "no PersistentVolumeClaim {0} to give it",
        "create the claim, or mend its name in the InferenceService",
    ),
    (
        r"unbound immediate PersistentVolumeClaims?|didn't find available persistent volumes",
        "no volume for its PersistentVolumeClaim",
        "kubectl describe pvc: it needs a StorageClass that makes volumes, or a volume by hand",
    ),
    (r"volume node affinity conflict", "its volume elsewhere", "run it where the volume is"),
)


def unschedulable(message: str) -> tuple[str, str]:
    """What the scheduler says in plain words, and what to do.

    `0/2 nodes are available: 2 Insufficient cpu. preemption: …` is its form.
    """
    said = message.partition("preemption:")[0].strip().rstrip(".")
    known = list(_known(said))
    if not known:
        return f"no node takes it: {said}", "kubectl describe pod says more"
    words = listed([it[0] for it in known])
    todos = list(dict.fromkeys(it[1] for it in known))
    nodes = re.match(r"0/(\d+) nodes", said)
    many = "the only node has" if nodes and nodes[1] == "1" else "the nodes have"
    return f"no node takes it: {many} {words}", "; or ".join(todos)


def _known(said: str) -> Iterator[tuple[str, str]]:
    for clause in re.split(r", (?![^{]*\})|: (?=\d)", said):
        for pattern, words, todo in CLAUSES:
            if match := re.search(pattern, clause):
                yield words.format(*(group or "" for group in match.groups())).strip(), todo
                break
