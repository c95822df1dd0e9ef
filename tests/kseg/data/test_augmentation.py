import colorsys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageFilter

from kseg.data.augmentation import Augmentation, augmented, blurred, jittered, rotated

EVERYWHERE = {side: tf.ones([side, side], tf.bool) for side in (4, 7, 16, 24, 33, 48)}


def noise(side, seed, lowest=0):
    """A crop without any structure and its mask."""
    generator = np.random.default_rng(seed)
    return (
        generator.integers(lowest, 256, (side, side, 3), dtype=np.uint8),
        generator.integers(0, 12, (side, side), dtype=np.uint8),
    )


def padded(side, height, width, seed):
    """A crop that shows `height` x `width` pixels of noise from 1 to 255, without unlabelled ones, and padding."""
    image, mask = noise(side, seed, lowest=1)
    inside = np.zeros((side, side), bool)
    inside[:height, :width] = True
    image[~inside], mask[~inside] = 0, 255
    return tf.constant(image), tf.constant(mask), tf.constant(inside)


def draw_many(image, mask, inside, count, **options):
    """`augmented` with seeds (3, 0), (3, 1), …: uint8 [count, c, c, 3] and [count, c, c]."""
    crop = [tf.constant(part) for part in (image, mask, inside)]
    dataset = tf.data.Dataset.range(count).map(lambda k: augmented(*crop, tf.stack([3, k]), Augmentation(**options)))
    return next(dataset.batch(count).as_numpy_iterator())


def as_if(image, **factors):
    """`jittered` by some of brightness, contrast, saturation and hue, the others left alone, in int."""
    neutral = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
    image = np.asarray(image, np.uint8)
    return jittered(tf.constant(image), EVERYWHERE[image.shape[0]], **neutral | factors).numpy().astype(int)


def filled(*colour):
    """A 4 x 4 crop of one colour."""
    return np.full((4, 4, 3), colour, np.uint8)


class TestRotated:
    @pytest.mark.parametrize("side", [7, 16])
    @pytest.mark.parametrize("turns", [-1, 0, 1, 2])
    def test_right_angles_counter_clockwise(self, side, turns):
        image, mask = noise(side, seed=0)
        turned, labels, inside = rotated(tf.constant(image), tf.constant(mask), EVERYWHERE[side], 90.0 * turns)
        np.testing.assert_array_equal(turned, np.rot90(image, turns))
        np.testing.assert_array_equal(labels, np.rot90(mask, turns))
        assert inside.numpy().all()

    @pytest.mark.parametrize("degrees", [-170.0, -33.0, 5.0, 45.0, 101.0])
    def test_equals_pil(self, degrees):
        image, mask = noise(48, seed=1)
        turned, labels, inside = (
            part.numpy() for part in rotated(tf.constant(image), tf.constant(mask), EVERYWHERE[48], degrees)
        )
        expected = np.asarray(Image.fromarray(image).rotate(degrees, Image.BILINEAR))
        expected_labels = np.asarray(Image.fromarray(mask).rotate(degrees, Image.NEAREST, fillcolor=255))
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        down, right = np.mgrid[:48, :48] - 23.5
        rows, columns = sin * right + cos * down + 23.5, cos * right - sin * down + 23.5
        # PIL counts in 1 / 65536 of a pixel, so that a place halfway between two may go to either.
        clear = (np.abs(rows % 1 - 0.5) > 0.001) & (np.abs(columns % 1 - 0.5) > 0.001)
        assert clear.mean() > 0.95
        np.testing.assert_array_equal(labels[clear], expected_labels[clear])
        np.testing.assert_array_equal(inside, labels != 255)
        # In the outermost half pixel PIL continues the picture, and here it fades to black.
        surrounded = (np.minimum(rows, columns) >= 0) & (np.maximum(rows, columns) <= 47)
        assert np.abs(turned.astype(int) - expected)[surrounded].max() <= 1
        assert not turned[~inside].any()

    @pytest.mark.parametrize("degrees", [-120.0, -20.0, 11.0, 62.0])
    def test_mask_stays_on_the_picture(self, degrees):
        # Of a straight edge, bilinear interpolation is over half exactly where the nearest pixel is beyond the edge.
        columns, rows = np.meshgrid(np.arange(48) >= 19, np.arange(48) >= 30)
        image = np.stack([columns, rows, np.ones((48, 48))], axis=-1).astype(np.uint8) * 255
        mask = (columns + 2 * rows).astype(np.uint8)
        turned, labels, _ = (
            part.numpy() for part in rotated(tf.constant(image), tf.constant(mask), EVERYWHERE[48], degrees)
        )
        assert set(np.unique(labels)) == {0, 1, 2, 3, 255}
        for channel, bit in ((0, 1), (1, 2)):
            clear = (turned[..., 2] == 255) & (np.abs(turned[..., channel] - 127.5) > 1)
            assert clear.mean() > 0.7
            np.testing.assert_array_equal((turned[..., channel] > 127)[clear], ((labels & bit) > 0)[clear])

    def test_padding_turns_along_and_unlabelled_pixels_stay_visible(self):
        image, mask, inside = padded(24, 13, 20, seed=2)
        mask = tf.tensor_scatter_nd_update(mask, [[3, 4]], [255])
        turned, labels, shown = (part.numpy() for part in rotated(image, mask, inside, 90.0))
        np.testing.assert_array_equal(shown, np.rot90(inside))
        np.testing.assert_array_equal(turned, np.rot90(image))
        np.testing.assert_array_equal(labels, np.rot90(mask))
        assert (labels[shown] == 255).sum() == 1


