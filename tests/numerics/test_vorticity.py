import itertools
import math
import re
import warnings
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import PowerLaw, Seeds, gaussian_field
from sciml.numerics.vorticity import Flow, SpectralFlow

SCHEMES = ["etdrk4", "crank_nicolson"]


def torus(points, lengths=(1.0, 1.0)):
    return Domain.box(lengths, (points, points) if isinstance(points, int) else points, "periodic")


def random_vorticity(domain, samples=2, modes=9, rms=1.0):
    w = gaussian_field(domain, PowerLaw(1.5, 5.0), Seeds(1, range(samples)), modes=modes)
    return w * (rms / w.square().mean().sqrt())


def advance(flow, domain, w, forcing=None, stop=1.0):
    push = torch.zeros(domain.shape, dtype=w.dtype) if forcing is None else forcing
    return SpectralFlow(flow, domain, w).advance(w, push, 0.0, stop)


def change_in_a_tiny_step(w, domain, forcing=None):
    """The explicit Euler step without viscosity gives the right-hand side exactly."""
    step = 2.0**-20
    return (advance(Flow(0.0, step, scheme="crank_nicolson"), domain, w, forcing, step) - w) / step


def stream_function(x, y):
    turn = 2 * math.pi
    return torch.cos(turn * x) * torch.sin(2 * turn * y) / 20 + torch.sin(turn * (x + 2 * y)) / 30 + torch.cos(turn * y) / 9


def derivatives(points):
    """w, u and ∇w of the stream function by automatic differentiation."""
    x, y = (m.clone().requires_grad_() for m in torus(points).mesh())

    def slopes(values):
        return torch.autograd.grad(values.sum(), (x, y), create_graph=True)

    px, py = slopes(stream_function(x, y))
    w = -slopes(px)[0] - slopes(py)[1]
    wx, wy = slopes(w)
    return w.detach()[None], torch.stack((py, -px)).detach()[:, None], torch.stack((wx, wy)).detach()[:, None]


def test_the_velocity_is_the_turned_gradient_of_the_stream_function():
    w, u, _ = derivatives(24)
    found = SpectralFlow(Flow(1.0, 1.0), torus(24), w).velocity(w)
    assert (found - u).abs().max() <= 1e-13 * u.abs().max()


def test_the_flow_is_carried_by_its_own_velocity_and_pushed_by_the_forcing():
    w, u, slopes = derivatives(24)
    forcing = torch.cos(2 * math.pi * torus(24).mesh()[0])
    change = change_in_a_tiny_step(w, torus(24), forcing)
    expected = forcing - (u * slopes).sum(0)
    assert (change - expected).abs().max() <= 1e-8 * expected.abs().max()  # a step of 1e-6 leaves eps / 1e-6


def test_transport_makes_neither_energy_nor_enstrophy_however_rough_the_field():
    domain = torus(24)
    w = random_vorticity(domain, modes=15)
    change = change_in_a_tiny_step(w, domain)
    flow = SpectralFlow(Flow(0.0, 1.0), domain, w)
    # The stream function has the spectrum of w / k²; energy grows by <ψ, dw/dt>, enstrophy by <w, dw/dt>.
    squares = sum(torch.meshgrid(*[(2 * math.pi * torch.fft.fftfreq(24, 1 / 24).double()) ** 2] * 2, indexing="ij"))
    psi = torch.fft.ifft2(torch.where(squares > 0, torch.fft.fft2(w) / squares, 0)).real
    for weight in (psi, w):
        growth = domain.inner(weight, change).abs()
        assert (growth <= 1e-8 * domain.norm(weight) * domain.norm(change)).all()
    assert (domain.mean(change).abs() <= 1e-8 * change.abs().max()).all()
    assert (flow.velocity(w).abs().amax((0, 2, 3)) > 0).all()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("lengths", "points"), [((1.0, 1.0), 24), ((1.0, 2.0), (24, 33)), ((2.0, 1.0), (21, 20))])
