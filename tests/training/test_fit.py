import csv
import json
import math
import os
import signal
import threading

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sciml.dynamics.baselines.memory import LSTM
from sciml.training.checkpoint import load, read_checkpoint, save
from sciml.training.fit import READ_EVERY, fit
from sciml.training.objectives import RelativeL2
from sciml.training.optimisers import SGD, Adam, Constant, OneCycle
from sciml.training.run_folder import settings_of
from training.small_runs import DOMAIN, DropoutNet, MemoryStream, Pointwise, dropout_run, samples

TRUST = ("training.small_runs",)


def gap(model, batch):
    return (model(batch["a"]) - batch["u"]).square().mean()


def by_hand(steps, rate, batch_size=4, number=10, record=None):
    """Gradient descent on `gap` for `Pointwise`, with the derivative worked out on paper."""
    data, w, position = samples(number), torch.zeros(2, dtype=torch.float64), 0
    for step in range(steps):
        stop = min(position + batch_size, number)
        a, u = data["a"][position:stop], data["u"][position:stop]
        error = w[0] * a + w[1] - u
        w = w - rate(step) * torch.stack([2 * (error * a).mean(), 2 * error.mean()])
        position = stop % number
        if record is not None:
            record.append(w)
    return w


def test_steps_are_those_of_gradient_descent_by_hand():
    rule = SGD(0.1, schedule=OneCycle())
    run = fit(Pointwise(), gap, MemoryStream(samples(10), 4), steps=23, optimiser=rule)
    expected = by_hand(23, lambda step: 0.1 * OneCycle()(step, 23))
    assert torch.allclose(run.model.w, expected, rtol=1e-13)


def test_the_log_tells_mean_loss_rate_and_step(tmp_path):
    path = []
    by_hand(6, lambda step: 0.1, record=path)
    weights = [torch.zeros(2, dtype=torch.float64), *path]
    data, losses = samples(10), []
    for w, rows in zip(weights, [(0, 4), (4, 8), (8, 10), (0, 4), (4, 8), (8, 10)], strict=False):
        a, u = data["a"][slice(*rows)], data["u"][slice(*rows)]
        losses.append((w[0] * a + w[1] - u).square().mean().item())
    run = fit(Pointwise(), gap, MemoryStream(samples(10), 4), steps=6, optimiser=SGD(0.1), every=2, out=tmp_path)
    means = [(losses[i] + losses[i + 1]) / 2 for i in (0, 2, 4)]
    assert [line["loss"] for line in run.history] == pytest.approx(means, rel=1e-13)
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [float(row["loss"]) for row in rows] == [r["loss"] for r in records] == [r["loss"] for r in run.history]
    assert [int(row["step"]) for row in rows] == [2, 4, 6]
    assert {row["learning_rate"] for row in rows} == {"0.1"}
    assert {row["validation"] for row in rows} == {""}


def test_the_gradient_is_shortened_to_the_clip():
    data = samples(10)
    run = fit(Pointwise(50.0), gap, MemoryStream(data, 10), steps=1, optimiser=SGD(1.0, clip=0.25))
    assert (run.model.w.detach() - torch.tensor([50.0, 0.0])).norm().item() == pytest.approx(0.25, rel=1e-6)


def test_the_gradient_of_each_replica_is_shortened_by_itself():
    def pull(model, batch):
        return (model.readout.bias * torch.tensor([[3.0, 4.0], [0.03, 0.04]]).double()).sum()  # gradients of norms 5 and 0.05

    model = LSTM(2, 3, replicas=2).double()
    before = model.readout.bias.detach().clone()
    run = fit(model, pull, MemoryStream(samples(10), 10), steps=1, optimiser=SGD(1.0, clip=0.25))
    moved = before - run.model.readout.bias.detach()
    assert torch.allclose(moved, torch.tensor([[0.15, 0.2], [0.03, 0.04]]).double(), atol=1e-6)


@pytest.mark.parametrize("pieces", [2, 3, 7, 50])
def test_a_batch_worked_through_in_pieces_gives_the_same_weights(pieces):
    whole, cut = (
        fit(Pointwise(), gap, MemoryStream(samples(10), 7), steps=9, optimiser=SGD(0.2), accumulate=k) for k in (1, pieces)
    )
    assert torch.allclose(cut.model.w, whole.model.w, rtol=1e-13)
    assert [line["loss"] for line in cut.history] == pytest.approx([line["loss"] for line in whole.history], rel=1e-13)


