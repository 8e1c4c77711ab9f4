"""The nineteen simplest flows with quadratic terms that are chaotic, cases A to S.

Source: Sprott, "Some simple chaotic flows", Phys. Rev. E 50 (1994) R647."""

from __future__ import annotations

from torch import Tensor

from sciml.problems.flows.flow import Flow, Number, Rates


def _sprott_a(state: Tensor) -> Rates:
    x, y, z = state
    return y, y * z - x, 1 - y * y


SPROTT_A = Flow(
    name="sprott_a",
    rates=_sprott_a,
    start=(0.2877, 0.1213, -0.1295),
    scale=(1.15, 1.0, 1.58),
    step=0.05 / 5,
    interval=0.05,
    exponent=0.014,
    equation="x' = y; y' = y z - x; z' = 1 - y²",
    source="Sprott, Phys. Rev. E 50 (1994) R647, case A",
    contraction=lambda s: s[2],
)


def _sprott_b(state: Tensor) -> Rates:
    x, y, z = state
    return y * z, x - y, 1 - x * y


SPROTT_B = Flow(
    name="sprott_b",
    rates=_sprott_b,
    start=(-0.4004, -0.2687, 0.5969),
    scale=(1.33, 0.995, 1.41),
    step=0.1 / 8,
    interval=0.1,
    exponent=0.21,
    equation="x' = y z; y' = x - y; z' = 1 - x y",
    source="Sprott, Phys. Rev. E 50 (1994) R647, case B",
    contraction=lambda _: -1.0,
)


def _sprott_c(state: Tensor) -> Rates:
    x, y, z = state
    return y * z, x - y, 1 - x * x


SPROTT_C = Flow(
    name="sprott_c",
    rates=_sprott_c,
    start=(-0.5258, -0.639, 0.4453),
    scale=(1.0, 0.852, 1.18),
    step=0.1 / 8,
    interval=0.1,
    exponent=0.163,
    equation="x' = y z; y' = x - y; z' = 1 - x²",
    source="Sprott, Phys. Rev. E 50 (1994) R647, case C",
    contraction=lambda _: -1.0,
)


def _sprott_d(state: Tensor, a: Number) -> Rates:
    x, y, z = state
    return -y, x + z, x * z + a * y * y


SPROTT_D = Flow(
    name="sprott_d",
    rates=_sprott_d,
    start=(-3.318, 0.5768, 1.103),
    scale=(0.979, 0.779, 0.842),
    step=0.1 / 7,
    interval=0.1,
    exponent=0.103,
    equation="x' = -y; y' = x + z; z' = x z + a y²",
    source="Sprott, Phys. Rev. E 50 (1994) R647, case D",
    parameters={"a": 3.0},
    contraction=lambda s, **__: s[0],
)


def _sprott_e(state: Tensor, a: Number) -> Rates:
    x, y, z = state
    return y * z, x * x - y, 1 - a * x


SPROTT_E = Flow(
    name="sprott_e",
    rates=_sprott_e,
    start=(-0.1575, 0.1001, 1.858),
    scale=(0.568, 0.421, 2.25),
    step=0.05 / 3,
    interval=0.05,
    exponent=0.078,
    equation="x' = y z; y' = x² - y; z' = 1 - a x",
    source="Sprott, Phys. Rev. E 50 (1994) R647, case E",
    parameters={"a": 4.0},
    contraction=lambda _, **__: -1.0,
)


def _sprott_f(state: Tensor, a: Number) -> Rates:
    x, y, z = state
    return y + z, a * y - x, x * x - z


SPROTT_F = Flow(
    name="sprott_f",
    rates=_sprott_f,
    start=(-0.4398, -0.214, 0.2871),
    scale=(0.841, 1.1, 1.0),
    step=0.1 / 4,
    interval=0.1,
    exponent=0.117,
    equation="x' = y + z; y' = a y - x; z' = x² - z",
    source="Sprott, Phys. Rev. E 50 (1994) R647, case F",
    parameters={"a": 0.5},
    contraction=lambda _, a: a - 1,
)


def _sprott_g(state: Tensor, a: Number) -> Rates:
    x, y, z = state
    return a * x + z, x * z - y, y - x


SPROTT_G = Flow(
    name="sprott_g",
    rates=_sprott_g,
    start=(0.7114, -0.0234, -0.337),
    scale=(0.902, 0.636, 0.927),
    step=0.05 / 2,
    interval=0.05,
    exponent=0.034,
    equation="x' = a x + z; y' = x z - y; z' = y - x",
    source="Sprott, Phys. Rev. E 50 (1994) R647, case G",
    parameters={"a": 0.4},
    contraction=lambda _, a: a - 1,
)


