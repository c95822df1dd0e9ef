"""The ways a command ends badly on purpose. Anything else is a bug and may show its traceback."""


class UsageError(ValueError):
    """A flag is wrong, missing or contradicts another: exit status 2.

    The message is one line: the flag, the value received, what is allowed.
    """


class RunError(RuntimeError):
    """The flags were right but the work cannot be done (files, data, divergence): exit status 1.

    The message says what happened, where (file, step), what was expected and how to mend it.
    """


class UnreachableError(RunError):
    """A remote storage gives no answer; the same may work a little later (kseg.retries)."""


class NotFiniteError(RunError):
    """Training came to a loss or a weight that is no finite number; an earlier checkpoint may be gone back to."""


class Interrupted(Exception):
    """A signal ended the work where it can go on when the command is given again: exit status 75 (EX_TEMPFAIL).

    The message says which signal and what was kept.
    """
