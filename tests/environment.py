"""For services that tests start."""

import os

from serving.settings import ENVIRONMENT


def inherited() -> dict[str, str]:
    """The environment of this process without what would configure a service."""
    return {key: value for key, value in os.environ.items() if key not in ENVIRONMENT}
