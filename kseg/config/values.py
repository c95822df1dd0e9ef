"""What the flags of several commands allow, and how to say it."""

import math

from kseg.knobs import MOST, OneOf, Range

FOLDER, FILE, SPLIT = "a folder, local or remote", "a file, local or remote", "a split of dataset.json"
ABSENT_TEXT = "A class in neither labels nor predictions: leave_out of the mean over classes, or count it as 0."
ABSENT = OneOf(("leave_out", "0"))
MAX_CLASSES = 254  # 255 is the ignore value
POSITIVE = Range(1, MOST)
NOT_NEGATIVE = Range(0, MOST)
ABOVE_16 = Range(16, MOST, low_open=True)
UNIT_INTERVAL = Range(0, 1)
BELOW_1 = Range(0, 1, high_open=True)
ABOVE_0 = Range(low=0, low_open=True)
CROP_MULTIPLE = 8
SKIP = "skip"
BAD_RECORD = OneOf(("refuse", SKIP))
BAD_RECORD_TEXT = (
    "A record that is damaged, missing, lacks a key, or whose image and mask do not fit: refuse = stop, naming file "
    "and record; skip = read every record once before (some 250 a second and core at 480 x 360 pixels), go on without "
    "those and list them."
)


def round_crop_up(config) -> None:
    """Makes crop_size a multiple of CROP_MULTIPLE, as the original does."""
    object.__setattr__(config, "crop_size", math.ceil(config.crop_size / CROP_MULTIPLE) * CROP_MULTIPLE)
