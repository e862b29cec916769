import pytest

from ctscan.doctor.images import absent, invalid, unpullable

IMAGE = "ctscan-predictor:9"


@pytest.mark.parametrize(
    ("message", "why", "todo"),
    [
        (f"{IMAGE}: not found", "there is no such image or tag", "kind load"),
        ("manifest unknown", "there is no such image or tag", "kind load"),
        ("dial tcp: lookup docker.io: no such host", "the registry cannot be reached", "kind load"),
        ("pull access denied, repository does not exist", "does not let", "imagePullSecret"),
        ("unexpected status: 401 Unauthorized", "does not let", "imagePullSecret"),
        ("x509: certificate signed by unknown authority", "does not trust", "load the image"),
        ("429 Too Many Requests - toomanyrequests", "takes no more pulls", "load the image"),
        ("no match for platform in manifest", "not there for the node's processor", "check"),
        ("out of ideas", "out of ideas", "check"),
        ("", "the kubelet does not say why", "check"),
    ],
)
def test_why_an_image_cannot_be_pulled(message: str, why: str, todo: str) -> None:
    what, to_do = unpullable(IMAGE, message)
    assert what.startswith(f"its image {IMAGE} cannot be pulled: ")
    assert why in what
    assert todo in to_do


def test_what_to_do_names_the_image_and_where_it_is_written() -> None:
    for _, todo in (unpullable(IMAGE, "not found"), absent(IMAGE)):
        assert IMAGE in todo
        assert "`images:`" in todo
    assert "'ctscan:'" in invalid("ctscan:")[0]