def _sprott_h(state: Tensor, a: Number) -> Rates:
    x, y, z = state
    return z * z - y, x + a * y, x - z


SPROTT_H = Flow(
    name="sprott_h",
    rates=_sprott_h,
    start=(-3.214, 1.861, -2.148),
    scale=(1.16, 1.27, 0.845),
    step=0.1 / 4,
    interval=0.1,
    exponent=0.117,
    equation="x' = z² - y; y' = x + a y; z' = x - z",
    source="Sprott, Phys. Rev. E 50 (1994) R647, case H",
    parameters={"a": 0.5},
    contraction=lambda _, a: a - 1,
)


def _sprott_i(state: Tensor, a: Number) -> Rates:
    x, y, z = state
    return -a * y, x + z, x + y * y - z


SPROTT_I = Flow(
    name="sprott_i",
    rates=_sprott_i,
    start=(0.0536, 0.3393, 0.1369),
    scale=(0.172, 0.471, 0.171),
    step=0.1 / 2,
    interval=0.1,
    exponent=0.012,
    equation="x' = -a y; y' = x + z; z' = x + y² - z",
    source="Sprott, Phys. Rev. E 50 (1994) R647, case I",
    parameters={"a": 0.2},
    contraction=lambda _, **__: -1.0,
)


def _sprott_j(state: Tensor, a: Number) -> Rates:
    x, y, z = state
    return a * z, z - a * y, y - x + y * y


SPROTT_J = Flow(
    name="sprott_j",
    rates=_sprott_j,
    start=(25.26, 1.267, -3.772),
    scale=(8.73, 2.24, 5.49),
    step=0.05 / 2,
    interval=0.05,
    exponent=0.076,
    equation="x' = a z; y' = z - a y; z' = y - x + y²",
    source="Sprott, Phys. Rev. E 50 (1994) R647, case J",
    parameters={"a": 2.0},
    contraction=lambda _, a: -a,
)


def _sprott_k(state: Tensor, a: Number) -> Rates:
    x, y, z = state
    return x * y - z, x - y, x + a * z


SPROTT_K = Flow(
    name="sprott_k",
    rates=_sprott_k,
    start=(1.129, 0.7872, 0.9544),
    scale=(0.967, 0.696, 1.03),
    step=0.1 / 4,
    interval=0.1,
    exponent=0.038,
    equation="x' = x y - z; y' = x - y; z' = x + a z",
    source="Sprott, Phys. Rev. E 50 (1994) R647, case K",
    parameters={"a": 0.3},
    contraction=lambda s, a: s[1] - 1 + a,
)


def _sprott_l(state: Tensor, a: Number, b: Number) -> Rates:
    x, y, z = state
    return y + b * z, a * x * x - y, 1 - x


SPROTT_L = Flow(
    name="sprott_l",
    rates=_sprott_l,
    start=(5.241, 11.85, -2.231),
    scale=(4.37, 7.11, 2.87),
    step=0.05 / 3,
    interval=0.05,
    exponent=0.061,
    equation="x' = y + b z; y' = a x² - y; z' = 1 - x",
    source="Sprott, Phys. Rev. E 50 (1994) R647, case L",
    parameters={"a": 0.9, "b": 3.9},
    contraction=lambda _, **__: -1.0,
)


def _sprott_m(state: Tensor, a: Number) -> Rates:
    x, y, z = state
    return -z, -x * x - y, a + a * x + y


SPROTT_M = Flow(
    name="sprott_m",
    rates=_sprott_m,
    start=(0.874, -0.7888, -1.033),
    scale=(1.37, 1.26, 1.5),
    step=0.05 / 2,
    interval=0.05,
    exponent=0.044,
    equation="x' = -z; y' = -x² - y; z' = a + a x + y",
    source="Sprott, Phys. Rev. E 50 (1994) R647, case M",
    parameters={"a": 1.7},
    contraction=lambda _, **__: -1.0,
)


def _sprott_n(state: Tensor, a: Number) -> Rates:
    x, y, z = state
    return -a * y, x + z * z, 1 + y - a * z


SPROTT_N = Flow(
    name="sprott_n",
    rates=_sprott_n,
    start=(-13.02, -15.2, -3.363),
    scale=(8.77, 5.5, 2.24),
    step=0.05 / 2,
    interval=0.05,
    exponent=0.076,
    equation="x' = -a y; y' = x + z²; z' = 1 + y - a z",
    source="Sprott, Phys. Rev. E 50 (1994) R647, case N",
    parameters={"a": 2.0},
    contraction=lambda _, a: -a,
)


