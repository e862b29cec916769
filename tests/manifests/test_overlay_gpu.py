"""What is particular to the overlay `gpu`: every optional part at once."""

import yaml

from tests.manifests.render import MANIFESTS, container, one, rendered, spec_of

FOLDER = MANIFESTS / "overlays" / "gpu"
COMPONENTS = [
    "gpu",
    "autoscaling-keda",
    "monitoring",
    "feedback-pvc",
    "network-policy",
    "gateway-policy",
    "gateway-auth",
]


def test_it_is_a_list_of_components_and_nothing_else() -> None:
    said = yaml.safe_load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))
    assert said["components"] == [f"../../components/{name}" for name in COMPONENTS]
    assert [path.name for path in FOLDER.iterdir()] == ["kustomization.yaml"]


def test_no_object_is_there_twice() -> None:
    names = [(it["kind"], it["metadata"]["name"]) for it in rendered(FOLDER)]
    assert len(set(names)) == len(names)


def test_images_have_a_registry() -> None:
    for component in ("predictor", "transformer"):
        image = container(spec_of(rendered(FOLDER), component))["image"]
        assert image == f"registry.example.com/ctscan-{component}:0.1.0"


def test_no_patch_sets_a_variable_a_second_time() -> None:
    for component in ("predictor", "transformer"):
        names = [it["name"] for it in container(spec_of(rendered(FOLDER), component))["env"]]
        # Of two the last one would count, and nobody would be told.
        assert len(set(names)) == len(names)


def test_transformers_on_several_nodes_mount_the_same_volume() -> None:
    claim = one(rendered(FOLDER), "PersistentVolumeClaim", "ctscan-feedback")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
