import io
import struct
import zipfile

import numpy as np
import pytest
import torch

from data.formats.files_a import formula
from data.formats.files_b import cut, npy, npz, web_page
from sciml.data.formats import numpy_files
from sciml.data.formats.mapped import Mapped
from sciml.data.set import open_set
from sciml.data.storage.arrays import Box, Contiguous, Elsewhere
from sciml.data.storage.files import StoredFile

VALUES = formula(5, (4, 3))[:, 0]


def layouts(path):
    return {name: type(array.layout) for name, array in numpy_files.describe(StoredFile(path)).arrays.items()}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("names", [("x", "y"), ("a", "u"), ("X", "Y"), ("inputs", "outputs")])
def test_a_pair_in_an_archive_is_given_and_asked_for(tmp_path, names, packed):
    path = npz(tmp_path / "d.npz", packed=packed, **{names[0]: VALUES, names[1]: np.asfortranarray(VALUES) + 1})
    found = open_set(path)
    assert (found.inputs, found.targets) == (names[:1], names[1:])
    assert set(layouts(path).values()) == {Elsewhere if packed else Contiguous}
    assert torch.equal(found.read(names[0], [4, 0]), torch.from_numpy(VALUES[[4, 0], None]))
    assert torch.equal(found.read(names[1], [4, 0]), torch.from_numpy(VALUES[[4, 0], None] + 1))
    assert found.notes == (
        f"the file does not say what its axes are; those of {names[0]} and {names[1]} are taken as sample, x, y",
    )


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", ">i4", "<u8", "<f2", ">f4", ">f8", "<c8", ">c16"])
def test_every_type_and_byte_order(tmp_path, dtype):
    values = (VALUES * 10 % 100).astype(dtype)
    expected = torch.from_numpy(values.astype(np.dtype(dtype).newbyteorder("=")))
    for packed in (False, True):
        found = open_set(npz(tmp_path / "d.npz", packed=packed, x=values, y=np.asfortranarray(values)))
        for name in "xy":
            assert torch.equal(found.read(name, [3, 1]), expected[[3, 1], None])
    assert torch.equal(open_set(npy(tmp_path / "d.npy", np.asfortranarray(values))).read("state", [3, 1]), expected[[3, 1]])


def test_numbers_beside_a_pair_are_parameters(tmp_path):
    path = npz(tmp_path / "d.npz", x=VALUES, y=VALUES, nu=np.float32(0.5), k=np.arange(5), grid=np.zeros(4))
    found = open_set(path)
    assert found.inputs == ("x", "nu", "k")
    assert found.read("k", [3, 1]).tolist() == [[3], [1]]
    assert found.read("nu", [3, 1]).tolist() == [[0.5], [0.5]]
    assert found.notes[1] == "left out: grid (4,), neither one number nor one for each of 5 samples"


def test_arrays_are_series(tmp_path):
    one, many = open_set(npy(tmp_path / "one.npy", VALUES[0])), open_set(npy(tmp_path / "many.npy", VALUES))
    assert (len(one), one.states, one.variables["state"].sample_shape) == (1, ("state",), (4, 3))
    assert torch.equal(one.read("state", [0]), torch.from_numpy(VALUES[:1]))
    assert (len(many), many.variables["state"].sample_shape) == (5, (4, 3))
    assert torch.equal(many.read("state", [2, 0], first=1, count=2), torch.from_numpy(VALUES[[2, 0], 1:3]))
    assert (many.domain, many.times(np.array([0]))) == (None, None)
    assert many.notes == (
        "the file does not say what its axes are; they are taken as sample, time, channel",
        "the file does not say its times",
    )
    line = open_set(npy(tmp_path / "line.npy", VALUES[0, :, 0]))
    assert line.variables["state"].sample_shape == (4, 1)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("kind", ["npz", "packed", "npy"])
def test_a_mapping_says_what_other_arrays_mean(tmp_path, kind, order):
    values = formula(3, (4, 5), steps=2, channels=2)
    stored = np.array(np.moveaxis(values, 2, -1), order=order)
    if kind == "npy":
        path, name = npy(tmp_path / "d.npy", stored), "data"
    else:
        path, name = npz(tmp_path / "d.npz", packed=kind == "packed", w=stored, t=np.array([0.0, 2.0])), "w"
    mapping = {"u": Mapped(name, ("sample", "time", "x", "y", "channel"), "state", "m/s", "velocity")}
    found = open_set(path, mapping=mapping)
    assert (found.variables["u"].units, found.variables["u"].long_name) == ("m/s", "velocity")
    assert torch.equal(found.read("u", [2, 0]), torch.from_numpy(values[[2, 0]]))
    if kind != "npy":
        described = numpy_files.describe_mapped(StoredFile(path), mapping, time="t")
        assert described.times is not None
        assert described.times.tolist() == [0.0, 2.0]
        with pytest.raises(ValueError, match=r"times w are float64 of shape .*, need numbers of shape \(2,\) or \(3, 2\)"):
            numpy_files.describe_mapped(StoredFile(path), mapping, time="w")


