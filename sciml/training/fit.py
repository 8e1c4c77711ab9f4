"""The one loop that trains every model: `fit(model, objective, stream)`."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from sciml.data.batch import Batch, joined
from sciml.dynamics.forecaster import Forecaster
from sciml.training.logs import Log, Record
from sciml.training.models import check_dtype
from sciml.training.objectives import Objective
from sciml.training.optimisers import Adam, Optimiser
from sciml.training.ranks import Ranks
from sciml.training.run_folder import RunFolder, settings_of
from sciml.training.state import Average, Captured, Progress, State
from sciml.training.streams import TrainingStream

Precision = Literal["float32", "bf16"]

READ_EVERY = 100
"""Steps between two looks at the losses, which are left on the device until then."""

BLOWN_UP = 1e6
"""How many times the least mean loss so far is too much; and it is too much only when it is more than at the start, too."""

RETURNS = 3
"""How often a run may go back to a good state before it gives up."""

TERMINATED = 128 + signal.SIGTERM
"""Exit status of a run that was asked to stop."""

_ADAM = Adam()

_NO_VALIDATION = "validation: got no samples; give a stream or list that brings some every time it is gone through, or None"


@dataclass(frozen=True)
class Run:
    """What came of a run.

    Args:
        model: the one that was given, with the weights of least validation error, or without validation the last ones.
        history: the lines of the log.
        best, best_step: least validation error and its step; None without validation.
        folder: where the run was written; None when it was not.
    """

    model: nn.Module
    history: tuple[Record, ...]
    best: float | None
    best_step: int | None
    folder: Path | None


def fit(
    model: nn.Module,
    objective: Objective,
    stream: TrainingStream,
    *,
    steps: int,
    validation: Iterable[Batch] | None = None,
    criterion: Objective | None = None,
    optimiser: Optimiser = _ADAM,
    out: str | Path | None = None,
    every: int | None = None,
    ema: float | None = None,
    accumulate: int = 1,
    precision: Precision = "float32",
) -> Run:
    """Train `model` in place so that `objective` falls on the samples of `stream`.

    Every objective fits that takes the model and a batch; the stream need not have a grid. The log says where the samples are
    kept and, beside each line, how many values were not finite so far, where the stream tells.

    With `out`, every `every` steps: a line in `log.csv` and `log.jsonl`, the full state in `last.pt`, and `best.pt` when the
    validation error is the least so far. Both are checkpoints for `sciml.load`. The same call with the same `out`, and a model
    of the same initial weights (seed them), goes on from `last.pt`: on CPUs, with equal numbers of threads, to the same
    weights bit for bit as without the break, wherever the break was. SIGTERM makes it write `last.pt` and exit with status
    143. A finished run returns at once.

    When a loss or a weight is no longer finite, or the mean loss has risen to a million times its least value and above that
    at the start, the run goes back to the last good state and on from there with the next data and half the learning rate,
    and says so; the fourth time it gives up.

    Under `torchrun` every process calls `fit` inside `with launched(device)`; the stream's batch is shared out among them, the
    first process writes. To compile the model, call `model.compile()` before.

    Args:
        objective: (model, batch) -> scalar, a mean over the samples of the batch. Of a model in several processes it may use
            the forward call only.
        steps: the whole budget; the schedule of the optimiser is laid over it.
        validation: the stream that chooses `best.pt`; never the test set.
        criterion: what is averaged over the validation samples; the objective if not given.
        every: steps between two validations, log lines and checkpoints; a fiftieth of `steps` if not given.
        ema: decay of an exponential moving average of the weights, such as 0.999. Where given, validation and both
            checkpoints use the average.
        accumulate: into how many pieces a batch is cut, worked through one after the other to save memory. The gradient
            is the same, and so is the batch size.
        precision: of the forward pass; "bf16" runs the model under `torch.autocast`, the objective and the weights stay.
    Raises:
        ValueError: an argument out of range, a model that is on another device than the stream, in another precision, or that
            no checkpoint can hold, a validation without samples, an `out` that holds a run with other settings or from other
            initial weights (the message names one), or processes that are not joined. Under several processes also weights
            that take no part in the forward pass; of those one process only tells in the log.
        OSError: a file of the run cannot be written; the run goes on from `last.pt` when started again.
        FloatingPointError: not finite, or blown up, for the fourth time.
    """
    every = max(1, steps // 50) if every is None else every
    ranks = Ranks.now()
    weights = _checked(model, stream, ranks, steps=steps, every=every, ema=ema, accumulate=accumulate, precision=precision)
    if isinstance(validation, Sized) and len(validation) == 0:
        raise ValueError(_NO_VALIDATION)
    folder = RunFolder(None if out is None else Path(out), model, stream, ranks)
    if folder.path is not None:
        parts = {"objective": objective, "validation": validation, "criterion": criterion, "optimiser": optimiser}
        numbers = {"steps": steps, "every": every, "ema": ema, "accumulate": accumulate, "precision": precision}
        folder.claim(settings_of(model, stream, parts | numbers))

    judged = _InBfloat16(model) if precision == "bf16" else model
    trained = DistributedDataParallel(judged) if ranks.size > 1 else judged
    rule = optimiser.build(weights)
    average = None if ema is None else Average(weights, ema)
    progress = Progress()
    state = State(model, weights, rule, average, stream, progress, stream.device, ranks)
    if folder.saved is not None:
        state.restore(folder.saved)
    best = folder.best_weights() if progress.best is not None else None

    losses: list[Tensor] = []
    batches = _batches(model, stream)
    idle: list[str] | None = None
    started = time.perf_counter() - progress.seconds
    was_training = model.training
    model.train()
    with Log(folder.path, steps, folder.log_position, silent=not ranks.first) as log, _sigterm(folder.path is not None) as stop:
        if told := getattr(stream, "told", ""):
            log.event(progress.step, told)
        good = state.capture()
        while progress.step < steps:
            losses.append(_backward(trained, objective, *next(batches), accumulate))
            if idle is None:
                idle = _idle(model, ranks)
                if idle and progress.step == 0:
                    log.event(0, _told(idle))
            _step(state, optimiser, steps)

            # What follows happens now and then, at steps that do not depend on where the run was started. A stop comes in
            # between (of several processes, when all of them look), and changes no number.
            due = progress.step % every == 0 or progress.step == steps
            look = due or progress.step % READ_EVERY == 0
            if not look and not (stop.asked and ranks.size == 1):
                continue
            stopping = ranks.any(stop.asked, stream.device)
            trouble = _trouble(losses, state, look=look, weights=due)
            if look and trouble is not None:
                _go_back(state, good, log, trouble)
                continue
            progress.seconds = time.perf_counter() - started
            log.progress(progress.step)
            if due:
                error = None if validation is None else _validate(judged, criterion or objective, validation, state)
                best = best if error is None else _least(error, best, state, folder)
                log.line(_record(progress, error, float(rule.param_groups[0]["lr"])))
                if bad := getattr(stream, "bad", None):
                    log.event(progress.step, str(bad))
            if due or (stopping and trouble is None and state.finite()):
                good = _keep(state, folder, log)
            if stopping:
                log.event(progress.step, f"asked to stop; the same call goes on from {folder.path}/last.pt")
                ranks.wait()  # for the first process, which writes
                raise SystemExit(TERMINATED)

    ranks.wait()
    model.load_state_dict(state.usable_weights() if best is None else best)
    model.train(was_training)
    return Run(model, tuple(log.history), progress.best, progress.best_step, folder.path)


def _batches(model: nn.Module, stream: TrainingStream) -> Iterator[tuple[Batch, float]]:
    """Those of the stream, after a look at the precision of the first."""
    batches = stream.endless()
    first = next(batches)
    for name in stream.inputs:
        check_dtype(model, joined(first[0], [name]))
    yield first
    yield from batches


def _idle(model: nn.Module, ranks: Ranks) -> list[str]:
    """Names of the weights that want a gradient and got none by the backward pass just done.

    Raises:
        ValueError: there are some, and several processes, which would wait for those gradients.
    """
    names = [name for name, w in model.named_parameters() if w.requires_grad and w.grad is None]
    if names and ranks.size > 1:
        raise ValueError(f"model: {_told(names)}")
    return names


def _told(names: list[str]) -> str:
    which = f"1 weight, {names[0]}, takes" if len(names) == 1 else f"{len(names)} weights, first {names[0]}, take"
    return f"{which} no part in the forward pass; set requires_grad=False"


def _step(state: State, optimiser: Optimiser, steps: int) -> None:
    """One step down the gradient that the weights hold."""
    progress, rule = state.progress, state.optimiser
    rate = optimiser.learning_rate * optimiser.schedule(progress.step, steps) * 0.5**progress.returns
    for group in rule.param_groups:
        group["lr"] = rate
    if optimiser.clip is not None:
        _shorten(state.model, state.weights, optimiser.clip)
    rule.step()
    rule.zero_grad()
    if state.average is not None:
        state.average.update(progress.step)
    progress.step += 1


def _shorten(model: nn.Module, weights: list[nn.Parameter], longest: float) -> None:
    """The gradient to this norm; of a model of replicas, which are the first axis of all weights, that of each by itself."""
    if not isinstance(model, Forecaster) or model.replicas == 1:
        clip_grad_norm_(weights, longest)
        return
    gradients = [w.grad for w in weights if w.grad is not None]
    norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
    parts = longest / norms.clamp(min=longest)
    for gradient in gradients:
        gradient.mul_(parts.view(-1, *[1] * (gradient.ndim - 1)))


def _backward(model: nn.Module, objective: Objective, batch: Batch, share: float, pieces: int) -> Tensor:
    """Add the gradient of share x objective to the weights; the value of it, left on the device."""
    if pieces == 1:
        loss = objective(model, batch)
        if share != 1:
            loss = loss * share
        loss.backward()
        return loss.detach()
    rows = len(next(iter(batch.values())))
    cuts = sorted({rows * i // pieces for i in range(pieces + 1)})
    losses = []
    for first, last in pairwise(cuts):
        piece = {name: values[first:last] for name, values in batch.items()}
        # Processes exchange gradients once per step, with the last piece.
        more = isinstance(model, DistributedDataParallel) and last < rows
        with cast(DistributedDataParallel, model).no_sync() if more else contextlib.nullcontext():
            losses.append(_backward(model, objective, piece, share * (last - first) / rows, 1))
    return torch.stack(losses).sum()


def _trouble(losses: list[Tensor], state: State, *, look: bool, weights: bool) -> str | None:
    """Take the losses since the last look into the account of the state; what is wrong with them, or None.

    Waits for the device.

    Args:
        look: whether their mean counts as one that later ones are measured by; a stop in between must change no number.
        weights: whether the weights are looked at, too.
    """
    values, progress = state.ranks.mean(torch.stack(losses).double()).tolist(), state.progress
    losses.clear()
    for value in values:
        progress.loss_sum += value
    progress.loss_count += len(values)
    if not all(abs(value) < float("inf") for value in values) or (weights and not state.finite()):
        return "not finite"
    mean = progress.loss_sum / progress.loss_count
    first, least = (mean if past is None else past for past in (progress.first_loss, progress.least_loss))
    # Where the least is zero or less, a ratio says nothing. One that fell to the rounding errors may well rise a million-fold.
    if mean > BLOWN_UP * least > 0 and mean > first:
        return f"blown up (mean loss {mean:.1e}, the least so far {least:.1e})"
    if look:
        progress.first_loss, progress.least_loss = first, min(least, mean)
    return None


def _validate(model: nn.Module, criterion: Objective, stream: Iterable[Batch], state: State) -> float:
    """Mean of the criterion over the samples of the stream, with the average of the weights where there is one."""
    total, samples = torch.zeros((), dtype=torch.float64, device=state.device), 0
    model.eval()
    with state.average.applied() if state.average is not None else contextlib.nullcontext(), torch.no_grad():
        for batch in stream:
            rows = len(next(iter(batch.values())))
            total += criterion(model, batch) * rows
            samples += rows
    model.train()
    if samples == 0:
        raise ValueError(_NO_VALIDATION)
    # Every process saw every sample; the mean makes them agree to the last bit on which weights are best.
    return float(state.ranks.mean(total)) / samples


def _least(error: float, best: Mapping[str, Tensor] | None, state: State, folder: RunFolder) -> Mapping[str, Tensor] | None:
    """The weights of least validation error, after one more; these are written when it is less than all before."""
    progress = state.progress
    if not error < (float("inf") if progress.best is None else progress.best):
        return best
    progress.best, progress.best_step = error, progress.step
    best = state.usable_weights()
    folder.save_best(best, {"validation": error, "step": progress.step})
    return best


def _keep(state: State, folder: RunFolder, log: Log) -> Captured:
    """The state as it is, also written."""
    good = state.capture()
    folder.save_last(good["weights"] if state.average is None else state.usable_weights(), good, log.position())
    return good


def _go_back(state: State, good: Captured, log: Log, trouble: str) -> None:
    """To the last good state; the data do not go back, or the same ones would do the same again."""
    step, returns = state.progress.step, state.progress.returns + 1
    if returns > RETURNS:
        raise FloatingPointError(
            f"fit: losses or weights {trouble} before step {step}, for the {returns}th time; "
            "lower the learning rate, clip the gradient, or look for a truth that is zero everywhere"
        )
    known = state.progress.first_loss, state.progress.least_loss  # the good state may be from before the first look
    state.restore(good, data=False)
    state.progress.returns = returns
    state.progress.first_loss, state.progress.least_loss = known
    now = state.progress.step
    log.event(now, f"{trouble} before step {step}: back to step {now}, on with the next data and half the learning rate")


def _record(progress: Progress, error: float | None, rate: float) -> Record:
    """A line of the log, which ends the account of the losses."""
    loss = progress.loss_sum / progress.loss_count
    progress.loss_sum, progress.loss_count = 0.0, 0
    seconds = round(progress.seconds, 3)
    return {"step": progress.step, "loss": loss, "validation": error, "learning_rate": rate, "seconds": seconds}


class _InBfloat16(nn.Module):
    """The model under autocast; what it gives is left in the type it comes in."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> Any:
        with torch.autocast(inputs[0].device.type, torch.bfloat16):
            return self.model(*inputs)


