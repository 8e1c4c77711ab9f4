import itertools
import math

import pytest
import torch

from sciml.numerics.domain import Domain
from sciml.numerics.finite_volumes import advance, face_values, limited_slope, outflow


def line(points, sides="periodic", layout="cells"):
    return Domain.box((1.0,), (points,), sides, layout)


def upwind(left, right, axis):
    """The flux of q_t + q_x = 0."""
    return left


def carried(points, law, *, courant=0.4, time=1.0):
    domain = line(points)
    q = law(domain.coordinates()[0])[None, None]
    steps = round(time * points / courant)
    return advance(q, lambda q: -outflow(q, upwind, domain), time / steps, steps)[0, 0] - q[0, 0]


def test_a_slope_is_the_mean_where_it_is_smooth_and_bounded_elsewhere():
    back = torch.tensor([1.0, 1.0, 1.0, -2.0, 1.0, 0.0], dtype=torch.float64)
    ahead = torch.tensor([1.2, 5.0, -1.0, -0.5, 0.0, 3.0], dtype=torch.float64)
    assert limited_slope(back, ahead).tolist() == [1.1, 2.0, 0.0, -1.0, 0.0, 0.0]


def test_a_straight_line_is_exact_at_faces():
    domain = line(8, "open")
    x = domain.coordinates()[0]
    left, right = face_values((3 * x - 1)[None, None], domain, 0)
    faces = 3 * torch.arange(9, dtype=torch.float64) / 8 - 1
    assert left.shape[-1] == 9
    # beside the sides two equal cells stand beyond, and the slope is 0 there
    assert torch.allclose(left[0, 0, 2:8], faces[2:8], atol=1e-14)
    assert torch.allclose(right[0, 0, 1:7], faces[1:7], atol=1e-14)
    assert float(left[0, 0, 0]) == pytest.approx(3 / 16 - 1)


def test_faces_of_a_periodic_axis_close():
    left, right = face_values(torch.rand(2, 3, 7, dtype=torch.float64), line(7), 0)
    assert torch.equal(left[..., 0], left[..., -1])
    assert torch.equal(right[..., 0], right[..., -1])


def test_axes_are_treated_alike():
    square = Domain.box((1.0, 1.0), (6, 6), ("open", "periodic"), "cells")
    turned = Domain.box((1.0, 1.0), (6, 6), ("periodic", "open"), "cells")
    q = torch.rand(2, 1, 6, 6, dtype=torch.float64)
    assert torch.equal(outflow(q, upwind, square), outflow(q.mT, upwind, turned).mT)


def test_a_smooth_wave_is_carried_at_second_order():
    errors = [float(carried(n, lambda x: torch.sin(2 * math.pi * x)).abs().mean()) for n in (80, 160, 320)]
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert slopes == pytest.approx([2.0, 2.0], abs=0.2)


def test_a_jump_is_carried_at_two_thirds_of_an_order():
    # Order p at smooth data is p / (p + 1) in L1 at a jump that is carried, for p = 2 (Hedstrom 1975).
    errors = [float(carried(n, lambda x: (x < 0.5).double()).abs().mean()) for n in (50, 100, 200)]
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert slopes == pytest.approx([2 / 3, 2 / 3], abs=0.1)


def test_no_new_extrema_and_nothing_is_lost():
    q = carried(100, lambda x: (x < 0.5).double(), time=0.37) + (line(100).coordinates()[0] < 0.5)
    assert float(q.min()) >= -1e-14
    assert float(q.max()) <= 1 + 1e-14
    assert float(q.sum()) == pytest.approx(50.0, abs=1e-12)


def test_steps_in_time_are_of_second_order():
    def error(steps):
        end = advance(torch.ones(1, 1, 1, dtype=torch.float64), lambda q: -q * q, 1.0 / steps, steps)
        return abs(float(end) - 0.5)  # 1 / (1 + t)

    slopes = [math.log2(a / b) for a, b in itertools.pairwise([error(n) for n in (40, 80, 160)])]
    assert slopes == pytest.approx([2.0, 2.0], abs=0.05)


@pytest.mark.parametrize(("sides", "layout"), [("dirichlet", "cells"), ("open", "both_ends")])
def test_other_sides_are_refused(sides, layout):
    with pytest.raises(ValueError, match="need open or periodic sides"):
        face_values(torch.zeros(1, 1, 5), line(5, sides, layout), 0)
