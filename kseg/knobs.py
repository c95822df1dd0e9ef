"""Dataclass fields <-> absl flags: a flag is declared once, as a field made by `knob`.

The field's type, default, allowed values, unit and help text give the flag, its range check, its line in --help and
its entry in config.json. Every check runs when the dataclass is made, so a library user meets the same errors as
somebody at the command line.
"""

import dataclasses
import difflib
import math
import textwrap
from collections.abc import Sequence

from absl import flags

from kseg.errors import UsageError

REQUIRED = "required"
MOST = 2**31 - 1  # what TensorFlow's int32 shapes and steps hold


@dataclasses.dataclass(frozen=True)
class Range:
    """An interval of numbers; `str()` gives it as a reader would write it ("0 < x <= 1")."""

    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: float) -> bool:
        if self.low is not None and (value <= self.low if self.low_open else value < self.low):
            return False
        if self.high is not None and (value >= self.high if self.high_open else value > self.high):
            return False
        return math.isfinite(value)

    def __str__(self) -> str:
        low = "" if self.low is None else f"{self.low} {'<' if self.low_open else '<='} "
        most = "2^31 - 1" if self.high == MOST else self.high
        high = "" if self.high is None else f" {'<' if self.high_open else '<='} {most}"
        if low and not high:
            return f"x {'>' if self.low_open else '>='} {self.low}"
        return f"{low}x{high}"


@dataclasses.dataclass(frozen=True)
class OneOf:
    """A closed list of values."""

    values: tuple

    def __contains__(self, value) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return ", ".join(str(value) for value in self.values)


def knob(default, text: str, *, allowed: Range | OneOf | str = "", unit: str = "", positional: bool = False):
    """A dataclass field that is also a flag.

    Args:
        default: the default value, None (not set) or REQUIRED.
        text: what it does, for --help; a full sentence.
        allowed: a Range or OneOf to check against, or words where the check is made elsewhere.
        unit: of the value ("pixels", "epochs").
        positional: whether a word that is no flag is its value too; one field of a dataclass at most.
    """
    metadata = {"text": text, "allowed": allowed, "unit": unit, "required": default is REQUIRED}
    metadata["positional"] = positional
    return dataclasses.field(default=None if default is REQUIRED else default, metadata=metadata)


def describe_allowed(field: dataclasses.Field) -> str:
    """What a field accepts, with its unit: "integer, x > 16 (pixels)"."""
    allowed = field.metadata["allowed"]
    words = "True, False" if field.type is bool else str(allowed)
    if field.type is int and isinstance(allowed, Range):
        words = f"integer, {words}"
    if field.type is str and not words:
        words = "text"
    unit = field.metadata["unit"]
    return f"{words} ({unit})" if unit else words


def check(config) -> None:
    """Checks every field of a knob dataclass against its declaration; call it from `__post_init__`.

    Raises:
        UsageError: naming the flag, the value and what is allowed, for the first field that is wrong.
    """
    for field in dataclasses.fields(config):
        value, allowed = getattr(config, field.name), field.metadata["allowed"]
        if value is None:
            continue
        kinds = (float, int) if field.type is float else (field.type,)
        if type(value) not in kinds:
            found = f"{refusal(field, value)}; got a {type(value).__name__}"
            raise UsageError(f"--{field.name}={value}: {found}")
        if value == "" or (isinstance(allowed, Range | OneOf) and value not in allowed):
            raise UsageError(f"--{field.name}={value}: {refusal(field, value)}")
    for field in dataclasses.fields(config):  # after the ranges: a wrong value is reported even where one is missing
        if field.metadata["required"] and getattr(config, field.name) is None:
            allowed = describe_allowed(field)
            raise UsageError(f"--{field.name} is required: {field.metadata['text']} Allowed: {allowed}")


def refusal(field: dataclasses.Field, value) -> str:
    """The second half of an error line: what would be allowed, with the nearest choice where there is one."""
    line = f"allowed: {describe_allowed(field)}"
    allowed = field.metadata["allowed"]
    if isinstance(allowed, OneOf):
        near = difflib.get_close_matches(str(value), [str(choice) for choice in allowed.values], n=1)
        line += f"; did you mean {near[0]}?" if near else ""
    return line


class _Parser(flags.ArgumentParser):
    """Text of one flag -> value of its field's type; the range is left to `check`."""

    def __init__(self, field: dataclasses.Field):
        self._field = field
        self.syntactic_help = describe_allowed(field)

    def flag_type(self) -> str:
        return self._field.type.__name__

    def parse(self, argument):
        try:
            if self._field.type is bool:
                return flags.BooleanParser().parse(argument)
            return self._field.type(argument)
        except (ValueError, TypeError):
            raise ValueError(refusal(self._field, argument)) from None


def parse(config_class: type, argv: Sequence[str]):
    """Parses command-line arguments into a checked `config_class`; understands --flagfile.

    Args:
        config_class: a frozen dataclass of knobs whose `__post_init__` calls `check`.
        argv: the program's name, then its arguments.

    Raises:
        UsageError: for an unknown flag, a value out of range, a missing required flag or a stray word.
    """
    values = flags.FlagValues()
    for field in dataclasses.fields(config_class):
        parser, text, is_bool = _Parser(field), field.metadata["text"], field.type is bool
        flag = flags.Flag(parser, flags.ArgumentSerializer(), field.name, field.default, text, boolean=is_bool)
        flags.DEFINE_flag(flag, values)
    try:
        rest = values(list(argv))[1:]
    except flags.Error as error:
        message = " ".join(str(error).split()).removeprefix("ERROR:: ").removeprefix("flag ")
        raise UsageError(f"{message} (--help lists the flags)") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"--flagfile: not UTF-8 text ({error}); allowed: a text file of flags, one a line") from None
    given = {field.name: values[field.name].value for field in dataclasses.fields(config_class)}
    for name in _positional(config_class):
        if rest and not values[name].present:
            given[name] = rest.pop(0)
    if rest:
        raise UsageError(f"{rest[0]!r} is not a flag: write --name=value (--help lists the flags)")
    return config_class(**given)


def _positional(config_class: type) -> list[str]:
    return [field.name for field in dataclasses.fields(config_class) if field.metadata["positional"]]


def help_text(config_class: type, command: str, summary: str) -> str:
    """The text of --help: each flag with its meaning, allowed values, unit and default."""
    words = "".join(f"{name.upper()} " for name in _positional(config_class))
    lines = [f"{command}: {summary}", "", f"Usage: {command} {words}[--flagfile=FILE] --flag=value …", ""]
    for field in dataclasses.fields(config_class):
        default = REQUIRED if field.metadata["required"] else f"default {field.default}"
        if field.default is None and not field.metadata["required"]:
            default = "default: not set"
        allowed = describe_allowed(field)
        lines.append(f"  --{field.name}  [{'; '.join(part for part in (allowed, default) if part)}]")
        lines += textwrap.wrap(field.metadata["text"], 110, initial_indent="      ", subsequent_indent="      ")
    lines += ["  --flagfile", "      Reads flags from a file, one a line; flags after it on the command line win."]
    return "\n".join(lines)


def to_flagfile(config) -> str:
    """The flags that make this config again, one a line, for config.flags."""
    lines = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value is not None:
            lines.append(f"--{field.name}={value}")
    return "\n".join(lines) + "\n"
