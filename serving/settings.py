"""How the processes run: one frozen tree, read once from `config.yaml` and the environment.

This is the only place that opens the configuration or looks at the environment; everything else is
handed the dataclasses below. The comment behind a field is its row in `docs/configuration.md`.
"""

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

MODEL_NAME = "ctscan"
MIB = 1024 * 1024
MESSAGE_MARGIN_BYTES = 64 * 1024


class ConfigError(ValueError):
    """A configuration the service does not start with; its text is one clear line."""


def setting(default: Any, doc: str, least: float = 0) -> Any:
    """A field with the sentence that `docs/configuration.md` shows for it, and its least value."""
    return field(default=default, metadata={"doc": doc, "least": least})


@dataclass(frozen=True)
class Limits:
    """What a request may ask for. Error texts, OpenAPI and docs render from these values."""

    file_bytes: int = setting(16 * MIB, "Largest image file, in bytes.", least=1)
    body_bytes: int = setting(64 * MIB, "Largest request body, in bytes, over REST and gRPC.", 1)
    bodies_bytes: int = setting(
        128 * MIB,
        "Bodies held at a time, in bytes; a sixteenth of the pod's memory, as each is copied.",
        least=1,
    )
    rows: int = setting(64, "Most images in one V1 or V2 request.", least=1)
    batch_files: int = setting(20, "Most files in one `POST /predict/batch`.", least=1)
    min_side_px: int = setting(64, "Shortest accepted image side, in pixels.", least=1)
    max_side_px: int = setting(4096, "Longest accepted image side, in pixels.", least=1)
    min_grey_std: float = setting(5.0, "Least standard deviation of the grey values (0-255).")
    comment_chars: int = setting(2000, "Longest feedback comment, in characters.")
    queue_rows: int = setting(256, "Rows waiting and in flight before requests are refused.", 1)
    request_timeout_s: float = setting(
        30.0, "Deadline of a request that names none, in seconds.", 0.001
    )

    @property
    def message_bytes(self) -> int:
        """Largest gRPC message: the largest body, with framing and names around it."""
        return self.body_bytes + MESSAGE_MARGIN_BYTES


@dataclass(frozen=True)
class Predictor:
    """The process with the weights."""

    device: str = setting("auto", "`auto`, `cpu` or `cuda`.")
    precision: str = setting("auto", "`auto` (what the card permits), `fp32`, `bf16` or `fp16`.")
    max_batch_rows: int = setting(
        32, "Rows in the largest batch; on a CPU never more than 8 for each thread.", least=1
    )
    in_flight: int = setting(0, "Batches that run at a time; 0: two on several cores, else one.")
    threads: int = setting(0, "CPU threads of the engine; 0: as many as the container may use.")


@dataclass(frozen=True)
class Transformer:
    """The process that touches images and people."""

    decode_threads: int = setting(0, "Decoding threads; 0: as many as the container may use.")
    max_call_rows: int = setting(
        32,
        "Rows in the largest call; never more than `limits.rows` or a predictor's batch.",
        least=1,
    )
    calls_per_predictor: int = setting(2, "Calls under way to each predictor address.", least=1)


@dataclass(frozen=True)
class Drift:
    """The drift log."""

    queue_rows: int = setting(4096, "Rows waiting for the disk; more are dropped and counted.", 1)
    rotate_bytes: int = setting(64 * MIB, "Size at which the log is rotated, in bytes.", least=1)
    keep_files: int = setting(4, "Rotated logs that are kept.")


@dataclass(frozen=True)
class Shutdown:
    """What happens between SIGTERM and the end."""

    drain_delay_s: float = setting(0.0, "Seconds of serving on while not ready; 10 in a pod.")
    grace_s: float = setting(5.0, "Seconds for requests under way to finish.")


@dataclass(frozen=True)
class Process:
    """What one process is told by its environment: where its files lie and where it listens.

    Addresses are `host:port` or `unix:/path`. The predictor's addresses are the transformer's way
    to it; both processes have the rest.
    """

    config_path: Path = Path("configs/config.yaml")
    model_path: Path = Path("models/model.pt")
    load_model: bool = True
    feedback_dir: Path = Path("feedback")
    feedback_durable: bool = True
    drift_current_path: Path = Path("data/drift/current.csv")
    http_address: str = "127.0.0.1:8000"
    grpc_address: str = "127.0.0.1:8001"
    predictor_http_address: str = "127.0.0.1:9000"
    predictor_grpc_address: str = "127.0.0.1:9001"
    predictor_grpc_service: str = ""
    log_level: str = "INFO"
    exit_with_stdin: bool = False


