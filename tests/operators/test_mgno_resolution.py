import itertools

import pytest
import torch

from sciml.data.normalise import Normalised, Normaliser
from sciml.data.stream import stream
from sciml.metrics.fields import relative_l2
from sciml.numerics.domain import Domain
from sciml.numerics.ghosts import pyramid
from sciml.numerics.resolution import finer, inject, interpolate
from sciml.operators.mgno import MgNO
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
    for cubic in (False, True):
        up = interpolate(u, coarse, fine, cubic=cubic)
        assert up.shape == (2, fine[0].points)
        assert torch.equal(inject(up, fine, coarse), u)


@pytest.mark.parametrize(("sides", "layout"), PLACES)
def test_on_a_finer_grid_the_sides_stay_in_place_and_every_point_is_kept(sides, layout):
    for grid in levels_of(sides, layout):
        (line,) = finer(grid)
        length = (line.points - 1 + sum(line.gaps)) / 2
        assert length == pytest.approx(grid[0].points - 1 + sum(grid[0].gaps))
        u = torch.randn(grid[0].points)
        assert torch.equal(inject(interpolate(u, grid, (line,), cubic=True), (line,), grid), u)


@pytest.mark.parametrize("layout", ["both_ends", "interior", "cells"])
def test_past_open_sides_straight_lines_stay_straight(layout):
    fine, coarse = levels_of("open", layout)
    x, y = places_of(coarse[0], 2.0), places_of(fine[0], 1.0)
    for cubic in (False, True):
        assert torch.allclose(interpolate(3 * x - 1, coarse, fine, cubic=cubic), 3 * y - 1, atol=1e-12)


@pytest.mark.parametrize(("cubic", "order"), [(False, 2), (True, 4)])
def test_interpolation_is_of_its_order(cubic, order):
    def error(points):
        fine, coarse = levels_of("periodic", "first_end", points)
        x, y = (2 * torch.pi * places_of(line, step / points) for line, step in ((coarse[0], 2), (fine[0], 1)))
        return float((interpolate(torch.sin(x + 1), coarse, fine, cubic=cubic) - torch.sin(y + 1)).abs().max())

    assert error(64) / error(128) == pytest.approx(2**order, rel=0.05)


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


def test_a_coarser_input_is_interpolated_to_the_trained_spacing():
    torch.manual_seed(0)
    domain = Domain.box((1.0, 1.0), (33, 33), "neumann")
    model = MgNO(1, 1, width=3, layers=2, domain=domain, smoothing=((1, 0), (1, 1), (2, 0))).double()
    coarse, fine = (pyramid(domain, (n, n), 1)[0] for n in (17, 33))
    u = torch.randn(1, 1, 17, 17, dtype=torch.float64)
    expected = inject(model(interpolate(u, coarse, fine, cubic=False)), fine, coarse)
    assert torch.equal(model(u), expected)
    assert len(model.grids((17, 17))) == 3


def test_trained_at_16_it_is_as_good_at_32_as_there(published_data):
    """A short training; the whole one is benchmarks/darcy_published.py."""
    train, test, fine = (
        stream(published_data / "darcy" / f"darcy_{name}.pt", batch_size=20, seed=0)
        for name in ("train_16", "test_16", "test_32")
    )
    torch.manual_seed(0)
    operator = MgNO(1, 1, width=16, layers=3, domain=train.domain, smoothing=((1, 0),) * 3 + ((2, 0),))
    model = Normalised(operator, Normaliser.of(train, ["x"]), Normaliser.of(train, ["y"], centre=False))
    fit(model, RelativeL2(train.domain, ("x",), ("y",)), train, steps=500, optimiser=Adam(3e-3, clip=1.0))
    errors = [evaluate(model, each, metrics={"l2": relative_l2}).rows[0].statistic("l2", "mean") for each in (test, fine)]
    assert errors[0] < 0.16
    assert errors[1] < 1.05 * errors[0]
