"""The command convert-dataset: images and masks, however they are laid out -> sharded TFRecords and dataset.json."""

import dataclasses
import shlex
import sys

from data_tools.flags import MaskFlags, SourceFlags
from kseg import command
from kseg.config.values import ABOVE_16, FOLDER, POSITIVE, SKIP
from kseg.errors import UsageError
from kseg.knobs import REQUIRED, OneOf, Range, check, knob

LOCAL, BEAM = "local", "beam"


@dataclasses.dataclass(frozen=True)
class ConvertConfig(MaskFlags, SourceFlags):
    """Flags of convert-dataset. Raises UsageError for a value out of range, or for two that exclude each other."""

    output: str = knob(REQUIRED, "Where the shards and dataset.json go; other splits there are kept.", allowed=FOLDER)
    max_side: int = knob(
        None,
        "Shrink pictures whose long side is longer, images by area, masks to the nearest pixel.",
        allowed=ABOVE_16,
        unit="pixels",
    )
    jpeg_quality: int = knob(
        None,
        "Images that cannot go into the records as they are (turned, CMYK, other formats, shrunk) become JPEG of this "
        "quality. If not set, JPEG files become JPEG of quality 95 and all others PNG, without loss.",
        allowed=Range(1, 100),
    )
    on_error: str = knob(
        "refuse",
        "What to do where a pair cannot be converted: refuse the data set, listing all such pairs, or skip them, "
        "listing them in OUTPUT/problems.jsonl.",
        allowed=OneOf(("refuse", SKIP)),
    )
    num_shards: int = knob(
        None,
        "Files to write for each split; if not set, some 128 MB each, at least 8 where each holds 8 pictures.",
        allowed=POSITIVE,
        unit="files",
    )
    workers: int = knob(
        None,
        "Processes that check pictures; if not set, one a processor where the files are many enough to pay for them. "
        "The shards do not depend on it.",
        allowed=POSITIVE,
        unit="processes",
    )
    runner: str = knob(
        LOCAL,
        "Where the work is done: local, in processes of this machine, or beam, as an Apache Beam pipeline (pip install "
        "'.[beam]'). The shards are the same.",
        allowed=OneOf((LOCAL, BEAM)),
    )
    beam_args: str = knob(
        None,
        "Beam's own options, as --runner=DataflowRunner --project=… --region=… --temp_location=gs://…",
        allowed="options in one quoted text",
    )

    def __post_init__(self):
        check(self)
        self._check_source()
        self._check_masks()
        if self.runner == BEAM and self.workers is not None:
            raise UsageError(
                f"--workers={self.workers}: allowed: with --runner=local; beam has its own, in --beam_args"
            )
        if self.runner == LOCAL and self.beam_args is not None:
            raise UsageError("--beam_args: allowed: with --runner=beam")

    @property
    def beam_options(self) -> list[str]:
        """--beam_args as words; raises UsageError for a quote that is not closed."""
        try:
            return shlex.split(self.beam_args or "")
        except ValueError as error:
            raise UsageError(f"--beam_args={self.beam_args}: {error}") from None


def run(config: ConvertConfig) -> None:
    """Converts, and prints a summary."""
    from data_tools import jobs, outcome, writer  # TensorFlow: 3 s that --help and wrong flags should not pay
    from kseg import faults

    faults.refuse_unwritable(config.output)
    runner = _runner(config)
    found = jobs.find_jobs(config)
    if found.labels is None:
        raise UsageError("--classes, --num_classes: neither given; allowed: one of them")
    done = writer.write_splits(
        found.splits,
        config.output,
        found.labels,
        runner=runner,
        num_shards=config.num_shards,
        max_side=config.max_side,
        jpeg_quality=config.jpeg_quality,
        skip_problems=config.on_error == SKIP,
    )
    print(outcome.summary(done, config.output, found.labels))
    for line in outcome.remarks(done, config.output, found.labels):
        print(f"convert-dataset: {line}", file=sys.stderr)


def _runner(config: ConvertConfig):
    if config.runner == BEAM:
        from data_tools import beam

        return beam.beam_runner(config.beam_options)
    from data_tools import writer

    return writer.local_runner(config.workers)


def main(argv: list[str] | None = None) -> None:
    """Entry point of convert-dataset."""
    command.launch("convert-dataset", "images and masks -> TFRecords and dataset.json", ConvertConfig, run, argv)
