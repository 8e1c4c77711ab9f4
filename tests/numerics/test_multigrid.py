"""-div(a grad u) = f: against closed forms, against a matrix assembled node by node, and the laws of the method."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import jaxtyping
import numpy as np
import pytest
import scipy.fft
import scipy.sparse
import scipy.sparse.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml.numerics.diffusion import diffusion_operator
from sciml.numerics.domain import Domain
from sciml.numerics.multigrid import Multigrid, solve_diffusion
from sciml.numerics.stencils import FORWARD, Stencil, galerkin, interpolation, split_stencil

SIDES = [("dirichlet", "dirichlet"), ("dirichlet", "neumann"), ("neumann", "dirichlet"), ("neumann", "neumann")]
steady = settings(deadline=None, derandomize=True, database=None, max_examples=50)


def square(points: int) -> Domain:
    return Domain.box((1.0, 1.0), (points, points), "dirichlet")


def two_phases(points: int, tau: float, low: float, seeds: range) -> torch.Tensor:
    """12 where a Gaussian field of covariance tau² (-Laplace + tau²)^-2 (Neumann) is positive, `low` elsewhere."""
    k = np.arange(points)
    amplitude = points * tau / (math.pi**2 * (k[:, None] ** 2 + k**2) + tau**2)
    amplitude[0, 0] = 0.0
    waves = np.stack([np.random.default_rng(seed).standard_normal((points, points)) for seed in seeds])
    field = scipy.fft.idctn(amplitude * waves, axes=(1, 2), norm="ortho")
    return torch.from_numpy(np.where(field >= 0, 12.0, low))


def six_scales(points: int, seeds: range) -> torch.Tensor:
    """Product of six oscillating factors, 1 ± 1/2 each: contrast about 1e4."""
    x, y = np.meshgrid(*[np.linspace(0, 1, points)] * 2, indexing="ij")
    fields = []
    for seed in seeds:
        waves = np.random.default_rng(seed).uniform(1.0, 1.5, 6) * 2.0 ** np.arange(6)
        factors = [(1 + np.cos(w * np.pi * (x + y)) / 2) * (1 + np.sin(w * np.pi * (y - 3 * x)) / 2) for w in waves]
        fields.append(np.prod(factors, axis=0))
    return torch.from_numpy(np.stack(fields))


# ---------------------------------------------------------------- the discrete equation, assembled again, node by node


def mean(values: list[float], kind: str) -> float:
    return sum(values) / len(values) if kind == "arithmetic" else len(values) / sum(1 / v for v in values)


def assembled(a: np.ndarray, domain: Domain, at: str, kind: str) -> tuple[scipy.sparse.csc_matrix, np.ndarray]:
    """Matrix of the unknowns, and the mask of the nodes that are unknowns."""
    (rows, columns), (dx, dy), (xs, ys) = domain.shape, domain.spacing, (axis.sides for axis in domain.axes)
    fixed = np.zeros((rows, columns), bool)
    for place, side in (((0,), xs[0]), ((-1,), xs[1]), ((slice(None), 0), ys[0]), ((slice(None), -1), ys[1])):
        fixed[place] |= side == "dirichlet"
    number = np.cumsum(~fixed).reshape(fixed.shape) - 1
    entries: list[tuple[int, int, float]] = []
    for i, j in np.argwhere(~fixed):
        width, height = dx / (1 + (i in (0, rows - 1))), dy / (1 + (j in (0, columns - 1)))
        for p, q in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
            if not (0 <= p < rows and 0 <= q < columns):
                continue
            if at == "nodes":
                face = mean([a[i, j], a[p, q]], kind)
            elif p != i:
                face = mean([a[min(i, p), c] for c in (j - 1, j) if 0 <= c < columns - 1], kind)
            else:
                face = mean([a[r, min(j, q)] for r in (i - 1, i) if 0 <= r < rows - 1], kind)
            link = face * (height / dx if p != i else width / dy) / (width * height)
            entries.append((number[i, j], number[i, j], link))
            if not fixed[p, q]:
                entries.append((number[i, j], number[p, q], -link))
    row, column, value = zip(*entries, strict=True)
    return scipy.sparse.csc_matrix((value, (row, column))), ~fixed


def direct(matrix: scipy.sparse.csc_matrix, f: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Solution of the assembled equation; with `weights` the matrix is singular and the weighted mean shall be zero."""
    if weights is None:
        return scipy.sparse.linalg.splu(matrix).solve(f)
    u = np.linalg.lstsq(matrix.toarray(), f, rcond=None)[0]
    return u - weights @ u / weights.sum()


