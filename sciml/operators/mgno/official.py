"""The authors' weights (github.com/xlliu2017/MgNO, MIT licence) under the names of this package, and back.

Their names: `conv_list.i` is the cycle of layer i, with `layer{l}` the steps of level l before the coarser ones (from level 1
on it begins with the transfer Pi, R), `post_smooth_layer{l}` the steps after, `RTlayers.l` the prolongation to level l and
`norm_layer_list.l` the normalisation after it; `linear_list.i` is the pointwise term of a layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

Kind = Literal["darcy", "darcy_smooth", "navier_stokes", "helmholtz", "helmholtz_2"]
Head = Literal["matrix", "matrix_with_bias", "cycle"]


@dataclass(frozen=True)
class Class:
    """What one of their classes is made of, beside a cycle per layer.

    Args:
        head: name of their last layer.
        pointwise: whether a layer has a pointwise term.
        norms: where LayerNorm stands: nowhere, after every prolongation (with weights on all levels or on the finest), or after
            the cycle of a layer.
        growing: whether channels grow with the level.
    """

    name: str
    head: str
    pointwise: bool = False
    norms: Literal["none", "prolongations", "finest_prolongation", "layer"] = "none"
    growing: bool = False


CLASSES: dict[Kind, Class] = {
    "darcy": Class("MgNO_DC", "linear", pointwise=True),
    "darcy_smooth": Class("MgNO_DC_smooth", "linear", pointwise=True),
    "navier_stokes": Class("MgNO_NS", "last_layer", norms="prolongations"),
    "helmholtz": Class("MgNO_helm", "last_layer", norms="layer", growing=True),
    "helmholtz_2": Class("MgNO_helm2", "mlp", norms="finest_prolongation"),
}


@dataclass(frozen=True)
class Facts:
    """What the weights of a model tell of it."""

    kind: Kind
    in_channels: int
    width: int
    layers: int
    smoothing: tuple[tuple[int, int], ...]
    prolongation: tuple[int, ...]
    stencil_bias: bool
    head: Head


def read(state: Mapping[str, Tensor], kind: str) -> tuple[Facts, dict[str, Tensor]]:
    """What `state` holds, and the `state_dict` of the equal model of this package.

    Raises:
        ValueError: an unknown kind, a weight that is missing, or one that has no place in a model of this kind.
    """
    facts = _facts(state, kind)
    weights, used = {}, set(_dead(facts))
    for ours, theirs in _names(facts):
        weight = _get(state, theirs, facts.kind)
        used.add(theirs)
        if ours.endswith("head.weight") or ours.startswith("pointwise."):
            if weight.ndim > 2 and weight.shape[2:] != (1, 1):
                raise ValueError(f"state: {theirs} has shape {tuple(weight.shape)}, need a 1x1 convolution over two dimensions")
            weight = weight.flatten(1) if weight.ndim > 1 else weight
        weights[ours] = weight
    unread = f".post_smooth_layer{len(facts.smoothing) - 1}."  # their up pass begins above the coarsest level
    if left := sorted(name for name in set(state) - used if unread not in name):
        raise ValueError(f"state: {left[0]} has no place in an {CLASSES[facts.kind].name}; is it another class?")
    return facts, weights


def write(weights: Mapping[str, Tensor], facts: Facts) -> dict[str, Tensor]:
    """The inverse of `read`: a `state_dict` for the authors' class."""
    state = {}
    for ours, theirs in _names(facts):
        matrix = ours.endswith("head.weight") or (ours.startswith("pointwise.") and ours.endswith(".weight"))
        state[theirs] = (weights[ours][:, :, None, None] if matrix else weights[ours]).detach().clone()
    for name in _dead(facts):  # they hold an operator that nothing reads
        smooth = state[name.replace(".A.", ".S.").replace(".bias", ".weight")]
        sources, channels = smooth.shape[1], smooth.shape[0]
        state[name] = smooth.new_zeros(sources) if name.endswith("bias") else smooth.new_zeros(sources, channels, 3, 3)
    return state


def _facts(state: Mapping[str, Tensor], kind: str) -> Facts:
    if kind not in CLASSES:
        raise ValueError(f"kind: got {kind!r}, need one of {', '.join(CLASSES)}")
    theirs = CLASSES[kind]
    levels = _count(state, "conv_list.0.layer{}.0.S.weight", "conv_list.0.layer{}.0.R.weight")
    first = _get(state, "conv_list.0.layer0.0.S.weight", kind)
    head: Head = "cycle" if f"{theirs.head}.layer0.0.S.weight" in state else "matrix"
    if head == "matrix" and f"{theirs.head}.bias" in state:
        head = "matrix_with_bias"
    return Facts(
        kind=kind,
        in_channels=first.shape[1],
        width=first.shape[0],
        layers=_count(state, "conv_list.{}.layer0.0.S.weight"),
        smoothing=tuple(_steps(state, level) for level in range(levels)),
        prolongation=tuple(_get(state, f"conv_list.0.RTlayers.{level}.weight", kind).shape[-1] for level in range(levels - 1)),
        stencil_bias="conv_list.0.layer0.0.S.bias" in state,
        head=head,
    )


