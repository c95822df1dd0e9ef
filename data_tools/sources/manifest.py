"""A JSON Lines augmented manifest: a line an object, "source-ref" the image and another "…-ref" the mask.

https://docs.aws.amazon.com/sagemaker/latest/dg/augmented-manifest.html; SageMaker Ground Truth writes such files.
"""

import json
from collections.abc import Iterator

from data_tools.pairs import Offered, Place, shown
from data_tools.sources.references import Line, pairs_of, read_input
from kseg import storage
from kseg.errors import RunError

LAYOUT = 'a .manifest, .jsonl or .json file: a line a pair, {"source-ref": IMAGE, "annotation-ref": MASK}'
EXTENSIONS = (".manifest", ".jsonl", ".json")
IMAGE_KEY, REF = "source-ref", "-ref"


def fits(input: str) -> bool:
    """Whether the path is of a manifest, by its extension."""
    return input.lower().endswith(EXTENSIONS) and not storage.is_dir(input)


def find_manifest(place: Place) -> Offered:
    """The pairs of a manifest; references as in `data_tools.sources.references.pairs_of`.

    The mask is the value of the one other key that ends in "-ref", whatever its name. "…-ref-metadata" and all other
    keys are passed over. A line that is no such object is a problem named FILE:LINE.

    Args:
        place: `input`, the file; `split`, the name of the one split.

    Raises:
        UsageError: if `input` is missing, or a flag given that is not used.
        RunError: if the file cannot be read, is not UTF-8, is empty, or is one JSON array.
    """
    path, text = read_input(place, "manifest")
    if text.startswith("["):
        raise RunError(
            f"{shown(path)}: a JSON array; expected JSON Lines, an object a line, without brackets and commas"
        )
    return Offered({place.split or "": pairs_of(path, _lines(text))})


def _lines(text: str) -> Iterator[Line]:
    # Not splitlines: JSON allows U+2028 and the like, which splitlines takes for line breaks, inside a string.
    for number, line in enumerate(text.split("\n"), 1):
        yield _line(number, line)


def _line(number: int, text: str) -> Line:
    if not text.strip():
        return Line(number, fault="an empty line; remove it")
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError) as error:  # RecursionError: of a thousand brackets
        return Line(number, fault=f"not JSON ({error}); expected an object a line")
    if not isinstance(entry, dict):
        return Line(number, fault=f"{shown(text.strip()[:40])} is no JSON object; expected an object a line")
    if IMAGE_KEY not in entry:
        return Line(number, fault=f'no key "{IMAGE_KEY}"; expected it with the image')
    keys = [key for key in entry if key.endswith(REF) and key != IMAGE_KEY]
    if len(keys) != 1:
        listed = f" ({', '.join(map(shown, keys))})" if keys else ""
        return Line(
            number,
            fault=f'{len(keys)} keys that end in "{REF}" besides "{IMAGE_KEY}"{listed}; '
            "expected one, with the mask; rename or remove the others",
        )
    for key in (IMAGE_KEY, keys[0]):
        if not isinstance(entry[key], str) or not entry[key]:
            return Line(number, fault=f'the value of "{shown(key)}" is {json.dumps(entry[key])[:40]}; expected a path')
    return Line(number, entry[IMAGE_KEY], entry[keys[0]])