@dataclass(frozen=True)
class Settings:
    """Everything; `model` is the old script's `model:` section with its `image_size`, if any."""

    limits: Limits = field(default_factory=Limits)
    predictor: Predictor = field(default_factory=Predictor)
    transformer: Transformer = field(default_factory=Transformer)
    drift: Drift = field(default_factory=Drift)
    shutdown: Shutdown = field(default_factory=Shutdown)
    process: Process = field(default_factory=Process)
    model: Mapping[str, Any] | None = None


# Sections of config.yaml that are ours; any other belongs to somebody else's tool and is let be.
SECTIONS = {
    "limits": Limits,
    "predictor": Predictor,
    "transformer": Transformer,
    "drift": Drift,
    "shutdown": Shutdown,
}
# What DNS, gRPC and httpx all take for one; other scripts have their punycode.
HOST_NAME = r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
FOREIGN_SECTIONS = ("defaults", "model", "data", "train", "features", "paths", "wandb", "hydra")
# Other tools' words that are close to ours: misspelt only where one of our settings is in them.
CLOSE_SECTIONS = ("transform", "transforms", "predict", "prediction", "predictions")

# Variable → what it sets and its meaning. The first five are those of the API this one replaces.
ENVIRONMENT = {
    "CONFIG_PATH": "File that says how the processes run.",
    "MODEL_PATH": "Weights; the card lies beside them with the suffix `.yaml`.",
    "LOAD_MODEL": "`0` starts without weights: `/health` says so and predictions answer 503.",
    "FEEDBACK_DIR": "Folder for corrections.",
    "DRIFT_CURRENT_PATH": "The drift log.",
    "FEEDBACK_DURABLE": "`0`: the folder for corrections is lost with its container.",
    "HOST": "Address of both ports of the transformer.",
    "PORT": "REST port of the transformer.",
    "GRPC_PORT": "gRPC port of the transformer.",
    "HTTP_ADDRESS": "REST address of this process, `host:port` or `unix:/path`; over `PORT`.",
    "GRPC_ADDRESS": "gRPC address of this process, likewise; over `GRPC_PORT`.",
    "PREDICTOR_HTTP_ADDRESS": "Where the transformer reads the card: `host:port` or `unix:/path`.",
    "PREDICTOR_GRPC_ADDRESS": "Where it sends rows: `host:port`, `unix:/path`, `dns:///host:port`.",
    "PREDICTOR_GRPC_SERVICE": "Where it sends them while no address of that target answers.",
    "DEVICE": "Over `predictor.device`.",
    "PRECISION": "Over `predictor.precision`.",
    "DRAIN_DELAY_S": "Over `shutdown.drain_delay_s`.",
    "GRACE_S": "Over `shutdown.grace_s`.",
    "LOG_LEVEL": "`DEBUG`, `INFO`, `WARNING` or `ERROR`; `DEBUG` logs every request.",
    "EXIT_WITH_STDIN": "`1`: end when standard input closes, as `ctscan serve` has it.",
}


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from the environment and the file that `CONFIG_PATH` names.

    Raises:
        ConfigError: the file is missing or no YAML, a key is unknown, a value has a wrong type.
    """
    process = _process(environment)
    tree = _read_tree(process.config_path)
    sections = {name: _section(name, kind, tree) for name, kind in SECTIONS.items()}
    # The predictor refuses a longer call, whoever's rows are in it.
    call_rows = min(sections["transformer"].max_call_rows, sections["limits"].rows)
    sections["transformer"] = replace(sections["transformer"], max_call_rows=call_rows)
    for name in ("device", "precision"):
        if text := environment.get(name.upper()):
            sections["predictor"] = replace(sections["predictor"], **{name: text})
    sections["shutdown"] = _shutdown(sections["shutdown"], environment)
    settings = Settings(process=process, model=_old_model_section(tree), **sections)
    _check(settings)
    return settings


def set_in(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that are set; one that is set to nothing counts as not set."""
    return {name: value for name, value in environment.items() if value}


