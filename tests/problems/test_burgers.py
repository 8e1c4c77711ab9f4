import itertools
import math
import warnings

import numpy as np
import pytest
import scipy.special
import torch

from laws import problem_laws
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.burgers import Burgers, BurgersMap, Flow, InitialLaw, in_time, published

SMALL = InitialLaw(modes=129)
SMOOTH = InitialLaw(alpha=4.0, tau=5.0, scale=625.0, modes=65)


def period(points, length=1.0):
    return Domain.box((length,), (points,), "periodic")


def sine_wave_at(x, time, viscosity):
    """The solution from sin(2π x) on the unit period, by the Fourier series of θ (Cole 1951)."""
    strength, n = 1 / (4 * math.pi * viscosity), np.arange(1, 200)
    weights = 2 * scipy.special.ive(n, strength) * np.exp(-viscosity * (2 * math.pi * n) ** 2 * time)
    phase = 2 * math.pi * np.outer(x, n)
    theta = scipy.special.ive(0, strength) + np.cos(phase) @ weights
    return torch.from_numpy(2 * viscosity * (np.sin(phase) @ (2 * math.pi * n * weights)) / theta)


def solved(points, step, viscosity, time=0.5):
    domain = period(points)
    (x,) = domain.coordinates()
    flow = Flow(viscosity, step)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of coarse grids, whose errors are wanted
        u = flow.frames(torch.sin(2 * math.pi * x)[None], domain, (0.0, time))[0, -1]
    true = sine_wave_at(x.numpy(), time, viscosity)
    return float((u - true).norm() / true.norm())


@pytest.mark.parametrize(("viscosity", "points"), [(0.1, 64), (0.01, 512)])
def test_a_sine_wave_steepens_as_coles_series_says(viscosity, points):
    assert solved(points, 1e-3, viscosity) < 1e-9


def test_the_error_falls_with_the_fourth_power_of_the_step():
    errors = [solved(256, step, 0.02) for step in (0.5 / 50, 0.5 / 100, 0.5 / 200)]
    assert [math.log2(a / b) for a, b in itertools.pairwise(errors)] == pytest.approx([4.0, 4.0], abs=0.2)


def test_the_error_falls_exponentially_with_the_grid():
    # As many digits are gained by each 12 points, 4 kept waves, more.
    errors = [math.log10(solved(points, 1e-3, 0.03)) for points in (36, 48, 60, 72)]
    gained = [a - b for a, b in itertools.pairwise(errors)]
    assert min(gained) > 1.4
    assert max(gained) - min(gained) < 0.1


@pytest.mark.parametrize("points", [96, 97])
def test_the_exact_distance_agrees_with_coles_series(points):
    domain, viscosity = period(points), 0.03
    (x,) = domain.coordinates()
    first, true = torch.sin(2 * math.pi * x)[None], sine_wave_at(x.numpy(), 0.5, viscosity)[None]
    flow = Flow(viscosity, 0.1)
    assert float(flow.error(first, true, domain, 0.5)) < 1e-12
    assert float(flow.error(first, true * 1.001, domain, 0.5)) == pytest.approx(1e-3, rel=1e-6)


def test_the_exact_wave_is_carried_by_its_mean():
    domain = period(128, 2.0)
    flow = Flow(0.1, 0.1)
    first, last = flow.wave(domain, (0.0, 0.7))
    # By the integral of Cole and Hopf, with which the formula has nothing in common but the equation.
    assert float(flow.error(first[None], last[None], domain, 0.7)) < 1e-12
    assert float(last.mean()) == pytest.approx(0.3, abs=1e-14)


@pytest.mark.parametrize("points", [256, 275])
def test_burgers_passes_the_laws_of_problems(points):
    problem_laws(BurgersMap(Flow(0.1, 0.005), SMALL), period(points), coarse_error=5e-7)
    times = (0.0, 0.1, 0.25, 0.5)
    problem_laws(Burgers(Flow(0.05, 0.005), SMALL, times), period(points), coarse_error=5e-7)


def test_the_default_steps_keep_their_promise_on_the_published_grid():
    for problem, domain in ((published(0.1), period(1024)), (published(1e-2), period(1024)), (in_time(), period(512))):
        given = problem.draw(domain, Seeds(11, range(2)))
        assert (problem.residual(given | problem.solve(given, domain), domain) <= problem.tolerance).all()


