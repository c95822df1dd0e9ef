"""Several machines, each with a process of the same training: that all of them live, that they agree.

kseg.cluster says who they are. Everything here works on one machine too, where nobody need be asked.
"""

import contextlib
import functools
import hashlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator

import tensorflow as tf
from tensorflow.python.distribute import collective_all_reduce_strategy
from tensorflow.python.eager import context

from kseg import progress
from kseg.cluster import Cluster, Worker
from kseg.errors import Interrupted, RunError, UsageError

# Shares of --worker_timeout. A worker that has not answered for SILENT of it is lost; then what the others are in the
# middle of is broken off, and whoever has not ended ENDING of it later is ended.
PROBE, SILENT, ENDING = 0.05, 0.6, 0.15
LONGEST_PROBE = 1.0  # seconds; TensorFlow lets no other Python thread run while it asks
LINGER = 3.0  # seconds
# What TensorFlow says where workers do not fit together.
REFUSALS = {
    "joining a group": "the workers have different numbers of devices; every one must have as many",
    "incarnation": "the others still wait for the process whose place this one takes; start it again once they ended",
}
ASKED = 3  # times


class Group:
    """The workers while they train together.

    Args:
        cluster: of two workers or more.
        strategy: what TensorFlow made of it.
        timeout: seconds, see --worker_timeout.
    """

    def __init__(self, cluster: Cluster, strategy: tf.distribute.Strategy, timeout: float):
        self.cluster, self.strategy, self._timeout = cluster, strategy, timeout
        self._heard = dict.fromkeys(cluster.others, time.monotonic())
        self._finished, self._ended = threading.Event(), threading.Event()

    def await_others(self) -> None:
        """Returns once every other worker has answered.

        Raises:
            RunError: naming those that have not, after the timeout.
        """
        deadline, missing = time.monotonic() + self._timeout * (1 - PROBE), list(self.cluster.others)
        while missing and time.monotonic() < deadline:
            missing = [worker for worker in missing if not self._answers(worker)]
            self._ended.wait(self._timeout * PROBE if missing else 0)
        if missing:
            names = ", ".join(str(worker) for worker in missing)
            raise RunError(f"{names} did not come up within --worker_timeout={self._timeout:g} seconds")

    def _answers(self, worker: Worker) -> bool:
        """Whether it answers now; notes when."""
        limit = min(LONGEST_PROBE, self._timeout * PROBE)
        try:
            context.context().check_collective_ops_peer_health(worker.task, timeout_in_ms=int(1000 * limit))
        except tf.errors.OpError:
            return False
        self._heard[worker] = time.monotonic()
        return True

    def watch(self) -> None:
        """Asks the others again and again, in a thread of its own, and ends the training if one no longer answers."""
        self._heard = dict.fromkeys(self.cluster.others, time.monotonic())
        threading.Thread(target=self._watch, name="workers", daemon=True).start()

    def _watch(self) -> None:
        """The thread; a worker that answers once in a while, as on a busy machine, is not lost."""
        while not self._ended.wait(min(LONGEST_PROBE, self._timeout * PROBE)):
            silent = [worker for worker in self.cluster.others if not self._answers(worker)]
            if any(time.monotonic() - self._heard[worker] > self._timeout * SILENT for worker in silent):
                break
        else:
            return
        context.context().abort_collective_ops(tf.errors.UNAVAILABLE, "a worker is lost")
        if not self._ended.wait(self._timeout * ENDING) and not self._finished.is_set():
            print(f"kseg-train: {self.loss()}", file=sys.stderr)
            leave(1)

    def lost(self) -> bool:
        """Whether some other worker does not answer, asked a few times; for when work together has failed already."""
        for _ in range(ASKED):
            if all([self._answers(worker) for worker in self.cluster.others]):
                return False
            self._ended.wait(min(LONGEST_PROBE, self._timeout * PROBE))
        return True

    def loss(self) -> str:
        """Which worker is lost: the one silent for longest, as others may have ended because of it."""
        worker = min(self._heard, key=self._heard.get)
        return (
            f"{worker} is lost: it ended, or has not answered in time (--worker_timeout={self._timeout:g}); start all "
            "workers again to resume from the last checkpoint"
        )

    def total(self, values: list[int]) -> list[int]:
        """The sums over all workers; each must call this with as many values."""
        return self._summed(tf.constant(values, tf.int64)).numpy().tolist()

    @functools.cached_property
    def _summed(self):
        devices = self.strategy.num_replicas_in_sync // len(self.cluster.workers)

        def once(values):
            """The worker's values on its first device, zeros on its others."""
            first = tf.equal(tf.distribute.get_replica_context().replica_id_in_sync_group % devices, 0)
            return tf.where(first, values, 0)

        @tf.function(reduce_retracing=True, autograph=False)
        def summed(values):
            return self.strategy.reduce(tf.distribute.ReduceOp.SUM, self.strategy.run(once, args=(values,)), axis=None)

        return summed

    def finish(self) -> None:
        """Waits until every worker is here: then the first has written everything, and all may end."""
        self.total([0])
        self._finished.set()
        with contextlib.suppress(tf.errors.OpError):  # of one that has ended by now
            self.total([0])

    def end(self, lingering: bool) -> None:
        """Stops watching; with `lingering` first stays until the others have met the same error, a moment at most."""
        self._finished.set()
        until = time.monotonic() + LINGER * lingering
        while time.monotonic() < until and any(self._answers(worker) for worker in self.cluster.others):
            self._ended.wait(0.1)
        self._ended.set()


