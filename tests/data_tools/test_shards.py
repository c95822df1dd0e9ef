import numpy as np
import pytest

from data_tools import shards
from data_tools.pairs import Pair


def pairs_of(count: int, path: str = "/nowhere") -> list[Pair]:
    return [Pair(f"{index:06d}", f"{index:06d}.jpg", path, path) for index in range(count)]


@pytest.mark.parametrize(("count", "expected"), [(1, 1), (15, 1), (16, 2), (63, 7), (64, 8), (5000, 8)])
def test_default_shards_for_small_pictures(count, expected):
    jobs = shards.deal(pairs_of(count), "train", None)
    assert len(jobs) == expected
    assert sorted((pair for job in jobs for pair in job.pairs), key=lambda pair: pair.stem) == pairs_of(count)
    sizes = [len(job.pairs) for job in jobs]
    assert max(sizes) - min(sizes) <= 1
    assert shards.worker_count(jobs) == 1  # nothing to gain from a second process


def test_default_shards_and_workers_grow_with_the_bytes(tmp_path):
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(4 * 2**20)  # 8 MiB a pair
    jobs = shards.deal(pairs_of(400, str(path)), "train", None)
    assert len(jobs) == 25  # 400 x 8 MiB / 128 MiB
    assert shards.worker_count(jobs) > 1 or shards.os.cpu_count() == 1
    assert shards.worker_count(jobs, 3) == 3


def test_the_order_mixes_neighbours():
    order = [int(pair.stem) for job in shards.deal(pairs_of(1000), "train", None, 10) for pair in job.pairs]
    steps = np.abs(np.diff(order))
    assert np.median(steps) > 200  # 1 in the order of the names; 293 on average in a random one
