"""A problem of the user's own, found by import path: f -> u with u' = f, u(0) = 0 on a line, with faults on order."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

import torch

from sciml.problems.problem import Problem, Variable


@dataclass(frozen=True)
class Antiderivative(Problem):
    """f is a sum of four cosines with normal amplitudes; u is summed up by the trapezoid rule.

    Args:
        amplitude: of f.
        seconds: that solving a block takes.
        fault: what goes wrong with sample `at`: nan, residual, raise, kill, missing.
        log: file to which every process that solves writes its number.
    """

    amplitude: float = 1.0
    seconds: float = 0.0
    fault: str = ""
    at: int = -1
    log: str = ""
    title: str = "Antiderivative"
    tolerance: float = 1e-12

    def variables(self):
        return {"f": Variable("input", "slope", "m/s"), "u": Variable("target", "way", "m")}

    def parameters(self):
        return {"amplitude": self.amplitude}

    def draw(self, domain, seeds):
        (x,) = domain.coordinates()
        waves = torch.cos(torch.pi * torch.arange(4)[:, None] * x / domain.axes[0].length)
        object.__setattr__(self, "_now", seeds.samples)
        return {"f": self.amplitude * (seeds.normal("f", 4) @ waves)[:, None]}

    def solve(self, given, domain):
        time.sleep(self.seconds)
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"{os.getpid()}\n")
        f, u = given["f"], torch.zeros_like(given["f"])
        u[..., 1:] = torch.cumsum((f[..., 1:] + f[..., :-1]) / 2, -1) * domain.spacing[0]
        if self.fault and self.at in self._now:
            row = self.at - self._now.start
            if self.fault == "nan":
                u[row, 0, 3] = torch.nan
            elif self.fault == "residual":
                u[row, 0, 3] += 1e-6
            elif self.fault == "raise":
                raise RuntimeError("no convergence\nafter 7 steps")
            elif self.fault == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif self.fault == "missing":
                return {"v": u}
        return {"u": u}

    def residual(self, fields, domain):
        f, u = fields["f"][:, 0], fields["u"][:, 0]
        gap = u.diff(dim=-1) / domain.spacing[0] - (f[:, 1:] + f[:, :-1]) / 2
        return gap.norm(dim=-1) / f.norm(dim=-1)

    def exact(self, domain):
        (x,) = domain.coordinates()
        return {"f": torch.cos(x)[None, None]}, {"u": torch.sin(x)[None, None]}


def no_problem():
    return 7