def test_a_wave_alone_decays_by_viscosity_and_drag(scheme, lengths, points):
    domain = torus(points, lengths)
    x, y = (m / length for m, length in zip(domain.mesh(), lengths, strict=True))
    w = torch.sin(2 * math.pi * (2 * x - y))[None]
    rate = 0.01 * (2 * math.pi) ** 2 * ((2 / lengths[0]) ** 2 + (1 / lengths[1]) ** 2) + 0.3
    step = 0.1 if scheme == "etdrk4" else 0.001
    # Crank-Nicolson's decay per unit of time is off by rate³ step² / 12.
    allowed = 1e-13 if scheme == "etdrk4" else rate**3 * step**2 / 11 + 1e-13
    end = advance(Flow(0.01, step, drag=0.3, scheme=scheme), domain, w)
    assert (end - math.exp(-rate) * w).abs().max() <= allowed * math.exp(-rate)


@pytest.mark.parametrize(("scheme", "order", "steps"), [("etdrk4", 4, (32, 64, 128)), ("crank_nicolson", 1, (256, 512, 1024))])
def test_order_in_time(scheme, order, steps):
    domain = torus(24)
    w = random_vorticity(domain, rms=4.0)
    forcing = torch.sin(2 * math.pi * sum(domain.mesh()))
    refined = advance(Flow(0.003, 1 / 1024, drag=0.1), domain, w, forcing)
    gaps = [advance(Flow(0.003, 1 / n, drag=0.1, scheme=scheme), domain, w, forcing) - refined for n in steps]
    slopes = [math.log2(a.norm() / b.norm()) for a, b in itertools.pairwise(gaps)]
    assert slopes == pytest.approx([order] * 2, abs=0.05)


def test_energy_and_enstrophy_are_kept_without_viscosity_up_to_the_step():
    domain = torus(24)
    w = random_vorticity(domain, modes=15, rms=4.0)

    def off(steps):
        end, flow = advance(Flow(0.0, 1 / steps), domain, w), SpectralFlow(Flow(0.0, 1.0), domain, w)
        energies = [flow.velocity(v).square().sum((0, 2, 3)) for v in (w, end)]
        enstrophies = [v.square().sum((1, 2)) for v in (w, end)]
        return max(float((b / a - 1).abs().max()) for a, b in (energies, enstrophies))

    coarse, fine = off(64), off(128)
    assert fine < coarse / 16 < 1e-5  # Runge-Kutta 4 loses them at fifth order
    assert off(512) < 1e-8


