"""Fields to flags: parsing, ranges, messages, flag files."""

import dataclasses

import pytest

from kseg import knobs
from kseg.errors import UsageError
from kseg.knobs import REQUIRED, OneOf, Range, knob


@dataclasses.dataclass(frozen=True)
class Config:
    folder: str = knob(REQUIRED, "Where.")
    size: int = knob(8, "How large.", allowed=Range(low=4, low_open=True), unit="pixels")
    rate: float = knob(0.5, "How fast.", allowed=Range(0, 1, low_open=True))
    kind: str = knob("plain", "Which.", allowed=OneOf(("plain", "fancy")))
    on: bool = knob(True, "Whether.")
    count: int = knob(None, "How many.", allowed=Range(low=1))

    def __post_init__(self):
        knobs.check(self)


def parse(*arguments):
    return knobs.parse(Config, ["program", *arguments])


def test_values_take_the_type_of_their_field():
    config = parse("--folder=x", "--size=5", "--rate=1", "--kind", "fancy", "--noon", "--count=3")
    assert config == Config(folder="x", size=5, rate=1.0, kind="fancy", on=False, count=3)
    assert type(config.rate) is float


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--size=4", "--size=4: allowed: integer, x > 4 (pixels)"),
        ("--size=5.5", "--size=5.5: allowed: integer, x > 4 (pixels) (--help lists the flags)"),
        ("--rate=0", "--rate=0.0: allowed: 0 < x <= 1"),
        ("--rate=nan", "--rate=nan: allowed: 0 < x <= 1"),
        ("--kind=fancyy", "--kind=fancyy: allowed: plain, fancy; did you mean fancy?"),
        ("--rate=inf", "--rate=inf: allowed: 0 < x <= 1"),
        ("--folder=", "--folder=: allowed: text"),
        ("--on=maybe", "--on=maybe: allowed: True, False (--help lists the flags)"),
        ("--sise=5", "Unknown command line flag 'sise'. Did you mean: size ? (--help lists the flags)"),
        ("stray", "'stray' is not a flag: write --name=value (--help lists the flags)"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_allowed(argument, message):
    with pytest.raises(UsageError) as error:
        parse("--folder=x", argument)
    assert str(error.value) == message


def test_missing_required_flag_is_named_after_the_ranges():
    with pytest.raises(UsageError, match=r"--folder is required: Where\. Allowed: text"):
        parse()
    with pytest.raises(UsageError, match="--size=1"):
        parse("--size=1")


def test_library_use_meets_the_same_checks():
    with pytest.raises(UsageError, match=r"--rate=2: allowed: 0 < x <= 1"):
        Config(folder="x", rate=2)
    for wrong in ({"on": "False"}, {"size": 5.5}, {"size": "5"}, {"size": True}, {"rate": "1"}, {"folder": 1}):
        with pytest.raises(UsageError, match=f"--{next(iter(wrong))}=.*: allowed: "):
            Config(**{"folder": "x"} | wrong)


@pytest.mark.parametrize(
    ("interval", "inside", "outside", "words"),
    [
        (Range(2, 254), (2, 254), (1, 255), "2 <= x <= 254"),
        (Range(0, 1, low_open=True, high_open=True), (0.5,), (0, 1, float("nan")), "0 < x < 1"),
        (Range(low=16, low_open=True), (17,), (16, float("inf")), "x > 16"),
        (Range(0, 2**31 - 1), (0, 2**31 - 1), (2**31,), "0 <= x <= 2^31 - 1"),
        (Range(low=1), (1,), (0,), "x >= 1"),
    ],
)
def test_ranges(interval, inside, outside, words):
    assert all(value in interval for value in inside)
    assert not any(value in interval for value in outside)
    assert str(interval) == words


def test_flagfile_and_what_follows_it(tmp_path):
    config = Config(folder="x", size=9, kind="fancy", on=False)
    path = tmp_path / "a.flags"
    path.write_text("# a comment\n" + knobs.to_flagfile(config))
    assert parse(f"--flagfile={path}") == config
    assert parse(f"--flagfile={path}", "--size=10") == dataclasses.replace(config, size=10)


def test_missing_flagfile_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"no\.flags"):
        parse(f"--flagfile={tmp_path}/no.flags")


def test_a_flagfile_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "binary").write_bytes(b"\x7fELF\xff\xfe")
    with pytest.raises(UsageError, match="--flagfile: not UTF-8 text"):
        parse(f"--flagfile={tmp_path}/binary")


def test_help_gives_range_unit_default_and_meaning_of_every_flag():
    text = knobs.help_text(Config, "program", "Does it.")
    assert "--size  [integer, x > 4 (pixels); default 8]\n      How large." in text
    assert "--folder  [text; required]" in text
    assert "--count  [integer, x >= 1; default: not set]" in text
    assert "--on  [True, False; default True]" in text


@dataclasses.dataclass(frozen=True)
class Positional:
    path: str = knob(REQUIRED, "What.", positional=True)
    size: int = knob(8, "How large.")

    def __post_init__(self):
        knobs.check(self)


def test_a_word_that_is_no_flag_is_the_positional_fields_value():
    for words in (["x", "--size=5"], ["--size=5", "x"], ["--path=x", "--size=5"]):
        assert knobs.parse(Positional, ["program", *words]) == Positional("x", 5)
    for words in (["x", "y"], ["--path=x", "y"]):
        with pytest.raises(UsageError, match="'y' is not a flag"):
            knobs.parse(Positional, ["program", *words])
    with pytest.raises(UsageError, match="--path is required"):
        knobs.parse(Positional, ["program"])
    assert "Usage: program PATH [--flagfile=FILE] --flag=value" in knobs.help_text(Positional, "program", "Does it.")
