"""H5MD 1.1, particles in HDF5 (de Buyl, Colberg & Höfling 2014, and the specification at nongnu.org/h5md).

`particles/<group>` holds elements: an array that does not change in time, or a group of `value`, `step` and `time`, where these
two are arrays over the frames or one increment with an `offset`. What changes in time is a state (time,
particle, component), what does not a coefficient (particle, component); `box` is a parameter. A file is one sample. Where `id`
says that the order of the particles changes, they come in the order of their numbers, and absent ones are NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from h5py import h5d  # pyright: ignore[reportAttributeAccessIssue]

from sciml.data.formats.axes import Stored, array_of, constant, listed, stored
from sciml.data.formats.grids import alike
from sciml.data.formats.kept import Kept
from sciml.data.storage.arrays import Box, Elsewhere, StoredArray
from sciml.data.storage.files import StoredFile
from sciml.data.storage.library import check_inside, opened
from sciml.data.storage.reading import read_by_hdf5
from sciml.data.variables import Description, Given, Source, VariableInfo

_WORDS = {
    "position": "position, as stored in the box",
    "image": "which periodic image of the box",
    "species": "kind of particle",
}
_FRAMES = 256  # of `id` that are looked at in one go


def recognises(file: StoredFile) -> bool:
    """Whether it is HDF5 with the groups `h5md` and `particles`.

    Raises:
        OSError: it begins as HDF5 does and HDF5 cannot read it.
    """
    return file.is_hdf5 and {"h5md", "particles"} <= set(file.hdf5.groups)


def splits(file: StoredFile) -> tuple[str, ...]:
    """Names of the groups of particles where there are several."""
    groups = _groups(file)
    return groups if len(groups) > 1 else ()


def describe(file: StoredFile, split: str | None = None) -> Description:
    """Everything but the values of the particles.

    Args:
        split: which group of particles, where there are several.
    Raises:
        ValueError: several groups and none chosen, no elements, or elements that contradict each other.
        OSError: HDF5 cannot read it.
    """
    groups = _groups(file)
    if split is None and len(groups) > 1:
        raise ValueError(f"{file.path}: holds the groups of particles {', '.join(groups)}; choose one of them as `split`")
    name = split or "".join(groups)
    if not name or name not in groups:
        raise ValueError(f"{file.path}: got the group of particles {name!r}, it holds {', '.join(groups) or 'none'}")
    home = f"particles/{name}"
    notes: list[str] = []
    elements = _elements(file, home, notes)
    first = _leading(file, home, elements)
    frames = first.array.shape[0] if first.timed else None
    particles = first.array.shape[1 if first.timed else 0]
    order = _order_of(file, name, elements, notes)
    found: dict[str, Stored] = {}
    for key, element in elements.items():
        reason = _left_out(file, element, first, changing=order is not None)
        if reason:
            notes.append(f"left out: {key}, {reason}")
            continue
        found[key] = _variable(file, key, element, particles, order)
    box = _box(file, home, first, notes)
    if any(path.startswith("observables/") for path in file.hdf5.arrays):
        notes.append("left out: observables, which are of the whole system")
    return Description(
        {key: variable.info for key, variable in found.items()} | ({} if box is None else {"box": box[0]}),
        1,
        None,
        dict(file.attributes()) | dict(file.attributes(f"{home}/box")) | {"particles": name},
        arrays={variable.array.name: variable.array for variable in found.values()}
        | ({} if box is None or box[2] is None else {box[2].name: box[2]}),
        sources={key: (variable.source,) for key, variable in found.items()} | ({} if box is None else {"box": (box[1],)}),
        times=None if frames is None else _times(file, first, frames, notes),
        notes=tuple(notes),
    )


def read(path: Path, array: str, box: Box) -> npt.NDArray[np.generic]:
    """A part of the values of particles whose order changes, by the numbers of the particles; of others as HDF5 brings it.

    Raises:
        ValueError: no such array, or the box leaves it.
        OSError: HDF5 cannot read it.
    """
    parts = array.split("/")
    if len(parts) != 4 or parts[3] != "value" or parts[0] != "particles":
        return read_by_hdf5(path, array, box)
    with _orders.use(path, parts[1]) as order:
        if order is None:
            return read_by_hdf5(path, array, box)
        numbers, fill, absent, shape = order.numbers, order.fill, order.absent, order.shapes.get(array, ())
    if len(shape) < 2:
        raise ValueError(f"{path}: no array {array!r} of particles")
    check_inside(f"{path}: array {array}", (shape[0], len(numbers), *shape[2:]), box)
    frames = (box.starts[0], box.counts[0], box.steps[0])
    raw = read_by_hdf5(path, array, _frames_of(shape, *frames))
    ids = read_by_hdf5(path, f"particles/{parts[1]}/id/value", _frames_of(shape[:2], *frames)).astype(np.int64)
    dtype = _with_absent(raw.dtype) if absent else raw.dtype
    values = np.full((len(raw), len(numbers), *shape[2:]), np.nan if absent else 0, dtype)
    for place, row, into in zip(raw, ids, values, strict=True):
        there = np.flatnonzero(row != fill) if fill is not None else np.arange(len(row))
        at = np.searchsorted(numbers, row[there]).clip(max=len(numbers) - 1)
        if not np.array_equal(numbers[at], row[there]):
            raise OSError(f"{path}: particles/{parts[1]}/id was changed since the file was opened; open it again")
        into[at] = place[there]
    return np.ascontiguousarray(values[(slice(None), *box.slices[1:])])


@dataclass(frozen=True)
class _Element:
    """One element of H5MD.

    Args:
        path: of the array, or of the group that holds `value`, `step` and `time`.
        timed: whether the first axis of the array is that of the frames.
    """

    path: str
    array: StoredArray
    timed: bool


@dataclass(frozen=True)
class _Order:
    """In which order particles come.

    Args:
        numbers: of those that occur, growing.
        fill: the number that marks an absent one, if there is such a number.
        absent: whether some are not there at times.
        shapes: of the stored arrays of the group, by name.
    """

    numbers: npt.NDArray[np.int64]
    fill: int | None
    absent: bool
    shapes: Mapping[str, tuple[int, ...]]


def _groups(file: StoredFile) -> tuple[str, ...]:
    inside = {path.split("/")[1] for path in file.hdf5.groups if path.startswith("particles/")}
    return tuple(sorted(inside))


def _elements(file: StoredFile, home: str, notes: list[str]) -> dict[str, _Element]:
    """Of the particles of one group, position first."""
    found = {}
    for key in sorted(file.hdf5.children(home), key=lambda key: (key != "position", key)):
        if key == "box":
            continue
        element = _element(file, f"{home}/{key}")
        if element is None:
            notes.append(f"left out: {key}, neither an array nor a group with `value`")
        else:
            found[key] = element
    return found


def _element(file: StoredFile, path: str) -> _Element | None:
    if path in file.hdf5.arrays:
        return _Element(path, file.hdf5.arrays[path], timed=False)
    if f"{path}/value" in file.hdf5.arrays:
        array = file.hdf5.arrays[f"{path}/value"]
        if not array.shape:
            raise ValueError(f"{file.path}: {path}/value is one number, need an axis of frames first")
        return _Element(path, array, timed=True)
    return None


def _leading(file: StoredFile, home: str, elements: Mapping[str, _Element]) -> _Element:
    """The element that says which frames and particles there are: the first that changes in time, `position` before others."""
    for element in sorted(elements.values(), key=lambda element: not element.timed):
        axis = 1 if element.timed else 0
        if len(element.array.shape) > axis and all(element.array.shape):
            _check_frames(file, element)
            return element
    raise ValueError(f"{file.path}: {home} holds no values of particles, there are {listed(file.hdf5.arrays)}")


def _check_frames(file: StoredFile, element: _Element) -> None:
    for part in ("step", "time"):
        there = file.hdf5.arrays.get(f"{element.path}/{part}")
        if element.timed and there is not None and there.shape not in ((), (1,), element.array.shape[:1]):
            raise ValueError(
                f"{file.path}: {there.name} has shape {there.shape} and {element.array.name} {element.array.shape}, "
                "need one for each frame, or an increment"
            )


def _left_out(file: StoredFile, element: _Element, first: _Element, *, changing: bool) -> str:
    """Why an element is no variable; empty where it is one."""
    shape, lead = element.array.shape, 1 + element.timed
    if element.array.dtype.kind not in "fiub":
        return f"values of type {element.array.dtype}"
    if element.path.endswith("/id"):
        return "the numbers of the particles" if element.timed else "the numbers of the particles, in the order of the others"
    if not lead <= len(shape) <= lead + 2 or not all(shape):
        return f"shape {shape} is not (frame, particle, component) or less"
    if changing and not element.timed:
        return "it does not change in time and the order of the particles does"
    if element.timed and not (first.timed and _same_frames(file, element, first)):
        return f"its frames are not those of {first.path.rpartition('/')[2]}"
    return ""


def _same_frames(file: StoredFile, one: _Element, other: _Element) -> bool:
    if one.array.shape[0] != other.array.shape[0]:
        return False
    for part in ("step", "time"):
        a, b = f"{one.path}/{part}", f"{other.path}/{part}"
        if a in file.hdf5.arrays and b in file.hdf5.arrays:
            return a == b or np.array_equal(_grid(file, one, part), _grid(file, other, part))
    return True


def _variable(file: StoredFile, key: str, element: _Element, particles: int, order: _Order | None) -> Stored:
    array, lead = element.array, ("time", "particle") if element.timed else ("particle",)
    if array.shape[len(lead) - 1] != particles:
        raise ValueError(f"{file.path}: {array.name} has shape {array.shape}, need {particles} particles as the other elements")
    if order is not None:
        shape = (array.shape[0], len(order.numbers), *array.shape[2:])
        dtype = _with_absent(array.dtype) if order.absent else array.dtype.newbyteorder("=")
        array = StoredArray(array.name, shape, dtype, Elsewhere("the order of the particles changes"))
    axes = (*lead, *("channel",) * (len(array.shape) - len(lead)))
    units = str(file.attributes(array.name).get("unit", "1"))
    role = "state" if element.timed else "coefficient"
    return stored(file, key, [array], axes, role, units=units, long_name=_WORDS.get(key, key))


def _with_absent(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    """A type for the same values and NaN."""
    return dtype.newbyteorder("=") if dtype.kind == "f" else np.dtype(np.float64)


# Numbers of particles.


def _order_of(file: StoredFile, group: str, elements: Mapping[str, _Element], notes: list[str]) -> _Order | None:
    ids = elements.get("id")
    if ids is None:
        return None
    first = _leading(file, f"particles/{group}", {key: element for key, element in elements.items() if key != "id"})
    if ids.timed and (not first.timed or ids.array.shape != first.array.shape[:2] or not _same_frames(file, ids, first)):
        raise ValueError(
            f"{file.path}: {ids.array.name} has shape {ids.array.shape} and {first.array.name} {first.array.shape}, need the "
            "same frames and particles"
        )
    with _orders.use(file.path, group) as order:
        if order is not None:
            notes.append("the order of the particles changes, as `id` says; they come in the order of their numbers")
        if order is not None and order.absent:
            notes.append("particles are absent at times; their values are NaN then")
        return order


def _order(path: Path, group: str) -> _Order | None:
    """From `id` of all frames; None where it does not change, or there is none."""
    file, name = StoredFile(path), f"particles/{group}/id/value"
    if name not in file.hdf5.arrays:
        return None
    array = array_of(file, name)
    if array.dtype.kind not in "iu" or len(array.shape) != 2 or not all(array.shape):
        raise ValueError(f"{path}: {name} is {array.dtype} of shape {array.shape}, need whole numbers (frame, particle)")
    fill = _fill_of(path, name)
    before, numbers, changes, fewest = None, np.empty(0, np.int64), False, array.shape[1]
    for start in range(0, array.shape[0], _FRAMES):
        block = file.read(name, _frames_of(array.shape, start, min(_FRAMES, array.shape[0] - start), 1)).astype(np.int64)
        before = block[0] if before is None else before
        gone = block == fill if fill is not None else np.zeros(block.shape, bool)
        changes, fewest = changes or not (block == before).all(), min(fewest, int((~gone).sum(axis=1).min()))
        ordered = np.sort(np.where(gone, np.iinfo(np.int64).min, block), axis=1)
        twice = (np.diff(ordered, axis=1) == 0) & (ordered[:, 1:] != np.iinfo(np.int64).min)
        if twice.any():
            frame, at = np.argwhere(twice)[0]
            raise ValueError(
                f"{path}: {name} holds {ordered[frame, at]} twice in frame {start + frame}, need each particle once"
            )
        numbers = np.union1d(numbers, block[~gone])
    if not changes and fewest == array.shape[1]:
        return None
    if not len(numbers):
        raise ValueError(f"{path}: {name} says that no particle is ever there")
    home = f"particles/{group}/"
    shapes = {path: array.shape for path, array in file.hdf5.arrays.items() if path.startswith(home)}
    return _Order(numbers, fill, fewest < len(numbers), shapes)


_orders = Kept(_order, most=8)


def _fill_of(path: Path, name: str) -> int | None:
    """The value of `id` that stands for no particle, where the writer chose one."""
    with opened(path) as file:
        settings = file[name].id.get_create_plist()  # pyright: ignore[reportAttributeAccessIssue]
        chosen = settings.fill_value_defined() == h5d.FILL_VALUE_USER_DEFINED
        return int(file[name].fillvalue) if chosen else None  # pyright: ignore[reportAttributeAccessIssue]


def _frames_of(shape: tuple[int, ...], start: int, count: int, step: int) -> Box:
    return Box((start, *(0,) * (len(shape) - 1)), (count, *shape[1:]), (step, *(1,) * (len(shape) - 1)))


# Times and box.


def _times(file: StoredFile, first: _Element, frames: int, notes: list[str]) -> npt.NDArray[np.float64] | None:
    for part in ("time", "step"):
        if f"{first.path}/{part}" in file.hdf5.arrays:
            if part == "step":
                notes.append("the file does not say its times; they are numbers of steps")
            return _grid(file, first, part)
    notes.append(f"the file does not say the times of its {frames} frames")
    return None


def _grid(file: StoredFile, element: _Element, part: str) -> npt.NDArray[np.float64]:
    """Times or steps of all frames."""
    name, frames = f"{element.path}/{part}", element.array.shape[0]
    array = array_of(file, name)
    if array.dtype.kind not in "fiu" or array.shape not in ((), (1,), (frames,)):
        raise ValueError(
            f"{file.path}: {name} is {array.dtype} of shape {array.shape}, need numbers, one or one for each frame"
        )
    values = file.read(name).astype(np.float64)
    if values.shape == (frames,):
        return values
    offset = file.attributes(name).get("offset", 0)
    if not isinstance(offset, int | float):
        raise ValueError(f"{file.path}: attribute offset of {name} is {offset!r}, need a number")
    return float(offset) + float(values.reshape(-1)[0]) * np.arange(frames, dtype=np.float64)


def _box(
    file: StoredFile, home: str, first: _Element, notes: list[str]
) -> tuple[VariableInfo, Source | Given, StoredArray | None] | None:
    """Edges of the box, (D,) or the vectors (D, D) one after the other."""
    edges = _element(file, f"{home}/box/edges")
    if edges is None:
        return None
    lead, array = int(edges.timed), edges.array
    if len(array.shape) - lead not in (1, 2) or not all(array.shape) or array.dtype.kind not in "fiu":
        raise ValueError(f"{file.path}: {array.name} is {array.dtype} of shape {array.shape}, need (D,) or (D, D) per frame")
    values = file.read(array.name)
    if not edges.timed or alike(values):
        return *constant(file, "box", (values[0] if edges.timed else values).reshape(1, -1), long_name="edges of the box"), None
    _check_frames(file, edges)
    if not (first.timed and _same_frames(file, edges, first)):
        notes.append("left out: box, which changes in time on other frames than the particles")
        return None
    axes = ("time", *("channel",) * (len(array.shape) - 1))
    found = stored(file, "box", [array], axes, "parameter", long_name="edges of the box")
    return replace(found.info, particles=False), found.source, found.array


__all__ = ["describe", "read", "recognises", "splits"]
