"""A CSV file of two columns, image and mask. Not csv.py: the name is Python's."""

import csv
import io
import os
from collections.abc import Iterator

from data_tools.pairs import Offered, Place, shown
from data_tools.sources.references import Line, pairs_of, read_input
from kseg import storage
from kseg.errors import RunError
from kseg.photos import EXTENSIONS

LAYOUT = "a .csv file: a line a pair, IMAGE,MASK; a header line may stand before them"
COLUMNS = 2


def fits(input: str) -> bool:
    """Whether the path is of a CSV file, by its extension."""
    return input.lower().endswith(".csv") and not storage.is_dir(input)


def find_csv(place: Place) -> Offered:
    """The pairs of a CSV file; references as in `data_tools.sources.references.pairs_of`.

    Fields may be quoted as Python's csv module has it (RFC 4180). The first line is a header if none of its fields ends
    in the extension of a picture or is a file. A line of more or fewer fields is a problem named FILE:LINE.

    Args:
        place: `input`, the file; `split`, the name of the one split.

    Raises:
        UsageError: if `input` is missing, or a flag given that is not used.
        RunError: if the file cannot be read, is not UTF-8, is empty, or its quotes do not match.
    """
    path, text = read_input(place, "csv")
    return Offered({place.split or "": pairs_of(path, _lines(path, text))})


def _lines(path: str, text: str) -> Iterator[Line]:
    # strict: an open quote would swallow the rest of the file as one field.
    rows = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    number = 1
    try:
        for index, row in enumerate(rows):
            if index > 0 or not _is_header(row, os.path.dirname(path)):
                yield _line(number, row)
            number = rows.line_num + 1
    except csv.Error as error:
        raise RunError(
            f"{shown(path)}:{number}: not CSV ({error}); are its quotes closed and doubled inside?"
        ) from None


def _is_header(row: list[str], folder: str) -> bool:
    """Whether no field looks like a picture or is a file: pictures may have no extension."""
    return len(row) >= COLUMNS and not any(
        os.path.splitext(cell)[1].lower() in EXTENSIONS
        or "/" in cell
        or (cell.strip() and storage.exists(storage.join(folder, cell.strip())))
        for cell in row
    )


def _line(number: int, row: list[str]) -> Line:
    cells = [cell.strip() for cell in row]
    if not any(cells):
        return Line(number, fault="an empty line; remove it")
    if len(cells) != COLUMNS:
        hint = "; separate them by a comma" if len(cells) == 1 and ";" in cells[0] else ""
        return Line(number, fault=f"{len(cells)} columns; expected {COLUMNS}: image,mask{hint}")
    if not all(cells):
        return Line(number, fault="an empty field; expected image,mask")
    return Line(number, *cells)
