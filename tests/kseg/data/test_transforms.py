import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kseg.data import resample
from kseg.data.augmentation import OFF
from kseg.data.planning import plan
from kseg.data.transforms import drawn, evaluation_crop, training_crop


def crop(image, mask, scaled_size, origin, crop_size, flip=False):
    plan = np.array([*scaled_size, *origin, flip])
    return resample.crop(image, mask, plan, side=crop_size)


def grey(values):
    """uint8 [H, W] -> [H, W, 3]."""
    return np.repeat(np.array(values, np.uint8)[..., None], 3, axis=2)


def noise(height, width, seed):
    """A picture and a mask without any structure, the hardest to resize alike."""
    generator = np.random.default_rng(seed)
    return (
        generator.integers(0, 256, (height, width, 3), dtype=np.uint8),
        generator.integers(0, 12, (height, width), dtype=np.uint8),
    )


def resized_by_pil(image, mask, scaled_size, origin, side):
    """What `resample.crop` should give, with PIL: resize the whole, pad, crop."""

    def square(picture, resampling, fill):
        resized = np.asarray(Image.fromarray(picture).resize(scaled_size[::-1], resampling))
        padding = [(0, max(side - extent, 0)) for extent in scaled_size] + [(0, 0)] * (picture.ndim - 2)
        top, left = origin
        return np.pad(resized, padding, constant_values=fill)[top : top + side, left : left + side]

    return square(image, Image.BILINEAR, 0), square(mask, Image.NEAREST, 255)


def off_ties(size, scaled_size, origin, side):
    """Where a pixel of the square does not lie exactly between two; there, PIL's sum of float steps takes either."""
    rows, columns = (
        (2 * (start + np.arange(side)) + 1) * extent % (2 * scaled) != 0
        for start, extent, scaled in zip(origin, size, scaled_size, strict=True)
    )
    return rows[:, None] & columns[None, :]


