"""The overlay `gpu`: every optional part at once."""

import yaml

from tests.manifests.programs import MANIFESTS, overlay

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


def test_it_is_a_short_list_of_components() -> None:
    text = (FOLDER / "kustomization.yaml").read_text(encoding="utf-8")
    said = yaml.safe_load(text)
    assert said["components"] == [f"../../components/{name}" for name in COMPONENTS]
    assert len(text.splitlines()) <= 30
    assert [path.name for path in FOLDER.iterdir()] == ["kustomization.yaml"]


def test_everything_is_in_one_namespace() -> None:
    rendered = overlay("gpu")
    spread = [it for it in rendered.objects if it["metadata"].get("namespace") != "ctscan"]
    assert [it["kind"] for it in spread] == ["Namespace"]


def test_no_object_is_there_twice() -> None:
    names = [(it["kind"], it["metadata"]["name"]) for it in overlay("gpu").objects]
    assert len(set(names)) == len(names)


def test_images_have_a_registry_and_a_tag() -> None:
    for component in ("predictor", "transformer"):
        image = overlay("gpu").container(component)["image"]
        assert image == f"registry.example.com/ctscan-{component}:0.1.0"


def test_ports_stay_in_their_order_under_every_patch() -> None:
    for component in ("predictor", "transformer"):
        container = overlay("gpu").container(component)
        ports = [(port["name"], port["containerPort"]) for port in container["ports"]]
        assert ports == [("http", 8080), ("grpc", 8081)]
        names = [it["name"] for it in container["env"]]
        assert len(set(names)) == len(names), "of two the last one counts, and nobody is told"


def test_the_mounted_configuration_is_the_one_that_is_made() -> None:
    rendered = overlay("gpu")
    made = {it["metadata"]["name"] for it in rendered.all("ConfigMap")}
    spec = rendered.get("InferenceService", "ctscan")["spec"]
    for component in ("predictor", "transformer"):
        volumes = spec[component]["volumes"]
        used = {volume["configMap"]["name"] for volume in volumes if "configMap" in volume}
        assert used
        assert used <= made


def test_feedback_is_kept() -> None:
    volumes = overlay("gpu").get("InferenceService", "ctscan")["spec"]["transformer"]["volumes"]
    (feedback,) = [volume for volume in volumes if volume["name"] == "feedback"]
    claim = feedback["persistentVolumeClaim"]["claimName"]
    assert overlay("gpu").get("PersistentVolumeClaim", claim)
