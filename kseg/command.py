"""How a command starts and ends: flags parsed, errors as one line, the exit status kept."""

import contextlib
import gc
import importlib
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence

from kseg import knobs, memory
from kseg.errors import Interrupted, RunError, UsageError


class _Terminated(BaseException):
    """SIGTERM, by which clusters end a job; like KeyboardInterrupt none that `except Exception` takes for an error."""


STATUS = {UsageError: 2, RunError: 1, Interrupted: 75, KeyboardInterrupt: 130, _Terminated: 143}


def launch(
    command: str, summary: str, config_class: type, run: Callable[..., int | None], argv: Sequence[str] | None = None
) -> None:
    """Runs a command and exits.

    Status 0 is done, 1 the work could not be done, 2 wrong usage, 75 ended by a signal and to be gone on with by the
    same command, 130 and 143 otherwise ended by SIGINT and SIGTERM.

    Args:
        command: name of the console script.
        summary: one line for --help.
        config_class: dataclass of knobs.
        run: takes the config, imports what else is heavy itself, and returns an exit status (None = 0).
        argv: program name and arguments; sys.argv if None.
    """
    argv = list(sys.argv if argv is None else argv)
    if any(word in ("--help", "-help", "-h", "--helpfull", "--helpshort") for word in argv[1:]):
        _print_help(knobs.help_text(config_class, command, summary))
        sys.exit(0)
    try:
        with _terminable():
            config = knobs.parse(config_class, argv)
            memory.use_one_arena()
            with _uncollected():
                _import_tensorflow()
            status = run(config) or 0
    except (UsageError, RunError, Interrupted, KeyboardInterrupt, _Terminated) as error:
        status = next(status for kind, status in STATUS.items() if isinstance(error, kind))
        what = {KeyboardInterrupt: "interrupted", _Terminated: "terminated"}.get(type(error), error)
        print(f"{command}: {what}", file=sys.stderr)
    except Exception:
        if not _exit_may_fail():
            raise
        traceback.print_exc()
        status = 1
    _leave(status)


def _print_help(text: str) -> None:
    """Prints; who has read enough, as `| head`, may close the pipe."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the interpreter's exit


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM inside the block raises `_Terminated`, so that temporary files go; a second one ends the process at once.

    Python does so between two of its own steps: in training within a batch.
    """
    if threading.current_thread() is not threading.main_thread():  # no other may set what a signal does
        yield
        return

    def terminate(number, frame):
        signal.signal(number, signal.SIG_DFL)
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Turns the garbage collector off inside the block, and makes it leave alone for ever what is there at its end.

    Of TensorFlow's import 300,000 objects stay as long as the process; 620 collections took 0.4 s of it.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if collecting:
            gc.enable()


def _import_tensorflow() -> None:
    """Imports TensorFlow without its start-up chatter; if the import fails, what it wrote is shown.

    CPU features, no GPU, "Unable to register cuFFT factory" are logged up to level error, and TensorFlow 2.21 logs some
    of it before it reads its log level. What goes wrong later reaches the user as an exception. (An abort inside the
    import, on a processor without AVX, is none: what it wrote is lost.)
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # TensorFlow takes oneDNN's kernels by itself on some processors only. With AVX2 alone they multiply batches of
    # matrices (kseg.models.winograd) at twice the speed of its own: 71 against 35 GFLOP/s on 2 cores. bfloat16
    # (kseg.models.tap_products) has its instructions only in them.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    try:
        written, stderr = tempfile.TemporaryFile(), os.dup(2)
    except OSError:  # no room for a temporary file, or no standard error: then with the chatter
        _import_without_plotting("tensorflow")
        return
    with written:
        os.dup2(written.fileno(), 2)
        try:
            _import_without_plotting("tensorflow")
        except Exception:
            written.seek(0)
            os.write(stderr, written.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _import_without_plotting(module: str) -> None:
    """Imports it as if matplotlib were missing: Keras would import pyplot (0.8 of 4 s) for functions unused here."""
    hidden = "matplotlib" not in sys.modules
    if hidden:
        sys.modules["matplotlib"] = None
    try:
        importlib.import_module(module)
    finally:
        if hidden:
            del sys.modules["matplotlib"]


def _leave(status: int) -> None:
    """Exits with `status` even where the interpreter's own exit would abort or hang."""
    if _exit_may_fail():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _exit_may_fail() -> bool:
    storage, workers = sys.modules.get("kseg.storage"), sys.modules.get("kseg.workers")
    # "pure virtual method called", status 134, after any s3:// use (tensorflow-io 0.37.1): skip the destructors. So
    # with other workers: TensorFlow's server for them may wait for what never comes.
    return (storage is not None and storage.used_remote()) or (workers is not None and workers.joined())
