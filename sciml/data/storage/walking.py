"""What stands in an HDF5 file, found by one walk with h5py: groups, attributes, and where each array lies."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
from h5py import h5d, h5f, h5g, h5i, h5l, h5o, h5p, h5s, h5t, h5z  # pyright: ignore[reportAttributeAccessIssue]

from sciml.data.storage.arrays import Chunked, Contiguous, Elsewhere, StoredArray
from sciml.data.storage.attributes import Identity, attributes_at, attributes_of, identity
from sciml.data.storage.decoding import decoded
from sciml.data.storage.library import opened
from sciml.data.storage.user_block import settled, spaced

Layout = Contiguous | Chunked | Elsewhere

_FILTERS = {h5z.FILTER_SHUFFLE: "shuffle", h5z.FILTER_DEFLATE: "deflate"}
# Of more the map itself would be large.
_MOST_CHUNKS = 2**24
# How often one group is entered, when several links lead to it.
_MOST_VISITS = 8


@dataclass(frozen=True, eq=False)
class Tree:
    """All that stands in an HDF5 file but the values of its arrays.

    Args:
        attributes: by path of a group or an array, "" is the root; text, numbers and lists of these, others are left out.
        arrays: by path without a leading slash, `sims/sim0`.
        groups: paths of all groups but the root.
        user_block: bytes before HDF5 begins.
        unreadable: what else stands there, by path: its type in words.
    """

    attributes: Mapping[str, Mapping[str, object]]
    arrays: Mapping[str, StoredArray]
    groups: tuple[str, ...]
    user_block: int
    unreadable: Mapping[str, str]

    def children(self, group: str) -> tuple[str, ...]:
        """Names of the groups and arrays directly inside a group, sorted; none where there is no such group."""
        return self._children.get(group, ())

    @cached_property
    def _children(self) -> dict[str, tuple[str, ...]]:
        inside: dict[str, set[str]] = {}
        for path in (*self.groups, *self.arrays):
            group, _, name = path.rpartition("/")
            inside.setdefault(group, set()).add(name)
        return {group: tuple(sorted(names)) for group, names in inside.items()}


def walk(path: Path) -> Tree:
    """Look through a file with h5py.

    Raises:
        OSError: it is not there, still being written, no HDF5, truncated or damaged.
    """
    with opened(path) as file, path.open("rb") as raw:
        return _Walk(file, raw.fileno(), attributes_of(path)).tree()


class _Walk:
    """One pass through one file, collecting what is found."""

    def __init__(self, file: h5py.File, raw: int, attributes: Mapping[Identity, dict[str, object]]) -> None:
        self.file = file
        self.raw = raw
        self.known = attributes
        self.user_block = int(file.userblock_size)
        self.number, _ = identity(file.id)
        self.attributes: dict[str, dict[str, object]] = {}
        self.arrays: dict[str, StoredArray] = {}
        self.groups: list[str] = []
        self.unreadable: dict[str, str] = {}
        self.visits: Counter[Identity] = Counter()
        self.placed: dict[str, h5d.DatasetID] = {}

    def tree(self) -> Tree:
        self.enter("", h5g.open(self.file.id, b"/"), ())
        if self.user_block:
            self.arrays |= settled(self.placed, {name: self.arrays[name] for name in self.placed}, self.user_block, self.raw)
        return Tree(self.attributes, self.arrays, tuple(self.groups), self.user_block, self.unreadable)

    def enter(self, path: str, group: h5g.GroupID, above: tuple[Identity, ...]) -> None:
        """A group and all below it; `above` are the groups that led here, as a link may lead back."""
        address = identity(group)[1]
        self.visits[address] += 1
        if address in above or self.visits[address] > _MOST_VISITS:
            self.unreadable[path] = "a group that other links lead to as well"
            return
        if path:
            self.groups.append(path)
        self.attributes[path] = self.known[address]
        for name in list(group):
            self.look_at(group, name, f"{path}/{_text(name)}" if path else _text(name), (*above, address))

    def look_at(self, group: h5g.GroupID, name: bytes, path: str, above: tuple[Identity, ...]) -> None:
        kind = group.links.get_info(name).type
        try:
            item = h5o.open(group, name)
        except (KeyError, OSError, RuntimeError) as error:
            if kind == h5l.TYPE_HARD:
                raise
            self.unreadable[path] = f"a link to what is not there ({' '.join(str(error).split())})"
            return
        if isinstance(item, h5g.GroupID):
            if identity(item)[0] != self.number:
                self.unreadable[path] = "a group in another file"
            else:
                self.enter(path, item, above)
        elif isinstance(item, h5d.DatasetID):
            self.array(path, item)
        else:
            self.unreadable[path] = "a named type"

    def array(self, path: str, item: h5d.DatasetID) -> None:
        why = _not_numbers(item)
        number, address = identity(item)
        self.attributes[path] = self.known[address] if number == self.number else _attributes_elsewhere(item)
        if why:
            self.unreadable[path] = why
            return
        if number != self.number:
            layout: Layout = Elsewhere("a link to another file")
        else:
            try:
                layout = _layout(item)
            except Exception as error:
                # h5py has no error of its own for damage, and its words do not name the array.
                raise OSError(f"array {path}: {error}") from error
        self.arrays[path] = StoredArray(path, tuple(int(n) for n in item.shape), item.dtype, layout)
        if self.user_block and not isinstance(layout, Elsewhere):
            self.placed[path] = item


def _attributes_elsewhere(item: h5d.DatasetID) -> dict[str, object]:
    return attributes_at(Path(os.fsdecode(h5f.get_name(item))), h5i.get_name(item))


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _not_numbers(item: h5d.DatasetID) -> str:
    """Why an array holds no numbers or fixed strings of one each; empty where it does."""
    kind = item.get_type()
    names = {
        h5t.STRING: "strings of variable length",
        h5t.COMPOUND: "compound",
        h5t.REFERENCE: "references",
        h5t.OPAQUE: "opaque",
        h5t.VLEN: "lists of variable length",
        h5t.ARRAY: "arrays",
    }
    try:
        dtype = item.dtype
    except TypeError as error:
        return f"a type that NumPy does not have ({error})"
    if dtype.kind == "O" or dtype.kind == "V" or dtype.subdtype is not None:
        return names.get(kind.get_class(), f"values of type {dtype}")
    if item.get_space().get_simple_extent_type() == h5s.NULL:
        return "nothing: an empty data space"
    return ""


def _layout(item: h5d.DatasetID) -> Layout:
    """Where the values lie, as far as HDF5 says; with a user block still to be checked against the bytes."""
    settings = item.get_create_plist()
    kind = settings.get_layout()
    dtype = item.dtype
    if kind == h5d.VIRTUAL:
        return Elsewhere("virtual, put together from other arrays")
    if kind == h5d.COMPACT:
        return Elsewhere("compact, inside the header")
    if settings.get_external_count():
        return Elsewhere("in external files")
    if dtype.kind not in "biufc" or not item.get_type().equal(h5t.py_create(dtype, logical=True)):
        return Elsewhere(f"values of a special type, {dtype}")
    if not dtype.isnative:
        return Elsewhere("in the byte order of other machines")
    if kind == h5d.CONTIGUOUS:
        offset = item.get_offset()
        expected = math.prod(item.shape) * dtype.itemsize
        if offset is None:
            return Elsewhere("never written")
        if item.get_storage_size() != expected:
            return Elsewhere(f"{item.get_storage_size()} bytes stored for {expected}")
        return Contiguous(int(offset))
    if kind != h5d.CHUNKED:
        return Elsewhere(f"layout {kind}")
    return _chunked(item, settings)


def _chunked(item: h5d.DatasetID, settings: h5p.PropDCID) -> Chunked | Elsewhere:
    dtype, shape = item.dtype, tuple(int(n) for n in item.shape)
    chunk = tuple(int(n) for n in settings.get_chunk())
    filters: list[str] = []
    for i in range(settings.get_nfilters()):
        code, _, values, name = settings.get_filter(i)
        if code not in _FILTERS:
            return Elsewhere(f"packed by filter {code} ({name.decode(errors='replace')})")
        filters.append(_FILTERS[code])
        if filters[-1] == "shuffle" and tuple(values[:1]) != (dtype.itemsize,):
            return Elsewhere(f"shuffled by {values} for values of {dtype.itemsize} bytes")
    if tuple(filters) not in ((), ("shuffle",), ("deflate",), ("shuffle", "deflate")):
        return Elsewhere("packed by " + ", ".join(filters))
    if len(chunk) != len(shape) or min(chunk, default=0) < 1:
        return Elsewhere(f"chunks {chunk} of an array {shape}")
    grid = tuple(-(-n // c) for n, c in zip(shape, chunk, strict=True))
    if math.prod(grid) > _MOST_CHUNKS:
        return Elsewhere(f"{math.prod(grid)} chunks, more than a map is kept of")
    if not hasattr(item, "chunk_iter"):
        return Elsewhere("this HDF5 library gives no map of the chunks")
    table = _table(item)
    if len(table) and item.get_chunk_info_by_coord(tuple(table[-1, : len(shape)].tolist())).byte_offset != table[-1, -2]:
        return Elsewhere("this HDF5 library gives places of chunks in another unit")
    layout = _mapped(table, chunk, grid, tuple(filters), dtype.itemsize)
    fill = np.zeros((), dtype)
    undefined = settings.fill_value_defined() == h5d.FILL_VALUE_UNDEFINED
    if (layout.offsets < 0).any() and (undefined or settings.get_fill_time() == h5d.FILL_TIME_NEVER):
        return Elsewhere("chunks never written, and no fill value")
    if not undefined:
        settings.get_fill_value(fill)
    if filters and not _ends_are_packed(item, layout, dtype):
        return Elsewhere("packed but for the chunks at the ends, as far as can be seen")
    return replace(layout, fill=fill.item())


def _table(item: h5d.DatasetID) -> npt.NDArray[np.int64]:
    """A row (first value along each axis ..., mask, byte, size) for each block that was written."""
    rows: list[tuple[int, ...]] = []

    def add(found: h5d.StoreInfo) -> None:
        rows.append((*found.chunk_offset, found.filter_mask, found.byte_offset, found.size))

    # Goes through the whole map and fails where it is damaged; there `chunk_iter` of HDF5 2.0 crashes.
    size = item.get_storage_size()
    if not math.prod(item.shape):
        return np.zeros((0, len(item.shape) + 3), np.int64)
    item.chunk_iter(add)
    if sum(row[-1] for row in rows) != size:
        raise OSError(f"{len(rows)} blocks of {sum(row[-1] for row in rows)} bytes were found, {size} bytes are stored")
    return np.array(rows, np.int64).reshape(len(rows), len(item.shape) + 3)


def _mapped(
    table: npt.NDArray[np.int64], chunk: tuple[int, ...], grid: tuple[int, ...], filters: tuple[str, ...], width: int
) -> Chunked:
    """The map of chunks from a table of those that were written.

    Raises:
        OSError: it is damaged; HDF5 itself reads such arrays without complaint, with wrong values.
    """
    firsts, (masks, offsets, sizes) = table[:, : len(chunk)], table[:, len(chunk) :].T
    cells, rests = np.divmod(firsts, np.array(chunk))
    if ((cells < 0) | (cells >= np.array(grid))).any():
        # None is left over from an array that was larger: HDF5 removes them.
        raise OSError(f"blocks lie outside of an array of {' x '.join(map(str, grid))} blocks")
    flat = np.zeros(len(cells), np.int64)
    for axis, length in enumerate(grid):
        flat = flat * length + cells[:, axis]
    whole = math.prod(chunk) * width
    if rests.any() or len(np.unique(flat)) != len(flat) or (offsets < 0).any() or (not filters and (sizes != whole).any()):
        raise OSError("its map of blocks contradicts itself")
    full = np.full(grid, -1, np.int64)
    full.reshape(-1)[flat] = offsets
    return Chunked(chunk, full, _spread(sizes, flat, grid), _spread(masks, flat, grid), filters, 0)


def _spread(values: npt.NDArray[np.int64], flat: npt.NDArray[np.int64], grid: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Over the grid; where all are equal, one number that stands for all."""
    if not len(values) or (values == values[0]).all():
        return np.broadcast_to(values[0] if len(values) else np.int64(0), grid)
    full = np.zeros(grid, np.int64)
    full.reshape(-1)[flat] = values
    return full


