"""Parts of a result that the workers of a Dask cluster compute, as they would be computed here.

A part is small on its way there: the name of a function, paths and numbers. A worker opens what it
reads, once it is known to have the code, the libraries and the files that the result is made of.
"""

import asyncio
import json
import logging
import pickle
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, lru_cache
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilas import plugins
from lilas.errors import LilasError
from lilas.records.provenance import (
    PACKAGE,
    as_json,
    differences,
    metrics_fingerprint,
    versions,
)

# It is optional, and takes a second to import.
if TYPE_CHECKING:
    from distributed import Client, Future

# Seconds in which a scheduler answers, and in which workers come back where none is left; and after
# which it is seen whether there are any, while a part is waited for.
ANSWER, RETURN, LOOK = 10, 60, 5
# Parts that are computed, or wait to be taken from here, for each thread of a worker.
TOGETHER = 2
_SAME = (
    "Dask's workers need the code, libraries and files of the machine that asks, at the same paths."
)
_CHECKING = threading.Lock()


class _Call:
    """What is unpickled to the value of a function.

    So a scheduler needs no LILAS, and of a worker that has none it is the task that fails.
    """

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return _compute, self.call


def in_order(
    address: str,
    function: Callable[[Any], Any],
    items: Iterable[Any],
    *,
    records: Iterable[Mapping[str, Any]],
    needed: float,
) -> Iterator[Any]:
    """Yields a function's value of each item, in order, as the workers of a cluster compute it.

    Few are computed or kept at once, however many items there are. What a worker that died was
    computing, another one computes again.

    Args:
        address: Of the cluster's scheduler.
        function: Of an item; pickled, as its value is. An iterator is made a list.
        items: Small; paths in them are absolute.
        records: Of each item, what the result is made of (`provenance`): the workers' must be this.
        needed: Bytes that an item takes while it is computed.

    Raises:
        LilasError: the cluster does not answer, loses its workers, or they are not fit for it; or
            the function's own.
    """
    calls = (
        (
            f"lilas-{record['stage']}",
            pickle.dumps(_Call(function, item, as_json(_absolute(record)))),
        )
        for item, record in zip(items, records, strict=True)
    )
    threads = sum(worker["nthreads"] for worker in check_dask(address, needed).values())
    # Of several jobs the first comes first: a worker that took turns would load weights each time.
    priority = -time.time()
    with _client(address) as client:
        waiting: deque[Future] = deque()
        while True:
            for name, call in islice(calls, TOGETHER * threads - len(waiting)):
                key = f"{name}-{uuid.uuid4().hex}"
                how = {"key": key, "pure": False, "priority": priority}
                waiting.append(client.submit(pickle.loads, call, **how))
            if not waiting:
                return
            yield _value(address, waiting.popleft())


