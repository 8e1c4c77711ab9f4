import math

import pytest
import torch

from laws import problem_laws
from sciml.numerics.domain import Domain
from sciml.numerics.eigenfunctions import eigenfunctions
from sciml.numerics.random_fields import Seeds
from sciml.problems.heat import FieldLaw
from sciml.problems.wave import Wave, ringing

TIMES = (0.0, 0.1, 0.35, 1.3)
BOXES = [
    Domain.box((1.0,), (40,), "periodic"),
    Domain.box((2.0,), (33,), "dirichlet"),
    Domain.box((1.0, 1.5), (17, 18), ["neumann", ("dirichlet", "neumann")]),
    Domain.box((1.0, 1.0), (16, 19), ["neumann", "periodic"], ["cells", "first_end"]),
    Domain.box((1.0, 1.0, 2.0), (12, 11, 10), ["periodic", "dirichlet", "neumann"], ["first_end", "both_ends", "cells"]),
]


def wave(speed=0.7, times=TIMES, push=None):
    return Wave(speed, times, FieldLaw(alpha=3.0, modes=9), push)


@pytest.mark.parametrize("domain", BOXES, ids=str)
@pytest.mark.parametrize("push", [None, FieldLaw(alpha=2.0, modes=9)])
def test_waves_pass_the_laws_of_problems(domain, push):
    problem_laws(wave(push=push), domain, coarse_error=1e-13)


def bump(x, mirrored):
    """A hill at 0.2 and its mirror image about 0, of period 1; and minus its slope."""
    value, slope = torch.zeros_like(x), torch.zeros_like(x)
    for sign, place in ((1.0, 0.2), (float(mirrored), -0.2)):
        hill = torch.exp(10 * (torch.cos(2 * math.pi * (x - place)) - 1))
        value = value + sign * hill
        slope = slope - sign * 20 * math.pi * torch.sin(2 * math.pi * (x - place)) * hill
    return value, slope


@pytest.mark.parametrize(
    ("domain", "mirrored"),
    [
        (Domain.box((1.0,), (96,), "periodic"), 0),
        (Domain.box((0.5,), (49,), "neumann"), 1),
        (Domain.box((0.5,), (49,), "dirichlet"), -1),
        (Domain.box((0.5,), (48,), "neumann", "cells"), 1),
    ],
    ids=str,
)
def test_a_hill_parts_into_two_that_run_apart_and_are_thrown_back(domain, mirrored):
    # d'Alembert: u = (f(x - ct) + f(x + ct)) / 2; sides half a period apart are mirrors of the whole period
    (x,) = domain.coordinates()
    first = bump(x, mirrored)[0][None, None, None]
    speed, times = 0.7, (0.0, 0.2, 3.1)
    fields = wave(speed, times).solve({"u": first, "v": torch.zeros_like(first)}, domain)
    for i, time in enumerate(times):
        left, right = bump(x + speed * time, mirrored), bump(x - speed * time, mirrored)
        assert (fields["u"][0, i, 0] - (left[0] + right[0]) / 2).abs().max() < 1e-12
        assert (fields["v"][0, i, 0] - speed * (left[1] - right[1]) / 2).abs().max() < 1e-10


def test_a_pushed_hill_runs_one_way():
    domain = Domain.box((1.0,), (96,), "periodic")
    (x,) = domain.coordinates()
    hill, slope = (values[None, None, None] for values in bump(x, 0))
    u = wave(0.5, (0.0, 0.4)).solve({"u": hill, "v": -0.5 * slope}, domain)["u"][0, 1, 0]
    assert (u - bump(x - 0.2, 0)[0]).abs().max() < 1e-12


def test_a_constant_push_moves_all_at_once():
    domain = Domain.box((1.0, 1.0), (8, 9), ["periodic", "neumann"])
    u, v = torch.full((1, 1, 1, 8, 9), 0.25, dtype=torch.float64), torch.full((1, 1, 1, 8, 9), -2.0, dtype=torch.float64)
    fields = wave(times=(1.0, 4.0)).solve({"u": u, "v": v}, domain)
    assert torch.allclose(fields["u"][:, 1], u[:, 0] - 6.0, rtol=1e-14)
    assert torch.allclose(fields["v"][:, 1], v[:, 0], rtol=1e-14)


def test_energy_is_that_of_the_integral_and_is_kept():
    domain = Domain.box((1.0,), (64,), "periodic")
    problem = wave(push=FieldLaw(alpha=2.0, modes=9))
    fields = problem.solve(problem.draw(domain, Seeds(4, range(3))), domain)
    kept = problem.conserved(fields, domain)
    assert set(kept) == {"energy", "mean velocity"}
    assert all((change < 1e-14).all() for change in kept.values())
    k = 2 * math.pi * torch.arange(33, dtype=torch.float64)
    slope = torch.fft.irfft(1j * k * torch.fft.rfft(fields["u"]), n=64)
    energy = (fields["v"].square() + 0.7**2 * slope.square()).mean((2, 3))
    assert torch.allclose(energy, energy[:, :1].expand_as(energy), rtol=1e-12)
    fields["v"][1, 2] *= 1.1
    assert problem.conserved(fields, domain)["energy"].gt(1e-3).tolist() == [False, True, False]


def test_a_sample_is_the_same_function_on_every_grid_and_so_is_its_answer():
    coarse, fine = (Domain.box((1.0, 1.0), (n, n), "dirichlet") for n in (17, 65))
    answers = [wave().solve(wave().draw(d, Seeds(5, range(2))), d) for d in (coarse, fine)]
    for name in ("u", "v"):
        assert (answers[0][name] - answers[1][name][..., ::4, ::4]).abs().max() < 1e-13


def test_single_precision_and_gradients_work():
    domain = BOXES[2]
    given = wave().draw(domain, Seeds(2, range(2)))
    double = wave().solve(given, domain)
    single = wave().solve({name: values.float() for name, values in given.items()}, domain)
    u, v = double["u"].norm(), double["v"].norm()
    highest = float(0.7 * eigenfunctions(domain).total().max().sqrt())
    # rounding of a displacement swings with the frequency of any mode
    for name, size in (("u", u), ("v", v + highest * u)):
        assert single[name].dtype == torch.float32
        assert (single[name] - double[name]).norm() < 4 * torch.finfo(torch.float32).eps * size
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(given["u"].shape, dtype=torch.float64, generator=generator)
    direction[..., 0] = 0  # the dirichlet side
    w = torch.randn(double["v"].shape, dtype=torch.float64, generator=generator)
    leaf = given["u"].clone().requires_grad_()
    (gradient,) = torch.autograd.grad((w * wave().solve({"u": leaf, "v": given["v"]}, domain)["v"]).sum(), leaf)
    change = wave().solve({"u": direction, "v": torch.zeros_like(direction)}, domain)["v"]
    assert float((gradient * direction).sum()) == pytest.approx(float((w * change).sum()), rel=1e-11)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: wave(speed=-1.0), "speed: got -1.0, need"),
        (lambda: wave(times=(0.0,)), "times: got"),
        (lambda: ringing(modes=40).draw(BOXES[1], Seeds(0, range(1))), "need 42"),
        (
            lambda: wave().solve({"u": torch.zeros(1, 1, 1, 33), "v": torch.ones(1, 1, 1, 33)}, BOXES[1]),
            "v: got a field that is no sum",
        ),
    ],
)
def test_what_cannot_be_solved_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_presets_have_the_instants_they_name():
    assert ringing(frames=5, duration=2.0).times == (0.0, 0.5, 1.0, 1.5, 2.0)
