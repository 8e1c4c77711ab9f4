"""MATLAB files as the Fourier neural operator made them known (Li et al. 2021), of version 7.3 (HDF5) and 5.

As MATLAB sees them: Burgers `a`, `u` (sample, x); Darcy `coeff`, `sol` (sample, x, y); Navier-Stokes `u` (sample, x, y, time)
with its first instant `a` (sample, x, y) and its times `t`. Time is last. Arrays of version 7.3 lie in HDF5 with all axes
reversed and are read by position; those of version 5 are read whole by SciPy, and those of the last file are kept.

Numbers that stand beside the fields are parameters. A file says neither its grid nor its boundaries.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sciml.data.formats.axes import Stored, constant, listed, sizes, stored
from sciml.data.formats.kept import Kept
from sciml.data.storage.arrays import Box, Elsewhere, StoredArray
from sciml.data.storage.files import StoredFile
from sciml.data.storage.reading import read_by_hdf5
from sciml.data.variables import Description, space_names
from sciml.numerics.roles import Role

_HEADER = 128  # bytes at the start of version 5: text, version, byte order
_ARRAYS = (14, 15)  # types of what stands in version 5: an array, a compressed one
_INTEGERS = {f"{sign}int{bits}": f"{sign[:1] or 'i'}{bits // 8}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
_CLASSES = {"double": "f8", "single": "f4", "logical": "?"} | _INTEGERS  # of arrays in MATLAB, and the type for it
_WORDS = {"a": "input function", "u": "solution", "coeff": "coefficient", "sol": "solution"}


def recognises(file: StoredFile) -> bool:
    """Whether it begins as MATLAB files do, or is HDF5 with arrays that say their class in MATLAB.

    Raises:
        OSError: it begins as HDF5 does and HDF5 cannot read it.
    """
    if file.head.startswith((b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file")):
        return True
    return file.is_hdf5 and any("MATLAB_class" in file.attributes(name) for name in file.hdf5.arrays if "/" not in name)


def splits(file: StoredFile) -> tuple[str, ...]:
    """None: a file holds one thing."""
    return ()


def describe(file: StoredFile, split: str | None = None) -> Description:
    """Everything but the fields.

    Raises:
        ValueError: the arrays are not those of one of the layouts, or shapes contradict each other.
        OSError: it cannot be read, as when it is truncated.
    """
    arrays = _of_hdf5(file) if file.is_hdf5 else _of_version_5(file)
    notes = ["the file does not say on which grid its fields lie; give `domain` where that matters"]
    found = _fields(file, arrays)
    lengths = sizes(file, found)
    times = _times(file, arrays, lengths)
    numbers = {
        name: constant(file, name, _values(file, arrays[name]).reshape(1, 1))
        for name, array in arrays.items()
        if name not in found and name != "t" and array.bytes == array.dtype.itemsize
    }
    if left := sorted(arrays.keys() - found.keys() - numbers.keys() - {"t"}):
        notes.append(f"left out: {listed({name: arrays[name] for name in left})}, as MATLAB stores them")
    return Description(
        {name: variable.info for name, variable in found.items()} | {name: info for name, (info, _) in numbers.items()},
        lengths["sample"],
        None,
        dict(file.attributes()) if file.is_hdf5 else {"header": _header(file)},
        arrays={variable.array.name: variable.array for variable in found.values()},
        sources={name: (variable.source,) for name, variable in found.items()}
        | {name: (given,) for name, (_, given) in numbers.items()},
        times=times,
        notes=tuple(notes),
    )


def read(path: Path, array: str, box: Box) -> npt.NDArray[np.generic]:
    """A part of an array, in the byte order of this machine; of version 5 all arrays of the last file stay in memory.

    Raises:
        OSError: it cannot be read.
        ValueError: no such array, or its values are complex.
    """
    with path.open("rb") as file:
        old = file.read(_HEADER).startswith(b"MATLAB 5.0")
    return _loaded(path, array)[box.slices].copy() if old else read_by_hdf5(path, array, box)


def _of_hdf5(file: StoredFile) -> dict[str, StoredArray]:
    """The numeric arrays at the root, but for cells, text and the like."""
    found = {}
    for name, array in file.hdf5.arrays.items():
        said = file.attributes(name)
        if "/" not in name and str(said.get("MATLAB_class", "double")) in _CLASSES and not said.get("MATLAB_empty", 0):
            found[name] = array
    return found


def _of_version_5(file: StoredFile) -> dict[str, StoredArray]:
    if not file.head.startswith(b"MATLAB 5.0"):
        raise OSError(_damaged(file.path, "it says that it is of version 7.3 and has no HDF5 in it"))
    _check_whole(file)
    elsewhere = Elsewhere("MATLAB 5, read whole by SciPy")
    return {name: StoredArray(name, shape, dtype, elsewhere) for name, (shape, dtype) in _listed_by_scipy(file.path).items()}


def _listed_by_scipy(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[np.generic]]]:
    """Shape and type of the numeric arrays of a file of version 5, as MATLAB sees them."""
    import scipy.io

    found = _by_scipy(path, scipy.io.whosmat)
    return {name: (tuple(int(n) for n in shape), np.dtype(_CLASSES[kind])) for name, shape, kind in found if kind in _CLASSES}


def _by_scipy(path: Path, function: Callable[[Path], Any]) -> Any:
    """What SciPy gives, any mistake that a damaged file takes it through told as what it is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(path)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:
        raise OSError(_damaged(path, error)) from error


