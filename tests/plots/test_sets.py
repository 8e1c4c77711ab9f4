from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from sciml.numerics.domain import Domain
from sciml.plots.sets import INSTANTS, Points, Quantity, colour_range, fields_film, fields_picture, points_picture
from sciml.plots.trajectories import particles_film, particles_picture, series_film, series_picture

LINE = Domain.box((2.0,), (8,), "open", "cells")
PLANE = Domain.box((2.0, 1.0), (5, 4), "dirichlet")
BOX = Domain.box((1.0, 1.0, 1.0), (4, 5, 6), "open", "cells")
TIMES = np.linspace(0, 1, 11)


def all_axes(figure):
    return [ax for part in (figure.subfigs or [figure]) for ax in part.axes]


def images(figure):
    return [ax.images[0] for ax in all_axes(figure) if ax.images]


def test_a_field_is_the_right_way_up_with_its_unit():
    values = np.arange(20.0).reshape(5, 4)
    figure = fields_picture([Quantity("u", "Pa", values)], PLANE, "a title")
    ax = next(ax for ax in all_axes(figure) if ax.images)
    assert np.array_equal(ax.images[0].get_array(), values.T)
    assert ax.images[0].origin == "lower"
    assert ax.images[0].get_extent() == pytest.approx([-0.25, 2.25, -1 / 6, 1 + 1 / 6])
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel(), ax.get_aspect()) == ("u [Pa]", "x", "y", 1.0)
    assert figure.get_suptitle() == "a title"


def test_instants_share_one_scale_of_colours():
    values = np.arange(11.0)[:, None, None] * np.ones((11, 5, 4))
    figure = fields_picture([Quantity("u", "1", values, TIMES), Quantity("a", "m", values[3])], PLANE, "")
    shown = images(figure)
    assert len(shown) == INSTANTS + 1
    assert {image.get_clim() for image in shown[:INSTANTS]} == {(0.0, 10.0)}
    assert [image.get_array().max() for image in shown[:INSTANTS]] == [0, 2, 5, 8, 10]
    assert [image.axes.get_title() for image in shown[:INSTANTS]] == ["t = 0", "t = 0.2", "t = 0.5", "t = 0.8", "t = 1"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([-1.0, 3.0], (-3.0, 3.0, "RdBu_r")),
        ([1.0, 3.0], (1.0, 3.0, "viridis")),
        ([-1e-9, 3.0], (-1e-9, 3.0, "viridis")),
        ([-3.0, -1.0], (-3.0, -1.0, "viridis")),
        ([2.0, 2.0], (1.0, 3.0, "viridis")),
        ([np.nan, 1.0, 2.0], (1.0, 2.0, "viridis")),
        ([np.nan], (0.0, 1.0, "viridis")),
    ],
)
def test_values_of_both_signs_are_shown_about_zero(values, expected):
    assert colour_range(np.array(values)) == expected


def test_a_line_in_time_is_an_image_of_time_and_place():
    values = TIMES[:, None] + LINE.coordinates()[0].numpy()
    figure = fields_picture([Quantity("u", "K", values, TIMES), Quantity("f", "1", values[0])], LINE, "")
    ax, mesh = figure.axes[0], figure.axes[0].collections[0]
    assert np.array_equal(mesh.get_array(), values.T)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("t", "x")
    assert ax.get_xlim() == pytest.approx((-0.05, 1.05))
    assert ax.get_ylim() == pytest.approx((0.0, 2.0))
    curve = figure.axes[1].lines[0]
    assert np.array_equal(curve.get_ydata(), values[0])
    assert np.array_equal(curve.get_xdata(), LINE.coordinates()[0])


def test_values_at_points_of_a_line_are_dots_over_its_axis():
    places, values = np.array([[0.3], [1.7], [0.9]]), np.array([5.0, -2.0, 4.0])
    points = Points("s", "K", places, values, ("y [m]",))
    curve, dots = fields_picture([Quantity("f", "1", np.arange(8.0))], LINE, "", [points]).axes
    assert len(curve.lines) == 1
    assert np.array_equal(dots.collections[0].get_offsets(), [[0.3, 5.0], [1.7, -2.0], [0.9, 4.0]])
    assert (dots.get_xlabel(), dots.get_ylabel()) == ("y [m]", "s [K]")
    assert dots.get_xlim() == pytest.approx((-0.1, 2.1))  # the whole line, however few points are asked for
    beyond = Points("s", "K", places + 1, values, ("y",))
    (alone,) = points_picture([beyond], "", LINE).axes
    assert alone.get_xlim()[1] > 2.7


