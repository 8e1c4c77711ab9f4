"""Operators that are a sum of products: coefficients that depend on the input function times functions of the point.

    G(u)(y)_c = Σ_k b_ck(u) t_ck(y) + o_c(y)

Whatever has this form shares the layouts of queries, the losses without a prediction (`objectives`) and the derivatives by the
point (`derivatives`). Source: Lu, Jin, Pang, Zhang & Karniadakis, Nat. Mach. Intell. 3 (2021) 218.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

Coefficients = Float[Tensor, "function coefficient_channel term"]
Basis = Float[Tensor, "*points basis_channel term"]


class Factorised(nn.Module, ABC):
    """An operator of that form.

    Coefficients or basis have a channel axis of size 1 where all outputs share them.
    """

    channels: int
    """Outputs per point."""

    @property
    @abstractmethod
    def shares_coefficients(self) -> bool:
        """Whether several outputs have the same coefficients: those of `encode` have then no channel axis but one of size 1."""

    @abstractmethod
    def encode(self, u: object) -> Coefficients:
        """The coefficients of each function, (function, channel or 1, term)."""

    @abstractmethod
    def basis(self, y: Float[Tensor, "*points coordinate"]) -> Basis:
        """The functions of the basis at points, (*points, channel or 1, term)."""

    @abstractmethod
    def offset(self, y: Float[Tensor, "*points coordinate"]) -> Float[Tensor, "*points channel"]:
        """What does not depend on the input function, (*points, channel)."""

    @abstractmethod
    def in_other_order(self, u: object, y: Float[Tensor, "point coordinate"]) -> Float[Tensor, "function point channel"] | None:
        """The same answers by fewer products, where the operator knows a way; else None."""

    def forward(
        self,
        u: object,
        y: Float[Tensor, "*points coordinate"],
        function_index: Int[Tensor, "row"] | None = None,
    ) -> Float[Tensor, "*answers channel"]:
        """The answers at points. How functions and points belong together is said, never guessed from sizes:

        - y (point, coordinate): all functions at the same points, to (function, point, channel);
        - y (function, point, coordinate): each function at points of its own, to (function, point, channel);
        - y (row, coordinate) with `function_index`: row r asks for function `function_index[r]`, to (row, channel). Functions
          with different numbers of points are one list of rows; so are triples, each row with a function of its own.

        Args:
            u: what the branch takes: numbers at the sensors, (function, ...); of several input functions a tuple.
        Raises:
            ValueError: another number of axes, of functions, or an index beyond them.
        """
        if function_index is None and y.ndim == 2 and (answers := self.in_other_order(u, y)) is not None:
            return answers
        b = self.encode(u)
        check_layout(y, len(b), function_index)
        return combined(b, self.basis(y), function_index) + self.offset(y)


def combined(b: Coefficients, t: Basis, function_index: Int[Tensor, "row"] | None = None) -> Float[Tensor, "*answers channel"]:
    """Σ_k b_ck t_ck in the layouts of `Factorised.forward`."""
    if b.shape[2] != t.shape[-1]:
        raise ValueError(f"branch, trunk: gave {b.shape[2]} and {t.shape[-1]} terms, need as many of each")
    if function_index is not None:
        return (b[function_index.long()] * t).sum(-1)
    if t.ndim == 4:
        return torch.einsum("fck,fnck->fnc", *_like_channels(b, t))
    if b.shape[1] == t.shape[1] == 1:
        return (b[:, 0] @ t[:, 0].T)[..., None]
    if t.shape[1] == 1:
        return (b.flatten(0, 1) @ t[:, 0].T).unflatten(0, b.shape[:2]).movedim(1, 2)
    if b.shape[1] == 1:
        return (b[:, 0] @ t.flatten(0, 1).T).unflatten(1, t.shape[:2])
    return torch.einsum("fck,nck->fnc", b, t)


def in_pieces(model: nn.Module, u: object, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    """Answers (function, point, channel) of the same functions at any number of points, piece by piece, in the memory of one.

    The functions are encoded once where the model is `Factorised`. Without gradients.

    Args:
        pieces: points, (point, coordinate), such as `y.split(65536)`, or made as they are asked for.
    """
    with torch.no_grad():
        b = model.encode(u) if isinstance(model, Factorised) else None
    for y in pieces:
        with torch.no_grad():  # not around the yield, where the caller goes on
            if b is None or not isinstance(model, Factorised):
                piece = model(u, y)
            else:
                check_layout(y, len(b), None)
                piece = combined(b, model.basis(y)) + model.offset(y)
        yield piece


def _like_channels(b: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    channels = max(b.shape[1], t.shape[2])
    return b.expand(-1, channels, -1), t.expand(-1, -1, channels, -1)


def check_layout(y: Tensor, functions: int, function_index: Tensor | None) -> None:
    """Raise a ValueError where points and functions do not belong together as `Factorised.forward` says."""
    shape = tuple(y.shape)
    if function_index is None:
        if y.ndim not in (2, 3):
            raise ValueError(
                f"y: got shape {shape}, need (point, coordinate) for all functions, (function, point, coordinate) for each its "
                "own, or (row, coordinate) with function_index"
            )
        if y.ndim == 3 and len(y) != functions:
            raise ValueError(f"y: got points of {len(y)} functions, shape {shape}, for {functions} functions in u")
        return
    if y.ndim != 2 or function_index.shape != y.shape[:1]:
        got = tuple(function_index.shape)
        raise ValueError(f"function_index: got shape {got} for y {shape}, need one number per row of y (row, coordinate)")
    if function_index.dtype.is_floating_point or function_index.dtype == torch.bool:
        raise ValueError(f"function_index: got {function_index.dtype}, need whole numbers such as torch.int64")
    # On a GPU the gather itself raises; a look at the values would wait for the device.
    if y.device.type == "cpu" and len(y) and not 0 <= int(function_index.min()) <= int(function_index.max()) < functions:
        got = f"{int(function_index.min())} to {int(function_index.max())}"
        raise ValueError(f"function_index: got {got}, there are {functions} functions in u")


__all__ = ["Basis", "Coefficients", "Factorised", "check_layout", "combined", "in_pieces"]