def _sprott_o(state: Tensor, a: Number) -> Rates:
    x, y, z = state
    return y, x - z, x + x * z + a * y


SPROTT_O = Flow(
    name="sprott_o",
    rates=_sprott_o,
    start=(-0.1706, -0.2279, -0.0461),
    scale=(0.284, 0.342, 0.711),
    step=0.05,
    interval=0.05,
    exponent=0.0545,
    equation="x' = y; y' = x - z; z' = x + x z + a y",
    source="Sprott, Phys. Rev. E 50 (1994) R647, case O",
    parameters={"a": 2.7},
    contraction=lambda s, **__: s[0],
)


def _sprott_p(state: Tensor, a: Number) -> Rates:
    x, y, z = state
    return a * y + z, y * y - x, x + y


SPROTT_P = Flow(
    name="sprott_p",
    rates=_sprott_p,
    start=(0.3184, -0.2507, 0.4855),
    scale=(0.543, 0.4, 0.561),
    step=0.05 / 2,
    interval=0.05,
    exponent=0.087,
    equation="x' = a y + z; y' = y² - x; z' = x + y",
    source="Sprott, Phys. Rev. E 50 (1994) R647, case P",
    parameters={"a": 2.7},
    contraction=lambda s, **__: 2 * s[1],
)


def _sprott_q(state: Tensor, a: Number, b: Number) -> Rates:
    x, y, z = state
    return -z, x - y, a * x + y * y + b * z


SPROTT_Q = Flow(
    name="sprott_q",
    rates=_sprott_q,
    start=(-4.988, -0.5049, 6.315),
    scale=(2.26, 1.41, 3.37),
    step=0.05 / 2,
    interval=0.05,
    exponent=0.109,
    equation="x' = -z; y' = x - y; z' = a x + y² + b z",
    source="Sprott, Phys. Rev. E 50 (1994) R647, case Q",
    parameters={"a": 3.1, "b": 0.5},
    contraction=lambda _, b, **__: b - 1,
)


def _sprott_r(state: Tensor, a: Number, b: Number) -> Rates:
    x, y, z = state
    return a - y, b + z, x * y - z


SPROTT_R = Flow(
    name="sprott_r",
    rates=_sprott_r,
    start=(1.391, 0.3185, 0.2266),
    scale=(2.04, 1.94, 2.5),
    step=0.05 / 3,
    interval=0.05,
    exponent=0.062,
    equation="x' = a - y; y' = b + z; z' = x y - z",
    source="Sprott, Phys. Rev. E 50 (1994) R647, case R",
    parameters={"a": 0.9, "b": 0.4},
    contraction=lambda _, **__: -1.0,
)


def _sprott_s(state: Tensor, a: Number) -> Rates:
    x, y, z = state
    return -x - a * y, x + z * z, 1 + x


SPROTT_S = Flow(
    name="sprott_s",
    rates=_sprott_s,
    start=(0.5248, -0.0161, 0.1271),
    scale=(1.44, 0.806, 0.846),
    step=0.05 / 2,
    interval=0.05,
    exponent=0.188,
    equation="x' = -x - a y; y' = x + z²; z' = 1 + x",
    source="Sprott, Phys. Rev. E 50 (1994) R647, case S",
    parameters={"a": 4.0},
    contraction=lambda _, **__: -1.0,
)


SPROTT = (
    SPROTT_A,
    SPROTT_B,
    SPROTT_C,
    SPROTT_D,
    SPROTT_E,
    SPROTT_F,
    SPROTT_G,
    SPROTT_H,
    SPROTT_I,
    SPROTT_J,
    SPROTT_K,
    SPROTT_L,
    SPROTT_M,
    SPROTT_N,
    SPROTT_O,
    SPROTT_P,
    SPROTT_Q,
    SPROTT_R,
    SPROTT_S,
)


__all__ = [
    "SPROTT",
    "SPROTT_A",
    "SPROTT_B",
    "SPROTT_C",
    "SPROTT_D",
    "SPROTT_E",
    "SPROTT_F",
    "SPROTT_G",
    "SPROTT_H",
    "SPROTT_I",
    "SPROTT_J",
    "SPROTT_K",
    "SPROTT_L",
    "SPROTT_M",
    "SPROTT_N",
    "SPROTT_O",
    "SPROTT_P",
    "SPROTT_Q",
    "SPROTT_R",
    "SPROTT_S",
]
