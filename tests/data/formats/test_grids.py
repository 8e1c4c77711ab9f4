import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sciml.data.formats.grids import alike, domain_of_coordinates, unit_box
from sciml.numerics.domain import LAYOUTS, Domain


def found(points, condition="open"):
    notes = []
    axis = domain_of_coordinates([points], [condition], notes).axes[0]
    return axis.layout, round(axis.origin, 12), round(axis.length, 12), notes


@settings(max_examples=200, deadline=None)
@given(
    length=st.floats(1e-6, 1e6),
    origin=st.floats(-1e6, 1e6),
    points=st.integers(2, 300),
    layout=st.sampled_from(LAYOUTS),
    periodic=st.booleans(),
)
def test_the_coordinates_come_back(length, origin, points, layout, periodic):
    if origin != 0 and length / points < 1e-6 * abs(origin):
        return
    given_points = Domain.box([length], [points], "open", layout, [origin]).coordinates()[0].numpy()
    spacing = (given_points[-1] - given_points[0]) / (points - 1)
    made = domain_of_coordinates([given_points], ["periodic" if periodic else "open"], [])
    assert made.axes[0].sides[0] == ("periodic" if periodic else "open")
    rounding = 20 * np.finfo(np.float64).eps * np.abs(given_points).max()
    assert np.abs(made.coordinates()[0].numpy() - given_points).max() <= 2e-6 * spacing + rounding


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [6, 128, 1000])
def test_the_layout_is_the_one_with_the_plainest_sides(n, dtype):
    middles = ((np.arange(n) + 0.5) / n).astype(dtype)
    assert found(np.linspace(0, 1, n).astype(dtype)) == ("both_ends", 0.0, 1.0, [])
    assert found(middles) == ("cells", 0.0, 1.0, [])
    assert found((2 * middles - 1).astype(dtype)) == ("cells", -1.0, 2.0, [])
    assert found(np.linspace(-1, 1, n).astype(dtype)) == ("both_ends", -1.0, 2.0, [])
    assert found(middles, "periodic") == ("cells", 0.0, 1.0, [])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_points_on_a_circle_have_one_end(dtype):
    circle = np.linspace(0, 2 * math.pi, 128, endpoint=False).astype(dtype)
    assert found(circle, "periodic") == ("first_end", 0.0, round(2 * math.pi, 12), [])
    assert found(circle) == ("first_end", 0.0, round(2 * math.pi, 12), [])
    assert found(np.arange(100.0)) == ("both_ends", 0.0, 99.0, [])


def test_a_periodic_axis_stored_with_both_ends_is_noted():
    layout, origin, length, notes = found(np.linspace(0, 1, 32), "periodic")
    assert (layout, origin, length) == ("first_end", 0.0, round(32 / 31, 12))
    assert len(notes) == 1
    assert "reaches from 0 to 1 with both ends; the period is taken as 32 spacings, 1.03226" in notes[0]


@pytest.mark.parametrize(
    ("points", "why"),
    [
        (np.array([0.0, 1.0, 2.1]), "x is not equally spaced (spacings from 1 to 1.1)"),
        (np.array([0.0, 1.0, 2.0 + 1e-5]), "x is not equally spaced"),
        (np.array([2.0, 1.0, 0.0]), "x does not grow"),
        (np.array([0.0, 0.0, 0.0]), "x does not grow"),
        (np.array([0.0, np.nan, 2.0]), "x has values that are not finite"),
        (np.array([0, 1, 2], dtype="S1"), "x has values of type |S1"),
    ],
)
def test_points_that_no_domain_has_become_cells_of_a_unit_box_with_a_note(points, why):
    notes = []
    domain = domain_of_coordinates([points, np.linspace(0, 5, 4)], ["periodic", "open"], notes)
    assert domain == Domain.box([1.0, 1.0], [3, 4], "open", "cells") == unit_box([3, 4], "why", [])
    assert len(notes) == 1
    assert why in notes[0]


def test_an_axis_of_one_point_and_missing_conditions_are_refused():
    with pytest.raises(ValueError, match=r"coordinate y: got values of shape \(1,\), need at least 2 along a line"):
        domain_of_coordinates([np.arange(3.0), np.zeros(1)], ["open", "open"], [])
    with pytest.raises(ValueError, match="conditions: got 1 for 2 axes"):
        domain_of_coordinates([np.arange(3.0), np.arange(3.0)], ["open"], [])


def test_rows_are_alike_where_all_are_the_same():
    rows = np.tile(np.array([0.0, np.nan, 2.0]), (3, 1))
    assert alike(rows)
    rows[2, 2] = 3
    assert not alike(rows)
