"""Where samples are kept is chosen by size, and told."""

import logging

import torch

from sciml.data import caching
from sciml.data.caching import chosen_cache, memory_allowed
from sciml.data.stream import stream

CPU = torch.device("cpu")


def test_what_fits_is_kept_and_what_does_not_is_read_from_disk():
    allowed = memory_allowed()
    assert allowed is not None
    assert 10**8 < allowed < 10**14
    assert chosen_cache(10**6, CPU)[0] == "device"
    place, told = chosen_cache(allowed, CPU)
    assert place == "disk"
    assert "is more than a quarter of" in told


def test_what_is_asked_for_is_done():
    assert chosen_cache(10**15, CPU, "memory") == (
        "memory",
        "samples are kept on host memory, as asked for: 1,000,000,000.0 MB",
    )


def test_the_limits_of_all_groups_above_count(tmp_path, monkeypatch):
    inner = tmp_path / "queue" / "job"
    inner.mkdir(parents=True)
    for group, most in ((tmp_path, "max"), (tmp_path / "queue", "5000"), (inner, "9000")):
        (group / "memory.max").write_text(most + "\n")
        (group / "memory.current").write_text("3000\n")
        (group / "memory.stat").write_text("anon 1\ninactive_file 700\n")
    monkeypatch.setattr(caching, "_CGROUPS", ((tmp_path, "", "memory.max", "memory.current", "inactive_file"),))
    monkeypatch.setattr(caching, "_groups", lambda home, controller: [inner, inner.parent, home])
    assert memory_allowed() == 5000 - 3000 + 700


def test_a_stream_tells_where_its_samples_are(tmp_path, caplog):
    caplog.set_level(logging.INFO, "sciml.data")
    torch.save({"x": torch.zeros(4, 8), "y": torch.zeros(4, 8)}, tmp_path / "set.pt")
    data = stream(tmp_path / "set.pt", batch_size=2)
    assert data.cache == "device"
    assert data.told.startswith("samples are kept in memory: 0.0 MB of")
    assert any(data.told in record.getMessage() for record in caplog.records)