@steady
@given(
    shape=st.tuples(st.integers(3, 24), st.integers(3, 24)),
    lengths=st.tuples(st.floats(0.3, 3), st.floats(0.3, 3)),
    sides=st.tuples(st.sampled_from(SIDES), st.sampled_from(SIDES)),
    at=st.sampled_from(["nodes", "cells"]),
    kind=st.sampled_from(["arithmetic", "harmonic"]),
    roughness=st.sampled_from([0.0, 1.0, 2.0]),
    seed=st.integers(0, 99),
)
def test_any_box_gives_the_answer_of_a_direct_solver(shape, lengths, sides, at, kind, roughness, seed):
    random = np.random.default_rng(seed)
    domain = Domain.box(lengths, shape, sides)
    cells = at == "cells"
    a = np.exp(roughness * random.standard_normal((2, shape[0] - cells, shape[1] - cells)))
    f = torch.from_numpy(random.standard_normal((2, *shape)))
    closed = sides == (SIDES[3], SIDES[3])
    if closed:
        f = f - domain.mean(f)[:, None, None]
    solution = solve_diffusion(torch.from_numpy(a), f, domain, coefficient_at=at, face_mean=kind)
    operator = diffusion_operator(torch.from_numpy(a), domain, coefficient_at=at, face_mean=kind)
    for k in range(2):
        matrix, unknown = assembled(a[k], domain, at, kind)
        u, right = solution.u[k].numpy(), f[k].numpy()[unknown]
        expected = direct(matrix, right, domain.weights().numpy()[unknown] if closed else None)
        assert np.linalg.norm(u[unknown] - expected) <= 1e-9 * np.linalg.norm(expected)
        assert (u[~unknown] == 0).all()
        image = operator.apply(solution.u)[k].numpy()
        assert np.linalg.norm(image[unknown] - matrix @ u[unknown]) <= 1e-14 * abs(matrix).max() * np.linalg.norm(u)


@pytest.mark.parametrize("points", [64, 65])
def test_a_darcy_sample_gives_the_answer_of_splu(points):
    a = two_phases(points, 5.0, 2.0, range(1))
    solution = solve_diffusion(a, torch.ones_like(a), square(points))
    matrix, unknown = assembled(a[0].numpy(), square(points), "nodes", "arithmetic")
    expected = direct(matrix, np.ones(len(matrix.indptr) - 1), None)
    u = solution.u[0].numpy()[unknown]
    assert np.linalg.norm(u - expected) <= 1e-9 * np.linalg.norm(expected)
    residual = np.linalg.norm(1 - matrix @ u) / math.sqrt(len(u))
    assert float(solution.residual[0]) == pytest.approx(residual, rel=1e-2)
    assert residual <= 1e-10


