import math

import pytest
import torch

from sciml.numerics.domain import Domain
from sciml.numerics.quadratic_transport import QuadraticTransport, tail, warn_if_unresolved


def period(points, length=2 * math.pi):
    return Domain.box((length,), (points,), "periodic")


@pytest.mark.parametrize(("second", "fourth"), [(0.1, 0.0), (-1.0, -0.3), (0.0, -0.05)])
def test_a_wave_too_small_to_steepen_grows_at_its_rate(second, fourth):
    # cos(2x): second (i 2)² + fourth (i 2)⁴
    domain = period(32)
    (x,) = domain.coordinates()
    first = 1e-9 * torch.cos(2 * x)[None]
    frames, _ = QuadraticTransport(second, fourth, 0.1).frames(first, domain, (0.0, 0.7, 1.0))
    for frame, time in zip(frames[0], (0.0, 0.7, 1.0), strict=True):
        true = first[0] * math.exp(time * (-4 * second + 16 * fourth))
        assert (frame - true).abs().max() < 1e-8 * true.abs().max()  # steepening has time to make 2 u


def test_a_mean_flow_carries_the_rest_along():
    # u(x, t) = U + v(x - U t, t): a symmetry of the equation that no step in time knows of
    domain, transport = period(64), QuadraticTransport(0.1, -0.01, 0.005)
    (x,) = domain.coordinates()
    wave = torch.cos(x) + 0.5 * torch.sin(2 * x)
    speed = 8 * (2 * math.pi / 64)  # eight points in a unit of time
    frames, _ = transport.frames(torch.stack((wave, wave + speed)), domain, (0.0, 1.0))
    still, carried = frames[:, 1]
    assert (still.roll(8) + speed - carried).abs().max() < 1e-7


def test_a_step_too_long_is_refused_with_one_that_works():
    domain = period(128)
    first = 3 * torch.sin(domain.coordinates()[0])[None]
    with pytest.raises(ValueError, match=r"step: got 0\.1, not stable for \|u\| up to 3 \(sample 0") as caught:
        QuadraticTransport(0.05, 0.0, 0.1).frames(first, domain, (0.0, 1.0))
    step = float(str(caught.value).rsplit(" ", 1)[1])
    frames, _ = QuadraticTransport(0.05, 0.0, step).frames(first, domain, (0.0, 1.0))
    assert frames.abs().max() < 3.01


def test_a_flow_that_outgrows_the_step_is_refused():
    # At rest all steps are stable; then the waves that fit the period ten times and less often grow.
    domain = period(128)
    first = 1e-3 * torch.sin(domain.coordinates()[0])[None]
    with pytest.raises(ValueError, match=r"(step: got 0\.4, not stable for|u: got .* with step 0\.4; try 0\.2)"):
        QuadraticTransport(-1.0, -0.01, 0.4).frames(first, domain, (0.0, 20.0))


def test_the_tail_compares_the_last_eighth_of_the_kept_waves_with_the_strongest():
    domain = period(48)  # keeps 0 ... 15; the last two are its tail
    state = torch.zeros(4, 25, dtype=torch.complex128)
    state[:3, 0], state[:3, 2] = 100.0, 2.0
    state[0, 14], state[1, 13], state[2, 16] = 1e-2j, 1.0, 1.0
    assert tail(state, domain).tolist() == pytest.approx([2.5e-5, 0.0, 0.0, 0.0])


def test_what_is_not_resolved_is_warned_of_and_what_is_lost_refused():
    warn_if_unresolved(1e-7, "fine")
    with pytest.warns(UserWarning, match="coarse"):
        warn_if_unresolved(1e-5, "coarse")
    for number in (0.1, math.nan):
        with pytest.raises(ValueError, match=r"gone; above 0\.01 there is no answer"):
            warn_if_unresolved(number, "gone")


def test_all_axes_but_one_are_refused():
    square = Domain.box((1.0, 1.0), (8, 8), "periodic")
    with pytest.raises(ValueError, match=r"domain: got 2 axes.*need 1"):
        QuadraticTransport(1.0, 0.0, 0.1).frames(torch.zeros(1, 8, dtype=torch.float64), square, (0.0, 1.0))
