"""A worker that does nothing but ask the others; run by test_together.py.

Arguments: seconds of patience, and whether to "agree" first, just to "loop", or to have "uneven" numbers of devices.
Waits for a line once all is imported.
"""

import dataclasses
import os
import sys

from kseg.cluster import read_cluster
from kseg.command import launch

TIMEOUT, DO = float(sys.argv[1]), sys.argv[2]


def run(config) -> None:
    from kseg import workers

    print("imported", flush=True)
    sys.stdin.readline()
    cluster = read_cluster(os.environ["TF_CONFIG"])
    with workers.together():
        workers.start(cluster, TIMEOUT, logical_devices=cluster.place + 1 if DO == "uneven" else 1)
        print("started", flush=True)
        if DO == "agree":
            workers.agree("colour", "blue")
            answers = [workers.any_worker(False), workers.any_worker(cluster.place == 1), workers.any_worker(True)]
            print(f"chief {workers.is_chief()} {answers}", flush=True)
            workers.agree("name", f"name {cluster.place}")
        while not workers.any_worker(False):
            pass


if __name__ == "__main__":
    sys.argv = sys.argv[:1]
    launch("kseg-train", "asks", dataclasses.make_dataclass("NoFlags", [], frozen=True), run)
