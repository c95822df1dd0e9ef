"""The whole inspection: pictures or records -> facts -> meaning -> findings, figures, suggestions and samples."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from data_tools.encoding import Encoding
from data_tools.inspection import checks, samples, shard_scan, suggest
from data_tools.inspection.facts import Fault, Inspection, PictureFacts, Sample, SplitFacts
from data_tools.inspection.meaning import Meaning, classified, interpret
from data_tools.inspection.scan import scan_pair
from data_tools.jobs import find_jobs
from data_tools.pairs import Problem
from data_tools.reading import PictureError, read_file
from data_tools.reading_ahead import read_ahead
from data_tools.workers import mapped
from kseg import progress, records, storage
from kseg.errors import UsageError
from kseg.labels import LabelMap

ONE_WORKER = 64  # pictures: another process starts in 0.3 s, in which one reads 45 of CamVid's
UNNAMED = "train"  # what pictures without a split are called
FIRST_SPLITS = ("train", "validation", "test")
FOR_RECORDS = ("input", "split", "output", "html", "workers")  # flags that say nothing about files before conversion
KEPT = 4 * samples.COUNT  # records a split whose bytes stay in memory for the samples, some of which may be bad


@dataclasses.dataclass(frozen=True)
class _Scanned:
    """All that was read.

    Attributes:
        splits: the pairs of each.
        labels: the classes; None where nothing says them.
        encodings: split -> how its masks say the classes, None where nothing says it.
        kept: (split, name) -> content of image and mask, of the records to draw samples from; None before conversion.
        problems: met in pairing.
        faults: of shards and records.
    """

    splits: Mapping[str, Sequence[PictureFacts]]
    labels: LabelMap | None
    encodings: Mapping[str, Encoding | None]
    kept: Mapping[tuple[str, str], tuple[bytes, bytes]] | None
    problems: Sequence[Problem] = ()
    faults: Sequence[Fault] = ()

    def content(self, picture: PictureFacts) -> tuple[bytes, bytes]:
        """Of its image and of its mask."""
        if self.kept is None:
            return read_file(picture.image), read_file(picture.mask)
        return self.kept[picture.split, picture.name]


def inspect(config) -> Inspection:
    """Reads the whole data set, with a progress bar on standard error, and concludes.

    Args:
        config: data_tools.inspection.command.InspectConfig.

    Raises:
        UsageError: for flags that do not fit the data set.
        RunError: if there is nothing to inspect.
    """
    if config.input is not None and storage.exists(storage.join(config.input, records.DATASET_FILE)):
        scanned = _scan_records(config)
    else:
        scanned = _scan_files(config)
    pictures = [one for ones in scanned.splits.values() for one in ones]
    meaning = interpret(pictures, scanned.labels, scanned.encodings)
    splits = {
        split: [classified(one, meaning, scanned.encodings[split]) for one in ones]
        for split, ones in scanned.splits.items()
    }
    findings = checks.find_all(splits, meaning, scanned.encodings, scanned.problems, scanned.faults)
    figures = {split: SplitFacts.of(ones, meaning.labels.num_classes) for split, ones in splits.items()}
    given = config.given if scanned.kept is None else None
    if given is not None and list(splits) == [UNNAMED] and config.split_ratio is None:
        given = {"split": UNNAMED} | given  # convert-dataset must be told
    suggestions = suggest.suggest(config.folder, meaning, figures, given, findings)
    suggestions[suggest.SUMMARY] = suggest.summary(config.named, meaning, figures, findings)
    shown = {split: tuple(_samples(ones, scanned, meaning)) for split, ones in splits.items()}
    return Inspection(config.named, meaning.labels, figures, findings, suggestions, shown)


def _samples(pictures: Sequence[PictureFacts], scanned: _Scanned, meaning: Meaning) -> Iterator[Sample]:
    for one in samples.choose(pictures, scanned.kept):
        with contextlib.suppress(PictureError):  # of a file that is gone since it was scanned
            yield samples.sample(one, scanned.content(one), meaning, scanned.encodings[one.split])


def _scan_files(config) -> _Scanned:
    jobs = find_jobs(config, unnamed=UNNAMED)
    encodings = {split: job.encoding for split, job in jobs.splits.items()}
    tasks = [(split, pair) for split, job in jobs.splits.items() for pair in job.found.pairs]
    workers = config.workers or (1 if len(tasks) < ONE_WORKER else os.cpu_count() or 1)
    splits = {split: [] for split in _ordered(encodings)}
    items = read_ahead(tasks, lambda task: task[1].files())
    with (
        mapped(functools.partial(scan_pair, encodings=encodings), items, workers) as scanned,
        progress.bar(len(tasks), "pictures", "inspecting") as bar,
    ):
        for facts in scanned:
            splits[facts.split].append(facts)
            bar.update(1)
    problems = [problem for job in jobs.splits.values() for problem in job.found.problems]
    return _Scanned(splits, jobs.labels, encodings, None, problems)


def _scan_records(config) -> _Scanned:
    _refuse_flags(config)
    dataset = records.read_dataset(config.input)
    names = _ordered(dataset.splits) if config.split is None else [config.split]
    splits, faults, kept = {name: [] for name in names}, [], {}
    with progress.bar(sum(dataset.split(name).examples for name in names), "records", "inspecting") as bar:
        for name in names:
            wanted = set(samples.spread(dataset.split(name).examples, KEPT))
            for found in shard_scan.scan_split(dataset, name):
                if isinstance(found, Fault):
                    faults.append(found)
                    continue
                facts, image, mask = found
                if len(splits[name]) in wanted:
                    kept[name, facts.name] = image, mask
                splits[name].append(facts)
                bar.update(1)
    encodings = dict.fromkeys(splits, Encoding(dataset.labels.num_classes))
    return _Scanned(splits, dataset.labels, encodings, kept, faults=faults)


def _ordered(splits: Iterable[str]) -> list[str]:
    """Train, validation and test first."""
    return sorted(splits, key=lambda split: (*(split != first for first in FIRST_SPLITS), split))


def _refuse_flags(config) -> None:
    """Raises UsageError for a flag that says how pictures lie or how masks are read: records hold that themselves."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name not in FOR_RECORDS and value != field.default:
            raise UsageError(
                f"--{field.name}={value}: {config.input} is converted already, and says so itself; allowed: before "
                "conversion"
            )
