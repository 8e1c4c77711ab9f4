import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.integrate
import torch

from laws import problem_laws
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.numerics.random_waves import WaveSum
from sciml.problems.diffusion_reaction import DiffusionReaction, fisher


def period(points, layout="first_end"):
    return Domain.box((1.0,), (points,), "periodic", layout)


def smooth_problem(step=0.01, times=(0.0, 0.2)):
    return DiffusionReaction(WaveSum(), diffusivity=0.02, rate=5.0, times=times, step=step)


def smooth_start(domain):
    (x,) = domain.coordinates()
    return {"u": (0.4 + 0.3 * torch.cos(2 * math.pi * x) + 0.1 * torch.sin(4 * math.pi * x))[None, None, None]}


def end(problem, domain):
    return problem.solve(smooth_start(domain), domain)["u"][0, -1, 0]


def test_diffusion_and_reaction_pass_the_laws_of_problems():
    problem_laws(fisher(0.5, 2.0, 6), period(64, "cells"), coarse_error=1e-9)


def test_steps_in_time_are_of_fourth_order():
    domain = period(32)
    reference = end(smooth_problem(0.2 / 320), domain)
    errors = [float((end(smooth_problem(0.2 / n), domain) - reference).norm()) for n in (10, 20, 40)]
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert slopes == pytest.approx([4.0, 4.0], abs=0.1)


def test_constants_grow_logistically_at_fourth_order():
    def error(step):
        given, exact = replace(fisher(0.5, 10.0, 11), step=step).exact(period(8))
        return float((replace(fisher(0.5, 10.0, 11), step=step).solve(given, period(8))["u"] - exact["u"]).abs().max())

    errors = [error(step) for step in (0.01, 0.005, 0.0025)]
    assert errors[-1] < 1e-7
    assert [math.log2(a / b) for a, b in itertools.pairwise(errors)] == pytest.approx([4.0, 4.0], abs=0.2)


def test_the_error_in_space_falls_faster_than_any_power():
    fine = end(smooth_problem(), period(192))
    errors = [float((end(smooth_problem(), period(n)) - fine[:: 192 // n]).abs().max()) for n in (8, 16, 32)]
    assert errors[0] > 10 * errors[1] > 1000 * errors[2]
    assert errors[2] < 1e-9


def test_answers_are_those_of_an_integrator_with_error_control():
    n, problem = 24, smooth_problem(0.002)
    modes = np.fft.rfftfreq(n, 1 / n) * 2 * np.pi

    def rate(_, u):
        return 0.02 * np.fft.irfft(-(modes**2) * np.fft.rfft(u), n) + 5 * u * (1 - u)

    start = smooth_start(period(n))["u"].flatten().numpy()
    expected = scipy.integrate.solve_ivp(rate, (0, 0.2), start, method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    # fourth order: (0.002 / 0.01)⁴ of the error at 0.01
    assert np.abs(end(problem, period(n)).numpy() - expected).max() < 1e-8


def test_waves_on_a_full_period_decay_with_diffusion_and_reaction():
    # u = 1 - ε cos 4πx: ε decays by ν (4π)² + ρ, to first order in ε.
    domain, problem = period(32), DiffusionReaction(WaveSum(), 0.5, 2.0, (0.0, 0.02), step=0.001)
    wave = 1e-6 * torch.cos(4 * math.pi * domain.coordinates()[0])
    u = problem.solve({"u": (1 - wave)[None, None, None]}, domain)["u"][0, -1, 0]
    assert torch.allclose(1 - u, wave * math.exp(-(0.5 * (4 * math.pi) ** 2 + 2) * 0.02), atol=1e-11)


def test_every_sample_goes_from_zero_to_one_on_the_published_grid_and_then_to_one():
    domain, problem = period(1024, "cells"), fisher(0.5, 10.0)
    given = problem.draw(domain, Seeds(4, range(6)))
    u = problem.solve(given, domain)["u"][:, :, 0]
    assert torch.equal(u[:, 0].amin(1), torch.zeros(6).double())
    assert torch.equal(u[:, 0].amax(1), torch.ones(6).double())
    # the principle of the maximum, to the error of the scheme while the window and the kinks dissolve
    assert float(u.min()) > -1e-3
    assert float(u.max()) < 1 + 1e-3
    assert (u[:, -1] > 0.99).all()


def test_the_published_step_is_small_enough():
    domain = period(256, "cells")
    for diffusivity in (0.5, 5.0):
        problem = fisher(diffusivity, 10.0, 5)
        given = problem.draw(domain, Seeds(4, range(4)))
        change = problem.solve(given, domain)["u"] - problem.halved().solve(given, domain)["u"]
        assert float(change.abs().max()) < 2e-5


def test_a_sample_is_the_same_function_on_every_grid():
    coarse = fisher().draw(period(40, "cells"), Seeds(4, range(5)))["u"]
    fine = fisher().draw(period(120, "cells"), Seeds(4, range(5)))["u"]
    assert torch.allclose(coarse, fine[..., 1::3], atol=1e-12)


def test_single_precision_is_double_precision_rounded():
    domain, problem = period(64), fisher(frames=6)
    given = problem.draw(domain, Seeds(1, range(2)))
    single = problem.solve({"u": given["u"].float()}, domain)["u"]
    assert single.dtype == torch.float32
    assert (single - problem.solve(given, domain)["u"]).abs().max() < 100 * torch.finfo(torch.float32).eps


def test_answers_can_be_differentiated():
    domain, problem = period(16), smooth_problem(times=(0.0, 0.05))
    start = smooth_start(domain)["u"].requires_grad_()
    assert torch.autograd.gradcheck(lambda u: problem.solve({"u": u}, domain)["u"], start, rtol=1e-4)


def test_what_the_scheme_cannot_take_is_refused_with_what_would_work():
    with pytest.raises(ValueError, match=r"step: got 0\.5, unstable beyond 0\.1, 1 / rate; 0\.01 works"):
        replace(fisher(rate=10.0), step=0.5)
    with pytest.raises(ValueError, match="need one periodic axis"):
        fisher().draw(Domain.box((1.0,), (8,), "neumann", "cells"), Seeds(0, range(1)))
    with pytest.raises(ValueError, match="diffusivity: got -1"):
        replace(fisher(), diffusivity=-1.0)
