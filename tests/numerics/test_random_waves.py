import math

import pytest
import torch

from sciml.numerics.random_fields import Seeds
from sciml.numerics.random_waves import WaveSum

PLACE = torch.linspace(0, 1, 33, dtype=torch.float64)[:-1]


def test_a_sum_is_the_sum_of_its_sines():
    numbers = WaveSum(absolute=0.0, windowed=0.0).draw(Seeds(2, range(1)))
    n1, n2, a1, a2, p1, p2, sign = numbers[0, :7].tolist()
    s = 7 / 32
    expected = sign * (a1 * math.sin(2 * math.pi * n1 * s + p1) + a2 * math.sin(2 * math.pi * n2 * s + p2))
    assert float(WaveSum(absolute=0.0, windowed=0.0)(numbers, PLACE)[0, 7]) == pytest.approx(expected, rel=1e-13)


def test_the_numbers_have_the_published_ranges_and_shares():
    count = 4000
    numbers = WaveSum().draw(Seeds(1, range(count)))
    n, a, phase = numbers[:, :2], numbers[:, 2:4], numbers[:, 4:6]
    assert n.unique().tolist() == list(range(1, 9))
    assert 0 <= float(a.min()) < 0.01 < 0.99 < float(a.max()) < 1
    assert 0 <= float(phase.min()) < 0.1 < 6.2 < float(phase.max()) < 2 * math.pi
    spread = 4 * math.sqrt(0.1 * 0.9 / count)
    for column, share in ((7, 0.1), (8, 0.1)):
        assert float(numbers[:, column].mean()) == pytest.approx(share, abs=spread)
    assert float(numbers[:, 6].mean()) == pytest.approx(0.0, abs=4 / math.sqrt(count))
    assert set(numbers[:, 6].tolist()) == {-1.0, 1.0}
    assert float(numbers[:, 9].min()) >= 0.1
    assert float(numbers[:, 9].max()) < 0.45
    assert float(numbers[:, 10].min()) >= 0.55
    assert float(numbers[:, 10].max()) < 0.9


def test_the_absolute_value_has_one_sign_and_the_window_closes():
    law = WaveSum(absolute=1.0, windowed=1.0)
    numbers = law.draw(Seeds(3, range(50)))
    u = law(numbers, PLACE)
    assert (u * numbers[:, 6:7] >= 0).all()
    # tanh of ten widths: 1 - 4e-9 of a wave is gone at the ends of the period
    assert float(u[:, 0].abs().max()) < 1e-8
    assert float(u.abs().max()) > 0.5


def test_a_function_is_the_same_alone_and_at_any_shape_of_places():
    law = WaveSum()
    numbers = law.draw(Seeds(4, range(6)))
    u = law(numbers, PLACE)
    assert torch.equal(law(law.draw(Seeds(4, range(2, 3))), PLACE)[0], u[2])
    assert torch.equal(law(numbers, PLACE.reshape(4, 8)).flatten(1), u)


@pytest.mark.parametrize(("name", "value"), [("waves", 0), ("largest", 0), ("absolute", 1.5), ("windowed", -0.1)])
def test_a_law_that_is_not_possible_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}: got {value}"):
        WaveSum(**{name: value})
