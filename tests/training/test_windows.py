"""Models of windows in time from the set to the table: streams, objectives, fit, evaluate, predict, checkpoints."""

import sys

import numpy as np
import pytest
import torch

from sciml.cli import main
from sciml.data.formats.mapped import Mapped
from sciml.data.mixed import mixed
from sciml.data.normalise import Normaliser
from sciml.data.set import open_set
from sciml.data.stream import stream
from sciml.data.window import Window
from sciml.training.baselines import mean_of_training, persistence, ridge
from sciml.training.checkpoint import Field, fields_of, load, read_checkpoint, save
from sciml.training.evaluate import evaluate
from sciml.training.fit import fit
from sciml.training.objectives import RelativeL2
from sciml.training.optimisers import Adam
from sciml.training.predict import predict
from training.advection import STEP, STEPS, Convolution, line, write_advection

WINDOW = Window(4, 1)
WINDOWS = STEPS - WINDOW.span + 1
U, C = Field("u", "m", 4, 4), Field("c", "m/s", 1)
DOUBLE = {"dtype": torch.float64}


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("advection")
    return write_advection(folder / "train.h5", 40, 0), write_advection(folder / "test.h5", 6, 1)


@pytest.fixture(scope="module")
def trained(sets, tmp_path_factory):
    """(the run, its folder): a convolution of the last four instants and the speed."""
    out = tmp_path_factory.mktemp("run")
    train = stream(sets[0], batch_size=50, window=WINDOW)
    torch.manual_seed(0)
    objective = RelativeL2(train.domain, train.inputs, train.targets)
    return fit(Convolution(5, 1), objective, train, steps=120, optimiser=Adam(3e-2), every=60, out=out), out


def test_a_linear_model_of_a_window_beats_persistence_and_the_mean(sets, trained):
    train, test = (stream(path, batch_size=50, window=WINDOW) for path in sets)
    baselines = {"persistence": persistence(test), "mean": mean_of_training(train)}
    table = evaluate(trained[0].model, test, baselines=baselines)
    assert table.samples == 6 * WINDOWS
    ours, stays, mean = (row.statistic("relative_l2", "mean") for row in table.rows)
    assert ours < 0.5 * stays
    assert mean == pytest.approx(1, abs=0.1)


def test_ridge_on_windows_keeps_what_four_instants_of_six_modes_determine(sets):
    # Each mode follows from two instants by a factor that depends on its speed: four do better than none, not exactly.
    train, test = (stream(path, batch_size=50, window=WINDOW, **DOUBLE) for path in sets)
    model, stays = ridge(train), persistence(test)
    table = evaluate(model, test, baselines={"persistence": stays})
    assert table.rows[0].statistic("relative_l2", "mean") < 0.5 * table.rows[1].statistic("relative_l2", "mean")


def test_persistence_is_the_last_given_instant_for_every_one_asked_for(sets):
    test = stream(sets[1], batch_size=7, window=Window(3, 2, stride=2), **DOUBLE)
    table = evaluate(persistence(test), test)
    u = open_set(sets[1]).read("u", slice(None))[:, :, 0]
    windows = STEPS - 2 * 4
    last = u[:, 4 : 4 + windows]
    gap = torch.stack([u[:, 6 : 6 + windows] - last, u[:, 8 : 8 + windows] - last], 2)
    truth = torch.stack([u[:, 6 : 6 + windows], u[:, 8 : 8 + windows]], 2)
    expected = (gap.square().sum((2, 3)) / truth.square().sum((2, 3))).sqrt().flatten()
    assert torch.allclose(table.rows[0].errors["relative_l2"], expected, rtol=1e-12)


def test_persistence_follows_the_order_of_a_models_channels_and_is_saved(sets, tmp_path):
    test = stream(sets[1], batch_size=7, window=Window(2, 3))
    model = persistence(test, inputs=("c", "u"))
    assert (model.places, model.in_channels) == ((2, 2, 2), 3)
    save(tmp_path / "p.pt", model, domain=test.domain, inputs=(), targets=())
    a = torch.randn(2, 3, 16)
    assert torch.equal(load(tmp_path / "p.pt")(a), a[:, [2, 2, 2]])
    with pytest.raises(ValueError, match=r"a: got shape \(2, 4, 16\), need \(batch, 3, \*grid\)"):
        model(torch.zeros(2, 4, 16))


