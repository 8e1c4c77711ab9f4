"""Every number that a preset or a law takes either makes a problem, or is refused in one line that names it."""

import importlib
import inspect
import math
import pkgutil
import warnings
from dataclasses import fields, is_dataclass, replace
from functools import cache, partial
from types import UnionType
from typing import Union, get_args, get_origin, get_type_hints

import pytest

import sciml.problems
from sciml.numerics.domain import Domain
from sciml.numerics.random_fields import Seeds
from sciml.problems.flows.named import FLOWS
from sciml.problems.problem import Problem

BAD = {int: (0, -1, 10**12), float: (0.0, -1.0, 1e-300, math.nan, math.inf, -math.inf, 1e300, -1e300)}
NEEDED = {
    "advection_deeponet.advection_chebyshev": {"case": "III"},
    "advection_deeponet.published": {"case": "III"},
    "chaotic_flows.flow": {"name": "lorenz"},
    "chaotic_flows.series_of": {"system": FLOWS["lorenz"]},
    "kolmogorov_flow.kolmogorov_flow": {"reynolds": 100.0, "duration": 1.0, "frames": 2, "step": 0.01},
    "navier_stokes.published": {"viscosity": 1e-3},
}
OTHER_NAMES = {"mean": "spread", "conductance_modes": "modes"}  # of what a bad value of the first one makes impossible


def line(sides, layout="both_ends", points=100):
    return Domain.box((1.0,), (points,), sides, layout)


def square(sides, layout, points=24):
    return Domain.box((1.0, 1.0), (points, points), sides, layout)


DOMAINS = {
    "advection": line("periodic", "first_end"),
    "burgers": line("periodic", "first_end"),
    "chaotic_flows": Domain(()),
    "lorenz96": Domain(()),
    "mackey_glass": Domain(()),
    "kuramoto_sivashinsky": Domain.box((64.0,), (192,), "periodic", "first_end"),
    "darcy": square("dirichlet", "both_ends"),
    "darcy_line": line("dirichlet"),
    "diffusion_reaction": line("periodic", "cells"),
    "fitzhugh_nagumo": square("neumann", "cells"),
    "heat": square("dirichlet", "both_ends", 48),
    "helmholtz": square("neumann", "both_ends"),
    "kolmogorov_flow": square("periodic", "first_end"),
    "navier_stokes": square("periodic", "first_end"),
    "poisson": square("neumann", "cells"),
    "shallow_water": square("open", "cells"),
    "wave": square("neumann", "cells", 48),
}


@cache
def presets():
    """By "module.name", every function of a module of problems that returns one."""
    found = {}
    for module in pkgutil.iter_modules(sciml.problems.__path__):
        loaded = importlib.import_module(f"sciml.problems.{module.name}")
        for name, made in inspect.getmembers(loaded, inspect.isfunction):
            returned = get_type_hints(inspect.unwrap(made)).get("return")
            if (
                made.__module__ == loaded.__name__
                and name[0] != "_"
                and inspect.isclass(returned)
                and issubclass(returned, Problem)
            ):
                found[f"{module.name}.{name}"] = made
    return found


def kind_of_number(hint):
    """int or float, also where None may stand for it; else None."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return next((kind for kind in (int, float) if kind in kinds), None)


def numbers_of_presets():
    for name, made in presets().items():
        for parameter, hint in get_type_hints(inspect.unwrap(made)).items():
            for value in BAD.get(kind_of_number(hint), ()) if parameter != "return" else ():
                yield pytest.param(name, parameter, value, id=f"{name}({parameter}={value})")


def parts(whole):
    """The frozen dataclass and all that it holds, with a function that puts another in its place."""
    yield whole, lambda part: part
    for field in fields(whole):
        held = getattr(whole, field.name)
        if field.init and is_dataclass(held):
            for part, put in parts(held):
                yield part, lambda new, name=field.name, put=put: replace(whole, **{name: put(new)})


def with_number(part, put, name, value):
    return put(replace(part, **{name: value}))


def refused_or_drawn(module, parameter, make):
    message, drawn = "", {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            drawn = make().draw(DOMAINS.get(module, line("open")), Seeds(1, range(2)))
    except ValueError as error:
        message = str(error)
    assert all(values.isfinite().all() for values in drawn.values())
    if not message:
        return False
    assert "\n" not in message
    assert parameter in message or OTHER_NAMES.get(parameter, parameter) in message, message
    return True


@pytest.mark.parametrize(("preset", "parameter", "value"), list(numbers_of_presets()))
def test_a_number_of_a_preset_makes_a_problem_or_is_refused_by_name(preset, parameter, value):
    arguments = NEEDED.get(preset, {}) | {parameter: value}
    refused = refused_or_drawn(preset.split(".")[0], parameter, lambda: presets()[preset](**arguments))
    assert refused or (math.isfinite(value) and value != 10**12)


@pytest.mark.parametrize("preset", list(presets()))
def test_a_number_of_a_law_or_a_problem_makes_a_problem_or_is_refused_by_name(preset):
    problem = presets()[preset](**NEEDED.get(preset, {}))
    for part, put in parts(problem):
        hints = get_type_hints(type(part))
        for field in fields(part):
            ours = field.init and field.name != "halvings" and (part is not problem or field.name != "tolerance")
            for value in BAD.get(kind_of_number(hints[field.name]), ()) if ours else ():
                changed = partial(with_number, part, put, field.name, value)
                refused = refused_or_drawn(preset.split(".")[0], field.name, changed)
                assert refused or (math.isfinite(value) and value != 10**12), field.name


@pytest.mark.parametrize("times", [(), (0.0,), (0.0, 0.0), (0.0, 2.0, 1.0), (0.0, math.nan), (math.nan, 1.0), (0.0, math.inf)])
@pytest.mark.parametrize("preset", list(presets()))
def test_times_that_do_not_grow_are_refused(preset, times):
    problem = presets()[preset](**NEEDED.get(preset, {}))
    if getattr(problem, "times", ()):
        with pytest.raises(ValueError, match="times: got"):
            replace(problem, times=times)