def test_the_average_is_the_recursion_of_its_docstring(tmp_path):
    path = []
    by_hand(12, lambda step: 0.1, record=path)
    average = torch.zeros(2, dtype=torch.float64)
    for step, w in enumerate(path):
        keep = min(0.5, (1 + step) / (10 + step))
        average = keep * average + (1 - keep) * w
    run = fit(Pointwise(), gap, MemoryStream(samples(10), 4), steps=12, optimiser=SGD(0.1), ema=0.5, out=tmp_path)
    assert torch.allclose(run.model.w, average, rtol=1e-13)
    assert torch.equal(load(tmp_path / "last.pt", trust=TRUST).w, run.model.w)
    assert torch.allclose(read_checkpoint(tmp_path / "last.pt").training["state"]["weights"]["w"], path[-1], rtol=1e-13)


def test_the_best_weights_are_those_of_least_validation_error(tmp_path):
    """The criterion is a bowl around the weights after 8 steps, so the best of every second step is step 8."""
    path = []
    by_hand(20, lambda step: 0.1, record=path)

    def bowl(model, batch):
        return (model.w - path[7]).square().sum()

    def start():
        train, valid = MemoryStream(samples(10), 4), MemoryStream(samples(5), 2)
        rule = SGD(0.1)
        return fit(Pointwise(), gap, train, steps=20, every=2, validation=valid, criterion=bowl, out=tmp_path, optimiser=rule)

    run = start()
    assert run.best_step == 8
    assert torch.equal(run.model.w, load(tmp_path / "best.pt", trust=TRUST).w)
    assert torch.allclose(run.model.w, path[7], rtol=1e-13)
    assert torch.allclose(load(tmp_path / "last.pt", trust=TRUST).w, path[19], rtol=1e-13)
    kept = read_checkpoint(tmp_path / "best.pt")
    assert kept.metrics == {"validation": run.best, "step": 8}
    assert "bowl" in kept.criterion
    assert (kept.domain, kept.inputs[0].units, kept.targets[0].name) == (DOMAIN, "m", "u")
    assert torch.equal(start().model.w, run.model.w)  # finished already


def test_a_validation_error_that_is_not_a_number_is_never_the_best():
    errors = iter([math.nan, 0.5, math.nan, 0.7])
    train = MemoryStream(samples(10), 10)
    run = fit(Pointwise(), gap, train, steps=4, every=1, validation=train, criterion=lambda m, b: m.w.sum() * 0 + next(errors))
    assert (run.best, run.best_step) == (0.5, 2)


def test_validation_is_the_mean_over_samples_of_uneven_batches():
    valid = MemoryStream(samples(7, 3), 3)
    run = fit(Pointwise(), gap, MemoryStream(samples(10), 4), steps=1, validation=valid, optimiser=SGD(1e-300))
    assert run.best == pytest.approx(samples(7, 3)["u"].square().mean().item(), rel=1e-13)


def test_validation_sees_the_average_in_evaluation_mode_and_disturbs_nothing():
    model = DropoutNet(3)
    seen = []

    def criterion(judged, batch):
        seen.append((judged.training, torch.is_grad_enabled(), model.layers[0].weight.detach().clone()))
        return judged(batch["a"]).mean()

    train = MemoryStream(samples(8, dtype=torch.float32), 4)
    fit(model, gap, train, steps=4, validation=train, criterion=criterion, ema=0.99, every=2)
    assert {(training, grad) for training, grad, _ in seen} == {(False, False)}
    assert model.training


class Falling:
    """A criterion that is less each time it is asked."""

    value = 0.0

    def __call__(self, model, batch):
        self.value -= 1.0
        return model(batch["a"]).sum() * 0 + self.value


def test_validation_changes_no_step():
    """With a criterion that always falls, the best weights are the last, and must be those of a run without validation."""
    ends = []
    for validation in (None, MemoryStream(samples(9, 1, torch.float32), 4)):
        torch.manual_seed(0)
        train = MemoryStream(samples(8, dtype=torch.float32), 4)
        run = fit(DropoutNet(3), gap, train, steps=12, every=2, ema=0.9, validation=validation, criterion=Falling())
        ends.append(run.model.state_dict())
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


