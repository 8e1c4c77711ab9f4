"""Advection on a period, u_t + β u_x = 0: every answer is the initial function itself, moved by β t.

Laws of the initial function: sums of sines (Takamoto et al., "PDEBench", NeurIPS 2022); a square wave, and a square wave with
an arch (Lu et al., "A comprehensive and fair comparison of two neural operators", CMAME 393 (2022) 114778, advection I and II);
the sign of a Gaussian field (de Hoop, Huang, Qian & Stuart, "The cost-accuracy trade-off in operator learning with neural
networks", J. Mach. Learn. 1 (2022) 299).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.checks import check_count, check_power_law, check_range, check_times, equal_times, instants
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import PowerLaw, Seeds
from sciml.numerics.random_waves import WaveSum
from sciml.problems.problem import Evolution, Fields, Variable, relative_distance

SPEEDS = (0.1, 0.2, 0.4, 0.7, 1.0, 2.0, 4.0, 7.0)
"""β of the published PDEBench sets."""


@dataclass(frozen=True)
class SquareWave:
    """Height h on |s - m| <= w / 2, else 0; h uniform on [1, 2), w on [0.3, 0.6), m on [0.3, 0.7)."""

    count: int = field(default=3, init=False)
    meaning: str = field(default="height, width, middle", init=False)

    def parameters(self) -> Mapping[str, object]:
        return {}

    def draw(self, seeds: Seeds) -> Float[Tensor, "sample 3"]:
        return _uniform(seeds, [(1.0, 2.0), (0.3, 0.6), (0.3, 0.7)])

    def __call__(self, numbers: Float[Tensor, "sample 3"], place: Float[Tensor, "*points"]) -> Float[Tensor, "sample *points"]:
        height, width, middle = _columns(numbers, place)
        return torch.where((place - middle).abs() <= width / 2, height, 0.0)


@dataclass(frozen=True)
class SquareAndArch:
    """A square wave on the left, and on the right sqrt(max(h² - a² (s - c)², 0)).

    Of the square: h uniform on [0.5, 2), w on [0.1, 0.2), m on [0.2, 0.3). Of the arch: h uniform on [0.5, 2), a on [5, 10),
    c on [0.7, 0.8). As published, an arch that reaches beyond s = 1 ends there with a jump and does not come in again at 0.
    """

    count: int = field(default=6, init=False)
    meaning: str = field(default="height, width, middle of the square; height, slope, middle of the arch", init=False)

    def parameters(self) -> Mapping[str, object]:
        return {}

    def draw(self, seeds: Seeds) -> Float[Tensor, "sample 6"]:
        return _uniform(seeds, [(0.5, 2.0), (0.1, 0.2), (0.2, 0.3), (0.5, 2.0), (5.0, 10.0), (0.7, 0.8)])

    def __call__(self, numbers: Float[Tensor, "sample 6"], place: Float[Tensor, "*points"]) -> Float[Tensor, "sample *points"]:
        height, width, middle, top, slope, centre = _columns(numbers, place)
        square = torch.where((place - middle).abs() <= width / 2, height, 0.0)
        # The root of where, not where of the root: its slope is finite where the arch is not.
        inside = top.square() - (slope * (place - centre)).square()
        return square + torch.where(inside > 0, inside, 0.0).sqrt()


@dataclass(frozen=True)
class FieldSign:
    """+1 where a Gaussian field of mean zero is >= 0, else -1; the field is N(0, (-d²/ds² + tau²)^(-alpha)) on the period.

    Args:
        modes: cosines and sines that make up the field, as many numbers are kept per sample.
    """

    alpha: float = 2.0
    tau: float = 3.0
    modes: int = 128
    meaning: str = field(default="amplitudes of cos 2πs, sin 2πs, cos 4πs, ...", init=False)

    def __post_init__(self) -> None:
        check_count(modes=self.modes)
        check_power_law(self.alpha, self.tau)

    @property
    def count(self) -> int:
        return self.modes

    def parameters(self) -> Mapping[str, object]:
        return {"alpha": self.alpha, "tau": self.tau, "modes": self.modes}

    def _waves(self) -> Float[Tensor, "modes"]:
        return torch.arange(self.modes, dtype=torch.float64).div(2, rounding_mode="floor") + 1

    def draw(self, seeds: Seeds) -> Float[Tensor, "sample modes"]:
        variance = PowerLaw(self.alpha, self.tau)((2 * math.pi * self._waves()).square())
        return seeds.normal("field", self.modes) * (2 * variance).sqrt()

    def __call__(
        self, numbers: Float[Tensor, "sample modes"], place: Float[Tensor, "*points"]
    ) -> Float[Tensor, "sample *points"]:
        # Phases in periods, reduced before the sine, so that high modes keep their digits.
        phase = (place[..., None] * self._waves().to(place)).remainder(1.0) * (2 * math.pi)
        even = torch.arange(self.modes, device=place.device) % 2 == 0
        basis = torch.where(even, torch.cos(phase), torch.sin(phase))
        g = numbers @ basis.reshape(-1, self.modes).T
        return torch.where(g >= 0, 1.0, -1.0).to(place).reshape(-1, *place.shape)


@dataclass(frozen=True)
class Advection(Evolution):
    """u_t + β u_x = 0, periodic over the length of the domain.

    `solve` evaluates the law's function at x - β t, from the numbers that `draw` keeps in `initial`: the answer is exact to
    rounding on every grid, and there is no scheme, no step in time and no error of either. `residual` is the distance from
    that function.

    The domain is one axis, `periodic`, or `open` where both ends of the period are stored, as in some published sets.

    Args:
        law: of the initial function on a period.
        speed: β, in lengths of the unit of x per unit of time.
        times: instants of the state, the first 0.
        halvings: of a step that is not there; `halved` counts it up, and the answers stay what they are.
    """

    law: WaveSum | SquareWave | SquareAndArch | FieldSign
    speed: float
    times: tuple[float, ...]
    halvings: int = 0
    title: str = field(default="advection", init=False)
    tolerance: float = 1e-12

    def __post_init__(self) -> None:
        check_range(speed=self.speed)
        check_times(self.times)
        if self.times[0] != 0:
            raise ValueError(f"times: got {self.times[0]} as the first, need 0")

    def variables(self) -> Mapping[str, Variable]:
        return {
            "initial": Variable(
                "parameter", f"numbers of the initial function: {self.law.meaning}", components=self.law.count, on_grid=False
            ),
            "u": Variable("state", "advected quantity", in_time=True),
        }

    def parameters(self) -> Mapping[str, object]:
        return {"speed": self.speed, "law": type(self.law).__name__, **self.law.parameters()}

    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        initial = self.law.draw(seeds)
        return {"initial": initial, "u": self.law(initial, self._places(domain, initial)[0])[:, None, None]}

    def solve(self, given: Fields, domain: Domain) -> Fields:
        first, initial = given["u"], given["initial"]
        later = self.law(initial, self._places(domain, initial)[1:])[:, :, None]
        return {"u": torch.cat([first, later], 1)}

    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        u = self.law(fields["initial"], self._places(domain, fields["initial"]))
        return relative_distance(fields["u"][:, :, 0], u)

    def conserved(self, fields: Fields, domain: Domain) -> Mapping[str, Float[Tensor, "sample"]]:
        """Nothing: a function with kinks or jumps has other sums over the grid at every instant, of the right answer too."""
        return {}

    def halved(self) -> Advection:
        return replace(self, halvings=self.halvings + 1)

    def exact(self, domain: Domain) -> tuple[Fields, Fields] | None:
        """One sine wave that travels; for the law `WaveSum` only."""
        if not isinstance(self.law, WaveSum):
            return None
        rest = [0.0] * (self.law.waves - 1)
        initial = torch.tensor(
            [[1.0, *[1.0] * len(rest), 1.0, *rest, 0.0, *rest, 1.0, 0.0, 0.0, 0.2, 0.8]], dtype=torch.float64
        )
        (axis,) = domain.axes
        times = torch.tensor(self.times, dtype=torch.float64)[:, None]
        u = torch.sin(2 * math.pi * (axis.coordinates() - axis.origin - self.speed * times) / axis.length)[None, :, None]
        return {"initial": initial, "u": u[:, :1]}, {"u": u}

    def _places(self, domain: Domain, like: Tensor) -> Float[Tensor, "time points"]:
        """Where the values of each instant and point came from, in periods, reduced in float64."""
        if domain.dim != 1 or domain.axes[0].sides[0] not in ("periodic", "open"):
            raise ValueError(f"domain: got {domain}, need one axis with periodic sides, or open ones to store both ends")
        (axis,) = domain.axes
        times = torch.tensor(self.times, dtype=torch.float64)[:, None]
        return ((axis.coordinates() - axis.origin - self.speed * times) / axis.length).remainder(1.0).to(like)


def pdebench(speed: float = 0.1, frames: int = 201) -> Advection:
    """Sums of two sines with up to 8 waves, t = 0, 0.01, ..., 2 (Takamoto et al. 2022); published for each of `SPEEDS`."""
    return Advection(WaveSum(), speed, instants(frames, 100))


def square_wave(frames: int = 40) -> Advection:
    """Advection I of Lu et al. 2022: a square wave, β = 1, `frames` instants from 0 to 1."""
    return Advection(SquareWave(), 1.0, equal_times(frames, 1.0))


def square_and_arch(frames: int = 40) -> Advection:
    """Advection II of Lu et al. 2022: a square wave and an arch, β = 1, `frames` instants from 0 to 1."""
    return Advection(SquareAndArch(), 1.0, equal_times(frames, 1.0))


def field_sign(modes: int = 128) -> Advection:
    """The sign of a Gaussian field, β = 1, to t = 0.5 (after de Hoop et al. 2022; the source of advection III)."""
    return Advection(FieldSign(modes=modes), 1.0, (0.0, 0.5))


def _uniform(seeds: Seeds, ranges: list[tuple[float, float]]) -> Tensor:
    low, high = torch.tensor(ranges, dtype=torch.float64).T
    return low + (high - low) * seeds.uniform("initial", len(ranges))


def _columns(numbers: Tensor, place: Tensor) -> tuple[Tensor, ...]:
    """Each number of the samples, ready to meet every place."""
    return numbers.reshape(*numbers.shape, *[1] * place.ndim).unbind(1)
