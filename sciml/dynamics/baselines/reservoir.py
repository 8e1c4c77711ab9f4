"""A reservoir of random cells of which only the readout is fitted, in closed form."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.dynamics.baselines.least_squares import reduced
from sciml.dynamics.baselines.series import Series, listed, stacked
from sciml.dynamics.replicas import check_forecast
from sciml.numerics.checks import check_count, check_positive, check_range

BLOCK = 2048
"""Instants whose states are kept at once while the readout is fitted."""


class Reservoir(nn.Module):
    """Echo-state network (Jaeger, GMD Report 148, 2001), with leaking cells.

    r <- (1 - leak) r + leak tanh(W r + V u + b) for each instant u, then W_out r is what follows, both for the series taken to
    mean 0 and standard deviation 1. `Reservoir.of` makes one; the constructor alone makes one of these sizes that is not fitted
    and forecasts nothing but NaN.

    Replicas are seeds. Parameters are the readout alone, which takes no gradient.

    Args:
        observed: numbers per instant of a series.
        units: cells.
        connections: incoming connections of each cell; as many as `units` for a dense matrix.
        leak: above 0 up to 1; 1 forgets the cell's own last value.
        context: instants before the cells have forgotten that they began at zero.
    Raises:
        ValueError: a size below 1, more connections than units, or a leak out of range.
    """

    sources: Tensor
    """Of the connections, among the cells of all replicas, (replica, unit, connection)."""
    recurrent: Tensor
    entering: Tensor
    shift: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        observed: int,
        units: int,
        *,
        connections: int = 10,
        leak: float = 1.0,
        context: int = 100,
        replicas: int = 1,
    ) -> None:
        super().__init__()
        check_count(observed=observed, units=units, connections=connections, context=context, replicas=replicas)
        check_range(0, 1, leak=leak)
        check_positive(leak=leak)
        if connections > units:
            raise ValueError(f"connections: got {connections}, need at most units = {units}")
        self.observed, self.units, self.connections = observed, units, connections
        self.leak, self.context, self.replicas = leak, context, replicas
        self.register_buffer("sources", torch.zeros(replicas, units, connections, dtype=torch.int64))
        for name, shape in (
            ("recurrent", (replicas, units, connections)),
            ("entering", (replicas, units, observed)),
            ("shift", (replicas, units)),
            ("mean", (observed,)),
            ("deviation", (observed,)),
        ):
            self.register_buffer(name, torch.full(shape, torch.nan))
        self.readout = nn.Parameter(torch.full((replicas, observed, units), torch.nan), requires_grad=False)

    @classmethod
    def of(
        cls,
        series: Series,
        units: int = 1000,
        *,
        spectral_radius: float = 0.9,
        leak: float = 1.0,
        input_scale: float = 0.5,
        connections: int = 10,
        ridge: float = 1e-6,
        noise: float = 0.0,
        warm_up: int = 100,
        replicas: int = 1,
        seed: int = 0,
    ) -> Reservoir:
        """One fitted to a series, or several, in float64; `.float()` makes it smaller.

        Series of one length run through the cells together, so a long one that is cut into pieces, (piece, time, observed), is
        fitted faster.

        Args:
            spectral_radius: largest absolute eigenvalue of W, whose connections are drawn from ±1 uniformly.
            input_scale: V and b are uniform in ± this, for series of standard deviation 1.
            ridge: times |W_out|², beside the mean squared error of series of standard deviation 1; above 0.
            noise: standard deviation of what is added to the series that drives the cells, but not to what they should expect,
                for series of standard deviation 1. A reservoir that has seen deviations from the series corrects its own when
                it runs free; without noise it often settles or goes astray, and with it still may.
            warm_up: first instants of each series that the readout is not fitted to, and the context of the model.
            seed: of the first replica; those that follow have the next ones.
        Raises:
            ValueError: a number out of range; series that are too short, do not vary, or are not finite.
        """
        check_positive(spectral_radius=spectral_radius, input_scale=input_scale, ridge=ridge)
        check_range(0, noise=noise)
        check_count(warm_up=warm_up)
        given = listed(series, warm_up + 2)
        model = cls(given[0].shape[1], units, connections=connections, leak=leak, context=warm_up, replicas=replicas).double()
        model.to(given[0].device)
        deviation, mean = torch.std_mean(torch.cat(given), 0, correction=0)
        if still := int((deviation <= 1e-12 * mean.abs()).sum()):
            raise ValueError(f"series: {still} of its components do not vary, leave them out")
        model.mean, model.deviation = mean, deviation
        generators = [torch.Generator().manual_seed(seed + replica) for replica in range(replicas)]
        model._draw(spectral_radius, input_scale, generators)
        weight = reduced(model._blocks(given, noise, generators)).ridged(ridge).solution()
        model.readout.copy_(weight.mT)
        return model

    def remember(
        self, cells: Float[Tensor, "replica unit sequence"], x: Float[Tensor, "replica sequence observed"]
    ) -> Float[Tensor, "replica unit sequence"]:
        """The cells after one more instant of a series."""
        u = ((x - self.mean) / self.deviation).mT
        change = torch.baddbmm(self.shift.unsqueeze(2), self.entering, u) + self._recurrent(cells)
        return (1 - self.leak) * cells + self.leak * torch.tanh(change)

    def read(self, cells: Float[Tensor, "replica unit sequence"]) -> Float[Tensor, "replica sequence observed"]:
        """What the cells expect next."""
        return self.mean + self.deviation * torch.bmm(self.readout, cells).mT

    def forecast(
        self, series: Float[Tensor, "replica sequence time observed"], steps: int
    ) -> Float[Tensor, "replica sequence step observed"]:
        """The instants that follow the series, which drives the cells first; then they are driven by what they expect.

        Raises:
            ValueError: another number of replicas or of values per instant, an empty series, another precision, or
                fewer than one step.
        """
        check_forecast(series, steps, replicas=self.replicas, observed=self.observed, dtype=self.readout.dtype)
        cells = series.new_zeros(self.replicas, self.units, series.shape[1])
        for x in series.unbind(2):
            cells = self.remember(cells, x)
        found = [self.read(cells)]
        while len(found) < steps:
            cells = self.remember(cells, found[-1])
            found.append(self.read(cells))
        return torch.stack(found, 2)

    def _recurrent(self, cells: Tensor) -> Tensor:
        """W r."""
        if self.connections == self.units:  # each from all, in their order
            return torch.bmm(self.recurrent, cells)
        if cells.shape[2] == 1:
            return (cells.flatten()[self.sources] * self.recurrent).sum(2, keepdim=True)
        sources, weights = self.sources.flatten(0, 1), self.recurrent.flatten(0, 1)
        sums = nn.functional.embedding_bag(sources, cells.flatten(0, 1), per_sample_weights=weights, mode="sum")
        return sums.view_as(cells)

    def _draw(self, spectral_radius: float, input_scale: float, generators: list[torch.Generator]) -> None:
        """All that stays as it is, on the CPU, each replica by its own generator."""
        for replica, generator in enumerate(generators):

            def uniform(*shape: int, generator: torch.Generator = generator) -> Tensor:
                return 2 * torch.rand(*shape, generator=generator, dtype=torch.float64) - 1

            order = torch.rand(self.units, self.units, generator=generator).argsort(1)
            sources = order[:, : self.connections].sort(1).values
            weights = uniform(self.units, self.connections)
            matrix = torch.zeros(self.units, self.units, dtype=torch.float64).scatter_(1, sources, weights)
            size = torch.linalg.eigvals(matrix).abs().max()
            if float(size) < 1e-10:
                raise ValueError(f"units: {self.units} with {self.connections} connections have no eigenvalue, need more")
            self.sources[replica] = sources + replica * self.units
            self.recurrent[replica] = weights * (spectral_radius / size)
            self.entering[replica] = input_scale * uniform(self.units, self.observed)
            self.shift[replica] = input_scale * uniform(self.units)

    def _blocks(self, series: list[Tensor], noise: float, generators: list[torch.Generator]) -> Iterator[tuple[Tensor, Tensor]]:
        """Cells and the instants, of mean 0 and standard deviation 1, that they should expect."""
        for together in stacked(series):
            cells = together.new_zeros(self.replicas, self.units, len(together))
            driving = together.expand(self.replicas, -1, -1, -1)
            if noise:
                drawn = [torch.randn(together.shape, generator=g, dtype=together.dtype) for g in generators]
                driving = driving + noise * self.deviation * torch.stack(drawn).to(together.device)
            kept, wanted = [], []
            for t in range(together.shape[1] - 1):
                cells = self.remember(cells, driving[:, :, t])
                if t < self.context:
                    continue
                kept.append(cells.mT)
                wanted.append(((together[:, t + 1] - self.mean) / self.deviation).expand(self.replicas, -1, -1))
                if len(kept) * len(together) >= max(BLOCK, 2 * self.units) or t == together.shape[1] - 2:
                    yield torch.cat(kept, 1), torch.cat(wanted, 1)
                    kept, wanted = [], []


__all__ = ["Reservoir"]
