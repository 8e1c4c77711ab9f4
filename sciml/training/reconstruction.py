"""How well models reproduce a dynamical system: the states they visit, their spectra, their forecasts.

Beside every score stand the floor, which is what another true trajectory scores, a linear surrogate and persistence.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.dynamics.forecaster import Forecaster
from sciml.metrics.attractors import (
    persistence_error,
    prediction_error,
    state_space_divergence,
    state_space_divergence_mixture,
)
from sciml.metrics.spectra import spectral_hellinger
from sciml.metrics.surrogates import phase_randomised
from sciml.training.checkpoint import write_bytes

BINNED = 5
"""Most components whose state space is binned; more are measured by mixtures of Gaussians, as in Hess et al. (2023)."""

STILL = 0.25
"""Part of the deviation of the truth below which a component counts as having come to rest, at a point or on a small cycle."""


@dataclass(frozen=True)
class Protocol:
    """How models are measured; the defaults are those of Hess et al. (2023).

    Args:
        transient: steps dropped of a free run, as a part of the length of the test series.
        ahead: n of the prediction error PE(n).
        bins: per component of the state space.
        variance: of the Gaussians, for series of more than five components.
        smoothing: of the spectra, in bins of frequency.
        standardised: whether errors and Gaussians are in standard deviations of the test series; published series are
            standardised themselves, more or less, and scored as they are.
        orbit: steps over which Lyapunov exponents are averaged, after a tenth as many that are not.
    """

    transient: float = 0.25
    ahead: int = 20
    bins: int = 30
    variance: float = 1.0
    smoothing: float = 20.0
    standardised: bool = False
    orbit: int = 20_000

    def __post_init__(self) -> None:
        if not 0 <= self.transient < float("inf"):
            raise ValueError(f"transient: got {self.transient}, need a part of the length that is not negative")
        if self.ahead < 1:
            raise ValueError(f"ahead: got {self.ahead}, need at least 1")
        if self.orbit < 10:
            raise ValueError(f"orbit: got {self.orbit}, need at least 10")


@dataclass(frozen=True)
class ReconstructionRow:
    """Scores of a model, one number per replica; infinite for a replica that has none.

    Args:
        parameters: trained numbers of one replica.
        divergence: D_stsp, of the states visited.
        hellinger: D_H, of the power spectra.
        prediction_error: PE(n).
        failed: replicas whose free run was not finite, which scores infinity, or in which a component came to rest, which is
            scored as it is; None of what is no model.
        note: what the row is, where it is no model.
    """

    name: str
    parameters: int
    divergence: Float[Tensor, "replica"]
    hellinger: Float[Tensor, "replica"]
    prediction_error: Float[Tensor, "replica"]
    failed: int | None = None
    note: str = ""

    def summary(self, measure: str) -> tuple[float, float]:
        """Median over all replicas, failed ones counted as infinitely bad, and median absolute deviation."""
        values = getattr(self, measure).tolist()
        centre = median(values)
        return centre, median(abs(v - centre) for v in values) if centre < float("inf") else float("nan")


FLOOR, SURROGATE, PERSISTENCE = "another true series", "random phases", "persistence"
"""Rows that are no models."""

MEASURES: Mapping[str, str] = {"divergence": "D_stsp", "hellinger": "D_H", "prediction_error": "PE"}


@dataclass(frozen=True)
class Reconstruction:
    """Rows of `reconstruct`; `print` shows medians and median absolute deviations over the replicas."""

    rows: tuple[ReconstructionRow, ...]
    instants: int
    protocol: Protocol

    def header(self) -> list[str]:
        """Names of the columns of `cells`."""
        return ["model", "parameters", "D_stsp", "D_H", f"PE({self.protocol.ahead})", "failed"]

    def cells(self) -> list[list[str]]:
        """The rows as texts, rounded for the eye."""
        return [
            [
                row.name,
                f"{row.parameters:,}" if row.parameters else "–",
                *(_shown(*row.summary(measure), len(row.divergence)) for measure in MEASURES),
                "–" if row.failed is None else f"{row.failed} of {len(row.divergence)}",
            ]
            for row in self.rows
        ]

    def notes(self) -> list[str]:
        replicas = (
            "Medians and median absolute deviations over the replicas. Failed are those whose free run was not finite, which "
            "count as infinitely bad, and those in which a component came to rest, which are scored as they are."
        )
        length = f"{self.instants:,} instants on both sides; D_stsp depends on the length, so compare at the same one."
        return [replicas, length, *(f"{row.name}: {row.note}" for row in self.rows if row.note)]

    def to_dict(self) -> dict[str, object]:
        """For JSON, every replica of every model."""
        rows = [
            {
                "name": row.name,
                "parameters": row.parameters,
                "failed": row.failed,
                **{measure: _plain(getattr(row, measure)) for measure in MEASURES},
                "medians": {m: _plain(torch.tensor([row.summary(m)[0]]))[0] for m in MEASURES},
            }
            for row in self.rows
        ]
        return {"instants": self.instants, "protocol": vars(self.protocol), "rows": rows}

    def to_csv(self) -> str:
        """One line per replica."""
        out = io.StringIO()
        lines = csv.writer(out, lineterminator="\n")
        lines.writerow(["model", "parameters", "replica", *MEASURES])
        for row in self.rows:
            columns = [getattr(row, measure).tolist() for measure in MEASURES]
            lines.writerows([row.name, row.parameters, i, *values] for i, values in enumerate(zip(*columns, strict=True)))
        return out.getvalue()

    def to_markdown(self) -> str:
        lines = [self.header(), ["---", *["---:"] * (len(self.header()) - 1)], *self.cells()]
        return "".join("| " + " | ".join(line) + " |\n" for line in lines) + "".join(f"\n{note}\n" for note in self.notes())

    def write(self, folder: str | Path) -> None:
        """table.csv, table.md and table.json in a folder.

        Raises:
            OSError: a file cannot be written.
        """
        texts = {"csv": self.to_csv(), "md": self.to_markdown(), "json": json.dumps(self.to_dict(), indent=2) + "\n"}
        for suffix, text in texts.items():
            write_bytes(Path(folder) / f"table.{suffix}", text.encode())

    def __str__(self) -> str:
        return self.to_markdown()


_PUBLISHED = Protocol()


def reconstruct(
    models: Mapping[str, Forecaster],
    test: Float[Tensor, "time observed"],
    *,
    train: Float[Tensor, "instants observed"] | None = None,
    protocol: Protocol = _PUBLISHED,
) -> Reconstruction:
    """Measure free runs and forecasts of models against a test series.

    Each model sees the first instants of the series, as many as it asks for, and runs free from there for the length of the
    series and the transient before it.

    Args:
        models: by name, in the order of the rows.
        test: which nothing was chosen on.
        train: another true series, whose score is the floor; its first instants, as many as the test has.
    Raises:
        ValueError: a model or a training series of another number of components, a model with external inputs, a series that is
            too short, not finite or, where standardised, constant, or a name that is taken.
    """
    _check_names(models)
    for name, series in (("test", test), ("train", test if train is None else train)):
        _check_series(name, series, test, protocol)
    scale = test.std(0) if protocol.standardised else torch.ones_like(test[0])
    rows = [_row(name, model, test, scale, protocol) for name, model in models.items()]
    test = test / scale
    if train is not None:
        length = min(len(train), len(test))
        other, same = train[:length].to(test) / scale, test[:length]
        floor = _scores(other[None], same, protocol)
        rows.append(_beside(FLOOR, floor, f"the floor: {length:,} instants of the training series"))
    surrogate = _scores(phase_randomised(test)[None], test, protocol)
    rows.append(_beside(SURROGATE, surrogate, "a linear surrogate of the test series itself"))
    still = test.mean(0).expand_as(test)[None]
    divergence = divergence_of(still, test, protocol)
    error = persistence_error(test, protocol.ahead).view(1).cpu()
    scores = (divergence, torch.ones_like(divergence), error)
    rows.append(_beside(PERSISTENCE, scores, "D_stsp of the mean, standing still"))
    return Reconstruction(tuple(rows), len(test), protocol)


def _check_names(models: Mapping[str, Forecaster]) -> None:
    for name, model in models.items():
        if name in (FLOOR, SURROGATE, PERSISTENCE):
            raise ValueError(f"models: got one named {name!r}, which is a row of its own; choose another name")
        if inputs := getattr(model, "inputs", 0):
            raise ValueError(f"models: {name} takes {inputs} external inputs, which a free run has none of")


def _check_series(name: str, series: Tensor, test: Tensor, protocol: Protocol) -> None:
    if not isinstance(series, Tensor):
        raise ValueError(f"{name}: got a {type(series).__name__}, need a tensor; torch.from_numpy makes one")
    if series.ndim != 2 or series.shape[1] != test.shape[-1]:
        components = "component" if test.ndim != 2 else f"{test.shape[1]} components"
        raise ValueError(f"{name}: got shape {tuple(series.shape)}, need (time, {components})")
    if len(series) <= protocol.ahead:
        raise ValueError(f"{name}: got {len(series)} instants, need more than the {protocol.ahead} of forecasts")
    if not bool(series.isfinite().all()):
        raise ValueError(f"{name}: has values that are not finite; give a stretch without gaps")
    if protocol.standardised and bool((still := series.std(0) == 0).any()):
        raise ValueError(f"{name}: component {int(still.int().argmax())} does not vary; leave it out")


def free_run(model: Forecaster, test: Float[Tensor, "time observed"], protocol: Protocol = _PUBLISHED) -> Tensor:
    """What each replica makes of the length of the test series, (replica, time, observed), behind the transient."""
    test = _like_weights(test, model)
    begin = test[: model.context].expand(model.replicas, 1, -1, -1)
    dropped = int(protocol.transient * len(test))
    return model.forecast(begin, dropped + len(test))[:, 0, dropped:]


def divergence_of(
    run: Float[Tensor, "replica time observed"], test: Float[Tensor, "time observed"], protocol: Protocol = _PUBLISHED
) -> Float[Tensor, "replica"]:
    """D_stsp of free runs as the protocol has it: binned for few components, of mixtures of Gaussians for more."""
    if test.shape[1] <= BINNED:
        return state_space_divergence(run, test, bins=protocol.bins).cpu()
    return state_space_divergence_mixture(run, test, variance=protocol.variance).cpu()


def _weights(model: Forecaster) -> list[Tensor]:
    return list(model.parameters()) if isinstance(model, nn.Module) else []


def _like_weights(series: Tensor, model: Forecaster) -> Tensor:
    """In the precision of the model, and where it is."""
    return series.to(next((w for w in _weights(model) if w.is_floating_point()), series))


def _row(name: str, model: Forecaster, test: Tensor, scale: Tensor, protocol: Protocol) -> ReconstructionRow:
    if model.observed != test.shape[1]:
        raise ValueError(f"test: got {test.shape[1]} components, {name} has {model.observed}")
    truth = _like_weights(test, model)
    run = free_run(model, truth, protocol)
    finite = run.isfinite().flatten(1).all(1)
    moving = (run[:, len(test) // 2 :].std(1) > STILL * truth.std(0)).all(1)
    scale = scale.to(truth)
    divergence, hellinger, _ = _scores(run / scale, truth / scale, protocol)
    error = _ahead(model, truth, scale, protocol.ahead)
    numbers = sum(w.numel() for w in _weights(model)) // model.replicas
    return ReconstructionRow(name, numbers, divergence, hellinger, error, int((~(finite & moving)).sum()))


def _scores(run: Tensor, truth: Tensor, protocol: Protocol) -> tuple[Tensor, Tensor, Tensor]:
    """D_stsp and D_H of free runs; no forecasts."""
    hellinger = spectral_hellinger(run, truth, smoothing=protocol.smoothing).cpu()
    return divergence_of(run, truth, protocol), hellinger, torch.full_like(hellinger, torch.nan)


def _ahead(model: Forecaster, truth: Tensor, scale: Tensor, steps: int, chunk: int = 4096) -> Tensor:
    """PE(n) from every instant with enough before and behind it."""
    if model.context == 1:

        def forecast(starts: Tensor, ahead: int) -> Tensor:
            seen = (starts * scale)[None, :, None].expand(model.replicas, -1, -1, -1)
            return model.forecast(seen, ahead)[:, :, -1] / scale

        return prediction_error(forecast, truth / scale, steps, chunk=chunk).cpu()
    before = truth[: len(truth) - steps].unfold(0, model.context, 1).mT
    after = truth[model.context - 1 + steps :]
    total = torch.zeros(model.replicas, dtype=torch.float64)
    for seen, target in zip(before.split(chunk), after.split(chunk), strict=True):
        found = model.forecast(seen.expand(model.replicas, -1, -1, -1), steps)[:, :, -1]
        total += ((found - target) / scale).double().square().flatten(1).sum(1).cpu()
    error = total / after.numel()
    return torch.where(error.isfinite(), error, torch.inf)


def _beside(name: str, scores: tuple[Tensor, Tensor, Tensor], note: str) -> ReconstructionRow:
    return ReconstructionRow(name, 0, *scores, note=note)


def _shown(centre: float, spread: float, replicas: int) -> str:
    if centre != centre:
        return "–"
    return f"{centre:.3g}" if replicas == 1 or spread != spread else f"{centre:.3g} ± {spread:.2g}"


def _plain(values: Tensor) -> list[float | None]:
    """For JSON, which knows no infinity."""
    return [value if abs(value) < float("inf") else None for value in values.tolist()]


__all__ = ["Protocol", "Reconstruction", "ReconstructionRow", "divergence_of", "free_run", "reconstruct"]
