"""`generate` is killed at random moments and started again, with changing numbers of workers: the bytes come out the same."""

import os
import random
import subprocess
import sys
import time

from generation.cards import bytes_of, toy
from sciml.generation.generate import generate

CODE = """
import sys; sys.path[:] = sys.argv[4:]
from sciml.generation.card import read_card
from sciml.generation.generate import generate
print("begins", flush=True)
generate(read_card(sys.argv[1]), sys.argv[2], workers=int(sys.argv[3]), progress=lambda *_: print("block", flush=True))
"""


def test_five_kills_leave_no_trace(tmp_path):
    chance = random.Random(20261121)
    card = toy(tmp_path, seconds=0.2)
    whole, out = tmp_path / "whole", tmp_path / "out"
    kills = 0
    for attempt in range(12):
        workers = 1 + attempt % 2
        arguments = [str(tmp_path / "card.toml"), str(out), str(workers), *[p or os.getcwd() for p in sys.path]]
        process = subprocess.Popen([sys.executable, "-c", CODE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == b"begins\n"
            if kills < 5:
                if workers == 2:
                    assert process.stdout.readline() == b"block\n"  # they have started
                time.sleep(chance.uniform(0.0, 0.25))
                process.kill()
                kills += process.wait() == -9
            else:
                assert process.wait(timeout=60) == 0
                break
    assert kills == 5
    generate(card, whole)
    assert bytes_of(out) == bytes_of(whole)
