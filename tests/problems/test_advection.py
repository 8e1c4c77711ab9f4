import itertools
import math

import pytest
import torch

from laws import problem_laws
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.numerics.random_waves import WaveSum
from sciml.problems.advection import Advection, FieldSign, field_sign, pdebench, square_and_arch, square_wave


def period(points, layout="cells"):
    return Domain.box((1.0,), (points,), "periodic", layout)


def both_ends(points):
    return Domain.box((1.0,), (points,), "open", "both_ends")


def answers(problem, domain, count=4, seed=3):
    given = problem.draw(domain, Seeds(seed, range(count)))
    return given | problem.solve(given, domain)


CASES = [
    (lambda: pdebench(0.4, 11), period(64)),
    (lambda: square_wave(11), both_ends(40)),
    (lambda: square_and_arch(11), both_ends(40)),
    (lambda: field_sign(32), period(64, "first_end")),
]


@pytest.mark.parametrize(("make", "domain"), CASES)
def test_advection_passes_the_laws_of_problems(make, domain):
    problem_laws(make(), domain, coarse_error=1e-13)


def test_waves_move_as_their_fourier_series_does():
    # Independent of the law: the first instant alone, shifted by phases of its discrete Fourier transform.
    problem, n = Advection(WaveSum(absolute=0.0, windowed=0.0), 0.7, (0.0, 0.3, 2.0)), 64
    u = answers(problem, period(n))["u"][:, :, 0]
    waves = torch.arange(n // 2 + 1, dtype=torch.float64)
    for i, t in enumerate(problem.times):
        shift = torch.polar(torch.ones_like(waves), -2 * math.pi * waves * 0.7 * t)
        moved = torch.fft.irfft(torch.fft.rfft(u[:, 0]) * shift, n=n)
        # eps of the phase 2π n (x - βt), up to 2π 8 1.4
        assert (moved - u[:, i]).abs().max() < 1e-13


@pytest.mark.parametrize("make", [lambda: pdebench(2.0, 201), square_wave, square_and_arch])
def test_a_whole_period_later_the_function_is_back(make):
    problem = make()
    domain = period(50)
    u = answers(problem, domain)["u"][:, :, 0]
    later = round((len(problem.times) - 1) / problem.times[-1] / problem.speed)
    assert (u[:, later] - u[:, 0]).abs().max() <= 1e-11 * u.abs().max()


def test_the_speed_is_that_of_the_equation():
    # u_t + β u_x by fourth-order differences of the answer; halving the spacings divides what is left by 16.
    def left(points):
        problem = Advection(WaveSum(largest=3, absolute=0.0, windowed=0.0), 0.4, tuple(i / points for i in range(5)))
        u = answers(problem, period(points))["u"][:, :, 0]
        step = 1 / points
        dt = (u[:, 0] - 8 * u[:, 1] + 8 * u[:, 3] - u[:, 4]) / (12 * step)
        middle = u[:, 2]
        dx = (middle.roll(2, -1) - 8 * middle.roll(1, -1) + 8 * middle.roll(-1, -1) - middle.roll(-2, -1)) / (12 * step)
        return float((dt + 0.4 * dx).norm() / math.sqrt(points))

    gaps = [left(n) for n in (64, 128, 256)]
    assert [math.log2(a / b) for a, b in itertools.pairwise(gaps)] == pytest.approx([4.0, 4.0], abs=0.05)


def test_a_square_wave_has_its_height_on_its_width():
    fields = answers(square_wave(40), both_ends(40), count=200)
    height, width, middle = fields["initial"].T
    first = fields["u"][:, 0, 0]
    assert set(first.unique().tolist()) == {0.0, *height.tolist()}
    (x,) = both_ends(40).coordinates()
    assert torch.equal(first > 0, ((x - middle[:, None]).abs() <= width[:, None] / 2))
    for column, low, high in ((height, 1.0, 2.0), (width, 0.3, 0.6), (middle, 0.3, 0.7)):
        assert low <= float(column.min()) < low + 0.02 * (high - low) + 1e-3
        assert high - 0.05 * (high - low) < float(column.max()) < high


def test_both_ends_of_the_period_hold_the_same_square_wave():
    # On the 40 published points x - t falls on the grid again: the wave moves by one point per instant.
    u = answers(square_wave(40), both_ends(40), count=20)["u"][:, :, 0]
    assert torch.equal(u[:, 1, 1:], u[:, 0, :-1])
    assert torch.equal(u[:, :, 0], u[:, :, -1])


def test_an_arch_is_an_ellipse_of_its_height():
    problem, domain = square_and_arch(2), period(4000, "first_end")
    fields = answers(problem, domain, count=8)
    for i, (_, _, _, top, slope, centre) in enumerate(fields["initial"].tolist()):
        right = domain.coordinates()[0] > 0.45
        arch = fields["u"][i, 0, 0][right]
        reach = min(1.0, centre + top / slope) - (centre - top / slope)
        if centre - top / slope > 0.45 and centre + top / slope < 1:
            area = math.pi * top * top / slope / 2
            assert float(arch.sum()) / 4000 == pytest.approx(area, rel=1e-4)
            assert float(arch.max()) == pytest.approx(top, rel=1e-4)
        assert float((arch > 0).sum()) / 4000 <= reach + 1 / 4000


def test_the_sign_is_that_of_the_series():
    law = FieldSign(modes=5)
    numbers = law.draw(Seeds(8, range(3)))
    s = torch.tensor([0.0, 0.13, 0.77], dtype=torch.float64)
    for i, a in enumerate(numbers.tolist()):
        for j, place in enumerate(s.tolist()):
            turns = [2 * math.pi * k * place for k in (1, 1, 2, 2, 3)]
            g = sum(x * (math.cos(w) if m % 2 == 0 else math.sin(w)) for m, (x, w) in enumerate(zip(a, turns, strict=True)))
            assert float(law(numbers, s)[i, j]) == (1.0 if g >= 0 else -1.0)
    # variance 2 (4π² + 9)⁻² of the first mode
    first = FieldSign(modes=1).draw(Seeds(9, range(4000)))
    assert float(first.square().mean()) == pytest.approx(2 / (4 * math.pi**2 + 9) ** 2, rel=4 * math.sqrt(2 / 4000))


@pytest.mark.parametrize(("make", "domain"), CASES[:3])
def test_a_sample_is_the_same_function_on_every_grid(make, domain):
    problem = make()
    if domain.axes[0].layout == "cells":  # the middle one of three fine cells has the centre of the coarse one
        fine, pick = domain.with_points([3 * domain.shape[0]]), slice(1, None, 3)
    else:
        fine, pick = domain.with_points([3 * domain.shape[0] - 2]), slice(0, None, 3)
    coarse_u, fine_u = answers(problem, domain)["u"], answers(problem, fine)["u"][..., pick]
    assert (coarse_u - fine_u).abs().max() < 1e-12


def test_answers_in_single_precision_are_those_in_double():
    problem, domain = pdebench(4.0, 21), period(128)
    given = problem.draw(domain, Seeds(3, range(4)))
    double = problem.solve(given, domain)["u"]
    single = problem.solve({name: values.float() for name, values in given.items()}, domain)["u"]
    assert single.dtype == torch.float32
    # the window's slope of 100 and eight waves enlarge the eps of the place
    assert (single - double).abs().max() < 100 * torch.finfo(torch.float32).eps * double.abs().max()


def test_gradients_reach_the_numbers_of_the_law():
    problem, domain = square_and_arch(3), period(32)
    given = problem.draw(domain, Seeds(1, range(2)))
    numbers = given["initial"].requires_grad_()
    (slope,) = torch.autograd.grad(problem.solve(given, domain)["u"].sum(), numbers)
    assert slope.isfinite().all()
    assert (slope[:, 0] > 0).all()


def test_a_domain_that_is_no_period_is_refused():
    with pytest.raises(ValueError, match="one axis with periodic sides"):
        pdebench().draw(Domain.box((1.0,), (8,), "dirichlet"), Seeds(0, range(1)))
    with pytest.raises(ValueError, match="times: got"):
        Advection(WaveSum(), 1.0, (0.0,))