def _process(environment: Mapping[str, str]) -> Process:
    given = {name: value for name, value in set_in(environment).items() if name in ENVIRONMENT}
    host = given.get("HOST", "127.0.0.1")
    if ":" in host:
        host = f"[{host.strip('[]')}]"  # IPv6
    http = f"{host}:{_port(given, 'PORT', '8000')}"
    grpc = f"{host}:{_port(given, 'GRPC_PORT', '8001')}"
    defaults = Process()
    log_level = given.get("LOG_LEVEL", defaults.log_level).upper()
    if log_level not in LOG_LEVELS:
        raise ConfigError(f"LOG_LEVEL is {log_level!r}, expected one of {', '.join(LOG_LEVELS)}")
    return Process(
        config_path=Path(given.get("CONFIG_PATH", defaults.config_path)),
        model_path=Path(given.get("MODEL_PATH", defaults.model_path)),
        load_model=_flag(given, "LOAD_MODEL", defaults.load_model),
        feedback_dir=Path(given.get("FEEDBACK_DIR", defaults.feedback_dir)),
        feedback_durable=_flag(given, "FEEDBACK_DURABLE", defaults.feedback_durable),
        drift_current_path=Path(given.get("DRIFT_CURRENT_PATH", defaults.drift_current_path)),
        http_address=given.get("HTTP_ADDRESS", http),
        grpc_address=given.get("GRPC_ADDRESS", grpc),
        predictor_http_address=_http_address(
            given, "PREDICTOR_HTTP_ADDRESS", defaults.predictor_http_address
        ),
        predictor_grpc_address=_grpc_target(
            given, "PREDICTOR_GRPC_ADDRESS", defaults.predictor_grpc_address
        ),
        predictor_grpc_service=_grpc_target(
            given, "PREDICTOR_GRPC_SERVICE", defaults.predictor_grpc_service
        ),
        log_level=log_level,
        exit_with_stdin=_flag(given, "EXIT_WITH_STDIN", defaults.exit_with_stdin),
    )


def _flag(given: Mapping[str, str], name: str, default: bool) -> bool:
    text = given.get(name, str(int(default)))
    if text not in ("0", "1"):
        raise ConfigError(f"{name} is {text!r}, expected 0 or 1")
    return text == "1"


def _shutdown(section: Shutdown, environment: Mapping[str, str]) -> Shutdown:
    for name in ("drain_delay_s", "grace_s"):
        if text := environment.get(name.upper()):
            try:
                section = replace(section, **{name: float(text)})
            except ValueError:
                raise ConfigError(
                    f"{name.upper()} is {text!r}, expected a number of seconds"
                ) from None
    return section


def _port(given: Mapping[str, str], name: str, default: str) -> int:
    text = given.get(name, default)
    if not is_port(text):
        raise ConfigError(f"{name} is {text!r}, expected a port number")
    return int(text)


def is_port(text: str) -> bool:
    """Whether the text is a port number; 0 lets the system choose one."""
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 65536


def split_address(address: str) -> tuple[str, int]:
    """`127.0.0.1:8000` → (`127.0.0.1`, 8000); `[::1]:8000` → (`::1`, 8000).

    Raises:
        ConfigError: there is no port, no host that could be one, or IPv6 without brackets.
    """
    host, _, port = address.rpartition(":")
    if not _is_host(host) or not is_port(port):
        raise ConfigError(
            f"address {address!r}: expected host:port or unix:/path, with an IPv6 host in brackets"
        )
    return host.removeprefix("[").removesuffix("]"), int(port)


def dns_address(target: str) -> str:
    """`dns:///predictor:8081` and `dns:predictor:8081` → `predictor:8081`, which stays itself."""
    return re.sub("^dns:(///)?", "", target)


def _is_host(host: str) -> bool:
    try:
        if host.startswith("[") and host.endswith("]"):
            IPv6Address(host[1:-1])
        elif re.fullmatch(r"\d+(\.\d+){3}", host):
            IPv4Address(host)
        else:
            return re.fullmatch(HOST_NAME, host) is not None
    except ValueError:
        return False
    return True


def _http_address(given: Mapping[str, str], name: str, default: str) -> str:
    text = given.get(name, default)
    _require_addresses(name, text, [text], "host:port or unix:/path")
    return text


def _grpc_target(given: Mapping[str, str], name: str, default: str) -> str:
    text = given.get(name, default)
    scheme, _, listed = text.partition(":")
    addresses = listed.split(",") if scheme in ("ipv4", "ipv6") else [dns_address(text)]
    # A default may be none at all.
    if text:
        _require_addresses(name, text, addresses, "host:port, unix:/path or dns:///host:port")
    return text


def _require_addresses(name: str, text: str, addresses: list[str], forms: str) -> None:
    if text.startswith("unix:") and text != "unix:":
        return
    try:
        for address in addresses:
            split_address(address)
    except ConfigError:
        raise ConfigError(f"{name} is {text!r}, expected {forms}") from None


