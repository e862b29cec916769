"""First of all files: from here on there is a service somewhere whose predictor is gone.

`test_return.py` brings it back.
"""

import pytest

from tests.e2e.absence import Forsaken

pytestmark = pytest.mark.further


def test_a_transformer_is_left_alone(forsaken: Forsaken) -> None:
    with forsaken.ingress.client() as client:
        assert client.get("/readyz").status_code == 200
        health = client.get("/health").json()
        assert [health[key] for key in ("ok", "model_loaded")] == [False, False]
