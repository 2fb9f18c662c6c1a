"""Where heavy work is done: processes of this machine, or a Dask or Ray cluster by its address.

The result is the same: work is cut into the same parts everywhere, and each part takes one thread, which is also
what the workers of both clusters have by default. They need this package installed. What is sent to them is
pickled on its way, between processes of one owner; nothing is kept.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from urllib.parse import urlsplit

from joblib import parallel_config
from threadpoolctl import threadpool_limits

from .. import credentials
from ..settings import ComputeParams, ProjectError

PATIENCE = 10  # seconds in which a cluster must answer


@contextmanager
def spread(compute: ComputeParams) -> Iterator[None]:
    """What joblib runs in here runs there; ProjectError when the cluster cannot be reached."""
    if compute.backend != "processes":
        _connect(compute.backend, compute.address)
    how = (
        {"backend": "loky", "inner_max_num_threads": 1}
        if compute.backend == "processes"
        else {"backend": compute.backend}
    )
    with parallel_config(n_jobs=compute.workers, **how), threadpool_limits(1):
        yield


@lru_cache
def _connect(backend: str, address: str) -> None:
    """Once in a process; an address where nobody listens is said at once."""
    place = urlsplit(address if "://" in address else f"//{address}")
    try:
        if address != "auto":
            socket.create_connection((place.hostname or "", place.port or 0), PATIENCE).close()
        _connect_dask(address) if backend == "dask" else _connect_ray(address)
    except ImportError:
        raise ProjectError(f"compute.backend: {backend} is not installed: type uv sync --group {backend}") from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(credentials.mask(str(error)).split())[:200]
        raise ProjectError(f"compute.address: no {backend} cluster answers at {address!r}: {reason}") from None


def _connect_dask(address: str) -> None:
    from distributed import Client

    client = Client(address, timeout=PATIENCE)  # joblib takes the newest
    client.wait_for_workers(1, timeout=PATIENCE)


def _connect_ray(address: str) -> None:
    # Under `uv run`, Ray would pack the project and make its environment anew for every worker.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    import ray
    from ray.util.joblib import register_ray

    ray.init(address, log_to_driver=False, logging_level="error")
    register_ray()
