import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml.numerics.lyapunov import kaplan_yorke, lyapunov_spectrum

DT = 0.015  # of Lorenz-63: a Runge-Kutta step of order 4 contracts volumes right to 1e-3 in a unit of time
HENON_START = torch.tensor([[0.1, 0.1], [0.0, 0.0], [-0.5, 0.2]], dtype=torch.float64)


def linear(matrix):
    return (lambda z: z @ matrix.T), (lambda z, q: matrix @ q)


def henon(z):
    x, y = z.unbind(-1)
    return torch.stack([1 - 1.4 * x.square() + y, 0.3 * x], -1)


def henon_tangent(z, q):
    return torch.stack([-2.8 * z[..., :1] * q[..., 0, :] + q[..., 1, :], 0.3 * q[..., 0, :]], -2)


def lorenz(z):
    x, y, w = z.unbind(-1)
    return torch.stack([10 * (y - x), x * (28 - w) - y, x * y - 8 / 3 * w], -1)


def lorenz_tangent(z, q):
    x, y, w = (a[..., None] for a in z.unbind(-1))
    a, b, c = q.unbind(-2)
    return torch.stack([10 * (b - a), (28 - w) * a - b - x * c, y * a + x * b - 8 / 3 * c], -2)


def rk4_step(z, dt=DT):
    k1 = lorenz(z)
    k2 = lorenz(z + dt / 2 * k1)
    k3 = lorenz(z + dt / 2 * k2)
    return z + dt / 6 * (k1 + 2 * (k2 + k3) + lorenz(z + dt * k3))


