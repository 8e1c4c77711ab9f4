"""Flows with quadratic terms: the convection rolls of Lorenz and what was found in their likeness."""

from __future__ import annotations

from torch import Tensor

from sciml.problems.flows.flow import Flow, Number, Rates


def _lorenz(state: Tensor, sigma: Number, rho: Number, beta: Number) -> Rates:
    x, y, z = state
    return sigma * (y - x), x * (rho - z) - y, x * y - beta * z


LORENZ = Flow(
    name="lorenz",
    rates=_lorenz,
    start=(-0.6155, -1.874, 19.91),
    scale=(7.83, 8.93, 8.62),
    step=0.01 / 3,
    interval=0.01,
    exponent=0.907,
    equation="x' = sigma (y - x); y' = x (rho - z) - y; z' = x y - beta z",
    source="Lorenz, J. Atmos. Sci. 20 (1963) 130",
    parameters={"sigma": 10.0, "rho": 28.0, "beta": 8 / 3},
    contraction=lambda _, sigma, beta, **__: -sigma - 1 - beta,
)


def _chen(state: Tensor, a: Number, b: Number, c: Number) -> Rates:
    x, y, z = state
    return a * (y - x), (c - a) * x - x * z + c * y, x * y - b * z


CHEN = Flow(
    name="chen",
    rates=_chen,
    start=(4.065, 5.587, 15.92),
    scale=(8.46, 9.16, 6.84),
    step=0.005 / 3,
    interval=0.005,
    exponent=2.03,
    equation="x' = a (y - x); y' = (c - a) x - x z + c y; z' = x y - b z",
    source="Chen & Ueta, Int. J. Bifurcation Chaos 9 (1999) 1465",
    parameters={"a": 35.0, "b": 3.0, "c": 28.0},
    contraction=lambda _, a, b, c: c - a - b,
)


def _lu(state: Tensor, a: Number, b: Number, c: Number) -> Rates:
    x, y, z = state
    return a * (y - x), c * y - x * z, x * y - b * z


LU = Flow(
    name="lu",
    rates=_lu,
    start=(-4.899, -3.626, 21.65),
    scale=(7.69, 7.95, 5.77),
    step=0.01 / 5,
    interval=0.01,
    exponent=1.32,
    equation="x' = a (y - x); y' = c y - x z; z' = x y - b z",
    source="Lu & Chen, Int. J. Bifurcation Chaos 12 (2002) 659",
    parameters={"a": 36.0, "b": 3.0, "c": 20.0},
    contraction=lambda _, a, b, c: c - a - b,
)


def _liu(state: Tensor, a: Number, b: Number, c: Number, h: Number, k: Number) -> Rates:
    x, y, z = state
    return a * (y - x), b * x - k * x * z, h * x * x - c * z


LIU = Flow(
    name="liu",
    rates=_liu,
    start=(4.111, 1.062, 47.03),
    scale=(5.18, 6.85, 13.3),
    step=0.01 / 4,
    interval=0.01,
    exponent=1.66,
    equation="x' = a (y - x); y' = b x - k x z; z' = h x² - c z",
    source="Liu, Liu, Liu & Liu, Chaos Solitons Fractals 22 (2004) 1031",
    parameters={"a": 10.0, "b": 40.0, "c": 2.5, "h": 4.0, "k": 1.0},
    contraction=lambda _, a, c, **__: -a - c,
)


def _qi_chen(state: Tensor, a: Number, b: Number, c: Number) -> Rates:
    x, y, z = state
    return a * (y - x) + y * z, c * x - y - x * z, x * y - b * z


QI_CHEN = Flow(
    name="qi_chen",
    rates=_qi_chen,
    start=(-3.262, -2.362, 55.46),
    scale=(25.4, 9.87, 10.5),
    step=0.002 / 3,
    interval=0.002,
    exponent=3.79,
    equation="x' = a (y - x) + y z; y' = c x - y - x z; z' = x y - b z",
    source="Qi, Chen, Du, Chen & Yuan, Physica A 352 (2005) 295",
    parameters={"a": 38.0, "b": 8 / 3, "c": 80.0},
    contraction=lambda _, a, b, **__: -a - 1 - b,
)


def _shimizu_morioka(state: Tensor, a: Number, b: Number) -> Rates:
    x, y, z = state
    return y, x - a * y - x * z, x * x - b * z


SHIMIZU_MORIOKA = Flow(
    name="shimizu_morioka",
    rates=_shimizu_morioka,
    start=(0.2176, -0.0547, 0.6893),
    scale=(0.655, 0.298, 0.492),
    step=0.1 / 2,
    interval=0.1,
    exponent=0.0644,
    equation="x' = y; y' = x - a y - x z; z' = x² - b z",
    source="Shimizu & Morioka, Phys. Lett. A 76 (1980) 201",
    parameters={"a": 0.75, "b": 0.45},
    contraction=lambda _, a, b: -a - b,
)


