import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from laws import problem_laws
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.kuramoto_sivashinsky import KuramotoSivashinsky, LongWaves, published


def period(points, length=64.0):
    return Domain.box((length,), (points,), "periodic")


def test_kuramoto_sivashinsky_passes_the_laws_of_problems():
    problem_laws(KuramotoSivashinsky((0.0, 0.2, 0.4, 2.0), warm_up=10.0), period(192), coarse_error=0.0)


@pytest.mark.parametrize("waves", [1, 3, 5, 7])
def test_small_waves_grow_and_decay_at_the_rates_of_the_linear_equation(waves):
    domain, k = period(64, 32.0), 2 * math.pi * waves / 32
    first = 1e-10 * torch.cos(k * domain.coordinates()[0])[None, None, None]
    u = KuramotoSivashinsky((0.0, 3.0), step=0.1, viscosity=0.7).solve({"u": first}, domain)["u"][0, 1, 0]
    true = first[0, 0, 0] * math.exp(3 * (k**2 - 0.7 * k**4))
    assert (u - true).abs().max() < 1e-8 * true.abs().max()


def test_a_solution_is_that_of_an_implicit_method_without_dealiasing():
    n, length = 64, 22.0
    domain = period(n, length)
    k = 2 * math.pi / length * np.fft.rfftfreq(n, 1 / n)
    x = domain.coordinates()[0].numpy()
    first = np.cos(2 * math.pi * x / length) + 0.3 * np.sin(4 * math.pi * x / length)

    def rate(_, u):
        spectrum = np.fft.rfft(u)
        linear = np.fft.irfft((k**2 - k**4) * spectrum, n)
        return linear - u * np.fft.irfft(1j * k * spectrum, n)

    end = solve_ivp(rate, (0.0, 4.0), first, method="Radau", rtol=1e-8, atol=1e-10).y[:, -1]
    given = {"u": torch.from_numpy(first)[None, None, None]}
    u = KuramotoSivashinsky((0.0, 4.0), step=0.01).solve(given, domain)["u"][0, 1, 0].numpy()
    assert np.linalg.norm(u - end) < 1e-6 * np.linalg.norm(end)


def test_the_error_falls_with_the_fourth_power_of_the_step():
    domain = period(128)
    given = KuramotoSivashinsky((0.0, 1.0), 0.05, 40.0).draw(domain, Seeds(1, range(2)))
    ends = [KuramotoSivashinsky((0.0, 1.0), 1 / n).solve(given, domain)["u"][:, 1] for n in (100, 200, 400, 1600)]
    errors = [float((u - ends[-1]).norm()) for u in ends[:-1]]
    assert [math.log2(a / b) for a, b in itertools.pairwise(errors)] == pytest.approx([4.0, 4.0], abs=0.2)