@pytest.mark.parametrize("domain", [LINE, PLANE, BOX])
@pytest.mark.parametrize("times", [None, TIMES])
def test_values_at_points_of_two_coordinates_have_the_colour_of_their_value(domain, times):
    places, values = np.random.default_rng(0).uniform(size=(9, 2)), np.linspace(-3.0, 1.0, 9)
    shape = domain.shape if times is None else (len(times), *domain.shape)
    field = Quantity("f", "1", np.random.default_rng(0).normal(size=shape), times)
    figure = fields_picture([field], domain, "", [Points("s", "K", places, values, ("y[0]", "y[1]"))])
    (ax,) = [ax for ax in all_axes(figure) if ax.get_xlabel() == "y[0]"]
    (dots,) = ax.collections
    assert ax.get_ylabel() == "y[1]"
    assert np.array_equal(dots.get_offsets(), places)
    assert np.array_equal(dots.get_array(), values)
    assert dots.get_clim() == (-3.0, 3.0)
    assert dots.colorbar.ax.get_ylabel() == "s [K]"
    assert any(ax.images or ax.lines or ax.collections for ax in all_axes(figure) if ax.get_xlabel() != "y[0]")


def test_a_body_is_cut_through_the_middle():
    values = np.random.default_rng(0).normal(size=(4, 5, 6))
    shown = images(fields_picture([Quantity("u", "1", values)], BOX, ""))
    planes = [values[:, :, 3], values[:, 2, :], values[2, :, :]]
    assert all(np.array_equal(image.get_array(), plane.T) for image, plane in zip(shown, planes, strict=True))
    assert [image.axes.get_title() for image in shown] == ["z = 0.583", "y = 0.5", "x = 0.625"]
    assert [(image.axes.get_xlabel(), image.axes.get_ylabel()) for image in shown] == [("x", "y"), ("x", "z"), ("y", "z")]


@pytest.mark.parametrize("domain", [LINE, PLANE, BOX])
def test_a_film_moves(tmp_path, domain):
    times = np.arange(3.0)
    values = np.sin(2 * times).reshape(-1, *[1] * domain.dim) * np.ones((3, *domain.shape))
    still = Quantity("a", "1", np.linspace(0, 1, domain.mesh()[0].numel()).reshape(domain.shape))
    fields_film([Quantity("u", "1", values, times), still], domain, "film", tmp_path / "f.gif")
    with Image.open(tmp_path / "f.gif") as film:
        assert film.n_frames == 3
        frames = []
        for number in range(3):
            film.seek(number)
            frames.append(np.asarray(film.convert("RGB")))
    assert all((a != b).any() for a, b in pairwise(frames))


def test_a_long_film_is_thinned(tmp_path, monkeypatch):
    monkeypatch.setattr("sciml.plots.sets.FRAMES", 4)
    values = np.random.default_rng(0).normal(size=(450, 1))
    series_film("q", values, np.arange(450.0), "", tmp_path / "f.gif", "m")
    with Image.open(tmp_path / "f.gif") as film:
        assert film.n_frames == 4


