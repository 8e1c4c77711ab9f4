import numpy as np
import pytest

from sciml.plots.attractors import (
    attractors_picture,
    basins_picture,
    bifurcation_picture,
    return_map_picture,
    spectra_picture,
    successive_maxima,
)

T = np.linspace(0, 20, 401)
ORBIT = np.stack([np.cos(T), 2 * np.sin(T), T / 10], 1)


def test_attractors_share_the_limits_of_the_truth_and_are_cut_there():
    wild = ORBIT.copy()
    wild[100] = [50.0, 0.0, 0.0]
    figure = attractors_picture({"truth": ORBIT, "generated": wild})
    truth, generated = figure.axes
    assert truth.get_title() == "truth"
    x, y, z = truth.lines[0].get_data_3d()
    assert np.array_equal(np.stack([x, y, z], 1), ORBIT)
    assert truth.get_zlim() == pytest.approx((-0.1, 2.1))
    for ask in ("get_xlim", "get_ylim", "get_zlim"):
        assert getattr(truth, ask)() == getattr(generated, ask)()
    drawn = np.stack(generated.lines[0].get_data_3d(), 1)
    assert np.isnan(np.ma.filled(drawn, np.nan)).any(1).nonzero()[0].tolist() == [100]


def test_attractors_of_two_components_are_flat_and_components_can_be_chosen():
    figure = attractors_picture({"truth": ORBIT}, components=(2, 1), names=["a", "b", "c"])
    (ax,) = figure.axes
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("c", "b")
    assert np.array_equal(ax.lines[0].get_xydata(), ORBIT[:, [2, 1]])
    assert len(attractors_picture({"truth": ORBIT[:, :2]}).axes) == 1


def test_maxima_of_a_sampled_parabola_and_of_a_cosine_are_found_between_instants():
    t = np.arange(10.0)
    # The parabola through three points of a parabola is itself.
    assert successive_maxima(3 - 0.5 * (t - 4.3) ** 2) == pytest.approx([3.0], abs=1e-13)
    step = 0.05
    heights = successive_maxima(np.cos(np.arange(0.3, 20, step)))
    assert len(heights) == 3
    # The remainder of the parabola is h³ |f'''| / (9 √3), with |f'''| <= 3 h / 2 on the three points.
    assert np.abs(heights - 1).max() < step**4 / 10


def test_a_return_map_draws_each_maximum_against_the_one_before():
    t = np.arange(0, 60, 0.01)
    x = np.cos(t) * (2 + np.sin(t / 7))
    figure = return_map_picture({"truth": x, "generated": 0.5 * x})
    (ax,) = figure.axes
    heights = successive_maxima(x)
    assert np.array_equal(ax.lines[1].get_xydata(), np.stack([heights[:-1], heights[1:]], 1))
    assert len(ax.lines) == 3
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["truth", "generated"]


def test_spectra_have_a_panel_for_each_component_and_logarithmic_axes():
    frequencies = np.fft.rfftfreq(16)
    power = np.abs(np.fft.rfft(np.random.default_rng(0).normal(size=(16, 2)), axis=0)) ** 2
    figure = spectra_picture(frequencies, {"truth": power, "generated": 2 * power})
    assert len(figure.axes) == 2
    ax = figure.axes[1]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert np.array_equal(ax.lines[1].get_xydata(), np.stack([frequencies[1:], 2 * power[1:, 1]], 1))


def test_a_bifurcation_draws_finite_values_over_their_parameter():
    figure = bifurcation_picture([1.0, 2.0, 3.0], [np.array([0.0]), np.array([np.nan]), np.array([4.0, np.inf, 5.0])])
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[1, 0], [3, 4], [3, 5]]


def test_basins_are_the_right_way_up_and_attractors_have_the_colour_of_their_basin():
    labels = np.array([[0, 1], [0, 1], [-1, 2]])
    figure = basins_picture(labels, [0.0, 1.0, 2.0], [0.0, 10.0], [np.array([[0.5, 0.0]]), np.array([[1.0, 9.0], [2.0, 9.0]])])
    ax = figure.axes[0]
    (image,) = ax.images
    assert np.array_equal(image.get_array(), labels.T)
    assert image.get_extent() == [-0.5, 2.5, -5, 15]
    colours = image.cmap(image.norm(np.array([-1, 0, 1, 2])))
    assert len(np.unique(colours, axis=0)) == 4
    assert colours[0].tolist() == [1, 1, 1, 1]
    assert [line.get_label() for line in ax.lines] == ["fixed point", "cycle of 2"]


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda: attractors_picture({}), "series: got none"),
        (lambda: attractors_picture({"truth": ORBIT, "ours": ORBIT[:, :2]}), r"ours: got shape \(401, 2\), need \(time, 3\)"),
        (lambda: attractors_picture({"truth": ORBIT * np.nan}), "truth: got shape .* all finite"),
        (
            lambda: attractors_picture({"truth": ORBIT}, components=(0, 3)),
            r"components: got \(0, 3\), need two or three of 0 to 2",
        ),
        (lambda: return_map_picture({"truth": T}), "truth: got 0 maxima, need at least 2"),
        (lambda: spectra_picture(T, {"truth": ORBIT[:3]}), r"truth: got shape \(3, 3\), need \(401, 3\)"),
        (lambda: bifurcation_picture([1.0], []), "samples: got 0, need one for each of 1 parameters"),
        (lambda: bifurcation_picture([1.0], [np.array([np.nan])]), "samples: got no finite value"),
        (
            lambda: basins_picture(np.zeros((2, 2), int), [0.0, 1.0, 2.0], [0.0, 1.0]),
            r"labels: got shape \(2, 2\), need \(3, 2\)",
        ),
        (lambda: basins_picture(np.ones((2, 2), int), [0.0, 1.0], [0.0, 1.0]), "labels: got 1 to 1, need -1 to 0"),
    ],
)
def test_pictures_of_nothing_or_of_other_shapes_are_refused(draw, says):
    with pytest.raises(ValueError, match=says):
        draw()
