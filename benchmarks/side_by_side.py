"""The service and what its users would otherwise run, under the same load in turns."""

from collections.abc import Mapping, Sequence

from benchmarks import request
from benchmarks.alternatives import OTHERS, SCRIPT, Peer, Started
from benchmarks.load import closed_loop, run
from benchmarks.outcome import Load
from benchmarks.scene import Scene
from benchmarks.servers import cpu_seconds

# And for how many times the seconds: at 8 the one answer in a hundred that takes longest is asked
# for, of the script too, which gives some 25 a second.
CONNECTIONS = {32: 1, 8: 2, 1: 1}


def measure_side_by_side(
    scene: Scene, peers: Mapping[Peer, Started], seconds: float
) -> dict[str, float]:
    """Closed loop: at 32 connections everybody, at 8 and 1 the service and the script."""
    figures: dict[str, float] = {}
    service = request.predict(scene.service.url, scene.images)
    for connections, times in CONNECTIONS.items():
        before = {name: cpu_seconds(pid) for name, pid in scene.service.pids.items()}
        load = run(closed_loop(service, connections, times * seconds))
        figures |= of_load(f"service.{connections}", load)
        for name, pid in scene.service.pids.items():
            used = cpu_seconds(pid) - before[name]
            figures[f"service.{connections}.{name}_cpu_ms"] = used * 1000 / len(load.outcomes)
        for peer, started in peers.items():
            if connections == 32 or peer is SCRIPT:
                target = peer.target(started.url, scene.images)
                with started.server.awake():
                    # The first requests after a pause find cold caches.
                    run(closed_loop(target, 1, 0.5))
                    load = run(closed_loop(target, connections, times * seconds))
                figures |= of_load(f"{peer.key}.{connections}", load)
    return figures | ratios(figures)


def of_load(name: str, load: Load) -> dict[str, float]:
    """The figures of one load, by name."""
    return {
        f"{name}.per_second": load.per_second,
        f"{name}.p50_ms": load.p50_ms,
        f"{name}.p99_ms": load.p99_ms,
        f"{name}.failures": load.failures,
        f"{name}.requests": len(load.outcomes),
        f"{name}.client_ms": load.client_ms,
    }


def ratios(figures: Mapping[str, float]) -> dict[str, float]:
    """The service against the script and, where others were measured, the fastest of them."""
    against = {
        f"ratio.script_{connections}": figures[f"service.{connections}.per_second"]
        / figures[f"{SCRIPT.key}.{connections}.per_second"]
        for connections in CONNECTIONS
    }
    against["ratio.p99_8"] = figures["service.8.p99_ms"] / figures[f"{SCRIPT.key}.8.p99_ms"]
    others = rates(figures, OTHERS)
    if others:
        against["ratio.best_peer_32"] = figures["service.32.per_second"] / max(others)
    return against


def with_bound(figures: Mapping[str, float]) -> dict[str, float]:
    """A round's figures, and what of them is held against the bound of the same round."""
    bound = figures["bound"]
    return {
        **figures,
        "ratio.bound": figures["service.32.per_second"] / bound,
        "ratio.headroom": bound / figures[f"{SCRIPT.key}.32.per_second"],
    }


def rates(figures: Mapping[str, float], peers: Sequence[Peer]) -> list[float]:
    """Requests/s at 32 connections of those peers that were measured."""
    names = (f"{peer.key}.32.per_second" for peer in peers)
    return [figures[name] for name in names if name in figures]
