"""The authors' classes: their formulas written down here, by the names of their weights, against what is loaded from these."""

import pytest
import torch
from torch.nn import functional

from sciml.operators.mgno import MgNO
from sciml.operators.mgno.published import PublishedMgNO
from sciml.training.checkpoint import load, save

BACKSLASH = ((1, 0), (1, 0), (1, 0), (2, 0))
V_CYCLE = ((2, 1), (1, 1), (1, 0), (2, 0))
CASES = {
    "navier_stokes": PublishedMgNO(
        "navier_stokes",
        1,
        width=4,
        layers=2,
        smoothing=V_CYCLE,
        prolongation=(4,) * 3,
        stencil_bias=True,
        last="matrix",
        points=32,
    ),
    "navier_stokes without bias": PublishedMgNO(
        "navier_stokes",
        1,
        width=4,
        layers=2,
        smoothing=BACKSLASH,
        prolongation=(4,) * 3,
        stencil_bias=False,
        last="matrix",
        points=16,
    ),
    "helmholtz": PublishedMgNO(
        "helmholtz",
        2,
        width=3,
        layers=2,
        smoothing=BACKSLASH,
        prolongation=(3, 4, 4),
        stencil_bias=True,
        last="cycle",
        points=101,
    ),
    "helmholtz_2": PublishedMgNO(
        "helmholtz_2",
        1,
        width=4,
        layers=2,
        smoothing=V_CYCLE,
        prolongation=(3, 4, 4),
        stencil_bias=False,
        last="matrix_with_bias",
        points=101,
    ),
    "helmholtz_2 with a cycle": PublishedMgNO(
        "helmholtz_2",
        1,
        width=4,
        layers=1,
        smoothing=V_CYCLE,
        prolongation=(3, 4, 4),
        stencil_bias=False,
        last="cycle",
        points=101,
    ),
}


def randomised(name):
    """Weights of the authors' class, none of them zero or one."""
    torch.manual_seed(0)
    state = CASES[name].to_official()
    return {key: (w.double() + 0.1 * torch.randn(w.shape, dtype=torch.float64)) for key, w in state.items()}


def stencil(state, name, u, mode):
    padded = functional.pad(u, (1, 1, 1, 1), mode=mode)
    return functional.conv2d(padded, state[f"{name}.weight"], state.get(f"{name}.bias"))


def cycle(state, prefix, f, mode, normalise):
    """Down: (Pi u, R f); up: u + P u_coarse, then a normalisation, then the steps after. Transfers of the Helmholtz classes
    (reflecting stencils) have no padding; prolongations never have ghost points."""
    u, stored, level = None, [], 0
    while any(name.startswith(f"{prefix}layer{level}.") for name in state):
        first = 0
        if level:
            for which in ("Pi", "R"):
                weight = state[f"{prefix}layer{level}.0.{which}.weight"]
                values = u if which == "Pi" else f
                padded = functional.pad(values, (1, 1, 1, 1), mode=mode) if mode == "circular" else values
                result = functional.conv2d(padded, weight, stride=2)
                u, f = (result, f) if which == "Pi" else (u, result)
            first = 1
        i = first
        while f"{prefix}layer{level}.{i}.S.weight" in state:
            step = f"{prefix}layer{level}.{i}"
            source = f if u is None else f - stencil(state, f"{step}.A", u, mode)
            u = stencil(state, f"{step}.S", source, mode) + (0 if u is None else u)
            i += 1
        stored.append((u, f))
        level += 1
    for level in reversed(range(len(stored) - 1)):
        fine, f = stored[level]
        weight = state[f"{prefix}RTlayers.{level}.weight"]
        u = fine + functional.conv_transpose2d(u, weight, stride=2, padding=1 if mode == "circular" else 0)
        if normalise:
            names = [f"{prefix}norm_layer_list.{level}.{leaf}" for leaf in ("weight", "bias")]
            u = functional.layer_norm(u, u.shape[1:], *[state.get(name) for name in names])
        i = 0
        while f"{prefix}post_smooth_layer{level}.{i}.S.weight" in state:
            step = f"{prefix}post_smooth_layer{level}.{i}"
            u = u + stencil(state, f"{step}.S", f - stencil(state, f"{step}.A", u, mode), mode)
            i += 1
    return u


