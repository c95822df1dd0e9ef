import gluoncv_reference as reference
import keras
import numpy as np
import pytest

from kseg.errors import UsageError
from kseg.schedules import build_schedule

NAMES = ["poly", "cosine", "step"]


def make(name: str, **overrides):
    return build_schedule(
        name, **{"learning_rate": 0.01, "epochs": 4, "steps_per_epoch": 5, "step_epochs": (2, 3)} | overrides
    )


def course(schedule, steps=range(20)) -> list[float]:
    return [float(schedule(np.int64(step))) for step in steps]


@pytest.mark.parametrize("name", reference.SCHEDULES)
def test_every_step_equals_gluoncvs(name):
    schedule = make(name.removeprefix("warm-up + "), warmup_epochs=int(name.startswith("warm-up")))
    np.testing.assert_allclose(course(schedule), reference.SCHEDULES[name], rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["poly", "cosine"])
@pytest.mark.parametrize("warmup_epochs", [0, 1])
def test_the_last_step_and_all_after_it_have_rate_0(name, warmup_epochs):
    assert course(make(name, warmup_epochs=warmup_epochs), (19, 20, 1000)) == [0, 0, 0]


def test_cosine_falls_over_the_epochs_after_the_warm_up():
    """As GluonCV's LRSequential of a linear and a cosine LRScheduler: 1 epoch of warm-up, 3 of cosine."""
    falling = course(make("cosine", epochs=3), range(15))
    want = [0.0, 0.0025, 0.005, 0.0075, 0.01, *falling]
    np.testing.assert_allclose(course(make("cosine", warmup_epochs=1)), want, rtol=1e-6)


def test_steps_count_the_epochs_of_the_warm_up():
    warmed = course(make("step", warmup_epochs=1))
    np.testing.assert_allclose(warmed, [0.0, 0.0025, 0.005, 0.0075, 0.01, *reference.SCHEDULES["step"][5:]], rtol=1e-6)
    early = course(make("step", warmup_epochs=2, step_epochs=(1, 2)))
    np.testing.assert_allclose(early, [*np.linspace(0, 0.01, 10), *[0.0001] * 10], rtol=1e-6)


def test_the_shortest_warm_up_is_one_step_at_rate_0():
    assert course(make("poly", steps_per_epoch=1, epochs=2, warmup_epochs=1), (0, 1)) == pytest.approx([0, 0.01])


@pytest.mark.parametrize("name", ["poly", "cosine"])
def test_a_training_of_one_step_runs_it_at_the_full_rate(name):
    assert float(make(name, epochs=1, steps_per_epoch=1)(0)) == pytest.approx(0.01)


@pytest.mark.parametrize("name", ["poly", "cosine"])
def test_the_last_rates_of_a_long_training_keep_their_digits(name):
    last = 10_000_000 - 1
    schedule = make(name, epochs=1, steps_per_epoch=last + 1)
    want = {"poly": 0.01 * (1 / last) ** 0.9, "cosine": 0.01 * np.sin(np.pi / 2 / last) ** 2}[name]
    assert float(schedule(last - 1)) == pytest.approx(want, rel=1e-5)


def test_step_multiplies_by_the_factor_at_each_boundary():
    schedule = make("step", step_epochs=(1, 3), factor=0.5)
    assert course(schedule, (4, 5, 14, 15)) == pytest.approx([0.01, 0.005, 0.005, 0.0025])


@pytest.mark.parametrize("name", NAMES)
def test_they_survive_serialisation(name):
    schedules = keras.optimizers.schedules
    schedule = make(name, warmup_epochs=1)
    assert course(schedules.deserialize(schedules.serialize(schedule))) == course(schedule)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError, match="--lr_scheduler=linear: allowed: poly, cosine, step"):
        make("linear")
