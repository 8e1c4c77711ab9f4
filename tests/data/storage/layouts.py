"""HDF5 files with one array `values`, stored in every way there is."""

import h5py
import numpy as np

BY_POSITION = ("contiguous", "chunked", "gzip", "shuffle", "gzip and shuffle", "resizable", "partly written")
BY_LIBRARY = ("lzf", "fletcher32", "compact", "big-endian", "external", "virtual", "never written", "scaled")
LAYOUTS = (*BY_POSITION, *BY_LIBRARY)

_FILTERS = {
    "gzip": {"compression": "gzip"},
    "shuffle": {"shuffle": True},
    "gzip and shuffle": {"compression": "gzip", "shuffle": True},
    "lzf": {"compression": "lzf"},
    "fletcher32": {"fletcher32": True},
}


def write_array(path, values, layout, *, chunks=None, user_block=0, libver=None):
    """Write `values` as array `values` of a new file."""
    chunks = chunks or tuple(max(1, min(n, 2)) for n in values.shape)
    with h5py.File(path, "w", userblock_size=user_block, libver=libver) as file:
        if layout == "contiguous":
            file["values"] = values
        elif layout == "chunked":
            file.create_dataset("values", data=values, chunks=chunks)
        elif layout in _FILTERS:
            file.create_dataset("values", data=values, chunks=chunks, **_FILTERS[layout])
        elif layout == "resizable":
            data = file.create_dataset("values", data=values, chunks=chunks, maxshape=(None,) * values.ndim)
            # What was larger leaves chunks behind.
            data.resize(tuple(n + 3 for n in values.shape))
            data[...] = data[...] + data[...]
            data.resize(values.shape)
            data[...] = values
        elif layout == "partly written":
            data = file.create_dataset("values", values.shape, values.dtype, chunks=chunks, fillvalue=values.dtype.type(1))
            half = (slice(0, (values.shape[0] + 1) // 2),)
            data[half] = values[half]
        elif layout == "compact":
            settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            settings.set_layout(h5py.h5d.COMPACT)
            space, kind = h5py.h5s.create_simple(values.shape), h5py.h5t.py_create(values.dtype, logical=True)
            h5py.Dataset(h5py.h5d.create(file.id, b"values", kind, space, dcpl=settings))[...] = values
        elif layout == "big-endian":
            file.create_dataset("values", data=values, dtype=values.dtype.newbyteorder(">"))
        elif layout == "external":
            raw = path.with_suffix(".raw")
            file.create_dataset("values", values.shape, values.dtype, external=[(str(raw), 0, h5py.h5f.UNLIMITED)])[...] = (
                values
            )
        elif layout == "virtual":
            file["source"] = values
            virtual = h5py.VirtualLayout(values.shape, values.dtype)
            virtual[...] = h5py.VirtualSource(".", "source", values.shape)
            file.create_virtual_dataset("values", virtual)
        elif layout == "never written":
            file.create_dataset("values", values.shape, values.dtype, fillvalue=values.dtype.type(1))
        elif layout == "scaled":
            number = values.astype(np.int32)
            file.create_dataset("values", data=number, chunks=chunks, scaleoffset=0)
    return path


def stored(path, name="values"):
    """What h5py reads."""
    with h5py.File(path, "r") as file:
        values = file[name][()]
    return np.asarray(values, values.dtype.newbyteorder("="))
