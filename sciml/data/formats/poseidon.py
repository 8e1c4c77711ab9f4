"""The `.nc` files of Poseidon (Herde et al. 2024), which are plain HDF5: one to two arrays at the root, axes by convention.

`velocity` (sample, time, channel, x, y), two components and maybe a tracer; `data` (sample, time, channel, x, y), density, two
velocities, pressure and maybe more; `solution` (sample, time, channel, x, y) of other flows, or (sample, time, x, y) of waves
and reactions, the former with the speed `c` (sample, x, y); `source` and `solution` (sample, x, y) of Poisson's equation. Of a
`solution` (sample, 2, x, y) the first field is given and the second asked for (airfoils).
"""

from __future__ import annotations

from dataclasses import replace

from sciml.data.formats.axes import Stored, array_of, sizes, stored
from sciml.data.storage.files import StoredFile
from sciml.data.storage.reading import read_by_hdf5 as read
from sciml.data.variables import Description, Source

_LAYOUTS = (  # names of the arrays, how many axes the first has
    ({"velocity"}, 5),
    ({"data"}, 5),
    ({"solution"}, 5),
    ({"solution"}, 4),
    ({"solution", "c"}, 4),
    ({"source", "solution"}, 3),
)
_WORDS = {
    "velocity": "velocity, and a tracer where there is a third channel",
    "data": "density, velocity along x and y, pressure, and more where there are more channels",
    "solution": "solution",
    "c": "speed of waves",
    "source": "source term",
}


def recognises(file: StoredFile) -> bool:
    """Whether it is called `.nc`, is HDF5, and holds the arrays of one of the layouts and no others.

    Raises:
        OSError: it begins as HDF5 does and HDF5 cannot read it.
    """
    if file.path.suffix != ".nc" or not file.is_hdf5:
        return False
    names = _names(file)
    axes = max((len(file.hdf5.arrays[name].shape) for name in names), default=0)
    return (names, axes) in _LAYOUTS


def splits(file: StoredFile) -> tuple[str, ...]:
    """None: a file holds one thing; the published splits are ranges of its samples."""
    return ()


def describe(file: StoredFile, split: str | None = None) -> Description:
    """Everything but the fields.

    Raises:
        ValueError: shapes contradict each other.
        OSError: HDF5 cannot read it.
    """
    found = _fields(file)
    if not found:
        raise ValueError(f"{file.path}: holds {', '.join(sorted(_names(file))) or 'nothing'}, need arrays of Poseidon")
    lengths = sizes(file, found)
    notes = [
        "the file does not say what its axes are; they are taken as " + ", ".join(next(iter(found.values())).source.axes),
        "the file does not say on which grid its fields lie; give `domain` where that matters",
    ]
    if "time" in lengths:
        notes.append("the file does not say its times")
    return Description(
        {name: variable.info for name, variable in found.items()},
        lengths["sample"],
        None,
        dict(file.attributes()),
        arrays={variable.array.name: variable.array for variable in found.values()},
        sources={name: (variable.source,) for name, variable in found.items()},
        notes=tuple(notes),
    )


def _names(file: StoredFile) -> set[str]:
    """Arrays at the root; dimensions of netCDF that have no values are none."""
    tree = file.hdf5
    return {name for name in tree.arrays if "/" not in name and not _is_bare_dimension(file, name)}


def _is_bare_dimension(file: StoredFile, name: str) -> bool:
    said = str(file.attributes(name).get("NAME", ""))
    return said.startswith("This is a netCDF dimension but not a netCDF variable")


def _fields(file: StoredFile) -> dict[str, Stored]:
    names = _names(file)
    arrays = {name: array_of(file, name) for name in sorted(names)}
    still, moving = ("sample", "x", "y"), ("sample", "time", "x", "y")

    def field(name: str, axes: tuple[str, ...], role: str) -> Stored:
        return stored(file, name, [arrays[name]], axes, role, long_name=_WORDS[name])  # pyright: ignore[reportArgumentType]

    if "source" in names:
        return {"source": field("source", still, "input"), "solution": field("solution", still, "target")}
    if "c" in names:
        return {"solution": field("solution", moving, "state"), "c": field("c", still, "coefficient")}
    name = next((name for name in ("velocity", "data", "solution") if name in names), "")
    if not name:
        return {}
    if len(arrays[name].shape) == 5:
        return {name: field(name, ("sample", "time", "channel", "x", "y"), "state")}
    if arrays[name].shape[1:2] != (2,):
        return {name: field(name, moving, "state")}
    both = field(name, ("sample", "channel", "x", "y"), "input")
    pair = {}
    for channel, (name, role, words) in enumerate((("shape", "input", "shape"), ("solution", "target", "solution"))):
        info = replace(both.info, name=name, role=role, long_name=words, shape=(1, *both.info.shape[1:]))
        source = Source(both.source.arrays, both.source.axes, slice(channel, channel + 1))
        pair[name] = Stored(info, source, both.array)
    return pair


__all__ = ["describe", "read", "recognises", "splits"]