# ---------------------------------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("at", ["nodes", "cells"])
@pytest.mark.parametrize("intervals", [(18, 36, 72), (15, 45, 135)])
def test_second_order_with_a_variable_coefficient_and_mixed_sides(at, intervals):
    """u = sin(pi x) cos(pi y / 2) on two by one: zero at x = 0 and 2 and at y = 1, no flux at y = 0."""

    def error(n: int) -> float:
        domain = Domain.box((2.0, 1.0), (n // 3 * 4 + 1, n + 1), ["dirichlet", ("neumann", "dirichlet")])
        x, y = domain.mesh()
        u = torch.sin(math.pi * x) * torch.cos(math.pi / 2 * y)
        u_x = math.pi * torch.cos(math.pi * x) * torch.cos(math.pi / 2 * y)
        u_y = -math.pi / 2 * torch.sin(math.pi * x) * torch.sin(math.pi / 2 * y)
        f = 1.25 * math.pi**2 * u * (2 + torch.sin(2 * x + y)) - torch.cos(2 * x + y) * (2 * u_x + u_y)
        if at == "cells":
            x, y = ((p[1:, 1:] + p[:-1, :-1]) / 2 for p in (x, y))
        a = 2 + torch.sin(2 * x + y)
        found = solve_diffusion(a[None], f[None], domain, coefficient_at=at).u[0]
        return float(domain.norm(found - u))

    slopes = [math.log(error(n) / error(m)) / math.log(m / n) for n, m in pairwise(intervals)]
    assert slopes == pytest.approx([2.0, 2.0], abs=0.05)


@pytest.mark.parametrize("shape", [(3, 3), (64, 65), (20, 131), (128, 9)])
def test_sine_waves_are_divided_by_their_discrete_eigenvalue(shape):
    domain = Domain.box((1.0, 1.5), shape, "dirichlet")
    x, y = domain.mesh()
    f = torch.sin(math.pi * x) * torch.sin(2 * math.pi * y / 3)
    eigenvalue = sum(
        (2 / h * math.sin(math.pi / 2 * h / length)) ** 2 for h, length in zip(domain.spacing, (1, 1.5), strict=True)
    )
    u = solve_diffusion(torch.full((1, *shape), 3.0).double(), f[None], domain, tolerance=1e-12).u[0]
    assert float((u - f / (3 * eigenvalue)).abs().max()) <= 1e-13


def test_with_neumann_on_all_sides_the_solution_has_mean_zero():
    domain = Domain.box((1.0, 1.0), (50, 33), "neumann")
    x, y = domain.mesh()
    f = torch.cos(math.pi * x) * torch.cos(2 * math.pi * y)
    eigenvalue = sum((2 / h * math.sin(math.pi / 2 * k * h)) ** 2 for h, k in zip(domain.spacing, (1, 2), strict=True))
    u = solve_diffusion(torch.ones(1, 50, 33).double(), f[None], domain).u[0]
    assert float((u - f / eigenvalue).abs().max()) <= 1e-11
    assert abs(float(domain.mean(u))) <= 1e-16


@pytest.mark.parametrize("axis", [0, 1])
def test_layers_are_solved_exactly_at_the_nodes(axis):
    """In one dimension, -(a u')' = 1 with a constant in each cell: the flux is linear, so its midpoint values are its means."""
    n, h = 41, 1 / 40
    a = torch.from_numpy(np.random.default_rng(3).uniform(0.01, 10, n - 1))
    middle = (torch.arange(n - 1).double() + 0.5) * h
    flux = (middle / a).sum() / (1 / a).sum() - middle  # a u', with u zero at both ends
    exact = torch.cat((torch.zeros(1).double(), torch.cumsum(h * flux / a, 0)))
    shape, sides = [n, 12], ["dirichlet", "neumann"]
    cells = a[:, None].expand(n - 1, 11)
    if axis == 1:
        shape, sides, cells = shape[::-1], sides[::-1], cells.T
    domain = Domain.box((1.0, 1.0), shape, sides)
    found = solve_diffusion(cells[None], torch.ones(1, *shape).double(), domain, coefficient_at="cells", tolerance=1e-12).u[0]
    expected = exact[:, None].expand(n, 12) if axis == 0 else exact.expand(12, n)
    assert float((found - expected).abs().max()) <= 1e-12 * float(exact.abs().max())


def test_a_boundary_value_in_u_counts_in_the_residual():
    """x + y solves the equation without a source when it stands on the walls, too."""
    domain = square(12)
    u = sum(domain.mesh())[None]
    image = diffusion_operator(torch.full((1, 12, 12), 2.0).double(), domain).apply(u)
    assert float(image.abs().max()) <= 1e-11


# -------------------------------------------------------------------------------------------------- laws of the method


@pytest.mark.parametrize(("tau", "low", "bound"), [(3.0, 3.0, 12), (5.0, 2.0, 14)])
def test_darcy_takes_few_iterations_on_every_grid(tau, low, bound):
    counts = []
    for points in (64, 65, 129, 257, 421):
        a = two_phases(points, tau, low, range(1 if points > 200 else 4))
        solution = solve_diffusion(a, torch.ones_like(a), square(points))
        assert float(solution.residual.max()) <= 1e-10
        counts.append(int(solution.iterations.max()))
    assert max(counts) <= bound
    assert max(counts) - min(counts) <= 2


@pytest.mark.parametrize("points", [64, 129])
def test_a_contrast_of_ten_thousand_is_no_harder(points):
    a = six_scales(points, range(4))
    assert 3e3 <= float((a.amax((1, 2)) / a.amin((1, 2))).max()) <= 1e5
    assert int(solve_diffusion(a, torch.ones_like(a), square(points)).iterations.max()) <= 15


@pytest.mark.parametrize("stretch", [0.01, 0.2, 1.4, 1.5, 7.0])
def test_stretched_grids_are_no_harder(stretch):
    a = two_phases(65, 3.0, 3.0, range(2))
    domain = Domain.box((1.0, stretch), (65, 65), "dirichlet")
    assert int(solve_diffusion(a, torch.ones_like(a), domain).iterations.max()) <= 14


@pytest.mark.parametrize("sides", [(SIDES[0], SIDES[0]), (SIDES[1], SIDES[3])])
def test_the_operator_is_symmetric_in_the_inner_product_of_the_domain(sides):
    domain = Domain.box((1.0, 2.0), (17, 22), sides)
    operator = diffusion_operator(two_phases(22, 3.0, 3.0, range(1))[:, :17], domain)
    u, v = torch.randn(2, 1, 17, 22, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * operator.free
    uv, vu = domain.inner(v, operator.apply(u)), domain.inner(u, operator.apply(v))
    assert float(uv) == pytest.approx(float(vu), rel=1e-12)
    assert float(domain.inner(u, operator.apply(u))) > 0


@pytest.mark.parametrize("shape", [(33, 33), (20, 47)])
@pytest.mark.parametrize("sides", [(SIDES[0], SIDES[0]), (SIDES[1], SIDES[3]), (SIDES[3], SIDES[3])])
@pytest.mark.parametrize("lengths", [(1.0, 1.0), (1.0, 4.0)])
def test_the_preconditioner_is_symmetric_and_positive(shape, sides, lengths):
    domain = Domain.box(lengths, shape, sides)
    a = two_phases(47, 5.0, 2.0, range(1))[:, : shape[0], : shape[1]]
    multigrid = Multigrid(diffusion_operator(a, domain))
    finest = multigrid.levels[0]
    fields = [multigrid.split(torch.randn(1, *shape, generator=torch.Generator().manual_seed(k)).double()) for k in range(2)]
    images = []
    for field in fields:
        finest.source[2:] = field[2:]
        multigrid.cycle()
        images.append(finest.solution[2:].clone())
    products = [[float((field[2:] * image).sum()) for image in images] for field in fields]
    assert products[0][1] == pytest.approx(products[1][0], rel=1e-11)
    assert products[0][0] * products[1][1] > products[0][1] ** 2
    assert products[0][0] > 0


def test_a_sample_alone_is_the_sample_in_a_batch():
    easy, hard = (
        torch.ones(1, 40, 53).double(),
        torch.from_numpy(np.exp(3 * np.random.default_rng(0).standard_normal((1, 40, 53)))),
    )
    a = torch.cat((easy, hard, 5 * easy))
    f = torch.from_numpy(np.random.default_rng(1).standard_normal((3, 40, 53)))
    domain = Domain.box((1.0, 1.0), (40, 53), ["dirichlet", ("neumann", "dirichlet")])
    together = solve_diffusion(a, f, domain)
    assert together.iterations[1] > together.iterations[0] + 3
    for k in range(3):
        alone = solve_diffusion(a[k : k + 1], f[k : k + 1], domain)
        assert alone.iterations[0] == together.iterations[k]
        assert float((alone.u[0] - together.u[k]).norm()) <= 1e-13 * float(alone.u.norm())


def test_the_answer_is_the_same_bit_for_bit_every_time_and_the_arguments_are_left_alone():
    a, f = two_phases(33, 3.0, 3.0, range(3)), torch.ones(3, 33, 33).double()
    kept = a.clone(), f.clone()
    first, second = (solve_diffusion(a, f, square(33)).u for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(a, kept[0])
    assert torch.equal(f, kept[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same_answer():
    a = two_phases(64, 5.0, 2.0, range(3))
    here, there = (solve_diffusion(x, torch.ones_like(x), square(64)) for x in (a, a.cuda()))
    assert there.u.is_cuda
    assert float((there.u.cpu() - here.u).norm()) <= 1e-10 * float(here.u.norm())


def test_no_source_no_solution_and_no_iteration():
    a, f = torch.ones(2, 20, 20).double(), torch.zeros(2, 20, 20).double()
    f[1] = 1.0
    solution = solve_diffusion(a, f, square(20))
    assert solution.iterations[0] == 0
    assert solution.residual[0] == 0
    assert float(solution.u[0].abs().max()) == 0
    assert solution.residual[1] <= 1e-10


@steady
@given(
    shape=st.tuples(st.integers(2, 9), st.integers(2, 9)),
    step=st.sampled_from([(2, 2), (2, 1), (1, 2)]),
    seed=st.integers(0, 99),
)
def test_coarse_operators_are_galerkin_products(shape, step, seed):
    random = torch.Generator().manual_seed(seed)
    rows, columns = shape
    couplings = {}
    for down, right in FORWARD:
        coupling = torch.rand(2, rows, columns, generator=random, dtype=torch.float64)
        inside = [[i + down < rows and 0 <= j + right < columns for j in range(columns)] for i in range(rows)]
        couplings[down, right] = coupling * torch.tensor(inside)
    free = Stencil(torch.zeros(2, rows, columns).double(), couplings)
    fine = Stencil(-free.dense().sum(-1).view(2, rows, columns), couplings)  # maps constants to zero
    phased = split_stencil(fine)
    weights = interpolation(phased, step)
    coarse = galerkin(phased, weights, step)

    height, width = coarse.diagonal.shape[1:]
    matrix = torch.zeros(2, rows, columns, height, width).double()
    for i in range(rows):
        for j in range(columns):
            for (down, right), weight in weights[i % 2, j % 2].items():
                p, q = (i + down) // step[0], (j + right) // step[1]
                value = weight.view(2, phased.rows, phased.columns)[:, i // 2, j // 2]
                if 0 <= p < height and 0 <= q < width:
                    matrix[:, i, j, p, q] = value
                else:
                    assert float(value.abs().max()) == 0
    matrix = matrix.reshape(2, rows * columns, height * width)
    assert torch.allclose(matrix.sum(-1), torch.ones(1).double())
    used = matrix.abs().sum((0, 1)) > 0
    product = matrix.mT @ fine.dense() @ matrix
    assert torch.allclose(coarse.dense()[:, used][:, :, used], product[:, used][:, :, used], atol=1e-12)


# ------------------------------------------------------------------------------------------------------------- errors


def ones(*shape: int) -> torch.Tensor:
    return torch.ones(shape, dtype=torch.float64)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the run-time check of types, which users do not have."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_coefficient_that_is_not_positive_is_refused(value):
    a = ones(2, 9, 9)
    a[1, 3, 4] = value
    with pytest.raises(ValueError, match=rf"^coefficient: got {value} in sample 1 at \[3, 4\]"):
        solve_diffusion(a, ones(2, 9, 9), square(9))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("a", "f", "message"),
    [
        (ones(1, 9, 8), ones(1, 9, 9), r"^coefficient: got shape \(1, 9, 8\)"),
        (ones(9, 9), ones(1, 9, 9), r"^coefficient: got shape \(9, 9\)"),
        (ones(0, 9, 9), ones(0, 9, 9), r"^coefficient: got shape \(0, 9, 9\)"),
        (ones(1, 9, 9), ones(2, 9, 9), r"^source: got shape \(2, 9, 9\)"),
        (ones(1, 9, 9).float(), ones(1, 9, 9), r"^coefficient: got torch.float32"),
        (ones(1, 9, 9), ones(1, 9, 9).float(), r"^source: got torch.float32"),
        (ones(1, 9, 9), ones(1, 9, 9) * math.nan, r"^source: .* sample 0"),
    ],
)
def test_arguments_that_do_not_fit_are_named(a, f, message):
    with pytest.raises(ValueError, match=message):
        solve_diffusion(a, f, square(9))


@pytest.mark.parametrize(
    "domain",
    [
        Domain.box((1.0, 1.0), (9, 9), "periodic"),
        Domain.box((1.0, 1.0), (9, 9), "open"),
        Domain.box((1.0, 1.0), (9, 9), "dirichlet", "interior"),
        Domain.box((1.0,), (9,), "dirichlet"),
        Domain.box((1.0, 1.0), (9, 2), "dirichlet"),
    ],
)
def test_a_domain_it_cannot_take_is_refused(domain):
    with pytest.raises(ValueError, match=r"^domain: got .* need "):
        solve_diffusion(ones(1, 9, 9), ones(1, 9, 9), domain)


@pytest.mark.usefixtures("unchecked")
def test_unknown_choices_are_refused():
    with pytest.raises(ValueError, match=r"^coefficient_at: got 'faces', need one of nodes, cells"):
        solve_diffusion(ones(1, 9, 9), ones(1, 9, 9), square(9), coefficient_at="faces")
    with pytest.raises(ValueError, match=r"^face_mean: got 'geometric'"):
        solve_diffusion(ones(1, 9, 9), ones(1, 9, 9), square(9), face_mean="geometric")


def test_a_source_without_balance_is_refused_when_nothing_can_flow_out():
    with pytest.raises(ValueError, match=r"^source: got mean 1.0e\+00 in sample 0"):
        solve_diffusion(ones(1, 9, 9), ones(1, 9, 9), Domain.box((1.0, 1.0), (9, 9), "neumann"))


def test_a_tolerance_that_is_not_reached_is_an_error_that_says_what_was():
    a = two_phases(65, 5.0, 2.0, range(2))
    with pytest.raises(
        ArithmeticError, match=r"sample [01] reached a relative residual of .* in 3 of 3 iterations, need 1.0e-10"
    ):
        solve_diffusion(a, torch.ones_like(a), square(65), max_iterations=3)
    with pytest.raises(ArithmeticError, match=r"need 1.0e-18; the rounding of u alone leaves about \de-1[34]$"):
        solve_diffusion(a, torch.ones_like(a), square(65), tolerance=1e-18)


def test_a_coefficient_beyond_the_range_of_float64_is_an_error_not_an_answer():
    a = ones(1, 17, 17)
    a[0, 8, :] = 1e308
    with pytest.raises(ArithmeticError):
        solve_diffusion(a, ones(1, 17, 17), square(17))
