"""NumPy's `.npy` and `.npz`. Values that are not packed are read by position; nothing in them is ever run.

An `.npy` is a series: (time, dim) is one, (sample, time, dim) are many. In an `.npz` a pair of arrays is looked for: `x` and
`y`, `X` and `Y`, `a` and `u`, `input` and `output`, `inputs` and `outputs`, each (sample, *space); numbers beside them, one for
all or one per sample, are parameters. What the arrays of any other file mean is for the caller to say.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sciml.data.formats.archives import begins_as_archive, members_of, names_in, verified
from sciml.data.formats.axes import Stored, constant, listed, pair_described, sizes, stored
from sciml.data.formats.kept import Kept
from sciml.data.formats.mapped import Mapped, check_times, description_of
from sciml.data.storage.arrays import Box, Contiguous, Elsewhere, StoredArray
from sciml.data.storage.files import StoredFile
from sciml.data.storage.library import check_inside
from sciml.data.storage.reading import read_box
from sciml.data.variables import Description, Given, VariableInfo, space_names
from sciml.numerics.roles import Role

_MAGIC = b"\x93NUMPY"
_PAIRS = (("x", "y"), ("X", "Y"), ("a", "u"), ("input", "output"), ("inputs", "outputs"))
_ONLY = "data"  # what the array of an .npy is called
_KEPT = 4
_LONGEST = 2**16  # bytes of a header


def recognises(file: StoredFile) -> bool:
    """Whether it begins as an array of NumPy, is an archive of such, or says so by its name and is damaged."""
    if file.head.startswith(_MAGIC):
        return True
    if begins_as_archive(file.head) and any(name.endswith(".npy") for name in names_in(file.path)):
        return True
    return file.path.suffix in (".npy", ".npz") and not file.is_hdf5


def splits(file: StoredFile) -> tuple[str, ...]:
    """None: a file holds one thing."""
    return ()


def describe(file: StoredFile, split: str | None = None) -> Description:
    """What the arrays are by convention. An `.npz` is read once to verify its checksums.

    Raises:
        ValueError: arrays of objects, empty ones, or ones that no convention explains.
        OSError: it cannot be read, as when it is truncated, or its bytes were changed.
    """
    arrays, identity = _arrays(file)
    return _series(file, arrays[_ONLY]) if file.head.startswith(_MAGIC) else _pair(file, arrays, identity)


def describe_mapped(file: StoredFile, mapping: Mapping[str, Mapped], *, time: str | None = None) -> Description:
    """What a mapping makes of the file; the array of an `.npy` is called `data`.

    Args:
        mapping: by the names that the variables shall have, in the order of a batch.
        time: the array with the times, (time,) or (sample, time).
    Raises:
        ValueError: an array is not there or does not fit its axes, or the arrays do not fit each other.
        OSError: it cannot be read, or its bytes were changed.
    """
    if not mapping:
        raise ValueError(f"{file.path}: got a mapping without variables, need at least one")
    arrays, identity = _arrays(file)
    for meant in (*(mapped.array for mapped in mapping.values()), *(() if time is None else (time,))):
        if meant not in arrays:
            raise ValueError(f"{file.path}: has no array {meant!r}, which the mapping names; there are {_shapes(arrays)}")
    found = {
        name: _variable(file, name, arrays[meant.array], meant.axes, meant.role, units=meant.units, long_name=meant.long_name)
        for name, meant in mapping.items()
    }
    lengths, times = sizes(file, found), None
    if time is not None:
        check_times(file, replace(arrays[time].stored, shape=arrays[time].shape), lengths)
        times = _values(file, arrays[time])
    return description_of(found, lengths, {}, identity=identity, times=times)


def read(path: Path, array: str, box: Box) -> npt.NDArray[np.generic]:
    """A part of an array that is packed or of another byte order; the last few such arrays stay in memory.

    Raises:
        ValueError: no such array, or the box leaves it.
        OSError: it cannot be read.
    """
    with _kept.use(path, array) as values:
        check_inside(f"{path}: array {array}", values.shape, box)
        part = values[box.slices]
        return np.ascontiguousarray(part, part.dtype.newbyteorder("=")).reshape(box.counts)


# Where the arrays lie.


@dataclass(frozen=True)
class _Array:
    """An array as it is stored, and the axes of the one that is meant: those of Fortran order come last first."""

    stored: StoredArray
    reversed: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return self.stored.shape[::-1] if self.reversed else self.stored.shape


def _arrays(file: StoredFile) -> tuple[dict[str, _Array], str | None]:
    if file.head.startswith(_MAGIC):
        with file.path.open("rb") as raw:
            return {_ONLY: _array(file.path, _ONLY, raw.read(_LONGEST), 0, file.stamp.size)}, None
    if not begins_as_archive(file.head):
        raise OSError(f"{file.path}: does not begin as a file of NumPy does; it is of another kind or damaged, copy it again")
    members = members_of(file.path)
    identity = verified(file.path)
    found = {}
    with zipfile.ZipFile(file.path) as archive:
        for name, member in members.items():
            if name.endswith(".npy"):
                key = name.removesuffix(".npy")
                with archive.open(name) as raw:
                    found[key] = _array(file.path, key, raw.read(_LONGEST), member.offset, member.size)
    if not found:
        raise ValueError(f"{file.path}: is an archive of {', '.join(list(members)[:8]) or 'nothing'}, need arrays of NumPy")
    return found, identity


def _array(path: Path, name: str, beginning: bytes, offset: int | None, size: int) -> _Array:
    """From the header of an array, which lies `offset` bytes into the file and is `size` bytes long with its values."""
    where = f"{path}: array {name}"
    try:
        head = io.BytesIO(beginning)
        version = np.lib.format.read_magic(head)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, fortran, dtype = readers[version](head)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # the header is Python text, and may be any
        why = " ".join(str(error).split()) or type(error).__name__
        raise OSError(f"{where} has no header of NumPy, {why}; it is truncated or damaged, copy it again") from error
    if dtype.hasobject:
        raise ValueError(f"{where} holds objects of Python, which could run anything; save it again as numbers")
    if any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"{where} has shape {shape}, need lengths")
    begin, array = head.tell(), StoredArray(name, shape[::-1] if fortran else shape, dtype, Elsewhere("packed"))
    if begin + array.bytes > size or array.bytes < 0:
        raise OSError(f"{where} is {dtype} of shape {shape}, which does not end with the file; it is truncated, copy it again")
    if offset is not None and not dtype.isnative:
        array = replace(array, layout=Elsewhere("in the byte order of other machines"))
    elif offset is not None:
        array = replace(array, layout=Contiguous(offset + begin))
    return _Array(array, fortran and len(shape) > 1)


def _unpacked(path: Path, name: str) -> npt.NDArray[np.generic]:
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) == _MAGIC:
                file.seek(0)
                values = np.lib.format.read_array(file, allow_pickle=False)
            else:
                with zipfile.ZipFile(file) as archive, archive.open(f"{name}.npy") as raw:
                    values = np.lib.format.read_array(raw, allow_pickle=False)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise OSError(f"{path}: array {name} cannot be read, {why}; it is truncated or damaged, copy it again") from error
    # As it is stored: of Fortran order the axes are reversed.
    return values if values.flags.c_contiguous else values.T


_kept = Kept(_unpacked, most=_KEPT)


def _values(file: StoredFile, array: _Array) -> npt.NDArray[np.generic]:
    """All of a small array."""
    shape = array.stored.shape
    whole = Box((0,) * len(shape), shape, (1,) * len(shape))
    if isinstance(array.stored.layout, Elsewhere):
        values = read(file.path, array.stored.name, whole)
    else:
        values = read_box(file.path, file.stamp, array.stored, whole)
    return values.T if array.reversed else values


# What the arrays mean.


def _variable(
    file: StoredFile,
    name: str,
    array: _Array,
    axes: tuple[str, ...],
    role: Role,
    *,
    units: str = "1",
    long_name: str = "",
) -> Stored:
    if len(axes) != len(array.shape):
        raise ValueError(
            f"{file.path}: variable {name} has shape {array.shape} (array {array.stored.name}), need ({', '.join(axes)})"
        )
    as_stored = axes[::-1] if array.reversed else axes
    found = stored(file, name, [array.stored], as_stored, role, units=units, long_name=long_name)
    if array.reversed and axes.count("channel") == 2:
        raise ValueError(f"{file.path}: variable {name} lies in Fortran order with two axes of channels, save it in C order")
    return found


def _series(file: StoredFile, array: _Array) -> Description:
    axes = {1: ("time",), 2: ("time", "channel"), 3: ("sample", "time", "channel")}.get(len(array.shape))
    if axes is None:
        raise ValueError(
            f"{file.path}: holds an array {array.shape}, need (time, dim) or (sample, time, dim). {_remedy(_ONLY, array)}"
        )
    found = _variable(file, "state", array, axes, "state")
    notes = ("the file does not say what its axes are; they are taken as " + ", ".join(axes), "the file does not say its times")
    return Description(
        {"state": found.info},
        sizes(file, {"state": found}).get("sample", 1),
        None,
        {},
        arrays={_ONLY: array.stored},
        sources={"state": (found.source,)},
        notes=notes,
    )


def _pair(file: StoredFile, arrays: Mapping[str, _Array], identity: str | None) -> Description:
    pairs = [pair for pair in _PAIRS if set(pair) <= arrays.keys()]
    names = next(iter(arrays)) if not pairs else pairs[0][0]
    if len(pairs) != 1:
        why = "of which several pairs could be meant" if pairs else "of which none are a pair such as x and y, or a and u"
        raise ValueError(f"{file.path}: holds {_shapes(arrays)}, {why}. {_remedy(names, arrays[names])}")
    given, asked = pairs[0]
    shapes = {name: arrays[name].shape for name in (given, asked)}
    lengths = {len(shape) for shape in shapes.values()}
    if not lengths <= {1, 2, 3} or len(set(shapes.values())) > 1 or not all(map(min, shapes.values())):
        both = f"{given} {shapes[given]} and {asked} {shapes[asked]}"
        remedy = _remedy(given, arrays[given])
        raise ValueError(f"{file.path}: holds {both}, need (sample, *space) alike with 2 axes of space at most. {remedy}")
    axes = ("sample", *space_names(len(shapes[given]) - 1))
    found = {
        given: _variable(file, given, arrays[given], axes, "input", long_name="input function"),
        asked: _variable(file, asked, arrays[asked], axes, "target", long_name="output function"),
    }
    samples = shapes[given][0]
    notes = [f"the file does not say what its axes are; those of {given} and {asked} are taken as {', '.join(axes)}"]
    numbers, left = _numbers(file, {name: array for name, array in arrays.items() if name not in found}, samples)
    if left:
        notes.append(f"left out: {_shapes(left)}, neither one number nor one for each of {samples} samples")
    return pair_described(found, numbers, samples, identity=identity, notes=notes)


def _numbers(
    file: StoredFile, arrays: Mapping[str, _Array], samples: int
) -> tuple[dict[str, tuple[VariableInfo, Given]], dict[str, _Array]]:
    """Parameters, and what is none."""
    numbers, left = {}, {}
    for name, array in arrays.items():
        if array.shape in ((), (1,), (1, 1), (samples,), (samples, 1)) and array.stored.dtype.kind in "fiub":
            numbers[name] = constant(file, name, _values(file, array).reshape(-1, 1))
        else:
            left[name] = array
    return numbers, left


def _shapes(arrays: Mapping[str, _Array]) -> str:
    return listed({name: replace(array.stored, shape=array.shape) for name, array in arrays.items()})


def _remedy(name: str, array: _Array) -> str:
    axes = ("sample", *space_names(len(array.shape) - 1))
    return f'Say what they mean in a mapping, such as mapping={{"u": Mapped({name!r}, {axes!r}, "input")}}'


__all__ = ["describe", "describe_mapped", "read", "recognises", "splits"]
