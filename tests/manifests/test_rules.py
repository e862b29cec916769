"""Recording rules and alerts, by Prometheus' own judgement."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests.expressions import MONITORING, expressions, rules
from tests.manifests.programs import run
from tests.manifests.promql import selectors

CASES = sorted((Path(__file__).parent / "monitoring").glob("*.yaml"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the rules as Prometheus itself reads them.

    Without what to do about an alert: promtool compares every annotation, and a case would repeat
    whole sentences.
    """
    document = yaml.safe_load((MONITORING / "rules.yaml").read_text(encoding="utf-8"))
    for group in document["spec"]["groups"]:
        for rule in group["rules"]:
            rule.get("annotations", {}).pop("action", None)
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(document["spec"]), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_rules_say_what_the_cases_expect(case: Path, folder: Path) -> None:
    shutil.copy(case, folder / "case.yaml")
    assert "SUCCESS" in run("promtool", "test", "rules", "case.yaml", folder=folder)


def test_every_expression_can_be_parsed(folder: Path) -> None:
    found = [{"record": "checked", "expr": it, "labels": {"of": at}} for at, it in expressions()]
    named = [rule["expr"] for rule in rules()]
    assert len(found) > len(named) > 10
    groups = {"groups": [{"name": "all", "rules": found}]}
    (folder / "all.yaml").write_text(yaml.safe_dump(groups), encoding="utf-8")
    printed = run("promtool", "check", "rules", "all.yaml", folder=folder)
    assert f"SUCCESS: {len(found)} rules found" in printed


def cases(kind: str) -> set[str]:
    """Names of rules that a case expects something of; of alerts only where they fire."""
    found = set()
    for path in CASES:
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            if kind == "alert":
                tests: list[dict[str, Any]] = test.get("alert_rule_test", [])
                found |= {it["alertname"] for it in tests if it["exp_alerts"]}
            else:
                tests = test.get("promql_expr_test", [])
                said = [it["expr"] for it in tests if it["exp_samples"]]
                found |= {item.metric for expression in said for item in selectors(expression)}
    return found


@pytest.mark.parametrize("kind", ["alert", "record"])
def test_every_rule_has_a_case_in_which_it_says_something(kind: str) -> None:
    assert cases(kind) >= {rule[kind] for rule in rules() if kind in rule}


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
            assert set(rule["annotations"]) == {"summary", "action"}, rule["alert"]
