"""Whether a shard says of itself what its card and its problem say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import h5py
import numpy as np

from sciml.data.layout import stored_dims
from sciml.data.manifest import Manifest
from sciml.data.variables import Description, coordinate_names
from sciml.generation.card import Card
from sciml.generation.plan import Shard
from sciml.generation.samples import attributes_of
from sciml.problems.problem import Problem


def schema_faults(
    path: Path, described: Description, card: Card, problem: Problem | None, shard: Shard, manifest: Manifest
) -> list[str]:
    """What is wrong with manifest entries, attributes, variables, dimensions and coordinates; one line each."""
    place = {
        "file": path.name,
        "split": shard.split,
        "shard": shard.number,
        "shards": shard.shards,
        "first_sample": shard.samples.start,
        "samples": len(shard.samples),
        "complete": 1,
    }
    found = [
        f"its manifest says {key} = {manifest.get(key)!r}, this file must have {value!r}"
        for key, value in place.items()
        if manifest.get(key) != value
    ]
    found += _attribute_faults(described, card, problem, shard, manifest)
    if described.samples != len(shard.samples):
        return [*found, f"holds {described.samples} samples, its card asks for {len(shard.samples)}"]
    return found + _variable_faults(described, card, problem) + _coordinate_faults(path, described, card, shard)


def _attribute_faults(
    described: Description, card: Card, problem: Problem | None, shard: Shard, manifest: Manifest
) -> list[str]:
    wanted = attributes_of(card, problem, shard) | {
        **({"domain": json.dumps(card.stored_domain.to_dict())} if card.domain.dim else {}),
        "complete": 1,
        "code_version": str(manifest.get("code_version")),
    }
    return [
        f"attribute {key} is {described.attributes.get(key)!r}, need {value!r}"
        for key, value in wanted.items()
        if described.attributes.get(key) != value
    ]


def _variable_faults(described: Description, card: Card, problem: Problem | None) -> list[str]:
    found = [
        f"variable {name} is stored as {info.dtype}, its card says {card.storage.dtype}"
        for name, info in described.variables.items()
        if str(info.dtype) != f"torch.{card.storage.dtype}"
    ]
    if problem is None:
        return found
    wanted, there = problem.variables(), described.variables
    if list(wanted) != list(there):
        return [*found, f"holds variables {', '.join(there)}, the problem has {', '.join(wanted)}"]
    for name, variable in wanted.items():
        for key in ("role", "units", "long_name"):
            if getattr(there[name], key) != getattr(variable, key):
                found.append(f"variable {name} has {key} {getattr(there[name], key)!r}, need {getattr(variable, key)!r}")
    return found


def _coordinate_faults(path: Path, described: Description, card: Card, shard: Shard) -> list[str]:
    domain = card.stored_domain
    wanted = {"sample": np.arange(shard.samples.start, shard.samples.stop)}
    axes = coordinate_names(described.variables, domain.dim)
    wanted |= {name: points.numpy() for name, points in zip(axes, domain.coordinates(), strict=True)}
    found: list[str] = []
    with h5py.File(path, "r") as file:
        for name, values in wanted.items():
            if name not in file or not np.array_equal(np.asarray(cast(h5py.Dataset, file[name])), values):
                found.append(f"coordinate {name} is missing or not that of the card")
        for name, info in described.variables.items():
            scales = [
                [str(scale.name).removeprefix("/") for scale in axis.values()] for axis in cast(h5py.Dataset, file[name]).dims
            ]
            dims = stored_dims(info, described.variables)
            if scales != [[dim] for dim in dims]:
                found.append(f"variable {name} has dimensions {scales}, need {dims}")
    return found


__all__ = ["schema_faults"]
