import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from kseg import records
from kseg.data import opening, pipeline
from kseg.data.augmentation import Augmentation
from kseg.data.transforms import training_crop
from kseg.pictures import png_bytes

SIZES = [(24, 32), (40, 20), (33, 33), (25, 60), (50, 50), (16, 31), (24, 32), (70, 22), (45, 64), (32, 32), (20, 20)]
SHARDS = [5, 4, 2]


def picture(index):
    """Picture `index`: noise, and a mask that holds its index all over, so that any crop says whose it is."""
    image = np.random.default_rng(index).integers(1, 256, (*SIZES[index], 3), dtype=np.uint8)
    return image, np.full(SIZES[index], index, np.uint8)


def write_shard(path, examples):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            writer.write(example)
    return str(path)


def encoded(index, image=None, mask=None):
    image = image or png_bytes(picture(index)[0])
    mask = mask or png_bytes(picture(index)[1])
    return records.encode(image, "png", f"photo_{index}.png", *SIZES[index], mask)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Eleven pictures of many sizes in three shards of 5, 4 and 2."""
    folder = tmp_path_factory.mktemp("shards")
    ends = np.cumsum(SHARDS)
    return [
        write_shard(folder / records.shard_name("train", number, 3), map(encoded, range(end - count, end)))
        for number, (count, end) in enumerate(zip(SHARDS, ends, strict=True))
    ]


@pytest.fixture
def jpeg(tmp_path):
    """A shard with one JPEG of 48 x 48, and that picture and its mask as TensorFlow decodes them by default."""
    generator = np.random.default_rng(0)
    content = tf.io.encode_jpeg(generator.integers(0, 256, (48, 48, 3), dtype=np.uint8)).numpy()
    mask = generator.integers(0, 9, (48, 48), dtype=np.uint8)
    path = tmp_path / "one.tfrecord"
    write_shard(path, [records.encode(content, "jpeg", "one.jpg", 48, 48, png_bytes(mask))])
    return str(path), tf.io.decode_image(content), tf.constant(mask)


def train(paths, **changes):
    arguments = dict(
        examples=11, samples_per_epoch=11, epochs=range(1), batch_size=1, base_size=32, crop_size=24, seed=5
    )
    return pipeline.train_dataset(paths, num_classes=11, **arguments | changes)


def collect(dataset):
    """All pictures of a data set in one array, their masks in another."""
    batches = list(dataset.as_numpy_iterator())
    return tuple(np.concatenate(arrays) for arrays in zip(*batches, strict=True))


def owners(masks):
    """Whose each mask is: uint8 [N]; its index stands in every pixel that is not IGNORE (255)."""
    return masks.reshape(len(masks), -1).min(axis=1).tolist()


def assert_same(one, other):
    for array, expected in zip(one, other, strict=True):
        np.testing.assert_array_equal(array, expected)


class TestTrainDataset:
    def test_full_batches_of_fixed_shape(self, shards):
        dataset = train(shards, samples_per_epoch=9, batch_size=4, epochs=range(2))
        assert dataset.element_spec == (
            tf.TensorSpec([4, 24, 24, 3], tf.uint8),
            tf.TensorSpec([4, 24, 24], tf.uint8),
        )
        assert dataset.cardinality() == 6  # ceil(9 / 4) batches, two epochs
        assert len(collect(dataset)[0]) == 24

    def test_each_picture_once_an_epoch_in_new_order(self, shards):
        orders = np.reshape(owners(collect(train(shards, epochs=range(4)))[1]), (4, 11)).tolist()
        assert all(sorted(order) == list(range(11)) for order in orders)
        assert len({tuple(order) for order in orders}) == 4
        assert list(range(11)) not in orders

    def test_the_last_batch_is_topped_up(self, shards):
        order = owners(collect(train(shards, batch_size=4))[1])
        assert sorted(order[:11]) == list(range(11)) and len(order) == 12

    def test_more_samples_than_pictures_go_round_again(self, shards):
        images, masks = collect(train(shards, samples_per_epoch=25, batch_size=5))
        order = owners(masks)
        assert sorted(order[:11]) == sorted(order[11:22]) == list(range(11)) and len(order) == 25
        assert order[:11] != order[11:22]
        assert len({image.tobytes() for image in images}) == 25

    def test_fewer_samples_than_pictures_differ_by_epoch(self, shards):
        order = owners(collect(train(shards, samples_per_epoch=4, batch_size=2, epochs=range(12)))[1])
        epochs = np.reshape(order, (12, 4)).tolist()
        assert all(len(set(epoch)) == 4 for epoch in epochs)
        assert set(order) == set(range(11))

    def test_epochs_do_not_depend_on_those_before(self, shards):
        whole = collect(train(shards, samples_per_epoch=13, batch_size=2, epochs=range(5)))
        rest = collect(train(shards, samples_per_epoch=13, batch_size=2, epochs=range(3, 5)))
        assert_same(rest, [array[3 * 14 :] for array in whole])

    @pytest.mark.parametrize("first_step", [1, 6, 7])
    def test_it_can_begin_in_the_midst_of_an_epoch(self, shards, first_step):
        """Seven batches an epoch: after the first, with the last, and with the next epoch's first."""
        whole = collect(train(shards, samples_per_epoch=13, batch_size=2, epochs=range(5)))
        dataset = train(shards, samples_per_epoch=13, batch_size=2, epochs=range(3, 5), first_step=first_step)
        assert dataset.cardinality() == 14 - first_step
        assert_same(collect(dataset), [array[3 * 14 + 2 * first_step :] for array in whole])

    @pytest.mark.parametrize("global_seed", [0, 3])
    @pytest.mark.parametrize("threads", [1, 4])
    def test_neither_threads_nor_the_global_seed_matter(self, shards, threads, global_seed):
        flags = {"epochs": range(2), "batch_size": 4}
        reference = collect(train(shards, **flags))
        tf.random.set_seed(global_seed)
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        options.autotune.enabled = threads > 1
        assert_same(collect(train(shards, **flags).with_options(options)), reference)

    # As many together as divide the batch, up to 4; none together if the records are large.
    @pytest.mark.parametrize(
        ("batch_size", "most_bytes", "together"),
        [(2, 2**20, 2), (4, 2**20, 4), (5, 2**20, 1), (6, 2**20, 3), (12, 2**20, 4), (6, 9000, 2), (4, 100, 1)],
    )
    def test_batch_size_does_not_change_the_pictures(self, shards, monkeypatch, batch_size, most_bytes, together):
        reference, counts, crops = collect(train(shards, samples_per_epoch=60)), [], opening.crops
        monkeypatch.setattr(pipeline, "TOGETHER_BYTES", most_bytes)
        monkeypatch.setattr(
            opening,
            "crops",
            lambda images, *rest, **sizes: counts.append(images.shape[0]) or crops(images, *rest, **sizes),
        )
        dataset = train(shards, samples_per_epoch=60, batch_size=batch_size)
        assert dataset.element_spec[0].shape == (batch_size, 24, 24, 3)
        assert_same(collect(dataset), reference)
        assert counts == [together]

    def test_seed_changes_order_and_crops(self, shards):
        (images, masks), (other_images, other_masks) = (collect(train(shards, seed=seed)) for seed in (0, 2**31 - 1))
        assert owners(masks) != owners(other_masks)
        assert not {image.tobytes() for image in images} & {image.tobytes() for image in other_images}

    def test_one_jpeg_crop_by_crop(self, jpeg):
        path, image, mask = jpeg
        dataset = train([path], examples=1, samples_per_epoch=3, epochs=range(1, 2), seed=9)
        for k, (cropped, labels) in enumerate(dataset.unbatch()):
            expected = training_crop(image, mask, tf.constant([9, 2**32 + k]), base_size=32, crop_size=24)
            assert_same((cropped, labels), expected)

    @pytest.mark.parametrize("batch_size", [2, 6, 8])
    def test_jpegs_together_are_what_they_are_alone(self, jpeg, batch_size):
        changes = dict(examples=1, samples_per_epoch=24)
        assert_same(collect(train([jpeg[0]], batch_size=batch_size, **changes)), collect(train([jpeg[0]], **changes)))

    @pytest.mark.parametrize(
        "options",
        [
            Augmentation(True, 0.5, 30.0, True, True),
            Augmentation(random_blur=True),
            Augmentation(color_jitter=0.5),
            Augmentation(random_rotation=30.0),
            Augmentation(random_vertical_flip=True),
            Augmentation(class_balanced_crop=True),
        ],
        ids=["all", "blur", "jitter", "rotation", "vertical flip", "balanced"],
    )
    def test_augmented_crops_depend_on_epoch_and_place_alone(self, jpeg, options):
        path, image, mask = jpeg
        changes = dict(examples=1, samples_per_epoch=4, seed=9, augmentation=options)
        whole = collect(train([path], epochs=range(2), batch_size=2, **changes))
        assert_same(collect(train([path], epochs=range(1, 2), **changes)), [array[4:] for array in whole])
        assert len({image.tobytes() for image in whole[0]}) == 8
        for k in range(4):
            sizes = dict(base_size=32, crop_size=24, augmentation=options)
            expected = training_crop(image, mask, tf.constant([9, 2**32 + k]), **sizes)
            assert_same((whole[0][4 + k], whole[1][4 + k]), expected)

    def test_wrong_count_of_examples_is_an_error(self, shards):
        with pytest.raises(tf.errors.FailedPreconditionError, match="expected to contain 12"):
            collect(train(shards, examples=12))


