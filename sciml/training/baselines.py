"""What every table has beside ours: the training mean, the state as it was, a ridge regression, and neuraloperator's FNO."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sciml.data.batch import MASK, NEXT, joined
from sciml.training.checkpoint import fields_of
from sciml.training.streams import Samples, domains_of, grid_of

PENALTIES = tuple(10.0 ** (k / 2) for k in range(-16, 5))
"""Those that `ridge` tries: 1e-8 ... 1e2."""


class TrainingMean(nn.Module):
    """The same answer to every input.

    Args:
        mean: (channel, *space).
    """

    def __init__(self, mean: Float[Tensor, "channel *space"]) -> None:
        super().__init__()
        self.mean = nn.Parameter(mean, requires_grad=False)

    def forward(self, a: Float[Tensor, "batch in_channel *space"]) -> Float[Tensor, "batch channel *space"]:
        """The mean, as often as there are inputs.

        Raises:
            ValueError: another grid than that of the mean.
        """
        if a.shape[2:] != self.mean.shape[1:]:
            raise ValueError(
                f"a: got the grid {tuple(a.shape[2:])}, the training mean is on {tuple(self.mean.shape[1:])}; resample"
            )
        return self.mean.expand(len(a), *self.mean.shape)


class LinearMap(nn.Module):
    """Every point of the output as an affine function of every point of the input: u = a · left · right + offset.

    Args:
        left: (inputs, rank), or (inputs, outputs) without `right`.
        right: (rank, outputs) or None. Fewer samples than points make the product the smaller form.
        offset: (channel, *space) of the output.
        input_shape: (channel, *space) of the input.
    """

    def __init__(
        self,
        left: Float[Tensor, "inputs rank"],
        right: Float[Tensor, "rank outputs"] | None,
        offset: Float[Tensor, "channel *space"],
        input_shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.left = nn.Parameter(left, requires_grad=False)
        self.right = None if right is None else nn.Parameter(right, requires_grad=False)
        self.offset = nn.Parameter(offset, requires_grad=False)

    def forward(self, a: Float[Tensor, "batch in_channel *space"]) -> Float[Tensor, "batch channel *space"]:
        """The affine map of each input.

        Raises:
            ValueError: another grid or other channels than those it was fitted on.
        """
        if tuple(a.shape[1:]) != self.input_shape:
            raise ValueError(
                f"a: got shape {tuple(a.shape[1:])} per sample, the linear map was fitted on {self.input_shape}; fit anew"
            )
        u = a.flatten(1) @ self.left
        if self.right is not None:
            u = u @ self.right
        return u.unflatten(1, self.offset.shape) + self.offset


class Persistence(nn.Module):
    """The state stays as it was: each output channel is an input channel.

    Args:
        places: of the output channels among the input channels.
        in_channels: how many inputs there are.
    """

    def __init__(self, places: tuple[int, ...], in_channels: int) -> None:
        super().__init__()
        self.places = places
        self.in_channels = in_channels

    def forward(self, a: Float[Tensor, "batch in_channel *space"]) -> Float[Tensor, "batch channel *space"]:
        """Those channels.

        Raises:
            ValueError: another number of input channels.
        """
        if a.shape[1] != self.in_channels:
            raise ValueError(f"a: got shape {tuple(a.shape)}, need (batch, {self.in_channels}, *grid)")
        return a[:, list(self.places)]


def persistence(stream: Samples, *, inputs: Sequence[str] | None = None, targets: Sequence[str] | None = None) -> Persistence:
    """The last given instant of each state, for every instant that is asked for.

    Args:
        stream: with a window; nothing is read of it.
        inputs, targets: in the order of a model's channels; the stream's own if not given.
    Raises:
        ValueError: a target that is no next state, or whose state is not given.
    """
    names = tuple(stream.inputs if inputs is None else inputs)
    last: dict[str, range] = {}
    end = 0
    for field in fields_of(stream, names):
        end += field.channels
        last[field.name] = range(end - field.channels // (field.steps or 1), end)
    places: list[int] = []
    for field in fields_of(stream, stream.targets if targets is None else targets):
        state = field.name.removesuffix(NEXT)
        if state == field.name or field.steps is None or state not in last:
            raise ValueError(
                f"target {field.name}: is not the next of a given state ({', '.join(names)}), so it cannot stay as it was; "
                "open the stream with a window, and ask for states only"
            )
        places += [*last[state]] * field.steps
    return Persistence(tuple(places), end)


def mean_of_training(stream: Samples) -> TrainingMean:
    """The mean target over one pass of a stream, summed in float64; of windows, that of each instant asked for.

    Raises:
        ValueError: no samples, or samples of several grids.
    """
    total, samples, dtype = None, 0, torch.float64
    for _, targets in _pairs(stream):
        part = targets.double().sum(0)
        total = part if total is None else total + part
        samples, dtype = samples + len(targets), targets.dtype
    if total is None:
        raise ValueError("stream: got no sample to take the mean of, need at least one")
    return TrainingMean((total / samples).to(dtype))


def ridge(stream: Samples, *, penalties: Sequence[float] = PENALTIES) -> LinearMap:
    """Ridge regression from input fields to output fields, with the penalty of least leave-one-out error.

    Minimises sum |u - a W - c|² + penalty · s |W|² over one pass of the stream, s being the mean eigenvalue of the inputs'
    scatter; the constant c is not penalised. For each penalty the error of every sample under the map fitted without it is
    known in closed form, residual / (1 - leverage), and the least sum of squares wins. Works in float64, with the smaller of
    the samples' and the points' matrices; keeps all samples in memory.

    Raises:
        ValueError: fewer than 3 samples, samples of several grids, or inputs that are all the same.

    Source: Hastie, Tibshirani & Friedman, The Elements of Statistical Learning (2009), 3.4.1 and 7.10.
    """
    a, u = (torch.cat(parts) for parts in zip(*_pairs(stream), strict=True))
    if len(a) < 3:
        raise ValueError(f"stream: got {len(a)} samples, a regression needs at least 3")
    x, y = a.flatten(1).double(), u.flatten(1).double()
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean

    dual = len(x) < x.shape[1]
    eigenvalues, vectors = torch.linalg.eigh(x @ x.T if dual else x.T @ x)
    eigenvalues = eigenvalues.clamp(min=0)
    scale = float(eigenvalues.mean())
    if scale == 0:
        raise ValueError(f"input {', '.join(stream.inputs)}: is the same in all {len(x)} samples, need some that differ")
    factor = vectors * eigenvalues.sqrt() if dual else x @ vectors  # factor · factorᵀ = x · xᵀ
    projected = factor.T @ y

    def left_out(penalty: float) -> float:
        damped = factor / (eigenvalues + penalty * scale)
        leverage = 1 / len(x) + (factor * damped).sum(1)
        return float(((y - damped @ projected) / (1 - leverage)[:, None]).square().sum())

    chosen = min(penalties, key=left_out)
    damping = (eigenvalues + chosen * scale)[:, None]
    if dual:
        left, right = x.T, vectors @ (vectors.T @ y / damping)
        offset = y_mean - (x_mean @ left) @ right
    else:
        left, right = vectors @ (projected / damping), None
        offset = y_mean - x_mean @ left
    kept = None if right is None else right.to(u)
    return LinearMap(left.contiguous().to(u), kept, offset.to(u).unflatten(0, u.shape[1:]), tuple(a.shape[1:]))


def _pairs(stream: Samples) -> Iterator[tuple[Tensor, Tensor]]:
    """(inputs, targets) of each batch, joined along the channels."""
    domains = domains_of(stream)
    if len(domains) > 1:
        raise ValueError(f"stream: brings samples of the grids {[d.shape for d in domains]}; this baseline needs one grid")
    for batch in stream:
        for name in (*stream.inputs, *stream.targets):
            if not bool(batch.get(f"{name}{MASK}", torch.ones(1)).all()):
                raise ValueError(f'variable {name}: holds masked values, which this baseline would count; use on_bad="skip"')
        grid = grid_of(batch, stream.targets, domains)
        yield joined(batch, stream.inputs, grid), joined(batch, stream.targets, grid)


class NeuralOperatorFNO(nn.Module):
    """The Fourier neural operator of the neuraloperator library, made to be trained, evaluated and saved like ours.

    An odd side, except the last, is made longer by a point for it and its answer cut, since the library goes wrong there.

    Args:
        modes: kept per axis; the library counts both signs, so 12 keeps |k| <= 6.
        width: channels of the hidden layers.
        padding: part of the box by which it is made larger, for fields that are not periodic; None for none.
    Raises:
        ImportError: the library is not installed.

    Source: Li et al. (2021), Fourier Neural Operator; Kossaifi et al. (2024), the library.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        modes: tuple[int, ...],
        width: int,
        layers: int = 4,
        padding: float | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.modes = modes
        self.width = width
        self.layers = layers
        self.padding = padding
        with warnings.catch_warnings():  # the library also sets the filters of the whole process; they come back here
            warnings.simplefilter("ignore")
            try:
                from neuralop.models import FNO
            except ImportError as fact:
                raise ImportError(f"NeuralOperatorFNO needs the library: pip install neuraloperator ({fact})") from None
            self.network = FNO(
                n_modes=modes,
                in_channels=in_channels,
                out_channels=out_channels,
                hidden_channels=width,
                n_layers=layers,
                domain_padding=padding,  # pyright: ignore[reportArgumentType] (None is its default)
            )
        self.register_state_dict_post_hook(_without_metadata)

    def forward(self, a: Float[Tensor, "batch in_channels *space"]) -> Float[Tensor, "batch out_channels *space"]:
        """What the library's network makes of it.

        Raises:
            ValueError: another number of channels or axes than it was made for.
        """
        if a.shape[1] != self.in_channels or a.ndim != len(self.modes) + 2:
            raise ValueError(
                f"a: got shape {tuple(a.shape)}, this FNO needs (batch, {self.in_channels}, *grid) on {len(self.modes)} axes"
            )
        # The library (2.0) shifts spectra back by fftshift, on odd sides off by one frequency; the last axis is not shifted.
        odd = [n % 2 for n in a.shape[2:-1]]
        if not any(odd):
            return self.network(a)
        more = [0, 0, *(number for extra in reversed(odd) for number in (0, extra))]
        answer = self.network(functional.pad(a, more, mode="replicate"))
        return answer[(..., *(slice(n) for n in a.shape[2:]))]


def _without_metadata(module: nn.Module, state: dict[str, object], prefix: str, metadata: object) -> None:
    """The library puts its constructor arguments among the tensors, unprefixed; we keep our own."""
    state.pop("_metadata", None)


__all__ = [
    "PENALTIES",
    "LinearMap",
    "NeuralOperatorFNO",
    "Persistence",
    "TrainingMean",
    "mean_of_training",
    "persistence",
    "ridge",
]
