"""Relative errors of predicted fields, one per sample: in L2, in H1, and in the truncated H1 of the MgNO paper.

And in L2 of all samples at once, which gives large samples more weight than the mean over the samples does.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor
from torch.linalg import vector_norm

from sciml.numerics.domain import Domain


def relative_l2(
    prediction: Float[Tensor, "batch channel *space"], truth: Float[Tensor, "batch channel *space"], domain: Domain
) -> Float[Tensor, "batch"]:
    """||prediction - truth|| / ||truth|| with the L2 norm of the domain, channels summed under the root.

    Every metric of this module has this form: it may be differentiated (with gradient zero, not NaN, where prediction
    and truth agree), works under `torch.vmap`, never waits for the device, and is `inf`, never NaN, for a sample whose
    truth is zero everywhere, because a relative error is not defined there. `evaluate` turns that into an error.

    Raises:
        ValueError: the two shapes differ, or their last axes are not the grid of the domain.
    """
    _check(prediction, truth, domain)
    return _ratio(domain.norm(prediction - truth), domain.norm(truth))


def global_relative_l2(
    prediction: Float[Tensor, "batch channel *space"], truth: Float[Tensor, "batch channel *space"], domain: Domain
) -> Float[Tensor, ""]:
    """||prediction - truth|| / ||truth|| with the L2 norm of the domain over all samples and channels at once.

    The mean over the samples of `relative_l2` is the other number in use; the two differ where samples differ in size.

    Raises:
        ValueError: the two shapes differ, or their last axes are not the grid of the domain.
    """
    _check(prediction, truth, domain)
    gap, size = vector_norm(domain.norm(prediction - truth)), vector_norm(domain.norm(truth))
    return torch.where(size > 0, gap / size, torch.inf)


def relative_h1(
    prediction: Float[Tensor, "batch channel *space"], truth: Float[Tensor, "batch channel *space"], domain: Domain
) -> Float[Tensor, "batch"]:
    """The same ratio with sqrt(norm² + norm of the gradient²), second order in the spacing (`Domain.h1_norm`).

    The gradient counts in units of 1/length: on a box of another size the two terms weigh differently.
    """
    _check(prediction, truth, domain)
    return _ratio(domain.h1_norm(prediction - truth), domain.h1_norm(truth))


def relative_h1_spectral(
    prediction: Float[Tensor, "batch channel *space"],
    truth: Float[Tensor, "batch channel *space"],
    domain: Domain,
    scale: float = 1.0,
    cutoff: int = 20,
) -> Float[Tensor, "batch"]:
    """The H1 error that the MgNO paper reports: ||w ê|| / ||w û|| with ê, û the orthonormal discrete Fourier transforms.

    w² = 1 + scale² Σ k², over the integer wavenumbers |k| < `cutoff` of each axis; higher ones count as k = 0. There is no 2π
    and no length in it, and the field is taken as periodic whatever the domain says, so it is not the H1 norm of
    anything; it is here so that published numbers can be compared.

    Args:
        scale: 1 in MgNO, 2 in HANO, 2π in DCNO.
        cutoff: 20 in MgNO.

    Source: He, Liu & Xu (2024), MgNO, and its published code.
    """
    _check(prediction, truth, domain)
    weights = _spectral_weights(domain, scale, cutoff, truth.dtype, truth.device)
    return _ratio(_spectral(prediction - truth, domain, weights), _spectral(truth, domain, weights))


def _check(prediction: Tensor, truth: Tensor, domain: Domain) -> None:
    domain.check(truth, "truth")
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction: got shape {tuple(prediction.shape)}, the truth has {tuple(truth.shape)}")
    if truth.ndim != domain.dim + 2:
        raise ValueError(f"truth: got shape {tuple(truth.shape)}, need (batch, channel, *grid) over a grid {domain.shape}")


def _ratio(error: Float[Tensor, "batch channel"], truth: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch"]:
    """Of two norms per channel, channels summed under the root."""
    error, truth = vector_norm(error, dim=1), vector_norm(truth, dim=1)
    return torch.where(truth > 0, error / truth, torch.inf)


def _spectral(u: Tensor, domain: Domain, weights: Tensor) -> Tensor:
    modes = torch.fft.rfftn(u, dim=tuple(range(-domain.dim, 0)), norm="ortho")
    return vector_norm(modes * weights, dim=tuple(range(-domain.dim, 0)))


@lru_cache(maxsize=64)
def _spectral_weights(domain: Domain, scale: float, cutoff: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """w on the half spectrum of `rfftn`; modes that stand for a conjugate pair count twice under the root."""
    with torch.inference_mode(False):
        square = torch.zeros(())
        for n in domain.shape:
            k = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64).abs().round()
            square = square[..., None] + torch.where(k < cutoff, k, 0).square()
        last = domain.shape[-1]
        half = last // 2 + 1
        pairs = torch.full((half,), 2.0, dtype=torch.float64)
        pairs[0] = 1.0
        if last % 2 == 0:
            pairs[-1] = 1.0
        return (pairs * (1 + scale**2 * square[..., :half])).sqrt().to(device, dtype)
