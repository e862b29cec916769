"""What the doctor was asked to look at, and what its steps have learned so far."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from ctscan.doctor.cluster import Cluster, Json

Known = TypeVar("Known")


class NotTried(Exception):
    """A step needs what an earlier one did not find; the text says what that is."""


class Fact(Generic[Known]):
    """Something that one step learns and later ones need."""

    def __init__(self, missing: str) -> None:
        self._missing = missing
        self._known: Known | None = None

    def learn(self, known: Known) -> None:
        self._known = known

    @property
    def known(self) -> bool:
        return self._known is not None

    def get(self) -> Known:
        """What was learned.

        Raises:
            NotTried: nothing was.
        """
        if self._known is None:
            raise NotTried(self._missing)
        return self._known


@dataclass(frozen=True)
class Options:
    """What the command line says: `ingress` is an address that a person named, `fallback_ingress`
    one to try last; `headers` go with each call through the ingress.
    """

    namespace: str = "ctscan"
    name: str = "ctscan"
    ingress: str | None = None
    fallback_ingress: str = "http://127.0.0.1:30080"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class KServeConfig:
    """What KServe's ConfigMap says of deployment and ingress."""

    mode: str
    gateway_api: bool
    gateway: str
    domain: str


@dataclass
class Case:
    """One examination. `connects` and `now` are how it meets the world beside the cluster."""

    cluster: Cluster
    options: Options
    connects: Callable[[str, int], bool]
    now: Callable[[], datetime]
    server: Fact[str] = field(default_factory=lambda: Fact("the API server does not answer"))
    kserve: Fact[str] = field(default_factory=lambda: Fact("the cluster has no KServe"))
    config: Fact[KServeConfig] = field(
        default_factory=lambda: Fact("KServe's configuration is not known")
    )
    ingress: Fact[str] = field(default_factory=lambda: Fact("no way to the ingress was found"))
    service: Fact[Json] = field(default_factory=lambda: Fact("there is no InferenceService"))
    host: Fact[str] = field(default_factory=lambda: Fact("the InferenceService has no address yet"))
    pods: Fact[dict[str, list[Json]]] = field(default_factory=lambda: Fact("no pods were found"))
    answering: Fact[str] = field(default_factory=lambda: Fact("no transformer pod is ready"))
    # Version of the card → what the prediction over REST said: class name → probability.
    prediction: Fact[dict[str, float]] = field(
        default_factory=lambda: Fact("the prediction over REST failed")
    )

    def age_s(self, timestamp: str | None) -> float:
        """Seconds since a time that the API wrote; 0 where it wrote none."""
        if not timestamp:
            return 0.0
        then = datetime.fromisoformat(timestamp.replace("Z", "+00:00"))
        return max(0.0, (self.now() - then) / timedelta(seconds=1))


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def duration(seconds: float) -> str:
    """`40 s`, `5 min`, `3 h` or `2 days`."""
    for size, unit in ((172800.0, "days"), (7200.0, "h"), (120.0, "min")):
        if seconds >= size:
            whole = {"days": 86400, "h": 3600, "min": 60}[unit]
            return f"{int(seconds // whole)} {unit}"
    return f"{int(seconds)} s"
