import itertools

import pytest
import torch

from recipes.darcy import strided
from sciml.data.normalise import Normalised, Normaliser
from sciml.data.stream import stream
from sciml.metrics.fields import relative_l2
from sciml.numerics.domain import Domain
from sciml.numerics.ghosts import pyramid
from sciml.numerics.resolution import inject, interpolate, resample
from sciml.operators.mgno import MgNO, multigrid_init
from sciml.training.evaluate import evaluate
from sciml.training.fit import fit
from sciml.training.objectives import RelativeL2
from sciml.training.optimisers import Adam

PLACES = [
    ("periodic", "first_end"),
    ("periodic", "cells"),
    *itertools.product(["dirichlet", "open"], ["both_ends", "interior", "cells", "first_end"]),
    *itertools.product(["neumann"], ["both_ends", "cells"]),
]


def levels_of(sides, layout, points=24):
    return pyramid(Domain.box((1.0,), (points,), sides, layout), (points,), 2)


def places_of(line, spacing):
    return (torch.arange(line.points, dtype=torch.float64) + line.gaps[0]) * spacing


@pytest.mark.parametrize(("sides", "layout"), PLACES)
def test_what_is_interpolated_and_read_again_is_what_was_there(sides, layout):
    fine, coarse = levels_of(sides, layout)
    u = torch.randn(2, coarse[0].points, dtype=torch.float64)
    up = interpolate(u, coarse, fine)
    assert up.shape == (2, fine[0].points)
    assert torch.equal(inject(up, fine, coarse), u)


@pytest.mark.parametrize("layout", ["both_ends", "interior", "cells"])
def test_past_open_sides_straight_lines_stay_straight(layout):
    fine, coarse = levels_of("open", layout)
    x, y = places_of(coarse[0], 2.0), places_of(fine[0], 1.0)
    assert torch.allclose(interpolate(3 * x - 1, coarse, fine), 3 * y - 1, atol=1e-12)
    assert torch.allclose(resample(3 * x - 1, coarse, fine), 3 * y - 1, atol=1e-12)


def test_interpolation_is_of_fourth_order():
    def error(points):
        fine, coarse = levels_of("periodic", "first_end", points)
        x, y = (2 * torch.pi * places_of(line, step / points) for line, step in ((coarse[0], 2), (fine[0], 1)))
        return float((interpolate(torch.sin(x + 1), coarse, fine) - torch.sin(y + 1)).abs().max())

    assert error(64) / error(128) == pytest.approx(16, rel=0.05)


WAVES = {  # that go on beyond the sides as the condition says
    "periodic": lambda x: torch.sin(2 * torch.pi * x + 1),
    "dirichlet": lambda x: torch.sin(3 * torch.pi * x),
    "neumann": lambda x: torch.cos(3 * torch.pi * x),
}


@pytest.mark.parametrize(("sides", "layout"), [place for place in PLACES if place[0] in WAVES and place[1] != "first_end"])
@pytest.mark.parametrize("ratio", [0.6, 1.0, 1.7])
def test_a_wave_on_another_grid_is_the_wave_up_to_fourth_order(sides, layout, ratio):
    def error(points):
        one, other = (Domain.box((1.0,), (n,), sides, layout) for n in (points, round(ratio * points) + 1))
        (x,), (y,) = one.mesh(), other.mesh()
        found = resample(WAVES[sides](x), pyramid(one, one.shape, 1)[0], pyramid(other, other.shape, 1)[0])
        return float((found - WAVES[sides](y)).abs().max())

    assert error(320) < 2e-5
    assert error(40) / error(320) > 8**3.5


@pytest.mark.parametrize(("sides", "layout"), PLACES)
def test_at_its_own_points_a_function_stays(sides, layout):
    fine, coarse = levels_of(sides, layout, 33)
    u = torch.randn(3, fine[0].points, dtype=torch.float64)
    assert torch.equal(resample(u, fine, fine), u)
    if coarse[0].gaps == fine[0].gaps or sides != "periodic":
        assert (resample(u, fine, coarse) - inject(u, fine, coarse)).abs().max() < 1e-12


@pytest.mark.parametrize("sides", ["periodic", "dirichlet", "neumann", "open"])
def test_on_finer_grids_a_cycle_reads_every_second_point_and_its_answer_there_is_that_of_the_trained_grid(sides):
    torch.manual_seed(0)
    points, fine_points = (16, 32) if sides == "periodic" else (17, 33)
    domain = Domain.box((1.0, 1.0), (points,) * 2, sides)
    model = MgNO(1, 1, width=3, layers=3, domain=domain, smoothing=((1, 0), (1, 1), (2, 0)), bias_modes=3).double()
    u = torch.randn(1, 1, fine_points, fine_points, dtype=torch.float64)
    at_fine = model(u)
    assert at_fine.shape == u.shape
    assert (at_fine[..., ::2, ::2] - model(u[..., ::2, ::2])).abs().max() <= 1e-13
    assert model.grids((fine_points,) * 2)[0][0].points == points
    once_more = 2 * fine_points - (sides != "periodic")
    assert model.grids((once_more,) * 2)[0][0].points == points


