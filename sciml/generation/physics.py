"""Whether stored samples still solve their equation: their errors computed again, or the samples made again."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sciml.generation.samples import Made
from sciml.generation.validation import numbers_of
from sciml.numerics.domain import Domain
from sciml.problems.problem import Fields, Problem

_PROBE = 64  # how much larger than rounding the trial disturbances are
_MARGIN = 8  # how far beyond its estimated size the effect of rounding may go
_NOISES = 3  # trials that are random from point to point


def numbers_of_stored(
    problem: Problem, fields: Fields, domain: Domain
) -> dict[str, tuple[Float[Tensor, "sample"], Float[Tensor, "sample"]]]:
    """Relative residual and conserved quantities of stored fields, and how much of each rounding to the stored dtype explains.

    Of the residual, and likewise of the others:

    Storage takes v, solved to residual r*, to v (1 + d) with |d| <= eps / 2 at every point, eps that of the stored dtype. To
    first order the residual becomes |R + J (v d)|, with J the derivative of the equation by the fields, hence

        |r - r*| <= |J (v d)|.

    For -div(a grad u) = f on spacing h the absolute values in a row of J sum to at most 8 a / h², so |J (v d)| is at most
    (eps / 2) (8 a / h²) |u| / |f|: 7e-3 for float32, a = 12 and u = 0.006 on 421². Real rounding is as good as random from
    point to point and reaches a tenth of it (1e-3 measured there), and far less where `a` is mostly below its largest value
    (9e-4 of 0.18 for the trigonometric law on 257²): a bound that finds little. Other equations have another J, which this
    room does not know. So the effect is measured: the same J acts on trial disturbances d of `_PROBE` times the size, some
    random from point to point (what differential equations amplify most) and, per variable, one constant (what integrals add
    up most, and what fields of few values really suffer). Residuals are norms: a trial gives about sqrt(r² + (probe s)²), s
    the effect of rounding, so the largest trial / probe lies between s and s + r / probe. The bound is `_MARGIN` times that;
    as margin < probe, a residual far above s is found whatever it is. For the Darcy laws real rounding is 0.09 of the bound
    in float32.

    Args:
        fields: as stored.
    Returns:
        By name, value and bound per sample.
    """
    eps = max(torch.finfo(values.dtype).eps for values in fields.values())
    exact = {name: values.to(torch.float64) for name, values in fields.items()}
    size = _PROBE * eps / 2
    generator = torch.Generator().manual_seed(0)
    noises = [
        {
            name: values * (1 + size * (2 * torch.rand(values.shape, generator=generator, dtype=torch.float64) - 1))
            for name, values in exact.items()
        }
        for _ in range(_NOISES)
    ]
    trials = [*noises, *({**exact, name: values * (1 + size)} for name, values in exact.items())]
    with torch.no_grad():
        found = [numbers_of(problem, trial, domain) for trial in trials]
        level = {name: torch.stack([trial[name] for trial in found]).amax(0) for name in found[0]}
        # A single number, such as a mean, hardly moves in a trial where noise happens to cancel: no sample is taken to be
        # less sensitive than half of its block.
        level = {name: values.maximum(values.median()) for name, values in level.items()}
        return {name: (value, _MARGIN * level[name] / _PROBE) for name, value in numbers_of(problem, exact, domain).items()}


def fields_differ(made: Made, row: int, stored: Fields, *, apart: float) -> str:
    """Compare a sample that was made again with what is stored; what differs, or nothing.

    Args:
        row: of the sample among those that were made.
        stored: the fields of this sample; of made ones that have fewer instants, these are compared.
        apart: how far answers made elsewhere may be, relative to the largest value.
    """
    for name, values in made.fields.items():
        again = values[row]
        there = stored[name][: len(again)].to(torch.float64)
        # Storage rounds by eps / 2 at either time.
        allowed = torch.finfo(stored[name].dtype).eps * again.abs() + apart * again.abs().max()
        gap = (again - there).abs()
        if not bool((gap <= allowed).all()):
            index = tuple(torch.nonzero(~(gap <= allowed))[0].tolist())
            return f"variable {name} at {index} holds {float(there[index])}, made again it is {float(again[index])}"
    return ""


__all__ = ["fields_differ", "numbers_of_stored"]
