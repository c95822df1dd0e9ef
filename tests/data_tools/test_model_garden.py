"""The shards load with TF Model Garden's own decoder, from the published package."""

import importlib.util

import numpy as np
import pytest
import tensorflow as tf
from converted import convert
from drawn import class_mask, write_pairs

from kseg import records

# tf-models-official is built for one TensorFlow release; 2.16.0 belongs to the stack that has tensorflow-io.
IO_STACK = importlib.util.find_spec("tensorflow_io") is not None


@pytest.mark.skipif(
    not IO_STACK, reason="tf-models-official 2.16.0 runs with TensorFlow 2.16, the stack of the io extra"
)
def test_segmentation_decoder_reads_the_shards(tmp_path):
    from official.vision.dataloaders.segmentation_input import Decoder, Parser

    stems = [f"frame_{index}" for index in range(4)]
    write_pairs(tmp_path, stems)
    convert(tmp_path, tmp_path / "out", num_shards=2)
    paths = records.read_dataset(str(tmp_path / "out")).shard_paths("train")

    masks = {}
    for serialized in tf.data.TFRecordDataset(paths):
        record = Decoder().decode(serialized)
        assert (record["image/height"], record["image/width"]) == (24, 32)
        image = tf.io.decode_image(record["image/encoded"], channels=3)
        assert image.shape == (24, 32, 3)
        stem = next(s for s in stems if (tmp_path / "images" / f"{s}.jpg").read_bytes() == record["image/encoded"])
        masks[stem] = tf.io.decode_image(record["image/segmentation/class/encoded"], channels=1).numpy()[..., 0]
    for seed, stem in enumerate(stems):
        np.testing.assert_array_equal(masks[stem], class_mask(24, 32, seed))

    # And on through its parser, as its training input does.
    parse = Parser([24, 32], resize_eval_groundtruth=False, groundtruth_padded_size=[24, 32]).parse_fn(
        is_training=False
    )
    image, labels = parse(Decoder().decode(next(iter(tf.data.TFRecordDataset(paths)))))
    assert image.shape == (24, 32, 3)
    assert set(np.unique(labels["masks"])) == {0, 1, 2, 255}
