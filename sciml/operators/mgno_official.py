"""Reads the weights of the authors' Darcy classes (github.com/xlliu2017/MgNO, MIT licence) into `MgNO`.

Their names: `conv_list.i` is the cycle of layer i, with `layer{l}` the steps of level l before the coarser ones (from level 1
on it begins with the transfer Pi, R), `post_smooth_layer{l}` the steps after, and `RTlayers.l` the prolongation to level l;
`linear_list.i` is the pointwise term and `linear` the head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from torch import Tensor


class Arguments(TypedDict):
    """Constructor arguments of `MgNO` that the shapes of the weights tell."""

    in_channels: int
    out_channels: int
    width: int
    layers: int
    smoothing: list[tuple[int, int]]
    prolongation: list[int]


def convert(state: Mapping[str, Tensor]) -> tuple[Arguments, dict[str, Tensor]]:
    """Constructor arguments and `state_dict` of the equal `MgNO`.

    Raises:
        ValueError: a weight is missing, or one is there that has no place in the Darcy classes.
    """
    first, head = _get(state, "linear_list.0.weight"), _get(state, "linear.weight")
    for name, weight in (("linear.weight", head), ("linear_list.0.weight", first)):
        if weight.shape[2:] != (1, 1):
            raise ValueError(f"state: {name} has shape {tuple(weight.shape)}, need a 1x1 convolution over two dimensions")
    layers = _count(state, "linear_list.{}.weight")
    levels = _count(state, "conv_list.0.layer{}.0.S.weight", "conv_list.0.layer{}.0.R.weight")
    smoothing = [_smoothing(state, level) for level in range(levels)]
    weights: dict[str, Tensor] = {"head.weight": head[:, :, 0, 0]}
    for i in range(layers):
        weights[f"pointwise.{i}.weight"] = _get(state, f"linear_list.{i}.weight")[:, :, 0, 0]
        weights[f"pointwise.{i}.bias"] = _get(state, f"linear_list.{i}.bias")
        for ours, theirs in _cycle_names(smoothing).items():
            weights[f"cycles.{i}.{ours}"] = _get(state, f"conv_list.{i}.{theirs}")
    used = 1 + 2 * layers + layers * len(_cycle_names(smoothing))
    if used != len(state):
        raise ValueError(f"state: got {len(state)} entries, the MgNO_DC of these shapes has {used}; is it another class?")
    arguments = Arguments(
        in_channels=first.shape[1],
        out_channels=head.shape[0],
        width=head.shape[1],
        layers=layers,
        smoothing=smoothing,
        prolongation=[_get(state, f"conv_list.0.RTlayers.{level}.weight").shape[-1] for level in range(levels - 1)],
    )
    return arguments, weights


def _get(state: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in state:
        raise ValueError(f"state: has no {name}, need the state_dict of an MgNO_DC or MgNO_DC_smooth")
    return state[name]


def _count(state: Mapping[str, Tensor], *names: str) -> int:
    n = 0
    while any(name.format(n) in state for name in names):
        n += 1
    return n


def _smoothing(state: Mapping[str, Tensor], level: int) -> tuple[int, int]:
    before = sum(f"conv_list.0.layer{level}.{i}.S.weight" in state for i in range(100))
    after = sum(f"conv_list.0.post_smooth_layer{level}.{i}.S.weight" in state for i in range(100))
    return before, after


def _cycle_names(smoothing: list[tuple[int, int]]) -> dict[str, str]:
    names: dict[str, str] = {}
    for level, (before, after) in enumerate(smoothing):
        transfer = int(level > 0)  # the transfer takes place 0 of their list
        if transfer:
            names[f"levels.{level - 1}.transfer.restrict_solution.weight"] = f"layer{level}.0.Pi.weight"
            names[f"levels.{level - 1}.transfer.restrict_source.weight"] = f"layer{level}.0.R.weight"
            names[f"levels.{level - 1}.transfer.prolong.weight"] = f"RTlayers.{level - 1}.weight"
        for i in range(before):
            names[f"levels.{level}.before.steps.{i}.smooth.weight"] = f"layer{level}.{i + transfer}.S.weight"
            if level or i:
                names[f"levels.{level}.before.steps.{i}.apply_operator.weight"] = f"layer{level}.{i + transfer}.A.weight"
        for i in range(after):
            names[f"levels.{level}.after.steps.{i}.smooth.weight"] = f"post_smooth_layer{level}.{i}.S.weight"
            names[f"levels.{level}.after.steps.{i}.apply_operator.weight"] = f"post_smooth_layer{level}.{i}.A.weight"
    return names