class TestJittered:
    def test_brightness_by_hand(self):
        np.testing.assert_array_equal(as_if(filled(200, 100, 7), brightness=1.5), filled(255, 150, 10))  # 10.5 to even
        np.testing.assert_array_equal(as_if(filled(200, 100, 7), brightness=0.0), filled(0, 0, 0))

    def test_contrast_by_hand(self):
        image = np.concatenate([filled(40, 40, 40)[:2], filled(100, 100, 100)[:2]])  # about 70
        np.testing.assert_array_equal(as_if(image, contrast=0.5)[::2, 0, 0], [55, 85])
        np.testing.assert_array_equal(as_if(image, contrast=2.0)[::2, 0, 0], [10, 130])
        # The mean grey of a colour is 0.299 x 100 + 0.587 x 200 + 0.114 x 50 = 153.
        np.testing.assert_array_equal(as_if(filled(100, 200, 50), contrast=0.0), filled(153, 153, 153))

    def test_contrast_is_about_the_picture_without_padding(self):
        image, inside = filled(100, 100, 100), np.ones((4, 4), bool)
        image[:, 1:], inside[:, 1:] = 0, False
        paler = jittered(tf.constant(image), tf.constant(inside), 1.0, 0.2, 1.0, 0.0)
        np.testing.assert_array_equal(paler, image)

    def test_a_crop_of_nothing_but_padding(self):
        nothing = tf.zeros([4, 4, 3], tf.uint8)
        np.testing.assert_array_equal(jittered(nothing, tf.zeros([4, 4], tf.bool), 1.5, 0.5, 1.0, 0.1), nothing)

    def test_saturation_by_hand(self):
        np.testing.assert_array_equal(as_if(filled(100, 200, 50), saturation=0.0), filled(153, 153, 153))
        np.testing.assert_array_equal(as_if(filled(100, 200, 50), saturation=0.6), filled(121, 181, 91))
        np.testing.assert_array_equal(as_if(filled(100, 200, 50), saturation=2.0), filled(47, 247, 0))

    def test_hue_by_hand(self):
        np.testing.assert_array_equal(as_if(filled(200, 0, 0), hue=1 / 3), filled(0, 200, 0))
        np.testing.assert_array_equal(as_if(filled(200, 0, 0), hue=-1 / 6), filled(200, 0, 200))

    @pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.7])
    def test_equals_pil(self, factor):
        image, _ = noise(24, seed=3)
        for name, enhancer in (
            ("brightness", ImageEnhance.Brightness),
            ("contrast", ImageEnhance.Contrast),
            ("saturation", ImageEnhance.Color),
        ):
            expected = np.asarray(enhancer(Image.fromarray(image)).enhance(factor)).astype(int)
            assert np.abs(as_if(image, **{name: factor}) - expected).max() <= 1  # PIL cuts fractions off

    def test_all_four_in_order(self):
        image, _ = noise(16, seed=4)
        colours = np.minimum(np.round(image * 1.25), 255)
        luma = np.array([0.299, 0.587, 0.114])
        colours = np.clip(0.6 * colours + 0.4 * (colours @ luma).mean(), 0, 255)
        colours = np.clip(1.4 * colours - 0.4 * (colours @ luma)[..., None], 0, 255)
        hsv = [colorsys.rgb_to_hsv(*colour) for colour in colours.reshape(-1, 3)]
        expected = np.reshape([colorsys.hsv_to_rgb((h + 0.08) % 1, s, v) for h, s, v in hsv], image.shape)
        result = as_if(image, brightness=1.25, contrast=0.6, saturation=1.4, hue=0.08)
        assert np.abs(result - expected).max() <= 0.51