def _get(state: Mapping[str, Tensor], name: str, kind: Kind) -> Tensor:
    if name not in state:
        raise ValueError(f"state: has no {name}, need the state_dict of an {CLASSES[kind].name}")
    return state[name]


def _count(state: Mapping[str, Tensor], *names: str) -> int:
    n = 0
    while any(name.format(n) in state for name in names):
        n += 1
    return n


def _steps(state: Mapping[str, Tensor], level: int) -> tuple[int, int]:
    before = sum(f"conv_list.0.layer{level}.{i}.S.weight" in state for i in range(100))
    coarsest = f"conv_list.0.RTlayers.{level}.weight" not in state
    return before, 0 if coarsest else _count(state, f"conv_list.0.post_smooth_layer{level}.{{}}.S.weight")


def _names(facts: Facts) -> Iterator[tuple[str, str]]:
    """(ours, theirs) of every weight."""
    theirs = CLASSES[facts.kind]
    for i in range(facts.layers):
        yield from _names_of_cycle(facts, f"cycles.{i}.", f"conv_list.{i}.")
        for leaf in ("weight", "bias"):
            if theirs.pointwise:
                yield f"pointwise.{i}.{leaf}", f"linear_list.{i}.{leaf}"
            if theirs.norms == "layer":
                yield f"norms.{i}.{leaf}", f"norm_layer_list.{i}.{leaf}"
    if facts.head == "cycle":
        yield from _names_of_cycle(facts, "head.", f"{theirs.head}.")
        return
    yield "head.weight", f"{theirs.head}.weight"
    if facts.head == "matrix_with_bias":
        yield "head.bias", f"{theirs.head}.bias"


def _names_of_cycle(facts: Facts, ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    leaves = ("weight", "bias") if facts.stencil_bias else ("weight",)
    norms = {"prolongations": len(facts.smoothing), "finest_prolongation": 1}.get(CLASSES[facts.kind].norms, 0)
    for level, (before, after) in enumerate(facts.smoothing):
        if level:
            transfer = f"{ours}levels.{level - 1}.transfer."
            yield f"{transfer}restrict_solution.weight", f"{theirs}layer{level}.0.Pi.weight"
            yield f"{transfer}restrict_source.weight", f"{theirs}layer{level}.0.R.weight"
            yield f"{transfer}prolong.weight", f"{theirs}RTlayers.{level - 1}.weight"
            if level <= norms:
                for leaf in ("weight", "bias"):
                    yield f"{transfer}normalise.{leaf}", f"{theirs}norm_layer_list.{level - 1}.{leaf}"
        places = [(f"before.steps.{i}", f"layer{level}.{i + (level > 0)}") for i in range(before)]  # transfers come first
        places += [(f"after.steps.{i}", f"post_smooth_layer{level}.{i}") for i in range(after)]
        for our_step, their_step in places:
            for leaf in leaves:
                yield f"{ours}levels.{level}.{our_step}.smooth.{leaf}", f"{theirs}{their_step}.S.{leaf}"
                if their_step != "layer0.0":
                    yield f"{ours}levels.{level}.{our_step}.apply_operator.{leaf}", f"{theirs}{their_step}.A.{leaf}"


def _dead(facts: Facts) -> list[str]:
    """Names of the A of first steps that start from zero, which one class holds and never reads."""
    if facts.kind != "helmholtz":
        return []
    places = [f"conv_list.{i}." for i in range(facts.layers)] + ["last_layer."]
    return [f"{place}layer0.0.A.{leaf}" for place in places for leaf in ("weight", "bias")]


def load(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put `weights` into `model`, which takes their precision.

    Raises:
        ValueError: shapes differ.
    """
    own_state = model.state_dict()
    if other := sorted({*weights} ^ {*own_state}):
        raise ValueError(f"state: {other[0]} is not in both, the weights and the model; is it another class?")
    for name, own in own_state.items():
        if own.shape != weights[name].shape:
            got, need = tuple(weights[name].shape), tuple(own.shape)
            raise ValueError(f"state: {name} would get shape {got}, need {need}; is it another class?")
    model.to(next(iter(weights.values())).dtype).load_state_dict(dict(weights))


__all__ = ["CLASSES", "Class", "Facts", "Head", "Kind", "load", "read", "write"]
