"""What is known of the right-hand sides without solving anything."""

import json
import math

import numpy as np
import pytest
import torch

from sciml.problems.flows.named import FLOWS

NAMES = sorted(FLOWS)
P = {name: flow.parameters for name, flow in FLOWS.items()}

# map that takes orbits to orbits
SYMMETRIES = {
    "lorenz": (-1, -1, 1),
    "chen": (-1, -1, 1),
    "lu": (-1, -1, 1),
    "liu": (-1, -1, 1),
    "shimizu_morioka": (-1, -1, 1),
    "rucklidge": (-1, -1, 1),
    "burke_shaw": (-1, -1, 1),
    "rikitake": (-1, -1, 1),
    "vallis": (-1, -1, 1),
    "wang_sun": (-1, -1, 1),
    "chen_lee": (-1, -1, 1),
    "rabinovich_fabrikant": (-1, -1, 1),
    "newton_leipnik": (-1, -1, 1),
    "sakarya": (-1, -1, 1),
    "nose_hoover": (-1, -1, 1),
    "finance": (-1, 1, -1),
    "sprott_a": (-1, -1, 1),
    "sprott_b": (-1, -1, 1),
    "sprott_c": (-1, -1, 1),
    "chua": (-1, -1, -1),
    "arneodo": (-1, -1, -1),
    "moore_spiegel": (-1, -1, -1),
    "thomas": (-1, -1, -1),
}

r = math.sqrt
ROSSLER = (5.7 - r(5.7**2 - 4 * 0.2 * 0.2)) / (2 * 0.2)
RIKITAKE = r((5 / 2 + r((5 / 2) ** 2 + 4)) / 2)  # k with a = mu (k² - 1 / k²)
CHEN_LEE = (r(11.4), r(11.4) * r(50) / 10, r(50))
QI_Z = (42 + r(42**2 + 4 * 38 * 79)) / 2  # (c - z) (a + z) = a
QI_X = r(8 / 3 * QI_Z * (38 + QI_Z) / 38)
QI_CHEN = (QI_X, QI_X * 38 / (38 + QI_Z), QI_Z)
ORIGIN = (0.0, 0.0, 0.0)

