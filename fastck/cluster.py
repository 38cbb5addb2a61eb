"""More than one machine: joblib's Dask backend for the length of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from joblib import parallel_config

CONNECT_SECONDS = 20


@contextmanager
def dask_cluster(address: str) -> Iterator[None]:
    """Let joblib send its work to a Dask cluster while the context is open.

    Parameters
    ----------
    address : str
        The scheduler's, for example "tcp://10.0.0.1:8786". Its workers need fastck installed, and the data set and the
        store under the same paths as here: a shared file system.

    Raises
    ------
    ValueError
        If Dask is not installed.
    OSError
        If no scheduler answers at the address.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ValueError('--scheduler needs Dask: install it with pip install "fastck[dask]"') from None
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=True)
    except (OSError, ValueError) as error:
        raise OSError(f"no Dask scheduler answers at {address}: start one with `dask scheduler`, or mend it") from error
    with client, parallel_config(backend=_cluster_backend(client, address)):
        yield


def _cluster_backend(client: Any, address: str) -> Any:
    """Return joblib's backend for a cluster, one that uses a cluster of a single thread too."""
    # joblib has no public door to the class; by the name "dask" it takes one job for "work in this process".
    from joblib._dask import DaskDistributedBackend

    class ClusterBackend(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs: int) -> int:
            try:
                return max(2, super().effective_n_jobs(n_jobs))
            except TimeoutError:
                advice = f"start one with `dask worker {address}`"
                raise OSError(f"the Dask scheduler at {address} has no worker: {advice}") from None

    return ClusterBackend(client=client)