def rk4_tangent(z, q, dt=DT):
    """A step of the variational equations, which is the derivative of the step."""
    z1 = z + dt / 2 * lorenz(z)
    z2 = z + dt / 2 * lorenz(z1)
    z3 = z + dt * lorenz(z2)
    q1 = lorenz_tangent(z, q)
    q2 = lorenz_tangent(z1, q + dt / 2 * q1)
    q3 = lorenz_tangent(z2, q + dt / 2 * q2)
    return q + dt / 6 * (q1 + 2 * (q2 + q3) + lorenz_tangent(z3, q + dt * q3))


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_linear_map_has_the_logarithms_of_its_eigenvalues(k, every):
    # The frame turns to the eigenvectors by a factor 2 or more in each step: 60 steps are all digits.
    matrix = torch.diag(torch.tensor([0.5, -2.0, 0.2], dtype=torch.float64))
    step, tangent = linear(matrix)
    found = lyapunov_spectrum(
        step, tangent, torch.zeros(3, dtype=torch.float64), steps=20, transient=60, every=every, dt=0.5, exponents=k
    )
    expected = [math.log(size) / 0.5 for size in (2.0, 0.5, 0.2)][:k]
    assert found.exponents.tolist() == pytest.approx(expected, abs=1e-12)
    assert found.standard_error.tolist() == pytest.approx([0] * k, abs=1e-12)


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=15)
def test_the_sum_of_all_exponents_is_the_logarithm_of_the_determinant(seed):
    matrix = torch.eye(4, dtype=torch.float64) + 0.3 * torch.randn(
        4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    step, tangent = linear(matrix)
    found = lyapunov_spectrum(step, tangent, torch.zeros(4, dtype=torch.float64), steps=20, transient=0, every=1)
    assert found.exponents.sum().item() == pytest.approx(torch.linalg.slogdet(matrix).logabsdet.item(), abs=1e-11)


def test_a_plane_rotation_has_exponents_zero():
    c, s = math.cos(0.7), math.sin(0.7)
    step, tangent = linear(torch.tensor([[c, -s], [s, c]], dtype=torch.float64))
    found = lyapunov_spectrum(step, tangent, torch.ones(2, dtype=torch.float64), steps=100, transient=0)
    assert found.exponents.abs().max() < 1e-15 * 10


def test_the_cat_map_has_the_logarithm_of_the_golden_ratio_squared():
    matrix = torch.tensor([[2.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    start = torch.tensor([0.3, math.sqrt(0.2)], dtype=torch.float64)
    golden = math.log((3 + math.sqrt(5)) / 2)
    found = lyapunov_spectrum(lambda z: (z @ matrix.T) % 1, lambda z, q: matrix @ q, start, steps=40, transient=40, every=2)
    assert found.exponents.tolist() == pytest.approx([golden, -golden], abs=1e-12)


def test_the_inverse_map_has_the_same_exponents_with_the_other_sign_in_reverse():
    matrix = torch.tensor([[1.5, 0.4, 0.0], [0.1, 0.9, 0.2], [0.0, 0.3, 0.4]], dtype=torch.float64)
    start = torch.zeros(3, dtype=torch.float64)
    forward, backward = (
        lyapunov_spectrum(*linear(m), start, steps=40, transient=300, every=2).exponents for m in (matrix, matrix.inverse())
    )
    assert backward.flip(0).neg().tolist() == pytest.approx(forward.tolist(), abs=1e-11)


def test_the_henon_map_contracts_areas_exactly_and_stretches_by_its_known_exponent():
    start = HENON_START.repeat(40, 1) * torch.linspace(0.5, 1, 120)[:, None]
    found = lyapunov_spectrum(henon, henon_tangent, start, steps=2000, transient=200, every=2)
    assert found.exponents.sum(-1).tolist() == pytest.approx([math.log(0.3)] * 120, abs=1e-11)
    mean, error = found.exponents[:, 0].mean().item(), found.exponents[:, 0].std().item() / math.sqrt(120)
    assert error < 1e-3
    assert mean == pytest.approx(0.4192, abs=4 * error + 5e-5)


def test_derivatives_are_taken_of_the_step_where_no_tangent_is_given():
    options = {"steps": 60, "transient": 30, "every": 3}
    given_one = lyapunov_spectrum(henon, henon_tangent, HENON_START, **options)
    found = lyapunov_spectrum(henon, None, HENON_START, **options)
    assert torch.allclose(found.exponents, given_one.exponents, rtol=0, atol=1e-9)
    flow = lyapunov_spectrum(rk4_step, None, torch.ones(3, dtype=torch.float64), steps=20, transient=10, exponents=2)
    known = lyapunov_spectrum(rk4_step, rk4_tangent, torch.ones(3, dtype=torch.float64), steps=20, transient=10, exponents=2)
    assert torch.allclose(flow.exponents, known.exponents, rtol=0, atol=1e-9)


def test_orbits_have_the_same_exponents_alone_and_in_any_batch():
    options = {"steps": 40, "transient": 20, "every": 2}
    alone = lyapunov_spectrum(henon, henon_tangent, HENON_START[1], **options)
    batch = lyapunov_spectrum(henon, henon_tangent, HENON_START.flip(0)[None], **options)
    assert batch.exponents.shape == (1, 3, 2)
    assert torch.allclose(batch.exponents[0, 1], alone.exponents, rtol=0, atol=1e-10)
    assert torch.allclose(batch.standard_error[0, 1], alone.standard_error, rtol=0, atol=1e-10)


def test_lorenz_63_has_its_known_spectrum():
    random = torch.Generator().manual_seed(0)
    start = torch.randn(512, 3, generator=random, dtype=torch.float64) + torch.tensor([0.0, 0.0, 25.0])
    for _ in range(2000):  # to the attractor: some stay long beside a fixed point
        start = rk4_step(start)
    found = lyapunov_spectrum(rk4_step, rk4_tangent, start, steps=2000, transient=400, dt=DT)
    mean = found.exponents.mean(0)
    error = found.exponents.std(0) / math.sqrt(512)
    assert error.max() < 0.003
    assert mean.tolist() == pytest.approx([0.906, 0.0, -14.572], abs=0.01)
    # The flow contracts volumes by the same rate everywhere.
    assert found.exponents.sum(-1).tolist() == pytest.approx([-(10 + 1 + 8 / 3)] * 512, abs=1e-3)
    assert kaplan_yorke(mean).item() == pytest.approx(2.062, abs=0.002)


def test_the_standard_error_is_that_of_independent_stretches():
    # Two linear branches, entered at random with probability p and 1 - p: log 1/p or log 1/(1-p) at each step.
    p, steps, orbits = 0.3, 1000, 300
    low, high = math.log(1 / p), math.log(1 / (1 - p))

    def step(z):
        return torch.where(z < p, z / p, (z - p) / (1 - p))

    def tangent(z, q):
        return q * torch.where(z < p, 1 / p, 1 / (1 - p))[..., None]

    start = torch.rand(orbits, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = lyapunov_spectrum(step, tangent, start, steps=steps, transient=20, every=5)
    error = math.sqrt(p * (1 - p)) * (low - high) / math.sqrt(steps)
    entropy = p * low + (1 - p) * high
    assert found.exponents.mean().item() == pytest.approx(entropy, abs=4 * error / math.sqrt(orbits))
    # The variance of 20 block means has a relative scatter of sqrt(2 / 19), over 300 orbits 1.9 %.
    square = found.standard_error.square().mean().item()
    assert square == pytest.approx(error**2, rel=4 * 0.019)


@pytest.mark.parametrize("every", [1, 2, 10])
def test_an_orbit_that_leaves_the_finite_numbers_has_no_exponents_and_spoils_no_other(every):
    start = torch.tensor([[0.1, 0.1], [50.0, 50.0]], dtype=torch.float64)
    found = lyapunov_spectrum(henon, henon_tangent, start, steps=40, transient=0, every=every)
    assert found.exponents[1].isnan().all()
    assert torch.isfinite(found.exponents[0]).all()


def test_a_frame_that_collapses_between_decompositions_is_an_error_that_says_what_is_enough():
    matrix = torch.diag(torch.tensor([10.0, 0.1], dtype=torch.float64))
    step, tangent = linear(matrix)
    start = torch.zeros(2, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"every: got 10, .* need about 6"):
        lyapunov_spectrum(step, tangent, start, steps=40, transient=10, every=10)
    found = lyapunov_spectrum(step, tangent, start, steps=40, transient=12, every=2)
    assert found.exponents.tolist() == pytest.approx([math.log(10), -math.log(10)], abs=1e-10)


def test_numbers_that_do_not_fit_are_named():
    start = torch.zeros(2, dtype=torch.float64)
    with pytest.raises(ValueError, match="steps: got 25, need a multiple of every = 10"):
        lyapunov_spectrum(henon, None, start, steps=25, transient=0)
    with pytest.raises(ValueError, match="steps: got 10, need at least 20"):
        lyapunov_spectrum(henon, None, start, steps=10, transient=0)
    with pytest.raises(ValueError, match="exponents: got 3, need at most 2"):
        lyapunov_spectrum(henon, None, start, steps=20, transient=0, exponents=3)
    with pytest.raises(ValueError, match="start: got a value that is not finite"):
        lyapunov_spectrum(henon, None, start + math.nan, steps=20, transient=0)


@pytest.mark.parametrize(
    ("exponents", "dimension"),
    [
        ([0.906, 0.0, -14.572], 2 + 0.906 / 14.572),
        ([-14.572, 0.906, 0.0], 2 + 0.906 / 14.572),
        ([0.5, -0.5], 2.0),
        ([0.0, -1.0], 1.0),
        ([-0.1, -0.2], 0.0),
        ([0.3, 0.1], 2.0),
        ([0.4, -math.inf], 1.0),
        ([0.0, 0.0, 0.0], 3.0),
    ],
)
def test_kaplan_yorke_by_hand(exponents, dimension):
    values = torch.tensor(exponents, dtype=torch.float64)
    assert kaplan_yorke(values).item() == pytest.approx(dimension, abs=1e-14)
    assert kaplan_yorke(values.expand(2, 3, -1)).shape == (2, 3)


def test_kaplan_yorke_of_what_is_not_a_number_is_not_one():
    assert kaplan_yorke(torch.tensor([math.nan, -1.0])).isnan()
