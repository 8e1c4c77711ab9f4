"""Small files in the layouts of others: value = 1000 sample + 100 time + 10 channel + x + y/10 + z/100, all counted from 0."""

from pathlib import Path

import h5py
import numpy as np
import scipy.io

from sciml.data.variables import space_names


def formula(samples, grid=(), *, steps=None, channels=1, dtype=np.float64):
    """(sample, [time,] channel, *space)."""
    lengths = {"sample": samples, "time": steps, "channel": channels} | dict(zip(space_names(len(grid)), grid, strict=True))
    factors = {"sample": 1000.0, "time": 100.0, "channel": 10.0, "x": 1.0, "y": 0.1, "z": 0.01}
    axes = [axis for axis, n in lengths.items() if n is not None]
    total = np.zeros([lengths[axis] for axis in axes])
    for at, axis in enumerate(axes):
        total = total + (factors[axis] * np.arange(lengths[axis])).reshape([-1 if i == at else 1 for i in range(len(axes))])
    return total.astype(dtype)


def channel_last(values, lead=2):
    """(sample, time, *space, channel) from (sample, time, channel, *space)."""
    return np.moveaxis(values, lead, -1)


def cells(n, length=1.0):
    """Centres of equal cells on [0, length]."""
    return (np.arange(n) + 0.5) * length / n


# Our own layout ------------------------------------------------------------------------------------------------------------


def ours(path: Path, arrays, *, scales=None, **attributes) -> Path:
    """Arrays by name, each with its attributes; scales by name, as xarray and h5netcdf write dimensions."""
    with h5py.File(path, "w") as file:
        for name, (values, about) in arrays.items():
            file[name] = values
            file[name].attrs.update(about)
        for name, values in (scales or {}).items():
            file[name] = values
            file[name].make_scale(name)
        file.attrs.update(attributes)
    return path


# The Well ------------------------------------------------------------------------------------------------------------------


def well(path: Path, *, samples=3, steps=4, grid=(5, 6), periodic=("x",), per_sample_time=False, square=False) -> Path:
    """A scalar, a vector and a tensor in time; a coefficient without y; scalars of all kinds.

    Args:
        square: whether the tensor has one axis of D² instead of two.
    """
    dim, names = len(grid), space_names(len(grid))
    field = formula(samples, grid, steps=steps, dtype=np.float32)
    with h5py.File(path, "w") as file:
        file.attrs.update(dataset_name="synthetic", grid_type="cartesian", n_spatial_dims=dim, n_trajectories=samples)
        file.attrs["simulation_parameters"] = ["Re", "Pr"]
        file.attrs["Re"], file.attrs["Pr"] = 100.0, 0.7
        dims = file.create_group("dimensions")
        dims.attrs["spatial_dims"] = list(names)
        time = 0.5 * np.arange(steps)
        dims["time"] = (time + np.arange(samples)[:, None] if per_sample_time else time).astype(np.float32)
        dims["time"].attrs["sample_varying"] = per_sample_time
        for name, n in zip(names, grid, strict=True):
            dims[name] = cells(n, 2.0).astype(np.float32)
            dims[name].attrs["sample_varying"] = dims[name].attrs["time_varying"] = False
        boundaries = file.create_group("boundary_conditions")
        for name, n in zip(names, grid, strict=True):
            _boundary(boundaries, name, n, "PERIODIC" if name in periodic else "WALL")
        flags = {"sample_varying": True, "time_varying": True, "dim_varying": [True] * dim}
        still = flags | {"time_varying": False}
        scalars = {
            "Re": (np.array(100.0), False, False),
            "Pr": (np.array([0.7]), False, False),
            "mass": (7.0 + np.arange(samples), True, False),
            "drive": (10.0 * np.arange(steps), False, True),
            "energy": (formula(samples, steps=steps)[:, :, 0], True, True),
        }
        _fields(file, "scalars", {name: (v, {"sample_varying": s, "time_varying": t}) for name, (v, s, t) in scalars.items()})
        partly = still | {"dim_varying": [True] + [False] * (dim - 1)}
        floor = formula(samples, grid[:1], dtype=np.float32)[:, 0]
        _fields(file, "t0_fields", {"pressure": (field[:, :, 0], flags), "floor": (floor, partly)})
        vector = channel_last(formula(samples, grid, steps=steps, channels=dim, dtype=np.float32))
        _fields(file, "t1_fields", {"velocity": (vector, flags)})
        tensor = channel_last(formula(samples, grid, steps=steps, channels=dim**2, dtype=np.float32))
        shape = tensor.shape if square else (*tensor.shape[:-1], dim, dim)
        _fields(file, "t2_fields", {"stress": (tensor.reshape(shape), flags | {"symmetric": False, "antisymmetric": False})})
    return path