def of_each(record: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """Yields a record of each file of an input, which knows of that one alone."""
    for item in record["inputs"][name]:
        yield record | {"inputs": {name: [item]}}


def check_dask(address: str, needed: float = 0.0) -> dict[str, Any]:
    """Returns what is known of a cluster's workers, by their addresses.

    Args:
        address: Of its scheduler.
        needed: Bytes that each of their threads will take.

    Raises:
        LilasError: the cluster does not answer, has no workers, or one has too little memory.
    """
    found = _workers(address)
    if not found:
        raise LilasError(
            f"dask: the scheduler at {address} has no workers. Start some: dask worker {address}"
        )
    for name, worker in found.items():
        threads, limit = worker["nthreads"], worker["memory_limit"]
        if limit and threads * needed > limit:
            raise LilasError(
                f"dask: worker {name} has {threads} thread{'s' * (threads > 1)} and "
                f"{limit / 1e9:.2g} GB, and each takes {needed / 1e9:.2g} GB. Start it with fewer "
                "(--nthreads) or with more memory (--memory-limit)."
            )
    return found


def _workers(address: str) -> dict[str, Any]:
    if find_spec("distributed") is None:
        raise LilasError(f"dask: {address} needs the package distributed: make install EXTRAS=dask")
    # What it says of lost connections is told in one line here.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        # What is no scheduler may take a connection and never answer.
        found = asyncio.run(asyncio.wait_for(_identity(address), ANSWER))
        if found["type"] != "Scheduler":
            raise ValueError(f"it is a {found['type'].lower()}")
    except Exception as error:
        # Whatever answers there, if anything does, may break Dask's protocol in any way.
        if isinstance(error, OSError):
            reason = f"within {ANSWER} s"
        elif isinstance(error, MemoryError):
            # Its words are taken for the size of a message.
            reason = "but another service"
        else:
            reason = f"({(str(error).splitlines() or [type(error).__name__])[0]})"
        raise LilasError(
            f"dask: no scheduler answers at {address} {reason}. Start one (dask scheduler), "
            "correct the address, or set dask: null."
        ) from None
    return found["workers"]


async def _identity(address: str) -> dict[str, Any]:
    """Returns what a server of Dask says that it is."""
    from distributed import Security, rpc

    # As a client has it of Dask's own configuration.
    how = Security().get_connection_args("client")
    async with rpc(address, timeout=ANSWER, connection_args=how) as server:
        return await server.identity()


@contextmanager
def _client(address: str) -> Iterator["Client"]:
    """Connects to a scheduler that has just answered."""
    from distributed import Client

    client = Client(address, timeout=ANSWER, set_as_default=False)
    try:
        yield client
    finally:
        # Parts that nobody waits for any more are given up; of a process that ends they are anyway.
        if not sys.is_finalizing():
            client.close(timeout=ANSWER)


def _value(address: str, future: "Future") -> Any:
    """Returns what a worker computed, once it has."""
    from distributed import CancelledError, KilledWorker

    seen = time.monotonic()
    try:
        while True:
            try:
                return future.result(timeout=LOOK)
            except TimeoutError:
                if future.status == "error":
                    raise
            if (absent := _absent(address)) is None:
                seen = time.monotonic()
            elif time.monotonic() - seen > RETURN:
                raise absent
    except CancelledError:
        raise LilasError(
            f"dask: the scheduler at {address} is gone. Start it, and run again."
        ) from None
    except KilledWorker as error:
        count = error.allowed_failures + 1
        raise LilasError(
            f"dask: {count} worker{'s' * (count > 1)} died of one task, the last at "
            f"{error.last_worker.address}. Give workers more memory, or see its log."
        ) from None
    except ModuleNotFoundError as error:
        told = " ".join(str(error).split()).removesuffix(".")
        lacks = (
            f"has no {error.name.partition('.')[0]}" if error.name else f"lacks a module: {told}"
        )
        raise LilasError(f"dask: a worker of {address} {lacks}. {_SAME}") from None


def _absent(address: str) -> LilasError | None:
    """Returns why no worker is seen; None where one is.

    A scheduler that is busy may not answer in time, while its workers compute.
    """
    try:
        if _workers(address):
            return None
    except LilasError as error:
        return error
    return LilasError(
        f"dask: the scheduler at {address} has had no worker for {RETURN} s. Start some, and run "
        "again."
    )


def _compute(function: Callable[[Any], Any], item: Any, record: str) -> Any:
    """Returns a function's value, on a worker."""
    from distributed import get_worker

    try:
        # What reads code is not made for threads (Python 3.11).
        with _CHECKING:
            _check_same(record)
        value = function(item)
        return list(value) if isinstance(value, Iterator) else value
    except LilasError as error:
        raise LilasError(f"{error} (dask worker {get_worker().address})") from None


@lru_cache(maxsize=256)
def _check_same(record: str) -> None:
    """Refuses to compute in a process where a result would be made of something else."""
    plugins.check()
    made, first, now = json.loads(record), _first(), _installed()
    wanted = made["versions"]
    found = []
    # What was imported is not told by what is installed after.
    if now != first:
        found.append("its code or libraries have changed since it was started: start it anew")
    found += [
        f"{name} is {there}, not {wanted[name]}"
        for name, there in now["versions"].items()
        if wanted[name] != there
    ]
    if now["metrics"] != made["metrics"]:
        found.append("the code of the metrics differs from the one used")
    if found := found or differences(made):
        raise LilasError(f"{found[0]}. {_SAME}")


def _installed() -> dict[str, Any]:
    """Returns libraries, metrics, and when each file of LILAS and its plug-ins was written."""
    files = set(PACKAGE.rglob("*.py"))
    for name in {
        point.module.split(".")[0] for group in plugins.GROUPS for point in plugins.points(group)
    }:
        spec = find_spec(name)
        if spec and spec.origin:
            origin = Path(spec.origin)
            files |= set(origin.parent.rglob("*.py")) if origin.stem == "__init__" else {origin}
    times = {str(file): file.stat().st_mtime_ns for file in files if file.is_file()}
    return {"versions": versions(), "metrics": metrics_fingerprint(), "times": times}


@cache
def _first() -> dict[str, Any]:
    """Returns what was installed at the first task of this process."""
    return _installed()


def _absolute(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a record as workers compare with it, wherever they were started."""

    def placed(item: dict[str, Any]) -> dict[str, Any]:
        return item | {"path": str(Path(item["path"]).absolute())}

    inputs = {
        name: [placed(item) for item in entry] if isinstance(entry, list) else placed(entry)
        for name, entry in record["inputs"].items()
    }
    return dict(record) | {"inputs": inputs, "metrics": metrics_fingerprint()}
