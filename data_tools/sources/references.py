"""References to an image and its mask, a line each -> pairs: what a manifest and a CSV file have in common."""

import dataclasses
import os
import posixpath
import urllib.parse
from collections.abc import Iterable

from data_tools.pairs import Found, Pair, Place, Problem, shown
from data_tools.sources.places import input_of
from kseg import storage
from kseg.errors import RunError

KINDS = "a path relative to this file, an absolute one, file:///… or s3://…"


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of the file: its references as they stand there, or `fault`, what is wrong with it."""

    number: int
    image: str = ""
    mask: str = ""
    fault: str = ""


class _BadReference(ValueError):
    """Says what is wrong with a reference."""


def read_input(place: Place, source: str) -> tuple[str, str]:
    """(path, text) of the file --input, the text without byte order mark and without what is blank at its end.

    Raises:
        UsageError: if `input` is missing, or a flag given that is not used.
        RunError: naming the file, if it cannot be read, is not UTF-8, or is empty.
    """
    path = input_of(place, source)
    if storage.is_dir(path):
        raise RunError(f"{shown(path)}: is a folder; --source={source} reads a file")
    text = storage.read_text(path).removeprefix("\ufeff").rstrip()
    if not text:
        raise RunError(f"{shown(path)}: an empty file; expected a line a pair")
    return path, text


def pairs_of(path: str, lines: Iterable[Line]) -> Found:
    """The pairs of the lines, and a problem, named PATH:NUMBER, for every line that makes none.

    A reference is a path relative to the folder of `path`, an absolute one, file:///… (percent-encoded, RFC 8089), or a
    remote one as s3://…. A pair's filename, and without extension its stem, is the image's path within the folder of
    `path`, or in full where it lies elsewhere. It does not depend on the other lines, as a common folder would: adding
    a line moves no other picture to another split (`data_tools.splitting`).

    Lines of the same stem make no pair.
    """
    pairs, problems, repeated = {}, [], set()
    first = {}
    for line in lines:
        pair, fault = None, line.fault
        if not fault:
            try:
                pair = _pair(line, posixpath.dirname(path))
            except _BadReference as error:
                fault = str(error)
        if pair is not None and pair.stem in first:
            same = f"{shown(pairs[pair.stem].filename)} in line {first[pair.stem]}"
            fault = f"{shown(pair.filename)} has the stem of {same}; expected one line a stem"
            repeated.add(pair.stem)
        if fault:
            problems.append(Problem(f"{path}:{line.number}", fault, pair.stem if pair else ""))
        else:
            first[pair.stem] = line.number
            pairs[pair.stem] = pair
    return Found(tuple(pairs[stem] for stem in sorted(pairs.keys() - repeated)), tuple(problems))


def _pair(line: Line, folder: str) -> Pair:
    image, mask = _location(line.image, folder), _location(line.mask, folder)
    if image == mask:
        raise _BadReference(f"{shown(line.image)} is given for both image and mask; expected two files")
    filename = _name(line.image, image, folder)
    return Pair(os.path.splitext(filename)[0], filename, image, mask)


def _location(reference: str, folder: str) -> str:
    """The path that a reference means."""
    if "\0" in reference or not _is_utf8(reference):
        raise _BadReference(f"{reference!r} is no file name; expected {KINDS}")
    scheme, separator, rest = reference.partition("://")
    if separator and scheme != "file":
        if scheme not in storage.REMOTE_SCHEMES:
            raise _BadReference(f"{shown(reference)} has an unknown scheme; expected {KINDS}")
        return reference
    if separator:
        rest = rest.removeprefix("localhost")
        if not rest.startswith("/"):
            raise _BadReference(f"{shown(reference)} is not absolute; expected {KINDS}")
        reference = urllib.parse.unquote(rest)
    location = storage.join(folder, reference)
    scheme, separator, rest = location.partition("://")
    if separator:
        return f"{scheme}://{posixpath.normpath(rest)}"  # "..", which object storage would take for a name
    if not os.path.isfile(location):
        raise _BadReference(f"{shown(location)}: no such file")
    return location


def _is_utf8(text: str) -> bool:
    """Whether it can be written; "\\ud800" in JSON, half of a character, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(reference: str, location: str, folder: str) -> str:
    """What the record is to call a file: never absolute, never upwards."""
    if "://" not in reference and not reference.startswith("/"):
        name = posixpath.normpath(reference)
    else:
        folder = folder if "://" in folder else os.path.abspath(folder)
        name = location.removeprefix(f"{folder}/").rpartition("://")[2]
        name = posixpath.normpath(name.lstrip("/"))
    while name.startswith("../"):
        name = name[3:]
    return name