def _ends_are_packed(item: h5d.DatasetID, layout: Chunked, dtype: np.dtype[np.generic]) -> bool:
    """Whether blocks that reach over the ends went through the filters.

    Writers may leave them out (H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS), and neither the masks nor h5py tell.
    """
    whole = math.prod(layout.chunk) * dtype.itemsize
    shape = np.array(item.shape)
    cells = np.argwhere((layout.offsets >= 0) & (layout.sizes == whole) & (layout.masks == 0))
    cells = cells[((cells + 1) * np.array(layout.chunk) > shape).any(axis=1)]
    told_apart = not len(cells)
    for row in spaced(len(cells)):
        first = cells[row] * np.array(layout.chunk)
        _, raw = item.read_direct_chunk(tuple(first.tolist()))
        inside = tuple(slice(0, n) for n in np.minimum(layout.chunk, shape - first).tolist())
        try:
            values = decoded(raw, layout.filters, 0, whole, dtype.itemsize)
        except ValueError:
            return False
        part = values.view(dtype).reshape(layout.chunk)[inside]
        data = h5py.Dataset(item)[tuple(slice(a, a + s.stop) for a, s in zip(first.tolist(), inside, strict=True))]
        if part.tobytes() != data.tobytes():
            return False
        told_apart = told_apart or values.tobytes() != raw
    return told_apart


__all__ = ["Layout", "Tree", "walk"]
