import json
from dataclasses import replace

import pytest
import torch

from generation.cards import OSCILLATORS, bytes_of, changed, toy
from generation.toy_problem import Antiderivative, Oscillators
from laws import problem_laws
from sciml.data.manifest import manifest_path, read_manifest, render
from sciml.data.set import open_set
from sciml.generation.card import SINGLE_TOLERANCE, Storage
from sciml.generation.check import check
from sciml.generation.generate import generate
from sciml.generation.physics import fields_differ
from sciml.generation.samples import make_samples
from sciml.generation.validation import halved_samples
from sciml.numerics.domain import Domain

TRUST = ["generation"]


def oscillators(folder, **parameters):
    return changed(folder, OSCILLATORS, parameters=parameters)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oscillators")
    generate(oscillators(folder), folder / "out")
    return folder / "out"


def rewritten(manifest_file, **entries):
    """The manifest with other entries and a right checksum of its own."""
    manifest_file.write_text(render({**read_manifest(manifest_file), **entries}))


def copied(made, folder):
    for file in made.rglob("shard-*.*"):
        target = folder / file.relative_to(made)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    return folder


def test_the_toy_evolution_passes_the_laws_of_problems():
    problem_laws(Oscillators(), Domain.box([2.0], [17], "open"), coarse_error=6e-3)


def test_states_numbers_and_points_are_stored_with_their_axes_and_instants(made):
    found = open_set(made / "train")
    shapes = {name: (info.role, info.sample_shape, info.particles) for name, info in found.variables.items()}
    assert shapes == {
        "rate": ("parameter", (1,), False),
        "q": ("state", (3, 2, 17), False),
        "end": ("target", (2, 1), True),
    }
    assert found.times(torch.arange(1).numpy()).tolist() == [[0.0, 0.5, 1.5]]
    q = found.read("q", slice(None))
    assert torch.equal(found.read("end", slice(None))[..., 0], q[:, -1, 0, [0, -1]])


def test_only_fields_are_thinned_out_by_the_stride(tmp_path):
    card = replace(oscillators(tmp_path), storage=Storage("float64", stride=2, shard=6, block=3))
    generate(card, tmp_path / "out", split="test")
    found = open_set(tmp_path / "out" / "test")
    assert {name: info.sample_shape for name, info in found.variables.items()} == {"rate": (1,), "q": (3, 2, 9), "end": (2, 1)}
    assert check(tmp_path / "out" / "test", trust=TRUST).ok


def test_manifests_hold_what_is_conserved_and_the_effect_of_half_the_step(made):
    manifests = [read_manifest(path) for path in sorted(made.rglob("shard-*.json"))]
    for manifest in manifests:
        assert len(manifest["conserved"]["energy"]) == manifest["samples"]
        assert max(manifest["conserved"]["energy"]) < 1e-13
        assert len(manifest["halving"]) == 1
    halving = {int(sample): answers for manifest in manifests for sample, answers in manifest["halving"].items()}
    assert halving.keys() == halved_samples(oscillators(made.parent))
    rates = torch.cat([open_set(made / s).read("rate", slice(None)) for s in ("train", "test")])[:, 0]
    for sample, answers in halving.items():
        # The midpoint rule turns by rate h (1 - (rate h)^2 / 12) per step: half of it is off by a quarter of that.
        phase = float(rates[sample]) ** 3 * 0.01**2 / 12 * (1 - 1 / 4) * 1.5
        assert answers.keys() == {"q", "end"}
        assert answers["q"] == pytest.approx(phase / 3**0.5 * (1 + 1 / 9) ** 0.5, rel=0.02)


def test_steady_problems_have_residuals_alone(tmp_path):
    generate(toy(tmp_path), tmp_path / "out")
    manifest = read_manifest(tmp_path / "out" / "test" / "shard-00000.json")
    assert (manifest["conserved"], manifest["halving"]) == ({}, {})


