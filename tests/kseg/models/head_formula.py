"""Weights, batch normalisation statistics and inputs of the heads from a closed formula of their position.

Two programs make the same network of them without sharing a file: `gluoncv_heads.py` computes the reference figures,
`test_heads.py` compares. NumPy alone and Python 3.8 or later, because MXNet runs on nothing newer. Arrays have MXNet's
layout: kernels [O, I, H, W], features [C, H, W].
"""

import zlib

import numpy as np

CLASSES = 5
# Not square, not a multiple of 3 or 6 regions either way, and taps of all three atrous rates fall inside: 12 and 24
# both ways, 36 in the four columns at the left and at the right.
HEIGHT, WIDTH = 26, 40
# (row, column, class) of the logits that are compared: the corners, the borders and the interior.
POSITIONS = (
    (0, 0, 0),
    (0, 19, 1),
    (0, 39, 2),
    (1, 36, 3),
    (5, 2, 4),
    (9, 27, 0),
    (12, 13, 1),
    (13, 38, 2),
    (17, 6, 3),
    (20, 31, 4),
    (25, 0, 0),
    (25, 39, 3),
)


def mixed(name: str, shape: tuple) -> np.ndarray:
    """float64 in [-1, 1) that look like noise: the element at index n, row by row, is murmur3's finalizer of n.

    Integers modulo 2**32 alone, so every machine and language gets the same: with h = n * 2654435769 xor crc32(name),
    h ^= h >> 16; h *= 2246822507; h ^= h >> 13; h *= 3266489909; h ^= h >> 16, the value is h / 2**31 - 1.
    """
    h = np.arange(np.prod(shape), dtype=np.uint32) * np.uint32(2654435769)
    h ^= np.uint32(zlib.crc32(name.encode()))
    h ^= h >> np.uint32(16)
    h *= np.uint32(2246822507)
    h ^= h >> np.uint32(13)
    h *= np.uint32(3266489909)
    h ^= h >> np.uint32(16)
    return (h / 2.0**31 - 1).reshape(shape)


def kernel(layer: str, shape: tuple) -> np.ndarray:
    """float32 kernel [O, I, H, W] of a convolution, uniform with He's variance 2 / (I * H * W)."""
    return (mixed(layer + "/kernel", shape) * np.sqrt(6 / np.prod(shape[1:]))).astype(np.float32)


def bias(layer: str, channels: int) -> np.ndarray:
    """float32 bias [channels], -0.5..0.5."""
    return (0.5 * mixed(layer + "/bias", (channels,))).astype(np.float32)


def norm(layer: str, channels: int) -> list:
    """gamma 0.5..1.5, beta -0.5..0.5, moving mean -0.5..0.5 and moving variance 0.5..1.5, each float32 [channels]."""
    centres = (("gamma", 1), ("beta", 0), ("moving_mean", 0), ("moving_variance", 1))
    return [(centre + 0.5 * mixed(layer + "/" + name, (channels,))).astype(np.float32) for name, centre in centres]


def features(channels: int) -> np.ndarray:
    """float32 [channels, HEIGHT, WIDTH], 0..5 and about half of them 0, as a backbone's last ReLU gives them.

    Noise on a slope of each channel's own, so that means over regions differ from one another.
    """
    slopes = 2 * mixed("features/slopes", (2, channels, 1, 1))
    rows, columns = np.linspace(-1, 1, HEIGHT)[:, None], np.linspace(-1, 1, WIDTH)
    values = mixed("features/noise", (channels, HEIGHT, WIDTH)) + slopes[0] * rows + slopes[1] * columns
    return np.maximum(values, 0).astype(np.float32)
