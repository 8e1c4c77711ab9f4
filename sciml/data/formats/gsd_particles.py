"""GSD, the particles of HOOMD-blue, through its own package `gsd`: all frames of a trajectory are one sample.

What changes in time is a state (time, particle, component), what is written in the first frame alone a coefficient (particle,
component). What a frame does not hold is as in the first frame, and what that does not hold has the default of the format.
`box` (Lx, Ly, Lz, xy, xz, yz) is a parameter. Times are numbers of steps; the file does not say how long one is.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sciml.data.formats.axes import Stored, constant, stored
from sciml.data.formats.grids import alike
from sciml.data.formats.kept import Kept
from sciml.data.storage.arrays import Box, Elsewhere, StoredArray
from sciml.data.storage.files import StoredFile
from sciml.data.storage.library import check_inside
from sciml.data.variables import Description, Given, Source, VariableInfo

_MAGIC = b"\xdf\x65\xdf\x65\xdf\x65\xdf\x65"
_COMPONENTS = {
    "position": 3,
    "velocity": 3,
    "image": 3,
    "orientation": 4,
    "angmom": 4,
    "moment_inertia": 3,
    "typeid": 1,
    "mass": 1,
    "charge": 1,
    "diameter": 1,
    "body": 1,
}
_WORDS = {
    "position": "position, as stored in the box",
    "image": "which periodic image of the box",
    "typeid": "kind of particle",
}
_BOX = "configuration/box"
_HEADER = struct.Struct("<5Q")  # magic; place and number of entries of the index, of 32 bytes; of the names, of 64 bytes


def recognises(file: StoredFile) -> bool:
    """Whether it begins as GSD does."""
    return file.head.startswith(_MAGIC)


def splits(file: StoredFile) -> tuple[str, ...]:
    """None: a file holds one trajectory."""
    return ()


def describe(file: StoredFile, split: str | None = None) -> Description:
    """Everything but the values of the particles.

    Raises:
        ValueError: no frames, frames that differ in the number of particles, or another schema than that of HOOMD-blue.
        OSError: the package `gsd` is missing, or it cannot read the file.
    """
    notes = ["the file does not say its times; they are numbers of steps"]
    with _opened(file.path) as trajectory:
        frames, particles = _frames_and_particles(file, trajectory)
        there = {name: _written_in(trajectory, f"particles/{name}", frames) for name in _COMPONENTS}
        steps = _per_frame(trajectory, "configuration/step", frames, np.zeros(1, np.uint64))
        edges = _per_frame(trajectory, _BOX, frames, _default(_BOX))
        types = {
            name: trajectory.read_chunk(frame=places[0], name=f"particles/{name}").dtype
            for name, places in there.items()
            if places
        }
        kinds = _kinds(trajectory)
        left = sorted(
            {name.split("/")[0] for name in trajectory.find_matching_chunk_names("")} - {"configuration", "particles"}
        )
    found: dict[str, Stored] = {}
    for name, places in there.items():
        if places:
            found[name] = _variable(file, name, types[name], frames if places != [0] else None, particles)
    if "position" not in found:
        raise ValueError(f"{file.path}: holds no positions of particles, there are {', '.join(found) or 'none'}")
    if left:
        notes.append(f"left out: {', '.join(left)}")
    box, place = _box(file, edges)
    arrays = {variable.array.name: variable.array for variable in found.values()}
    if isinstance(place, Source):
        arrays[_BOX] = StoredArray(_BOX, edges.shape, edges.dtype, Elsewhere("GSD"))
    return Description(
        {name: variable.info for name, variable in found.items()} | {"box": box},
        1,
        None,
        {} if kinds is None else {"types": kinds},
        arrays=arrays,
        sources={name: (variable.source,) for name, variable in found.items()} | {"box": (place,)},
        times=steps[:, 0].astype(np.float64) if any(places != [0] for places in there.values() if places) else None,
        notes=tuple(notes),
    )


def read(path: Path, array: str, box: Box) -> npt.NDArray[np.generic]:
    """A part of what belongs to the particles, or of the box.

    Raises:
        ValueError: no such array, or the box leaves it.
        OSError: the package `gsd` is missing, or it cannot read the file.
    """
    key, name = array.removesuffix("@0"), array.rpartition("/")[2].removesuffix("@0")
    if key != _BOX and name not in _COMPONENTS:
        raise ValueError(f"{path}: no array {array!r} of particles")
    with _opened(path) as trajectory:
        if not array.endswith("@0") and (not box.starts or box.starts[0] + box.counts[0] > trajectory.nframes):
            raise ValueError(f"{path}: array {array} has {trajectory.nframes} frames, got {box}")
        wanted = [0] if array.endswith("@0") else range(trajectory.nframes)[box.slices[0]]
        rows = [_chunk(path, trajectory, key, frame) for frame in wanted]
    inner = box if array.endswith("@0") else Box(box.starts[1:], box.counts[1:], box.steps[1:])
    for row in rows:
        check_inside(f"{path}: array {array}", row.shape, inner)
    values = np.stack([row[inner.slices] for row in rows]) if rows else np.empty(box.counts, np.float32)
    return np.ascontiguousarray(values[0] if array.endswith("@0") else values)


def _frames_and_particles(file: StoredFile, trajectory: Any) -> tuple[int, int]:
    frames = int(trajectory.nframes)
    if trajectory.schema != "hoomd" or not frames:
        raise ValueError(f"{file.path}: has {frames} frames of schema {trajectory.schema!r}, need frames of schema 'hoomd'")
    counts = _per_frame(trajectory, "particles/N", frames, np.zeros(1, np.uint32))[:, 0]
    if not (counts == counts[0]).all():
        at = int(np.flatnonzero(counts != counts[0])[0])
        raise ValueError(
            f"{file.path}: frame 0 has {counts[0]} particles and frame {at} {counts[at]}, need the same particles in all frames"
        )
    if not counts[0]:
        raise ValueError(f"{file.path}: holds no particles")
    return frames, int(counts[0])


def _variable(file: StoredFile, name: str, dtype: np.dtype[np.generic], frames: int | None, particles: int) -> Stored:
    """Constant ones are called by their frame, so that `read` knows that they have no axis of time."""
    inner = (particles,) if _COMPONENTS[name] == 1 else (particles, _COMPONENTS[name])
    shape, lead = (inner, ()) if frames is None else ((frames, *inner), ("time",))
    array = StoredArray(f"particles/{name}" + ("@0" if frames is None else ""), shape, dtype, Elsewhere("GSD"))
    axes = (*lead, "particle", "channel")[: len(shape)]
    role = "coefficient" if frames is None else "state"
    return stored(file, name, [array], axes, role, long_name=_WORDS.get(name, name))


def _box(file: StoredFile, edges: npt.NDArray[np.generic]) -> tuple[VariableInfo, Source | Given]:
    words = "edges Lx, Ly, Lz of the box and its tilts xy, xz, yz"
    if alike(edges):
        return constant(file, "box", edges[:1], long_name=words)
    array = StoredArray(_BOX, edges.shape, edges.dtype, Elsewhere("GSD"))
    found = stored(file, "box", [array], ("time", "channel"), "parameter", long_name=words)
    return found.info, found.source


def _kinds(trajectory: Any) -> list[str] | None:
    """Names of the kinds of particles, by `typeid`."""
    if not trajectory.chunk_exists(frame=0, name="particles/types"):
        return None
    rows = trajectory.read_chunk(frame=0, name="particles/types")
    return [bytes(row).rstrip(b"\0").decode() for row in rows.astype(np.uint8)]


def _written_in(trajectory: Any, name: str, frames: int) -> list[int]:
    return [frame for frame in range(frames) if trajectory.chunk_exists(frame=frame, name=name)]


def _per_frame(trajectory: Any, name: str, frames: int, default: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """A small chunk in all frames, (frame, component)."""
    first = trajectory.read_chunk(frame=0, name=name) if trajectory.chunk_exists(frame=0, name=name) else default
    rows = [first, *(trajectory.read_chunk(frame=i, name=name) for i in _written_in(trajectory, name, frames) if i)]
    if any(row.shape != default.shape for row in rows):
        raise ValueError(f"{name} has shape {', '.join(str(row.shape) for row in rows[:4])}, need {default.shape}")
    out = np.repeat(first[None], frames, axis=0)
    for frame, row in zip((i for i in _written_in(trajectory, name, frames) if i), rows[1:], strict=True):
        out[frame] = row
    return out


def _chunk(path: Path, trajectory: Any, name: str, frame: int) -> npt.NDArray[np.generic]:
    """A chunk as it holds for a frame."""
    for place in (frame, 0):
        if trajectory.chunk_exists(frame=place, name=name):
            return trajectory.read_chunk(frame=place, name=name)
    if name == _BOX:
        return _default(name)
    count = int(_chunk(path, trajectory, "particles/N", frame)[0])
    default = _default(name)
    return np.repeat(default[None], count, axis=0) if _COMPONENTS[name.rpartition("/")[2]] > 1 else np.repeat(default, count)


def _default(name: str) -> npt.NDArray[np.generic]:
    """Of one frame or one particle, by the format."""
    import gsd.hoomd  # pyright: ignore[reportMissingImports]

    kind: Callable[[], Any] = gsd.hoomd.ConfigurationData if name == _BOX else gsd.hoomd.ParticleData
    return np.atleast_1d(np.asarray(kind()._default_value[name.rpartition("/")[2]]))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file by its own library; what goes wrong inside is told as an error of this file."""
    try:
        with _kept.use(path) as trajectory:
            yield trajectory
    except (FileNotFoundError, PermissionError):
        raise
    except ImportError as error:
        raise OSError(f"{path}: is GSD, and the package gsd is not installed; pip install sciml[particles]") from error
    except Exception as error:
        if str(error).startswith(str(path)):
            raise
        why = " ".join(str(error).split()) or type(error).__name__
        raise OSError(f"{path}: cannot be read as GSD, {why}; it is truncated or damaged, copy it again") from error


def _library(path: Path, _: str) -> Any:
    import gsd.fl  # pyright: ignore[reportMissingImports]

    _check_header(path)
    return gsd.fl.open(name=str(path), mode="r")


def _check_header(path: Path) -> None:
    """The index and the list of names end before the file does: the library trusts them, and would end the process.

    Raises:
        ValueError: they do not.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
    if len(head) < _HEADER.size:
        raise ValueError(f"has {len(head)} bytes, a header {_HEADER.size}")
    _, index, entries, names, name_entries = _HEADER.unpack(head)
    for what, begin, end in (("index", index, index + 32 * entries), ("list of names", names, names + 64 * name_entries)):
        if end > path.stat().st_size:
            raise ValueError(f"its {what} from byte {begin} to {end} leaves the file")


_kept: Kept[Any] = Kept(_library, most=4, close=lambda trajectory: trajectory.close())

__all__ = ["describe", "read", "recognises", "splits"]
