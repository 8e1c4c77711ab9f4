"""What a problem is: an equation, the law its inputs are drawn from, the solver that answers it, and an exact answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.numerics.roles import Role

Fields = dict[str, Tensor]


@dataclass(frozen=True)
class Variable:
    """What a variable of a problem is.

    Args:
        role: `input`, `coefficient` and `parameter` are given, `target` is asked for, `state` is both in turn.
        long_name: in words, as on the axis of a figure.
        units: `1` where the problem is stated without dimensions.
    """

    role: Role
    long_name: str
    units: str = "1"


class Problem(ABC):
    """An equation with the law of its inputs. Fields are float64, (sample, channel, *space).

    A problem is a frozen dataclass of its parameters; it knows no file and no model.
    """

    title: str
    tolerance: float
    """What `solve` promises of `residual`."""

    @abstractmethod
    def variables(self) -> Mapping[str, Variable]:
        """Everything that `draw` and `solve` give, by name, in the order of a batch."""

    @abstractmethod
    def parameters(self) -> Mapping[str, object]:
        """The constants of the equation and of the law, as plain JSON values."""

    @abstractmethod
    def draw(self, domain: Domain, seeds: Seeds) -> Fields:
        """The inputs of the samples that `seeds` names."""

    @abstractmethod
    def solve(self, given: Fields, domain: Domain) -> Fields:
        """The answers to the inputs."""

    @abstractmethod
    def residual(self, fields: Fields, domain: Domain) -> Float[Tensor, "sample"]:
        """How far inputs and answers are from the discrete equation, relative, per sample."""

    @abstractmethod
    def exact(self, domain: Domain) -> tuple[Fields, Fields]:
        """One input and its exact answer on the points of `domain`, from a closed form."""
