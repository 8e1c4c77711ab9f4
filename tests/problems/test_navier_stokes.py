import itertools
import math
from dataclasses import replace

import pytest
import torch

from laws import problem_laws
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.numerics.vorticity import Flow, SpectralFlow
from sciml.problems.kolmogorov_flow import kolmogorov_flow
from sciml.problems.navier_stokes import (
    ForcedVorticity,
    GaussianVorticity,
    NavierStokes,
    PlaneWave,
    forcing_to_vorticity,
    published,
)

TURN = 2 * math.pi


def torus(points, length=1.0):
    return Domain.box((length, length), (points, points), "periodic")


def short(scheme="etdrk4", **changes):
    """The published flow of viscosity 1e-3 for two units of time, on few points."""
    step = 0.04 if scheme == "etdrk4" else 0.005
    return published(1e-3, **({"duration": 2, "step": step, "scheme": scheme, "modes": 21} | changes))


# Explicit Euler's error on the exact wave: rate² step time / 2 of its changes, less than 1e-3.
@pytest.mark.parametrize(("scheme", "error"), [("etdrk4", 1e-13), ("crank_nicolson", 1e-3)])
def test_the_published_flow_passes_the_laws_of_problems(scheme, error):
    problem_laws(short(scheme), torus(32), coarse_error=error)


def test_forcing_to_vorticity_passes_the_laws_of_problems():
    problem_laws(forcing_to_vorticity(duration=2.0, step=0.05, modes=15), torus(48, TURN), coarse_error=1e-13)


def test_kolmogorov_flow_passes_the_laws_of_problems():
    problem_laws(kolmogorov_flow(40, 1.0, 2, 0.05, drag=0.1, modes=15), torus(48, TURN), coarse_error=1e-13)


@pytest.mark.parametrize("viscosity", [1e-3, 1e-4, 1e-5])
def test_forced_waves_grow_as_the_linear_equation_says(viscosity):
    problem = published(viscosity, step=0.05)
    given, exact = problem.exact(torus(16))
    assert problem.times[-1] == {1e-3: 50, 1e-4: 30, 1e-5: 20}[viscosity]
    w = problem.solve(given, torus(16))["w"]
    assert (w - exact["w"]).abs().max() <= 1e-12 * exact["w"].abs().max()
    # The forcing's own part: 0.1 / (8 π² viscosity) (1 - exp(-8 π² viscosity t)) (sin + cos)(2π (x + y)), at x = y = 0.
    rate = 8 * math.pi**2 * viscosity
    last = problem.times[-1]
    at_corner = 0.1 * (1 - math.exp(-rate * last)) / rate - 0.2 * math.exp(-rate * last)
    assert float(w[0, -1, 0, 0, 0]) == pytest.approx(at_corner, rel=1e-11)


@pytest.mark.parametrize(("scheme", "order", "steps"), [("etdrk4", None, (0.1,)), ("crank_nicolson", 2, (0.1, 0.05, 0.025))])
def test_taylor_green_vortices_decay_alone(scheme, order, steps):
    domain = torus(20)
    x, y = domain.mesh()
    w = (torch.sin(TURN * x) * torch.sin(TURN * y))[None, None, None]

    def error(step):
        problem = replace(short(), flow=Flow(0.01, step, scheme=scheme), forcing=PlaneWave(0.0, 0.0))
        end = problem.solve({"w": w}, domain)["w"][:, -1:]
        return float((end / math.exp(-2 * 8 * math.pi**2 * 0.01) - w).abs().max())

    errors = [error(step) for step in steps]
    if order is None:
        assert errors[0] <= 1e-13
    else:  # without transport what is left of the published scheme is Crank-Nicolson, of second order
        assert [math.log2(a / b) for a, b in itertools.pairwise(errors)] == pytest.approx([order] * 2, abs=0.05)


def test_the_first_vorticity_has_the_published_covariance():
    problem = published(1e-5)
    w = problem.draw(torus(64), Seeds(5, range(200)))["w"][:, 0, 0]
    # The variance at a point is the sum over waves of 7³ (4π² k² + 49)^(-2.5), the unit torus having area 1.
    numbers = torch.arange(-85, 86, dtype=torch.float64)
    squares = numbers[:, None] ** 2 + numbers**2
    variance = 343 * (4 * math.pi**2 * squares + 49) ** -2.5
    variance[85, 85] = 0.0
    power = w.square().mean((1, 2))
    assert float(power.mean()) == pytest.approx(float(variance.sum()), abs=4 * float(power.std()) / math.sqrt(200))
    # Waves of 64 periods, of which 64 points see the value at a corner only, are not among 43 modes.
    resolved = published(1e-5, modes=43).draw(torus(64), Seeds(5, range(3)))["w"]
    assert (resolved.mean((-1, -2)).abs() <= 1e-15).all()


@pytest.mark.parametrize(
    ("problem", "length"), [(published(1e-4, modes=21), 1.0), (forcing_to_vorticity(modes=21), TURN)], ids=["w", "f"]
)
def test_a_sample_is_the_same_function_on_every_grid(problem, length):
    coarse, fine = (next(iter(problem.draw(torus(n, length), Seeds(5, range(2))).values())) for n in (24, 96))
    assert (coarse - fine[..., ::4, ::4]).norm() <= 1e-12 * coarse.norm()


