"""How long a remote storage that does not answer is waited for."""

import pytest

from kseg.errors import RunError, UnreachableError, UsageError
from kseg.retries import PATIENCE, SETTING, Outage


class Clock:
    """Seconds that pass only where somebody says so."""

    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def storage(clock: Clock, away: float, lasting: float):
    """A request that fails until the clock shows `away`, each time after `lasting` seconds; and its calls."""
    calls = []

    def request(answer):
        calls.append(clock.now)
        if clock.now < away:
            clock.now += lasting
            raise UnreachableError("s3://bucket/x: no access")
        return answer

    return request, calls


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def outage(clock):
    """Of a storage that answered once."""
    made = Outage(clock, clock.sleep)
    made.retried(lambda: None)
    return made


def test_it_is_asked_again_and_that_is_said_once(outage, clock, capsys):
    request, calls = storage(clock, away=120, lasting=0.0)
    assert outage.retried(request, "answer") == "answer"
    assert [call - 100 for call in calls] == [0, 1, 3, 7, 11, 15, 19, 23]
    assert capsys.readouterr().out.splitlines() == [
        f"s3://bucket/x: no access; trying again for {PATIENCE:g} seconds",
        "the storage answers again, after 23 seconds",
    ]


@pytest.mark.parametrize("lasting", [0.0, 3.0, 12.0, 24.0])
def test_it_is_given_up_in_time_however_long_a_request_takes(outage, clock, lasting):
    request, calls = storage(clock, away=1e9, lasting=lasting)
    with pytest.raises(UnreachableError, match="no access"):
        outage.retried(request, "answer")
    assert clock.now - 100 <= PATIENCE
    ended, count = clock.now, len(calls)
    with pytest.raises(UnreachableError, match="no access"):
        outage.retried(request, "what is tidied up")
    assert (clock.now, len(calls)) == (ended, count)  # at once, without another request
    clock.now += 100
    with pytest.raises(UnreachableError):
        outage.retried(request, "later")
    assert len(calls) > count


def test_patience_is_shared_by_all_that_is_asked(outage, clock):
    """What fails in the midst of an outage has the rest of its time only."""
    request, _ = storage(clock, away=1e9, lasting=0.0)

    def other():
        with pytest.raises(UnreachableError):
            outage.retried(request, "inner")
        raise UnreachableError("outer")

    with pytest.raises(UnreachableError, match="no access"):
        outage.retried(other)
    assert clock.now - 100 <= PATIENCE


def test_who_never_answered_is_not_waited_for(clock, capsys):
    request, calls = storage(clock, away=1e9, lasting=1.0)
    with pytest.raises(UnreachableError):
        Outage(clock, clock.sleep).retried(request, "answer")
    assert len(calls) == 1
    assert capsys.readouterr().out == ""


def test_the_environment_says_how_long(outage, clock, monkeypatch):
    monkeypatch.setenv(SETTING, "10")
    request, _ = storage(clock, away=1e9, lasting=0.0)
    with pytest.raises(UnreachableError):
        outage.retried(request, "answer")
    assert 1 <= clock.now - 100 <= 10
    clock.now += 100
    monkeypatch.setenv(SETTING, "long")
    with pytest.raises(UsageError, match="KSEG_STORAGE_PATIENCE=long in the environment: allowed: a number of seconds"):
        outage.retried(request, "answer")


def test_other_errors_are_not_tried_again(outage):
    def request():
        calls.append(1)
        raise RunError("denied")

    calls = []
    with pytest.raises(RunError, match="denied"):
        outage.retried(request)
    assert len(calls) == 1
