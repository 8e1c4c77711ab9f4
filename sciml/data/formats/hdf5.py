"""Our own layout, and any HDF5 that says as much: variables (sample, channel, *space), each with a `role`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import h5py
import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Shaped
from torch import Tensor

from sciml.data.variables import Description, VariableInfo
from sciml.numerics.domain import Domain
from sciml.numerics.roles import ROLES

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def recognises(path: Path) -> bool:
    """Whether the file begins as HDF5 does."""
    with path.open("rb") as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE


def describe(path: Path) -> Description:
    """Read everything but the fields.

    Raises:
        ValueError: a variable without a role, variables that disagree on samples or grid, or a file that says it is incomplete.
        OSError: HDF5 cannot read it, as when it is truncated.
    """
    with _opened(path) as file:
        attributes = {key: _plain(value) for key, value in file.attrs.items()}
        if attributes.get("complete", 1) != 1:
            raise ValueError(f"{path}: attribute complete is {attributes['complete']!r}, the file was not finished")
        data = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset) and not item.is_scale}
        variables = {name: _variable(path, name, item) for name, item in data.items()}
        samples = {name: item.shape[0] for name, item in data.items()}
        if not variables:
            raise ValueError(f"{path}: holds no variable, need data sets (sample, channel, *space) with a role")
        if len(set(samples.values())) > 1:
            raise ValueError(f"{path}: variables differ in samples, {samples}")
    order = _order(path, variables, attributes)
    domain = _domain(path, attributes)
    for info in variables.values():
        if domain is not None and len(info.shape) > 1 and info.shape[1:] != domain.shape:
            raise ValueError(
                f"{path}: variable {info.name} has shape {info.shape} per sample, the domain of the file {domain.shape}"
            )
    return Description({name: variables[name] for name in order}, next(iter(samples.values())), domain, attributes)


def read(path: Path, name: str, rows: npt.NDArray[np.int64]) -> Shaped[Tensor, "row channel *space"]:
    """The rows of a variable in the order given, in the stored dtype.

    Raises:
        OSError: HDF5 cannot read it.
    """
    # HDF5 reads runs of neighbours well and lists of indices badly, and wants them to grow.
    wanted, place = np.unique(rows, return_inverse=True)
    starts = np.flatnonzero(np.diff(wanted, prepend=-2) != 1)
    with _opened(path) as file:
        data = cast(h5py.Dataset, file[name])
        values = np.empty((len(wanted), *data.shape[1:]), data.dtype.newbyteorder("="))
        for start, stop in zip(starts, [*starts[1:], len(wanted)], strict=True):
            values[start:stop] = data[wanted[start] : wanted[start] + stop - start]
    ordered = values if np.array_equal(wanted, rows) else values[place]
    return torch.from_numpy(ordered)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (FileNotFoundError, PermissionError):
        raise
    except (OSError, RuntimeError, KeyError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise OSError(
            f"{path}: cannot be read as HDF5, {why}; it is truncated or damaged, copy or generate it again"
        ) from error


def _variable(path: Path, name: str, data: h5py.Dataset) -> VariableInfo:
    role = _plain(data.attrs.get("role"))
    if role not in ROLES:
        raise ValueError(f"{path}: variable {name} has role {role!r}, need an attribute role with one of {', '.join(ROLES)}")
    if data.ndim < 2:
        raise ValueError(f"{path}: variable {name} has shape {data.shape}, need (sample, channel, *space)")
    try:
        dtype = torch.from_numpy(np.empty(0, data.dtype.newbyteorder("="))).dtype
    except TypeError:
        raise ValueError(f"{path}: variable {name} has values of type {data.dtype}, need numbers") from None
    units, long_name = (str(_plain(data.attrs.get(key, default))) for key, default in (("units", "1"), ("long_name", name)))
    return VariableInfo(name, role, units, long_name, tuple(data.shape[1:]), dtype)


def _order(path: Path, variables: dict[str, VariableInfo], attributes: dict[str, object]) -> list[str]:
    """Names in the order of a batch: as written, or by role and name."""
    by_role = sorted(variables, key=lambda name: (ROLES.index(variables[name].role), name))
    if "variables" not in attributes:
        return by_role
    try:
        written = json.loads(str(attributes["variables"]))
    except ValueError:
        written = attributes["variables"]
    if not isinstance(written, list) or sorted(map(str, written)) != sorted(variables):
        raise ValueError(f"{path}: attribute variables is {written!r}, need a JSON list of what the file holds, {by_role}")
    return written


def _domain(path: Path, attributes: dict[str, object]) -> Domain | None:
    text = attributes.get("domain")
    if text is None:
        return None
    try:
        return Domain.from_dict(json.loads(str(text)))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: attribute domain: {error}") from error


def _plain(value: object) -> object:
    """An attribute as Python's own type."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