def test_persistence_needs_a_state_that_is_given(sets):
    test = stream(sets[1], batch_size=7, window=WINDOW)
    with pytest.raises(ValueError, match=r"target u_next: is not the next of a given state \(c\)"):
        persistence(test, inputs=("c",))


def test_a_normaliser_has_a_channel_per_instant_and_per_number(sets):
    train = stream(sets[0], batch_size=13, window=WINDOW, **DOUBLE)
    found = Normaliser.of(train, train.inputs)
    whole = open_set(sets[0])
    u, c = whole.read("u", slice(None))[:, :, 0], whole.read("c", slice(None))
    for instant in range(4):
        given = u[:, instant : instant + WINDOWS]
        assert found.shift[instant] == pytest.approx(float(given.mean()), abs=1e-14)
        assert found.scale[instant] == pytest.approx(float(given.std(correction=0)), rel=1e-12)
    assert found.shift[4] == pytest.approx(float(c.mean()), rel=1e-12)
    assert found.scale[4] == pytest.approx(float(c.std(correction=0)), rel=1e-12)


def test_the_checkpoint_keeps_the_window_and_the_channels_of_every_variable(trained):
    run, out = trained
    for name in ("last.pt", "best.pt") if run.best is not None else ("last.pt",):
        saved = read_checkpoint(out / name)
        assert saved.window == WINDOW
        assert saved.inputs == (U, C)
        assert saved.targets == (Field("u_next", "m", 1, 1),)
        assert saved.domain == line()


def test_predictions_of_windows_have_an_axis_of_instants_and_stand_for_the_truth(sets, trained):
    run, out = trained
    test = stream(sets[1], batch_size=9, window=WINDOW)
    made = predict(out / "last.pt", test, trust=("training.advection",))["u_next"]
    truth = torch.cat([batch["u_next"] for batch in test])
    assert made.shape == truth.shape == (6 * WINDOWS, 1, 1, 16)
    with torch.no_grad():
        u = torch.cat([batch["u"][:, :, 0] for batch in test])
        c = torch.cat([batch["c"] for batch in test])[:, :, None].expand(-1, 1, 16)
        assert torch.allclose(made[:, 0], run.model(torch.cat([u, c], 1)), atol=1e-6)
    memory = {"u": torch.cat([batch["u"] for batch in test]), "c": torch.cat([batch["c"] for batch in test])}
    assert torch.allclose(predict(out / "last.pt", memory, trust=("training.advection",))["u_next"], made, atol=1e-6)


def test_a_stream_that_asks_for_nothing_is_predicted_to_its_end(sets, trained):
    ends = stream(sets[1], batch_size=9, window=Window(4, 0))
    made = predict(trained[1] / "last.pt", ends, trust=("training.advection",))["u_next"]
    assert made.shape == (6 * (WINDOWS + 1), 1, 1, 16)


@pytest.mark.parametrize("window", [None, Window(3, 1), Window(4, 1, stride=2)])
def test_other_windows_than_those_of_the_checkpoint_are_refused(sets, trained, window):
    test = stream(sets[1], batch_size=9, window=window)
    with pytest.raises(ValueError, match=r"window: got .*, the checkpoint .*last\.pt was trained with Window\(steps_in=4"):
        predict(trained[1] / "last.pt", test, trust=("training.advection",))


def test_instants_and_numbers_in_memory_of_other_shapes_are_named(trained):
    path, trust = trained[1] / "last.pt", ("training.advection",)
    u, c = torch.zeros(2, 4, 1, 16), torch.zeros(2, 1)
    with pytest.raises(ValueError, match=r"variable u: got instants 3, the checkpoint .* has 4"):
        predict(path, {"u": u[:, :3], "c": c}, trust=trust)
    with pytest.raises(ValueError, match=r"variable u: got instants None, the checkpoint .* has 4"):
        predict(path, {"u": u[:, :, 0], "c": c}, trust=trust)
    with pytest.raises(ValueError, match=r"variable c: got channels 2, the checkpoint .* has 1"):
        predict(path, {"u": u, "c": torch.zeros(2, 2)}, trust=trust)