def formula(kind, state, given):
    u, mode, i = given, "circular" if kind == "navier_stokes" else "reflect", 0
    while f"conv_list.{i}.layer0.0.S.weight" in state:
        u = cycle(state, f"conv_list.{i}.", u, mode, normalise=kind != "helmholtz")
        if kind == "helmholtz":
            u = functional.layer_norm(u, u.shape[1:], *[state[f"norm_layer_list.{i}.{leaf}"] for leaf in ("weight", "bias")])
        u = functional.gelu(u)
        i += 1
    head = "mlp" if kind == "helmholtz_2" else "last_layer"
    if f"{head}.weight" in state:
        u = functional.conv2d(u, state[f"{head}.weight"], state.get(f"{head}.bias"))
    else:
        u = cycle(state, f"{head}.", u, mode, normalise=kind != "helmholtz")
    return u + given if kind == "navier_stokes" else u


@pytest.mark.parametrize("name", CASES)
def test_published_weights_give_the_documented_formula(name, tmp_path):
    kind, state = name.split()[0], randomised(name)
    model = MgNO.from_official(state, kind)
    points = CASES[name].points
    u = torch.randn(2, CASES[name].in_channels, points, points, dtype=torch.float64)
    expected = formula(kind, state, u)
    assert (model(u) - expected).norm() <= 1e-12 * expected.norm()
    back = model.to_official()
    assert set(back) == set(state)
    assert all(torch.equal(back[key], w) for key, w in state.items() if ".layer0.0.A." not in key)
    save(tmp_path / "model.pt", model, domain=None, inputs=(), targets=())
    assert torch.equal(load(tmp_path / "model.pt").double()(u), model(u))


@pytest.mark.parametrize("name", ["navier_stokes", "helmholtz", "helmholtz_2"])
def test_layer_norm_ties_a_published_model_to_its_grid_and_makes_it_nonlinear(name):
    model = MgNO.from_official(randomised(name), name)
    points = CASES[name].points
    with pytest.raises(ValueError, match="LayerNorm ties this model to its grid"):
        model(torch.zeros(1, CASES[name].in_channels, points + 1, points, dtype=torch.float64))
    if name != "helmholtz":  # which has it after the cycle
        u = torch.randn(1, CASES[name].in_channels, points, points, dtype=torch.float64)
        apply = lambda f: model.cycles[0](f, model.grids)  # noqa: E731
        assert (apply(2 * u) - 2 * apply(u)).norm() > 0.1 * apply(u).norm()


@pytest.mark.parametrize(
    ("kind", "layers", "smoothing", "last", "width", "count"),
    [
        ("navier_stokes", 5, ((1, 0),) * 3 + ((2, 0),) * 2, "matrix", 32, 2_885_194),
        ("helmholtz", 4, ((1, 0),) * 4 + ((2, 0),), "cycle", 20, 5_351_806),
    ],
)
def test_published_sizes_have_the_counted_numbers_of_parameters(kind, layers, smoothing, last, width, count):
    points, widths = (64, (4,) * 4) if kind == "navier_stokes" else (101, (3, 4, 4, 3))
    arguments = {"width": width, "layers": layers, "smoothing": smoothing, "prolongation": widths}
    model = PublishedMgNO(kind, 1, **arguments, stencil_bias=True, last=last, points=points)
    assert sum(w.numel() for w in model.to_official().values()) == count


def test_weights_of_another_class_are_refused():
    state = randomised("helmholtz")
    with pytest.raises(ValueError, match="need the state_dict of an MgNO_NS"):
        MgNO.from_official({key: w for key, w in state.items() if "last_layer" not in key}, "navier_stokes")
    with pytest.raises(ValueError, match="kind: got 'pipe', need one of darcy"):
        MgNO.from_official(state, "pipe")
    with pytest.raises(ValueError, match="has no place in an MgNO_helm2"):
        MgNO.from_official(randomised("helmholtz_2") | {"extra": torch.ones(1)}, "helmholtz_2")
    with pytest.raises(ValueError, match="tied to their grid"):
        MgNO.from_official(state, "helmholtz", domain=MgNO(1, 1, width=2, layers=1, domain=line()).domain)


def line():
    from sciml.numerics.domain import Domain

    return Domain.box((1.0,), (16,), "periodic")


def test_what_the_authors_class_cannot_express_is_refused():
    with pytest.raises(ValueError, match="cycle: got 'residual', the authors' class can only express 'official'"):
        MgNO(1, 1, width=2, layers=1, domain=line(), cycle="residual").to_official()
    with pytest.raises(ValueError, match="two dimensions and open sides"):
        MgNO(1, 1, width=2, layers=1, domain=line()).to_official()
