"""Splits -> their shards and their entries in dataset.json: plan, write aside, verify, rename.

A run killed at any moment leaves a folder that is either as it was or says itself that the splits are not there:

1. Shards are written into a folder of their own (.train.1a2b3c4d.part), which no reader looks into, and read back.
   (tf.io.gfile.glob("*.tfrecord") matches names that start with a dot, so a dot before a shard's name would not do.)
2. If shards are to be replaced by others, dataset.json is first written without their splits: from here to the end,
   some milliseconds, readers refuse them instead of mixing old and new.
3. The shards are renamed, dataset.json is written whole, and shards that it no longer lists are deleted.
"""

import dataclasses
import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

import kseg
from data_tools.jobs import Job
from data_tools.outcome import PROBLEMS_FILE, Outcome, refusal
from data_tools.preparation import Recipe, prepare_of_split
from data_tools.reading_ahead import read_ahead
from data_tools.shards import ShardJob, ShardResult, deal, worker_count, write_shard
from data_tools.staging import locked, staging
from data_tools.workers import mapped
from kseg import progress, records, storage
from kseg.errors import RunError
from kseg.labels import IGNORE, LabelMap

# Shard jobs, a folder, whether to go on writing after a problem, and whether there is one already -> a result for each
# job, in order.
Runner = Callable[[Sequence[ShardJob], str, bool, bool], list[ShardResult]]


def local_runner(workers: int | None = None) -> Runner:
    """Checks pairs in parallel processes of this machine and writes the shards in this one.

    Args:
        workers: processes; None = by the size of the files. The shards do not depend on it.
    """

    def run(jobs: Sequence[ShardJob], folder: str, keep_on: bool, bad: bool) -> list[ShardResult]:
        recipes = {job.split: job.recipe for job in jobs}
        items = read_ahead(((job.split, pair) for job in jobs for pair in job.pairs), lambda item: item[1].files())
        count, splits = sum(len(job.pairs) for job in jobs), ", ".join(recipes)
        results = []
        with (
            mapped(functools.partial(prepare_of_split, recipes), items, worker_count(jobs, workers)) as prepared,
            progress.bar(count, "images", f"convert {splits}") as bar,
        ):
            prepared = _counted(prepared, bar)
            for job in jobs:
                bad = bad or any(result.problems for result in results)
                results.append(write_shard(job, folder if keep_on or not bad else None, prepared))
        return results

    return run


def _counted(results: Iterator, bar) -> Iterator:
    for result in results:
        bar.update()
        yield result


def write_splits(
    splits: Mapping[str, Job],
    output: str,
    labels: LabelMap,
    *,
    runner: Runner,
    num_shards: int | None = None,
    max_side: int | None = None,
    jpeg_quality: int | None = None,
    skip_problems: bool = False,
) -> Outcome:
    """Writes the shards of splits and enters them into OUTPUT/dataset.json; other splits there stay.

    The same files give the same bytes, whatever the runner is. Two runs may write different splits into one local
    folder at once; on remote storage one run after the other.

    Args:
        splits: by name, with the problems found so far; splits of these names are replaced.
        output: folder, local or remote; the other splits there must have classes of the same names.
        labels, runner: the classes, and what does the work, as `local_runner` gives it.
        num_shards, max_side, jpeg_quality: see `data_tools.shards.deal` and `data_tools.preparation.Recipe`.
        skip_problems: leave bad pairs out and list them in OUTPUT/problems.jsonl, instead of refusing.

    Raises:
        RunError: listing every problem (the first 20 and the count), with nothing written; if a split has no good
            pair; if the classes differ; if a file cannot be written.
        UsageError: for more shards than pairs.
    """
    _previous(output, set(splits), labels)  # refuses other classes before the work, not after it
    jobs = _dealt(splits, num_shards, skip_problems, lambda job: Recipe(job.encoding, max_side, jpeg_quality))
    with staging(output, set(splits)) as aside:
        bad = any(job.found.problems for job in splits.values())
        outcome = _merged(runner(jobs, aside, skip_problems, bad), splits, labels.num_classes)
        _refuse_bad(outcome, sum(len(job.pairs) for job in jobs), skip_problems)
        with locked(output):
            _publish(outcome, aside, output, labels)
    return outcome


def _dealt(
    splits: Mapping[str, Job], num_shards: int | None, skip_problems: bool, recipe: Callable[[Job], Recipe]
) -> list[ShardJob]:
    """The shards of all splits; of a data set that will be refused in any number, since pairs are missing."""
    early = [problem for job in splits.values() for problem in job.found.problems]
    if early and not skip_problems:
        num_shards = None
    jobs = []
    for split, job in splits.items():
        if not job.found.pairs:
            raise refusal(early, 0, f"no pair in {split}")
        jobs += deal(job.found.pairs, split, recipe(job), num_shards)
    return jobs


