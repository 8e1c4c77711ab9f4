"""All flows that have a name."""

from __future__ import annotations

from collections.abc import Mapping

from sciml.problems.flows.flow import Flow
from sciml.problems.flows.lorenz_family import LORENZ_FAMILY
from sciml.problems.flows.oscillators import OSCILLATORS
from sciml.problems.flows.sprott import SPROTT

FLOWS: Mapping[str, Flow] = {flow.name: flow for flow in (*LORENZ_FAMILY, *OSCILLATORS, *SPROTT)}
"""By name."""


__all__ = ["FLOWS"]
