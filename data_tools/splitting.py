"""One split -> train, validation and test, picture by picture, by a hash of the stem."""

import bisect
import hashlib
import itertools
import math

from data_tools.pairs import Found
from kseg.errors import RunError, UsageError

NAMES = ("train", "validation", "test")
SALT = (
    b"split\0"  # the order of the shards is that of the bare stem's hash, which would put a split's pictures together
)
ALLOWED = "two or three numbers above 0 that add up to 1, joined by commas, as 0.8,0.1,0.1"
TOLERANCE = 1e-6  # of the sum


def read_ratios(text: str) -> tuple[float, ...]:
    """The value of --split_ratio as numbers: "0.8,0.1,0.1" -> (0.8, 0.1, 0.1), the shares of NAMES.

    Raises:
        UsageError: naming the flag, unless there are two or three, each above 0, with the sum 1.
    """
    try:
        ratios = tuple(float(word) for word in text.split(","))
    except ValueError:
        ratios = ()
    good = len(ratios) in (2, 3) and all(ratio > 0 for ratio in ratios) and abs(math.fsum(ratios) - 1) <= TOLERANCE
    if not good:
        raise UsageError(f"--split_ratio={text}: allowed: {ALLOWED}")
    return ratios


def split_by_hash(found: Found, ratios: tuple[float, ...]) -> dict[str, Found]:
    """Deals pairs to train, validation and, with three ratios, test; each pair by its stem alone.

    The split of a pair depends on neither the other pairs nor their order: files added later move none. The shares are
    therefore met on average only: of 1,000 pictures 0.1 gets 100 +- 10.

    Frames of one video or tiles of one scene are dealt out singly too, and a model that saw their near-identical
    neighbours scores too well on them: such pictures belong into splits by hand.

    Args:
        found: the pairs; a problem goes where its stem would, and one without a stem where its file's name would.
        ratios: as `read_ratios` gives them.

    Returns:
        split -> its part, sorted as `found` is.

    Raises:
        RunError: if a split gets nothing at all.
    """
    names = NAMES[: len(ratios)]
    edges = tuple(itertools.accumulate(ratios))[:-1]
    pairs = {name: [] for name in names}
    problems = {name: [] for name in names}
    for pair in found.pairs:
        pairs[names[_draw(pair.stem, edges)]].append(pair)
    for problem in found.problems:
        problems[names[_draw(problem.stem or problem.file, edges)]].append(problem)
    empty = [name for name in names if not pairs[name] and not problems[name]]
    if empty:
        raise RunError(
            f"--split_ratio: {' and '.join(empty)} would get none of the {len(found.pairs)} pictures, which a hash of "
            "their names deals out; expected more pictures or another ratio"
        )
    return {name: Found(tuple(pairs[name]), tuple(problems[name])) for name in names}


def _draw(stem: str, edges: tuple[float, ...]) -> int:
    """The number of the interval between `edges` that the stem's hash, as a fraction of 1, falls into."""
    digest = hashlib.sha256(SALT + stem.encode("utf-8", "surrogatepass")).digest()
    return bisect.bisect_right(edges, int.from_bytes(digest[:8], "big") / 2**64)
