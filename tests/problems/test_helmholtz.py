import itertools
import math

import pytest
import torch

from laws import problem_laws
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.helmholtz import Helmholtz, WaveSpeed

LOW = Helmholtz(frequency=150.0)


def box(points, lengths=(1.0, 1.0)):
    shape = points if isinstance(points, tuple) else (points, points)
    return Domain.box(lengths, shape, "neumann")


def relative_error(problem, domain):
    given, exact = problem.exact(domain)
    u = problem.solve(given, domain)["u"]
    return float((domain.norm(u - exact["u"]) / domain.norm(exact["u"])).squeeze())


@pytest.mark.parametrize(("lengths", "shape"), [((1.0, 1.0), (1, 1)), ((1.0, 0.7), (2, 1))])
def test_constant_speed_is_solved_at_second_order(lengths, shape):
    errors = [relative_error(LOW, box(tuple(32 * m * n + 1 for n in shape), lengths)) for m in (1, 2, 4)]
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert slopes[-1] == pytest.approx(2.0, abs=0.05)


def test_the_exact_answer_has_the_load_as_slope_on_its_side_and_none_on_the_opposite():
    domain = box((101, 2001))
    _, exact = LOW.exact(domain)
    u = exact["u"][0, 0]
    h = domain.spacing[1]
    last, first = (3 * v[:, 0] - 4 * v[:, 1] + v[:, 2] for v in (u.flip(1), u))
    assert float(last[50]) / (2 * h) == pytest.approx(1.0, abs=1e-3)
    assert float(last[[10, 90]].abs().max()) / (2 * h) < 1e-3
    assert float(first.abs().max()) / (2 * h) < 1e-4


def test_the_load_is_one_at_the_published_nodes():
    _, (load,) = Helmholtz().system(torch.full((1, 101, 101), 20.0, dtype=torch.float64), box(101))
    assert not load[:, :-1].any()
    inner = load[37:64, -1]
    assert torch.allclose(inner, torch.full_like(inner, 0.01), rtol=1e-12)
    # A node beside the plateau has but the end of the ramp.
    assert load[[35, 65], -1].tolist() == pytest.approx([0.01 / 6] * 2, rel=1e-10)
    assert float(load[:35].abs().max()) < 1e-16
    assert float(load[66:].abs().max()) < 1e-16


def test_the_speed_is_the_published_sum_of_waves():
    domain = box(21)
    c = WaveSpeed().draw(domain, Seeds(4, range(2)))
    numbers = Seeds(4, range(2)).normal("speed", 100)[1].tolist()
    pairs = sorted(((i, j) for i in range(30) for j in range(30) if i + j), key=lambda k: k[0] ** 2 + k[1] ** 2)
    x, y = 7 / 20, 3 / 20

    def wave(k, z):
        return math.cos(math.pi * k * z) * (2**0.5 if k else 1.0)

    g = sum(
        n / (math.pi**2 * (i * i + j * j) + 9) * wave(i, x) * wave(j, y) for n, (i, j) in zip(numbers, pairs[:100], strict=True)
    )
    assert float(c[1, 7, 3]) == pytest.approx(20 + math.tanh(g), rel=1e-14)


def test_more_waves_leave_the_first_as_they_are():
    domain = box(17)
    few, many = (torch.atanh(WaveSpeed(modes=m).draw(domain, Seeds(4, range(1))) - 20) for m in (8, 100))
    wave = torch.cos(math.pi * domain.mesh()[0])[None]
    first = [float(domain.inner(g, wave).squeeze()) for g in (few, many)]
    assert first[0] == pytest.approx(first[1], rel=1e-10)


def test_a_sample_has_the_same_speed_on_every_grid():
    coarse, fine = (Helmholtz().draw(box(n), Seeds(5, range(2)))["c"] for n in (26, 101))
    assert torch.allclose(coarse, fine[..., ::4, ::4], rtol=1e-14)


def test_the_published_size_meets_the_residual_and_sees_a_wrong_answer():
    domain = box(101)
    given = Helmholtz().draw(domain, Seeds(1, range(2)))
    fields = given | Helmholtz().solve(given, domain)
    assert (Helmholtz().residual(fields, domain) <= 1e-12).all()
    assert (Helmholtz().residual(fields | {"u": fields["u"] * 1.001}, domain) > 5e-4).all()


def test_the_gradient_by_the_speed_is_right():
    domain = box((13, 11))
    problem = Helmholtz(frequency=60.0)
    c = problem.draw(domain, Seeds(2, range(2)))["c"]
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(c.shape, dtype=c.dtype, generator=generator)
    weights = torch.randn(c.shape, dtype=c.dtype, generator=generator)

    def value(shift):
        return (weights * problem.solve({"c": c + shift * direction}, domain)["u"]).sum()

    leaf = c.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((weights * problem.solve({"c": leaf}, domain)["u"]).sum(), leaf)
    slope, difference = (gradient * direction).sum(), (value(1e-5) - value(-1e-5)) / 2e-5
    assert float(slope) == pytest.approx(float(difference), rel=1e-6)


def test_single_precision_loses_the_digits_of_the_speed_only():
    domain = box(101)
    given = Helmholtz().draw(domain, Seeds(2, range(2)))
    u, single = (Helmholtz().solve({"c": c}, domain)["u"] for c in (given["c"], given["c"].float()))
    assert single.dtype == torch.float32
    # Half an eps of c is as much of the frequency, of which the nearest resonance is some 1e-4 away.
    assert float((single - u).norm() / u.norm()) < torch.finfo(torch.float32).eps / 1e-4


def test_too_few_points_per_wave_are_told_with_the_number_that_would_do():
    speed = {"c": torch.full((1, 1, 41, 41), 20.0, dtype=torch.float64)}
    with pytest.warns(UserWarning, match="81 points give 10 per wavelength"):
        Helmholtz().solve(speed, box(41))
    speed = {"c": torch.full((1, 1, 21, 21), 20.0, dtype=torch.float64)}
    with pytest.raises(ValueError, match=r"got 21 points, 2\.5 per wavelength 0\.126, need 33 points at least"):
        Helmholtz().solve(speed, box(21))


def test_parameters_speeds_and_sides_that_do_not_work_are_refused():
    with pytest.raises(ValueError, match="frequency: got 0, need a positive finite number"):
        Helmholtz(frequency=0)
    with pytest.raises(ValueError, match="four coordinates that grow"):
        Helmholtz(load=(0.4, 0.4, 0.6, 0.6))
    with pytest.raises(ValueError, match=r"c: got a wave speed of 0\.0"):
        LOW.solve({"c": torch.zeros(1, 1, 33, 33, dtype=torch.float64)}, box(33))
    with pytest.raises(ValueError, match="neumann sides"):
        LOW.draw(Domain.box((1.0, 1.0), (33, 33), "dirichlet"), Seeds(0, range(1)))


def test_helmholtz_passes_the_laws_of_problems():
    problem_laws(LOW, box(33), coarse_error=0.2)