def _boundary(boundaries, name, n, kind):
    group = boundaries.create_group(f"{name}_{kind.lower()}")
    group.attrs.update(associated_dims=[name], associated_fields=[], bc_type=kind, sample_varying=False, time_varying=False)
    group["mask"] = np.isin(np.arange(n), (0, n - 1))


def _fields(file, group, arrays):
    home = file.create_group(group)
    home.attrs["field_names"] = list(arrays)
    for name, (values, attributes) in arrays.items():
        home[name] = values
        home[name].attrs.update(attributes)


# PDEBench ------------------------------------------------------------------------------------------------------------------


def pdebench_line(path: Path, *, samples=20, steps=4, points=8, times=5, **attributes) -> Path:
    """Advection, Burgers and reaction-diffusion."""
    with h5py.File(path, "w") as file:
        file["tensor"] = formula(samples, (points,), steps=steps, dtype=np.float32)[:, :, 0]
        file["x-coordinate"] = cells(points).astype(np.float32)
        file["t-coordinate"] = (0.25 * np.arange(times)).astype(np.float32)
        file.attrs.update(attributes or {"beta": 0.4})
    return path


def pdebench_darcy(path: Path, *, samples=20, grid=(6, 7)) -> Path:
    with h5py.File(path, "w") as file:
        file["nu"] = formula(samples, grid, dtype=np.float32)[:, 0] + 0.5
        file["tensor"] = formula(samples, grid, dtype=np.float32)
        file["x-coordinate"], file["y-coordinate"] = cells(grid[0]), cells(grid[1])
        file.attrs["beta"] = 10.0
    return path


def pdebench_fluid(path: Path, *, samples=20, steps=3, grid=(4, 6)) -> Path:
    """The compressible equations; variable i is the formula with i added."""
    names = space_names(len(grid))
    with h5py.File(path, "w") as file:
        for i, name in enumerate(("density", "pressure", *(f"V{x}" for x in names))):
            file[name] = formula(samples, grid, steps=steps, dtype=np.float32)[:, :, 0] + i
        for name, n in zip(names, grid, strict=True):
            file[f"{name}-coordinate"] = cells(n).astype(np.float32)
        file["t-coordinate"] = 0.1 * np.arange(steps + 1)
        file.attrs.update({"eta": 0.01, "zeta": 0.02} | ({"M": 0.1} if len(grid) > 1 else {}))
    return path


def pdebench_seeds(path: Path, *, samples=20, steps=3, grid=(4, 6), channels=2, config="sim:\n  k: 0.005\n", **storage) -> Path:
    """Diffusion-sorption, diffusion-reaction and shallow water; `storage` as of h5py, such as compression="lzf"."""
    values = channel_last(formula(samples, grid, steps=steps, channels=channels, dtype=np.float32))
    with h5py.File(path, "w") as file:
        for seed in range(samples):
            group = file.create_group(f"{seed:04d}")
            group.create_dataset("data", data=values[seed], **storage)
            for name, n in zip(space_names(len(grid)), grid, strict=True):
                group[f"grid/{name}"] = (cells(n, 2.0) - 1.0).astype(np.float32)
            group["grid/t"] = np.arange(steps, dtype=np.float32) * 0.05
            group.attrs["config"] = config
    return path