class TestEvaluationDataset:
    def test_every_picture_once_in_order_with_a_short_last_batch(self, shards):
        dataset = pipeline.evaluation_dataset(shards, num_classes=11, examples=11, batch_size=4, crop_size=16)
        assert dataset.cardinality() == 3
        batches = list(dataset.as_numpy_iterator())
        assert [image.shape for image, _ in batches] == [(4, 16, 16, 3), (4, 16, 16, 3), (3, 16, 16, 3)]
        masks = np.concatenate([mask for _, mask in batches])
        np.testing.assert_array_equal(masks, np.arange(11)[:, None, None] * np.ones((16, 16)))

    def test_batch_size_one_gives_whole_pictures(self, shards):
        dataset = pipeline.evaluation_dataset(shards, num_classes=11, examples=11, batch_size=1, crop_size=16)
        assert dataset.cardinality() == 11
        for index, (images, masks) in enumerate(dataset.as_numpy_iterator()):
            assert_same((images[0], masks[0]), picture(index))

    def test_one_jpeg_uncropped(self, jpeg):
        path, image, mask = jpeg
        for batch_size in (1, 2):
            dataset = pipeline.evaluation_dataset(
                [path], num_classes=11, examples=1, batch_size=batch_size, crop_size=48
            )
            assert_same(next(iter(dataset.unbatch())), (image, mask))

    def test_wrong_count_of_examples_is_an_error(self, shards):
        with pytest.raises(tf.errors.FailedPreconditionError, match="expected to contain 10"):
            collect(pipeline.evaluation_dataset(shards, num_classes=11, examples=10, batch_size=4, crop_size=16))


