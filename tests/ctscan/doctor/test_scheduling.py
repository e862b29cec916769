import pytest

from ctscan.doctor.scheduling import unschedulable


@pytest.mark.parametrize(
    ("clause", "words"),
    [
        ("1 Insufficient cpu", "too little free CPU"),
        ("1 Insufficient memory", "too little free memory"),
        ("1 Insufficient nvidia.com/gpu", "too few free GPUs (nvidia.com/gpu)"),
        ("1 Insufficient ephemeral-storage", "too little free ephemeral-storage"),
        ("1 Too many pods", "as many pods as the node takes"),
        (
            "1 node(s) had untolerated taint {gpu: only}",
            "a taint that the pod does not tolerate {gpu: only}",
        ),
        ("1 node(s) had untolerated taint(s)", "a taint that the pod does not tolerate"),
        ("1 node(s) didn't match Pod's node affinity/selector", "other labels than"),
        ("1 node(s) didn't match pod anti-affinity rules", "pods of the same kind"),
        ("1 node(s) were unschedulable", "been cordoned"),
        ("1 node(s) had volume node affinity conflict", "its volume elsewhere"),
        (
            'persistentvolumeclaim "feedback" not found',
            "no PersistentVolumeClaim feedback to give it",
        ),
        ("pod has unbound immediate PersistentVolumeClaims", "no volume for its Persistent"),
    ],
)
def test_a_reason_in_plain_words(clause: str, words: str) -> None:
    tail = "preemption: 0/1 nodes are available: 1 No preemption victims found."
    what, todo = unschedulable(f"0/1 nodes are available: {clause}. {tail}")
    assert f"no node takes it: the only node has {words}" in what
    assert todo
    assert "preemption" not in what


def test_several_reasons_are_all_told() -> None:
    what, todo = unschedulable(
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint "
        "{node.kubernetes.io/not-ready: }, 1 Insufficient memory."
    )
    assert what == (
        "no node takes it: the nodes have too little free CPU, a taint that the pod does not "
        "tolerate {node.kubernetes.io/not-ready: } and too little free memory"
    )
    # Both want the same done, which is said once.
    assert todo.count("lower the request") == 1


def test_an_unknown_reason_is_quoted() -> None:
    what, _ = unschedulable("0/1 nodes are available: 1 node(s) were out of ideas.")
    assert "1 node(s) were out of ideas" in what