# where nothing moves, solved by hand from the published equations
FIXED_POINTS = {
    "lorenz": [ORIGIN, (r(72), r(72), 27), (-r(72), -r(72), 27)],
    "chen": [ORIGIN, (r(63), r(63), 21)],
    "lu": [ORIGIN, (r(60), r(60), 20)],
    "liu": [ORIGIN, (5, 5, 40)],
    "qi_chen": [ORIGIN, QI_CHEN],
    "shimizu_morioka": [ORIGIN, (r(0.45), 0, 1)],
    "rucklidge": [ORIGIN, (0, r(6.7), 6.7)],
    "burke_shaw": [(r(0.4272), -r(0.4272), 0.1)],
    "vallis": [(0, 0, 1), (r(33), r(33) / 34, 1 / 34)],
    "rikitake": [(RIKITAKE, 1 / RIKITAKE, 2 * RIKITAKE**2)],
    "dadras": [ORIGIN],
    "wang_sun": [ORIGIN],
    "chen_lee": [ORIGIN, CHEN_LEE],
    "newton_leipnik": [ORIGIN],
    "rabinovich_fabrikant": [ORIGIN],
    "sakarya": [ORIGIN],
    "rossler": [(0.2 * ROSSLER, -ROSSLER, ROSSLER)],
    "thomas": [ORIGIN],
    "halvorsen": [ORIGIN, (-9.4, -9.4, -9.4)],
    "genesio_tesi": [ORIGIN, (1, 0, 0)],
    "arneodo": [ORIGIN, (r(5.5), 0, 0)],
    "moore_spiegel": [ORIGIN],
    "sprott_jerk": [ORIGIN],
    "finance": [(0, 5, 0)],
    "bouali": [ORIGIN, (1, 4 + 0.45 / 0.95, 1.5 / 0.95), (-1, 4 - 0.45 / 1.05, 1.5 / 1.05)],
    "hastings_powell": [ORIGIN, (1, 0, 0), (0.4 / 3.8, (1 - 0.4 / 3.8) * (1 + 1.2 / 3.8) / 5, 0)],
    "chua": [ORIGIN, (1.5, 0, -1.5)],
    "sprott_b": [(1, 1, 0), (-1, -1, 0)],
    "sprott_c": [(1, 1, 0), (-1, -1, 0)],
    "sprott_d": [ORIGIN],
    "sprott_e": [(1 / 4, 1 / 16, 0)],
    "sprott_f": [ORIGIN, (-2, -4, 4)],
    "sprott_g": [ORIGIN, (-2.5, -2.5, 1)],
    "sprott_h": [ORIGIN, (-2, 4, -2)],
    "sprott_i": [ORIGIN],
    "sprott_j": [ORIGIN],
    "sprott_k": [ORIGIN, (-1 / 0.3, -1 / 0.3, 1 / 0.09)],
    "sprott_l": [(1, 0.9, -0.9 / 3.9)],
    "sprott_m": [(s := (1.7 + r(1.7**2 + 6.8)) / 2, -s * s, 0)],
    "sprott_n": [(-1 / 4, 0, 1 / 2)],
    "sprott_o": [ORIGIN, (-1, 0, -1)],
    "sprott_p": [ORIGIN, (1, -1, 2.7)],
    "sprott_q": [ORIGIN, (-3.1, -3.1, 0)],
    "sprott_r": [(-0.4 / 0.9, 0.9, -0.4)],
    "sprott_s": [(-1, 1 / 4, 1), (-1, 1 / 4, -1)],
}

# which of our parameters another package has under the same equations, with what they are called there
AGREE = {
    "chen": ("Chen", "a b c"),
    "qi_chen": ("QiChen", "a c"),
    "rucklidge": ("Rucklidge", "kappa=a mu=b"),
    "vallis": ("VallisElNino", "b c p"),
    "dadras": ("Dadras", "a=p b=o c=r d=c e"),
    "wang_sun": ("WangSun", "a b c=d"),
    "chen_lee": ("ChenLee", "a b c"),
    "newton_leipnik": ("NewtonLiepnik", "a b"),
    "rabinovich_fabrikant": ("RabinovichFabrikant", "a g"),
    "sakarya": ("Sakarya", "a=q b=r"),
    "rossler": ("Rossler", "a b c"),
    "halvorsen": ("Halvorsen", "a"),
    "aizawa": ("Aizawa", "a b c d e f"),
    "nose_hoover": ("NoseHoover", "a"),
    "genesio_tesi": ("GenesioTesi", "a b c"),
    "arneodo": ("Arneodo", "a b c d"),
    "sprott_jerk": ("SprottJerk", "a=mu"),
    "finance": ("Finance", "a b c"),
    "bouali": ("Bouali", "b=bb"),
    "hastings_powell": ("HastingsPowell", "a1 a2 b1 b2 d1 d2"),
    "chua": ("Chua", "alpha beta m0 m1"),
    "lorenz": ("Lorenz", "sigma rho beta"),
    "sprott_f": ("SprottF", "a"),
    "sprott_g": ("SprottG", "a"),
    "sprott_h": ("SprottH", "a"),
    "sprott_i": ("SprottI", "a"),
    "sprott_k": ("SprottK", "a"),
    "sprott_l": ("SprottL", "a b"),
    "sprott_m": ("SprottM", "a"),
    "sprott_o": ("SprottO", "a"),
    "sprott_p": ("SprottP", "a"),
    "sprott_q": ("SprottQ", "a b"),
    "sprott_r": ("SprottR", "a b"),
}


