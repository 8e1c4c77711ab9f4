"""Oscillators that are chaotic: chemical, mechanical, electronic, ecological, neural."""

from __future__ import annotations

import torch
from torch import Tensor

from sciml.problems.flows.flow import Flow, Number, Rates


def _rossler(state: Tensor, a: Number, b: Number, c: Number) -> Rates:
    x, y, z = state
    return -y - z, x + a * y, b + z * (x - c)


ROSSLER = Flow(
    name="rossler",
    rates=_rossler,
    start=(0.9971, 7.409, 0.3359),
    scale=(5.19, 4.87, 2.78),
    step=0.05 / 5,
    interval=0.05,
    exponent=0.0677,
    equation="x' = -y - z; y' = x + a y; z' = b + z (x - c)",
    source="Rossler, Phys. Lett. A 57 (1976) 397",
    parameters={"a": 0.2, "b": 0.2, "c": 5.7},
    contraction=lambda s, a, c, **__: a + s[0] - c,
)


def _thomas(state: Tensor, b: Number) -> Rates:
    x, y, z = state
    return torch.sin(y) - b * x, torch.sin(z) - b * y, torch.sin(x) - b * z


THOMAS = Flow(
    name="thomas",
    rates=_thomas,
    start=(2.966, 2.623, 2.245),
    scale=(2.27, 2.24, 2.28),
    step=0.5 / 7,
    interval=0.5,
    exponent=0.0349,
    equation="x' = sin(y) - b x; y' = sin(z) - b y; z' = sin(x) - b z",
    source="Thomas, Int. J. Bifurcation Chaos 9 (1999) 1889",
    parameters={"b": 0.18},
    contraction=lambda _, b: -3 * b,
)


def _halvorsen(state: Tensor, a: Number) -> Rates:
    x, y, z = state
    return -a * x - 4 * (y + z) - y * y, -a * y - 4 * (z + x) - z * z, -a * z - 4 * (x + y) - x * x


HALVORSEN = Flow(
    name="halvorsen",
    rates=_halvorsen,
    start=(5.982, -9.434, -9.397),
    scale=(4.38, 4.46, 4.43),
    step=0.02 / 5,
    interval=0.02,
    exponent=0.689,
    equation="x' = -a x - 4 (y + z) - y²; y' = -a y - 4 (z + x) - z²; z' = -a z - 4 (x + y) - x²",
    source="Sprott, Chaos and Time-Series Analysis, Oxford (2003)",
    parameters={"a": 1.4},
    contraction=lambda _, a: -3 * a,
)


def _aizawa(state: Tensor, a: Number, b: Number, c: Number, d: Number, e: Number, f: Number) -> Rates:
    x, y, z = state
    return (
        (z - b) * x - d * y,
        d * x + (z - b) * y,
        c + a * z - z * z * z / 3 - (x * x + y * y) * (1 + e * z) + f * z * x * x * x,
    )


AIZAWA = Flow(
    name="aizawa",
    rates=_aizawa,
    start=(-1.365, -0.4933, 0.8765),
    scale=(0.569, 0.568, 0.735),
    step=0.02,
    interval=0.02,
    exponent=0.0924,
    equation="x' = (z - b) x - d y; y' = d x + (z - b) y; z' = c + a z - z³ / 3 - (x² + y²) (1 + e z) + f z x³",
    source="Aizawa & Uezu, Prog. Theor. Phys. 67 (1982) 982; this form after Langford",
    parameters={"a": 0.95, "b": 0.7, "c": 0.6, "d": 3.5, "e": 0.25, "f": 0.1},
    contraction=lambda s, a, b, e, f, **__: (
        2 * (s[2] - b) + a - s[2] * s[2] - e * (s[0] * s[0] + s[1] * s[1]) + f * s[0] * s[0] * s[0]
    ),
)


def _nose_hoover(state: Tensor, a: Number) -> Rates:
    x, y, z = state
    return y, y * z - x, a - y * y


NOSE_HOOVER = Flow(
    name="nose_hoover",
    rates=_nose_hoover,
    start=(-0.8061, -1.024, 0.7827),
    scale=(1.07, 1.22, 1.31),
    step=0.05 / 5,
    interval=0.05,
    exponent=0.0088,
    equation="x' = y; y' = y z - x; z' = a - y²",
    source="Posch, Hoover & Vesely, Phys. Rev. A 33 (1986) 4253; Hoover, Phys. Rev. E 51 (1995) 759",
    parameters={"a": 1.5},
    contraction=lambda s, **__: s[2],
)


def _genesio_tesi(state: Tensor, a: Number, b: Number, c: Number) -> Rates:
    x, y, z = state
    return y, z, x * x - c * x - b * y - a * z


