"""The page of a run that reconstructs a dynamical system: scores beside floor, surrogate and persistence, and attractors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from sciml.dynamics.forecaster import Forecaster
from sciml.dynamics.plrnn.fixed_points import fixed_points
from sciml.dynamics.plrnn.lyapunov import lyapunov_exponents
from sciml.dynamics.plrnn.networks import PiecewiseLinearNetwork
from sciml.metrics.spectra import power_spectrum
from sciml.numerics.lyapunov import kaplan_yorke
from sciml.plots.attractors import attractors_picture, return_map_picture, spectra_picture, successive_maxima
from sciml.training.field_report import curves_of, facts_of
from sciml.training.fit import Run
from sciml.training.reconstruction import Protocol, Reconstruction, free_run, reconstruct
from sciml.training.report import write_report

_PUBLISHED = Protocol()

SHOWN = 10_000
"""Most instants of an orbit that are drawn."""

PANELS = 6
"""Most components whose spectra are drawn."""


def reconstruction_report(
    run: Run | Forecaster,
    test: Float[Tensor, "time observed"],
    *,
    train: Float[Tensor, "instants observed"] | None = None,
    baselines: Mapping[str, Forecaster] | None = None,
    interval: float = 1.0,
    protocol: Protocol = _PUBLISHED,
    out: str | Path | None = None,
    name: str = "model",
) -> Reconstruction:
    """Measure a model and what stands beside it, and with `out` write table.csv, table.md, table.json and report.html there.

    Of a piecewise-linear network the page gives Lyapunov exponents, Kaplan-Yorke dimension and fixed points, too. Pictured is
    the replica of median divergence, so that the picture is no better than the score.

    Args:
        run: what `fit` gave, or a model.
        test: which nothing was chosen on.
        train: another true series, for the floor.
        baselines: by name.
        interval: time between instants, for exponents per unit time.
        name: of the model in the table.
    Raises:
        ValueError: as `reconstruct`.
        OSError: a file cannot be written.
    """
    model = run.model if isinstance(run, Run) else run
    if not isinstance(model, Forecaster):
        raise ValueError(
            f"run: got a {type(model).__name__}, need a model with `forecast`, `context`, `observed` and `replicas`"
        )
    if name in (baselines or {}):
        raise ValueError(f"baselines: one is named {name!r} as the model is; choose another name")
    table = reconstruct({name: model, **(baselines or {})}, test, train=train, protocol=protocol)
    if out is not None:
        table.write(out)
        facts = {"test series": f"{len(test):,} instants of {test.shape[1]} components"}
        facts |= facts_of(run) if isinstance(run, Run) else {}
        facts |= network_facts(model, test, interval, protocol.orbit) if isinstance(model, PiecewiseLinearNetwork) else {}
        figures = ({"Learning curves": curves_of(run)} if isinstance(run, Run) else {}) | _pictures(name, model, table, test)
        page = Path(out) / "report.html"
        title = f"{name}: reconstruction of a dynamical system"
        write_report(page, title, facts=facts, header=table.header(), rows=table.cells(), notes=table.notes(), figures=figures)
    return table


def network_facts(
    model: PiecewiseLinearNetwork, test: Float[Tensor, "time observed"], interval: float, orbit: int
) -> dict[str, str]:
    """Exponents per unit time, Kaplan-Yorke dimension and fixed points: medians over the replicas, and how many they are of."""
    network, starts = model.piecewise_linear().detached().to(torch.float64), states_of(model, test)
    size = min(model.latent, 6)
    found = lyapunov_exponents(
        network, starts[:, 0], steps=orbit, transient=orbit // 10, every=1, dt=interval, exponents=size
    ).exponents
    finite = found[found.isfinite().all(1)]
    facts = {"replicas": f"{model.replicas}, trained together"}
    if len(finite):
        medians = finite.quantile(0.5, dim=0).tolist()
        facts["Lyapunov exponents"] = ", ".join(f"{value:.4g}" for value in medians) + " per unit time (medians)"
        facts["Kaplan-Yorke dimension"] = f"{float(kaplan_yorke(finite).quantile(0.5)):.3f} (median)"
    points = fixed_points(network, starts=starts)
    counts = sorted(len(of_one) for of_one in points)
    facts["fixed points"] = ", ".join(f"{counts.count(n)} replicas with {n}" for n in sorted(set(counts)))
    return facts


def states_of(model: PiecewiseLinearNetwork, series: Float[Tensor, "time observed"]) -> Float[Tensor, "replica start state"]:
    """A hundred states of the network at instants of a series."""
    some = series[:: max(1, len(series) // 100)].to(model.decay)
    with torch.no_grad():
        return model.observation.start(model.standardised(some.expand(model.replicas, -1, -1))).double()


def _pictures(name: str, model: Forecaster, table: Reconstruction, test: Tensor) -> dict[str, Figure]:
    order = table.rows[0].divergence.argsort()
    chosen = int(order[len(order) // 2])
    generated = free_run(model, test, table.protocol)[chosen].double().cpu()
    truth = test.double().cpu()
    if not bool(generated.isfinite().all()):
        return {}
    label = f"{name}, replica {chosen}" if model.replicas > 1 else name
    orbits = {"truth": truth[:SHOWN].numpy(), label: generated[:SHOWN].numpy()}
    smoothing, both = table.protocol.smoothing, {"truth": truth[:, :PANELS], label: generated[:, :PANELS]}
    powers = {key: power_spectrum(series, smoothing=smoothing).numpy() for key, series in both.items()}
    frequencies = torch.fft.rfftfreq(len(truth), dtype=torch.float64).numpy()
    figures = {"Spectra": spectra_picture(frequencies, powers)}
    if truth.shape[1] > 1:
        figures = {"Attractors": attractors_picture(orbits)} | figures
    last = {key: series[:, -1].numpy() for key, series in (("truth", truth[:SHOWN]), (label, generated[:SHOWN]))}
    if len(successive_maxima(last["truth"])) > 1:
        figures["Successive maxima of the last component"] = return_map_picture(last)
    return figures


__all__ = ["network_facts", "reconstruction_report"]