def test_a_finer_grid_does_not_change_a_resolved_flow():
    # The tails of the initial law, which falls as k^-2.5 at random, are what the grid cuts: 1e-3 of the field beyond k = 10.
    problem = published(1e-3, duration=3, step=0.02, modes=21)
    coarse, fine = (problem.solve(problem.draw(torus(n), Seeds(5, range(2))), torus(n))["w"] for n in (48, 96))
    assert (coarse - fine[..., ::2, ::2])[:, -1].norm() <= 1e-7 * coarse[:, -1].norm()


def test_half_the_step_tells_the_error_of_the_step():
    domain, problem = torus(32), short(step=0.08)
    given = problem.draw(domain, Seeds(3, range(3)))
    whole, half, exact = (p.solve(given, domain)["w"] for p in (problem, problem.halved(), short(step=0.005)))
    estimate, error = (whole - half).norm(), (whole - exact).norm()
    assert float(estimate / error) == pytest.approx(15 / 16, abs=0.02)
    assert error < 1e-5 * exact.norm()


@pytest.mark.parametrize("law", [short(), kolmogorov_flow(40, 1.0, 2, 0.02, drag=0.1, modes=21)], ids=["published", "drag"])
def test_the_mean_vorticity_follows_the_drag_alone(law):
    domain = torus(32)
    given = law.draw(domain, Seeds(3, range(3)))
    given["w"] = given["w"] + 0.5
    found = law.conserved(law.solve(given, domain), domain)
    assert set(found) == {"mean vorticity"}
    assert (found["mean vorticity"] <= 1e-13).all()
    lost = law.solve(given, domain)["w"]
    lost[:, -1] += 1e-3
    assert (law.conserved({"w": lost}, domain)["mean vorticity"] > 1e-5).all()


def test_without_viscosity_and_forcing_energy_and_enstrophy_are_conserved():
    domain = torus(32)
    problem = replace(short(duration=1, modes=9), flow=Flow(0.0, 0.02), forcing=PlaneWave(0.0, 0.0))
    w = problem.solve(problem.draw(domain, Seeds(3, range(3))), domain)
    found = problem.conserved(w, domain)
    assert set(found) == {"mean vorticity", "energy", "enstrophy"}
    assert all((change <= 1e-9).all() for change in found.values())
    viscous = replace(problem, flow=Flow(1e-3, 0.02)).solve({"w": w["w"][:, :1]}, domain)
    assert (problem.conserved(viscous, domain)["enstrophy"] > 1e-2).all()


def test_the_published_flow_of_least_viscosity_is_under_resolved_on_64_points_and_can_be_made():
    # From a developed field, whose shortest waves have 1e-4 of the energy of the strongest.
    domain = torus(64)
    law = GaussianVorticity(alpha=1.5, tau=7.0, scale=7.0**1.5, modes=43)
    problem = replace(published(1e-5, duration=1, step=0.01, modes=43), initial=law)
    given = problem.draw(domain, Seeds(3, range(1)))
    with pytest.warns(UserWarning, match=r"64 x 64 points are too few for viscosity 1e-05.* points would do, or viscosity"):
        assert problem.solve(given, domain)["w"].isfinite().all()


def test_a_step_too_long_for_one_sample_is_an_error_that_names_a_step():
    domain, problem = torus(32), short(step=2.0)
    given = problem.draw(domain, Seeds(3, range(2)))
    given["w"][1] *= 3
    with pytest.raises(ValueError, match=r"step: got 1 with scheme etdrk4; at t = 0 for sample 1 .* need at most 0\.\d+"):
        problem.solve(given, domain)


def test_the_laminar_shear_of_kolmogorov_flow_is_kept():
    # sin(4 y) / (16 nu + drag) along x: forcing, viscosity and drag are in balance. It is unstable, but not for so short.
    domain = torus(32, TURN)
    problem = kolmogorov_flow(40, 0.5, 1, 0.01, drag=0.1)
    u = torch.sin(4 * domain.mesh()[1]) / (16 / 40 + 0.1)
    w = (-4 * torch.cos(4 * domain.mesh()[1]) / (16 / 40 + 0.1))[None, None, None]
    found = problem.solve({"w": w}, domain)["w"]
    assert (found[:, 1] - w[:, 0]).abs().max() <= 1e-12 * w.abs().max()
    velocity = SpectralFlow(problem.flow, domain, w).velocity(found[:, 1, 0])
    assert (velocity[0, 0] - u).abs().max() <= 1e-12 * u.abs().max()
    assert velocity[1].abs().max() <= 1e-12 * u.abs().max()


def test_the_forcing_is_given_to_the_vorticity_at_rest():
    domain, problem = torus(24, TURN), ForcedVorticity(Flow(0.0, 1e-4), GaussianVorticity(4.0, 3.0, 27.0, 5), 1e-3)
    given = problem.draw(domain, Seeds(2, range(2)))
    w = problem.solve(given, domain)["w"]
    assert (w - 1e-3 * given["f"]).norm() <= 1e-3 * w.norm()


def test_gradients_reach_the_first_vorticity():
    domain = torus(7)
    problem = published(1e-1, duration=1, step=0.25, modes=5)
    w = problem.draw(domain, Seeds(3, range(1)))["w"].requires_grad_()
    assert torch.autograd.gradcheck(lambda v: problem.solve({"w": v}, domain)["w"][:, -1].square().mean(), w)


def test_a_problem_is_plain_data():
    assert published(1e-4) == published(1e-4)
    assert hash(published(1e-4)) == hash(published(1e-4))
    assert isinstance(published(1e-4).halved(), NavierStokes)
    assert published(1e-5, scheme="crank_nicolson").flow.step == 1e-4
