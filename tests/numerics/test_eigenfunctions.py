import itertools
import math

import pytest
import torch

from sciml.numerics.domain import CONDITIONS, LAYOUTS, Domain
from sciml.numerics.eigenfunctions import check_modes, check_span, eigenfunctions, free_points, lowest
from sciml.numerics.random_fields import PowerLaw, Seeds, gaussian_field


def possible_axes():
    for first, last, layout, points in itertools.product(CONDITIONS, CONDITIONS, LAYOUTS, (6, 7)):
        if "open" in (first, last):
            continue
        try:
            yield Domain.box((1.7,), (points,), [(first, last)], layout, (0.4,))
        except ValueError:
            continue


AXES = list(possible_axes())


def test_there_are_axes_of_every_kind():
    assert {a.axes[0].sides for a in AXES} == {
        ("periodic", "periodic"),
        *itertools.product(("dirichlet", "neumann"), ("dirichlet", "neumann")),
    }
    assert {a.axes[0].layout for a in AXES} == set(LAYOUTS)


@pytest.mark.parametrize("domain", AXES, ids=str)
def test_analysis_is_the_inverse_of_synthesis_on_every_axis(domain):
    basis = eigenfunctions(domain)
    amplitudes = torch.eye(basis.shape[0], dtype=torch.float64)
    assert (basis.amplitudes(basis.field(amplitudes)) - amplitudes).abs().max() < 1e-14
    # and of what vanishes where the sides say so, synthesis that of analysis
    (axis,) = domain.axes
    field = torch.randn(3, axis.points, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    if axis.sides[0] == "periodic" and axis.layout == "cells" and axis.points == 6:
        field[:, -1] -= (field * torch.tensor([-1.0, 1.0] * 3)).sum(1)  # what no mode of these points is
    for end, side, gap in zip((0, -1), axis.sides, axis.gaps, strict=True):
        if side == "dirichlet" and gap == 0:
            field[:, end] = 0
    assert (basis.field(basis.amplitudes(field)) - field).abs().max() < 2e-14


def test_a_field_of_a_law_has_the_amplitudes_it_was_made_of():
    domain = Domain.box((1.0, 2.0), (9, 8), ["neumann", "periodic"])
    law = PowerLaw(2.0, 3.0)
    field = gaussian_field(domain, law, Seeds(1, range(1)), modes=5)
    found = eigenfunctions(domain).amplitudes(field)[0]
    assert found[5:].abs().max() < 1e-15
    assert found[:, 5:].abs().max() < 1e-15
    numbers = Seeds(1, range(1)).normal("field", 25)[0]
    # the order of modes is by their largest index: (0, 0), (0, 1), (1, 0), (1, 1), ...
    for place, index in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        rate = eigenfunctions(domain).total()[index]
        expected = float(numbers[place] * law(rate).sqrt()) if place else 0.0
        assert float(found[index]) == pytest.approx(expected, abs=1e-15)


def test_eigenvalues_are_those_of_the_box():
    domain = Domain.box((2.0, 3.0), (5, 4), ["dirichlet", ("neumann", "dirichlet")])
    total = eigenfunctions(domain).total()
    assert total.shape == (3, 3)
    expected = [[(math.pi * i / 2) ** 2 + (math.pi * (j + 0.5) / 3) ** 2 for j in range(3)] for i in (1, 2, 3)]
    assert torch.allclose(total, torch.tensor(expected, dtype=torch.float64), rtol=1e-14)


def test_three_axes_are_transformed_one_by_one():
    domain = Domain.box((1.0, 1.0, 1.0), (4, 5, 6), ["periodic", "dirichlet", "neumann"], ["first_end", "both_ends", "cells"])
    basis = eigenfunctions(domain)
    assert basis.shape == (4, 3, 6)
    field = torch.randn(2, *basis.shape, generator=torch.Generator().manual_seed(0))
    s = [table.float() for table in basis.synthesis]
    assert torch.allclose(basis.field(field), torch.einsum("nijk,ai,bj,ck->nabc", field, *s), atol=1e-5)
    assert basis.field(field).dtype == torch.float32


def test_too_few_points_for_the_modes_are_refused_with_enough():
    domain = Domain.box((1.0, 1.0), (20, 9), ["periodic", "dirichlet"])
    check_modes(domain, 7)
    with pytest.raises(ValueError, match=r"got 9 points along axis 1.*hold 7 of the 8 modes; need 10"):
        check_modes(domain, 8)
    check_modes(domain.with_points((20, 10)), 8)
    assert free_points(domain.axes[1]) == 7
    with pytest.raises(ValueError, match="needs periodic, dirichlet or neumann sides"):
        eigenfunctions(Domain.box((1.0,), (8,), "open"))


@pytest.mark.parametrize("domain", AXES, ids=str)
def test_the_lowest_wave_is_one_of_the_eigenfunctions(domain):
    field, rate = lowest(domain)
    basis = eigenfunctions(domain)
    found = basis.amplitudes(field)
    place = int(found.abs().argmax())
    assert float(basis.eigenvalues[0][place]) == pytest.approx(rate, rel=1e-14)
    assert place == (1 if basis.eigenvalues[0][0] == 0 else 0)
    assert found.abs().sum() - found[place].abs() < 1e-13


def test_a_field_that_the_sides_do_not_allow_is_refused():
    domain = Domain.box((1.0,), (8,), "dirichlet")
    fields = torch.zeros(2, 8)
    fields[0, 3] = 1.0
    check_span(eigenfunctions(domain), fields, "u")
    fields[1, 0] = 1.0
    with pytest.raises(ValueError, match=r"u: got a field that is no sum.*sample 1 of the block; need finite values, zero on"):
        check_span(eigenfunctions(domain), fields, "u")