def _read_tree(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(
            f"configuration {path} does not exist: set CONFIG_PATH, or add the default file"
        )
    tree = _load_yaml(path)
    defaults = tree.get("defaults") or []
    if not isinstance(defaults, list):
        raise ConfigError("configuration: defaults: expected a list such as `- model: cnn`")
    own_first = False
    for entry in defaults:
        own_first = own_first or entry == "_self_"
        for group, choice in entry.items() if isinstance(entry, dict) else ():
            if group in ("model", "data") and choice is not None:
                tree[group] = _with_group(tree, path.parent, group, choice, own_first)
    return tree


def _with_group(
    tree: dict[str, Any], folder: Path, group: str, choice: Any, own_first: bool
) -> dict[str, Any]:
    """Hydra's `defaults:` list: `- model: cnn` stands for configs/model/cnn.yaml.

    The section in the main file counts over it, unless `_self_` stands before it in the list.
    """
    chosen = _load_yaml(folder / group / f"{choice}.yaml")
    own = tree.get(group) or {}
    if not isinstance(own, dict):
        raise ConfigError(f"configuration: {group}: expected a mapping, found {own!r}")
    return {**own, **chosen} if own_first else {**chosen, **own}


def _load_yaml(path: Path) -> dict[str, Any]:
    try:
        loaded = OmegaConf.load(path)
        # Other tools' interpolations (`${oc.env:HOME}`) are not ours to resolve.
        plain = OmegaConf.to_container(loaded, resolve=False)
    except FileNotFoundError as error:
        raise ConfigError(f"configuration {path} does not exist") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"configuration {path} cannot be read: {reason}") from error
    if not isinstance(plain, dict):
        raise ConfigError(f"configuration {path}: expected a mapping, found {type(plain).__name__}")
    return {str(key): value for key, value in plain.items()}


def _section(name: str, kind: type[Any], tree: dict[str, Any]) -> Any:
    own = {item.name for item in fields(kind)}
    for key, value in tree.items():
        if key not in SECTIONS and key not in FOREIGN_SECTIONS:
            close = difflib.get_close_matches(key, [name], cutoff=0.75)
            ours = isinstance(value, dict) and own & value.keys()
            if close and (ours or key not in CLOSE_SECTIONS):
                raise ConfigError(f"configuration: unknown section {key!r}, did you mean {name!r}?")
    given = tree.get(name)
    if given is None:
        return kind()
    if not isinstance(given, dict):
        raise ConfigError(f"configuration: {name}: expected a mapping, found {given!r}")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(kind), given)
        assert isinstance(merged, DictConfig)
        return OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        where = f"{name}.{error.full_key}"
        reason = str(error).splitlines()[0]
        raise ConfigError(f"configuration: {where}: {reason}") from error


def _old_model_section(tree: Mapping[str, Any]) -> Mapping[str, Any] | None:
    model = tree.get("model")
    if not isinstance(model, dict):
        return None
    data = tree.get("data")
    found = dict(model)
    if isinstance(data, dict):
        found.update({key: data[key] for key in ("image_size", "normalize") if key in data})
    return found


def _check(settings: Settings) -> None:
    allowed = ("auto", "fp32", "bf16", "fp16")
    if settings.predictor.precision not in allowed:
        raise ConfigError(
            f"precision is {settings.predictor.precision!r}, expected one of {', '.join(allowed)}"
        )
    for name in SECTIONS:
        section = getattr(settings, name)
        for item in fields(section):
            value, least = getattr(section, item.name), item.metadata["least"]
            if isinstance(value, (int, float)) and not least <= value < math.inf:
                finite = -math.inf < value < math.inf
                expected = f"at least {least}" if finite else "a finite number"
                raise ConfigError(
                    f"configuration: {name}.{item.name} is {value}, expected {expected}"
                )
    if settings.limits.min_side_px > settings.limits.max_side_px:
        raise ConfigError(
            f"configuration: limits.min_side_px is {settings.limits.min_side_px}, expected at most "
            f"limits.max_side_px, which is {settings.limits.max_side_px}: no image would fit"
        )
    if settings.limits.queue_rows < settings.limits.rows:
        raise ConfigError(
            f"configuration: limits.queue_rows is {settings.limits.queue_rows}, expected at least "
            f"limits.rows, which is {settings.limits.rows}: no request of that size would fit"
        )
    if settings.limits.bodies_bytes < settings.limits.body_bytes:
        raise ConfigError(
            f"configuration: limits.bodies_bytes is {settings.limits.bodies_bytes}, expected at "
            f"least limits.body_bytes, which is {settings.limits.body_bytes}: no body of that size "
            "would fit"
        )
