"""POD-DeepONet: the trunk is the proper orthogonal decomposition of the training answers; only the branch is learned.

Source: Lu et al., "A comprehensive and fair comparison of two neural operators", Comput. Methods Appl. Mech. Eng. 393 (2022)
114778, section 3.1.4. One of its scripts takes the basis from the test answers; here the basis is made from a training stream,
and from nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.data.stream import Stream
from sciml.numerics.domain import Domain
from sciml.operators.deeponet.factorised import Basis, Coefficients, Factorised
from sciml.operators.deeponet.fixed import Fixed
from sciml.operators.deeponet.objectives import FunctionsAtPoints, coordinates


class PODBasis(Fixed):
    """Mean and principal functions of answers on a grid.

    The functions are orthonormal in the mean of products over the domain, by its quadrature: of root mean square 1, channels
    added up. Between the points they are interpolated linearly.

    Args:
        domain: the grid.
        mean: (point, channel).
        modes: (point, channel, mode).
        deviations: of the coefficients in training, (mode,).
    """

    def __init__(
        self,
        domain: Domain,
        mean: Float[Tensor, "point channel"],
        modes: Float[Tensor, "point channel mode"],
        deviations: Float[Tensor, "mode"],
    ) -> None:
        super().__init__()
        self.domain = domain
        for name, values in (("mean", mean), ("modes", modes), ("deviations", deviations)):
            self.register_buffer(name, values, persistent=False)

    @classmethod
    def of(
        cls, train: Stream, targets: Sequence[str] | None = None, *, modes: int | None = None, energy: float = 0.9999
    ) -> PODBasis:
        """From the answers of a training stream, in float64 by a thin singular value decomposition.

        Args:
            targets: variables, joined along the channels; the stream's own if not given.
            modes: how many functions; as many as hold `energy` of the mean square if not given.
            energy: from 0 to 1.
        Raises:
            ValueError: a set of another split than "train", rows that `Stream.split` held out, no grid,
                fewer modes than one or more than samples, or answers that are all the same.
        """
        split = train.set.attributes.get("split", "train")
        if split != "train":
            raise ValueError(f"train: got the split {split!r} of {train.set.path}; a basis is made from training answers alone")
        if train.held_out:
            raise ValueError(
                f"train: got rows of {train.set.path} that `split` held out; a basis is made from those that are trained on, "
                "the first of the two streams"
            )
        if train.set.domain is None:
            raise ValueError(f"train: {train.set.path} has no grid, which the basis would lie on")
        domain = train.set.domain
        reading = FunctionsAtPoints(train.inputs, tuple(targets or train.targets), domain)
        answers = torch.cat([reading(batch)[2].cpu().double() for batch in train])
        most = min(len(answers), answers[0].numel())
        if modes is not None and not 1 <= modes <= most:
            raise ValueError(f"modes: got {modes}, need 1 to {most}, of {len(answers)} samples")
        if not 0 < energy <= 1:
            raise ValueError(f"energy: got {energy}, need a part of the whole, above 0 and up to 1")
        weights = domain.weights().flatten().double()
        root = (weights / weights.sum()).sqrt()[:, None]
        mean = answers.mean(0)
        _, sizes, functions = torch.linalg.svd(((answers - mean) * root).flatten(1), full_matrices=False)
        if modes is None:
            part = sizes.square().cumsum(0) / sizes.square().sum()
            modes = int((part < energy).sum()) + 1
        if not bool(sizes[0] > torch.finfo(torch.float64).eps * answers.abs().amax()):
            raise ValueError(
                f"train: the {len(answers)} answers of {train.set.path} are all the same; a basis needs some that differ"
            )
        modes = min(modes, int((sizes > sizes[0] * 1e-12).sum()))
        found = functions[:modes].unflatten(1, mean.shape) / root
        return cls(domain, mean, found.movedim(0, -1).contiguous(), sizes[:modes] / len(answers) ** 0.5)

    def at(self, y: Float[Tensor, "*points coordinate"]) -> tuple[Float[Tensor, "*points channel mode"], Tensor]:
        """The functions and the mean at points.

        Raises:
            ValueError: another number of coordinates, or points beyond a side of the domain.
        """
        modes, mean = self.get_buffer("modes").to(y), self.get_buffer("mean").to(y)
        own = coordinates(self.domain).to(y)
        if y.shape == own.shape and torch.equal(y, own):
            return modes, mean
        both = interpolated(torch.cat([modes, mean[..., None]], -1), self.domain, y)
        return both[..., :-1], both[..., -1]


class PODDeepONet(Factorised):
    """G(u)(y) = φ₀(y) + Σ_k d_k b_k(u) φ_k(y), φ the basis `pod`, d the deviations of the coefficients in training.

    The published scripts have one factor, 1 / modes, in place of d, so that the branch must learn numbers that differ by the
    decay of the spectrum; here they are of order one.

    Args:
        branch: from u to (function, mode).
        pod: `PODBasis.of(train)`.
    """

    def __init__(self, branch: nn.Module, pod: PODBasis) -> None:
        super().__init__()
        self.branch = branch
        self.pod = pod
        self.channels = pod.get_buffer("mean").shape[1]

    @property
    def shares_coefficients(self) -> bool:
        return self.channels > 1

    def encode(self, u: object) -> Coefficients:
        """(function, 1, mode).

        Raises:
            ValueError: the branch gives another number of coefficients than there are modes.
        """
        made = self.branch(u)
        deviations = self.pod.get_buffer("deviations").to(made)
        if made.shape[1:] != deviations.shape:
            raise ValueError(f"branch: gave shape {tuple(made.shape)}, need (function, {len(deviations)}), a number per mode")
        return (made * deviations)[:, None]

    def basis(self, y: Float[Tensor, "*points coordinate"]) -> Basis:
        return self.pod.at(y)[0]

    def offset(self, y: Float[Tensor, "*points coordinate"]) -> Float[Tensor, "*points channel"]:
        return self.pod.at(y)[1]

    def in_other_order(self, u: object, y: Float[Tensor, "point coordinate"]) -> None:
        """None: the modes are no layer."""


def interpolated(
    values: Float[Tensor, "grid *rest"], domain: Domain, y: Float[Tensor, "*points coordinate"]
) -> Float[Tensor, "*points *rest"]:
    """Values on a grid, flattened, between its points: linear along each axis; around the period where there is one.

    Raises:
        ValueError: another number of coordinates, or points beyond a side of the domain.
    """
    if y.shape[-1] != domain.dim:
        raise ValueError(f"y: got {y.shape[-1]} coordinates, the grid has {domain.dim}")
    corners = [(torch.zeros(y.shape[:-1], dtype=torch.long, device=y.device), torch.ones_like(y[..., 0]))]
    for i, axis in enumerate(domain.axes):
        place = y[..., i] - axis.origin
        slack = 1e-6 * axis.length
        if axis.sides[0] == "periodic":
            place = place.remainder(axis.length)
        elif bool((place < -slack).any() or (place > axis.length + slack).any()):
            raise ValueError(f"y: got coordinate {i} up to {float(y[..., i].max()):.4g}, beyond {domain}")
        x = (axis.coordinates() - axis.origin).to(y)
        step = float(x[1] - x[0])
        low = torch.floor((place - x[0]) / step)
        if axis.sides[0] != "periodic":
            low = low.clamp(0, axis.points - 2)  # beyond the outermost points of an open layout the line goes on
        part = (place - x[0]) / step - low
        low = low.long()
        here = [(low % axis.points, 1 - part), ((low + 1) % axis.points, part)]
        corners = [(n * axis.points + m, a * b) for n, a in corners for m, b in here]
    total = torch.zeros((), dtype=values.dtype, device=values.device)
    for place, weight in corners:
        total = total + values[place] * weight[(...,) + (None,) * (values.ndim - 1)]
    return total


__all__ = ["PODBasis", "PODDeepONet", "interpolated"]