def test_mean_and_energy_budget_are_kept():
    # d/dt ∫ u²/2 = -nu ∫ u_x²; the integral in time by Simpson's rule on many instants.
    times = tuple(i / 200 for i in range(41))
    problem, domain = Burgers(Flow(0.02, 0.005), SMOOTH, times), period(256)
    given = problem.draw(domain, Seeds(1, range(3)))
    fields = problem.solve(given, domain)
    for change in problem.conserved(fields, domain).values():
        assert (change < 1e-14).all()
    u = fields["u"][:, :, 0]
    k = 2 * math.pi * torch.arange(129, dtype=torch.float64)
    slope = torch.fft.irfft(1j * k * torch.fft.rfft(u), n=256)
    energy, loss = u.square().mean(-1) / 2, 0.02 * slope.square().mean(-1)
    weights = torch.tensor([1.0, *[4.0, 2.0] * 19, 4.0, 1.0], dtype=torch.float64) / 600
    budget = energy[:, 0] - energy[:, -1] - loss @ weights
    # Simpson's error on a loss that changes over about a third of the time span
    assert (budget.abs() < 1e-5 * energy[:, 0]).all()
    backwards = {"u": fields["u"].flip(1)}
    assert (problem.conserved(backwards, domain)["energy gained"] > 0.1).all()


def test_a_sample_is_the_same_function_on_every_grid():
    for law in (SMALL, SMOOTH):
        coarse, fine = (law.draw(period(n), Seeds(5, range(3))) for n in (64, 512))
        assert (coarse - fine[:, ::8]).abs().max() < 1e-12


def test_the_law_has_the_published_variance():
    # Of the amplitude of sqrt(2) cos(2π x): 7⁴ (4π² + 49)^(-5/2).
    domain = period(16)
    u = InitialLaw(modes=3).draw(domain, Seeds(2, range(4000)))
    amplitude = (u * math.sqrt(2) * torch.cos(2 * math.pi * domain.coordinates()[0])).mean(1)
    expected = 7**4 * (4 * math.pi**2 + 49) ** -2.5
    assert float(amplitude.square().mean()) == pytest.approx(expected, rel=4 * math.sqrt(2 / 4000))
    assert (u.mean(1).abs() < 1e-15).all()


def test_answers_in_single_precision_are_those_in_double():
    problem, domain = BurgersMap(Flow(0.02, 0.005), SMALL), period(256)
    given = problem.draw(domain, Seeds(3, range(2)))
    double = problem.solve(given, domain)["u"]
    single = problem.solve({"a": given["a"].float()}, domain)["u"]
    assert single.dtype == torch.float32
    # 200 steps of about ten roundings that add up as random ones do, on values that decay to a third
    assert (single - double).norm() < 150 * torch.finfo(torch.float32).eps * double.norm()


def test_the_gradient_with_respect_to_the_initial_function_is_that_of_differences():
    problem, domain = BurgersMap(Flow(0.02, 0.01), SMALL, 0.2), period(128)
    generator = torch.Generator().manual_seed(0)
    a = problem.draw(domain, Seeds(3, range(2)))["a"]
    direction = torch.randn(a.shape, dtype=torch.float64, generator=generator)

    def value(field):
        return problem.solve({"a": field}, domain)["u"].square().sum()

    leaf = a.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(leaf), leaf)
    slope = float((gradient * direction).sum())
    small = 1e-5
    difference = float(value(a + small * direction) - value(a - small * direction)) / (2 * small)
    assert slope == pytest.approx(difference, rel=1e-7)


def test_an_unstable_step_is_refused_with_one_that_works():
    domain = period(1024)
    (x,) = domain.coordinates()
    first = torch.sin(2 * math.pi * x)[None]
    with pytest.raises(ValueError, match=r"step: got 0\.05, not stable") as caught:
        Flow(2e-3, 0.05).frames(first, domain, (0.0, 0.1))
    step = float(str(caught.value).rsplit(" ", 1)[1])
    assert 1e-3 < step < 0.05
    assert Flow(2e-3, step).frames(first, domain, (0.0, 0.3)).abs().max() < 1 + 1e-3