def states(name, count=16):
    """Random ones around the attractor, as large as it is."""
    system = FLOWS[name]
    noise = torch.randn(count, system.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return torch.tensor(system.start, dtype=torch.float64) + torch.tensor(system.scale, dtype=torch.float64) * noise


def test_there_are_more_than_forty_five():
    assert len(NAMES) >= 45


@pytest.mark.parametrize("name", FIXED_POINTS)
def test_nothing_moves_at_the_fixed_points(name):
    points = torch.tensor(FIXED_POINTS[name], dtype=torch.float64)
    # Terms are at most cubic with coefficients below 100, and cancel up to rounding.
    assert FLOWS[name].slope(points).abs().max() <= 100 * torch.finfo(torch.float64).eps * (1 + points.abs().max()) ** 3


@pytest.mark.parametrize("name", [name for name in NAMES if FLOWS[name].contraction is not None])
def test_the_divergence_is_the_trace_of_the_derivative(name):
    closed, traced = FLOWS[name].divergence(states(name)), FLOWS[name].traced_divergence(states(name))
    assert closed.shape == (16,)
    assert (closed - traced).abs().max() < 1e-12 * (1 + traced.abs().max())


@pytest.mark.parametrize("name", SYMMETRIES)
def test_a_mirrored_state_moves_as_the_mirror_of_the_state(name):
    mirror = torch.tensor(SYMMETRIES[name], dtype=torch.float64)
    assert torch.equal(FLOWS[name].slope(mirror * states(name)), mirror * FLOWS[name].slope(states(name)))


@pytest.mark.parametrize("name", ["halvorsen", "thomas"])
def test_the_components_of_cyclic_flows_can_be_turned_round(name):
    turned = FLOWS[name].slope(states(name).roll(1, -1))
    assert (turned - FLOWS[name].slope(states(name)).roll(1, -1)).abs().max() < 1e-12


@pytest.mark.parametrize(("name", "a"), [("nose_hoover", 1.5), ("sprott_a", 1.0)])
def test_the_thermostat_takes_what_the_oscillator_gains(name, a):
    # d/dt (x² + y² + z²) / 2 = a z, as y² z is what the thermostat exchanges
    s = states(name)
    assert ((s * FLOWS[name].slope(s)).sum(-1) - a * s[:, 2]).abs().max() < 1e-12 * s.abs().max() ** 3


def test_the_winds_of_lorenz_84_carry_energy_and_make_none():
    # (x² + y² + z²)' / 2 = a f x - a x² - y² - z² + g y
    s = states("lorenz_84")
    x, y, z = s.unbind(-1)
    gain = 0.25 * (8 - x) * x - y * y - z * z + y
    assert ((s * FLOWS["lorenz_84"].slope(s)).sum(-1) - gain).abs().max() < 1e-14 * (1 + s.abs().max()) ** 3 * 10


def test_a_nerve_at_rest_stays_there():
    # y = c - d x², z = h (x - x0): x solves a x³ + (d - b) x² + h (x - x0) = c + current
    system = FLOWS["hindmarsh_rose"]
    roots = np.roots([1.0, 2.0, 4.0, 4 * 1.6 - 4.25])
    x = float(roots[np.isreal(roots)].real[0])
    rest = torch.tensor([x, 1 - 5 * x * x, 4 * (x + 1.6)], dtype=torch.float64)
    assert system.slope(rest).abs().max() < 1e-13


@pytest.mark.parametrize("name", AGREE)
def test_parameters_are_those_of_another_table(name, published_data):
    table = json.loads((published_data / "dysts" / "chaotic_attractors.json").read_text())
    theirs_name, pairs = AGREE[name]
    theirs = table[theirs_name]["parameters"]
    for pair in pairs.split():
        ours, _, called = pair.partition("=")
        assert P[name][ours] == pytest.approx(theirs[called or ours], rel=2e-4), pair  # they round 8/3 and sevenths