_group: Group | None = None


def is_chief() -> bool:
    """Whether this process is the one that writes the run directory and prints; on one machine it is."""
    return _group is None or _group.cluster.place == 0


def describe() -> str:
    """Who trains together, for logs: " of …"; "" on one machine."""
    return f" of {', '.join(str(worker) for worker in _group.cluster.workers)}" if _group else ""


def any_worker(flag: bool) -> bool:
    """Whether the flag is set on any worker; the same answer on all. On one machine the flag itself.

    Every worker must call this, in the same order of steps: it waits for all.
    """
    return flag if _group is None else _group.total([int(flag)])[0] > 0


def agree(what: str, value: str) -> None:
    """Checks that something is the same on all workers, which must all call this.

    Raises:
        RunError: naming the first worker that has it otherwise than the chief.
    """
    if _group is None:
        return
    digest = int.from_bytes(hashlib.sha256(value.encode()).digest()[:4], "big")
    workers = _group.cluster.workers
    digests = _group.total([digest * (place == _group.cluster.place) for place in range(len(workers))])
    for worker, other in zip(workers, digests, strict=True):
        if other != digests[0]:
            raise RunError(f"{worker} has another {what} than {workers[0]}; here it is: {value}")


def start(cluster: Cluster, timeout: float, logical_devices: int = 1) -> tf.distribute.Strategy:
    """Joins the other workers; before TensorFlow does anything else.

    Args:
        cluster: of TF_CONFIG.
        timeout: seconds that a worker may take to come up, and later to answer.
        logical_devices: into which the processor is split; all of them are used if there is no GPU.

    Raises:
        RunError: naming the workers that have not come up within the timeout, or this one's address, if it is taken.
    """
    global _group
    _check_port(cluster.me)
    # TensorFlow's own watch over the workers (coordination service, health checks) aborts processes and names nobody.
    context.context().configure_coordination_service("")
    extended = collective_all_reduce_strategy.CollectiveAllReduceExtended
    extended._enable_check_health = False
    if logical_devices > 1:  # TensorFlow would take one of them
        names = [f"/job:{cluster.me.role}/task:{cluster.me.index}/device:CPU:{i}" for i in range(logical_devices)]
        extended._initialize_local_devices = lambda self, resolver, device: (tuple(names), "CPU")
    _group = Group(cluster, tf.distribute.MultiWorkerMirroredStrategy(), timeout)
    _group.await_others()
    _group.watch()
    if not is_chief():
        progress.say(f"{cluster.me}: {cluster.workers[0]} prints and writes")
        progress.silence()
    return _group.strategy


def _check_port(me: Worker) -> None:
    """gRPC would share a port with whoever listens there already, and answer for it now and then."""
    port = int(me.address.rpartition(":")[2])
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise RunError(f"{me}: cannot listen on port {port} of this machine: {error.strerror or error}") from None


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Around a training, from `start` on: the loss of a worker becomes an error that names it; all end together.

    Raises:
        RunError: naming the worker that is lost.
    """
    lingering = False
    try:
        yield
        if _group is not None:
            _group.finish()
    except tf.errors.OpError as error:
        if _group is None:
            raise
        if why := next((why for sign, why in REFUSALS.items() if sign in str(error)), None):
            raise RunError(f"{_group.cluster.me}: {why}") from None
        if not _group.lost():
            raise
        raise RunError(_group.loss()) from None
    except (RunError, UsageError, Interrupted):  # others may have to hear the end of what was done together
        lingering = True
        raise
    finally:
        if _group is not None:
            _group.end(lingering)


def joined() -> bool:
    """Whether this process trains with others: TensorFlow's threads for them may keep it from ending by itself."""
    return _group is not None


def leave(status: int) -> None:
    """Ends the process at once, with what it has printed."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
