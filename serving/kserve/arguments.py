"""The arguments that KServe's controller appends to a container, as environment.

Without this a custom transformer does not learn where its predictor is. Source: KServe's
`transformer_custom.go`: `--model_name`, `--predictor_host` (no port), `--http_port`, `--workers`.
"""

import argparse
from collections.abc import Mapping, Sequence

from serving.settings import MODEL_NAME, ConfigError, dns_address, set_in


def with_arguments(environment: Mapping[str, str], arguments: Sequence[str]) -> dict[str, str]:
    """The environment with what the arguments say put over it; unknown arguments are let be.

    Raises:
        ConfigError: the model has another name than the one this service answers to.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("model_name", "predictor_host", "http_port", "grpc_port"):
        parser.add_argument(f"--{name}")
    given, _ = parser.parse_known_args(list(arguments))
    if given.model_name not in (None, MODEL_NAME):
        raise ConfigError(f"--model_name is {given.model_name!r}, expected {MODEL_NAME!r}")
    found = set_in(environment)
    if given.http_port:
        found["HTTP_ADDRESS"] = f"0.0.0.0:{given.http_port}"
    if given.grpc_port:
        found["GRPC_ADDRESS"] = f"0.0.0.0:{given.grpc_port}"
    if given.predictor_host:
        target = given.predictor_host
        has_port = ":" in dns_address(target)
        found["PREDICTOR_GRPC_ADDRESS"] = target if has_port else f"{target}:8081"
        # A plain Service listens on 80 for REST; set the variable where it is headless.
        name = dns_address(target).partition(":")[0]
        found.setdefault("PREDICTOR_HTTP_ADDRESS", f"{name}:80")
    return found
