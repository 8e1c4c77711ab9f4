"""The formats there are, and which of them a file is of: by its content, never by its name alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from sciml.data.formats import (
    fno_mat,
    gsd_particles,
    h5md,
    hdf5,
    mapped,
    netcdf,
    neuraloperator,
    numpy_files,
    pbdl,
    pdearena,
    pdebench,
    poseidon,
    series,
    the_well,
)
from sciml.data.formats.mapped import Mapped
from sciml.data.storage.arrays import Box
from sciml.data.storage.files import StoredFile
from sciml.data.storage.reading import read_by_hdf5
from sciml.data.storage.tree import trees_of
from sciml.data.variables import Description


@runtime_checkable
class Format(Protocol):
    """What the module of a file format offers."""

    def recognises(self, file: StoredFile) -> bool:
        """Whether the content of the file is of this format."""
        ...

    def splits(self, file: StoredFile) -> tuple[str, ...]:
        """Names of the splits that the file holds; none where it holds one thing."""
        ...

    def describe(self, file: StoredFile, split: str | None = None) -> Description:
        """Everything but the fields.

        Raises:
            ValueError: the content contradicts itself or the format, or holds several splits and none is chosen.
            OSError: it cannot be read.
        """
        ...

    def read(self, path: Path, array: str, box: Box) -> npt.NDArray[np.generic]:
        """A part of an array that lies `Elsewhere`, in the byte order of this machine.

        Raises:
            OSError: it cannot be read.
        """
        ...


@dataclass(frozen=True)
class WithMapping:
    """The format of a file whose arrays the caller explains: HDF5, or `.npz`.

    Args:
        mapping: per variable, which array it is and what the axes of that mean.
    """

    mapping: Mapping[str, Mapped]

    def recognises(self, file: StoredFile) -> bool:
        """Whether arrays have names in such a file."""
        return file.is_hdf5 or numpy_files.recognises(file)

    def splits(self, file: StoredFile) -> tuple[str, ...]:
        """None: what is mapped is one thing."""
        return ()

    def describe(self, file: StoredFile, split: str | None = None) -> Description:
        """What the mapping makes of the file."""
        describe = mapped.describe_mapped if file.is_hdf5 else numpy_files.describe_mapped
        time = self.mapping.get("time")
        if time is None or not set(time.axes) <= {"sample", "time"}:
            return describe(file, self.mapping)
        return describe(file, {name: meant for name, meant in self.mapping.items() if name != "time"}, time=time.array)

    def read(self, path: Path, array: str, box: Box) -> npt.NDArray[np.generic]:
        """By the library of the format."""
        read = numpy_files.read if numpy_files.recognises(StoredFile(path)) else read_by_hdf5
        return read(path, array, box)


FORMATS: tuple[Format, ...] = (
    hdf5,
    the_well,
    pdearena,
    pbdl,
    h5md,
    fno_mat,
    poseidon,
    pdebench,
    netcdf,
    neuraloperator,
    numpy_files,
    gsd_particles,
    series,
)
"""In the order in which they are asked: what knows its own by more signs comes first."""


def format_of(file: StoredFile, mapping: Mapping[str, Mapped] | None = None) -> Format:
    """The format of a file; with a `mapping`, what that makes of it.

    Raises:
        ValueError: no format knows it; of an HDF5 file the message lists the arrays.
        OSError: it is damaged.
    """
    for form in FORMATS if mapping is None else [WithMapping(mapping)]:
        if form.recognises(file):
            return form
    if file.is_hdf5:
        raise ValueError(mapped.how_to_map(file))
    if file.head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        raise ValueError(f"{file.path}: is a web page, as a server sends with an error; download the file again")
    raise ValueError(f"{file.path}: its content is of no format that is known here; it is damaged or of another kind")


def files_as_formats_see_them(paths: Sequence[Path]) -> list[StoredFile]:
    """All of them, those of HDF5 with what stands in them: read from one index per folder where there is one.

    Raises:
        ValueError, OSError: a file is empty, or cannot be read.
    """
    files = [StoredFile(path) for path in paths]
    nested = [file for file in files if file.is_hdf5]
    for file, tree in zip(nested, trees_of([file.path for file in nested]), strict=True):
        file.hdf5 = tree
    return files


__all__ = ["FORMATS", "Format", "WithMapping", "files_as_formats_see_them", "format_of"]
