"""TF_CONFIG: the machines of a training, as it names them for TensorFlow.

One process stands for a machine and is called a worker here. The first (a "chief" if there is one, else worker 0) alone
writes and prints.
"""

import dataclasses
import json

from kseg.errors import UsageError

EXPECTED = (
    '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}, with another index '
    "on each machine (or, for the first, a chief beside the workers)"
)


@dataclasses.dataclass(frozen=True)
class Worker:
    """One of the processes that train together.

    Attributes:
        role, index: as TF_CONFIG has them: "chief" or "worker", and its place among those of its role.
        address: host:port.
    """

    role: str
    index: int
    address: str

    @property
    def task(self) -> str:
        """TensorFlow's name."""
        return f"/job:{self.role}/replica:0/task:{self.index}"

    def __str__(self) -> str:
        name = self.role if self.role == "chief" else f"{self.role} {self.index}"
        return f"{name} ({self.address})"


@dataclasses.dataclass(frozen=True)
class Cluster:
    """All workers, the one that writes first, and which of them this process is."""

    workers: tuple[Worker, ...]
    place: int

    @property
    def me(self) -> Worker:
        """This process."""
        return self.workers[self.place]

    @property
    def others(self) -> tuple[Worker, ...]:
        """The other processes."""
        return self.workers[: self.place] + self.workers[self.place + 1 :]


def read_cluster(text: str | None) -> Cluster | None:
    """What a value of TF_CONFIG says; None where it names no other worker, so that one machine trains by itself.

    Raises:
        UsageError: with what is wrong in it.
    """
    if not (text or "").strip():
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise _refusal(f"not JSON ({error})") from None
    if not isinstance(value, dict):
        raise _refusal("no JSON object")
    roles = value.get("cluster") or {}
    workers = _workers(roles)
    task = value.get("task")
    if not workers and not task:
        return None
    if not isinstance(task, dict) or "type" not in task or "index" not in task:
        raise _refusal("no task, or one without type and index")
    role, index = task["type"], str(task["index"])
    for place, worker in enumerate(workers):
        if (worker.role, str(worker.index)) == (role, index):
            return Cluster(workers, place) if len(workers) > 1 else None
    known = ", ".join(f"{worker.role} {worker.index}" for worker in workers) or "nobody"
    raise _refusal(f"the task is {role} {index}, but the cluster has {known}")


def _workers(roles) -> tuple[Worker, ...]:
    """The workers of TF_CONFIG's cluster in the order of their places."""
    if not isinstance(roles, dict):
        raise _refusal("the cluster is no JSON object")
    unknown = [role for role in roles if role not in ("chief", "worker")]
    if unknown:
        raise _refusal(f"the cluster has {', '.join(unknown)}; kseg-train has a use for chief and worker only")
    found = []
    for role in ("chief", "worker"):
        addresses = roles.get(role) or []
        if not isinstance(addresses, list) or not all(_is_address(address) for address in addresses):
            raise _refusal(f"the addresses of {role} are no list of HOST:PORT")
        found += [Worker(role, index, address) for index, address in enumerate(addresses)]
    if sum(worker.role == "chief" for worker in found) > 1:
        raise _refusal("more than one chief")
    return tuple(found)


def _is_address(value) -> bool:
    return isinstance(value, str) and value.rpartition(":")[0] != "" and value.rpartition(":")[2].isdecimal()


def _refusal(what: str) -> UsageError:
    return UsageError(f"the environment variable TF_CONFIG: {what}; expected {EXPECTED}")
