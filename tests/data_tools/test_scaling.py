import pytest

from data_tools.inspection.scaling import outliers, ranked, scaling


@pytest.mark.parametrize(
    ("values", "num_classes", "expected"),
    [
        ({0, 128, 255}, None, {0: 0, 128: 1, 255: 2}),
        ({0, 127, 255}, 3, {0: 0, 127: 1, 255: 2}),
        ({0, 255}, None, {0: 0, 255: 1}),
        ({0, 255}, 2, {0: 0, 255: 1}),
        ({0, 85, 170, 255}, 4, {0: 0, 85: 1, 170: 2, 255: 3}),
        ({0, 51, 102, 153, 255}, None, {0: 0, 51: 1, 102: 2, 153: 3, 255: 5}),
        ({0, 20, 40, 60, 255}, 5, {0: 0, 20: 1, 40: 2, 60: 3}),  # 255 is no step of 20: it stays what is ignored
        ({0, 23, 46, 230, 255}, 11, None),  # 3 of 10 steps: less than half
        ({0, 256, 512}, 3, {0: 0, 256: 1, 512: 2}),  # 16 bits
        ({0, 257, 514, 65535}, 3, {0: 0, 257: 1, 514: 2, 65535: 255}),  # 8 bits to 16, times 257: 255 is 65535
        ({0, 514, 1028, 65535}, None, {0: 0, 514: 2, 1028: 4, 65535: 255}),  # and 257 the factor, though all are even
        ({0, 256, 512, 65280}, None, {0: 0, 256: 1, 512: 2, 65280: 255}),
        ({0, 256, 512, 65535}, None, {0: 0, 256: 1, 512: 2, 65535: 255}),
        ({0, 65535}, None, {0: 0, 65535: 1}),
    ],
)
def test_scaled_values(values, num_classes, expected):
    assert scaling(values, num_classes) == expected


@pytest.mark.parametrize(
    ("values", "num_classes"),
    [
        ({0, 1, 2, 255}, None),
        ({0, 1, 2, 3}, 3),
        ({0, 2, 255}, 3),  # two classes of three: nothing wrong
        ({0, 255}, 5),
        ({0}, None),
        ({255}, None),
        (set(), None),
        ({0, 50, 100}, 2),  # three steps do not fit two classes
    ],
)
def test_values_that_are_not_scaled(values, num_classes):
    assert scaling(values, num_classes) is None


def test_ranks_leave_255_out():
    assert ranked([33, 7, 255, 11, 7]) == {7: 0, 11: 1, 33: 2}


@pytest.mark.parametrize(
    ("values", "num_classes", "expected"),
    [
        ({0, 1, 2, 254, 255}, None, (254,)),
        ({0, 1, 3, 253, 254}, None, (253, 254)),
        ({0, 1, 65535}, None, (65535,)),
        ({0, 1, 2, 254}, 3, (254,)),
        ({0, 1, 3, 254}, 3, ()),  # 3 is no class either: something else is wrong
        ({0, 1, 2, 33}, None, ()),
        ({0, 1, 2, 34}, None, (34,)),
        ({7, 11, 26, 254}, None, ()),  # numbers with gaps: no row to be outside of
        ({0, 254}, None, ()),
        ({0, 1, 255}, None, ()),
    ],
)
def test_values_far_above_the_classes(values, num_classes, expected):
    assert outliers(values, num_classes) == expected
