"""Executors on other machines."""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

from postmortem.errors import UsageError

RETRIES = 4  # of a run whose worker went away


@contextmanager
def cluster_executor(address: str) -> Iterator[tuple[Executor, int]]:
    """(executor, number of runs that it works on at a time) of `dask://HOST:PORT`.

    The workers need this package and the same paths. Raises `UsageError`.
    """
    scheme, _, rest = address.partition("://")
    if scheme != "dask" or not rest:
        raise UsageError(f"a cluster is named as dask://HOST:PORT; not {address!r}")
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError("a Dask cluster needs: pip install 'postmortem[dask]'") from error
    try:
        client = Client(f"tcp://{rest}", timeout="20s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(f"there is no Dask scheduler at {rest}: {error}") from error
    with client:
        threads = sum(client.nthreads().values())
        with client.get_executor(pure=False, retries=RETRIES) as executor:
            yield executor, max(1, threads)