GENESIO_TESI = Flow(
    name="genesio_tesi",
    rates=_genesio_tesi,
    start=(0.3181, 0.825, -0.0351),
    scale=(0.385, 0.344, 0.361),
    step=0.1 / 2,
    interval=0.1,
    exponent=0.101,
    equation="x' = y; y' = z; z' = x² - c x - b y - a z",
    source="Genesio & Tesi, Automatica 28 (1992) 531",
    parameters={"a": 0.44, "b": 1.1, "c": 1.0},
    contraction=lambda _, a, **__: -a,
)


def _arneodo(state: Tensor, a: Number, b: Number, c: Number, d: Number) -> Rates:
    x, y, z = state
    return y, z, d * x * x * x - a * x - b * y - c * z


ARNEODO = Flow(
    name="arneodo",
    rates=_arneodo,
    start=(-1.736, -0.8674, -3.111),
    scale=(1.88, 1.59, 3.37),
    step=0.05 / 3,
    interval=0.05,
    exponent=0.204,
    equation="x' = y; y' = z; z' = d x³ - a x - b y - c z",
    source="Arneodo, Coullet & Tresser, Commun. Math. Phys. 79 (1981) 573",
    parameters={"a": -5.5, "b": 4.5, "c": 1.0, "d": -1.0},
    contraction=lambda _, c, **__: -c,
)


def _moore_spiegel(state: Tensor, b: Number, r: Number) -> Rates:
    x, y, z = state
    return y, z, (r - b) * y - z - b * x - r * x * x * y


MOORE_SPIEGEL = Flow(
    name="moore_spiegel",
    rates=_moore_spiegel,
    start=(-0.0869, 0.764, -0.2598),
    scale=(1.11, 2.71, 12.4),
    step=0.02 / 4,
    interval=0.02,
    exponent=0.0844,
    equation="x' = y; y' = z; z' = (r - b) y - z - b x - r x² y",
    source="Moore & Spiegel, Astrophys. J. 143 (1966) 871",
    parameters={"b": 6.0, "r": 20.0},
    contraction=lambda _, **__: -1.0,
)


def _sprott_jerk(state: Tensor, a: Number) -> Rates:
    x, y, z = state
    return y, z, y * y - x - a * z


SPROTT_JERK = Flow(
    name="sprott_jerk",
    rates=_sprott_jerk,
    start=(-0.7492, 0.3944, 0.4523),
    scale=(2.49, 1.37, 0.966),
    step=0.1 / 3,
    interval=0.1,
    exponent=0.0572,
    equation="x' = y; y' = z; z' = y² - x - a z",
    source="Sprott, Phys. Lett. A 228 (1997) 271",
    parameters={"a": 2.017},
    contraction=lambda _, a: -a,
)


def _finance(state: Tensor, a: Number, b: Number, c: Number) -> Rates:
    x, y, z = state
    return z + (y - a) * x, 1 - b * y - x * x, -x - c * z


FINANCE = Flow(
    name="finance",
    rates=_finance,
    start=(0.2301, 0.4996, 0.3832),
    scale=(0.921, 0.76, 0.692),
    step=0.1 / 7,
    interval=0.1,
    exponent=0.0889,
    equation="x' = z + (y - a) x; y' = 1 - b y - x²; z' = -x - c z",
    source="Cai & Huang, Int. J. Nonlinear Sci. 3 (2007) 213, after Ma & Chen",
    parameters={"a": 0.001, "b": 0.2, "c": 1.1},
    contraction=lambda s, a, b, c: s[1] - a - b - c,
)


def _bouali(state: Tensor, a: Number, b: Number) -> Rates:
    x, y, z = state
    return x * (4 - y) + a * z, -y * (1 - x * x), -x * (1.5 - b * z) - 0.05 * z


BOUALI = Flow(
    name="bouali",
    rates=_bouali,
    start=(1.496, 2.158, -1.419),
    scale=(0.975, 1.77, 2.1),
    step=0.05 / 5,
    interval=0.05,
    exponent=0.0302,
    equation="x' = x (4 - y) + a z; y' = -y (1 - x²); z' = -x (1.5 - b z) - 0.05 z",
    source="Bouali, Nonlinear Dyn. 70 (2012) 2375",
    parameters={"a": 0.3, "b": 1.0},
    contraction=lambda s, b, **__: 2.95 - s[1] + s[0] * s[0] + b * s[0],
)


def _hindmarsh_rose(
    state: Tensor, a: Number, b: Number, c: Number, d: Number, r: Number, h: Number, x0: Number, current: Number
) -> Rates:
    x, y, z = state
    return y - a * x * x * x + b * x * x - z + current, c - d * x * x - y, r * (h * (x - x0) - z)