class Interrupted(Exception):
    pass


def test_a_run_broken_off_anywhere_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    expected = dropout_run(str(tmp_path / "whole"))
    calls = {"left": 0}
    original = RelativeL2.__call__

    def counted(self, model, batch):
        calls["left"] -= 1
        if calls["left"] == 0:
            raise Interrupted
        return original(self, model, batch)

    monkeypatch.setattr(RelativeL2, "__call__", counted)
    for calls["left"] in (1, 5, 40, 77, 150):
        with pytest.raises(Interrupted):
            dropout_run(str(tmp_path / "broken"))
        for log in (tmp_path / "broken").glob("log.*"):  # as after a kill between a line and its checkpoint
            log.write_text(log.read_text() + "54,0.5,0.5,0.001,1.0\nhalf a li")
    calls["left"] = 0
    got = dropout_run(str(tmp_path / "broken"))
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, got.state_dict()[name]), name
    whole, broken = ((tmp_path / run / "log.jsonl").read_text().splitlines() for run in ("whole", "broken"))
    drop_time = lambda line: {k: v for k, v in json.loads(line).items() if k != "seconds"}  # noqa: E731
    assert list(map(drop_time, whole)) == list(map(drop_time, broken))
    assert len((tmp_path / "broken" / "log.csv").read_text().splitlines()) == 1 + len(whole)


def test_a_finished_run_returns_at_once_with_the_same_weights(tmp_path):
    first = dropout_run(str(tmp_path))
    before = (tmp_path / "last.pt").read_bytes()
    again = dropout_run(str(tmp_path))
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    assert (tmp_path / "last.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 11}, r"steps = 10, asked for is 11"),
        ({"optimiser": SGD(0.2)}, r"optimiser.fields.learning_rate = 0.1, asked for is 0.2"),
        ({"model": Pointwise(1.0)}, r"model.arguments.weight = 0.0, asked for is 1.0"),
        ({"model": DropoutNet(2).double()}, r"model.class = 'training.small_runs:Pointwise', asked for is .*DropoutNet'"),
        ({"batch_size": 5}, r"batch_size = 4, asked for is 5"),
    ],
)
def test_a_folder_of_another_run_is_refused_by_name(tmp_path, change, message):
    given = {"model": Pointwise(), "steps": 10, "optimiser": SGD(0.1), "batch_size": 4}

    def start(model, batch_size, **rest):
        return fit(model, gap, MemoryStream(samples(10), batch_size), out=tmp_path, **rest)

    start(**given)
    with pytest.raises(ValueError, match=rf"last\.pt: was made with {message}; .*another folder"):
        start(**given | change)


def test_config_says_what_was_asked(tmp_path):
    fit(
        Pointwise(),
        RelativeL2(DOMAIN, ("a",), ("u",)),
        MemoryStream(samples(10), 4),
        steps=3,
        out=tmp_path,
        optimiser=Adam(clip=2.0),
    )
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["model"] == {"kind": "module", "class": "training.small_runs:Pointwise", "arguments": {"weight": 0.0}}
    assert config["objective"]["class"] == "sciml.training.objectives:RelativeL2"
    assert config["optimiser"]["fields"]["clip"] == 2.0
    assert (config["steps"], config["batch_size"]) == (3, 4)


def test_sigterm_saves_and_leaves_with_its_own_status(tmp_path):
    calls = []

    def asked(model, batch):
        calls.append(1)
        if len(calls) == 13:
            os.kill(os.getpid(), signal.SIGTERM)
        return gap(model, batch)

    before = signal.getsignal(signal.SIGTERM)
    run = {"steps": 40, "optimiser": Adam(0.1), "every": 10, "ema": 0.9, "out": tmp_path}
    with pytest.raises(SystemExit) as leaving:
        fit(Pointwise(), asked, MemoryStream(samples(10), 4), **run)
    assert (leaving.value.code, len(calls)) == (143, 13)
    assert signal.getsignal(signal.SIGTERM) is before
    assert read_checkpoint(tmp_path / "last.pt").training["state"]["progress"]["step"] == 13
    went_on = fit(Pointwise(), asked, MemoryStream(samples(10), 4), **run)
    whole = fit(Pointwise(), gap, MemoryStream(samples(10), 4), **run | {"out": None})
    assert torch.equal(went_on.model.w, whole.model.w)
    strip = lambda run: [{k: v for k, v in line.items() if k != "seconds"} for line in run.history]  # noqa: E731
    assert strip(went_on) == strip(whole)