class TestBlurred:
    def test_by_hand(self):
        # At radius 1, v = 1 / 3: (1/6, 2/3, 1/6) thrice is (1, 12, 51, 88, 51, 12, 1) / 216.
        image = np.zeros((24, 24, 3), np.uint8)
        image[:, 9] = 216
        across = blurred(tf.constant(image), EVERYWHERE[24], 1.0)
        np.testing.assert_array_equal(across[11, 5:14, 1], [0, 1, 12, 51, 88, 51, 12, 1, 0])
        down = blurred(tf.constant(image.transpose(1, 0, 2)), EVERYWHERE[24], 1.0)
        np.testing.assert_array_equal(down, np.transpose(across, [1, 0, 2]))

    @pytest.mark.parametrize("radius", [0.0, 0.1, 0.25, 0.5, 0.8, 0.999])
    def test_equals_pil(self, radius):
        image, _ = noise(33, seed=5)
        expected = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))
        apart = np.abs(blurred(tf.constant(image), EVERYWHERE[33], radius).numpy().astype(int) - expected)
        # Six times PIL rounds; at a radius of 0.1 that undoes most of what it blurred.
        assert apart.max() <= (3 if radius < 0.4 else 2)
        assert apart.mean() < (1.1 if radius < 0.4 else 0.5)
        assert radius == 0 or (image != expected).any()

    def test_padding_stays_black(self):
        image, _, inside = padded(24, 13, 20, seed=6)
        expected = np.asarray(Image.fromarray(image.numpy()).filter(ImageFilter.GaussianBlur(0.9))).astype(int)
        assert expected[~inside.numpy()].any()
        result = blurred(image, inside, 0.9).numpy()
        assert np.abs(result - expected)[inside.numpy()].max() <= 2
        assert not result[~inside.numpy()].any()


