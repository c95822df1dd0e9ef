"""Values of masks that were spread out to be seen (0, 128, 255), or that are no row of numbers from 0."""

import math
from collections.abc import Collection

from kseg.config.values import MAX_CLASSES
from kseg.labels import IGNORE

MOST_LEVELS = 33  # from 0 to 255: steps of 8 and more
HIGHEST = 65535  # of 16 bits
# A value this far above a row of classes was chosen to stand apart, as 254, 250, 100 and 99 are for a second void.
FAR = 32


def scaling(values: Collection[int], num_classes: int | None = None) -> dict[int, int] | None:
    """What classes the values are multiples of, if they look scaled.

    They do where no other explanation is left: a value is no class, and all are either 0 to 255 in equal steps
    (rounded either way; 255 is the last class then) or multiples of one number, at least half of which occur (255 is
    ignored then, and of 16 bits 65535 and 255 times the number: 8 bits brought to 16 are multiplied by 257 or 256).

    Args:
        values: that occur in masks, 0 to 65535.
        num_classes: None if it is not known.

    Returns:
        {value: class, or 255 for an ignored one above 255} for the values that occur, None if they do not look scaled.
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
    step, ignored = _step(inner)
    steps = [value for value in inner if value != ignored]
    levels = max(steps) // step + 1
    used = len(steps) + (0 in values)
    if step == 1 or levels > most or 2 * used < levels:
        return None
    return {value: IGNORE if value == ignored else value // step for value in values if value != IGNORE}


def _step(inner: list[int]) -> tuple[int, int | None]:
    """The common factor of rising values, and which of them is what 255 became."""
    step = math.gcd(*inner)
    if step > 1 and len(inner) > 1 and inner[-1] == IGNORE * step:
        return step, inner[-1]
    if inner[-1] == HIGHEST and len(inner) > 1:
        return math.gcd(*inner[:-1]), HIGHEST
    return step, None


def outliers(values: Collection[int], num_classes: int | None = None) -> tuple[int, ...]:
    """One or two values far above all others, which are a row from 0: what else but 255 is ignored, most likely.

    Args:
        values: that occur in masks, 0 to 65535.
        num_classes: how long the row is, None if it is not known: at least half of its numbers must occur then.

    Returns:
        They, rising; () where there are none, or other values are no class either.
    """
    row = sorted(set(values) - {IGNORE})
    for count in (2, 1):
        below, far = row[:-count], row[-count:]
        if len(below) <= count or far[0] < FAR + (below[-1] if num_classes is None else num_classes - 1):
            continue
        if below[-1] < num_classes if num_classes is not None else is_dense(below):
            return tuple(far)
    return ()


def is_dense(values: Collection[int]) -> bool:
    """Whether at least half of the numbers from 0 to the highest occur."""
    return bool(values) and 2 * len(set(values)) > max(values)


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
