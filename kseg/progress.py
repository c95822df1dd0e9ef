"""One progress bar for every command: what is done, the speed, the time that remains."""

import sys

from tqdm import tqdm

_silent = False


def silence() -> None:
    """From now on no bar is drawn and nothing said: another process of the same work does."""
    global _silent
    _silent = True


def bar(total: int, unit: str, description: str = "", leave: bool = True, initial: int = 0) -> tqdm:
    """A tqdm bar on standard error; use as a context manager and call `.update(n)`.

    On a terminal it redraws ten times a second. In a log file, where each redraw is a new line, it
    reports once in 30 seconds instead.

    Args:
        total: how many units there are in all, >= 0.
        unit: what is counted, in the plural (" images").
        description: shown before the bar.
        leave: keep the finished bar on the screen.
        initial: units that were done before.
    """
    live = sys.stderr.isatty()
    return tqdm(
        total=total,
        initial=initial,
        unit=f" {unit}",
        desc=description or None,
        leave=leave,
        file=sys.stderr,
        mininterval=0.1 if live else 30.0,
        maxinterval=10.0 if live else 60.0,
        dynamic_ncols=live,
        ascii=None if live else True,
        disable=_silent,
    )


def say(message: str) -> None:
    """Prints one line to standard output without breaking a bar that is being drawn."""
    if _silent:
        return
    with tqdm.external_write_mode(file=sys.stdout):
        print(message, flush=True)