def test_fit_runs_outside_the_main_thread(tmp_path):
    runs = []
    stream = MemoryStream(samples(10), 4)
    thread = threading.Thread(target=lambda: runs.append(fit(Pointwise(), gap, stream, steps=3, out=tmp_path)))
    thread.start()
    thread.join()
    assert len(runs[0].history) == 3


def nan_at(*calls):
    count = []

    def objective(model, batch):
        count.append(1)
        return gap(model, batch) * (math.nan if len(count) in calls else 1.0)

    return objective


def test_a_loss_that_is_not_finite_sends_the_run_back_and_on_with_other_data(tmp_path):
    rule = SGD(0.1, schedule=Constant())
    run = fit(Pointwise(), nan_at(15), MemoryStream(samples(40), 1), steps=20, every=10, optimiser=rule, out=tmp_path)
    # Steps 1 ... 10 on samples 0 ... 9; 11 ... 20 are lost with samples 10 ... 19; again on samples 20 ... 29 at half the rate.
    data, w = samples(40), torch.zeros(2, dtype=torch.float64)
    for row, rate in [*((i, 0.1) for i in range(10)), *((i, 0.05) for i in range(20, 30))]:
        error = w[0] * data["a"][row] + w[1] - data["u"][row]
        w = w - rate * torch.stack([2 * (error * data["a"][row]).mean(), 2 * error.mean()])
    assert torch.allclose(run.model.w, w, rtol=1e-13)
    assert [line["learning_rate"] for line in run.history] == [0.1, 0.05]
    events = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines() if "event" in line]
    assert [event["step"] for event in events] == [10]
    assert "not finite before step 20: back to step 10" in events[0]["event"]
    assert "half the learning rate" in events[0]["event"]


def test_weights_that_are_not_finite_never_reach_a_checkpoint(tmp_path):
    """The loss of the last step before a checkpoint is finite, its gradient is not."""

    def objective(model, batch):
        bad = len(losses) == 9
        losses.append(1)
        loss = gap(model, batch)
        return loss + (0 * model.w[0]).sqrt() * 0 if bad else loss

    losses = []
    run = fit(Pointwise(), objective, MemoryStream(samples(10), 4), steps=20, every=10, optimiser=SGD(0.1), out=tmp_path)
    assert run.model.w.isfinite().all()
    assert len(losses) == 30
    assert load(tmp_path / "last.pt", trust=TRUST).w.isfinite().all()


def test_a_run_that_is_never_finite_gives_up_and_says_why(tmp_path):
    calls = []

    def objective(model, batch):
        calls.append(1)
        return gap(model, batch) * (1 if len(calls) <= 5 else math.inf)

    with pytest.raises(FloatingPointError, match=r"before step 10, for the 4th time; lower the learning rate"):
        fit(Pointwise(), objective, MemoryStream(samples(10), 4), steps=20, every=5, optimiser=SGD(0.1), out=tmp_path)
    assert len(calls) == 5 + 4 * 5
    kept = read_checkpoint(tmp_path / "last.pt")
    assert kept.training["state"]["progress"]["step"] == 5
    assert kept.weights["w"].isfinite().all()


def lifted(heights):
    """`gap` lifted by heights(call), which changes no gradient."""
    calls = []

    def objective(model, batch):
        calls.append(1)
        return gap(model, batch) + heights(len(calls))

    return objective


def events(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines() if "event" in line]


def test_a_loss_that_blows_up_sends_the_run_back_like_one_that_is_not_finite(tmp_path):
    rule, blown = SGD(0.1), lifted(lambda call: 1e14 * (call == 15))
    run = fit(Pointwise(), blown, MemoryStream(samples(40), 1), steps=20, every=10, optimiser=rule, out=tmp_path)
    same = fit(Pointwise(), nan_at(15), MemoryStream(samples(40), 1), steps=20, every=10, optimiser=rule)
    assert torch.equal(run.model.w, same.model.w)
    assert [line["loss"] for line in run.history] == [line["loss"] for line in same.history]
    (event,) = events(tmp_path)
    assert event["step"] == 10
    assert "blown up (mean loss 1.0e+13, the least so far " in event["event"]
    assert "before step 20: back to step 10, on with the next data and half the learning rate" in event["event"]


