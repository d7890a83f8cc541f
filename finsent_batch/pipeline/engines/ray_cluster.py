"""Start Ray here or join a cluster, quietly, and leave nothing behind."""

import fcntl
import importlib.util
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...config import ScoreConfig
from ...errors import UnavailableError, UsageError, first_line
from ...hardware import available_cores, gpu_count
from ...scorers.base import CHUNK, GPU_CHUNK

logger = logging.getLogger(__name__)

INSTALL = "pip install 'finsent-batch[ray]'"

# Must be in the environment before Ray is imported, and that of the processes it starts.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent anywhere
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # it would tell of dead workers on stdout
    "RAY_ENABLE_AUTO_CONNECT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",
}
BLOCK_BYTES = 2_000_000
"""The most that a block's headlines take in Ray's object store, where it has more than one: for
small models on GPUs, whose blocks are larger, `GPU_CHUNK / CHUNK` times as much."""
# What a Ray that is started here gets for its objects: twice what two blocks an actor take and what
# their results do, and no less than it starts with.
_OBJECT_STORE_BYTES_AN_ACTOR = 10_000_000
_SMALLEST_OBJECT_STORE = 128_000_000
_KNOCK_SECONDS = 10.0
_SCRATCH = "finsent-ray-"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The cluster that a run is connected to."""

    room: int
    """How many actors it has room for."""


def ray_installed() -> bool:
    """Return whether Ray is here, without importing it."""
    try:
        return importlib.util.find_spec("ray") is not None
    except ValueError:  # it was put out of the way in sys.modules
        return False


def load_ray(*, locked: bool) -> Any:
    """Import Ray, its usage reports and its chatter switched off, and return it.

    A Ray that is started here is `locked`: other users of this machine reach its ports, and
    it talks to none but this process and those it starts.

    Raises:
        UnavailableError: it is not installed.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if locked and "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    try:
        import ray
    except ImportError as error:
        raise UnavailableError(f"--engine ray needs Ray ({first_line(error)}): {INSTALL}") from None
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    return ray


@contextmanager
def connected(config: ScoreConfig, device: str) -> Iterator[Cluster]:
    """Start Ray on this machine, or join the cluster at `config.ray_address`, and leave it again.

    A Ray that the calling program has started is used and left running.

    Raises:
        UnavailableError: no Ray, no cluster at that address, or no room for one actor in it.
        UsageError: the address is a Ray Client's.
    """
    ray = load_ray(locked=config.ray_address is None)
    if ray.is_initialized():
        yield _cluster(ray, config, device)
        return
    scratch = held = None
    try:
        with _signals_kept(), _stderr_closed():
            if config.ray_address is None:
                # Short, as sockets lie in it; Ray would leave its logs in /tmp/ray for good.
                _clear_left()
                scratch = tempfile.mkdtemp(prefix=_SCRATCH, dir="/tmp")
                held = _hold(Path(scratch))
                # Inside of a folder that is ours alone: Ray lets everybody write to its own.
                _start(ray, config, device, f"{scratch}/r")
            else:
                _join(ray, config.ray_address)
        yield _cluster(ray, config, device)
    finally:
        with _signals_kept():
            ray.shutdown()
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        if held is not None:
            os.close(held)


def _hold(folder: Path) -> int:
    """Lock a folder's lock file as long as this process lives, or raise BlockingIOError."""
    if folder.lstat().st_uid != os.geteuid():
        raise PermissionError(f"{folder} is somebody else's")
    lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _clear_left() -> None:
    """Remove the folders of runs that were killed."""
    for lock in Path("/tmp").glob(f"{_SCRATCH}*/lock"):
        with suppress(OSError):  # another user's, or of a run that is alive
            os.close(_hold(lock.parent))
            shutil.rmtree(lock.parent, ignore_errors=True)


def _start(ray: Any, config: ScoreConfig, device: str, scratch: str) -> None:
    at_least = config.actors or (gpu_count() if device == "cuda" else 0)
    # Actors share cores if that is what was asked for, or if there are more GPUs.
    cores = max(available_cores(), at_least * config.cpus_per_actor)
    actors = at_least or cores // config.cpus_per_actor
    an_actor = _OBJECT_STORE_BYTES_AN_ACTOR * (GPU_CHUNK // CHUNK if device == "cuda" else 1)
    try:
        with _loopback_kept():
            ray.init(
                address="local",
                _node_ip_address="127.0.0.1",
                num_cpus=cores,
                num_gpus=0 if device == "cpu" else None,
                include_dashboard=False,
                object_store_memory=max(_SMALLEST_OBJECT_STORE, actors * an_actor),
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                _temp_dir=scratch,
            )
    except (ray.exceptions.RayError, RuntimeError, OSError, ValueError) as error:
        raise UnavailableError(f"Ray cannot be started here: {first_line(error)}") from error


@contextmanager
def _loopback_kept() -> Iterator[None]:
    """Let Ray listen on 127.0.0.1, which it would replace by an address that others reach."""
    from ray._private import services

    replaced = services.resolve_ip_for_localhost
    services.resolve_ip_for_localhost = lambda host: host
    try:
        yield
    finally:
        services.resolve_ip_for_localhost = replaced


def _join(ray: Any, address: str) -> None:
    host, _, port = address.rpartition(":")
    if address != "auto" and ("//" in host or not host or not port.isdecimal()):
        raise UsageError(
            f"--ray-address {address}: name HOST:PORT of a cluster's head, or auto, on one of its "
            "nodes"
        )
    try:
        if host:
            # Ray would go on asking for many minutes where nobody listens.
            socket.create_connection((host.strip("[]"), int(port)), _KNOCK_SECONDS).close()
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ray.exceptions.RayError, OSError, RuntimeError, ValueError) as error:
        raise UnavailableError(
            f"no Ray cluster to join at {address} ({first_line(error)}): start one with ray start, "
            "or leave --ray-address out"
        ) from error


def _cluster(ray: Any, config: ScoreConfig, device: str) -> Cluster:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = sum(
        int(min(node.get("CPU", 0) // config.cpus_per_actor, node.get("GPU", 0)))
        if device == "cuda"
        else int(node.get("CPU", 0) // config.cpus_per_actor)
        for node in nodes
    )
    if room == 0:
        wanted = f"{config.cpus_per_actor} CPU cores" + (" and a GPU" * (device == "cuda"))
        raise UnavailableError(
            f"no node of the Ray cluster has {wanted} for an actor: see ray status, "
            "--cpus-per-actor and --device"
        )
    return Cluster(room=min(room, config.actors or room))


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep the signal handlers that Ray would replace; a SIGTERM it took is told to ours."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except SystemExit:
        handler = kept[signal.SIGTERM]
        if callable(handler):
            handler(signal.SIGTERM, None)
        raise
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@contextmanager
def _stderr_closed() -> Iterator[None]:
    """Keep off stderr what Ray's C++ part says there as it starts, which no setting turns off."""
    if logger.isEnabledFor(logging.DEBUG):
        yield
        return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
