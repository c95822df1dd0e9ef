import hashlib

import pytest

from data_tools.pairs import Found, Pair, Problem
from data_tools.splitting import read_ratios, split_by_hash
from kseg.errors import RunError, UsageError

RATIOS = (0.8, 0.1, 0.1)


def found(stems, problems=()):
    return Found(tuple(Pair(stem, f"{stem}.jpg", f"i/{stem}.jpg", f"m/{stem}.png") for stem in stems), tuple(problems))


def splits_of(stems, ratios=RATIOS):
    return {pair.stem: name for name, part in split_by_hash(found(stems), ratios).items() for pair in part.pairs}


def test_every_pair_goes_to_the_split_that_its_hash_says():
    stems = [f"{number:04}" for number in range(1000)]
    parts = split_by_hash(found(stems), RATIOS)
    assert list(parts) == ["train", "validation", "test"]
    # mean 800, 100, 100; deviations 13, 9.5, 9.5 (binomial), of which four are allowed
    assert abs(len(parts["train"].pairs) - 800) < 52
    assert abs(len(parts["validation"].pairs) - 100) < 38
    names = splits_of(stems)
    assert sorted(names) == stems
    for stem in stems[:50]:
        draw = int(hashlib.sha256(b"split\0" + stem.encode()).hexdigest()[:16], 16) / 2**64
        assert names[stem] == ("train" if draw < 0.8 else "validation" if draw < 0.9 else "test")
    assert all(
        [pair.stem for pair in part.pairs] == sorted(pair.stem for pair in part.pairs) for part in parts.values()
    )


def test_files_added_later_move_no_other():
    first = splits_of([f"a{number}" for number in range(100)])
    later = splits_of([f"b{number}" for number in range(100)] + [f"a{number}" for number in range(100)])
    assert {stem: later[stem] for stem in first} == first


def test_a_larger_share_of_train_takes_pictures_from_the_others_only():
    stems = [f"a{number}" for number in range(200)]
    small, large = splits_of(stems, (0.5, 0.5)), splits_of(stems, (0.7, 0.3))
    assert set(small.values()) == {"train", "validation"}
    assert all(large[stem] == "train" for stem in stems if small[stem] == "train")


def test_is_independent_of_the_order_of_the_shards():
    stems = [f"a{number}" for number in range(400)]
    names = splits_of(stems, (0.5, 0.5))
    ordered = sorted(stems, key=lambda stem: hashlib.sha256(stem.encode()).digest())
    assert 70 < sum(names[stem] == "train" for stem in ordered[:200]) < 130


def test_a_problem_goes_where_its_stem_goes():
    stems = [f"a{number}" for number in range(100)]
    problems = [Problem(f"m/{stem}.png", "odd", stem) for stem in stems] + [Problem("list:3", "empty")]
    parts = split_by_hash(found(stems, problems), RATIOS)
    assert all(
        [problem.stem for problem in part.problems if problem.stem] == [pair.stem for pair in part.pairs]
        for part in parts.values()
    )
    assert sum(len(part.problems) for part in parts.values()) == 101


def test_refuses_a_split_without_pictures():
    with pytest.raises(RunError, match=r"--split_ratio: .*test would get none of the 2 pictures"):
        split_by_hash(found(["a", "b"]), (0.5, 0.499, 0.001))


def test_ratios():
    assert read_ratios("0.8,0.1,0.1") == RATIOS
    assert read_ratios(" 0.75, 0.25") == (0.75, 0.25)
    assert read_ratios("0.333333,0.333333,0.333334") == (0.333333, 0.333333, 0.333334)


@pytest.mark.parametrize(
    "text",
    ["", "1", "0.8", "0.8,0.1", "1,0", "1.1,-0.1", "0.5;0.5", "0.25,0.25,0.25,0.25", "nan,0.5", "inf,-inf", "a,b"],
)
def test_refuses_other_ratios(text):
    with pytest.raises(UsageError, match=f"--split_ratio={text}: allowed: two or three numbers above 0"):
        read_ratios(text)
