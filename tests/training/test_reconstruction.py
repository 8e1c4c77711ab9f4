"""Scores of reconstructions, on maps that reproduce their series exactly or fail in a known way."""

import json

import pytest
import torch

from sciml.data.stream import stream
from sciml.data.window import Window
from sciml.dynamics.plrnn.forcing import GeneralizedTeacherForcing
from sciml.dynamics.plrnn.networks import ShallowPLRNN
from sciml.metrics.attractors import persistence_error
from sciml.training.fit import fit
from sciml.training.optimisers import Adam
from sciml.training.reconstruction import Protocol, free_run, reconstruct
from sciml.training.reconstruction_report import reconstruction_report


class Rotation:
    """x -> R x, whose orbits are circles, and replicas of it that are scaled: exact, shrinking, growing."""

    def __init__(self, *factors: float, context: int = 1, observed: int = 2) -> None:
        self.factors, self.context, self.observed, self.replicas = factors, context, observed, len(factors)

    def forecast(self, series, steps):
        turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=series.dtype)
        x, found = series[:, :, -1], []
        for _ in range(steps):
            x = x @ turn.T * torch.tensor(self.factors, dtype=series.dtype).view(-1, 1, 1)
            found.append(x)
        return torch.stack(found, 2)


@pytest.fixture(scope="module")
def circle():
    start = torch.tensor([[[[1.0, 0.0]]]], dtype=torch.float64)
    return torch.cat([start, Rotation(1.0).forecast(start, 1999)], 2)[0, 0]


def test_the_map_itself_has_no_error(circle):
    row = reconstruct({"exact": Rotation(1.0)}, circle, protocol=Protocol(transient=0.0)).rows[0]
    assert float(row.prediction_error) < 1e-24
    # The free run is one step ahead of the series.
    assert float(row.divergence) < 0.02
    assert float(row.hellinger) < 0.02
    assert row.failed == 0


def test_replicas_that_die_out_or_blow_up_have_failed_and_count_as_the_worst(circle):
    table = reconstruct({"three": Rotation(1.0, 0.9, 3.0)}, circle, protocol=Protocol(ahead=5))
    row = table.rows[0]
    assert row.failed == 2
    assert float(row.hellinger[2]) == float("inf")
    assert row.summary("hellinger")[0] == float(row.hellinger[1])  # the median of 0, 1 and infinity
    assert "2 of 3" in table.to_markdown()
    assert json.loads(json.dumps(table.to_dict()))["rows"][0]["hellinger"][2] is None


def test_the_prediction_error_is_that_of_the_formula_whatever_the_context(circle):
    truth = (circle[5:] - 0.5**5 * circle[5:]).square().mean()
    for context in (1, 7):
        row = reconstruct({"x": Rotation(0.5, context=context)}, circle, protocol=Protocol(ahead=5, transient=0.0)).rows[0]
        assert float(row.prediction_error) == pytest.approx(float(truth), rel=2e-3 if context > 1 else 1e-12)


def test_standardised_errors_do_not_depend_on_the_unit(circle):
    protocol = Protocol(ahead=5, transient=0.0, standardised=True)
    for context in (1, 7):
        one, other = (
            reconstruct({"x": Rotation(0.5, context=context)}, scale * circle, train=scale * circle, protocol=protocol)
            for scale in (1.0, 300.0)
        )
        for a, b in zip(one.rows, other.rows, strict=True):
            torch.testing.assert_close(a.prediction_error, b.prediction_error, rtol=1e-9, atol=0, equal_nan=True)
            torch.testing.assert_close(a.divergence, b.divergence, rtol=1e-9, atol=1e-12)


def test_floor_surrogate_and_persistence_stand_beside(circle):
    table = reconstruct({"exact": Rotation(1.0)}, circle, train=circle.flip(0))
    names = [row.name for row in table.rows]
    assert names == ["exact", "another true series", "random phases", "persistence"]
    floor, surrogate, still = table.rows[1:]
    assert float(floor.divergence) < 1e-9  # the same states in another order
    assert float(surrogate.hellinger) < 1e-3
    assert float(still.prediction_error) == pytest.approx(float(persistence_error(circle, 20)), rel=1e-12)
    assert "–" in table.cells()[1]


def test_a_free_run_begins_behind_the_transient(circle):
    run = free_run(Rotation(1.0), circle, Protocol(transient=0.5))
    assert run.shape == (1, 2000, 2)
    assert torch.allclose(run[0, :500], circle[1001:1501], atol=1e-9)


def test_what_does_not_fit_is_named(circle):
    with pytest.raises(ValueError, match="test: got 2 components, x has 3"):
        reconstruct({"x": Rotation(1.0, observed=3)}, circle)
    with pytest.raises(ValueError, match="test: has values that are not finite"):
        reconstruct({}, circle * torch.nan)
    with pytest.raises((ValueError, TypeError), match="train"):
        reconstruct({}, circle, train=circle[:, :1])
    with pytest.raises(ValueError, match="train: has values that are not finite"):
        reconstruct({}, circle, train=circle * torch.nan)
    with pytest.raises(ValueError, match="ahead: got 0"):
        Protocol(ahead=0)
    with pytest.raises(ValueError, match="orbit: got 9"):
        Protocol(orbit=9)
    with pytest.raises(ValueError, match="test: got 20 instants, need more than the 20"):
        reconstruct({}, circle[:20])
    still = torch.stack([circle[:, 0], torch.ones(2000, dtype=torch.float64)], 1)
    with pytest.raises(ValueError, match="test: component 1 does not vary"):
        reconstruct({}, still, protocol=Protocol(standardised=True))
    with pytest.raises((ValueError, TypeError), match="run"):
        reconstruction_report(torch.nn.Linear(2, 2), circle)


def test_names_that_would_hide_a_row_are_refused(circle):
    with pytest.raises(ValueError, match="baselines: one is named 'model' as the model is"):
        reconstruction_report(Rotation(1.0), circle, baselines={"model": Rotation(0.9)})
    with pytest.raises(ValueError, match="models: got one named 'persistence'"):
        reconstruction_report(Rotation(1.0), circle, baselines={"persistence": Rotation(0.9)})


def test_a_network_that_needs_external_inputs_is_refused(circle):
    with pytest.raises(ValueError, match="driven takes 2 external inputs, which a free run has none of"):
        reconstruct({"driven": ShallowPLRNN(2, 5, inputs=2)}, circle.float())


def test_a_network_learns_a_rotation_and_its_page_says_how_well(circle, tmp_path):
    import numpy as np

    np.save(tmp_path / "circle.npy", circle.float().numpy())
    train = stream(tmp_path / "circle.npy", batch_size=32, window=Window(21, 0))
    torch.manual_seed(0)
    model = ShallowPLRNN(2, 10, replicas=2)
    run = fit(model, GeneralizedTeacherForcing(0.1), train, steps=400, optimiser=Adam(1e-2))
    # A series of another precision than the network's is as good.
    table = reconstruction_report(run, circle, protocol=Protocol(orbit=100), out=tmp_path / "out", name="PLRNN")
    persistence = table.rows[-1]
    assert float(table.rows[0].prediction_error.max()) < 0.3 * float(persistence.prediction_error)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Lyapunov exponents" in page
    assert "fixed points" in page
    assert page.count("<img") >= 3
    assert {"table.csv", "table.json", "table.md"} <= {path.name for path in (tmp_path / "out").iterdir()}
