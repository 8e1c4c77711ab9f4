import numpy as np
import pytest
import torch

from sciml.numerics.domain import Domain
from sciml.plots.fields import Panel, field_panels, learning_curves

DOMAIN = Domain.box((2.0, 1.0), (5, 4), "dirichlet")


def test_a_picture_shows_the_fields_the_right_way_up():
    field = torch.arange(20.0).reshape(1, 5, 4)
    figure = field_panels([Panel("truth", field), Panel("error", field - 4.0, signed=True)], DOMAIN, ["sample 0"])
    truth, error = (ax.images[0] for ax in figure.axes[:2])
    # The first axis of the field runs to the right and the second upwards, with points at the centres of pixels.
    assert np.array_equal(truth.get_array(), field[0].numpy().T)
    assert truth.origin == "lower"
    assert truth.get_extent() == pytest.approx([-0.25, 2.25, -1 / 6, 1 + 1 / 6])
    assert error.get_clim() == (-15.0, 15.0)


def test_a_column_can_share_the_colours_of_another():
    field = torch.arange(20.0).reshape(1, 5, 4)
    figure = field_panels([Panel("truth", field), Panel("ours", 2 * field, like="truth")], DOMAIN, ["sample 0"])
    assert figure.axes[0].images[0].get_clim() == figure.axes[1].images[0].get_clim() == (0.0, 19.0)


def test_curves_mark_the_kept_step():
    figure = learning_curves({"train": ([1, 2, 3], [0.5, 0.2, 0.1])}, best_step=2)
    ax = figure.axes[0]
    assert [line.get_xdata()[0] for line in ax.lines] == [1, 2]
    assert ax.get_yscale() == "log"


def test_fields_of_another_grid_or_dimension_are_refused():
    with pytest.raises(ValueError, match="truth: got shape"):
        field_panels([Panel("truth", torch.zeros(1, 4, 4))], DOMAIN, ["sample 0"])
    with pytest.raises(ValueError, match="got 3 dimensions, pictures of fields need 1 or 2"):
        field_panels([Panel("truth", torch.zeros(1, 4, 4, 4))], Domain.box((1.0,) * 3, (4,) * 3, "open"), ["sample 0"])


def test_fields_over_a_line_are_curves():
    line, field = Domain.box((2.0,), (5,), "open"), torch.arange(5.0)[None]
    figure = field_panels([Panel("truth", field), Panel("ours", 3 * field, like="truth")], line, ["sample 0"])
    x, y = figure.axes[0].lines[0].get_data()
    assert x.tolist() == [0, 0.5, 1, 1.5, 2]
    assert y.tolist() == [0, 1, 2, 3, 4]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim() == pytest.approx((-0.2, 4.2))
