import os
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest

from serving.settings import (
    ENVIRONMENT,
    SECTIONS,
    ConfigError,
    Limits,
    Process,
    Settings,
    Shutdown,
    is_port,
    read_settings,
    split_address,
)

ROOT = Path(__file__).parents[2]
DEFAULT_CONFIG = ROOT / "configs" / "config.yaml"

Write = Callable[..., dict[str, str]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration, and files beside it, and returns the environment that names it."""

    def write(text: str, **others: str) -> dict[str, str]:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        for name, content in others.items():
            group, _, choice = name.partition("_")
            (tmp_path / group).mkdir(exist_ok=True)
            (tmp_path / group / f"{choice}.yaml").write_text(content, encoding="utf-8")
        return {"CONFIG_PATH": str(path)}

    return write


def test_the_shipped_configuration_says_what_the_defaults_say() -> None:
    shipped = read_settings({"CONFIG_PATH": str(DEFAULT_CONFIG)})
    assert shipped == Settings(process=Process(config_path=DEFAULT_CONFIG))


def test_an_empty_configuration_is_the_defaults(write: Write) -> None:
    settings = read_settings(write(""))
    assert {name: getattr(settings, name) for name in SECTIONS} == {
        name: kind() for name, kind in SECTIONS.items()
    }
    assert settings.model is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("file_bytes", 16 * 1024**2),
        ("body_bytes", 64 * 1024**2),
        ("rows", 64),
        ("batch_files", 20),
        ("min_side_px", 64),
        ("max_side_px", 4096),
        ("min_grey_std", 5.0),
        ("bodies_bytes", 134_217_728),
        ("queue_rows", 256),
        ("request_timeout_s", 30.0),
    ],
)
def test_limits_are_those_of_the_published_api(name: str, value: float) -> None:
    assert getattr(Limits(), name) == value


def test_the_environment_has_the_names_and_defaults_of_the_old_script() -> None:
    process = read_settings({"CONFIG_PATH": str(DEFAULT_CONFIG)}).process
    assert Process().config_path == Path("configs/config.yaml")
    assert process.model_path == Path("models/model.pt")
    assert process.load_model is True
    assert process.feedback_dir == Path("feedback")
    assert process.drift_current_path == Path("data/drift/current.csv")
    assert process.http_address == "127.0.0.1:8000"
    assert process.grpc_address == "127.0.0.1:8001"


def test_every_variable_is_read(write: Write) -> None:
    process = read_settings(
        write("")
        | {
            "MODEL_PATH": "/m/w.pt",
            "LOAD_MODEL": "0",
            "FEEDBACK_DIR": "/f",
            "DRIFT_CURRENT_PATH": "/d.csv",
            "FEEDBACK_DURABLE": "0",
            "HOST": "0.0.0.0",
            "PORT": "8080",
            "GRPC_PORT": "8081",
            "PREDICTOR_HTTP_ADDRESS": "unix:/p.sock",
            "PREDICTOR_GRPC_ADDRESS": "dns:///p:8081",
            "PREDICTOR_GRPC_SERVICE": "dns:///s:8081",
            "LOG_LEVEL": "debug",
            "EXIT_WITH_STDIN": "1",
        }
    ).process
    assert process == Process(
        config_path=process.config_path,
        model_path=Path("/m/w.pt"),
        load_model=False,
        feedback_dir=Path("/f"),
        feedback_durable=False,
        drift_current_path=Path("/d.csv"),
        http_address="0.0.0.0:8080",
        grpc_address="0.0.0.0:8081",
        predictor_http_address="unix:/p.sock",
        predictor_grpc_address="dns:///p:8081",
        predictor_grpc_service="dns:///s:8081",
        log_level="DEBUG",
        exit_with_stdin=True,
    )


def test_an_address_counts_over_a_port(write: Write) -> None:
    addresses = {"HTTP_ADDRESS": "unix:/a", "GRPC_ADDRESS": "unix:/b"}
    process = read_settings(write("") | addresses | {"PORT": "1", "GRPC_PORT": "2"}).process
    assert (process.http_address, process.grpc_address) == ("unix:/a", "unix:/b")


def test_an_empty_variable_is_as_good_as_none(write: Write) -> None:
    written = write("")
    assert read_settings(written | {name: "" for name in ENVIRONMENT if name != "CONFIG_PATH"}) == (
        read_settings(written)
    )


def test_an_unknown_variable_is_let_be(write: Write) -> None:
    written = write("")
    assert read_settings(written | {"PORTS": "x", "LIMITS": "1"}) == read_settings(written)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOAD_MODEL", "true"),
        ("LOAD_MODEL", "2"),
        ("FEEDBACK_DURABLE", "yes"),
        ("EXIT_WITH_STDIN", "true"),
        ("DRAIN_DELAY_S", "10s"),
        ("DRAIN_DELAY_S", "-1.0"),
        ("GRACE_S", "inf"),
        ("PORT", "http"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "²"),
        ("GRPC_PORT", "80.0"),
        ("LOG_LEVEL", "LOUD"),
        ("PRECISION", "int8"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value_in_one_line(
    write: Write, name: str, value: str
) -> None:
    with pytest.raises(ConfigError, match="expected") as refused:
        read_settings(write("") | {name: value})
    assert name in str(refused.value) or name.lower() in str(refused.value)
    assert value in str(refused.value)
    assert "\n" not in str(refused.value)


def test_precision_of_the_environment_counts_over_the_file(write: Write) -> None:
    written = write("predictor: {precision: fp16, max_batch_rows: 8}")
    assert read_settings(written).predictor.precision == "fp16"
    overridden = read_settings(written | {"PRECISION": "bf16"}).predictor
    assert (overridden.precision, overridden.max_batch_rows) == ("bf16", 8)


def test_the_device_of_the_environment_counts_over_the_file(write: Write) -> None:
    written = write("predictor: {device: cpu, precision: fp16}")
    assert read_settings(written).predictor.device == "cpu"
    overridden = read_settings(written | {"DEVICE": "cuda"}).predictor
    assert (overridden.device, overridden.precision) == ("cuda", "fp16")


def test_shutdown_times_of_the_environment_count_over_the_file(write: Write) -> None:
    written = write("shutdown: {drain_delay_s: 1, grace_s: 2}")
    assert read_settings(written).shutdown == Shutdown(1.0, 2.0)
    assert read_settings(written | {"DRAIN_DELAY_S": "10"}).shutdown == Shutdown(10.0, 2.0)
    assert read_settings(written | {"GRACE_S": "35"}).shutdown == Shutdown(1.0, 35.0)


def test_a_section_is_read_over_its_defaults(write: Write) -> None:
    settings = read_settings(write("limits: {rows: 8}\ndrift: null\nshutdown: {grace_s: 1}\n"))
    assert settings.limits.rows == 8
    assert settings.limits.queue_rows == Limits().queue_rows
    assert settings.drift == SECTIONS["drift"]()
    assert settings.shutdown.grace_s == 1.0


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("limit: {rows: 3}", ["limit", "did you mean 'limits'"]),
        ("limit: {fil_bytes: 3}", ["limit", "did you mean 'limits'"]),
        ("limit: {}", ["limit", "did you mean 'limits'"]),
        ("limit: 5", ["limit", "did you mean 'limits'"]),
        ("limitz: 3", ["limitz", "did you mean 'limits'"]),
        ("shut_down: null", ["shut_down", "did you mean 'shutdown'"]),
        ("predicter: {device: cpu}", ["predicter", "did you mean 'predictor'"]),
        ("transform: {decode_threads: 2}", ["transform", "did you mean 'transformer'"]),
        ("limits: {row: 3}", ["limits.row", "Did you mean: 'rows'"]),
        ("limits: {rows: many}", ["limits.rows", "many"]),
        ("limits: {rows: 1.5}", ["limits.rows", "1.5"]),
        ("limits: {rows: true}", ["limits.rows"]),
        ("limits: {rows: null}", ["limits.rows"]),
        ("limits: {rows: [1]}", ["limits.rows"]),
        ("limits: {rows: 0}", ["limits.rows is 0", "at least 1"]),
        ("limits: {rows: -1}", ["limits.rows is -1", "at least 1"]),
        ("limits: {request_timeout_s: 0}", ["limits.request_timeout_s"]),
        (
            "limits: {request_timeout_s: .inf}",
            ["limits.request_timeout_s is inf", "a finite number"],
        ),
        ("limits: {min_grey_std: -.inf}", ["limits.min_grey_std is -inf", "a finite number"]),
        ("limits: {min_grey_std: .nan}", ["limits.min_grey_std is nan", "a finite number"]),
        (
            "limits: {min_side_px: 5000}",
            ["limits.min_side_px is 5000", "max_side_px, which is 4096"],
        ),
        ("limits: {max_side_px: 63}", ["limits.min_side_px is 64", "max_side_px, which is 63"]),
        ("limits: {queue_rows: 10}", ["limits.queue_rows is 10", "limits.rows, which is 64"]),
        ("limits: {bodies_bytes: 9}", ["limits.bodies_bytes is 9", "at least limits.body_bytes"]),
        ("predictor: {in_flight: -1}", ["predictor.in_flight is -1"]),
        ("predictor: {precision: fp8}", ["fp8", "auto, fp32, bf16, fp16"]),
        ("limits: 5", ["limits", "expected a mapping"]),
        ("limits: []", ["limits", "expected a mapping"]),
        ("limits: text", ["limits", "expected a mapping"]),
        ("- limits", ["expected a mapping"]),
        ("5", ["config.yaml", "cannot be read"]),
        ("limits: {", ["config.yaml", "cannot be read"]),
        ("limits: \x00", ["config.yaml", "cannot be read"]),
        ("defaults: model", ["defaults", "expected a list"]),
        ("defaults: [{model: cnn}]", ["model/cnn.yaml does not exist"]),
        ("defaults: [{model: good}]\nmodel: resnet18", ["model", "expected a mapping"]),
    ],
)
def test_a_wrong_configuration_is_one_clear_line(write: Write, text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        read_settings(write(text, model_good="architecture: resnet18"))
    for part in parts:
        assert part in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_missing_configuration_says_which_variable_to_set(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="does not exist: set CONFIG_PATH"):
        read_settings({"CONFIG_PATH": str(tmp_path / name)})


def test_a_configuration_that_is_no_text_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_settings({"CONFIG_PATH": str(path)})


def test_sections_of_other_tools_are_let_be(write: Write) -> None:
    settings = read_settings(
        write(
            "seed: 7\ntrain: {lr: 0.1}\npaths: {root: '${oc.env:NOWHERE}'}\n"
            "hydra: {run: {dir: '${now:%Y}'}}\nlogger: [a, b]\n"
        )
    )
    assert settings.model is None


@pytest.mark.parametrize(
    "text",
    [
        "transform: {resize: 256, flip: true}",
        "transforms: [resize, flip]",
        "predict: {output_dir: out}",
        "prediction: null",
        "optimizer: {lr: 0.1}",
        "callbacks: {early_stopping: {patience: 3}}",
    ],
)
def test_another_tools_word_with_none_of_our_settings_is_no_misspelt_one(
    write: Write, text: str
) -> None:
    assert read_settings(write(text)) == read_settings(write(""))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("limits: {rows: 8}", 8),
        ("limits: {rows: 8}\ntransformer: {max_call_rows: 16}", 8),
        ("limits: {rows: 8}\ntransformer: {max_call_rows: 4}", 4),
        ("", 32),
    ],
)
def test_no_call_has_more_rows_than_the_predictor_accepts(
    write: Write, text: str, rows: int
) -> None:
    assert read_settings(write(text)).transformer.max_call_rows == rows


@pytest.mark.parametrize(
    ("host", "expected"),
    [("::1", "[::1]"), ("::", "[::]"), ("[::1]", "[::1]"), ("localhost", "localhost")],
)
def test_an_ipv6_host_is_put_in_brackets(write: Write, host: str, expected: str) -> None:
    process = read_settings(write("") | {"HOST": host, "PORT": "1", "GRPC_PORT": "2"}).process
    assert (process.http_address, process.grpc_address) == (f"{expected}:1", f"{expected}:2")


def test_the_old_scripts_model_section_is_handed_on_with_the_image_size(write: Write) -> None:
    settings = read_settings(
        write(
            "model: {name: custom_cnn, hidden_dims: [8, 16], dropout: '${train.dropout}'}\n"
            "data: {image_size: 224, root: /scans, normalize: false}\n"
        )
    )
    assert settings.model == {
        "name": "custom_cnn",
        "hidden_dims": [8, 16],
        "dropout": "${train.dropout}",
        "image_size": 224,
        "normalize": False,
    }


def test_a_defaults_list_stands_for_files_beside_the_configuration(write: Write) -> None:
    settings = read_settings(
        write(
            "defaults:\n  - model: cnn\n  - data: ct\n  - override hydra/launcher: basic\n"
            "  - train: fast\n  - _self_\n",
            model_cnn="name: custom_cnn\nfc_hidden: 512\n",
            data_ct="image_size: 96\n",
        )
    )
    assert settings.model == {"name": "custom_cnn", "fc_hidden": 512, "image_size": 96}


@pytest.mark.parametrize(
    ("defaults", "dropout"),
    [
        ("[{model: cnn}]", 0.5),
        ("[{model: cnn}, _self_]", 0.5),
        ("[_self_, {model: cnn}]", 0.1),
    ],
)
def test_self_decides_which_of_two_values_counts(
    write: Write, defaults: str, dropout: float
) -> None:
    text = f"defaults: {defaults}\nmodel: {{dropout: 0.5, batch_norm: true}}\n"
    settings = read_settings(write(text, model_cnn="name: cnn\ndropout: 0.1\n"))
    assert settings.model == {"name": "cnn", "dropout": dropout, "batch_norm": True}


@pytest.mark.parametrize("text", ["defaults: null", "defaults: []", "defaults: [{model: null}]"])
def test_a_defaults_list_may_name_nothing(write: Write, text: str) -> None:
    assert read_settings(write(text)).model is None


@pytest.mark.parametrize("kind", [*SECTIONS.values(), Process, Settings])
def test_settings_are_frozen(kind: Any) -> None:
    instance = kind()
    with pytest.raises(FrozenInstanceError):
        setattr(instance, fields(instance)[0].name, None)


def test_every_setting_has_its_sentence_for_the_docs() -> None:
    for kind in SECTIONS.values():
        assert all(str(item.metadata["doc"]).endswith(".") for item in fields(kind))


def test_settings_read_no_environment_but_the_one_given(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write("")
    before = read_settings(written)
    for name in ENVIRONMENT:
        monkeypatch.setitem(os.environ, name, "1")
    assert read_settings(written) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PREDICTOR_HTTP_ADDRESS", "predictor.ns:80"),
        ("PREDICTOR_HTTP_ADDRESS", "unix:/p.sock"),
        ("PREDICTOR_GRPC_ADDRESS", "localhost:8081"),
        ("PREDICTOR_GRPC_ADDRESS", "[::1]:8081"),
        ("PREDICTOR_GRPC_ADDRESS", "dns:localhost:8081"),
        ("PREDICTOR_GRPC_ADDRESS", "dns:///ctscan-predictor.ns.svc.cluster.local.:8081"),
        ("PREDICTOR_GRPC_ADDRESS", "ipv4:10.0.0.1:1,10.0.0.2:1"),
        ("PREDICTOR_GRPC_ADDRESS", "ipv6:[::1]:1,[::2]:1"),
        ("PREDICTOR_GRPC_SERVICE", "unix:///s.sock"),
    ],
)
def test_a_way_to_the_predictor_is_taken_as_it_is(write: Write, name: str, value: str) -> None:
    process = read_settings(write("") | {name: value}).process
    assert getattr(process, name.lower()) == value


@pytest.mark.parametrize("name", ["PREDICTOR_GRPC_ADDRESS", "PREDICTOR_GRPC_SERVICE"])
@pytest.mark.parametrize(
    "value",
    [
        *("localhost", "8081", "unix:", "unix-abstract:foo", "ipv4:10.0.0.1", "ipv4:10.0.0.1:1,"),
        *("dns:///ctscan", "dns:ctscan", "dns://10.0.0.1/ctscan:80", "xds:///ctscan:80"),
        *("a..b:80", "foo:bar", "http://ctscan:80", "///ctscan:80"),
    ],
)
def test_a_grpc_target_that_leads_nowhere_is_one_clear_line(
    write: Write, name: str, value: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        read_settings(write("") | {name: value})
    assert str(refused.value) == (
        f"{name} is {value!r}, expected host:port, unix:/path or dns:///host:port"
    )


@pytest.mark.parametrize(
    "value", ["foo:bar", "localhost", "unix:", "dns:///p:80", "http://p:80", "p/v2:80", "1.2.3.4.:"]
)
def test_an_http_address_that_leads_nowhere_is_one_clear_line(write: Write, value: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_settings(write("") | {"PREDICTOR_HTTP_ADDRESS": value})
    assert str(refused.value) == (
        f"PREDICTOR_HTTP_ADDRESS is {value!r}, expected host:port or unix:/path"
    )


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1:8000", ("127.0.0.1", 8000)), ("[::1]:9", ("::1", 9)), ("host:0", ("host", 0))],
)
def test_an_address_is_host_and_port(address: str, expected: tuple[str, int]) -> None:
    assert split_address(address) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", True), ("8000", True), ("65535", True), ("65536", False), ("", False), ("٣", False)],
)
def test_a_port_is_a_number_of_16_bits(text: str, expected: bool) -> None:
    assert is_port(text) is expected
