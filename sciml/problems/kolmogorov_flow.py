"""Kolmogorov flow: the Navier-Stokes equations on the torus (0, 2π)², driven by a shear sin(k y) along x.

In vorticity form the forcing is -k cos(k y); see `sciml.problems.navier_stokes` for equation and solver.
"""

from __future__ import annotations

from sciml.numerics.checks import check_count, check_positive, equal_times
from sciml.numerics.vorticity import Flow
from sciml.problems.navier_stokes import GaussianVorticity, NavierStokes, PlaneWave


def kolmogorov_flow(
    reynolds: float,
    duration: float,
    frames: int,
    step: float,
    waves: int = 4,
    drag: float = 0.0,
    modes: int = 85,
) -> NavierStokes:
    """Viscosity 1 / reynolds, forcing -waves cos(waves y).

    Args:
        reynolds: 1000 with drag 0.1 and 4 waves is the flow of Kochkov et al. (Proc. Natl. Acad. Sci. 118 (2021)); 500 without
            drag that of Li et al. (arXiv 2111.03794).
        duration: the last instant; the first is 0, of the law N(0, 7³ (-Δ + 49)^(-2.5)).
        frames: after the first, equally spaced; at least 1.
        modes: of the law per axis; 85 are all that 128 x 128 points keep.
    Raises:
        ValueError: a number that is not possible.
    """
    check_positive(reynolds=reynolds)
    check_count(frames=frames)
    return NavierStokes(
        Flow(1 / reynolds, step, drag),
        PlaneWave(0.0, -float(waves), (0, waves)),
        GaussianVorticity(alpha=2.5, tau=7.0, scale=7.0**1.5, modes=modes),
        equal_times(frames + 1, duration),
        title="Kolmogorov flow, vorticity",
    )