def test_the_command_evaluates_windows_with_persistence_beside_and_predicts_them(sets, tmp_path, monkeypatch, capsys):
    train, test = (stream(path, batch_size=50, window=WINDOW) for path in sets)
    model = ridge(train)
    fields = [fields_of(train, names) for names in (train.inputs, train.targets)]
    save(tmp_path / "m.pt", model, domain=train.domain, inputs=fields[0], targets=fields[1], window=WINDOW)

    def sciml(*arguments):
        monkeypatch.setattr(sys, "argv", ["sciml", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        assert not stop.value.code, captured.err
        return captured.out

    printed = sciml("evaluate", tmp_path / "m.pt", sets[1])
    table = evaluate(model, test, baselines={"persistence": persistence(test)})
    for row in table.rows:
        line_of = next(text for text in printed.splitlines() if text.startswith(row.name.replace("model", "m ")))
        assert f"{row.statistic('relative_l2', 'mean'):.4g}" in line_of

    sciml("predict", tmp_path / "m.pt", sets[1], "-o", tmp_path / "p.h5")
    found = open_set(tmp_path / "p.h5")
    assert (found.inputs, found.targets, len(found)) == (("c",), ("u_next",), 6 * WINDOWS)
    assert torch.equal(found.read("u_next", slice(None)), predict(tmp_path / "m.pt", test)["u_next"])
    assert torch.equal(found.read("c", slice(None)), torch.cat([batch["c"] for batch in test]))
    times = found.times(np.arange(WINDOWS))
    assert times is not None
    assert times[:, 0].tolist() == [STEP * k for k in range(4, STEPS)]


def test_the_objective_takes_the_grid_of_each_batch_of_a_mixed_stream(sets, tmp_path):
    fine = write_advection(tmp_path / "fine.h5", 10, 2, points=32)
    parts = [stream(path, batch_size=20, window=WINDOW) for path in (sets[0], fine)]
    both = mixed(parts)
    torch.manual_seed(0)
    objective = RelativeL2(both.domains, both.inputs, both.targets)
    model = Convolution(5, 1)
    for part in parts:
        batch = next(iter(part))
        alone = RelativeL2(part.domain, part.inputs, part.targets)
        assert objective(model, batch) == alone(model, batch)
    before = [objective(model, next(iter(part))).item() for part in parts]
    run = fit(model, objective, both, steps=40, optimiser=Adam(3e-2), every=40, out=tmp_path / "run")
    after = [objective(run.model, next(iter(part))).item() for part in parts]
    assert all(late < 0.5 * early for late, early in zip(after, before, strict=True))
    assert read_checkpoint(tmp_path / "run" / "last.pt").domain is None
    memory = {name: next(iter(parts[1]))[name] for name in ("u", "c")}
    path, trust = tmp_path / "run" / "last.pt", ("training.advection",)
    with pytest.raises(ValueError, match=r"domain: .*last\.pt names no grid that u, c could be joined on; give one"):
        predict(path, memory, trust=trust)
    assert predict(path, memory, domain=parts[1].domain, trust=trust)["u_next"].shape == (20, 1, 1, 32)
    errors = evaluate(run.model, both).rows[0].errors["relative_l2"]
    separate = [evaluate(run.model, part).rows[0].errors["relative_l2"] for part in parts]
    assert torch.equal(errors, torch.cat(separate))
    with pytest.raises(ValueError, match="this baseline needs one grid"):
        mean_of_training(both)
    with pytest.raises(ValueError, match="samples of several grids"):
        predict(run.model, both)


def test_baselines_do_not_take_masked_zeros_for_truth(tmp_path):
    u = np.full((4, 3, 1, 6), 10.0, np.float32)
    u[:2, 2] = np.nan
    np.savez(tmp_path / "set.npz", u=u)
    mapping = {"u": Mapped("u", ("sample", "time", "channel", "x"), "state")}
    masked, skipped = (
        stream(tmp_path / "set.npz", batch_size=4, mapping=mapping, window=Window(2, 1), on_bad=how) for how in ("mask", "skip")
    )
    with pytest.raises(ValueError, match=r"variable u_next: holds masked values, .* use on_bad=\"skip\""):
        mean_of_training(masked)
    assert float(mean_of_training(skipped).mean.mean()) == 10
