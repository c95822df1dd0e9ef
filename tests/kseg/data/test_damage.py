"""An error while reading names the record that is at fault, if one is."""

import numpy as np
import pytest
import tensorflow as tf

from kseg import records
from kseg.data import damage
from kseg.errors import RunError
from kseg.pictures import png_bytes
from kseg.record_checks import Part


def record(mask_width=16):
    image, mask = png_bytes(np.zeros((12, 16, 3), np.uint8)), png_bytes(np.zeros((12, mask_width), np.uint8))
    return records.encode(image, "png", "0.png", 12, 16, mask)


def source(path, *examples):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for example in examples:
            writer.write(example)
    return damage.Source((Part(str(path), len(examples)),), 3)


def test_an_error_while_reading_is_named(tmp_path):
    sound = source(tmp_path / "sound", record())
    with damage.named(sound):
        pass
    with pytest.raises(tf.errors.InvalidArgumentError), damage.named(sound):
        tf.io.decode_image(b"text")  # an error that is none of the shard's
    faulty = source(tmp_path / "faulty", record(), record(mask_width=15))
    message = (
        rf"^{faulty.paths[0]}: record 1 \(0\.png\): sizes differ: .*; run convert-dataset again, or "
        r"--on_bad_record=skip to go on without it$"
    )
    with pytest.raises(RunError, match=message), damage.named(sound, faulty):
        tf.io.decode_image(b"text")