def test_smooth_answers_between_the_points_are_of_fourth_order():
    torch.manual_seed(0)
    domain = Domain.box((1.0,), (32,), "periodic")
    model = MgNO(1, 1, width=4, layers=2, domain=domain, smoothing=((1, 0), (2, 0))).double()

    def on(points):
        with torch.no_grad():
            x = torch.arange(points, dtype=torch.float64) / points
            return model(torch.sin(2 * torch.pi * x)[None, None])

    # The operator of the trained grid, on a sine, gives a smooth function on each parity of points.
    assert (on(64)[..., ::2] - on(32)).abs().max() <= 1e-13
    assert (on(128)[..., ::2] - on(64)).abs().max() <= 2e-3 * on(32).abs().max()


@pytest.mark.parametrize("shape", [(17, 17), (24, 24), (47, 47), (33, 65), (65, 64), (8, 130)])
def test_from_any_other_grid_the_input_is_brought_to_that_of_the_domain_and_the_answer_back(shape):
    torch.manual_seed(0)
    domain = Domain.box((1.0, 1.0), (33, 33), "neumann")
    model = MgNO(1, 1, width=3, layers=2, domain=domain, smoothing=((1, 0), (1, 1), (2, 0))).double()
    own, other = (pyramid(domain, n, 1)[0] for n in ((33, 33), shape))
    u = torch.randn(1, 1, *shape, dtype=torch.float64)
    assert torch.equal(model(u), resample(model(resample(u, other, own)), own, other))
    assert model.grids(shape) == model.grids((33, 33))
    assert (model.collapse(shape)(u) - model(u)).abs().max() < 1e-12


@pytest.mark.parametrize("shape", [(91, 91), (57, 57), (33, 129), (17, 257), (64, 66), (257, 257)])
def test_a_solver_made_for_one_grid_solves_on_all(shape):
    """What a cycle whose weights belong to another spacing gets wrong by factors."""
    domain = Domain.box((1.0, 1.0), (65, 65), "dirichlet")
    smoothing = ((1, 1),) * 4 + ((8, 0),)
    model = multigrid_init(MgNO(1, 1, width=1, layers=1, domain=domain, smoothing=smoothing, cycle="residual", scale="learned"))
    model = model.double()
    with torch.no_grad():
        model.pointwise[0].weight.zero_()
        model.pointwise[0].bias.zero_()
        model.head.weight.fill_(1.0)

    def gain(points):
        x, y = domain.with_points(points).mesh()
        source = torch.sin(torch.pi * x) * torch.sin(torch.pi * y)
        with torch.no_grad():
            return float(model(source[None, None]).sum() / source.sum())

    assert gain(shape) == pytest.approx(gain((65, 65)), rel=5e-3)


@pytest.mark.parametrize("layout", ["first_end", "cells"])
def test_on_a_ring_shifts_and_other_grids_commute(layout):
    torch.manual_seed(0)
    domain = Domain.box((1.0,), (64,), "periodic", layout)
    model = MgNO(1, 1, width=4, layers=2, domain=domain, smoothing=((1, 0), (2, 0))).double()
    x = torch.arange(32, dtype=torch.float64) / 32
    u = torch.exp(torch.sin(2 * torch.pi * x))[None, None]
    with torch.no_grad():
        whole, shifted = model(u), model(u.roll(5, -1)).roll(-5, -1)
    assert (whole - shifted).abs().max() < 1e-3 * (whole.max() - whole.min())


def test_trained_at_16_it_is_as_good_at_32_as_there(published_data):
    """A short training; the whole one is benchmarks/darcy_published.py."""
    train, test, fine = (
        stream(published_data / "darcy" / f"darcy_{name}.pt", batch_size=20, seed=0)
        for name in ("train_16", "test_16", "test_32")
    )
    torch.manual_seed(0)
    operator = MgNO(1, 1, width=16, layers=3, domain=strided(train.domain), smoothing=((1, 0),) * 3 + ((2, 0),))
    model = Normalised(operator, Normaliser.of(train, ["x"]), Normaliser.of(train, ["y"], centre=False))
    fit(model, RelativeL2(train.domain, ("x",), ("y",)), train, steps=500, optimiser=Adam(3e-3, clip=1.0))
    errors = [evaluate(model, each, metrics={"l2": relative_l2}).rows[0].statistic("l2", "mean") for each in (test, fine)]
    assert errors[0] < 0.16
    assert errors[1] < 1.05 * errors[0]