@pytest.mark.parametrize(
    "changes",
    [
        {"mask": png_bytes(picture(2)[1])},  # 33 x 33, the image is 40 x 20
        {"mask": png_bytes(np.full(SIZES[1], 11, np.uint8))},
        {"mask": png_bytes(np.full((*SIZES[1], 3), 1, np.uint8))},
    ],
    ids=["another size", "a value that is no class", "three channels"],
)
def test_a_mask_that_would_train_wrong_is_an_error(changes, tmp_path):
    path = write_shard(tmp_path / "wrong.tfrecord", [encoded(0), encoded(1, **changes)])
    with pytest.raises(tf.errors.InvalidArgumentError):
        collect(train([path], examples=2, samples_per_epoch=2))
    with pytest.raises(tf.errors.InvalidArgumentError):
        list(pipeline.evaluation_dataset([path], num_classes=11, examples=2, batch_size=1, crop_size=16))
    void = write_shard(tmp_path / "right.tfrecord", [encoded(0, mask=png_bytes(np.full(SIZES[0], 255, np.uint8)))])
    assert (collect(train([void], examples=1, samples_per_epoch=1))[1] == 255).all()


class TestProcess:
    """What the input does in a process of its own: it has threads that call Python."""

    PROGRAM = """
import dataclasses, sys
from kseg.command import launch
from kseg.errors import RunError

def run(config):
    from kseg.data import pipeline
    batches = pipeline.train_dataset(
        [path], examples=1, num_classes=11, samples_per_epoch=4, epochs=range(10**6), batch_size=4, base_size=64,
        crop_size=48, seed=1,
    )
    iterator = iter(batches)
    for _ in range(5):
        next(iterator)
    if then == "raise":
        raise RunError("broken off")

path, then = sys.argv[1:]
sys.argv = ["input"]
launch("input", "reads", dataclasses.make_dataclass("NoFlags", [], frozen=True), run)
"""

    def start(self, path, then):
        command = [sys.executable, "-c", self.PROGRAM, path, then]
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
        return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    @pytest.mark.parametrize(
        ("then", "status", "said"), [("end", 0, ""), ("raise", 1, "input: broken off\n")], ids=["end", "raise"]
    )
    def test_ends_with_its_own_status_when_iteration_is_broken_off(self, jpeg, then, status, said):
        process = self.start(jpeg[0], then)
        _, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (status, said)


@pytest.mark.parametrize("parallel", [1, 2, 16])
def test_parallel_calls_do_not_matter(shards, parallel, monkeypatch):
    reference = collect(train(shards, epochs=range(2), batch_size=4))
    monkeypatch.setattr(pipeline, "PARALLEL", parallel)
    assert_same(collect(train(shards, epochs=range(2), batch_size=4)), reference)
