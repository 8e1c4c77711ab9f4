"""Diffusion and reaction of an activator u and an inhibitor v in a box without flux through its sides (FitzHugh & Nagumo).

u_t = D_u Δu + u - u³ - k - v,   v_t = D_v Δv + u - v.

Setting: Takamoto et al., "PDEBench", NeurIPS 2022 (arXiv 2210.07182), two-dimensional diffusion-reaction.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.checks import check_count, check_positive, check_power_law, check_range, check_times, instants
from sciml.numerics.cosine_transform import cosine_transform, inverse_cosine_transform, neumann_eigenvalues
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import PowerLaw, Seeds, gaussian_field
from sciml.numerics.spectral import Etdrk4, etdrk4, steps_between
from sciml.problems.problem import Evolution, Fields, Variable, restart_residual


@dataclass(frozen=True)
class CellNoise:
    """Standard normal numbers, one per cell, independent: the published law.

    It is no law of functions. On another grid a sample is another sample, and on finer grids it has no limit.
    """

    def draw(self, domain: Domain, seeds: Seeds, name: str) -> Float[Tensor, "sample *space"]:
        cells = 1
        for n in domain.shape:
            cells *= n
        return seeds.normal(name, cells).reshape(-1, *domain.shape)


@dataclass(frozen=True)
class SmoothField:
    """A Gaussian field N(0, s² (-Δ + tau²)^(-alpha)) without slope at the sides, with s such that its mean variance is 1.

    Args:
        modes: cosines per axis. A sample is the same function on every grid.
    """

    alpha: float = 3.0
    tau: float = 10.0
    modes: int = 32

    def __post_init__(self) -> None:
        check_power_law(self.alpha, self.tau)
        check_positive(tau=self.tau)  # the constant takes part
        check_count(modes=self.modes)

    def draw(self, domain: Domain, seeds: Seeds, name: str) -> Float[Tensor, "sample *space"]:
        law = PowerLaw(self.alpha, self.tau)
        cosines = neumann_eigenvalues(domain.with_points([self.modes] * domain.dim), exact=True)
        mean_variance = float(law(-cosines).sum()) / domain.volume
        law = replace(law, scale=mean_variance**-0.5)
        return gaussian_field(domain, law, seeds, modes=self.modes, name=name, constant_mode=True)


@dataclass(frozen=True)
class FitzHughNagumo(Evolution):
    """Two fields on cells between `neumann` sides, by cosine series and exponential time differencing (ETDRK4).

    Fourth order in time. In space: the second difference without flux through the sides, second order, as published; or the
    Laplacian of the cosine series, whose error falls faster than any power of the spacing where the fields are smooth.

    Args:
        law: of u and of v, drawn independently.
        times: instants of the states, the first 0.
        diffusivities: D_u and D_v, in the unit of x squared per unit of time.
        threshold: k.
        step: largest step in time.
        cosine_series: the Laplacian of the cosine series instead of the second difference.
    """

    law: CellNoise | SmoothField
    times: tuple[float, ...]
    diffusivities: tuple[float, float] = (1e-3, 5e-3)
    threshold: float = 5e-3
    step: float = 0.0125
    cosine_series: bool = False
    title: str = field(default="diffusion and reaction of FitzHugh and Nagumo", init=False)
    tolerance: float = 1e-10

    def __post_init__(self) -> None:
        for diffusivity in self.diffusivities:
            check_range(0, diffusivities=diffusivity)
        check_times(self.times)
        check_range(threshold=self.threshold)
        check_positive(step=self.step)

    def variables(self) -> Mapping[str, Variable]:
        return {
            "u": Variable("state", "activator", in_time=True),
            "v": Variable("state", "inhibitor", in_time=True),
        }

    def parameters(self) -> Mapping[str, object]:
        return {
            "diffusivities": list(self.diffusivities),
            "threshold": self.threshold,
            "step": self.step,
            "cosine_series": self.cosine_series,
            "law": {"name": type(self.law).__name__, **asdict(self.law)},
        }

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        u, v = (self.law.draw(domain, seeds, name) for name in ("activator", "inhibitor"))
        return {"u": u[:, None, None], "v": v[:, None, None]}

    def solve(self, given: Fields, domain: Domain) -> Fields:
        """All instants.

        Raises:
            ValueError: sides that are not `neumann`, points that are no cells, or a step that is unstable at the largest |u|.
        """
        frames = [torch.cat([given["u"], given["v"]], 2)[:, 0]]
        self._check(given["u"].detach())
        for start, stop in itertools.pairwise(self.times):
            frames.append(self._advance(frames[-1], start, stop, domain))
        states = torch.stack(frames, 1)
        return {"u": states[:, :, :1], "v": states[:, :, 1:]}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        states = torch.cat([fields["u"], fields["v"]], 2)
        return restart_residual(lambda w, start, stop: self._advance(w, start, stop, domain), states, self.times)

    def conserved(self, fields: Fields, domain: Domain) -> Mapping[str, Float[Tensor, "sample"]]:
        """Nothing is."""
        return {}

    def halved(self) -> FitzHughNagumo:
        return replace(self, step=self.step / 2)

    def exact(self, domain: Domain) -> tuple[Fields, Fields]:
        """Rest, u = v = -k^(1/3)."""
        rest = -(abs(self.threshold) ** (1 / 3)) * (1 if self.threshold >= 0 else -1)
        w = torch.full((1, len(self.times), 1, *domain.shape), rest, dtype=torch.float64)
        return {"u": w[:, :1].clone(), "v": w[:, :1].clone()}, {"u": w, "v": w.clone()}

    def _check(self, u: Tensor) -> None:
        largest = float(u.abs().max())
        stable = _REACH / (3 * largest**2 + 1)  # the reaction damps a disturbance of u at the rate 3 u² - 1, v at 1
        if self.step > stable:
            raise ValueError(f"step: got {self.step}, unstable at |u| = {largest:.3g}; {0.9 * stable:.2g} works")

    def _advance(self, state: Tensor, start: float, stop: float, domain: Domain) -> Tensor:
        count, step = steps_between(start, stop, self.step)
        scheme = _scheme(self.diffusivities, domain, self.cosine_series, float(f"{step:.12g}"))
        dims = range(-domain.dim, 0)

        # The scheme advances complex spectra; those of cosines have no imaginary part.
        def reaction(spectrum: Tensor) -> Tensor:
            u, v = inverse_cosine_transform(spectrum.real, dims).unbind(1)
            rates = torch.stack([u - u**3 - self.threshold - v, u - v], 1)
            return cosine_transform(rates, dims).to(spectrum.dtype)

        spectrum = cosine_transform(state, dims).to(state.dtype.to_complex())
        for _ in range(count):
            spectrum = scheme.advance(spectrum, reaction)
        return inverse_cosine_transform(spectrum.real, dims)


_REACH = 2.7
"""How far the stages reach along the negative axis, step times rate, rounded down."""


@lru_cache(maxsize=8)
def _scheme(diffusivities: tuple[float, float], domain: Domain, cosine_series: bool, step: float) -> Etdrk4:
    """Kept, as equal intervals between instants differ by rounding, which 12 digits of the step leave out."""
    eigenvalues = neumann_eigenvalues(domain, exact=cosine_series)
    return etdrk4(torch.stack([d * eigenvalues for d in diffusivities]), step)


def pdebench(frames: int = 101) -> FitzHughNagumo:
    """Noise in every cell, t = 0, 0.05, ..., 5, the second difference in space (Takamoto et al. 2022)."""
    return FitzHughNagumo(CellNoise(), instants(frames, 20))


def smooth(frames: int = 101) -> FitzHughNagumo:
    """The same equation and instants from smooth fields of variance 1, by cosine series: functions that no grid decides."""
    return FitzHughNagumo(SmoothField(), instants(frames, 20), cosine_series=True)


__all__ = ["CellNoise", "FitzHughNagumo", "SmoothField", "pdebench", "smooth"]