@pytest.mark.parametrize(("viscosity", "points"), [(0.01, 64), (0.002, 360)])
def test_a_grid_too_coarse_for_the_viscosity_is_warned_of_with_one_that_works(viscosity, points):
    def solve(domain):
        (x,) = domain.coordinates()
        return Flow(viscosity, 1e-3).frames(torch.sin(2 * math.pi * x)[None], domain, (0.0, 0.5))

    with pytest.warns(UserWarning, match=f"{points} points are too few for viscosity {viscosity}") as caught:
        solve(period(points))
    need = int(str(caught[0].message).split(" points would do")[0].rsplit(" ", 1)[1])
    assert points < need < 4 * points
    solve(period(need))  # warnings are errors here


def test_a_rough_initial_function_is_warned_of_with_a_grid_that_works():
    def solve(domain):
        law = InitialLaw(alpha=2.5, modes=257)
        return Flow(0.1, 0.005).frames(law.draw(domain, Seeds(1, range(4))), domain, (0.0, 0.5))

    with pytest.warns(UserWarning, match="64 points are too few") as caught:
        solve(period(64))
    solve(period(int(str(caught[0].message).split(" points would do")[0].rsplit(" ", 1)[1])))


@pytest.mark.parametrize(("viscosity", "points"), [(0.01, 32), (1e-3, 128)])
def test_a_set_that_its_grid_does_not_resolve_can_be_made(viscosity, points):
    problem, domain = published(viscosity, modes=257), period(points)
    given = problem.draw(domain, Seeds(1, range(4)))
    with pytest.warns(UserWarning, match=f"{points} points are too few"):
        fields = given | problem.solve(given, domain)
    # Far from the exact solution, and yet that of the scheme; wrong values are seen all the same.
    assert problem.flow.error(fields["a"][:, 0], fields["u"][:, 0], domain, 1.0).max() > 1e-3
    assert (problem.residual(fields, domain) <= problem.tolerance).all()
    assert (problem.residual(fields | {"u": 1.001 * fields["u"]}, domain) > 1e-4).all()


def test_a_grid_on_which_the_layer_is_lost_is_refused():
    domain = period(128)
    (x,) = domain.coordinates()
    with pytest.raises(ValueError, match=r"128 points are too few for viscosity 0\.001.*there is no answer"):
        Flow(1e-3, 1e-3).frames(torch.sin(2 * math.pi * x)[None], domain, (0.0, 0.5))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Flow(0.0, 0.1), "viscosity"),
        (lambda: Flow(0.1, -1.0), "step"),
        (lambda: Burgers(Flow(0.1, 0.1), SMALL, (0.0,)), "times"),
        (lambda: Burgers(Flow(0.1, 0.1), SMALL, (0.0, 0.5, 0.5)), "times"),
        (lambda: published().solve({"a": torch.zeros(1, 1, 8)}, Domain.box((1.0,), (8,), "dirichlet")), "sides"),
        (lambda: published().solve({"a": torch.full((1, 1, 8), math.nan)}, period(8)), "u"),
    ],
)
def test_what_cannot_be_solved_is_refused(make, name):
    with pytest.raises(ValueError, match=f"{name}: got"):
        make()


def test_the_small_published_set_is_solved_again(published_data):
    # Stored: 16 points at 17 instants. From the first ones by their trigonometric polynomial; what 16 points alias is 1e-3.
    stored = torch.load(published_data / "burgers" / "burgers_test_16.pt", weights_only=True, map_location="cpu")
    assert float(stored["visc"]) == 0.01
    x, y = stored["x"][:100], stored["y"][:100]
    first = 16 * torch.fft.irfft(torch.fft.rfft(x), n=256)
    u = in_time().solve({"u": first[:, None, None]}, period(256))["u"][:, 1:, 0, ::16]
    gaps = (u - y[:, 1:]).norm(dim=2) / y[:, 1:].norm(dim=2)
    assert (gaps.median(0).values < 1e-3).all()
    assert float(gaps[:, -1].median()) < 2e-4


def test_the_small_published_set_has_the_law_of_ours(published_data):
    stored = torch.load(published_data / "burgers" / "burgers_train_16.pt", weights_only=True, map_location="cpu")
    energy = (torch.fft.rfft(stored["x"]) / 16).abs().square().mean(0)[1:5]
    k = 2 * math.pi * torch.arange(1, 5, dtype=torch.float64)
    law = 625.0**2 * (k.square() + 25) ** -4
    # each a mean of 800 exponential variables; the fourth has what 16 points alias besides
    assert ((energy / law - 1).abs() < 4 / math.sqrt(800)).all()
