"""What The Well cannot say of a set, in one attribute of its files, so that a set written as The Well comes back as it was.

The Well has no roles, no units, no conditions but periodic, wall and open, and only scalars, vectors and tensors: a variable of
other channels is several scalar fields there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sciml.data.assemble import channels_of
from sciml.data.variables import Description, Given, Source, VariableInfo
from sciml.numerics.domain import Domain

ATTRIBUTE = "sciml"
"""Of the root of a file."""


@dataclass(frozen=True)
class Kept:
    """A variable that is stored under other names.

    Args:
        info: as it was.
        parts: names of the fields or scalars whose channels, one after the other, are its own.
    """

    info: VariableInfo
    parts: tuple[str, ...]


def told(variables: Sequence[Kept], domain: Domain | None, *, times: bool) -> str:
    """The text of the attribute.

    Args:
        times: whether the times are known; The Well needs some in any case.
    """
    listed = [
        {"name": v.info.name, "role": v.info.role, "units": v.info.units, "long_name": v.info.long_name, "parts": v.parts}
        for v in variables
    ]
    return json.dumps({"variables": listed, "domain": None if domain is None else domain.to_dict(), "times": times})


def restored(found: Description, text: object) -> Description:
    """A set as it was before it was written as The Well.

    Args:
        found: what any file of The Well is taken for.
        text: of the attribute.
    Returns:
        `found` itself with a note where the attribute cannot be read or contradicts the file.
    """
    try:
        return _restored(found, json.loads(str(text)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        why = f"attribute {ATTRIBUTE} contradicts the file ({error}); roles, units and domain are those of any file of The Well"
        return replace(found, notes=(*found.notes, " ".join(why.split())))


def _restored(found: Description, said: Mapping[str, object]) -> Description:
    variables: dict[str, VariableInfo] = {}
    sources: dict[str, tuple[Source | Given, ...]] = {}
    used: set[str] = set()
    listed, domain = said["variables"], found.domain
    if not isinstance(listed, list):
        raise ValueError(f"variables are {str(listed)[:60]}")
    for one in listed:
        parts = [str(part) for part in one["parts"]]
        if missing := [part for part in parts if part not in found.variables or part in used]:
            raise ValueError(f"{one['name']} is made of {missing[0]}, which is not there or is part of another")
        used.update(parts)
        first = found.variables[parts[0]]
        alike = {(v.dtype, v.steps, v.grid, v.particles) for v in (found.variables[part] for part in parts)}
        if len(alike) > 1:
            raise ValueError(f"the parts of {one['name']} differ in type or shape")
        name = str(one["name"])
        sources[name] = tuple(source for part in parts for source in found.sources[part])
        channels = sum(channels_of(source, found.arrays) for source in sources[name])
        shape = (channels, *first.shape[1:])
        variables[name] = VariableInfo(
            name, one["role"], str(one["units"]), str(one["long_name"]), shape, first.dtype, first.steps
        )
    for name, info in found.variables.items():
        if name not in used:
            if name in variables:
                raise ValueError(f"two variables are called {name}")
            variables[name], sources[name] = info, found.sources[name]
    if said["domain"] is not None:
        domain = Domain.from_dict(said["domain"])  # pyright: ignore[reportArgumentType]
        if found.domain is not None and domain.shape != found.domain.shape:
            raise ValueError(f"its domain has {domain.shape} points, the file {found.domain.shape}")
    attributes = {key: value for key, value in found.attributes.items() if key != ATTRIBUTE}
    times = found.times if said["times"] else None
    return replace(found, variables=variables, sources=sources, domain=domain, attributes=attributes, times=times)


__all__ = ["ATTRIBUTE", "Kept", "restored", "told"]
