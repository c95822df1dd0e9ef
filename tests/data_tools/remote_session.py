"""Conversions from s3:// to s3:// by `data_tools.convert.run`, for test_remote.py; an argument is a JSON list of flags.

A process of its own, since tensorflow-io aborts the process that used it.
"""

import json
import os
import sys

from data_tools import convert
from kseg import knobs

for argument in sys.argv[1:]:
    convert.run(knobs.parse(convert.ConvertConfig, ["convert-dataset", *json.loads(argument)]))
sys.stdout.flush()
os._exit(0)
