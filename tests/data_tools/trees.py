"""Folders of empty files, for tests in which only names matter."""

import pathlib


def make_tree(root: pathlib.Path, *names: str) -> str:
    """Makes root/NAME for each, and gives the root's path."""
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return str(root)


def lines(problems) -> list[str]:
    """The problems as a person reads them."""
    return [str(problem) for problem in problems]


def stems(found) -> list[str]:
    return [pair.stem for pair in found.pairs]