class TestAugmented:
    def test_off_gives_the_same_tensors(self):
        image, mask, inside = padded(24, 13, 20, seed=7)
        result = augmented(image, mask, inside, tf.constant([0, 1]), Augmentation())
        assert result[0] is image and result[1] is mask

    def test_half_of_the_crops_stand_on_their_head(self):
        image, mask, inside = padded(16, 9, 12, seed=8)
        images, masks = draw_many(image, mask, inside, 1000, random_vertical_flip=True)
        flipped = masks[:, 0, 0] == 255
        assert flipped.sum() == 487
        np.testing.assert_array_equal(images[flipped][0], image[::-1])
        np.testing.assert_array_equal(masks[flipped][0], mask[::-1])
        np.testing.assert_array_equal(images[~flipped][0], image)

    def test_angles_are_uniform(self):
        # On a ramp the pixels beside and below the centre give the cosine and the sine.
        ramp = np.repeat((np.arange(33, dtype=np.uint8) * 7)[None, :, None], 33, axis=0).repeat(3, axis=2)
        images, _ = draw_many(ramp, np.zeros((33, 33), np.uint8), EVERYWHERE[33], 1000, random_rotation=40.0)
        levels = images[..., 0].astype(int)
        cos, sin = levels[:, 16, 26] - levels[:, 16, 6], levels[:, 6, 16] - levels[:, 26, 16]
        degrees = np.degrees(np.arctan2(sin, cos))
        assert -40.5 < degrees.min() < -39 and 39 < degrees.max() < 40.5  # a level is 0.4 degrees
        assert np.histogram(degrees, [-41, -20, 0, 20, 41])[0].tolist() == [259, 250, 249, 242]

    def test_half_of_the_crops_are_blurred_by_up_to_a_pixel(self):
        # What is left of a dot of 255 tells the radius: at radius 1 it is 255 x (88 / 216)^2 = 42.3.
        dot = np.zeros((16, 16, 3), np.uint8)
        dot[8, 8] = 255
        images, masks = draw_many(dot, np.zeros((16, 16), np.uint8), EVERYWHERE[16], 1000, random_blur=True)
        centres = images[:, 8, 8, 0]
        assert centres.min() == 43
        # Radii over 0.855, over 0.59, over 0.035, and left alone: 72, 132, 278 and 518 of 1000 are expected.
        assert np.histogram(centres, [0, 64, 128, 254.5, 255])[0].tolist() == [65, 154, 279, 502]
        assert not masks.any()

    def test_jitter_draws_from_its_ranges(self):
        # Of two greys, brightness moves the mean and contrast, besides, the difference.
        two_greys = np.concatenate([filled(20, 20, 20)[:2], filled(180, 180, 180)[:2]])
        mask = np.zeros((4, 4), np.uint8)
        greys = draw_many(two_greys, mask, EVERYWHERE[4], 1000, color_jitter=0.25)[0][..., 0].astype(float)
        brightness = (greys[:, 0, 0] + greys[:, 2, 0]) / 200
        contrast = (greys[:, 2, 0] - greys[:, 0, 0]) / 160 / brightness
        # Of one colour, contrast and saturation scale the distances from its grey; hue is the only one to move hue.
        reds = draw_many(filled(130, 40, 40), mask, EVERYWHERE[4], 1000, color_jitter=0.25)[0][:, 0, 0].astype(float)
        saturation = (reds.max(axis=1) - reds.min(axis=1)) / 90 / brightness / contrast
        hue = (np.array([colorsys.rgb_to_hsv(*red)[0] for red in reds]) + 0.5) % 1 - 0.5
        draws = [(brightness - 1) / 0.25, (contrast - 1) / 0.25, (saturation - 1) / 0.25, hue / 0.0625]
        for values in draws:
            assert -1.1 < values.min() < -0.95 and 0.95 < values.max() < 1.1  # whole levels of few show the extremes
        quarters = [np.histogram(values, [-2, -0.5, 0.5, 2])[0].tolist() for values in draws]
        assert quarters == [[260, 501, 239], [249, 496, 255], [235, 500, 265], [277, 496, 227]]
        assert np.abs(np.corrcoef(draws) - np.eye(4)).max() < 0.13  # four standard errors of 1000 pairs

    def test_jitter_keeps_the_mask(self):
        image, mask, inside = padded(16, 9, 12, seed=9)
        images, masks = draw_many(image, mask, inside, 4, color_jitter=0.4)
        assert len({picture.tobytes() for picture in [*images, image.numpy()]}) == 5
        np.testing.assert_array_equal(masks, np.repeat(mask[None], 4, axis=0))

    def test_an_option_leaves_the_draws_of_the_others(self):
        image, mask, inside = padded(24, 13, 20, seed=10)
        alone = {"random_rotation": 60.0, "random_vertical_flip": True}
        moved, masks = draw_many(image, mask, inside, 12, **alone)
        jitter = draw_many(image, mask, inside, 12, **alone, color_jitter=0.5)
        blur = draw_many(image, mask, inside, 12, **alone, random_blur=True)
        both = draw_many(image, mask, inside, 12, **alone, color_jitter=0.5, random_blur=True)
        for result in (jitter, blur, both):
            np.testing.assert_array_equal(result[1], masks)
        for index in range(12):
            was_blurred = (blur[0][index] != moved[index]).any()
            assert (both[0][index] != jitter[0][index]).any() == was_blurred
        flips = draw_many(image, mask, inside, 12, random_vertical_flip=True)
        turns = draw_many(image, mask, inside, 12, random_rotation=60.0)
        for index in range(12):
            upright = (flips[0][index] == image.numpy()).all()
            assert (turns[1][index] == masks[index]).all() == upright