def _check_whole(file: StoredFile) -> None:
    """The arrays of a file of version 5 end where it ends: each says its type and length first."""
    order = "big" if file.head[126:128] == b"MI" else "little"
    at = _HEADER
    with file.path.open("rb") as raw:
        while at < file.stamp.size:
            raw.seek(at)
            kind, length = (int.from_bytes(raw.read(4), order) for _ in range(2))
            if kind not in _ARRAYS:
                raise OSError(_damaged(file.path, f"at byte {at} begins no array"))
            at += 8 + length
    if at != file.stamp.size:
        raise OSError(_damaged(file.path, f"its arrays need {at} bytes and it has {file.stamp.size}"))


def _damaged(path: Path, why: object) -> str:
    text = " ".join(str(why).split()) or type(why).__name__
    return f"{path}: cannot be read as a MATLAB file, {text}; it is truncated or damaged, copy it again"


def _header(file: StoredFile) -> str:
    return file.head[:116].rstrip(b" \0").decode("latin-1")


def _loaded(path: Path, name: str) -> npt.NDArray[np.generic]:
    """An array of a file of version 5, as MATLAB sees it."""
    with _files.use(path) as arrays:
        return _real(path, name, arrays)


def _real(path: Path, name: str, arrays: Mapping[str, npt.NDArray[np.generic]]) -> npt.NDArray[np.generic]:
    if name not in arrays:
        raise ValueError(f"{path}: no array {name!r}")
    if arrays[name].dtype.kind == "c":
        raise ValueError(f"{path}: array {name} holds values of type {arrays[name].dtype}, need real numbers")
    return arrays[name]


def _load(path: Path, part: str) -> dict[str, npt.NDArray[np.generic]]:
    """Arrays of a file of version 5: the one called `part`, or all."""
    import scipy.io

    content = _by_scipy(path, lambda path: scipy.io.loadmat(path, variable_names=[part] if part else None))
    # Stored in fewer bytes where the values allow it; complex ones would lose a part without a word.
    return {
        name: content[name] if content[name].dtype.kind == "c" else content[name].astype(dtype, copy=False)
        for name, (_, dtype) in _listed_by_scipy(path).items()
        if name in content
    }


_files: Kept[dict[str, npt.NDArray[np.generic]]] = Kept(_load, most=1)


def _values(file: StoredFile, array: StoredArray) -> npt.NDArray[np.generic]:
    """Of a small array; of version 5 without the others, which may be large."""
    return file.read(array.name) if file.is_hdf5 else _real(file.path, array.name, _load(file.path, array.name))


def _fields(file: StoredFile, arrays: Mapping[str, StoredArray]) -> dict[str, Stored]:
    """Variables of the layout that has these names."""

    def variable(name: str, axes: tuple[str, ...], role: Role) -> Stored:
        as_stored = axes[::-1] if file.is_hdf5 else axes
        return stored(file, name, [arrays[name]], as_stored, role, long_name=_WORDS[name])

    if {"coeff", "sol"} <= arrays.keys():
        axes = ("sample", *space_names(len(arrays["coeff"].shape) - 1))
        return {"coeff": variable("coeff", axes, "coefficient"), "sol": variable("sol", axes, "target")}
    if "u" not in arrays:
        raise ValueError(
            f"{file.path}: has no arrays coeff and sol, and no u; it holds {listed(arrays)} as stored. Version 7.3 can be read "
            "with a mapping of names to arrays and axes"
        )
    most = len(arrays["u"].shape)
    if "a" in arrays and len(arrays["a"].shape) == most:
        axes = ("sample", *space_names(most - 1))
        return {"a": variable("a", axes, "input"), "u": variable("u", axes, "target")}
    if most < 3:
        raise ValueError(f"{file.path}: u has shape {arrays['u'].shape} and there is no a, need (sample, *space, time)")
    axes = ("sample", *space_names(most - 2))
    given = {"a": variable("a", axes, "input")} if "a" in arrays else {}
    return given | {"u": variable("u", (*axes, "time"), "state")}


def _times(file: StoredFile, arrays: Mapping[str, StoredArray], lengths: Mapping[str, int]) -> npt.NDArray[np.float64] | None:
    steps = lengths.get("time")
    if steps is None or "t" not in arrays:
        return None
    values = _values(file, arrays["t"])
    if values.size != steps or values.dtype.kind not in "fiu":
        raise ValueError(f"{file.path}: t has {values.size} values for {steps} instants of u, need as many")
    return values.astype(np.float64).reshape(-1)


__all__ = ["describe", "read", "recognises", "splits"]
