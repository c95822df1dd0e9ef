"""Images and masks of the same stem -> pairs, and a problem for everything that has no partner."""

import bisect
import os

from data_tools.pairs import Found, Pair, Problem, shown
from data_tools.sources.listing import Listing
from kseg import storage
from kseg.errors import RunError

SUFFIX_STARTS = ("_", "-", ".", " ")  # of what is taken for a suffix: frame10 is not frame1 with the suffix 0


def pair_up(images: Listing, masks: Listing) -> Found:
    """Pairs each image with the mask whose path in its folder is the same but for extension and suffix.

    A stem that several images or several masks share makes no pair.

    Raises:
        RunError: if there is neither an image nor a mask.
    """
    if not images.names and not masks.names:
        suffix = f"*{masks.suffix}.png" if masks.suffix else ".png"
        raise RunError(
            f"{shown(images.folder)}: no image there ({', '.join(images.extensions)}), "
            f"and no mask in {shown(masks.folder)} ({suffix})"
        )
    problems = (
        *(*images.problems, *masks.problems),
        *(*_repeated(images), *_repeated(masks)),
        *(*_alone(images, masks), *_alone(masks, images)),
    )
    pairs = [
        Pair(stem, images.names[stem][0], images.path(stem), masks.path(stem))
        for stem in sorted(images.names.keys() & masks.names.keys())
        if len(images.names[stem]) == 1 and len(masks.names[stem]) == 1
    ]
    return Found(tuple(pairs), problems)


def _repeated(listing: Listing) -> list[Problem]:
    """A problem for every stem that several files of one folder share."""
    return [
        Problem(
            storage.join(listing.folder, same[1]),
            f"has the stem of {', '.join(map(shown, same[:1] + same[2:]))}; expected one {listing.kind} a stem",
            stem,
        )
        for stem, same in listing.names.items()
        if len(same) > 1
    ]


def _alone(listing: Listing, other: Listing) -> list[Problem]:
    """A problem for every stem without a partner; says so where the other folder has it in another format."""
    stems = sorted((os.path.splitext(name)[0], name) for name in other.files)
    folded = {stem.casefold(): name for stem, name in stems if name.lower().endswith(tuple(other.extensions))}
    problems = []
    for stem in sorted(listing.names.keys() - other.names.keys()):
        named = f"named {shown(stem + other.suffix)}" if other.suffix or listing.suffix else "of that name"
        wanted = f"no {other.kind} {named} in {shown(other.folder)} ({', '.join(other.extensions)})"
        same_stem = _starting(stem + other.suffix, stems)
        hint = ""
        if same_stem is not None and os.path.splitext(same_stem)[0] == stem + other.suffix:
            hint = f"; {shown(same_stem)} there is of another kind"
        elif same_but_case := folded.get((stem + other.suffix).casefold()):
            hint = f"; {shown(same_but_case)} there differs in upper and lower case: rename one"
        elif listing.kind == "image" and not other.suffix:
            hint = _suffix_hint(stem, stems, listing, other)
        problems.append(Problem(listing.path(stem), wanted + hint, stem))
    return problems


def _starting(start: str, stems: list[tuple[str, str]]) -> str | None:
    """The first file whose stem starts so; `stems` are (stem, file), sorted."""
    at = bisect.bisect_left(stems, (start, ""))
    return stems[at][1] if at < len(stems) and stems[at][0].startswith(start) else None


def _suffix_hint(stem: str, stems: list[tuple[str, str]], images: Listing, masks: Listing) -> str:
    """Names the mask of a longer stem that belongs to no other image."""
    for start in SUFFIX_STARTS:
        name = _starting(stem + start, stems)
        longer, extension = os.path.splitext(name or "")
        if name and extension.lower() in masks.extensions and longer not in images.names:
            return f"; {shown(name)} there: is --mask_suffix={shown(longer.removeprefix(stem))} missing?"
    return ""
