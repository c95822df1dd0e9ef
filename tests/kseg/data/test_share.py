"""What each of several machines and devices reads of a batch, in place of the whole of it."""

import numpy as np
import pytest
import tensorflow as tf
from test_pipeline import picture, shards, train  # noqa: F401  (a fixture)

from kseg.data import opening, pipeline
from kseg.data.pipeline import COUNTED, IMAGES, Share

SHARES = [Share(worker, 2, 2) for worker in range(2)]


def batches(dataset, count: int) -> list:
    """As many batches of an endless dataset, as arrays."""
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    return list(dataset.take(count).as_numpy_iterator())


@pytest.fixture
def decoded(monkeypatch) -> list:
    """A line for each picture that is decoded from here on."""
    found = []

    def noted(read):
        def reading(encoded, *others, **sizes):
            tf.numpy_function(lambda images: found.extend([1] * np.size(images)) or np.int64(0), [encoded], tf.int64)
            return read(encoded, *others, **sizes)

        return reading

    for module, name in ((opening, "crops"), (pipeline, "_decoded")):
        monkeypatch.setattr(module, name, noted(getattr(module, name)))
    return found


# Of a machine's 2, 8 and 12 pictures of a batch 2, 4 and 4 are opened by one call; a device gets 1, 4 and 6.
@pytest.mark.parametrize(("batch_size", "first_step"), [(4, 0), (16, 0), (24, 1)])
def test_the_parts_of_a_training_batch_are_the_batch(shards, decoded, batch_size, first_step):  # noqa: F811
    """Two epochs, of which each of two machines decodes its half of each batch, for two devices."""
    flags = {"epochs": range(1, 3), "batch_size": batch_size, "samples_per_epoch": 48, "first_step": first_step}
    whole = list(train(shards, **flags).as_numpy_iterator())
    assert len(whole) == 2 * 48 // batch_size - first_step
    counts, each = [], batch_size // 4
    for worker, share in enumerate(SHARES):
        decoded.clear()
        parts = batches(train(shards, share=share, **flags), 2 * len(whole))
        counts.append(len(decoded))
        for step, (images, masks) in enumerate(whole):
            for device in range(2):
                first = (2 * worker + device) * each
                np.testing.assert_array_equal(parts[2 * step + device][0], images[first : first + each])
                np.testing.assert_array_equal(parts[2 * step + device][1], masks[first : first + each])
    assert counts == [len(whole) * batch_size // 2] * 2


@pytest.mark.parametrize("batch_size", [1, 4, 6])
def test_every_picture_is_evaluated_once_by_all_machines_together(shards, decoded, batch_size):  # noqa: F811
    """Eleven pictures, each at the step of one device; where there is none for a device it gets a black one."""
    steps, seen = -(-11 // batch_size), []
    arguments = {"num_classes": 11, "examples": 11, "batch_size": batch_size, "crop_size": 16}
    found = [batches(pipeline.evaluation_dataset(shards, share=share, **arguments), 2 * steps) for share in SHARES]
    assert len(decoded) == 11
    for step in range(steps):
        counted = 0
        for place in range(4):
            images, masks = found[place // 2][2 * step + place % 2]
            there = len(images[COUNTED])
            counted += there
            assert len(images[IMAGES]) == len(masks) == -(-batch_size // 4)
            assert not images[IMAGES][there:].any()
            assert (masks[there:] == 255).all()
            seen += [int(mask.max()) for mask in masks[:there]]
            if batch_size == 1 and there:
                np.testing.assert_array_equal(images[IMAGES][0], picture(seen[-1])[0])
        assert counted == min(batch_size, 11 - step * batch_size)
    assert seen == list(range(11))