def test_one_percent_of_every_shard_is_solved_again_and_at_least_one(tmp_path):
    card = oscillators(tmp_path).changed(samples={"train": 900, "test": 100})
    for size, each in ((300, 3), (50, 1)):
        chosen = halved_samples(replace(card, storage=Storage("float64", shard=size, block=10)))
        assert [len(chosen & set(range(i, i + size))) for i in range(0, 900, size)] == [each] * (900 // size)
    assert halved_samples(card) != halved_samples(card.changed(seed=12))


def test_a_step_that_does_not_converge_is_a_warning(tmp_path):
    with pytest.warns(UserWarning, match=r"sample \d+: half the step in time changes (q|end) by [0-9.]+ of its norm"):
        generate(oscillators(tmp_path, step=0.5), tmp_path / "out", split="test")


def test_a_sound_evolution_is_sound(made):
    report = check(made, trust=TRUST)
    assert report.ok
    assert (report.residuals, report.remade) == (29, 1)


def test_energy_that_is_lost_is_found_though_the_scheme_agrees_with_itself(tmp_path):
    generate(oscillators(tmp_path, leak=1e-5), tmp_path / "out", split="test")
    manifest = read_manifest(tmp_path / "out" / "test" / "shard-00000.json")
    assert manifest["residual"] < 1e-13
    assert min(manifest["conserved"]["energy"]) == pytest.approx(1 - (1 - 1e-5) ** 300, rel=1e-6)


def test_a_changed_number_of_what_is_conserved_is_named(made, tmp_path):
    out = copied(made, tmp_path)
    file = out / "train" / "shard-00001.h5"
    energy = read_manifest(manifest_path(file))["conserved"]["energy"]
    energy[2] = 1e-3
    rewritten(manifest_path(file), conserved={"energy": energy})
    report = check(out, trust=TRUST)
    assert [(fault.path, fault.sample) for fault in report.faults] == [(file, 8)]
    assert "change of what is conserved, energy, is" in report.faults[0].message


def test_a_changed_effect_of_half_the_step_is_named(made, tmp_path):
    out = copied(made, tmp_path)
    for path in out.rglob("shard-*.json"):
        ((sample, answers),) = read_manifest(path)["halving"].items()
        rewritten(path, halving={sample: {**answers, "q": answers["q"] * 1.1}})
    report = check(out, trust=TRUST)  # makes one of them again
    (fault,) = report.faults
    assert fault.sample in halved_samples(oscillators(made.parent))
    assert "for the change of q by half the step, made again it is" in fault.message


@pytest.mark.parametrize("conserved", [{}, {"energy": [0.0]}, {"energy": [0.0] * 6, "mass": [0.0] * 6}])
def test_missing_numbers_are_faults(made, tmp_path, conserved):
    out = copied(made, tmp_path)
    rewritten(out / "train" / "shard-00001.json", conserved=conserved)
    assert any("energy" in fault.message or "mass" in fault.message for fault in check(out, trust=TRUST).faults)


def test_answers_in_float32_are_checked_in_float64(tmp_path):
    card = replace(oscillators(tmp_path), storage=Storage("float32", 1, 6, 3, "float32"))
    made = make_samples(card, Oscillators(), range(3))
    double = make_samples(oscillators(tmp_path), Oscillators(), range(3))
    gap = (made.fields["q"] - double.fields["q"]).abs().max()
    assert 1e-8 < gap < 150 * torch.finfo(torch.float32).eps  # a rounding in each step
    assert (made.validation.numbers["residual"] > 1e-9).all()
    assert (made.validation.numbers["residual"] < SINGLE_TOLERANCE).all()
    single = replace(oscillators(tmp_path), storage=Storage("float32", 1, 6, 3))
    generate(single, tmp_path / "out", precision="float32")
    assert read_manifest(tmp_path / "out" / "test" / "shard-00000.json")["card"]["storage"]["precision"] == "float32"
    assert check(tmp_path / "out", trust=TRUST).ok


def test_digits_that_were_not_computed_are_not_stored():
    with pytest.raises(ValueError, match=r"storage.dtype: got 'float64' of answers computed in float32"):
        Storage("float64", precision="float32")
    with pytest.raises(ValueError, match=r"storage.precision: got 'half', need one of float32, float64"):
        Storage("float32", precision="half")


def test_a_device_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"device: got 'gpu', need one of torch"):
        generate(toy(tmp_path), tmp_path / "out", device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=r"device: got 'cuda', torch finds no GPU here"):
            generate(toy(tmp_path), tmp_path / "out", device="cuda")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_same_samples_to_rounding(tmp_path):
    card = oscillators(tmp_path)
    here, there = (make_samples(card, Oscillators(), range(3), device=device).fields["q"] for device in ("cpu", "cuda"))
    assert (here - there).abs().max() <= 1e-10 * here.abs().max()


def test_a_variable_of_another_shape_than_it_says_is_refused(tmp_path):
    class Wide(Antiderivative):
        def draw(self, domain, seeds):
            return {"f": super().draw(domain, seeds)["f"].expand(-1, 2, -1)}

    with pytest.raises(ValueError, match=r"variable f: got shape \(3, 2, 17\), its Variable says \(3, 1, 17\)"):
        make_samples(toy(tmp_path), Wide(), range(3))


def test_workers_write_the_same_validation(made, tmp_path):
    generate(oscillators(tmp_path), tmp_path / "out", workers=2)
    assert bytes_of(tmp_path / "out") == bytes_of(made)
    json.loads((tmp_path / "out" / "test" / "shard-00000.json").read_text())


def test_digits_of_another_processor_are_no_fault_in_float32_and_one_in_float64(tmp_path):
    card = replace(oscillators(tmp_path), storage=Storage("float32", 1, 6, 3, "float32"))
    made = make_samples(card, Oscillators(), range(1))
    moved = {name: (values[0] * (1 + 1e-6)).float() for name, values in made.fields.items()}
    assert fields_differ(made, 0, moved, apart=1e-4) == ""
    assert "made again it is" in fields_differ(made, 0, moved, apart=1e-10)
