"""Values of masks that were spread out to be seen (0, 128, 255), or that are no row of numbers from 0."""

import math
from collections.abc import Collection

from kseg.config.values import MAX_CLASSES
from kseg.labels import IGNORE

MOST_LEVELS = 33  # from 0 to 255: steps of 8 and more


def scaling(values: Collection[int], num_classes: int | None = None) -> dict[int, int] | None:
    """What classes the values are multiples of, if they look scaled.

    They do where no other explanation is left: a value is no class, and all are either 0 to 255 in equal steps
    (rounded either way; 255 is the last class then) or multiples of one number, at least half of which occur (255 is
    ignored then).

    Args:
        values: that occur in masks, 0 to 65535.
        num_classes: None if it is not known.

    Returns:
        {value: class} for the values that occur, None if they do not look scaled.
    """
    values = sorted(values)
    inner = [value for value in values if value not in (0, IGNORE)]
    if not inner:
        # 0 and 255 alone: no class but 0, unless 255 is the other one
        return {0: 0, IGNORE: 1} if values == [0, IGNORE] and num_classes in (None, 2) else None
    if num_classes is not None and max(inner) < num_classes:
        return None
    most = num_classes or MAX_CLASSES
    spread = _spread(values) if IGNORE in values else None
    if spread and max(spread.values()) < most:
        return spread
    step = math.gcd(*inner)
    levels = max(inner) // step + 1
    used = len(inner) + (0 in values)
    if step == 1 or levels > most or 2 * used < levels:
        return None
    return {value: value // step for value in values if value != IGNORE}


def _spread(values: list[int]) -> dict[int, int] | None:
    """The classes if the values are i * 255 / (n - 1) for the least n of which at least half are there."""
    for levels in range(2, MOST_LEVELS + 1):
        step = 255 / (levels - 1)
        classes = {value: round(value / step) for value in values}
        if all(abs(value - number * step) < 1 for value, number in classes.items()):
            return classes if 2 * len(set(classes.values())) >= levels else None
    return None


def ranked(values: Collection[int]) -> dict[int, int]:
    """Value -> its place among the values in rising order, 255 left out: classes for numbers with gaps."""
    return {value: place for place, value in enumerate(sorted(set(values) - {IGNORE}))}
