"""The work of convert-dataset as an Apache Beam pipeline: a shard a step, on Dataflow, Flink, Spark or this machine.

A job per shard is put as a file into the staging folder, whose path is all that travels through the pipeline (a graph
may hold 10 MB on Dataflow, and a million pairs are 250). A worker writes the shard beside it, by the same code and so
with the same bytes as the local run, and its result into another file. Publishing is the launching process's work.
"""

import argparse
import contextlib
import io
import logging
import pickle
import threading
import uuid
from collections.abc import Iterator, Sequence

from data_tools.pairs import Pair
from data_tools.preparation import prepare
from data_tools.reading_ahead import read_ahead
from data_tools.shards import ShardJob, ShardResult, write_shard
from kseg import progress, storage
from kseg.errors import RunError, UsageError

MOST_TOLD = 600  # characters of an error of Beam's, which may hold a worker's whole traceback
LOOK_SECONDS = 5.0  # between looks at what is done: listing a bucket is a request
QUIET = ("--default_sdk_harness_log_level=ERROR",)  # of the workers; an option given later wins
# Their job servers know options of their own, so that one that Beam does not know is no mistake.
PORTABLE = ("flinkrunner", "sparkrunner", "portablerunner")
INSTALL = (
    "pip install -c constraints/tf-latest.txt -e '.[beam]' (with tensorflow-io, -c constraints/tf-2.16.txt -e "
    "'.[io,beam]'); Dataflow also needs 'apache-beam[gcp]'"
)


def beam_runner(options: Sequence[str]):
    """A `data_tools.writer.Runner` that runs on Apache Beam.

    Args:
        options: Beam's own, as ["--runner=DataflowRunner", "--project=…"]; without any, Beam's DirectRunner.

    Raises:
        UsageError: if Apache Beam is not installed, or for options that it does not know.
    """
    # "apitools not found", "Discarding unparseable args": of every good run.
    logging.getLogger().setLevel(logging.ERROR)
    try:
        import apache_beam
    except ImportError as error:
        raise UsageError(f"--runner=beam: Apache Beam cannot be imported ({error}): {INSTALL}") from None
    parsed, runner = _parsed(options)

    def run(jobs: Sequence[ShardJob], folder: str, keep_on: bool, bad: bool) -> list[ShardResult]:
        del keep_on, bad  # shards do not know of each other's problems
        paths = [storage.join(folder, f"job-{index:05d}") for index in range(len(jobs))]
        for path, job in zip(paths, jobs, strict=True):
            storage.write_bytes(path, pickle.dumps(job))
        try:
            with _shown(jobs, folder), apache_beam.Pipeline(runner=runner, options=parsed) as pipeline:
                # Reshuffle: else a runner may fuse all shards into one step on one worker.
                names = pipeline | "jobs" >> apache_beam.Create(paths) | apache_beam.Reshuffle()
                _ = names | "write shards" >> apache_beam.Map(write_job)
        except RunError:
            raise
        except Exception as error:  # Beam, its runners and their clients have no base class in common
            reason = " ".join(str(error).split())
            raise RunError(f"the Beam pipeline failed: {type(error).__name__}: {reason[:MOST_TOLD]}") from None
        return [_result(path) for path in paths]

    return run


def _parsed(options: Sequence[str]):
    """PipelineOptions and the runner; raises UsageError for what Beam would refuse, ignore or answer by its help."""
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    from apache_beam.runners.runner import create_runner

    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    for group in PipelineOptions.__subclasses__():
        with contextlib.suppress(argparse.ArgumentError):  # an option of two groups
            group._add_argparse_args(parser)
    given = " ".join(options)
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            known, unknown = parser.parse_known_args(list(options))
    except (argparse.ArgumentError, SystemExit) as error:
        reason = said.getvalue().strip().rpartition("\n")[2] or str(error)
        raise UsageError(f"--beam_args={given}: {reason}; allowed: options of Apache Beam") from None
    name = known.runner or StandardOptions.DEFAULT_RUNNER
    if unknown and name.rpartition(".")[2].lower() not in PORTABLE:
        raise UsageError(f"--beam_args={given}: {unknown[0]} is no option of Apache Beam's {name}")
    try:
        return PipelineOptions([*QUIET, *options]), create_runner(name)
    except (ValueError, ImportError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"--beam_args={given}: {reason[:MOST_TOLD]}; to install: {INSTALL}") from None


def write_job(path: str) -> None:
    """Does the job that lies in a file: writes its shard beside it, and its result into PATH.result.

    A runner may start a step twice, even at the same time: each writes its own file and renames it.
    """
    job = pickle.loads(storage.read_bytes(path))
    folder = path.rpartition("/")[0]
    attempt = storage.join(folder, f"attempt-{uuid.uuid4().hex}")
    storage.make_dirs(attempt)
    try:
        result = write_shard(
            job, attempt, (prepare(pair, job.recipe, read) for pair, read in read_ahead(job.pairs, Pair.files))
        )
        storage.rename(storage.join(attempt, job.name), storage.join(folder, job.name))
    except RunError as error:  # told by the launching process, as the local run would; others are the runner's to retry
        result = error
    storage.write_bytes(f"{path}.result", pickle.dumps(result))


def _result(path: str) -> ShardResult:
    result = pickle.loads(storage.read_bytes(f"{path}.result"))
    if isinstance(result, RunError):
        raise result
    return result


@contextlib.contextmanager
def _shown(jobs: Sequence[ShardJob], folder: str) -> Iterator[None]:
    """A progress bar from the results that come to lie in the folder."""
    ended = threading.Event()
    sizes = {f"job-{index:05d}.result": len(job.pairs) for index, job in enumerate(jobs)}
    with progress.bar(sum(sizes.values()), "images", "convert on Beam") as bar:

        def look() -> None:
            while not ended.wait(LOOK_SECONDS):
                with contextlib.suppress(RunError):  # of a bucket that does not answer: the pipeline will say so
                    update()

        def update() -> None:
            bar.update(sum(sizes.get(name, 0) for name in storage.list_dir(folder)) - bar.n)

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        update()
