"""More small files in the layouts of others, with the values of `files_a.formula`."""

from pathlib import Path

import h5py
import numpy as np
import torch
import xarray

from data.formats.files_a import cells, formula
from sciml.data.variables import space_names

# torch and NumPy ------------------------------------------------------------------------------------------------------------


def saved(path: Path, content, **options) -> Path:
    torch.save(content, path, **options)
    return path


def operator_tensors(samples=5, grid=(4, 3)):
    """Phases and answers without channels."""
    values = torch.from_numpy(formula(samples, grid, dtype=np.float32)[:, 0])
    return {"x": values.int() % 7 == 0, "y": values}


def operator_series(samples=5, steps=4, points=8):
    """As the published Burgers set: a line given, the line at all instants asked for, a viscosity."""
    values = torch.from_numpy(formula(samples, (points,), steps=steps)[:, :, 0])
    return {"x": values[:, 0].clone(), "y": values, "visc": torch.tensor([[0.01]], dtype=torch.float64)}


def npz(path: Path, *, packed=False, **arrays) -> Path:
    (np.savez_compressed if packed else np.savez)(path, **arrays)
    return path


def npy(path: Path, values) -> Path:
    np.save(path, values)
    return path


def text(path: Path, values, header="", separator=",") -> Path:
    lines = [separator.join(repr(float(value)) for value in row) for row in values]
    path.write_text("\n".join([header] * bool(header) + lines) + "\n")
    return path


# netCDF ---------------------------------------------------------------------------------------------------------------------


def shallow_water(path: Path, *, steps=4, grid=(5, 6), engine="h5netcdf", encoding=None, levels=0) -> Path:
    """As of the shallow water of PDEArena: one trajectory, u, v, vor, pres; variable i is the formula with i added."""
    values = formula(1, grid, steps=steps, dtype=np.float32)[0, :, 0]
    dims = ("time", *(("lev",) if levels else ()), "lat", "lon")
    shape = (steps, *((levels,) if levels else ()), *grid)
    data = xarray.Dataset(
        {
            name: (dims, np.broadcast_to(values.reshape(steps, *(1,) * bool(levels), *grid) + i, shape), {"units": unit})
            for i, (name, unit) in enumerate((("u", "m/s"), ("v", "m/s"), ("vor", "1/s"), ("pres", "Pa")))
        },
        {
            "time": ("time", 6.0 * np.arange(steps), {"units": "hours since 2000-01-01"}),
            "lat": cells(grid[0]),
            "lon": cells(grid[1]),
        },
        {"Conventions": "CF-1.7"},
    )
    written(data, path, engine=engine, encoding=encoding)
    return path


def written(data: xarray.Dataset, path: Path, *, engine="h5netcdf", encoding=None) -> Path:
    options = {"format": "NETCDF3_64BIT"} if engine == "scipy" else {}
    data.to_netcdf(path, engine=engine, encoding=encoding, **options)
    return path


# Particles ------------------------------------------------------------------------------------------------------------------


def particle_formula(frames, particles, components=3):
    """100 time + particle + component/10."""
    time, number, part = np.ogrid[:frames, :particles, :components]
    return 100.0 * time + number + 0.1 * part


def h5md(
    path: Path,
    *,
    frames=4,
    particles=5,
    groups=("all",),
    order=None,
    increments=False,
    edges="fixed",
    fill=-1,
) -> Path:
    """Positions, velocities and images in time; species and mass without.

    Args:
        order: of each frame the numbers of the particles in the order in which they are stored, `fill` for absent ones.
        edges: `fixed`, `cell` (3, 3), `still` or `moving` in time, or none.
    """
    with h5py.File(path, "w") as file:
        file.create_group("h5md").attrs["version"] = [1, 1]
        file.create_group("h5md/author").attrs["name"] = "nobody"
        for name in groups:
            group = file.create_group(f"particles/{name}")
            box = group.create_group("box")
            box.attrs["dimension"], box.attrs["boundary"] = 3, ["periodic", "periodic", "none"]
            values = particle_formula(frames, particles)
            numbers = np.tile(np.arange(particles), (frames, 1)) if order is None else np.array(order)
            stored = np.stack(
                [np.where((row >= 0)[:, None], frame[row], 77.0) for frame, row in zip(values, numbers, strict=True)]
            )
            for key, shown in (("position", stored), ("velocity", -stored), ("image", stored.astype(np.int32))):
                element(group, key, shown, increments)
            if order is None:
                group["species"], group["mass"] = np.arange(particles) % 2, np.arange(particles) + 0.5
            else:
                element(group, "id", numbers, increments, fillvalue=fill)
            box_edges(box, frames, edges, increments)
    return path


