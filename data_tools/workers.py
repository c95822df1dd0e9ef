"""Applies a function to many things in parallel processes and gives the results in order."""

import collections
import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from kseg.errors import RunError

CHUNK = 8  # things a task: one by one, handing over costs 0.3 ms each, and checking 480 x 360 pixels takes but 1.4 ms
AHEAD = 3  # tasks a worker may be ahead of the reader, which bounds memory: 24 pairs a worker

_function = None  # of a worker process, set once: a table of colours need not travel with every task


@contextlib.contextmanager
def mapped(function: Callable, items: Iterable, workers: int) -> Iterator[Iterator]:
    """Yields an iterator over `function` of each item, in the order of `items`, which does not depend on `workers`.

    Args:
        function: picklable, best of a module that imports no TensorFlow, so that worker processes start fast.
        items: read no further ahead than the workers need.
        workers: processes; 1 = this one, no other is started.

    Raises:
        RunError: if a worker process dies.
    """
    if workers == 1:
        yield map(function, items)
        return
    # Not fork: TensorFlow, loaded here by then, does not survive it. The workers never load it (0.3 s to start, not 3).
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(function,))
    try:
        yield _in_order(executor, items, workers * AHEAD)
    except BrokenProcessPool:
        raise RunError(
            f"one of the {workers} worker processes died; the usual reason is memory: try fewer --workers"
        ) from None
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _in_order(executor: ProcessPoolExecutor, items: Iterable, ahead: int) -> Iterator:
    """Like executor.map, which would start all at once and pile the results up before a slow disk."""
    items = iter(items)
    chunks = iter(lambda: list(itertools.islice(items, CHUNK)), [])
    running = collections.deque(_submit(executor, chunk) for chunk in itertools.islice(chunks, ahead))
    while running:
        results = running.popleft().result()
        running.extend(_submit(executor, chunk) for chunk in itertools.islice(chunks, 1))
        yield from results


def _submit(executor: ProcessPoolExecutor, chunk: Sequence) -> Future:
    """Submits a task; a process that this starts leaves Ctrl-C to the parent from its first moment on.

    It inherits the blocked signal. Ignoring it in `_start_worker` would be too late: importing takes 0.3 s, and a
    Ctrl-C in that time would print a traceback for each worker.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return executor.submit(_apply, chunk)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _apply(chunk: Sequence) -> list:
    return [_function(item) for item in chunk]


def _start_worker(function: Callable) -> None:
    """Keeps the function, and ends with the parent, which, killed by -9, cannot tell its workers to stop."""
    global _function
    _function = function
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
