import numpy as np
import pytest
import torch

from data.formats.files_a import formula
from data.formats.files_b import text, web_page
from sciml.data.formats import series
from sciml.data.set import open_set
from sciml.data.storage.arrays import Box

VALUES = formula(1, (4, 3))[0, 0]


@pytest.mark.parametrize("separator", [",", ";", "\t", " ", ", "])
@pytest.mark.parametrize("header", ["a{0}b{0}c", "# a{0}b{0}c", "%a{0}b{0}c", ""])
def test_a_table_is_one_series(tmp_path, separator, header):
    path = text(tmp_path / "d.csv", VALUES, header.format(separator), separator)
    found = open_set(path)
    assert (len(found), found.states, found.variables["state"].sample_shape) == (1, ("state",), (4, 3))
    assert found.variables["state"].long_name == ("a, b, c" if header else "state")
    assert torch.equal(found.read("state", [0]), torch.from_numpy(VALUES[None]))
    assert torch.equal(
        found.read("state", [0, 0], first=np.array([1, 2]), count=2), torch.from_numpy(np.stack([VALUES[1:3], VALUES[2:]]))
    )
    assert found.attributes == ({"columns": ["a", "b", "c"]} if header else {})


@pytest.mark.parametrize("name", ["t", "time", "Time (s)", "t[s]"])
def test_a_first_column_of_times_is_none_of_the_state(tmp_path, name):
    found = open_set(text(tmp_path / "d.txt", VALUES, f"{name},a,b"))
    assert torch.equal(found.read("state", [0]), torch.from_numpy(VALUES[None, :, 1:]))
    np.testing.assert_array_equal(found.times(np.array([0])), VALUES[None, :, 0])
    assert found.notes == (f"the first column, {name}, is taken as the times",)


def test_empty_cells_are_nan_and_counted(tmp_path):
    (tmp_path / "d.csv").write_text('a,b,c\n1,,"3"\nnan,5,NA\n\n')
    found = open_set(tmp_path / "d.csv")
    np.testing.assert_array_equal(found.read("state", [0]), [[[1, np.nan, 3], [np.nan, 5, np.nan]]])
    assert found.notes == ("the file does not say its times", "3 cells without a number are NaN")


def test_a_last_line_without_an_end_is_noted(tmp_path):
    (tmp_path / "d.csv").write_text("# made by hand\n# in a hurry\r\n1,2\r\n3,4")
    found = open_set(tmp_path / "d.csv")
    assert found.read("state", [0]).tolist() == [[[1.0, 2.0], [3.0, 4.0]]]
    assert found.notes[1:] == (
        "the line 'in a hurry' is taken as a remark, as the columns are not so many",
        "the last line has no end; if the file was cut, its last number may be wrong",
    )


def test_numbers_are_read_to_the_last_digit(tmp_path):
    values = np.random.default_rng(1).standard_normal((50, 4)) * 10.0 ** np.arange(-200, 200, 2).reshape(50, 4)
    assert np.array_equal(open_set(text(tmp_path / "d.csv", values)).read("state", [0])[0].numpy(), values)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n3,four\n", "line 3, column 2 is 'four', need a number"),
        ("a,b\n1,2\n3\n", "line 3 has 1 cells, need 2 as in line 2"),
        ("a,b\n1,2\n3,4,5\n", "line 3 has 3 cells, need 2 as in line 2"),
        ("a,b\n1,2\n3,0x1f\n", "line 3, column 2 is '0x1f', need a number"),
        ("a,b\n1,2\n3,1_0\n", "line 3, column 2 is '1_0', need a number"),
        ("a;b\n1,5;2,5\n", "begins with 'a;b', need rows of numbers"),
        ("name,b\nm,s\n1,2\n", "begins with 'name,b', need rows of numbers below at most one line of names"),
        ("a,b,c\n1,2\n", "has 3 names, 'a,b,c', and 2 columns of numbers; put # before them"),
        ("a,b\n", "begins with 'a,b', need rows of numbers"),
        ("\n\n", "begins with 'nothing', need rows"),
        ("t,b\n1,2\n1,3\n", "column t does not grow, need times in order"),
        ("t,b\n1,2\n,3\n", "column t does not grow"),
        ("t,b\n1,2\n\x00,3\n", "no format that is known|need a number|is no text"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused(tmp_path, content, message):
    (tmp_path / "d.csv").write_text(content)
    with pytest.raises(ValueError, match=f"d.csv: .*({message})") as caught:
        open_set(tmp_path / "d.csv")
    assert "\n" not in str(caught.value)


def test_a_web_page_and_bytes_are_no_table(tmp_path):
    with pytest.raises(ValueError, match=r"d.csv: begins with '<!DOCTYPE html>'"):
        open_set(web_page(tmp_path / "d.csv"))
    (tmp_path / "d.csv").write_bytes(b"a,b\n1,2\n\xff\xfe,3\n")
    with pytest.raises(ValueError, match=r"d.csv: is no text, byte 8 is none of UTF-8"):
        open_set(tmp_path / "d.csv")


def test_text_without_numbers_is_of_no_format(tmp_path):
    (tmp_path / "d.txt").write_text("This is about the data.\nIt is in the other files.\n")
    with pytest.raises(ValueError, match=r"d.txt: its content is of no format that is known here"):
        open_set(tmp_path / "d.txt")


def test_parts_that_are_not_there_are_refused(tmp_path):
    path = text(tmp_path / "d.csv", VALUES)
    with pytest.raises(ValueError, match=r"d.csv: no array 'state', there is table"):
        series.read(path, "state", Box((0, 0), (1, 1), (1, 1)))
    with pytest.raises(ValueError, match=r"d.csv: array table: got starts \(4, 0\)"):
        series.read(path, "table", Box((4, 0), (1, 1), (1, 1)))