def test_a_finer_grid_changes_a_smooth_flow_faster_than_any_order():
    ends = {}
    for points in (12, 24, 48, 96):
        domain = torus(points)
        ends[points] = advance(Flow(0.02, 1 / 128), domain, random_vorticity(domain, modes=5, rms=3.0))
    gaps = [float((ends[n] - ends[96][:, :: 96 // n, :: 96 // n]).norm() / ends[n].norm()) for n in (12, 24, 48)]
    assert gaps[1] < gaps[0] / 50  # order above 5
    assert gaps[2] < gaps[1] / 500  # order above 8
    assert gaps[2] < 1e-8


def plain_rate(viscosity, drag, forcing):
    """dw/dt on the whole spectrum, transport as u · ∇w: another form, another transform, another library."""
    n = len(forcing)
    k = np.fft.fftfreq(n, 1 / n)
    kx, ky = 2j * np.pi * k[:, None], 2j * np.pi * k[None]
    laplacian = kx**2 + ky**2
    kept = (np.abs(k) < n / 3)[:, None] & (np.abs(k) < n / 3)[None]
    inverse = np.divide(1, -laplacian, out=np.zeros_like(laplacian), where=laplacian != 0)

    def rate(_, w):
        spectrum = np.fft.fft2(w.reshape(n, n)) * kept
        u, v, wx, wy = (np.fft.ifft2(f * spectrum).real for f in (ky * inverse, -kx * inverse, kx, ky))
        change = viscosity * laplacian * spectrum - drag * spectrum + kept * np.fft.fft2(forcing - u * wx - v * wy)
        return np.fft.ifft2(change).real.ravel()

    return rate


def test_the_end_is_that_of_another_solver():
    domain = torus(18)
    w = random_vorticity(domain, samples=1, modes=11, rms=4.0)
    forcing = torch.cos(2 * math.pi * domain.mesh()[1])
    rate = plain_rate(0.002, 0.2, forcing.numpy())
    expected = solve_ivp(rate, (0, 1), w.numpy().ravel(), "DOP853", rtol=1e-11, atol=1e-12).y[:, -1]
    found = advance(Flow(0.002, 1 / 1000, drag=0.2), domain, w, forcing).numpy().ravel()
    assert np.linalg.norm(found - expected) <= 1e-9 * np.linalg.norm(expected)


def test_the_published_scheme_is_written_out_as_published():
    n, step, viscosity = 18, 1e-3, 0.002
    domain = torus(n)
    w = random_vorticity(domain, samples=1, modes=11)
    forcing = torch.cos(2 * math.pi * domain.mesh()[1])
    euler = plain_rate(0.0, 0.0, forcing.numpy())
    half = step / 2 * viscosity * 4 * np.pi**2 * (np.fft.fftfreq(n, 1 / n)[:, None] ** 2 + np.fft.fftfreq(n, 1 / n) ** 2)
    expected = w[0].numpy()
    for _ in range(50):
        explicit = np.fft.fft2(step * euler(0, expected).reshape(n, n))
        expected = np.fft.ifft2((np.fft.fft2(expected) * (1 - half) + explicit) / (1 + half)).real
    found = advance(Flow(viscosity, step, scheme="crank_nicolson"), domain, w, forcing, 0.05)[0].numpy()
    assert np.abs(found - expected).max() <= 1e-13 * np.abs(expected).max()


def test_modes_from_two_thirds_on_are_dropped():
    domain = torus(24)
    x = domain.mesh()[0]
    long, short = torch.cos(2 * math.pi * 7 * x)[None], torch.cos(2 * math.pi * 8 * x)[None]
    end = advance(Flow(0.0, 0.5), domain, long + short)
    assert (end - long).abs().max() <= 1e-13


def test_float32_stays_float32_and_close():
    domain = torus(24)
    w = random_vorticity(domain)
    exact = advance(Flow(0.003, 0.05), domain, w)
    single = advance(Flow(0.003, 0.05), domain, w.float())
    assert single.dtype == torch.float32
    assert (single - exact).norm() <= 100 * torch.finfo(torch.float32).eps * exact.norm()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_gradients_are_right(scheme):
    domain = torus(7)
    w = random_vorticity(domain, samples=1, modes=5).requires_grad_()
    forcing = torch.cos(2 * math.pi * domain.mesh()[1]).requires_grad_()
    flow = SpectralFlow(Flow(0.01, 0.1, scheme=scheme), domain, w)
    assert torch.autograd.gradcheck(lambda a, b: flow.advance(a, b, 0.0, 0.2), (w, forcing), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_step_too_long_names_one_that_works(scheme):
    domain = torus(24)
    w = random_vorticity(domain, rms=20.0)
    w[0] /= 100
    with pytest.raises(ValueError, match=r"step: got 0.5 .* at t = 0 for sample 1 of the block.* 24 x 24") as caught:
        advance(Flow(0.01, 0.5, scheme=scheme), domain, w)
    named = float(re.findall(r"at most ([\d.e-]+)", str(caught.value))[0])
    shorter = 0.8 * named  # the flow is also looked at after the step
    assert advance(Flow(0.01, shorter, scheme=scheme), domain, w, stop=shorter).isfinite().all()
    with pytest.raises(ValueError, match="at most"):
        advance(Flow(0.01, named * 1.11, scheme=scheme), domain, w, stop=named * 1.11)  # it was floored to two digits


@pytest.mark.parametrize(("of_the_limit", "grows"), [(0.95, False), (1.2, True)])
def test_beyond_the_named_step_the_shortest_waves_grow(of_the_limit, grows, monkeypatch):
    domain = torus((24, 12))
    _, y = domain.mesh()
    shear = 3 * 2 * math.pi * torch.sin(2 * math.pi * y)[None]  # |u| = 3 along x, carries waves of up to 7 periods
    step = of_the_limit * 2.8 / (3 * 2 * math.pi * 7)
    flow = SpectralFlow(Flow(0.0, step), domain, shear)
    with pytest.raises(ValueError, match=r"at most 0.021\b") if grows else nullcontext():
        flow.advance(shear, torch.zeros_like(shear), 0.0, step)
    monkeypatch.setattr(SpectralFlow, "_check_step", lambda *_: None)
    noise = 1e-9 * random_vorticity(domain, samples=1, modes=23)
    end = flow.advance(shear + noise, torch.zeros_like(shear), 0.0, 50 * step)
    assert ((end - shear).norm() > 1e3 * noise.norm()) == grows


def test_a_flow_that_is_lost_is_an_error_and_no_answer():
    domain = torus(12)
    w = random_vorticity(domain)
    w[1, 3, 3] = torch.nan
    with pytest.raises(ValueError, match=r"sample 1 of the block.*it has lost the flow"):
        advance(Flow(0.01, 0.1), domain, w)


def test_the_check_does_not_change_the_step_nor_look_at_other_samples():
    domain = torus(24)
    w = random_vorticity(domain, samples=3)
    together = advance(Flow(0.001, 0.05), domain, w)
    alone = torch.cat([advance(Flow(0.001, 0.05), domain, one) for one in w[:, None]])
    assert (together - alone).abs().max() <= 1e-13 * together.abs().max()


def test_a_wave_sits_in_its_shell_and_shells_add_up_to_the_energy():
    domain = torus(30)
    x, y = domain.mesh()
    wave = torch.sin(2 * math.pi * (3 * x + 4 * y))[None]
    spectrum = SpectralFlow(Flow(0.0, 1.0), domain, wave).spectrum(wave)
    energy = 0.25 / (2 * math.pi * 5) ** 2  # half of the mean of |u|², |u| = |w| / k
    assert spectrum.shape == (1, 10)
    assert float(spectrum[0, 5]) == pytest.approx(energy, rel=1e-12)
    assert float(spectrum.sum()) == pytest.approx(energy, rel=1e-12)
    w = random_vorticity(domain, modes=11)
    flow = SpectralFlow(Flow(0.0, 1.0), domain, w)
    total = flow.velocity(w).square().sum(0).mean((1, 2)) / 2
    assert torch.allclose(flow.spectrum(w).sum(1), total, rtol=1e-12)


def with_tail(energy):
    """A wave of number 1 and one of number 9, the last shell on 30 points, with `energy` of the first's."""
    x, _ = torus(30).mesh()
    return (torch.sin(2 * math.pi * x) + 9 * math.sqrt(energy) * torch.sin(2 * math.pi * 9 * x))[None]


def test_too_few_points_for_the_flow_are_a_warning_with_the_number_then_an_error():
    domain, w = torus(30), torch.cat([with_tail(1e-9), with_tail(3e-5)])
    flow = SpectralFlow(Flow(1e-4, 1.0), domain, w)
    assert flow.tail(w).tolist() == pytest.approx([1e-9, 3e-5], rel=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow.check_resolution(w[:1, None], (0.0,))
        flow.check_resolution(torch.zeros(1, 1, 30, 30).double(), (0.0,))
    with pytest.warns(UserWarning, match=r"30 x 30 points .* 0.0001: at t = 2 .* sample 1 .* 3.0e-05 of .* 94 x 94 points"):
        flow.check_resolution(torch.stack((w.flip(0) * 0 + w[0], w), 1), (1.0, 2.0))
    with pytest.raises(ValueError, match=r"1\.1e-02 of the energy.*there is no answer"):
        flow.check_resolution(with_tail(0.011)[:, None], (0.0,))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"viscosity": -1.0}, "viscosity: got -1.0"),
        ({"drag": math.inf}, "drag: got inf"),
        ({"step": 0.0}, "step: got 0.0, need a positive"),
        ({"scheme": "euler"}, "scheme: got 'euler', need one of etdrk4, crank_nicolson"),
    ],
)
def test_constants_that_cannot_be_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        replace(Flow(0.1, 0.1), **changed)


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        (Domain.box((1.0, 1.0), (16, 17), ["periodic", "dirichlet"]), "sides: got dirichlet along axis 1"),
        (Domain.box((1.0,), (16,), "periodic"), "domain: got 1 axes.* need 2"),
        (Domain.box((1.0, 1.0), (16, 16), "periodic", "cells"), "layout: got 'cells'"),
    ],
)
def test_only_a_torus_will_do(domain, message):
    with pytest.raises(ValueError, match=message):
        SpectralFlow(Flow(0.1, 0.1), domain, torch.zeros(1))
