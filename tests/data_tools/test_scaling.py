import pytest

from data_tools.inspection.scaling import ranked, scaling


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
