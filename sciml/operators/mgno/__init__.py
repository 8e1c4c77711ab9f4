"""Multigrid neural operators."""

from sciml.operators.mgno.cycle import Cycle, MultigridCycle
from sciml.operators.mgno.model import (
    MgNO,
    mgno_darcy_multiscale,
    mgno_darcy_rough,
    mgno_darcy_smooth,
    mgno_pipe,
    open_square,
)
from sciml.operators.mgno.multigrid_init import multigrid_init

__all__ = [
    "Cycle",
    "MgNO",
    "MultigridCycle",
    "mgno_darcy_multiscale",
    "mgno_darcy_rough",
    "mgno_darcy_smooth",
    "mgno_pipe",
    "multigrid_init",
    "open_square",
]