class TestResampledCrop:
    def test_scale_one_is_the_slice(self):
        image, mask = noise(6, 7, seed=0)
        cropped, labels = crop(image, mask, (6, 7), (1, 3), 4)
        np.testing.assert_array_equal(cropped, image[1:5, 3:7])
        np.testing.assert_array_equal(labels, mask[1:5, 3:7])

    def test_scale_two_by_hand(self):
        # Output pixel x lies at (x + 0.5) / 2 - 0.5 = -0.25, 0.25, 0.75, 1.25 of pixels 0 and 1.
        image, mask = grey([[0, 100]]), np.array([[3, 4]], np.uint8)
        cropped, labels = crop(image, mask, (2, 4), (0, 0), 4)
        np.testing.assert_array_equal(cropped[..., 0], [[0, 25, 75, 100]] * 2 + [[0] * 4] * 2)
        np.testing.assert_array_equal(labels, [[3, 3, 4, 4]] * 2 + [[255] * 4] * 2)

    def test_scale_half_by_hand(self):
        # A triangle that reaches 2 pixels has the weights 1, 3, 3, 1 of 8 at distances 1.5 and 0.5: inside
        # (40 + 3 * 80 + 3 * 120 + 40) / 8 = 85. At the edges the picture goes on mirrored about its first pixel,
        # (40 + 3 * 0 + 3 * 40 + 80) / 8 = 30, where PIL's weights, cut off and summing to 1, give 28.6.
        image, mask = grey([[0, 40, 80, 120, 40, 0]] * 6), np.array([[1, 2, 3, 4, 5, 6]] * 6, np.uint8)
        cropped, labels = crop(image, mask, (3, 3), (0, 0), 3)
        np.testing.assert_array_equal(cropped[..., 0], [[30, 85, 35]] * 3)
        np.testing.assert_array_equal(labels, [[2, 4, 6]] * 3)  # the pixels at (x + 0.5) * 2 = 1, 3 and 5

    def test_each_axis_has_its_own_scale(self):
        image, mask = grey([[0, 100], [40, 140]]), np.array([[1, 2], [3, 4]], np.uint8)
        cropped, labels = crop(image, mask, (4, 2), (1, 0), 2)
        np.testing.assert_array_equal(cropped[..., 0], [[10, 110], [30, 130]])
        np.testing.assert_array_equal(labels, [[1, 2], [3, 4]])

    def test_padding_is_black_and_ignored_at_bottom_and_right(self):
        image, mask = grey(np.full((2, 3), 200)), np.full((2, 3), 7, np.uint8)
        cropped, labels = crop(image, mask, (2, 3), (0, 0), 4)
        inside = np.zeros((4, 4), bool)
        inside[:2, :3] = True
        np.testing.assert_array_equal(cropped, grey(np.where(inside, 200, 0)))
        np.testing.assert_array_equal(labels, np.where(inside, 7, 255))

    @pytest.mark.parametrize("scaled_size", [(9, 13), (23, 31), (60, 80)])
    def test_flip_mirrors_both_and_the_padding(self, scaled_size):
        image, mask = noise(30, 40, seed=1)
        straight, labels = crop(image, mask, scaled_size, (0, 5), 24)
        mirrored, mirrored_labels = crop(image, mask, scaled_size, (0, 5), 24, flip=True)
        np.testing.assert_array_equal(mirrored, straight[:, ::-1])
        np.testing.assert_array_equal(mirrored_labels, labels[:, ::-1])

    @pytest.mark.parametrize("seed", range(24))
    def test_equals_resizing_with_pil_and_cropping(self, seed):
        generator = np.random.default_rng(seed)
        height, width, side = generator.integers(40, 121, 3)
        image, mask = noise(height, width, seed)
        scale = np.linspace(0.5, 2, 24)[seed]
        new = (int(height * scale + 0.5), int(width * scale + 0.5))
        top, left = (int(generator.integers(0, max(extent - side, 0) + 1)) for extent in new)

        cropped, labels = crop(image, mask, new, (top, left), int(side))
        expected, expected_labels = resized_by_pil(image, mask, new, (top, left), side)
        apart = np.abs(cropped.astype(int) - expected)
        if scale >= 1:
            assert apart.max() <= 1 and apart.mean() < 0.35
        else:  # the filter's form is another; on white noise, the worst case, this much
            assert apart.max() <= 75 and apart.mean() < 8
        clear = off_ties(mask.shape, new, (top, left), side)
        np.testing.assert_array_equal(labels[clear], expected_labels[clear])
        assert (labels == expected_labels).mean() > 0.9

    @pytest.mark.parametrize("part", [2, 3, 4])
    def test_a_half_a_third_and_a_quarter_are_pil_s_inside(self, part):
        image, mask = noise(120, 96, part)
        new = (120 // part, 96 // part)
        cropped, _ = crop(image, mask, new, (2, 3), 16)
        expected, _ = resized_by_pil(image, mask, new, (2, 3), 16)
        assert np.abs(cropped.astype(int) - expected).max() <= 3  # weights are 256ths

    @pytest.mark.parametrize("scale", [0.52, 0.6, 0.75, 0.9, 1.1, 1.7])
    def test_sub_pixel_places(self, scale):
        # A slope is the same under any symmetric filter: the values tell where each pixel was taken, to 1/3 pixel.
        slope = np.repeat(np.arange(80)[None] * 3, 80, axis=0).astype(np.uint8)
        new = int(80 * scale)
        cropped, _ = crop(grey(slope), slope, (new, new), (5, 7), 24)
        expected = 3 * ((np.arange(7, 31) + 0.5) * 80 / new - 0.5)
        apart = cropped[..., 0] - expected
        assert np.abs(apart).max() <= 1 and abs(apart.mean()) <= 0.5  # a 6th of a pixel on average

    @pytest.mark.parametrize("long_side", [50, 61, 77, 100, 133, 149, 200])
    def test_mask_stays_on_the_picture(self, long_side):
        # An edge resampled by a symmetric filter crosses half height where it was, so a threshold gives the mask back.
        columns, rows = np.meshgrid(np.arange(100) >= 37, np.arange(80) >= 51)
        image = np.stack([columns, rows, columns], axis=-1).astype(np.uint8) * 255
        mask = (columns + 2 * rows).astype(np.uint8)
        new = (long_side * 80 // 100, long_side)
        origin = (new[0] * 51 // 80 - 10, new[1] * 37 // 100 - 10)
        cropped, labels = crop(image, mask, new, origin, 20)
        assert set(np.unique(labels)) == {0, 1, 2, 3}
        for channel, bit in ((0, 1), (1, 2)):
            clear = np.abs(cropped[..., channel] - 127.5) > 1
            np.testing.assert_array_equal((cropped[..., channel] > 127)[clear], ((labels & bit) > 0)[clear])


def draw_many(image, mask, count, **sizes):
    """`count` training crops: uint8 [count, c, c, 3] and [count, c, c]."""
    image, mask = tf.constant(image), tf.constant(mask)
    dataset = tf.data.Dataset.range(count).map(lambda k: training_crop(image, mask, tf.stack([7, k]), **sizes))
    return next(dataset.batch(count).as_numpy_iterator())


class TestTrainingCrop:
    def test_scales_and_flips_are_uniform(self):
        # A crop larger than base_size x 2 shows the scaled picture whole, and IGNORE where it ends.
        image, mask = noise(30, 60, seed=2)
        _, masks = draw_many(image, mask, 2000, base_size=40, crop_size=88)
        inside = masks != 255
        heights, widths = inside.any(axis=2).sum(axis=1), inside.any(axis=1).sum(axis=1)
        assert widths.min() == 20 and widths.max() == 80
        assert abs(widths.mean() - 50) < 1.5  # standard error 17.3 / sqrt(2000) = 0.39
        assert abs(np.mean(widths < 35) - 0.25) < 0.04
        np.testing.assert_array_equal(heights, (widths + 1) // 2)
        flipped = inside[:, 0, -1]
        assert abs(flipped.mean() - 0.5) < 0.045  # four standard errors
        assert inside[~flipped, 0, 0].all() and not inside[flipped, 0, 0].any()
        assert abs(np.corrcoef(widths, flipped)[0, 1]) < 0.09

    def test_places_are_uniform(self):
        # The mask holds its own column, the picture its own row: the first pixel tells where the crop was.
        mask = np.repeat(np.arange(200, dtype=np.uint8)[None], 200, axis=0)
        images, masks = draw_many(grey(mask.T), mask, 2000, base_size=100, crop_size=17)
        leftmost, topmost = masks.min(axis=(1, 2)), images[..., 0].min(axis=(1, 2))
        for start in (leftmost, topmost):
            # Scale 0.25 to 1, the crop 68 to 17 source pixels of 200: the mean start is half of what is left.
            assert start.min() <= 2 and start.max() >= 175
            assert abs(start.mean() - (200 - 17 * np.log(4) / 0.75) / 2) < 5  # standard error 1.1
        assert abs(np.corrcoef(leftmost, topmost)[0, 1]) < 0.15  # the common scale alone gives 0.05

    def test_same_seed_same_crop_eager_and_in_map(self):
        image, mask = noise(50, 70, seed=3)
        images, masks = draw_many(image, mask, 6, base_size=48, crop_size=32)
        for k in range(6):
            cropped, labels = training_crop(image, mask, tf.constant([7, k]), base_size=48, crop_size=32)
            np.testing.assert_array_equal(cropped, images[k])
            np.testing.assert_array_equal(labels, masks[k])
        assert len({picture.tobytes() for picture in images}) == 6

    def test_the_numbers_that_a_seed_gives(self):
        draws = drawn(tf.constant([7, 2**32 + 5], tf.int64), OFF)
        numbers = tf.random.stateless_uniform([4], [7, 2**32 + 5], alg="philox").numpy()
        np.testing.assert_array_equal(draws, numbers)
        planned = plan(np.zeros((360, 480), np.uint8), numbers, base_size=520, crop_size=240)
        assert planned.tolist() == [556, 741, 10, 36, 1]  # as by TensorFlow's float32

    def test_shapes_are_static_in_map(self):
        image, mask = noise(50, 70, seed=4)
        pictures = tf.data.Dataset.from_tensors((image, mask))
        cropped = pictures.map(lambda image, mask: training_crop(image, mask, (0, 0), base_size=64, crop_size=40))
        assert cropped.element_spec == (
            tf.TensorSpec([40, 40, 3], tf.uint8),
            tf.TensorSpec([40, 40], tf.uint8),
        )

    def test_a_line_one_pixel_high(self):
        image, mask = noise(1, 300, seed=5)
        cropped, labels = training_crop(image, mask, tf.constant([0, 1]), base_size=20, crop_size=24)
        assert cropped.shape == (24, 24, 3)
        assert (labels.numpy()[0] != 255).any() and (labels.numpy()[1:] == 255).all()


class TestEvaluationCrop:
    @pytest.mark.parametrize(("height", "width"), [(8, 4), (4, 9)])
    def test_scale_one_takes_the_middle(self, height, width):
        image, mask = noise(height, width, seed=6)
        cropped, labels = evaluation_crop(image, mask, crop_size=4)
        top, left = (height - 4) // 2, (width - 4) // 2
        np.testing.assert_array_equal(cropped, image[top : top + 4, left : left + 4])
        np.testing.assert_array_equal(labels, mask[top : top + 4, left : left + 4])

    @pytest.mark.parametrize(("height", "width", "new"), [(90, 61, (35, 24)), (17, 40, (24, 56)), (48, 48, (24, 24))])
    def test_short_side_becomes_the_crop(self, height, width, new):
        image, mask = noise(height, width, seed=7)
        cropped, labels = evaluation_crop(image, mask, crop_size=24)
        top, left = (new[0] - 24) // 2, (new[1] - 24) // 2
        expected, expected_labels = resized_by_pil(image, mask, new, (top, left), 24)
        apart = np.abs(cropped.numpy().astype(int) - expected)
        assert apart.max() <= 1 if new[0] >= height else apart.mean() < 6
        clear = off_ties(mask.shape, new, (top, left), 24)
        np.testing.assert_array_equal(labels[clear], expected_labels[clear])
        assert (labels.numpy() == expected_labels).mean() > 0.9
