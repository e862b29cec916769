import sys
from pathlib import Path

import pytest

from transformer.__main__ import build_app, main


def test_a_start_that_fails_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFIG_PATH", str(tmp_path / "none.yaml"))
    monkeypatch.setattr(sys, "argv", ["transformer"])
    with pytest.raises(SystemExit) as ended:
        main()
    text = str(ended.value.code)
    assert text.startswith("ctscan transformer: ")
    assert str(tmp_path / "none.yaml") in text
    assert "\n" not in text


def test_the_documentation_says_what_this_is_not() -> None:
    assert "not a medical device" in build_app().description