def test_a_run_that_blows_up_for_the_fourth_time_gives_up(tmp_path):
    """It goes back to its beginning, where no loss was known yet to measure the next ones by."""
    blown = lifted(lambda call: 1e9 * (call > READ_EVERY))
    with pytest.raises(FloatingPointError, match=r"blown up \(mean loss .* before step 100, for the 4th time"):
        fit(Pointwise(), blown, MemoryStream(samples(10), 4), steps=600, every=600, optimiser=SGD(1e-9), out=tmp_path)


@pytest.mark.parametrize(
    "heights",
    [
        lambda call: 1e6 if call <= 10 else 1e5 * (call > 20),  # up 1e5 times, but not above the start
        lambda call: 1e5 * (call > 10),  # above the start, but not a million times
        lambda call: -10.0 if call <= 10 else 1e9,  # a likelihood may be of either sign
    ],
)
def test_losses_that_rise_less_or_have_no_ratio_are_left_alone(tmp_path, heights):
    fit(Pointwise(), lifted(heights), MemoryStream(samples(10), 4), steps=30, every=10, optimiser=SGD(1e-3), out=tmp_path)
    assert events(tmp_path) == []


class CountsReadings(TorchDispatchMode):
    """How often a value is fetched from the device, which is where a GPU would make the host wait."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **kwargs or {})


def test_between_two_looks_at_the_losses_nothing_waits_for_the_device():
    counts = []

    def objective(model, batch):
        counts.append(mode.count)
        return RelativeL2(DOMAIN, ("a",), ("u",))(model, batch)

    model = DropoutNet(3).double()
    with CountsReadings() as mode:
        fit(model, objective, MemoryStream(samples(10), 4), steps=2 * READ_EVERY, every=2 * READ_EVERY, ema=0.9, optimiser=Adam(clip=1.0))  # noqa: E501  # fmt: skip
    fused_step_counters = counts[1] - counts[0]
    assert fused_step_counters == 0
    assert counts[READ_EVERY - 1] == counts[0]
    assert counts[-1] == counts[READ_EVERY]


def test_bf16_runs_the_model_in_half_precision_and_keeps_weights_and_objective():
    seen = set()
    model = DropoutNet(4)
    model.layers[0].register_forward_hook(lambda layer, given, made: seen.add(made.dtype))
    stream = MemoryStream(samples(16, dtype=torch.float32), 8)
    run = fit(
        model, RelativeL2(DOMAIN, ("a",), ("u",)), stream, steps=60, validation=stream, precision="bf16", optimiser=Adam(1e-2)
    )
    assert seen == {torch.bfloat16}
    assert {w.dtype for w in model.parameters()} == {torch.float32}
    assert run.history[-1]["loss"] < 0.7 * run.history[0]["loss"]


def test_a_compiled_model_is_trained_and_saved_like_any_other(tmp_path):
    model = Pointwise()
    model.compile(backend="eager")
    stream = MemoryStream(samples(10), 4)
    run = fit(model, gap, stream, steps=5, optimiser=SGD(0.1), out=tmp_path)
    plain = fit(Pointwise(), gap, MemoryStream(samples(10), 4), steps=5, optimiser=SGD(0.1))
    assert torch.allclose(run.model.w, plain.model.w, rtol=1e-13)
    assert torch.equal(load(tmp_path / "last.pt", trust=TRUST).w, run.model.w)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps: got 0"),
        ({"every": 0}, "every: got 0"),
        ({"accumulate": 0}, "accumulate: got 0"),
        ({"ema": 1.0}, "ema: got 1.0"),
    ],
)
def test_arguments_out_of_range_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        fit(Pointwise(), gap, MemoryStream(samples(10), 4), **{"steps": 3} | change)


def test_models_that_cannot_be_trained_or_kept_are_refused_before_the_first_step(tmp_path):
    stream = MemoryStream(samples(10), 4)
    with pytest.raises(ValueError, match="Identity has no weights"):
        fit(torch.nn.Identity(), gap, stream, steps=3)
    with pytest.raises(ValueError, match=r"Linear.*constructor argument"):
        fit(torch.nn.Linear(8, 8), gap, stream, steps=3, out=tmp_path)
    with pytest.raises(ValueError, match="is on meta, the stream brings to cpu"):
        fit(Pointwise().to("meta"), gap, stream, steps=3)
    assert stream.position == 0


def test_weights_without_a_gradient_are_told_once_in_the_log(tmp_path):
    model = Pointwise()
    model.unused = torch.nn.Parameter(torch.zeros(3).double())
    fit(model, gap, MemoryStream(samples(10), 4), steps=3, every=1, out=tmp_path)
    events = [line for line in map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines()) if "event" in line]
    told = "1 weight, unused, takes no part in the forward pass; set requires_grad=False"
    assert events == [{"step": 0, "event": told}]


@pytest.mark.parametrize("validation", [[], iter([])])
def test_a_validation_without_samples_is_refused(validation):
    with pytest.raises(ValueError, match="validation: got no samples"):
        fit(Pointwise(), gap, MemoryStream(samples(10), 4), steps=3, validation=validation)


@pytest.mark.parametrize(("weights", "fields"), [(torch.float64, torch.float32), (torch.float32, torch.float64)])
def test_a_model_of_another_precision_than_the_stream_is_refused(weights, fields):
    model, stream = DropoutNet(2).to(weights), MemoryStream(samples(10, dtype=fields), 4)
    with pytest.raises(ValueError, match=f"model: its weights are {weights}, the stream brings {fields}; open the stream"):
        fit(model, gap, stream, steps=3)


def test_a_run_from_other_weights_or_in_another_precision_is_refused(tmp_path):
    def start(seed=1, dtype=torch.float64, told=torch.float64):
        torch.manual_seed(seed)
        stream = MemoryStream(samples(10, dtype=dtype), 4)
        stream.dtype = told
        return fit(DropoutNet(2).to(dtype), gap, stream, steps=3, out=tmp_path)

    start()
    start()
    with pytest.raises(ValueError, match=r"made with weights\.crc32 of the initial ones = '\w{8}', asked for is '\w{8}'; ask"):
        start(seed=2)
    with pytest.raises(ValueError, match=r"made with stream\.dtype = 'torch.float64', asked for is 'torch.float32'; ask"):
        start(told=torch.float32)
    with pytest.raises(
        ValueError, match=r"made with weights\.dtypes = 'torch.float64, torch.int64', asked for is 'torch.float32"
    ):
        start(dtype=torch.float32)


def scaled_gap(factor, seen, power=2):
    return lambda model, batch: seen.append(factor) or factor * (model(batch["a"]) - batch["u"]).abs().pow(power).mean()


def test_a_function_of_other_code_or_constants_is_another_objective(tmp_path):
    """What changes as the run goes, such as the list, is no part of it; nor is the line where the code stands."""

    def start(objective):
        fit(Pointwise(), objective, MemoryStream(samples(10), 4), steps=3, out=tmp_path)

    seen = []
    start(scaled_gap(1.0, seen))
    assert seen
    start(scaled_gap(1.0, seen))
    for other in (scaled_gap(2.0, []), scaled_gap(1.0, [], power=4)):
        with pytest.raises(ValueError, match=r"made with objective = '.*scaled_gap.*crc32.*asked for"):
            start(other)
    text = "def f(model, batch):\n    return ((model(batch['a']) - batch['u']) ** 2).mean() * {}\n"
    checksums = []
    for source in (text.format(2), "\n\n" + text.format(2), text.format(3)):
        names = {"__name__": __name__}
        exec(source, names)
        checksums.append(settings_of(Pointwise(), MemoryStream(samples(10), 4), {"objective": names["f"]})["objective"])
    assert checksums[0] == checksums[1] != checksums[2]


def test_a_best_that_is_gone_or_of_another_model_is_told_when_the_run_starts_again(tmp_path):
    def start(steps=4):
        train = MemoryStream(samples(10), 4)
        fit(Pointwise(), gap, train, steps=steps, every=2, validation=train, out=tmp_path)

    start()
    save(tmp_path / "best.pt", DropoutNet(2), domain=None, inputs=[], targets=[])
    with pytest.raises(ValueError, match=r"best\.pt: is of another model: .*; put back the one of this run") as refusal:
        start()
    assert "\n" not in str(refusal.value)
    (tmp_path / "best.pt").unlink()
    with pytest.raises(FileNotFoundError, match=r"put back the one of this run, or start anew.*best\.pt"):
        start()