def test_the_error_falls_exponentially_with_the_grid():
    ends = {}
    for points in (96, 128, 160, 320):
        first = LongWaves().draw(period(points), Seeds(1, range(2)))
        problem = KuramotoSivashinsky((0.0, 25.0), step=0.1, viscosity=1.5)
        ends[points] = problem.solve({"u": first[:, None, None]}, period(points))["u"][:, 1, 0, :: points // 32]
    errors = [math.log10(float((ends[n] - ends[320]).norm())) for n in (96, 128, 160)]
    gained = [a - b for a, b in itertools.pairwise(errors)]
    assert min(gained) > 1.0  # digits per 32 points


def test_the_energy_budget_is_kept():
    # d/dt ∫ u²/2 = ∫ u_x² - viscosity ∫ u_xx²; the integral in time by Simpson's rule, whose error is of order interval⁴
    domain, k = period(192), 2 * math.pi / 64 * torch.arange(97, dtype=torch.float64)

    def gap(intervals):
        times = tuple(4 * i / intervals for i in range(intervals + 1))
        problem = KuramotoSivashinsky(times, 0.02, viscosity=1.2)
        u = problem.solve(problem.draw(domain, Seeds(2, range(2))), domain)["u"][:, :, 0]
        spectrum = torch.fft.rfft(u)
        slope, curve = torch.fft.irfft(1j * k * spectrum, n=192), torch.fft.irfft(-k * k * spectrum, n=192)
        gain = slope.square().mean(2) - 1.2 * curve.square().mean(2)
        weights = torch.tensor([1.0, *[4.0, 2.0] * (intervals // 2 - 1), 4.0, 1.0], dtype=torch.float64) * 4 / (3 * intervals)
        energy = u.square().mean(2) / 2
        return float(((energy[:, -1] - energy[:, 0] - gain @ weights) / energy[:, 0]).abs().max())

    gaps = [gap(8), gap(16)]
    assert gaps[1] < 1e-4
    assert gaps[0] > 8 * gaps[1]


def test_the_mean_is_kept_and_seen_when_it_is_not():
    problem, domain = KuramotoSivashinsky((0.0, 1.0, 5.0), warm_up=20.0), period(192)
    given = problem.draw(domain, Seeds(2, range(3)))
    fields = problem.solve(given, domain)
    assert (problem.conserved(fields, domain)["mean"] < 1e-15).all()
    fields["u"][1, 2] += 0.01
    assert problem.conserved(fields, domain)["mean"].gt(1e-3).tolist() == [False, True, False]


def test_a_sample_is_the_same_function_on_every_grid():
    law = LongWaves()
    assert (law.draw(period(32), Seeds(5, range(3))) - law.draw(period(256), Seeds(5, range(3)))[:, ::8]).abs().max() < 1e-14
    problem = KuramotoSivashinsky((0.0, 1.0), 0.05, 20.0)
    coarse, fine = (problem.draw(period(n), Seeds(5, range(3)))["u"] for n in (192, 384))
    assert (coarse - fine[..., ::2]).abs().max() < 1e-6  # the spectrum's tail, grown for 20 units of time


def test_the_law_is_a_sum_of_ten_waves():
    domain = period(16)
    x = domain.coordinates()[0].tolist()
    u = LongWaves().draw(domain, Seeds(7, range(2)))
    for i, numbers in enumerate(Seeds(7, range(2)).uniform("initial", 30).tolist()):
        for j in (0, 5):
            true = sum(
                (a - 0.5) * math.sin(2 * math.pi * ((1 if n < 0.5 else 2) * x[j] / 64 + p))
                for a, n, p in zip(numbers[:10], numbers[10:20], numbers[20:], strict=True)
            )
            assert float(u[i, j]) == pytest.approx(true, abs=1e-14)


def test_single_precision_and_gradients_work():
    problem, domain = KuramotoSivashinsky((0.0, 1.0), 0.1), period(96, 32.0)
    given = problem.draw(domain, Seeds(3, range(2)))["u"]
    double = problem.solve({"u": given}, domain)["u"]
    single = problem.solve({"u": given.float()}, domain)["u"]
    assert single.dtype == torch.float32
    assert (single - double).norm() < 30 * torch.finfo(torch.float32).eps * double.norm()  # ten steps that grow little

    direction = torch.randn(given.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    leaf = given.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(problem.solve({"u": leaf}, domain)["u"][:, 1].square().sum(), leaf)
    ends = [problem.solve({"u": given + s * direction}, domain)["u"][:, 1].square().sum() for s in (1e-5, -1e-5)]
    assert float((gradient * direction).sum()) == pytest.approx(float(ends[0] - ends[1]) / 2e-5, rel=1e-7)


def test_a_grid_too_coarse_is_warned_of_with_one_that_works_and_refused():
    problem = KuramotoSivashinsky((0.0, 1.0), 0.1, 60.0)
    with pytest.warns(UserWarning, match="96 points are too few for viscosity 1") as caught:
        problem.draw(period(96), Seeds(1, range(4)))
    need = int(str(caught[0].message).split(" points would do")[0].rsplit(" ", 1)[1])
    assert 96 < need < 300
    problem.draw(period(need), Seeds(1, range(4)))  # warnings are errors here
    with pytest.raises(ValueError, match=rf"48 points are too few.*{need} points would do.*there is no answer"):
        problem.draw(period(48), Seeds(1, range(4)))
    # Waves that grow and are not damped by others blow up whatever the step.
    with pytest.raises(ValueError, match=rf"32 points keep 10 waves, too few beside the 10 that grow; {need} points would do"):
        problem.draw(period(32), Seeds(1, range(4)))


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: KuramotoSivashinsky((0.0,)), "times"),
        (lambda: KuramotoSivashinsky((0.0, 1.0), step=0.0), "step"),
        (lambda: KuramotoSivashinsky((0.0, 1.0), viscosity=-1.0), "viscosity"),
        (lambda: KuramotoSivashinsky((0.0, 1.0), warm_up=-1.0), "warm_up"),
        (lambda: LongWaves(largest=0), "largest"),
        (lambda: published().draw(Domain.box((64.0,), (64,), "dirichlet"), Seeds(0, range(1))), "sides"),
    ],
)
def test_what_cannot_be_solved_is_refused(make, name):
    with pytest.raises(ValueError, match=f"{name}: got"):
        make()