def _rucklidge(state: Tensor, kappa: Number, mu: Number) -> Rates:
    x, y, z = state
    return mu * y - kappa * x - y * z, x, y * y - z


RUCKLIDGE = Flow(
    name="rucklidge",
    rates=_rucklidge,
    start=(6.019, -0.6076, 10.45),
    scale=(2.72, 2.53, 3.01),
    step=0.05 / 3,
    interval=0.05,
    exponent=0.192,
    equation="x' = mu y - kappa x - y z; y' = x; z' = y² - z",
    source="Rucklidge, J. Fluid Mech. 237 (1992) 209",
    parameters={"kappa": 2.0, "mu": 6.7},
    contraction=lambda _, kappa, **__: -kappa - 1,
)


def _burke_shaw(state: Tensor, sigma: Number, v: Number) -> Rates:
    x, y, z = state
    return -sigma * (x + y), -y - sigma * x * z, sigma * x * y + v


BURKE_SHAW = Flow(
    name="burke_shaw",
    rates=_burke_shaw,
    start=(-1.082, 1.277, -0.0871),
    scale=(0.653, 0.777, 0.892),
    step=0.01 / 3,
    interval=0.01,
    exponent=0.699,
    equation="x' = -sigma (x + y); y' = -y - sigma x z; z' = sigma x y + v",
    source="Shaw, Z. Naturforsch. A 36 (1981) 80",
    parameters={"sigma": 10.0, "v": 4.272},
    contraction=lambda _, sigma, **__: -sigma - 1,
)


def _lorenz_84(state: Tensor, a: Number, b: Number, f: Number, g: Number) -> Rates:
    x, y, z = state
    return a * f - a * x - y * y - z * z, x * y - y - b * x * z + g, b * x * y + x * z - z


LORENZ_84 = Flow(
    name="lorenz_84",
    rates=_lorenz_84,
    start=(1.465, 0.5016, 0.9361),
    scale=(0.649, 0.91, 0.92),
    step=0.02 / 3,
    interval=0.02,
    exponent=0.17,
    equation="x' = a f - a x - y² - z²; y' = x y - y - b x z + g; z' = b x y + x z - z",
    source="Lorenz, Tellus A 36 (1984) 98",
    parameters={"a": 0.25, "b": 4.0, "f": 8.0, "g": 1.0},
    contraction=lambda s, a, **__: 2 * s[0] - a - 2,
)


def _vallis(state: Tensor, b: Number, c: Number, p: Number) -> Rates:
    x, y, z = state
    return b * y - c * (x + p), x * z - y, 1 - z - x * y


VALLIS = Flow(
    name="vallis",
    rates=_vallis,
    start=(-9.922, -0.5787, -0.0458),
    scale=(5.43, 0.237, 0.239),
    step=0.02 / 4,
    interval=0.02,
    exponent=0.561,
    equation="x' = b y - c (x + p); y' = x z - y; z' = 1 - z - x y",
    source="Vallis, Science 232 (1986) 243",
    parameters={"b": 102.0, "c": 3.0, "p": 0.0},
    contraction=lambda _, c, **__: -c - 2,
)


def _rikitake(state: Tensor, a: Number, mu: Number) -> Rates:
    x, y, z = state
    return y * z - mu * x, x * (z - a) - mu * y, 1 - x * y


RIKITAKE = Flow(
    name="rikitake",
    rates=_rikitake,
    start=(-0.1762, -0.0205, 5.674),
    scale=(1.73, 0.699, 1.12),
    step=0.05 / 4,
    interval=0.05,
    exponent=0.127,
    equation="x' = y z - mu x; y' = x (z - a) - mu y; z' = 1 - x y",
    source="Rikitake, Proc. Camb. Phil. Soc. 54 (1958) 89",
    parameters={"a": 5.0, "mu": 2.0},
    contraction=lambda _, mu, **__: -2 * mu,
)


def _dadras(state: Tensor, a: Number, b: Number, c: Number, d: Number, e: Number) -> Rates:
    x, y, z = state
    return y - a * x + b * y * z, c * y - x * z + z, d * x * y - e * z


DADRAS = Flow(
    name="dadras",
    rates=_dadras,
    start=(-0.4674, 1.038, -0.1405),
    scale=(3.31, 2.54, 1.61),
    step=0.02 / 10,
    interval=0.02,
    exponent=0.379,
    equation="x' = y - a x + b y z; y' = c y - x z + z; z' = d x y - e z",
    source="Dadras & Momeni, Phys. Lett. A 373 (2009) 3637",
    parameters={"a": 3.0, "b": 2.7, "c": 1.7, "d": 2.0, "e": 9.0},
    contraction=lambda _, a, c, e, **__: c - a - e,
)


def _wang_sun(state: Tensor, a: Number, b: Number, c: Number) -> Rates:
    x, y, z = state
    return a * x + y * z, b * x + c * y - x * z, -z - x * y


