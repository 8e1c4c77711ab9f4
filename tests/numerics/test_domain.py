import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sciml.numerics.domain import CONDITIONS, LAYOUTS, Domain

EVERY_AXIS = [
    (first, last, layout)
    for first, last, layout in itertools.product(CONDITIONS, CONDITIONS, LAYOUTS)
    if ("periodic" in (first, last)) <= (first == last and layout in ("first_end", "last_end", "cells"))
    and not (first == "neumann" and layout in ("last_end", "interior"))
    and not (last == "neumann" and layout in ("first_end", "interior"))
]


def line(first, last, layout, points, length=2.0, origin=-0.5):
    return Domain.box((length,), (points,), [(first, last)], layout, (origin,))


def obeying(domain):
    """A smooth function that obeys the conditions of the axis and lives on its points, with its exact integrals."""
    axis = domain.axes[0]
    x = (axis.coordinates() - axis.origin) / axis.length
    first, last = axis.sides
    if first == "periodic":
        f, slope = torch.exp(torch.sin(2 * math.pi * x)), None
        return f, 1.2660658777520084, slope  # I0(1)
    # sin or cos of quarter waves obey any pair of dirichlet / neumann; an open side is content with anything.
    k, phase = {
        ("dirichlet", "dirichlet"): (math.pi, 0.0),
        ("neumann", "neumann"): (math.pi, math.pi / 2),
        ("dirichlet", "neumann"): (math.pi / 2, 0.0),
        ("neumann", "dirichlet"): (math.pi / 2, math.pi / 2),
    }["dirichlet" if first == "open" else first, "dirichlet" if last == "open" else last]
    f = torch.sin(k * x + phase)
    return (
        f,
        (math.cos(phase) - math.cos(k + phase)) / k,
        k**2 * (0.5 + (math.sin(2 * (k + phase)) - math.sin(2 * phase)) / (4 * k)),
    )


@pytest.mark.parametrize(("first", "last", "layout"), EVERY_AXIS)
def test_integrals_are_of_second_order_for_every_condition_and_layout(first, last, layout):
    def errors(points):
        domain = line(first, last, layout, points)
        f, integral, slope = obeying(domain)
        of_f = float(domain.integral(f)) / 2 - integral
        of_slope = 0.0 if slope is None else float(domain.h1_seminorm(f)) ** 2 * 2 - slope
        return abs(of_f), abs(of_slope)

    for coarse, fine in zip(errors(40), errors(80), strict=True):
        assert fine < 1e-11 or math.log2(coarse / fine) > 1.85
        assert fine < 2e-3


@pytest.mark.parametrize(("first", "last", "layout"), EVERY_AXIS)
def test_points_sit_where_the_layout_says(first, last, layout):
    domain = line(first, last, layout, 10)
    x, axis = domain.coordinates()[0], domain.axes[0]
    assert x[0].item() == pytest.approx(-0.5 + axis.gaps[0] * axis.spacing)
    assert x[-1].item() == pytest.approx(1.5 - axis.gaps[1] * axis.spacing)


def test_norms_of_a_wave_on_a_square():
    square = Domain.box((1.0, 1.0), (129, 129), "dirichlet")
    x, y = square.mesh()
    u = torch.sin(math.pi * x) * torch.sin(2 * math.pi * y)
    assert float(square.norm(u)) == pytest.approx(0.5, rel=1e-12)
    assert float(square.h1_seminorm(u)) == pytest.approx(math.pi * math.sqrt(5) / 2, rel=3e-4)
    assert float(square.h1_norm(u)) == pytest.approx(math.hypot(0.5, math.pi * math.sqrt(5) / 2), rel=3e-4)
    assert float(square.inner(u, u)) == pytest.approx(0.25, rel=1e-12)
    assert float(square.mean(torch.ones(129, 129))) == pytest.approx(1.0)


def test_norms_keep_leading_axes_and_dtype():
    box = Domain.box((1.0, 2.0, 3.0), (4, 5, 6), "neumann", "cells")
    u = torch.randn(7, 2, 4, 5, 6)
    assert box.norm(u).shape == (7, 2)
    assert box.h1_norm(u).dtype == torch.float32
    assert torch.allclose(box.norm(u)[3, 1], box.norm(u[3, 1]))


NORMS = [Domain.norm, Domain.h1_seminorm, Domain.h1_norm]


