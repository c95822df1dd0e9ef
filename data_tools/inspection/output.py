"""The folder that an inspection writes to: what it wrote the last time makes room, anybody else's files are kept."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping

from data_tools.encoding import LABEL_MAP
from data_tools.inspection import charts, suggest
from kseg import faults, storage
from kseg.errors import RunError

WRITTEN = "written"  # key of summary.json: the other files that were written, and the SHA-256 of each
_NAMES = (suggest.CONVERT_FLAGS, suggest.TRAIN_FLAGS, suggest.COLORS, suggest.CLASSES, charts.SHARES, charts.SIZES)
_PATTERNS = (LABEL_MAP.format(split="[^/]+"), r"contact_sheet_[^/]+\.png", *map(re.escape, _NAMES))
_OTHERS = re.compile("|".join(_PATTERNS))  # all that an inspection may write but summary.json


class Output:
    """Looks at the place before anything is inspected.

    Args:
        folder: to write to; it may hold an earlier inspection, or other files.
        html: the page's file, None for none.
        given: files and folders that flags name: what lies there was read, and is no rest of an earlier inspection.

    Raises:
        RunError: if something is in the way, or files in the folder that are not as an inspection wrote them would be
            overwritten.
    """

    def __init__(self, folder: str, html: str | None, given: Iterable[str]):
        self._folder, self._new = folder, not storage.exists(folder)
        if not self._new and not storage.is_dir(folder):
            raise RunError(f"{folder}: is a file; expected a folder for --output")
        faults.refuse_unwritable(folder)
        if html is not None:
            storage.refuse_folder(html)
            faults.refuse_unwritable(os.path.dirname(html))
            storage.make_dirs(os.path.dirname(html) or ".")
        self._written, there = ({}, {}) if self._new else (_recorded(folder), _there(folder))
        self._given = set(filter(self._is_given({_absolute(path) for path in given}), there))
        self._strange = {name for name, digest in there.items() if self._written.get(name) != digest}
        self._kept = {name: self._written[name] for name in self._given - self._strange}
        self._refuse((self._strange - self._given) | (self._strange & {suggest.SUMMARY}))

    @contextlib.contextmanager
    def made(self) -> Iterator[None]:
        """Makes the folder around the work; an error takes it away again, if it was new and is empty.

        Raises:
            RunError: if it cannot be made.
        """
        storage.make_dirs(self._folder)
        try:
            yield
        except BaseException:
            if self._new and storage.exists(self._folder) and not storage.list_dir(self._folder):
                storage.remove(self._folder)
            raise

    def write(self, files: Mapping[str, bytes]) -> None:
        """Writes the files, summary.json among them, and removes those of the last inspection that are not written now.

        Raises:
            RunError: if one cannot be written, or a flag names it and its content is the user's.
        """
        self._refuse(self._strange & files.keys())
        others = {name: content for name, content in files.items() if name != suggest.SUMMARY}
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in others.items()}
        summary = json.loads(files[suggest.SUMMARY]) | {WRITTEN: self._kept | digests}
        storage.write_text(storage.join(self._folder, suggest.SUMMARY), json.dumps(summary, indent=2) + "\n")
        for name, content in others.items():
            storage.write_bytes(storage.join(self._folder, name), content)
        for name in self._written.keys() - self._given - others.keys():
            storage.remove(storage.join(self._folder, name))

    def _is_given(self, paths: set[str]):
        whole = _absolute(self._folder) in paths
        return lambda name: (whole and name.endswith(".json")) or _absolute(storage.join(self._folder, name)) in paths

    def _refuse(self, names: set[str]) -> None:
        if names:
            raise RunError(
                f"{self._folder}: {', '.join(sorted(names))} would be overwritten, and no inspection wrote it so; "
                "move it away, or name another --output"
            )


def _absolute(path: str) -> str:
    return path.rstrip("/") if "://" in path else os.path.abspath(path)


def _there(folder: str) -> dict[str, str]:
    """Name -> SHA-256 of the files in a folder whose names are those of an inspection's; summary.json if another's."""
    names = [name for name in storage.list_dir(folder) if _OTHERS.fullmatch(name)]
    if storage.exists(storage.join(folder, suggest.SUMMARY)) and _summary(folder) is None:
        names.append(suggest.SUMMARY)
    return {name: hashlib.sha256(storage.read_bytes(storage.join(folder, name))).hexdigest() for name in names}


def _recorded(folder: str) -> dict[str, str]:
    """Name -> SHA-256 of what the last inspection wrote into a folder, {} where there was none."""
    return _summary(folder) or {}


def _summary(folder: str) -> dict[str, str] | None:
    """What an inspection's summary.json says was written; None where there is none, or another program's."""
    path = storage.join(folder, suggest.SUMMARY)
    if not storage.exists(path):
        return None
    try:
        written = json.loads(storage.read_bytes(path))[WRITTEN]
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    return written if isinstance(written, dict) and all(map(_OTHERS.fullmatch, written)) else None