WANG_SUN = Flow(
    name="wang_sun",
    rates=_wang_sun,
    start=(-1.111, -0.3065, -0.2344),
    scale=(0.764, 0.54, 0.341),
    step=0.2 / 18,
    interval=0.2,
    exponent=0.0638,
    equation="x' = a x + y z; y' = b x + c y - x z; z' = -z - x y",
    source="Wang, Sun, van Wyk, Qi & van Wyk, Braz. J. Phys. 39 (2009) 547",
    parameters={"a": 0.2, "b": -0.01, "c": -0.4},
    contraction=lambda _, a, c, **__: a + c - 1,
)


def _chen_lee(state: Tensor, a: Number, b: Number, c: Number) -> Rates:
    x, y, z = state
    return a * x - y * z, b * y + x * z, c * z + x * y / 3


CHEN_LEE = Flow(
    name="chen_lee",
    rates=_chen_lee,
    start=(0.9319, 0.3338, 4.607),
    scale=(4.13, 2.92, 3.04),
    step=0.02 / 7,
    interval=0.02,
    exponent=0.161,
    equation="x' = a x - y z; y' = b y + x z; z' = c z + x y / 3",
    source="Chen & Lee, Chaos Solitons Fractals 21 (2004) 957",
    parameters={"a": 5.0, "b": -10.0, "c": -0.38},
    contraction=lambda _, a, b, c: a + b + c,
)


def _newton_leipnik(state: Tensor, a: Number, b: Number) -> Rates:
    x, y, z = state
    return y - a * x + 10 * y * z, 5 * x * z - x - 0.4 * y, b * z - 5 * x * y


NEWTON_LEIPNIK = Flow(
    name="newton_leipnik",
    rates=_newton_leipnik,
    start=(-0.4385, -0.0528, 0.1221),
    scale=(0.27, 0.0775, 0.0817),
    step=0.05 / 4,
    interval=0.05,
    exponent=0.141,
    equation="x' = y - a x + 10 y z; y' = 5 x z - x - 0.4 y; z' = b z - 5 x y",
    source="Leipnik & Newton, Phys. Lett. A 86 (1981) 63",
    parameters={"a": 0.4, "b": 0.175},
    contraction=lambda _, a, b: b - a - 0.4,
)


def _rabinovich_fabrikant(state: Tensor, a: Number, g: Number) -> Rates:
    x, y, z = state
    return y * (z - 1 + x * x) + g * x, x * (3 * z + 1 - x * x) + g * y, -2 * z * (a + x * y)


RABINOVICH_FABRIKANT = Flow(
    name="rabinovich_fabrikant",
    rates=_rabinovich_fabrikant,
    start=(-1.367, -0.2028, 0.3092),
    scale=(0.373, 0.699, 0.326),
    step=0.02,
    interval=0.02,
    exponent=0.197,
    equation="x' = y (z - 1 + x²) + g x; y' = x (3 z + 1 - x²) + g y; z' = -2 z (a + x y)",
    source="Rabinovich & Fabrikant, Sov. Phys. JETP 50 (1979) 311",
    parameters={"a": 1.1, "g": 0.87},
    contraction=lambda _, a, g: 2 * g - 2 * a,
)


def _sakarya(state: Tensor, a: Number, b: Number) -> Rates:
    x, y, z = state
    return y - x + y * z, a * x * z - x - y, z - b * x * y


SAKARYA = Flow(
    name="sakarya",
    rates=_sakarya,
    start=(-6.367, 1.638, 0.475),
    scale=(7.97, 3.52, 2.91),
    step=0.02 / 3,
    interval=0.02,
    exponent=0.267,
    equation="x' = y - x + y z; y' = a x z - x - y; z' = z - b x y",
    source="Li, Pehlivan, Sprott & Akgul, IEICE Electron. Express 12 (2015) 20141116",
    parameters={"a": 0.4, "b": 0.3},
    contraction=lambda _, **__: -1.0,
)


LORENZ_FAMILY = (
    LORENZ,
    CHEN,
    LU,
    LIU,
    QI_CHEN,
    SHIMIZU_MORIOKA,
    RUCKLIDGE,
    BURKE_SHAW,
    LORENZ_84,
    VALLIS,
    RIKITAKE,
    DADRAS,
    WANG_SUN,
    CHEN_LEE,
    NEWTON_LEIPNIK,
    RABINOVICH_FABRIKANT,
    SAKARYA,
)


__all__ = [
    "BURKE_SHAW",
    "CHEN",
    "CHEN_LEE",
    "DADRAS",
    "LIU",
    "LORENZ",
    "LORENZ_84",
    "LORENZ_FAMILY",
    "LU",
    "NEWTON_LEIPNIK",
    "QI_CHEN",
    "RABINOVICH_FABRIKANT",
    "RIKITAKE",
    "RUCKLIDGE",
    "SAKARYA",
    "SHIMIZU_MORIOKA",
    "VALLIS",
    "WANG_SUN",
]
