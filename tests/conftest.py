"""A data set of a few tiny pictures, in records, for tests that need real shards but nothing to learn.

And the order of the files: the longest begin first, so that no worker is left alone with one in the end.
"""

import gc
import hashlib
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KSEG_CACHE"] = "off"  # a test sees what the code does, not what an earlier version of it kept

import numpy as np
import pytest
import tensorflow as tf

from kseg import __version__, records
from kseg.labels import LabelMap

# What is imported lives as long as the process: the garbage collections that tracing graphs causes need not look at
# its 300,000 objects again and again (6 % of the seconds of a tiny training).
gc.collect()
gc.freeze()

# By seconds of processor time; files that are not named follow in pytest's order.
LONGEST_FIRST = (
    *(
        "test_spine.py",
        "test_killed_trainings.py",
        "test_replicas.py",
        "test_lost_worker.py",
        "test_s3_run.py",
        "test_fitting.py",
        "test_together.py",
        "test_trainer.py",
        "test_trainer_options.py",
        "test_pretrained.py",
        "test_segmenter.py",
    ),
    *("test_backbones.py", "test_incremental.py", "test_golden_step.py", "test_reduction.py"),
    *(
        "test_step_cache.py",
        "test_export.py",
        "test_trainee.py",
        "test_heads.py",
        "test_faults.py",
        "test_killed.py",
        "test_beam.py",
        "test_pipeline.py",
    ),
)
SIZES = {"train": [(40, 48)] * 6, "validation": [(40, 48), (33, 47), (64, 30)]}


def pytest_collection_modifyitems(items):
    """Takes effect with pytest-xdist's --no-loadscope-reorder: by itself it begins with the files of most tests."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def _record(index: int, height: int, width: int) -> tuple[bytes, np.ndarray]:
    """A picture of noise, brighter where its mask is 1, with a column of void."""
    random = np.random.default_rng(index)
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2 + index, width // 3 :] = 1
    mask[:, 0] = 255
    image = random.integers(0, 120, (height, width, 3)).astype(np.uint8) + (mask == 1)[..., None].astype(np.uint8) * 120
    jpeg = tf.io.encode_jpeg(image, quality=95).numpy()
    return records.encode(jpeg, "jpeg", f"{index}.jpg", height, width, tf.io.encode_png(mask[..., None]).numpy()), mask


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> str:
    """A folder with the splits train (6 pictures in 2 shards) and validation (3 pictures of three sizes, 1 shard)."""
    folder = tmp_path_factory.mktemp("tiny")
    splits = {}
    for split, sizes in SIZES.items():
        made = [_record(index, *size) for index, size in enumerate(sizes)]
        parts = [made[:3], made[3:]] if split == "train" else [made]
        shards = []
        for number, part in enumerate(parts):
            path = folder / records.shard_name(split, number, len(parts))
            with tf.io.TFRecordWriter(str(path)) as writer:
                for record, _ in part:
                    writer.write(record)
            content = path.read_bytes()
            shards.append(records.Shard(path.name, len(part), len(content), hashlib.sha256(content).hexdigest()))
        counts = np.bincount(np.concatenate([mask.ravel() for _, mask in made]), minlength=256)
        heights, widths = zip(*sizes, strict=True)
        splits[split] = records.Split(
            tuple(shards),
            (int(counts[0]), int(counts[1])),
            int(counts[255]),
            (min(heights), max(heights)),
            (min(widths), max(widths)),
        )
    labels = LabelMap.from_names(["dark", "bright"])
    dataset = records.Dataset(str(folder), labels, splits, __version__)
    (folder / records.DATASET_FILE).write_text(dataset.to_json())
    return str(folder)
