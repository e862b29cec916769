import json

from benchmarks.request import kserve_v1, predict, predict_batch, v2_infer

URL = "http://127.0.0.1:8000"
IMAGES = [b"one", b"three"]


def parts(request: bytes) -> tuple[str, bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    return head.decode(), body


def test_a_request_says_its_length_and_ends_with_its_body() -> None:
    for target in (
        predict(URL, IMAGES),
        predict_batch(URL, IMAGES, 3),
        v2_infer(URL, IMAGES, 3),
        kserve_v1(URL, IMAGES),
    ):
        assert (target.host, target.port) == ("127.0.0.1", 8000)
        for request in target.requests:
            head, body = parts(request)
            assert f"Content-Length: {len(body)}" in head.splitlines()


def test_a_batch_repeats_the_images_until_it_has_enough() -> None:
    (request,) = predict_batch(URL, IMAGES, 3).requests
    head, body = parts(request)
    assert head.startswith("POST /predict/batch HTTP/1.1")
    assert (body.count(b"\r\n\r\none\r\n"), body.count(b"\r\n\r\nthree\r\n")) == (2, 1)
    assert body.count(b'name="files"') == 3


def test_v2_sends_each_image_behind_its_length() -> None:
    (request,) = v2_infer(URL, IMAGES, 3).requests
    head, body = parts(request)
    raw = b"\3\0\0\0one\5\0\0\0three\3\0\0\0one"
    assert body.endswith(raw)
    assert f"Inference-Header-Content-Length: {len(body) - len(raw)}" in head.splitlines()
    (tensor,) = json.loads(body[: -len(raw)])["inputs"]
    assert tensor["shape"] == [3]
    assert tensor["parameters"] == {"binary_data_size": len(raw)}