HINDMARSH_ROSE = Flow(
    name="hindmarsh_rose",
    rates=_hindmarsh_rose,
    start=(-0.9297, -3.329, 3.316),
    scale=(0.514, 1.81, 0.119),
    step=0.2 / 20,
    interval=0.2,
    exponent=0.0075,
    equation="x' = y - a x³ + b x² - z + current; y' = c - d x² - y; z' = r (h (x - x0) - z)",
    source="Hindmarsh & Rose, Proc. R. Soc. B 221 (1984) 87",
    parameters={"a": 1.0, "b": 3.0, "c": 1.0, "d": 5.0, "r": 0.005, "h": 4.0, "x0": -1.6, "current": 3.25},
    contraction=lambda s, a, b, r, **__: 2 * b * s[0] - 3 * a * s[0] * s[0] - 1 - r,
)


def _hastings_powell(state: Tensor, a1: Number, a2: Number, b1: Number, b2: Number, d1: Number, d2: Number) -> Rates:
    x, y, z = state
    return (
        x * (1 - x) - a1 * x * y / (1 + b1 * x),
        a1 * x * y / (1 + b1 * x) - a2 * y * z / (1 + b2 * y) - d1 * y,
        a2 * y * z / (1 + b2 * y) - d2 * z,
    )


HASTINGS_POWELL = Flow(
    name="hastings_powell",
    rates=_hastings_powell,
    start=(0.617, 0.077, 8.026),
    scale=(0.211, 0.0976, 0.884),
    step=0.5 / 3,
    interval=0.5,
    exponent=0.00701,
    equation=(
        "x' = x (1 - x) - a1 x y / (1 + b1 x); "
        "y' = a1 x y / (1 + b1 x) - a2 y z / (1 + b2 y) - d1 y; "
        "z' = a2 y z / (1 + b2 y) - d2 z"
    ),
    source="Hastings & Powell, Ecology 72 (1991) 896",
    parameters={"a1": 5.0, "a2": 0.1, "b1": 3.0, "b2": 2.0, "d1": 0.4, "d2": 0.01},
)


def _chua(state: Tensor, alpha: Number, beta: Number, m0: Number, m1: Number) -> Rates:
    x, y, z = state
    return alpha * (y - x - m1 * x - (m0 - m1) / 2 * (abs(x + 1) - abs(x - 1))), x - y + z, -beta * y


CHUA = Flow(
    name="chua",
    rates=_chua,
    start=(0.5204, 0.1045, -1.389),
    scale=(1.42, 0.174, 1.77),
    step=0.02 / 20,
    interval=0.02,
    exponent=0.44,
    equation="x' = alpha (y - x - m1 x - (m0 - m1) / 2 (abs(x + 1) - abs(x - 1))); y' = x - y + z; z' = -beta y",
    source="Matsumoto, IEEE Trans. Circuits Syst. 31 (1984) 1055; these parameters are those of later books",
    tolerance=1e-6,  # two kinks
    parameters={"alpha": 15.6, "beta": 28.0, "m0": -8 / 7, "m1": -5 / 7},
)


def _duffing(state: Tensor, delta: Number, gamma: Number, omega: Number) -> Rates:
    x, v, c, s = state
    return v, x - x * x * x - delta * v + gamma * c, -omega * s, omega * c


def _clock(state: Tensor, **_: Number) -> Tensor:
    return state[2] * state[2] + state[3] * state[3]


DUFFING = Flow(
    name="duffing",
    rates=_duffing,
    start=(0.1416, -0.3698, -0.8, 0.6),
    scale=(0.879, 0.518, 0.0, 0.0),
    step=0.05 / 2,
    interval=0.05,
    exponent=0.107,
    equation="x' = v; v' = x - x³ - delta v + gamma c; c' = -omega s; s' = omega c",
    source="Jordan & Smith, Nonlinear Ordinary Differential Equations, Oxford (2007); the forcing as a clock, cos(omega t)",
    parameters={"delta": 0.3, "gamma": 0.5, "omega": 1.2},
    contraction=lambda _, delta, **__: -delta,
    invariant=_clock,
)


OSCILLATORS = (
    ROSSLER,
    THOMAS,
    HALVORSEN,
    AIZAWA,
    NOSE_HOOVER,
    GENESIO_TESI,
    ARNEODO,
    MOORE_SPIEGEL,
    SPROTT_JERK,
    FINANCE,
    BOUALI,
    HINDMARSH_ROSE,
    HASTINGS_POWELL,
    CHUA,
    DUFFING,
)


__all__ = [
    "AIZAWA",
    "ARNEODO",
    "BOUALI",
    "CHUA",
    "DUFFING",
    "FINANCE",
    "GENESIO_TESI",
    "HALVORSEN",
    "HASTINGS_POWELL",
    "HINDMARSH_ROSE",
    "MOORE_SPIEGEL",
    "NOSE_HOOVER",
    "OSCILLATORS",
    "ROSSLER",
    "SPROTT_JERK",
    "THOMAS",
]
