import json
from typing import Any

import pytest

from ctscan.doctor.answers import disagreement, read_prediction, refused, wrong_probabilities
from ctscan.doctor.finding import Outcome
from serving.card import CLASSES

EVEN = dict.fromkeys(CLASSES, 0.25)
MOST = dict(zip(CLASSES, (0.1, 0.2, 0.3, 0.4), strict=True))


def body(**changed: Any) -> bytes:
    good = {"probabilities": MOST, "pred_class": "normal", "model": {"version": "ac4f"}}
    return json.dumps({**good, **changed}).encode()


def test_a_prediction_is_read() -> None:
    assert read_prediction(body()) == (MOST, "ac4f")


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (b"<html>", "no prediction"),
        (b"[]", "no prediction"),
        (b"{}", "no prediction"),
        (body(probabilities=3), "no prediction"),
        (body(pred_class=CLASSES[0]), "not the most probable"),
        (body(probabilities=dict.fromkeys(CLASSES, 0.3)), "add up to 1.2"),
        (body(probabilities={**EVEN, "normal": -0.25}), "from 0 to 1"),
        (body(probabilities={**EVEN, "normal": "0.25"}), "from 0 to 1"),
        (body(probabilities=dict(reversed(MOST.items()))), "its classes are"),
    ],
)
def test_another_answer_is_told_apart(answer: bytes, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        read_prediction(answer)


def test_rounding_is_no_fault() -> None:
    assert wrong_probabilities({**EVEN, "normal": 0.2504}) is None


def test_two_answers_agree_within_what_the_engine_accepts() -> None:
    values = list(MOST.values())
    assert disagreement(MOST, values) is None
    assert disagreement(MOST, [values[0] + 0.029, values[1], values[2] - 0.029, values[3]]) is None
    said = disagreement(MOST, [values[0] + 0.05, values[1], values[2] - 0.05, values[3]])
    assert said is not None
    assert "0.050" in said


@pytest.mark.parametrize(
    ("status", "detail", "todo"),
    [(503, "no predictor", "predictor's pods"), (429, "full", "replicas"), (500, "x", "log")],
)
def test_a_refusal_of_the_service_is_quoted(status: int, detail: str, todo: str) -> None:
    problem = json.dumps({"detail": detail, "request_id": "1"}).encode()
    remark = refused(status, {}, problem, "h")
    assert remark.what == f"the transformer answers {status}: {detail}"
    assert todo in remark.todo


@pytest.mark.parametrize(
    ("status", "todo"),
    [
        (404, "no route for the host h"),
        (413, "smaller bodies"),
        (502, "cannot talk to the transformer"),
        (503, "no transformer to send it to"),
        (504, "did not answer in time"),
        (418, "the log of the Gateway's proxy"),
    ],
)
def test_a_refusal_of_the_proxy_is_not_taken_for_the_service(status: int, todo: str) -> None:
    remark = refused(status, {"server": "envoy"}, b"no healthy upstream", "h")
    assert remark.what == f"the ingress answers {status} (no healthy upstream)"
    assert todo in remark.todo
    # JSON of another service is no problem object of ours.
    assert "the ingress" in refused(status, {}, b'{"detail": "x"}', "h").what


@pytest.mark.parametrize("status", [401, 403])
def test_a_gate_that_asks_for_a_key_leaves_it_open(status: int) -> None:
    remark = refused(status, {}, b"", "h")
    assert remark.outcome == Outcome.UNKNOWN
    assert "--header" in remark.todo
