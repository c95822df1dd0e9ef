"""The command inspect-dataset: says what is wrong with a data set, before or after conversion, and how to mend it."""

import dataclasses
import os

from data_tools.flags import MaskFlags, SourceFlags
from data_tools.inspection.facts import LEVELS
from kseg import command
from kseg.config.values import FILE, FOLDER, POSITIVE
from kseg.knobs import check, knob


@dataclasses.dataclass(frozen=True)
class InspectConfig(MaskFlags, SourceFlags):
    """Flags of inspect-dataset. Raises UsageError for a value out of range, or for two that exclude each other."""

    input: str = knob(
        None,
        "What to inspect: pictures in a layout that convert-dataset reads, a list of pairs (as for its --input), or a "
        "folder that it wrote, with dataset.json and shards.",
        allowed="a folder or a file, local or remote",
        positional=True,
    )
    output: str = knob(
        None,
        "Where the charts, summary.json and the suggested files go; if not set, NAME-inspection in the current folder, "
        "NAME being the data set's.",
        allowed=FOLDER,
    )
    html: str = knob(None, "Write everything as one HTML page there.", allowed=FILE)
    workers: int = knob(
        None,
        "Processes that read pictures; if not set, one a processor from 64 pictures on.",
        allowed=POSITIVE,
        unit="processes",
    )

    def __post_init__(self):
        check(self)
        self._check_source()
        self._check_masks()

    @property
    def named(self) -> str:
        """What is inspected, as the user wrote it."""
        return self.input or self.images or ""

    @property
    def folder(self) -> str:
        """--output, or what stands for it."""
        if self.output is not None:
            return self.output
        path = self.named if "://" in self.named else os.path.abspath(self.named)
        return f"{os.path.basename(path.rstrip('/'))}-inspection"

    @property
    def given(self) -> dict[str, str]:
        """The flags of convert-dataset that were given, by name."""
        shared = [*dataclasses.fields(SourceFlags), *dataclasses.fields(MaskFlags)]
        return {
            field.name: str(getattr(self, field.name))
            for field in shared
            if getattr(self, field.name) not in (None, field.default)
        }


def run(config: InspectConfig) -> int:
    """Inspects, prints and writes; returns 1 if anything would train wrong."""
    # TensorFlow: 3 s that --help should not pay
    from data_tools.inspection import charts, inspector, page, table
    from data_tools.inspection.output import Output
    from kseg import storage

    output = Output(config.folder, config.html, filter(None, (config.classes, config.colors, config.label_map)))
    with output.made():
        inspection = inspector.inspect(config)
        drawn = charts.draw(inspection)
        files = {name: content.encode() for name, content in inspection.suggestions.items()} | drawn
        output.write(files)
    print(table.table(inspection))
    print(f"written to {config.folder}: {', '.join(sorted(files))}")
    if config.html is not None:
        storage.write_text(config.html, page.page(inspection, drawn))
        print(f"written to {config.html}")
    return int(any(finding.level == LEVELS[0] for finding in inspection.findings))


def main(argv: list[str] | None = None) -> None:
    """Entry point of inspect-dataset."""
    command.launch(
        "inspect-dataset", "what is wrong with a data set, and the flags that mend it", InspectConfig, run, argv
    )
