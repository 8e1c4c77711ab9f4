import errno
import os
import threading

import pytest

from sciml.data.atomic import part_of, remove_parts, write_whole


def test_a_file_is_written_and_nothing_beside_it(tmp_path):
    path = tmp_path / "table.csv"
    for text in (b"old", b"new"):
        write_whole(path, text)
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"table.csv": text}


def test_many_who_write_one_name_at_a_time_leave_one_of_their_texts(tmp_path):
    path, wrong = tmp_path / "table.csv", []
    start = threading.Barrier(4)

    def write(number):
        try:
            start.wait()
            for _ in range(20):
                write_whole(path, b"%d" % number * 10_000)
        except OSError as error:
            wrong.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]
    assert path.read_bytes() in [b"%d" % number * 10_000 for number in range(4)]


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    write_whole(path, b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"table.csv": b"old"}


def test_what_killed_runs_left_is_removed_and_nothing_else(tmp_path):
    kept = [tmp_path / "last.pt", part_of(tmp_path / "last[1].pt"), part_of(tmp_path / "best.pt")]
    for path in (*kept, part_of(tmp_path / "last.pt"), tmp_path / ".last.pt.part"):
        path.write_bytes(b"half")
    remove_parts(tmp_path / "last.pt")
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    remove_parts(kept[1].with_name("last[1].pt"))
    assert not kept[1].exists()


def test_half_a_folder_is_removed_and_the_half_of_a_namesake_is_not(tmp_path):
    folder, namesake = part_of(tmp_path / "flow"), part_of(tmp_path / "flow.nc")
    folder.mkdir()
    (folder / "shard-00000.h5").write_bytes(b"half")
    namesake.write_bytes(b"half")
    remove_parts(tmp_path / "flow")
    assert list(tmp_path.iterdir()) == [namesake]
