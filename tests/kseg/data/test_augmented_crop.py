"""What the options of Augmentation do to `training_crop`."""

import numpy as np
import tensorflow as tf

from kseg.data import resample
from kseg.data.augmentation import CROP_PLACE, Augmentation, draw
from kseg.data.transforms import training_crop

ALL = Augmentation(
    random_blur=True, color_jitter=0.5, random_rotation=30.0, random_vertical_flip=True, class_balanced_crop=True
)
BALANCED = Augmentation(class_balanced_crop=True)
# Rows and columns of 200 x 200 pixels hold their own numbers.
NO_PLACE_TWICE = np.stack(np.mgrid[:200, :200][[0, 1, 0]], axis=-1).astype(np.uint8)


def noise(height, width, seed):
    """A picture and a mask without any structure."""
    generator = np.random.default_rng(seed)
    return (
        generator.integers(0, 256, (height, width, 3), dtype=np.uint8),
        generator.integers(0, 12, (height, width), dtype=np.uint8),
    )


def draw_many(image, mask, count, **arguments):
    """`count` training crops: uint8 [count, c, c, 3] and [count, c, c]."""
    image, mask = tf.constant(image), tf.constant(mask)
    dataset = tf.data.Dataset.range(count).map(lambda k: training_crop(image, mask, tf.stack([7, k]), **arguments))
    return next(dataset.batch(count).as_numpy_iterator())


class TestAugmentedTrainingCrop:
    def test_all_options_same_seed_same_crop_eager_and_in_map(self):
        image, mask = noise(50, 70, seed=8)
        sizes = {"base_size": 48, "crop_size": 32, "augmentation": ALL}
        images, masks = draw_many(image, mask, 6, **sizes)
        for k in range(6):
            cropped, labels = training_crop(tf.constant(image), tf.constant(mask), tf.constant([7, k]), **sizes)
            np.testing.assert_array_equal(cropped, images[k])
            np.testing.assert_array_equal(labels, masks[k])
        assert len({picture.tobytes() for picture in images}) == 6

    def test_padding_stays_padding(self):
        # Too big a crop and a mask without unlabelled pixels: 255 is where padding is, wherever it moved to.
        image, mask = noise(50, 70, seed=9)
        plain = draw_many(image, mask, 12, base_size=40, crop_size=48)
        images, masks = draw_many(image, mask, 12, base_size=40, crop_size=48, augmentation=ALL)
        assert not images[masks == 255].any()
        assert (masks == 255).any(axis=(1, 2)).all() and (masks != plain[1]).any(axis=(1, 2)).all()
        assert (images[masks != 255] > 0).mean() > 0.8

    def test_unlabelled_pixels_are_not_padding(self):
        image = tf.fill([40, 40, 3], tf.constant(200, tf.uint8))
        jitter = Augmentation(color_jitter=0.5, random_blur=True)
        sizes = {"base_size": 40, "crop_size": 16, "augmentation": jitter}
        for k in range(4):
            labelled = training_crop(image, tf.zeros([40, 40], tf.uint8), tf.constant([7, k]), **sizes)[0]
            unlabelled = training_crop(image, tf.fill([40, 40], tf.constant(255, tf.uint8)), (7, k), **sizes)[0]
            np.testing.assert_array_equal(labelled, unlabelled)
            assert labelled.numpy().min() > 0


class TestClassBalancedCrop:
    def test_draws_until_balanced(self):
        image, mask = NO_PLACE_TWICE, (NO_PLACE_TWICE[..., 1] >= 100).astype(np.uint8)
        first = draw_many(image, mask, 300, base_size=96, crop_size=24)
        images, masks = draw_many(image, mask, 300, base_size=96, crop_size=24, augmentation=BALANCED)
        most, most_before = (np.maximum(m.mean(axis=(1, 2)), 1 - m.mean(axis=(1, 2))) for m in (masks, first[1]))
        # The scaled picture is 2 to 8 crops wide, so that all ten places may miss the edge.
        assert [(most_before == 1).sum(), (most_before <= 0.75).sum(), (most <= 0.75).sum()] == [204, 65, 227]
        kept = (images == first[0]).all(axis=(1, 2, 3))
        np.testing.assert_array_equal(kept, most_before <= 0.75)

    def test_the_tenth_place_is_the_last(self):
        mask = np.zeros((200, 200), np.uint8)
        images, _ = draw_many(NO_PLACE_TWICE, mask, 3, base_size=200, crop_size=24, augmentation=BALANCED)
        for k, cropped in enumerate(images):
            seed = tf.constant([7, k])
            scale, _, _, flip = tf.random.stateless_uniform([4], seed, alg="philox").numpy()
            side = int(200 * (0.5 + 1.5 * scale) + 0.5)
            place = (draw(seed, CROP_PLACE, [9, 2])[8].numpy() * (side - 24 + 1)).astype(int)
            plan = np.array([side, side, *place, flip < 0.5], np.int64)
            expected = resample.crop(NO_PLACE_TWICE, mask, plan, side=24)
            np.testing.assert_array_equal(cropped, expected[0])
