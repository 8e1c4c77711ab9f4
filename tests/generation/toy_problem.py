"""A problem of the user's own, found by import path: f -> u with u' = f, u(0) = 0 on a line, with faults on order."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, replace

import torch

from sciml.problems.problem import Evolution, Problem, Variable, largest_change, restart_residual


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


@dataclass(frozen=True)
class Oscillators(Evolution):
    """One at every point, q' = rate p, p' = -rate q, by the midpoint rule, which keeps the energy.

    Args:
        rate: the numbers of a sample are this times 1 + a uniform number.
        leak: of the energy per step, a fault.
    """

    rate: float = 1.0
    step: float = 0.01
    leak: float = 0.0
    times: tuple[float, ...] = (0.0, 0.5, 1.5)
    title: str = "Oscillators"
    tolerance: float = 1e-12

    def variables(self):
        return {
            "rate": Variable("parameter", "rate", "1/s", on_grid=False),
            "q": Variable("state", "place and momentum", in_time=True, components=2),
            "end": Variable("target", "place at two points at the end", points=2),
        }

    def parameters(self):
        return {"rate": self.rate, "step": self.step}

    def draw(self, domain, seeds):
        (x,) = domain.coordinates()
        first = seeds.normal("q", 2)[:, None, :, None] * torch.cos(x)
        return {"rate": self.rate * (1 + seeds.uniform("rate", 1)), "q": first}

    def solve(self, given, domain):
        frames = [given["q"][:, 0]]
        for start, stop in zip(self.times, self.times[1:], strict=False):
            frames.append(self._advance(given["rate"], frames[-1], start, stop))
        return {"q": torch.stack(frames, 1), "end": frames[-1][:, 0, [0, -1], None]}

    def _advance(self, rate, state, start, stop):
        steps = round((stop - start) / self.step)
        half = rate[:, 0, None, None].to(state) * (stop - start) / steps / 2
        turn = half * torch.tensor([1.0, -1.0]).to(state)[:, None]
        for _ in range(steps):
            # (1 - A h / 2) new = (1 + A h / 2) old, solved by hand
            moved = state + turn * state.flip(1)
            state = (moved + turn * moved.flip(1)) / (1 + half**2) * (1 - self.leak)
        return state

    def residual(self, fields, domain):
        return restart_residual(lambda q, start, stop: self._advance(fields["rate"], q, start, stop), fields["q"], self.times)

    def exact(self, domain):
        angle = torch.tensor(self.times, dtype=torch.float64)[None, :, None]
        q = torch.stack((torch.cos(angle), -torch.sin(angle)), 2).expand(1, -1, 2, domain.shape[0])
        return {"rate": torch.ones(1, 1, dtype=torch.float64), "q": q[:, :1]}, {"q": q, "end": q[:, -1, 0, :2, None]}

    def conserved(self, fields, domain):
        energy = fields["q"].square().sum((2, 3))
        return {"energy": largest_change(energy, energy)}

    def halved(self):
        return replace(self, step=self.step / 2)


def no_problem():
    return 7