def _refuse_bad(outcome: Outcome, checked: int, skip_problems: bool) -> None:
    problems = [problem for _, problem in outcome.problems]
    if problems and not skip_problems:
        raise refusal(problems, checked)
    for split, entry in outcome.entries.items():
        if not entry.examples:
            raise refusal(problems, entry.skipped, f"no good pair in {split}")


def _merged(results: Sequence[ShardResult], splits: Mapping[str, Job], num_classes: int) -> Outcome:
    """The results of all shards, split by split. A pair is skipped once, however many problems it has."""
    entries, problems, notes = {}, [], {}
    for split, job in splits.items():
        own = [result for result in results if result.split == split]
        histogram = np.sum([result.histogram for result in own], axis=0)
        entries[split] = records.Split(
            shards=tuple(result.shard for result in own if result.shard is not None),
            pixels_per_class=tuple(int(pixels) for pixels in histogram[:num_classes]),
            ignored_pixels=int(histogram[IGNORE]),
            height_range=_widest([result.heights for result in own]),
            width_range=_widest([result.widths for result in own]),
            label_map=job.encoding.to_dict(),
            skipped=sum(result.skipped for result in own)
            + len({problem.stem or problem.file for problem in job.found.problems}),
        )
        problems += [(split, problem) for problem in sorted(job.found.problems)]
        problems += [(split, problem) for result in own for problem in result.problems]
        for result in own:
            for note, count in result.notes.items():
                notes[note] = notes.get(note, 0) + count
    return Outcome(entries, tuple(problems), notes)


def _widest(ranges: Sequence[tuple[int, int] | None]) -> tuple[int, int]:
    known = [each for each in ranges if each is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else (0, 0)


def _previous(output: str, splits: set[str], labels: LabelMap) -> records.Dataset:
    """The data set in `output`, or an empty one.

    Raises:
        RunError: if splits other than `splits` are there with other classes, or dataset.json cannot be read.
    """
    path = storage.join(output, records.DATASET_FILE)
    if not storage.exists(path):
        return records.Dataset(output, labels, {}, kseg.__version__)
    try:
        there = records.read_dataset(output)
    except RunError as error:
        raise RunError(f"{error} (convert-dataset adds to this file: delete it to start anew)") from None
    others = ", ".join(sorted(there.splits.keys() - splits))
    if there.labels.names == labels.names:
        return dataclasses.replace(there, converter_version=kseg.__version__)
    if not others:
        return records.Dataset(output, labels, there.splits, kseg.__version__)
    old, new = there.labels.names, labels.names
    if len(old) != len(new):
        difference = f"{len(old)} there, {len(new)} given"
    else:
        index = next(index for index in range(len(old)) if old[index] != new[index])
        difference = f"class {index} is {old[index]!r} there, {new[index]!r} given"
    raise RunError(
        f"{path}: its splits ({others}) have other classes: {difference}; give the same, or another --output"
    )


def _publish(outcome: Outcome, aside: str, output: str, labels: LabelMap) -> None:
    """Renames the shards into `output` and enters them into dataset.json, as the module says."""
    entries = outcome.entries
    dataset = _previous(output, set(entries), labels)  # read again: another split may have come meanwhile
    path = storage.join(output, records.DATASET_FILE)
    others = {name: there for name, there in dataset.splits.items() if name not in entries}
    new = {shard.name: shard for entry in entries.values() for shard in entry.shards}
    old = [shard for name, there in dataset.splits.items() if name in entries for shard in there.shards]
    if any(new.get(shard.name, shard) != shard for shard in old):
        storage.write_text(path, dataclasses.replace(dataset, splits=others).to_json())
    for name in new:
        storage.rename(storage.join(aside, name), storage.join(output, name))
    _write_problems(outcome, output)
    storage.write_text(path, dataclasses.replace(dataset, splits=others | dict(entries)).to_json())
    shard_name = re.compile(rf"({'|'.join(map(re.escape, entries))})-\d{{5}}-of-\d{{5}}\.tfrecord")
    for name in storage.list_dir(output):
        if shard_name.fullmatch(name) and name not in new:
            storage.remove(storage.join(output, name))


def _write_problems(outcome: Outcome, output: str) -> None:
    """OUTPUT/problems.jsonl: what was left out, a line a problem, with the lines of other splits as they were."""
    path = storage.join(output, PROBLEMS_FILE)
    there = storage.exists(path)
    lines = storage.read_text(path).splitlines() if there else []
    own = tuple(f'{{"split": {json.dumps(split)},' for split in outcome.entries)
    lines = [line for line in lines if not line.startswith(own)]
    lines += [
        json.dumps({"split": split, "stem": problem.stem, "file": problem.file, "problem": problem.what})
        for split, problem in outcome.problems
    ]
    if lines:
        storage.write_text(path, "\n".join(lines) + "\n")
    elif there:
        storage.remove(path)