def test_what_cannot_be_drawn_is_refused(tmp_path):
    still = Quantity("a", "1", np.zeros((5, 4)))
    with pytest.raises(ValueError, match="nothing in this sample changes in time"):
        fields_film([still], PLANE, "", tmp_path / "f.gif")
    with pytest.raises(ValueError, match=r"a: got shape \(5, 4\), need \(8,\)"):
        fields_picture([still], LINE, "")
    with pytest.raises(ValueError, match="quantities: got none"):
        fields_picture([], LINE, "")
    with pytest.raises(ValueError, match="points: got none"):
        points_picture([], "")
    with pytest.raises(ValueError, match="s: got points of 3 coordinates, pictures need 1 or 2"):
        points_picture([Points("s", "1", np.zeros((2, 3)), np.zeros(2), ("y[0]", "y[1]", "y[2]"))], "")
    four = Domain.box((1.0,) * 4, (2,) * 4, "open", "cells")
    with pytest.raises(ValueError, match="got 4 dimensions, pictures of fields need 1 to 3"):
        fields_picture([Quantity("a", "1", np.zeros((2,) * 4))], four, "")
    with pytest.raises(ValueError, match="q: got 3 instants and 2 times"):
        series_picture("q", np.zeros((3, 1)), np.zeros(2), "")
    with pytest.raises(ValueError, match="q: got no finite value"):
        particles_picture("q", np.full((1, 2, 2), np.nan), np.zeros(1), "")


@pytest.mark.parametrize(
    ("components", "curves", "portrait"), [(1, 1, None), (2, 2, "rectilinear"), (3, 3, "3d"), (9, 0, "3d")]
)
def test_series_have_curves_and_a_phase_portrait(components, curves, portrait):
    values = np.random.default_rng(0).normal(size=(11, components))
    axes = all_axes(series_picture("q", values, TIMES, "", "m"))
    lines = [ax for ax in axes if ax.get_ylabel().endswith("[m]") and ax.lines]
    assert len(lines) == curves
    for number, ax in enumerate(lines):
        assert np.array_equal(ax.lines[0].get_ydata(), values[:, number])
    assert axes[curves - 1 if curves else 0].get_xlabel() == "t"
    assert [ax.name for ax in axes if ax.get_xlabel() == "q[0]"] == ([] if portrait is None else [portrait])
    if not curves:  # too many for an axis each: an image, whose scale has the unit
        assert axes[0].get_ylabel() == "component"


def test_particles_stand_in_their_box():
    positions = np.random.default_rng(0).uniform(0, 3, (11, 7, 2))
    box = np.array([[0.0, 0.0], [4.0, 3.0]])
    axes = particles_picture("r", positions, TIMES, "", "um", box).axes
    assert [ax.get_title() for ax in axes] == ["t = 0", "t = 0.2", "t = 0.5", "t = 0.8", "t = 1"]
    for ax, instant in zip(axes, (0, 2, 5, 8, 10), strict=True):
        assert np.array_equal(ax.collections[0].get_offsets(), positions[instant])
        assert (ax.get_xlim(), ax.get_ylim(), ax.get_aspect()) == ((0.0, 4.0), (0.0, 3.0), 1.0)
        assert ax.get_xlabel() == "x [um]"
    deep = particles_picture("r", np.zeros((1, 7, 3)) + np.arange(3), np.zeros(1), "").axes
    assert [ax.name for ax in deep] == ["3d"]


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_particles_and_series_have_films(tmp_path, dim):
    values = np.random.default_rng(0).normal(size=(3, 5, dim))
    particles_film("r", values, TIMES[:3], "", tmp_path / "p.gif", "um")
    series_film("q", values[:, 0], TIMES[:3], "", tmp_path / "s.gif")
    for name in ("p.gif", "s.gif"):
        with Image.open(tmp_path / name) as film:
            assert film.n_frames == 3


def test_where_times_are_not_known_the_numbers_of_the_instants_are_called_so():
    numbers = np.arange(3.0)
    flat = fields_picture([Quantity("u", "1", np.ones((3, 5, 4)), numbers, "instant")], PLANE, "")
    assert [image.axes.get_title() for image in images(flat)] == ["instant 0", "instant 1", "instant 2"]
    line = fields_picture([Quantity("u", "1", np.ones((3, 8)), numbers, "instant")], LINE, "")
    assert all_axes(line)[0].get_xlabel() == "instant"
    assert all_axes(series_picture("q", np.ones((3, 1)), numbers, "", clock="instant"))[0].get_xlabel() == "instant"
    drawn = particles_picture("r", np.ones((3, 7, 2)), numbers, "", clock="instant")
    assert [ax.get_title() for ax in drawn.axes] == ["instant 0", "instant 1", "instant 2"]
