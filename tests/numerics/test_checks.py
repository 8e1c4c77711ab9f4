import math

import pytest

from sciml.numerics.checks import (
    check_count,
    check_positive,
    check_power_law,
    check_range,
    check_times,
    equal_times,
    instants,
)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: check_positive(width=1.0, step=0.0), r"^step: got 0.0, need a positive finite number$"),
        (lambda: check_positive(step=math.nan), r"^step: got nan, need a positive finite number$"),
        (lambda: check_positive(step=1e300), r"^step: got 1e\+300, need a positive finite number up to 1e\+100$"),
        (lambda: check_positive(step=1e-300), r"^step: got 1e-300, need a positive finite number from 1e-100 on$"),
        (lambda: check_range(speed=-math.inf), r"^speed: got -inf, need a finite number$"),
        (lambda: check_range(0, drag=-1.0), r"^drag: got -1.0, need a finite number >= 0$"),
        (lambda: check_range(0, 10, alpha=11.0), r"^alpha: got 11.0, need a finite number >= 0 and <= 10$"),
        (lambda: check_count(modes=0), r"^modes: got 0, need at least 1$"),
        (lambda: check_count(modes=math.nan), r"^modes: got nan, need at least 1$"),
        (lambda: check_count(2, frames=1), r"^frames: got 1, need at least 2$"),
        (lambda: check_count(modes=1.5), r"^modes: got 1.5, need a whole number up to 1000000$"),
        (lambda: check_count(modes=math.inf), r"^modes: got inf, need a whole number up to 1000000$"),
        (lambda: check_count(modes=10**12), r"^modes: got 1000000000000, need a whole number up to 1000000$"),
        (lambda: check_times((0.0, 2.0, 1.0, 3.0)), r"^times: got \(0, 2, 1, ...\), need at least two finite ones that grow$"),
        (lambda: check_times((0.0,)), r"^times: got \(0\), need at least two finite ones that grow$"),
        (lambda: check_times((0.0, math.inf)), "need at least two finite ones"),
        (lambda: check_times((0.0, math.nan)), "need at least two finite ones"),
        (lambda: equal_times(1, 1.0), "frames: got 1, need at least 2"),
        (lambda: equal_times(2, 0.0), "duration: got 0.0, need a positive finite number"),
        (lambda: instants(1, 100), "frames: got 1, need at least 2"),
        (lambda: check_power_law(-1.0, 3.0), "alpha: got -1.0"),
        (lambda: check_power_law(2.0, math.inf), "tau: got inf"),
        (lambda: check_power_law(2.0, 3.0, 0.0), "scale: got 0.0"),
    ],
)
def test_the_message_names_the_number_and_what_is_needed(check, message):
    with pytest.raises(ValueError, match=message):
        check()


def test_possible_numbers_pass():
    check_positive(step=1e-100, width=1e100)
    check_range(0, drag=0.0, viscosity=1e100)
    check_count(0, queries=0)
    check_count(modes=1_000_000)
    check_times((-1.0, 0.0, 1e99))
    check_power_law(0.0, 0.0)


def test_instants_are_quotients_of_whole_numbers():
    assert instants(4, 100) == (0.0, 0.01, 0.02, 0.03)
    assert equal_times(4, 1.0) == (0.0, 1 / 3, 2 / 3, 1.0)