class _Stop:
    asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


@contextlib.contextmanager
def _sigterm(wanted: bool) -> Iterator[_Stop]:
    """Note SIGTERM instead of dying of it, while the block lasts. Python allows that in the main thread only."""
    stop = _Stop()
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
    if stop.asked:  # too late to stop the run, but whoever called it shall hear of it
        signal.raise_signal(signal.SIGTERM)


def _checked(
    model: nn.Module,
    stream: TrainingStream,
    ranks: Ranks,
    *,
    steps: int,
    every: int,
    ema: float | None,
    accumulate: int,
    precision: str,
) -> list[nn.Parameter]:
    """The weights to train, after a look at the arguments."""
    for name, value in (("steps", steps), ("every", every), ("accumulate", accumulate)):
        if value < 1:
            raise ValueError(f"{name}: got {value}, need at least 1")
    if ema is not None and not 0 < ema < 1:
        raise ValueError(f"ema: got {ema}, need a decay between 0 and 1, such as 0.999")
    if precision not in ("float32", "bf16"):
        raise ValueError(f"precision: got {precision!r}, need float32 or bf16")
    weights = [w for w in model.parameters() if w.requires_grad]
    if not weights:
        raise ValueError(f"model: {type(model).__name__} has no weights that want a gradient")
    if weights[0].device != torch.device(stream.device):
        raise ValueError(f"model: is on {weights[0].device}, the stream brings to {stream.device}; move the model there")
    if stream.ranks != ranks.size:
        raise ValueError(f"stream: serves {stream.ranks} processes, there are {ranks.size}; open it inside `launched`")
    return weights


__all__ = ["Precision", "Run", "fit"]