def pdebench_incompressible(path: Path, *, samples=3, steps=4, grid=(4, 6), written=None) -> Path:
    with h5py.File(path, "w") as file:
        for name, channels, chunks in (("velocity", 2, (1, 1, *grid, 2)), ("particles", 1, (1, 1, *grid, 1))):
            values = channel_last(formula(samples, grid, steps=steps, channels=channels, dtype=np.float32))
            file.create_dataset(name, data=values, chunks=chunks, compression="lzf", shuffle=True)
        file["force"] = np.moveaxis(formula(samples, grid, channels=2, dtype=np.float32), 1, -1)
        file["t"] = np.tile(np.float32(0.5) * np.arange(steps, dtype=np.float32), (samples, 1))
        file.attrs["config"] = "NU: 0.01\nseed: 3\n"
        file.attrs["latestIndex"] = (steps if written is None else written) - 1
    return path


# FNO .mat ------------------------------------------------------------------------------------------------------------------


def mat_73(path: Path, arrays) -> Path:
    """As MATLAB writes version 7.3: 512 bytes of its own, then HDF5 with all axes reversed."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in arrays.items():
            file[name] = np.ascontiguousarray(np.asarray(values).transpose())
            kind = {"float64": "double", "float32": "single", "bool": "logical"}[str(np.asarray(values).dtype)]
            file[name].attrs["MATLAB_class"] = np.bytes_(kind)
    text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Fri Jan  1 00:00:00 2021 HDF5 schema 1.00 ."
    with path.open("r+b") as raw:
        raw.write(text.ljust(124) + b"\x00\x02IM")
    return path


def mat_5(path: Path, arrays, compressed=True) -> Path:
    scipy.io.savemat(path, dict(arrays), do_compression=compressed)
    return path


def burgers_arrays(samples=5, points=8):
    a = formula(samples, (points,))[:, 0]
    return {"a": a, "u": a + 0.5}


def darcy_arrays(samples=4, n=5, m=6):
    values = formula(samples, (n, m))[:, 0]
    return {"coeff": values, "sol": values.astype(np.float32) + 1, "Kcoeff": values + 2, "visc": np.array([[0.25]])}


def navier_stokes_arrays(samples=3, grid=(4, 6), steps=5):
    values = formula(samples, grid, steps=steps)[:, :, 0]
    return {"a": values[:, 0] - 100, "u": np.moveaxis(values, 1, -1), "t": 0.5 * (1 + np.arange(steps))[None]}


# PDEArena ------------------------------------------------------------------------------------------------------------------


def arena_smoke(path: Path, *, modes=("train",), samples=3, steps=4, grid=(5, 6)) -> Path:
    """Navier-Stokes; the samples of the second split go on counting where those of the first end."""
    with h5py.File(path, "w") as file:
        for i, mode in enumerate(modes):
            group = file.create_group(mode)
            for j, name in enumerate(("u", "vx", "vy")):
                group[name] = formula((i + 1) * samples, grid, steps=steps)[i * samples :, :, 0] + j
            group["t"] = np.tile(0.2 * np.arange(steps), (samples, 1))
            group["x"], group["y"] = (np.tile(np.linspace(0, 32, n), (samples, 1)) for n in grid)
            group["dt"], group["dx"], group["dy"] = (np.full(samples, value) for value in (0.2, 8.0, 6.4))
            group["buo_y"] = 0.2 + 0.1 * np.arange(samples)
    return path


def arena_line(path: Path, *, samples=4, steps=5, points=8, dx=None, viscosity=True) -> Path:
    """Kuramoto-Sivashinsky."""
    with h5py.File(path, "w") as file:
        group = file.create_group("train")
        group[f"pde_{steps}-{points}"] = formula(samples, (points,), steps=steps)[:, :, 0]
        group["dt"] = 0.2 + 0.01 * np.arange(samples)
        group["dx"] = np.full(samples, 0.25) if dx is None else dx
        if viscosity:
            group["v"] = 0.5 + 0.25 * np.arange(samples)
    return path


def arena_maxwell(path: Path, *, samples=2, steps=3, n=4) -> Path:
    with h5py.File(path, "w") as file:
        for i, name in enumerate(("d_field", "h_field")):
            file[f"test/{name}"] = channel_last(formula(samples, (n, n, n), steps=steps, channels=3, dtype=np.float32)) + i
    return path