@pytest.mark.parametrize("norm", NORMS)
def test_the_gradient_of_a_norm_is_right_and_zero_at_zero(norm):
    box = Domain.box((1.0, 1.5), (5, 4), [("dirichlet", "neumann"), "periodic"], ["cells", "first_end"])
    u = torch.randn(2, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda u: norm(box, u), u.requires_grad_())
    zero = torch.zeros(2, 5, 4, requires_grad=True)
    norm(box, zero).sum().backward()
    assert zero.grad is not None
    assert zero.grad.abs().max() == 0


@pytest.mark.parametrize("norm", NORMS)
def test_a_norm_under_vmap_is_that_of_each_field(norm):
    box = Domain.box((1.0, 2.0), (6, 5), "open")
    u = torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(1))
    one_by_one = torch.stack([norm(box, one) for one in u])
    assert torch.allclose(torch.vmap(lambda one: norm(box, one))(u), one_by_one, rtol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_norms_taken_in_inference_mode_leave_nothing_behind_that_training_cannot_use(norm):
    box = Domain.box((1.0, 3.0), (6, 7), "open")
    u = torch.randn(6, 7, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        norm(box, u)
    norm(box, u.requires_grad_()).backward()
    assert u.grad is not None


@given(points=st.integers(3, 40), stride=st.integers(1, 8))
def test_a_strided_domain_has_every_strideth_point(points, stride):
    domain = Domain.box((1.0,), (points * stride + 1,), "dirichlet")
    kept = domain.strided(stride)
    assert torch.allclose(kept.coordinates()[0], domain.coordinates()[0][::stride], atol=1e-14)
    assert kept.axes[0].length == 1.0


def test_striding_that_moves_a_side_is_refused_with_strides_that_work():
    with pytest.raises(ValueError, match=r"stride: got 3 on 65 points .* need one of \[2, 4, 8, 16\]"):
        Domain.box((1.0,), (65,), "dirichlet").strided(3)


def test_a_domain_survives_plain_lists():
    domain = Domain.box((1.0, 2.0), (8, 9), [("dirichlet", "open"), "periodic"], ["last_end", "cells"], (0.0, -1.0))
    assert Domain.from_dict(domain.to_dict()) == domain
    assert Domain.from_dict({"lengths": [1], "points": [8], "sides": "dirichlet"}) == Domain.box((1.0,), (8,), "dirichlet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sides": "robin"}, "got condition 'robin', a Domain has periodic, dirichlet, neumann, open"),
        ({"layout": "corners"}, "layout: got 'corners'"),
        ({"sides": [("periodic", "open")]}, "periodic on both sides or on neither"),
        ({"sides": "periodic", "layout": "both_ends"}, "one end only"),
        ({"sides": "neumann", "layout": "interior"}, "need a point on that side or cells"),
        ({"lengths": (0.0,)}, "lengths: got 0.0"),
        ({"points": (1,)}, "points: got 1"),
        ({"points": (8.5,)}, "points: got 8.5, need a whole number"),
        ({"origin": (float("nan"),)}, "origin: got nan"),
        ({"points": (8, 8)}, "points: got 2 entries for 1 lengths"),
    ],
)
def test_impossible_domains_are_refused(change, message):
    given_values = {"lengths": (1.0,), "points": (8,), "sides": "dirichlet"} | change
    with pytest.raises(ValueError, match=message):
        Domain.from_dict(given_values)


def test_fields_of_whole_numbers_are_refused_instead_of_rounding_the_weights():
    with pytest.raises(ValueError, match=r"field: got torch\.int64, need floating-point numbers"):
        Domain.box((1.0,), (9,), "dirichlet").check(torch.ones(9, dtype=torch.int64), "field")


def test_fields_of_another_grid_are_refused():
    with pytest.raises(ValueError, match=r"field: got shape \(3, 8\), its last axes must be the grid \(9,\)"):
        Domain.box((1.0,), (9,), "dirichlet").integral(torch.zeros(3, 8))
    with pytest.raises(ValueError, match=r"unknown keys \['sdies'\], missing keys \['sides'\]"):
        Domain.from_dict({"lengths": [1], "points": [8], "sdies": "open"})


def test_a_domain_without_axes_is_one_point_of_weight_one():
    none, u = Domain(()), torch.tensor([[3.0, -4.0]], dtype=torch.float64)
    assert (none.dim, none.shape, none.volume, str(none)) == (0, (), 1.0, "no grid")
    assert float(none.weights()) == 1
    assert torch.equal(none.integral(u), u)
    assert torch.equal(none.norm(u), u.abs())
    assert torch.equal(none.h1_norm(u), u.abs())
    assert torch.equal(none.h1_seminorm(u), torch.zeros_like(u))
    with pytest.raises(ValueError, match="lengths: got none, a box needs at least one"):
        Domain.box((), (), "open")
