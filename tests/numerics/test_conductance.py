"""-div(c grad p) on cells: against closed forms, against a matrix assembled cell by cell, and what every operator obeys."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.ndimage
import scipy.sparse
import scipy.sparse.linalg
import torch

from sciml.numerics.aggregation import AggregationMultigrid, solve_conductance
from sciml.numerics.conductance import conductance_operator
from sciml.numerics.domain import Domain
from sciml.numerics.krylov import conjugate_gradients

SIDES = ["periodic", "dirichlet", "neumann", ("dirichlet", "neumann"), ("neumann", "dirichlet")]
BOXES = [
    Domain.box((1.5,), (9,), [("neumann", "dirichlet")], "cells"),
    *[Domain.box((1.0, 1.7), (12, 15), pair, "cells") for pair in itertools.product(SIDES, repeat=2)],
    Domain.box((1.0, 2.0, 0.7), (6, 9, 5), ["periodic", ("dirichlet", "neumann"), "neumann"], "cells"),
    Domain.box((1.0, 1.0, 1.0), (8, 8, 8), "neumann", "cells"),
    Domain.box((1.0, 1.0, 1.0), (7, 6, 8), "dirichlet", "cells"),
]


def random(domain: Domain, samples: int = 2, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(samples, *domain.shape, dtype=torch.float64, generator=generator)


def scene(domain: Domain, share: float = 0.25):
    """Conductances of contrast about 100, and random solid cells, so many that pockets of fluid are shut in."""
    c = torch.exp(random(domain, seed=1))
    solid = random(domain, seed=2) > float(torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(1 - share)))
    return conductance_operator(c, domain, solid), c, solid


def assembled(c: np.ndarray, solid: np.ndarray, domain: Domain) -> scipy.sparse.csr_matrix:
    """The matrix of the fluid cells, cell by cell, two resistances in a row between centres."""
    number = np.cumsum(~solid).reshape(solid.shape) - 1
    entries = []
    for place in np.argwhere(~solid):
        for axis, step in itertools.product(range(domain.dim), (-1, 1)):
            line, h = domain.axes[axis], domain.spacing[axis]
            there = place.copy()
            there[axis] += step
            outside = not 0 <= there[axis] < line.points
            side = line.sides[0 if step < 0 else 1]
            i, here = number[tuple(place)], c[tuple(place)]
            if outside and side == "dirichlet":
                entries.append((i, i, 1 / (h / 2 / here) / h))
            if outside and side != "periodic":
                continue
            there[axis] %= line.points
            if not solid[tuple(there)]:
                link = 1 / (h / 2 / here + h / 2 / c[tuple(there)]) / h
                entries += [(i, i, link), (i, number[tuple(there)], -link)]
    rows, columns, values = zip(*entries, strict=True)
    return scipy.sparse.csr_matrix((values, (rows, columns)), shape=((~solid).sum(),) * 2)


@pytest.mark.parametrize("domain", BOXES, ids=str)
def test_apply_diagonal_and_matrix_are_those_assembled_cell_by_cell(domain):
    operator, c, solid = scene(domain)
    p = random(domain)
    image, diagonal = operator.apply(p), operator.diagonal()
    for i, fluid in enumerate(~solid):
        expected = assembled(c[i].numpy(), solid[i].numpy(), domain)
        scale = abs(expected).max()
        assert abs(operator.matrix(i) - expected).max() <= 1e-14 * scale
        assert np.abs(image[i][fluid].numpy() - expected @ p[i][fluid].numpy()).max() <= 1e-14 * scale * domain.dim
        assert np.abs(diagonal[i][fluid].numpy() - expected.diagonal()).max() <= 1e-14 * scale
    assert (image[solid] == 0).all()


@pytest.mark.parametrize("domain", BOXES, ids=str)
def test_the_operator_is_symmetric_and_positive(domain):
    operator, _, _ = scene(domain)
    p, q = random(domain, seed=3), random(domain, seed=4)
    first, second = (q * operator.apply(p)).flatten(1).sum(1), (p * operator.apply(q)).flatten(1).sum(1)
    scale = (p * operator.diagonal() * p).flatten(1).sum(1)
    assert ((first - second).abs() <= 1e-13 * scale).all()
    assert ((p * operator.apply(p)).flatten(1).sum(1) > 0).all()


@pytest.mark.parametrize("domain", BOXES, ids=str)
def test_what_flows_out_of_all_cells_leaves_through_the_dirichlet_sides(domain):
    operator, _, _ = scene(domain)
    p = random(domain)
    out = torch.zeros(len(p), dtype=torch.float64)
    for k, axis in enumerate(domain.axes):
        flux = operator.flux(p, k)
        for end, sign in ((0, 1.0), (-1, -1.0)):
            if axis.sides[end] == "dirichlet":
                out += sign * flux.movedim(k + 1, 1)[:, end].reshape(len(p), -1).sum(1)
            elif axis.sides[end] == "neumann":
                assert (flux.select(k + 1, end) == 0).all()
    scale = (operator.diagonal() * p.abs()).flatten(1).sum(1)
    assert ((operator.apply(p).flatten(1).sum(1) - out).abs() <= 1e-13 * scale).all()


@pytest.mark.parametrize("domain", BOXES, ids=str)
def test_floating_components_are_those_of_an_image_labelled_by_scipy(domain):
    # Without periodic axes, as the labels of scipy know none: these are opened.
    sides = [("neumann", "neumann") if "periodic" in a.sides else a.sides for a in domain.axes]
    domain = Domain.box([a.length for a in domain.axes], domain.shape, sides, "cells")
    operator, _, solid = scene(domain, share=0.45)
    seen = 0
    for i, fluid in enumerate(~solid.numpy()):
        labels, count = scipy.ndimage.label(fluid)
        held = {0}
        for axis, line in enumerate(domain.axes):
            held |= {int(n) for e in (0, -1) if line.sides[e] == "dirichlet" for n in labels.take(e, axis).ravel()}
        floating = operator.floating[i].numpy()
        assert (floating[np.isin(labels, list(held))] == -1).all()
        for label in set(range(1, count + 1)) - held:
            (number,) = set(floating[labels == label].tolist())
            assert number >= seen
            assert (floating == number).sum() == (labels == label).sum()
        seen = max(seen, floating.max() + 1)


def test_a_periodic_axis_joins_what_a_wall_would_part():
    solid = torch.zeros(1, 8, 4, dtype=torch.bool)
    solid[:, 3] = True
    c = torch.ones(1, 8, 4, dtype=torch.float64)
    ring = conductance_operator(c, Domain.box((1.0, 1.0), (8, 4), "periodic", "cells"), solid)
    box = conductance_operator(c, Domain.box((1.0, 1.0), (8, 4), "neumann", "cells"), solid)
    assert ring.floating.unique().tolist() == [-1, 0]
    assert box.floating.unique().tolist() == [-1, 0, 1]


@pytest.mark.parametrize("domain", BOXES, ids=str)
def test_the_answer_is_that_of_a_direct_solver(domain):
    operator, _, solid = scene(domain)
    source = operator.balanced(random(domain))
    answer = solve_conductance(operator, source, tolerance=1e-13)
    assert (answer.residual <= 1e-13).all()
    assert (answer.solution[solid] == 0).all()
    for i, fluid in enumerate(~solid):
        matrix, f = operator.matrix(i), source[i][fluid].numpy()
        floating = operator.floating[i][fluid].numpy()
        # Each component that floats is held by adding the constant over it: the answer then has mean zero there.
        for number in set(floating.tolist()) - {-1}:
            constant = scipy.sparse.csr_matrix((floating == number).astype(float))
            matrix = matrix + constant.T @ constant
        expected = scipy.sparse.linalg.splu(matrix.tocsc()).solve(f)
        assert np.linalg.norm(answer.solution[i][fluid].numpy() - expected) <= 1e-9 * np.linalg.norm(expected)


@pytest.mark.parametrize("domain", BOXES, ids=str)
def test_the_cycle_is_symmetric_and_positive(domain):
    operator, _, _ = scene(domain)
    cycle = AggregationMultigrid(operator, torch.float64)
    r, s = (operator.balanced(random(domain, seed=n)) for n in (5, 6))
    first, second = (s * cycle(r)).flatten(1).sum(1), (r * cycle(s)).flatten(1).sum(1)
    energy = (r * cycle(r)).flatten(1).sum(1)
    assert (energy > 0).all()
    assert ((first - second).abs() <= 1e-12 * energy).all()


def manufactured(domain: Domain):
    """p that meets every condition, c that varies, and -div(c grad p) by differentiating the closed forms."""
    mesh = [x.clone().requires_grad_() for x in domain.mesh()]
    scaled = [(x - a.origin) / a.length for x, a in zip(mesh, domain.axes, strict=True)]
    p = torch.ones_like(mesh[0])
    exponent = torch.zeros_like(mesh[0])
    for k, (x, axis) in enumerate(zip(scaled, domain.axes, strict=True)):
        wave = {"periodic": 2.0, "dirichlet": 1.0, "neumann": 1.0}[axis.sides[0]] if len(set(axis.sides)) == 1 else 0.5
        p = p * (torch.cos(wave * math.pi * x) if axis.sides[0] == "neumann" else torch.sin(wave * math.pi * x))
        exponent = exponent + torch.sin(2 * math.pi * x + k)
    c = torch.exp(0.7 * exponent)
    slopes = torch.autograd.grad(p.sum(), mesh, create_graph=True)
    pieces = [torch.autograd.grad((c * s).sum(), x, retain_graph=True)[0] for s, x in zip(slopes, mesh, strict=True)]
    return p.detach()[None], c.detach()[None], -sum(pieces)[None]


@pytest.mark.parametrize(
    ("sides", "points"),
    [
        (["dirichlet", "dirichlet"], (24, 48, 96)),
        ([("dirichlet", "neumann"), "neumann"], (24, 48, 96)),
        (["periodic", ("neumann", "dirichlet")], (24, 48, 96)),
        (["neumann", "neumann"], (24, 48, 96)),
        (["neumann", "periodic", ("dirichlet", "neumann")], (12, 24, 48)),
        (["dirichlet", "dirichlet", "dirichlet"], (12, 24, 48)),
    ],
    ids=str,
)
def test_smooth_conductances_are_solved_at_second_order(sides, points):
    def error(n):
        domain = Domain.box((1.0,) * len(sides), (n,) * len(sides), sides, "cells")
        p, c, f = manufactured(domain)
        operator = conductance_operator(c, domain)
        p = operator.balanced(p)
        return float(domain.norm(solve_conductance(operator, operator.balanced(f)).solution - p).squeeze())

    errors = [error(n) for n in points]
    assert math.log2(errors[1] / errors[2]) == pytest.approx(2.0, abs=0.1)
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.2)


@pytest.mark.parametrize(
    ("lengths", "shape", "sides"),
    [
        ((1.0, 1.0), (64, 64), "dirichlet"),
        ((1.0, 1.0), (96, 160), "neumann"),
        ((1.0, 20.0), (61, 67), "neumann"),
        ((1.0, 1.0, 0.1), (24, 24, 24), "neumann"),
    ],
)
def test_twenty_five_iterations_do_around_an_obstacle(lengths, shape, sides):
    domain = Domain.box(lengths, shape, sides, "cells")
    places = zip(domain.mesh(), lengths, (0.4, 0.5, 0.5), strict=False)
    solid = (sum((x / length - at) ** 2 for x, length, at in places) < 0.04)[None]
    operator = conductance_operator(torch.ones(1, *shape, dtype=torch.float64), domain, solid)
    answer = solve_conductance(operator, operator.balanced(random(domain, 1)))
    assert int(answer.iterations) <= 25


def test_the_cycle_in_single_precision_takes_hardly_more_iterations_whatever_the_units():
    domain = Domain.box((1.0, 1.0), (32, 32), "neumann", "cells")
    c = torch.exp(2.0 * random(domain))  # contrast about 10⁶ from cell to cell
    source = conductance_operator(c, domain).balanced(random(domain, seed=1))
    counts = []
    for units, dtype in ((1.0, torch.float64), (1.0, torch.float32), (1e60, torch.float32), (1e-60, torch.float32)):
        operator = conductance_operator(c * units, domain)
        cycle = AggregationMultigrid(operator, dtype)
        found = conjugate_gradients(operator.apply, source / units, precondition=cycle, tolerance=1e-10)
        assert (found.residual <= 1e-10).all()
        counts.append(int(found.iterations.max()))
    assert max(counts) <= counts[0] + 2


def test_a_sample_alone_is_the_same_as_in_a_block():
    domain = Domain.box((1.0, 1.0), (24, 24), ["neumann", ("dirichlet", "neumann")], "cells")
    operator, c, solid = scene(domain)
    source = random(domain)
    source[0] = operator.apply(torch.ones_like(source))[0] * 1e-3  # one that arrives sooner
    source = operator.balanced(source)
    both = solve_conductance(operator, source)
    for i in range(2):
        alone = solve_conductance(conductance_operator(c[i : i + 1], domain, solid[i : i + 1]), source[i : i + 1])
        assert int(alone.iterations) == int(both.iterations[i])
        assert (alone.solution[0] - both.solution[i]).norm() <= 1e-13 * both.solution[i].norm()


def test_derivatives_by_source_and_conductance_are_those_of_the_exact_inverse():
    domain = Domain.box((1.0, 1.0), (4, 5), ["neumann", ("dirichlet", "neumann")], "cells")
    _, c, solid = scene(domain)
    source = random(domain)

    def answer(c, source):
        operator = conductance_operator(c, domain, solid)
        return solve_conductance(operator, operator.balanced(source), tolerance=1e-13).solution

    assert torch.autograd.gradcheck(answer, (c.requires_grad_(), source.requires_grad_()), eps=1e-6, atol=1e-7)


def test_nothing_but_solid_or_zero_gives_zero():
    domain = Domain.box((1.0, 1.0), (8, 8), "neumann", "cells")
    c = torch.ones(2, 8, 8, dtype=torch.float64)
    solid = torch.stack((torch.ones(8, 8), torch.zeros(8, 8))).bool()
    operator = conductance_operator(c, domain, solid)
    source = torch.zeros_like(c)
    answer = solve_conductance(operator, source)
    assert (answer.solution == 0).all()
    assert (answer.residual == 0).all()
    assert (operator.relative_residual(answer.solution, source) == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"conductance": torch.ones(2, 8, 9)}, r"^conductance: got shape \(2, 8, 9\), need .* \(8, 8\)"),
        ({"conductance": -torch.ones(2, 8, 8)}, r"^conductance: got -1.0 in sample 0 at \[0, 0\]"),
        ({"conductance": torch.ones(2, 8, 8) * math.nan}, r"^conductance: got nan in sample 0"),
        ({"domain": Domain.box((1.0, 1.0), (8, 8), "neumann")}, r"^domain: got an axis with layout 'both_ends'.* need cells"),
        ({"domain": Domain.box((1.0, 1.0), (8, 8), "open", "cells")}, r"^domain: .*'open'.* need cells"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments, message):
    domain = Domain.box((1.0, 1.0), (8, 8), "neumann", "cells")
    with pytest.raises(ValueError, match=message):
        conductance_operator(**{"conductance": torch.ones(2, 8, 8), "domain": domain} | arguments)


def test_sources_without_an_answer_are_refused():
    domain = Domain.box((1.0, 1.0), (8, 8), "neumann", "cells")
    ones = torch.ones(1, 8, 8, dtype=torch.float64)
    operator = conductance_operator(ones, domain)
    with pytest.raises(ValueError, match=r"^source: in sample 0 a share of 1.0e\+00 is constant .* operator.balanced"):
        solve_conductance(operator, ones)
    with pytest.raises(ValueError, match=r"^source: got a value that is not finite in sample 0"):
        solve_conductance(operator, ones * math.nan)
    source = operator.balanced(random(domain, 1))
    with pytest.raises(ArithmeticError, match=r"sample 0 reached .* in 2 of 2 iterations, need 9.0e-11; the rounding"):
        solve_conductance(operator, source, max_iterations=2)
