"""Gaussian random fields on a Domain, given by the variance of each eigenfunction of the Laplacian.

A field is a finite sum over eigenfunctions of the box, so a sample is a function: it has one value at every point of space,
whatever grid is asked for. Random numbers come from a counter-based generator keyed by (root, name, sample), in an order of
modes that does not depend on the grid or on the number of modes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciml.numerics.domain import Axis, Domain


@dataclass(frozen=True)
class Seeds:
    """The random numbers of a block of samples; those of sample `i` depend on (root, i) and the name of the draw alone.

    Args:
        root: seed of the whole set, 0 to 2⁶⁴ - 1.
        samples: numbers of the samples of the block.
    """

    root: int
    samples: range

    def __post_init__(self) -> None:
        if not 0 <= self.root < 2**64:
            raise ValueError(f"seed: got {self.root}, need 0 <= seed < 2**64")

    def normal(self, name: str, count: int) -> Float[Tensor, "sample count"]:
        """`count` standard normal numbers per sample, float64; a smaller count gives the first of a larger one."""
        return torch.from_numpy(np.stack([g.standard_normal(count) for g in self._generators(name)]))

    def uniform(self, name: str, count: int) -> Float[Tensor, "sample count"]:
        """`count` numbers per sample, uniform on [0, 1), float64."""
        return torch.from_numpy(np.stack([g.random(count) for g in self._generators(name)]))

    def _generators(self, name: str) -> Iterator[np.random.Generator]:
        """One generator, put at the first number of each sample in turn: a third of the time that new ones take."""
        draw = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
        bits = np.random.Philox(key=np.array([self.root, draw], dtype=np.uint64))
        # The last word of the counter is the sample: 2**192 numbers lie between one sample and the next. Lists of whole numbers
        # are set faster than arrays; position 4 says that nothing is left over from before.
        counter = [0, 0, 0, 0]
        words = {"counter": counter, "key": [self.root, draw]}
        state = {"bit_generator": "Philox", "state": words, "buffer": [0] * 4, "buffer_pos": 4, "has_uint32": 0, "uinteger": 0}
        generator = np.random.Generator(bits)
        for counter[3] in self.samples:
            bits.state = state  # pyright: ignore[reportAttributeAccessIssue]  # plain lists, for speed
            yield generator


@dataclass(frozen=True)
class PowerLaw:
    """Variance scale² (λ + tau²)^(-alpha) of the eigenfunction with Laplacian eigenvalue λ.

    The field is N(0, scale² (-Δ + tau²)^(-alpha)).

    Args:
        alpha: decay; the field has about alpha - dim/2 square-integrable derivatives.
        tau: inverse correlation length.
        scale: standard deviation in front; the published Darcy fields have tau^(alpha - 1).
    """

    alpha: float
    tau: float
    scale: float = 1.0

    def __call__(self, eigenvalue: Float[Tensor, "*modes"]) -> Float[Tensor, "*modes"]:
        return self.scale**2 * (eigenvalue + self.tau**2) ** -self.alpha


def gaussian_field(
    domain: Domain,
    variance: Callable[[Float[Tensor, "*modes"]], Float[Tensor, "*modes"]],
    seeds: Seeds,
    *,
    modes: int,
    name: str = "field",
    constant_mode: bool = False,
) -> Float[Tensor, "sample *space"]:
    """Sum over eigenfunctions φ_k of the Laplacian of sqrt(variance(λ_k)) ξ_k φ_k, ξ_k standard normal.

    The eigenfunctions obey the conditions of the domain and have norm 1 in L2 over the box: cosines between `neumann` sides,
    sines between `dirichlet` sides, quarter waves between unlike ones, cosines and sines on a periodic axis. So the covariance
    is exact, and the same sample on another grid is the same function. Values are float64 on the CPU.

    Args:
        variance: of an eigenfunction's amplitude, given its eigenvalue λ_k > 0.
        modes: eigenfunctions per axis.
        name: which independent field of the sample this is.
        constant_mode: whether the constant eigenfunction, where there is one, takes part.
    Raises:
        ValueError: an `open` side, for which there are no eigenfunctions.
    """
    if modes < 1:
        raise ValueError(f"modes: got {modes}, need at least 1 per axis")
    bases = [basis_kind(axis) for axis in domain.axes]
    eigenvalue = _outer_sum([eigenvalues(axis, kind, modes) for axis, kind in zip(domain.axes, bases, strict=True)])
    amplitude = variance(eigenvalue).sqrt()
    if not constant_mode:
        amplitude = torch.where(eigenvalue == 0, 0.0, amplitude)
    numbers = seeds.normal(name, modes**domain.dim)
    field = torch.empty_like(numbers)
    field[:, _mode_order(domain.dim, modes)] = numbers
    field = field.reshape(-1, *[modes] * domain.dim) * amplitude
    for position, (axis, kind) in enumerate(zip(domain.axes, bases, strict=True)):
        field = _synthesise(field, 1 + position, axis, kind)
    return field


Kind = tuple[str, str]


def basis_kind(axis: Axis) -> Kind:
    """Which eigenfunctions of the Laplacian an axis has, by its sides.

    Raises:
        ValueError: an `open` side, for which there are none.
    """
    if "open" in axis.sides:
        raise ValueError(f"domain: got sides {axis.sides}, a field by modes needs periodic, dirichlet or neumann sides")
    return axis.sides


def _frequencies(kind: Kind, modes: int) -> Tensor:
    """Half waves on the length: cos or sin(π f x / length)."""
    k = torch.arange(modes, dtype=torch.float64)
    if kind[0] == "periodic":
        return 2 * torch.div(k + 1, 2, rounding_mode="floor")
    return k + {("neumann", "neumann"): 0.0, ("dirichlet", "dirichlet"): 1.0}.get(kind, 0.5)


def eigenvalues(axis: Axis, kind: Kind, modes: int) -> Float[Tensor, "modes"]:
    """Of -d²/dx² along an axis, float64."""
    return (math.pi * _frequencies(kind, modes) / axis.length).square()


def _outer_sum(terms: list[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total[..., None] + term
    return total


@lru_cache(maxsize=8)
def _mode_order(dim: int, modes: int) -> Tensor:
    """Flat positions of the modes by growing largest index, so that more modes only add at the end."""
    index = np.indices([modes] * dim).reshape(dim, -1)
    return torch.from_numpy(np.lexsort((*index[::-1], index.max(0))))


def _synthesise(field: Tensor, position: int, axis: Axis, kind: Kind) -> Tensor:
    """Amplitudes along one axis to values at the points: a fast transform where the grid fits it, else a matrix product."""
    modes = field.shape[position]
    transform = _fast_transform(axis, kind)
    if transform is not None and modes <= transform[1]:
        return transform[0](field, position)
    values = evaluate_modes(axis, modes).to(field)
    return (field.movedim(position, -1) @ values.T).movedim(-1, position).contiguous()


def evaluate_modes(axis: Axis, modes: int) -> Float[Tensor, "points modes"]:
    """The first eigenfunctions of the Laplacian along an axis at its points, each of norm 1 over the length, float64."""
    kind = basis_kind(axis)
    frequency = _frequencies(kind, modes)
    # Phases in units of pi, reduced before the sine: exact zeros at the sides and full digits for high modes.
    steps = torch.arange(axis.points, dtype=torch.float64) + axis.gaps[0]
    phase = (steps[:, None] * frequency / (axis.points - 1 + sum(axis.gaps))).remainder(2.0) * math.pi
    sine = kind[0] == "dirichlet"
    if kind[0] == "periodic":
        odd = torch.arange(modes) % 2 == 1
        values = torch.where(odd, torch.cos(phase), torch.sin(phase))
        values[:, 0] = 1.0
    else:
        values = torch.sin(phase) if sine else torch.cos(phase)
    norm = torch.full((modes,), math.sqrt(2 / axis.length), dtype=torch.float64)
    norm[frequency == 0] = math.sqrt(1 / axis.length)
    return values * norm


def _fast_transform(axis: Axis, kind: Kind) -> tuple[Callable[[Tensor, int], Tensor], int] | None:
    """The fast transform of this axis and the most modes it takes."""
    import scipy.fft  # a quarter of a second, which those who use no transform need not wait for

    n, scale = axis.points, math.sqrt(2 / axis.length)
    if kind == ("neumann", "neumann") and axis.layout == "cells":
        return lambda f, p: _padded(scipy.fft.dct, f, p, n, 3, scale / 2, 2**0.5), n
    if kind == ("neumann", "neumann") and axis.layout == "both_ends":
        return lambda f, p: _padded(scipy.fft.dct, f, p, n, 1, scale / 2, 2**0.5), n - 1
    if kind == ("dirichlet", "dirichlet") and axis.layout == "interior":
        return lambda f, p: _padded(scipy.fft.dst, f, p, n, 1, scale / 2, None), n
    if kind[0] == "periodic" and axis.layout == "first_end":
        return lambda f, p: _periodic(f, p, n, scale), n - (n % 2 == 0)
    return None


def _padded(
    transform: Callable[..., object], field: Tensor, position: int, n: int, kind: int, scale: float, constant: float | None
) -> Tensor:
    values = field.numpy() * scale
    if constant is not None:  # the transform counts the constant once and the waves twice; its norm is smaller by sqrt 2
        first = [slice(None)] * values.ndim
        first[position] = slice(0, 1)
        values[tuple(first)] *= constant
    return torch.from_numpy(np.asarray(transform(values, type=kind, n=n, axis=position)))


def _periodic(field: Tensor, position: int, n: int, scale: float) -> Tensor:
    import scipy.fft

    values = np.moveaxis(field.numpy(), position, -1)
    half = np.zeros((*values.shape[:-1], n // 2 + 1), dtype=np.complex128)
    half[..., 0] = values[..., 0] * math.sqrt(0.5)
    cosines, sines = values[..., 1::2], values[..., 2::2]
    half[..., 1 : cosines.shape[-1] + 1].real = cosines / 2
    half[..., 1 : sines.shape[-1] + 1].imag = -sines / 2
    waves = np.asarray(scipy.fft.irfft(half * (scale * n), n=n, axis=-1))
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(waves, -1, position)))
