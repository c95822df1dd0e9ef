import itertools
import zlib

import numpy as np
import pytest
from PIL import Image

from kseg.data import resample


def labels(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 12, (height, width), dtype=np.uint8)


def scene(seed):
    """A picture with the spectrum of a photograph, 1 / frequency, and small details: uint8 [180, 240, 3]."""
    generator = np.random.default_rng(seed)
    rows, columns = np.fft.fftfreq(180)[:, None], np.fft.fftfreq(240)[None]
    spectrum = np.fft.fft2(generator.normal(size=(180, 240, 3)), axes=(0, 1))
    waves = np.fft.ifft2(spectrum / np.maximum(np.hypot(rows, columns), 1 / 240)[..., None], axes=(0, 1)).real
    return np.clip(128 + 50 * waves / waves.std(), 0, 255).astype(np.uint8)


def cropped_window(image, mask, scaled, origin, side, flip=0):
    """`resample.crop` of nothing but the window, by the functions that training calls."""
    scaled, origin = ([int(number) for number in pair] for pair in (scaled, origin))
    start, end = resample.source_window(mask.shape, scaled, origin, side)
    window, plan = image[start[0] : end[0], start[1] : end[1]], [*scaled, *origin, flip]
    square, found = np.empty((side, side, 3), np.uint8), np.empty((side, side), np.uint8)
    resample.fill_image(square, window, start, mask.shape, plan, (start, end))
    resample.fill_labels(found, mask, plan)
    return square, found


class TestCrop:
    # The mean differences from PIL, of 255: bilinear interpolation alone has 3.9, 1.1 and 0.1 here.
    @pytest.mark.parametrize(("low", "high", "bound"), [(0.5, 0.6, 1.6), (0.5, 2, 1.0), (0.1, 0.5, 1.6)])
    def test_aliasing(self, low, high, bound):
        generator, apart, agreement = np.random.default_rng(0), [], []
        for k in range(60):
            image, mask = scene(k % 6), np.kron(labels(18, 24, k), np.ones((10, 10), np.uint8))
            scaled = (np.array(mask.shape) * generator.uniform(low, high) + 0.5).astype(int)
            side = int(generator.integers(16, 120))
            origin = np.array([generator.integers(0, max(extent - side, 0) + 1) for extent in scaled])
            cropped, found = cropped_window(image, mask, scaled, origin, side)
            box = (slice(origin[0], origin[0] + side), slice(origin[1], origin[1] + side))
            expected = np.asarray(Image.fromarray(image).resize(scaled[::-1], Image.BILINEAR))[box].astype(int)
            rows, columns = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in zip(scaled, mask.shape, strict=True))
            nearest = mask[rows][:, columns][box]
            shown = slice(0, expected.shape[0]), slice(0, expected.shape[1])
            apart.append(np.abs(cropped[shown] - expected).mean())
            agreement.append((found[shown] == nearest).mean())
        assert np.mean(apart) <= bound
        assert min(agreement) == 1

    def test_a_window_gives_what_the_whole_picture_gives(self):
        generator, image, mask = np.random.default_rng(3), scene(0), labels(180, 240)
        for _ in range(60):
            scaled = (np.array(mask.shape) * generator.uniform(0.05, 2.5) + 1).astype(int)
            side = int(generator.integers(16, 100))
            origin = np.array([generator.integers(0, max(extent - side, 0) + 1) for extent in scaled])
            start, end = resample.source_window(mask.shape, scaled.tolist(), origin.tolist(), side)
            # What lies outside of the window is not seen.
            hidden = np.full_like(image, 255)
            box = slice(start[0], end[0]), slice(start[1], end[1])
            hidden[box] = image[box]
            plan = np.array([*scaled, *origin, 1])
            whole = resample.crop(hidden, mask, plan, side=side)
            part = cropped_window(image, mask, scaled, origin, side, flip=1)
            assert np.abs(part[0].astype(int) - whole[0]).max() <= 2
            np.testing.assert_array_equal(part[1], whole[1])

    @pytest.mark.parametrize("more", [(1, 0), (0, 1), (1, 1), (-1, 0), (2, -1), (-3, -3)])
    def test_scales_next_to_one_are_scaled(self, more):
        """cv2.resize hands on what it gets where the rounded size is the same: half a pixel off at the crop's end."""
        mask = np.repeat(np.arange(0, 240, 3, dtype=np.uint8)[None], 64, axis=0)
        image = np.repeat((mask + np.arange(64, dtype=np.uint8)[:, None] // 8)[..., None], 3, axis=2)
        size = np.array(mask.shape)
        for origin in ((0, 0), (10, 16), (30, 40)):
            scaled = size + more
            cropped, _ = cropped_window(image, mask, scaled, origin, 20)
            rows, columns = (
                (np.arange(first, first + 20) + 0.5) * extent / new - 0.5
                for first, extent, new in zip(origin, size, scaled, strict=True)
            )
            inside = (rows > 0)[:, None] & (columns > 0)
            apart = cropped[..., 0] - (3 * columns[None] + rows[:, None] / 8 - 7 / 16)
            assert np.abs(apart[inside]).max() <= 1.3  # 1/2 pixel would be 1.5 here; the steps of 8 rows are 7/16

    def test_the_same_pixels_whatever_version_of_opencv(self):
        mask, total = labels(180, 240), 0
        image = np.stack([mask * 20, labels(180, 240, 1) * 21, mask.T.reshape(180, 240) * 9], axis=-1)
        for k, scale in enumerate((0.2, 0.5, 0.7, 1.0, 1.3, 1.9)):
            scaled = (np.array(mask.shape) * scale).astype(int)
            cropped, found = cropped_window(image, mask, scaled, (k, 3), 32, flip=k % 2)
            total = zlib.crc32(found.tobytes(), zlib.crc32(cropped.tobytes(), total))
        assert total == 2225497552


@pytest.mark.parametrize(("size", "scaled", "times"), [(100, 50, 0), (100, 25, 0), (101, 25, 1), (800, 99, 2)])
def test_halvings(size, scaled, times):
    assert resample.halvings(size, scaled) == times


def test_the_nearest_beginning_is_the_one_that_trying_all_finds():
    for size, scaled in itertools.product(range(1, 40), repeat=2):
        for fold in (0, 1, 3):
            step = scaled << fold
            for start in range(0, size, 3):
                begin, _, _ = resample._grid(start, size, scaled, 0, fold)
                assert begin == next(w for w in range(start, -1, -1) if w * step % size == 0)
    # Of larger ones a 256th of a pixel may be left, on either side.
    for size, scaled in ((480, 1039), (2048, 1025), (5000, 3333)):
        off = size // resample.OFF_GRID
        for start in range(size):
            begin, _, _ = resample._grid(start, size, scaled, 0, 0)
            assert begin == next(w for w in range(start, -1, -1) if (w * scaled + off) % size <= 2 * off)


@pytest.mark.parametrize(
    ("size", "scaled", "fold", "taps"),
    [
        (480, 480, 0, [256]),
        (480, 960, 0, [256]),
        (480, 240, 0, [64, 128, 64]),  # a = (4 - 1) / 12
        (480, 160, 0, [28, 57, 86, 57, 28]),  # the triangle of half-width 3: 1, 2, 3, 2, 1 ninths
    ],
)
def test_prefilters_by_hand(size, scaled, fold, taps):
    assert resample._prefilter(size, scaled, fold) == tuple(taps)