def test_a_mapping_that_does_not_fit_is_refused(tmp_path):
    path = npz(tmp_path / "d.npz", w=VALUES)
    with pytest.raises(ValueError, match=r"d.npz: has no array 'q', which the mapping names; there are w \(5, 4, 3\)"):
        open_set(path, mapping={"u": Mapped("q", ("sample",), "state")})
    with pytest.raises(ValueError, match=r"d.npz: variable u has shape \(5, 4, 3\) \(array w\), need \(sample, x\)"):
        open_set(path, mapping={"u": Mapped("w", ("sample", "x"), "input")})
    with pytest.raises(ValueError, match="got a mapping without variables"):
        open_set(path, mapping={})


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"q": VALUES}, r"holds q \(5, 4, 3\), of which none are a pair .* mapping=\{\"u\": Mapped\('q', "),
        ({"x": VALUES, "y": VALUES, "a": VALUES, "u": VALUES}, "holds x .* of which several pairs could be meant"),
        ({"x": VALUES, "y": VALUES[:4]}, r"holds x \(5, 4, 3\) and y \(4, 4, 3\), need \(sample, \*space\) alike"),
        ({"x": VALUES[..., None], "y": VALUES[..., None]}, "holds x .* with 2 axes of space at most"),
        ({"x": VALUES[:0], "y": VALUES[:0]}, r"holds x \(0, 4, 3\)"),
        ({"x": VALUES.astype("S3"), "y": VALUES}, r"variable x has values of type \|S3, need numbers"),
    ],
)
def test_arrays_that_no_convention_explains_are_listed(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=f"d.npz: {message}"):
        open_set(npz(tmp_path / "d.npz", **arrays))


def test_objects_are_never_made(tmp_path):
    objects = np.array([{"run": "this"}], dtype=object)
    for path in (npz(tmp_path / "d.npz", x=objects, y=objects), npy(tmp_path / "d.npy", objects)):
        with pytest.raises(ValueError, match=r"d.np[yz]: array (x|data) holds objects of Python"):
            open_set(path)


def test_more_axes_than_those_of_a_series_need_a_mapping(tmp_path):
    with pytest.raises(ValueError, match=r"d.npy: holds an array \(5, 4, 3, 1\), need \(time, dim\) .* Mapped\('data'"):
        open_set(npy(tmp_path / "d.npy", VALUES[..., None]))


@pytest.mark.parametrize("part", [0.05, 0.4, 0.9, 0.999])
def test_what_is_cut_is_named(tmp_path, part):
    with pytest.raises(OSError, match=r"d.npy: array data .*truncated"):
        open_set(cut(npy(tmp_path / "d.npy", VALUES), part))
    with pytest.raises(OSError, match=r"d.npz: cannot be read as an archive, .*truncated or damaged"):
        open_set(cut(npz(tmp_path / "d.npz", x=VALUES, y=VALUES), part))


@pytest.mark.parametrize("packed", [False, True])
def test_changed_bytes_are_found(tmp_path, packed):
    path = npz(tmp_path / "d.npz", packed=packed, x=VALUES, y=VALUES)
    content = bytearray(path.read_bytes())
    content[250] ^= 1
    path.write_bytes(content)
    with pytest.raises(OSError, match=r"d.npz: its bytes were changed, .*; copy it again"):
        open_set(path)


def test_a_web_page_is_no_array(tmp_path):
    for name in ("d.npy", "d.npz"):
        with pytest.raises(OSError, match=f"{name}: does not begin as a file of NumPy does"):
            open_set(web_page(tmp_path / name))


def test_headers_that_lie_are_refused(tmp_path):
    for header in (
        "{'descr': '<f8', 'fortran_order': False, 'shape': (True, 3)}",
        "{'descr': '<f8', 'fortran_order': False}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-4, -3)}",
        "__import__('os')",
        "(" * 500,
        "\xff",
    ):
        text = header.encode("latin-1").ljust(117) + b"\n"
        path = tmp_path / "d.npy"
        path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(96))
        with pytest.raises((OSError, ValueError), match=r"d\.npy: array data "):
            open_set(path)


def test_an_archive_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(ValueError, match=r"d.npz: is an archive of readme.txt, need arrays of NumPy"):
        open_set(tmp_path / "d.npz")


def test_parts_of_packed_arrays(tmp_path):
    path = npz(tmp_path / "d.npz", packed=True, x=VALUES)
    assert np.array_equal(numpy_files.read(path, "x", Box((1, 0, 2), (2, 2, 1), (2, 3, 1))), VALUES[1:4:2, ::3, 2:3])
    with pytest.raises(ValueError, match=r"d.npz: array x: got starts \(5, 0, 0\)"):
        numpy_files.read(path, "x", Box((5, 0, 0), (1, 1, 1), (1, 1, 1)))
    with pytest.raises(OSError, match=r"d.npz: array z cannot be read"):
        numpy_files.read(path, "z", Box((), (), ()))


def test_an_archive_with_a_comment_is_read(tmp_path):
    buffer = io.BytesIO()
    np.savez(buffer, x=VALUES, y=VALUES + 1)
    (tmp_path / "d.npz").write_bytes(buffer.getvalue())
    with zipfile.ZipFile(tmp_path / "d.npz", "a") as archive:
        archive.comment = b"a comment behind it"
    assert torch.equal(open_set(tmp_path / "d.npz").read("y", [1]), torch.from_numpy(VALUES[[1], None] + 1))


def test_times_of_what_does_not_change_in_time_are_refused(tmp_path):
    np.savez(tmp_path / "some.npz", u=np.zeros((3, 4)), t=np.arange(2.0))
    mapping = {"u": Mapped("u", ("sample", "x"), "input")}
    with pytest.raises(ValueError, match="got the times t, but no variable of the mapping has an axis of time"):
        numpy_files.describe_mapped(StoredFile(tmp_path / "some.npz"), mapping, time="t")
