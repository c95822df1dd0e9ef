"""Which colours palette masks show their values in, and which masks have them in another order."""

import collections
from collections.abc import Iterable, Sequence

from data_tools.inspection.facts import PictureFacts

CLEARLY = 2  # times as many masks have a colour under one index as under another: the other is a stray


def majority_palette(pictures: Iterable[PictureFacts]) -> dict[int, tuple[int, int, int]]:
    """Value -> the colour that most palette masks show it in."""
    return {value: counts.most_common(1)[0][0] for value, counts in _votes(pictures).items()}


def _votes(pictures: Iterable[PictureFacts]) -> dict[int, collections.Counter]:
    votes = collections.defaultdict(collections.Counter)
    for picture in pictures:
        for value, color in picture.palette.items():
            votes[value][color] += 1
    return votes


def misordered(pictures: Iterable[PictureFacts]) -> frozenset[tuple[str, str]]:
    """(split, name) of palette masks that say by one index what the usual ones say by another.

    The usual ones are those of the split whose masks agree best on the colours, of the largest among equals: a program
    that counts the colours anew in each mask makes them differ. Where two indices have one colour in about as many of
    them, what is what is not to be told. One contradiction counts where the index has a usual colour of its own, else
    two: the colours of a stray value are padding.
    """
    by_split = collections.defaultdict(list)
    for one in pictures:
        if one.palette:
            by_split[one.split].append(one)
    if not by_split:
        return frozenset()
    votes = _votes(max(by_split.values(), key=lambda ones: (_agreement(ones), len(ones))))
    usual = {value: counts.most_common(1)[0] for value, counts in votes.items()}
    index_of = {}
    for color in {color for color, _ in usual.values()}:
        ranks = sorted(((count, index) for index, (other, count) in usual.items() if other == color), reverse=True)
        if len(ranks) == 1 or ranks[0][0] >= CLEARLY * ranks[1][0]:
            index_of[color] = ranks[0][1]
    odd, once = set(), (None, 1)
    for one in (one for ones in by_split.values() for one in ones):
        wrong = {color: index for index, color in one.palette.items() if index_of.get(color, index) != index}
        if len(wrong) > 1 or any(usual.get(index, once)[1] > 1 for index in wrong.values()):
            odd.add((one.split, one.name))
    return frozenset(odd)


def _agreement(pictures: Sequence[PictureFacts]) -> float:
    """Share of the palettes' entries that are as in most masks; to a hundredth, so that one odd mask is no matter."""
    votes = _votes(pictures).values()
    return round(sum(max(counts.values()) for counts in votes) / sum(counts.total() for counts in votes), 2)
