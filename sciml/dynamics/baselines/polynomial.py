"""The next instant as a polynomial of the last one, fitted in closed form."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations_with_replacement, pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciml.dynamics.baselines.least_squares import reduced, thresholded
from sciml.dynamics.baselines.series import Series, listed
from sciml.dynamics.replicas import check_forecast
from sciml.numerics.checks import check_count, check_range

BLOCK = 8192
"""Instants whose monomials are kept at once while the coefficients are fitted."""


class PolynomialMap(nn.Module):
    """x_{t+1} = C m(x_t), m all monomials up to a degree; `difference`: x_{t+1} - x_t = C m(x_t).

    `PolynomialMap.of` fits one, by ridge regression or, as SINDy does, by sequentially thresholded least squares; the
    constructor alone makes one that is not fitted and forecasts nothing but NaN. Parameters are the coefficients, (observed,
    monomial) in the order of `exponents`, which take no gradient.

    A fit of one step says nothing about many: forecasts may grow without bounds and are then infinite or NaN.

    Args:
        observed: numbers per instant of a series.
        degree: the largest.
    Raises:
        ValueError: a size below 1.
    """

    def __init__(self, observed: int, degree: int, *, difference: bool = False) -> None:
        super().__init__()
        check_count(observed=observed, degree=degree)
        check_count(monomials=monomial_count(observed, degree))
        self.observed, self.degree, self.difference = observed, degree, difference
        terms = _terms(observed, degree)
        place = {term: i for i, term in enumerate(terms)}
        self.register_buffer("_parents", torch.tensor([place[term[:-1]] for term in terms[1:]]), persistent=False)
        self.register_buffer("_factors", torch.tensor([term[-1] for term in terms[1:]]), persistent=False)
        self._levels = [monomial_count(observed, d) - 1 for d in range(degree + 1)]
        self.coefficients = nn.Parameter(torch.full((observed, len(terms)), torch.nan), requires_grad=False)

    @classmethod
    def of(
        cls, series: Series, degree: int, *, ridge: float = 0.0, threshold: float = 0.0, difference: bool = False
    ) -> PolynomialMap:
        """One fitted to a series, or several, in float64.

        Args:
            ridge: times the squares of the coefficients of monomials divided by their root mean squares, beside the mean
                squared error; 0 for plain least squares.
            threshold: coefficients of smaller size are set to zero, one round after the other, and the rest fitted anew; 0 for
                all of them.
        Raises:
            ValueError: a number out of range; series that are not finite, too short for so many monomials, or on which these
                depend on each other, so that they need ridge > 0.
        """
        check_range(0, ridge=ridge, threshold=threshold)
        given = listed(series, 2)
        model = cls(given[0].shape[1], degree, difference=difference).double().to(given[0].device)
        problem, scale = reduced(model._blocks(given)).scaled()
        weight = thresholded(problem.ridged(ridge), threshold * scale)
        model.coefficients.copy_((weight / scale[:, None]).T)
        return model

    @property
    def exponents(self) -> tuple[tuple[int, ...], ...]:
        """Of each monomial, the power of each variable: by degree, then x1 before x2."""
        terms = _terms(self.observed, self.degree)
        return tuple(tuple(term.count(i) for i in range(self.observed)) for term in terms)

    @property
    def replicas(self) -> int:
        """One: nothing about it is random."""
        return 1

    @property
    def context(self) -> int:
        """One: the last instant is all that it starts from."""
        return 1

    def monomials(self, x: Float[Tensor, "*batch observed"]) -> Float[Tensor, "*batch monomial"]:
        """1, x1, x2, ..., x1², x1 x2, ...; each is one of a degree less times a variable."""
        parents, factors = self.get_buffer("_parents"), self.get_buffer("_factors")
        found = [torch.ones_like(x[..., :1])]
        first = 0  # place of the first monomial of the degree before
        for begin, end in pairwise(self._levels):
            found.append(found[-1][..., parents[begin:end] - first] * x[..., factors[begin:end]])
            first = begin + 1  # the list of parents leaves out that of 1
        return torch.cat(found, -1)

    def advance(self, x: Float[Tensor, "*batch observed"]) -> Float[Tensor, "*batch observed"]:
        """The next instant."""
        change = self.monomials(x) @ self.coefficients.T
        return x + change if self.difference else change

    def forecast(
        self, series: Float[Tensor, "replica sequence time observed"], steps: int
    ) -> Float[Tensor, "replica sequence step observed"]:
        """The instants that follow the series.

        Raises:
            ValueError: more than one replica, another number of values per instant, an empty series, another precision, or
                fewer than one step.
        """
        check_forecast(series, steps, replicas=1, observed=self.observed, dtype=self.coefficients.dtype)
        x, found = series[:, :, -1], []
        for _ in range(steps):
            x = self.advance(x)
            found.append(x)
        return torch.stack(found, 2)

    def equations(self, names: Sequence[str] | None = None, *, digits: int = 4) -> list[str]:
        """One line for each variable, without the coefficients that are zero.

        Args:
            names: of the variables; x1, x2, ... if not given.
            digits: of each coefficient that count.
        Raises:
            ValueError: another number of names.
        """
        names = [f"x{i + 1}" for i in range(self.observed)] if names is None else names
        if len(names) != self.observed:
            raise ValueError(f"names: got {len(names)}, need {self.observed}")
        monomials = [_written(powers, names) for powers in self.exponents]
        lines = []
        for name, row in zip(names, self.coefficients.tolist(), strict=True):
            terms = [f"{c:.{digits}g}{m}" for c, m in zip(row, monomials, strict=True) if c != 0]
            left = f"{name}' - {name}" if self.difference else f"{name}'"
            lines.append(f"{left} = {' + '.join(terms) or '0'}".replace("+ -", "- "))
        return lines

    def _blocks(self, series: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Monomials and what they should give."""
        size = max(BLOCK, 4 * self.coefficients.shape[1])
        for x in series:
            now, then = x[:-1], x[1:] - x[:-1] if self.difference else x[1:]
            for begin in range(0, len(now), size):
                yield self.monomials(now[begin : begin + size]), then[begin : begin + size]


def monomial_count(variables: int, degree: int) -> int:
    """How many monomials there are up to a degree, with 1 among them."""
    return math.comb(variables + degree, degree)


def _terms(variables: int, degree: int) -> list[tuple[int, ...]]:
    """The variables that are multiplied in each monomial."""
    return [term for d in range(degree + 1) for term in combinations_with_replacement(range(variables), d)]


def _written(powers: tuple[int, ...], names: Sequence[str]) -> str:
    """With a space before each factor."""
    factors = ((name, power) for name, power in zip(names, powers, strict=True) if power)
    return "".join(f" {name}" if power == 1 else f" {name}^{power}" for name, power in factors)


__all__ = ["PolynomialMap", "monomial_count"]
