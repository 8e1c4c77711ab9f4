import numpy as np
import pytest
import torch

from data.formats.files_a import ours
from sciml.data.formats.axes import array_of, constant, listed, sizes, stored, torch_type
from sciml.data.storage.files import StoredFile


@pytest.fixture
def file(tmp_path):
    names = {"u": (3, 4, 5, 6, 2), "w": (3, 4, 5, 6), "short": (3, 4, 5), "mass": (7,), "stress": (3, 2, 5, 6, 2)}
    return StoredFile(ours(tmp_path / "some.h5", {name: (np.zeros(shape, ">f4"), {}) for name, shape in names.items()}))


def variable(file, name, axes, **more):
    return stored(file, name, [array_of(file, name)], axes, "state", **more)


def test_a_shape_and_its_axes_make_a_variable(file):
    info = variable(file, "u", ("sample", "time", "x", "y", "channel"), units="m").info
    assert (info.shape, info.steps, info.units, info.long_name, info.dtype) == ((2, 5, 6), 4, "m", "u", torch.float32)
    assert variable(file, "stress", ("sample", "channel", "x", "y", "channel")).info.shape == (4, 5, 6)
    assert variable(file, "short", ("sample", "time", "x"), grid=(5, 6)).info.shape == (1, 5, 6)
    assert variable(file, "w", ("sample", "time", "particle", "channel")).info.shape == (5, 6)
    assert variable(file, "mass", ("time",)).info.shape == (1,)
    several = stored(file, "u", [array_of(file, name) for name in ("w", "w")], ("time", "x", "y", "channel"), "state")
    assert sizes(file, {"u": several}) == {"time": 3, "x": 4, "y": 5, "sample": 2}


def test_what_does_not_fit_is_named(file):
    with pytest.raises(ValueError, match=r"some.h5: variable u has shape .*, need \(sample, time\)"):
        variable(file, "u", ("sample", "time"))
    with pytest.raises(ValueError, match=r"that is a grid of \(5, 6\); the grid of the file is \(5, 7\)"):
        variable(file, "w", ("sample", "time", "x", "y"), grid=(5, 7))
    with pytest.raises(ValueError, match=r"array mass is .* need all alike"):
        stored(file, "u", [array_of(file, name) for name in ("short", "mass")], ("time", "x", "y"), "state")
    with pytest.raises(ValueError, match=r"some.h5: axes: got 'width'"):
        variable(file, "mass", ("width",))
    with pytest.raises(ValueError, match=r"some.h5: has no array 'v', there are .*u \(3, 4, 5, 6, 2\)"):
        array_of(file, "v")
    pair = {
        "u": variable(file, "u", ("sample", "time", "x", "y", "channel")),
        "short": variable(file, "short", ("time", "x", "y")),
    }
    with pytest.raises(ValueError, match=r"variables differ in instants, {'u': 4, 'short': 3}"):
        sizes(file, pair)


def test_numbers_become_parameters_in_the_order_of_this_machine(file):
    info, given = constant(file, "Re", np.array([[1], [2]], ">i4"))
    assert (info.role, info.shape, info.dtype) == ("parameter", (1,), torch.int32)
    assert given.values.dtype.isnative
    assert given.values.tolist() == [[1], [2]]
    with pytest.raises(ValueError, match="parameter name has values of type"):
        constant(file, "name", [["a"]])
    with pytest.raises(ValueError, match="here has values of type datetime64"):
        torch_type("here", np.dtype("datetime64[s]"))


def test_long_lists_are_cut(file):
    arrays = file.hdf5.arrays
    assert listed(arrays, 2).endswith(" and 3 more")
    assert listed({}) == "none"
