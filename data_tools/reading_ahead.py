"""Reads remote files in threads before they are wanted.

An S3 server takes some 20 ms to answer, whatever is asked, and a small file is two requests. With that delay, 480 x 360
pictures came at 7 pairs a second one after the other, and at 22, all that the server could, with these threads;
checking a pair takes 1.4 ms. Not worker processes, because each would need TensorFlow for it: 3 s and 500 MB.
"""

import collections
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from data_tools.reading import PictureError, read_file

THREADS = 24  # the AWS SDK in tensorflow-io opens 25 connections; as many things are read ahead, which bounds memory

Item = TypeVar("Item")
Reader = Callable[[str], bytes]  # path -> content, or raises PictureError


@dataclasses.dataclass(frozen=True)
class AlreadyRead:
    """A `Reader` of files that were read, or could not be."""

    content: Mapping[str, bytes | PictureError]

    def __call__(self, path: str) -> bytes:
        """The content of a file; raises the PictureError that reading it met."""
        found = self.content[path]
        if isinstance(found, PictureError):
            raise found
        return found


def read_ahead(items: Iterable[Item], paths: Callable[[Item], Sequence[str]]) -> Iterator[tuple[Item, Reader]]:
    """Each item, in order, with what reads its files.

    Args:
        items: taken THREADS ahead.
        paths: those of an item. Where all are local, they are left to whoever calls the reader.
    """
    items = iter(items)
    executor = ThreadPoolExecutor(THREADS)  # starts no thread before the first remote file

    def start(item: Item) -> tuple[Item, Future | None]:
        remote = any("://" in path for path in paths(item))
        return item, executor.submit(_read, paths(item)) if remote else None

    try:
        waiting = collections.deque(map(start, itertools.islice(items, THREADS)))
        while waiting:
            item, future = waiting.popleft()
            yield item, read_file if future is None else future.result()
            waiting.extend(map(start, itertools.islice(items, 1)))
    finally:
        executor.shutdown(cancel_futures=True)


def _read(paths: Sequence[str]) -> AlreadyRead:
    content = {}
    for path in paths:
        try:
            content[path] = read_file(path)
        except PictureError as error:
            content[path] = error
    return AlreadyRead(content)


def in_parallel(function: Callable, paths: Sequence[str]) -> list:
    """`function` of each path, in order; in threads where they are remote."""
    if not any("://" in path for path in paths):
        return list(map(function, paths))
    with ThreadPoolExecutor(THREADS) as executor:
        return list(executor.map(function, paths))
