"""Linear recurrences x_{t+1} = A_t x_t + b_t, solved for all t at once by composing affine maps in a tree."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def affine_scan(
    matrices: Float[Tensor, "*batch time state state"],
    shifts: Float[Tensor, "*batch time state"],
    start: Float[Tensor, "*batch state"],
) -> Float[Tensor, "*batch time state"]:
    """x_1 ... x_T of x_{t+1} = A_t x_t + b_t from x_0 = `start`.

    Pairs of maps are composed, the recurrence of half the length is solved, and what lies between is filled in: about 2 T
    products of matrices in 2 log2 T calls (Blelloch 1990), in memory of twice the matrices.
    """
    steps = shifts.shape[-2]
    if steps == 0:
        return shifts
    if steps == 1:
        return shifts + torch.matmul(matrices[..., 0, :, :], start[..., None]).squeeze(-1)[..., None, :]
    pairs = steps // 2
    first, second = matrices[..., 0 : 2 * pairs : 2, :, :], matrices[..., 1 : 2 * pairs : 2, :, :]
    early, late = shifts[..., 0 : 2 * pairs : 2, :], shifts[..., 1 : 2 * pairs : 2, :]
    joined = affine_scan(_product(second, first), _applied(second, early) + late, start)
    # Those at even times are known now, x_2, x_4, ...; each odd one is a step from the one before.
    before = torch.cat([start[..., None, :], joined], -2)
    odd = before[..., : (steps + 1) // 2, :]
    between = _applied(matrices[..., 0::2, :, :], odd) + shifts[..., 0::2, :]
    out = torch.empty_like(shifts)
    out[..., 0::2, :] = between
    out[..., 1::2, :] = joined
    return out


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Matrix products; small ones as sums over whole arrays, which batched routines do one by one."""
    size = a.shape[-1]
    if size > 4 or a.is_cuda:
        return torch.matmul(a, b)
    out = a[..., :, :1] * b[..., :1, :]
    for k in range(1, size):
        out.addcmul_(a[..., :, k : k + 1], b[..., k : k + 1, :])
    return out


def _applied(a: Tensor, x: Tensor) -> Tensor:
    return torch.matmul(a, x[..., None]).squeeze(-1)


__all__ = ["affine_scan"]