def element(group, name, values, increments, **options):
    home = group.create_group(name)
    home.create_dataset("value", data=values, **options)
    if increments:
        home["step"], home["time"] = 10, 0.5
        home["step"].attrs["offset"], home["time"].attrs["offset"] = 100, 5.0
    else:
        home["step"], home["time"] = 100 + 10 * np.arange(len(values)), 5.0 + 0.5 * np.arange(len(values))


def box_edges(box, frames, edges, increments):
    sides = np.array([10.0, 20.0, 30.0])
    if edges == "fixed":
        box["edges"] = sides
    elif edges == "cell":
        box["edges"] = np.diag(sides) + np.eye(3, k=1)
    elif edges in ("still", "moving"):
        growth = np.arange(frames) if edges == "moving" else np.zeros(frames)
        element(box, "edges", sides + growth[:, None], increments)


def gsd(path: Path, *, frames=4, particles=5, counts=None, moving_box=False) -> Path:
    """Positions in all frames, velocities in odd ones and the first, types and masses in the first alone."""
    import gsd.hoomd

    with gsd.hoomd.open(str(path), mode="w") as trajectory:
        for i in range(frames):
            frame, count = gsd.hoomd.Frame(), particles if counts is None else counts[i]
            values = particle_formula(frames, count)[i].astype(np.float32)
            frame.configuration.step = 100 * i
            frame.configuration.box = [10 + i * moving_box, 20, 30, 0, 0, 0]
            frame.particles.N, frame.particles.position = count, values
            frame.particles.types = ["A", "B"]
            frame.particles.typeid, frame.particles.mass = np.arange(count) % 2, np.arange(count) + 0.5
            if i % 2 or not i:
                frame.particles.velocity = -values
            trajectory.append(frame)
    return path


# HDF5 of others -------------------------------------------------------------------------------------------------------------


def poseidon(path: Path, **arrays) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


def pbdl(path: Path, *, lengths=(4, 4, 4), grid=(4, 6), scheme="VVdp", fields=None, shapes=None, **attributes) -> Path:
    """`lengths` are the instants of the simulations, `shapes` their grids where they differ."""
    with h5py.File(path, "w") as file:
        values = formula(len(lengths), grid, steps=max(lengths), channels=len(scheme), dtype=np.float32)
        for i, length in enumerate(lengths):
            shown = values[i, :length] if shapes is None else np.zeros((length, len(scheme), *shapes[i]), np.float32)
            file[f"sims/sim{i}"] = shown
            file[f"sims/sim{i}"].attrs["Nu"] = 0.1 * (i + 1)
        about = {
            "PDE": "Navier-Stokes",
            "Dimension": len(grid),
            "Fields": fields or ["Velocity X", "Velocity Y", "Density", "Pressure"],
            "Fields Scheme": scheme,
            "Constants": ["Nu"],
            "Dt": 0.25,
            "Domain Extent": 2.0,
            "Boundary Conditions": ["periodic"] * 2 + ["wall"] * 2,
            "Boundary Conditions Order": [f"{name} {side}" for name in space_names(2) for side in ("negative", "positive")],
        } | attributes
        file["sims"].attrs.update({key: value for key, value in about.items() if value is not None})
    return path


def web_page(path: Path) -> Path:
    """What a server sends instead of a file."""
    path.write_text("<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body>gone</body></html>\n" * 20)
    return path


def cut(path: Path, part: float) -> Path:
    """The first bytes of a file."""
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    return path
