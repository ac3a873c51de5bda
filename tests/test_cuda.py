"""What a CUDA device computes is what the CPU does: `make test-cuda`, on a machine that has one."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from everywhere import computed, networks
from lilas.data.windows import Windows
from lilas.devices import compile_modules
from lilas.draws import Draws
from lilas.models.operators import make_operator
from lilas.models.rollout import Observed, Window
from lilas.official import parity
from lilas.official.parity import relative_error
from lilas.study.entries import SamplerEntry
from test_training import OPTIMIZERS, Waves, fit, same, settings, stop

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="make test-cuda")

CPU, DEVICE = torch.device("cpu"), torch.device("cuda")
KINDS = [name for name, _, _ in networks()]


def made(kind, **options):
    return next((model, x) for name, model, x in networks(**options) if name == kind)


# The largest difference over the largest value. Float32 may sum in another order; TF32 has 10 bits
# after the point and bfloat16 seven, and both must be seen to round.
@pytest.mark.parametrize(
    ("precision", "least", "most"),
    [("float32", 0.0, 1e-4), ("tf32", 1e-5, 2e-2), ("bfloat16", 1e-4, 1e-1)],
)
@pytest.mark.parametrize("kind", KINDS)
def test_every_network_computes_what_it_does_on_the_cpu(kind, precision, least, most):
    model, x = made(kind)
    expected = computed(model, x)
    found = computed(model.to(DEVICE), x.to(DEVICE), precision)
    errors = {name: relative_error(found[name], values) for name, values in expected.items()}
    assert max(errors.values()) <= most, errors
    assert errors["gradient"] >= least, errors


@pytest.mark.parametrize("kind", ["autoencoder, 2-D", "diffusion, transformer"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_compiled_networks_compute_what_eager_ones_do(kind, checkpointing):
    model, x = made(kind)
    expected = computed(model, x)
    model, _ = made(kind, checkpointing=checkpointing)
    model = model.to(DEVICE)
    parts = [model.backbone] if hasattr(model, "backbone") else [model.encoder, model.decoder]
    compile_modules(DEVICE, *parts)
    found = computed(model, x.to(DEVICE))
    for name, values in expected.items():
        assert relative_error(found[name], values) < 1e-4, name


def test_samples_draw_the_same_numbers():
    names, x = [(0, 1), (2, 3)], torch.empty(2, 3, 5)
    here, there = Draws(7, names), Draws(7, names)
    assert torch.equal(here.uniform(), there.uniform())
    for _ in range(2):
        found = there.normal(x.to(DEVICE)).cpu()
        assert torch.allclose(here.normal(x), found, rtol=1e-5, atol=1e-6)


# All states on the device; streamed through half of them.
@pytest.mark.parametrize("memory", [1e9, 800])
def test_batches_are_the_same(memory):
    options = {"length": 2, "batch_size": 5, "seed": 3, "memory": memory}
    here, there = (Windows(Waves(), device=device, **options) for device in (CPU, DEVICE))
    assert there.states.device.type == "cuda"
    for step in range(20):
        for a, b in zip(here.batch(step), there.batch(step), strict=True):
            assert b.device.type == "cuda"
            assert torch.equal(a, b.cpu())


def test_guided_windows_are_the_same():
    model, x = made("diffusion, transformer")
    guidance = {"kind": "mmps", "operator": {"kind": "subsample", "factor": 4}, "noise": 0.1}
    sampler = SamplerEntry(algorithm="ab", guidance=guidance)
    operator = make_operator(sampler.guidance.operator, ("x", "y"), x.shape[3:])

    def seen(windows):
        return operator.observe(windows.transpose(1, 2).flatten(0, 1)).reshape(len(windows), -1)

    found = []
    for device in (CPU, DEVICE):
        states, label = x.to(device), torch.ones(2, 3, device=device)
        mask = (torch.arange(5, device=device) < 1).expand(2, -1)
        known = states * mask.view(2, 1, 5, 1, 1)
        step = model.to(device).eval().stepper(label, sampler, Draws(0, range(2)))
        found.append(step(Window(known, mask, 0, Observed(seen(states), seen))).cpu())
    assert relative_error(found[1], found[0]) < 1e-3
    # It is guided: what is observed is met.
    assert (seen(found[0]) - seen(x)).square().mean().sqrt() < 0.3


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_stopped_run_resumes_to_the_same_bits(tmp_path, optimizer):
    options = settings(optimizer=optimizer)
    whole = fit(tmp_path / "whole", options, device=DEVICE)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "parts", options, broken=[(17, stop)], device=DEVICE)
    parts = fit(tmp_path / "parts", options, device=DEVICE)
    # Its weights are those of the checkpoint, and are written as they come.
    again = fit(tmp_path / "parts", options, broken=[(0, stop)], device=DEVICE)
    for outcome in (parts, again):
        assert same(whole.last, outcome.last)
        assert same(whole.best, outcome.best)
        for entry, other in zip(whole.history, outcome.history, strict=True):
            assert entry["loss"] == other["loss"]


def test_the_official_codes_outputs_are_met():
    rows = list(parity.check(Path(__file__).parent / "data" / "lola_1.1.0", DEVICE))
    assert len(rows) > 200
    assert [(row.subject, row.quantity, row.error) for row in rows if not row.passed] == []


def run(pipeline, device):
    """Returns the scores of rollouts and reconstructions, by file."""
    config = f"study={pipeline.study.name}", f"device={device}"
    done = pipeline.snakemake("--cores", "all", "--config", *config)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert (pipeline.results / "report.html").is_file()
    return {
        str(path.relative_to(pipeline.results)): pd.read_parquet(path)
        for path in sorted(pipeline.results.rglob("*.parquet"))
        if path.name in ("metrics.parquet", "reconstruction.parquet")
    }


@pytest.mark.slow
def test_the_pipeline_has_the_cpus_scores(pipeline, tmp_path):
    here = pipeline.copy(tmp_path / "cpu")
    with ThreadPoolExecutor() as pool:
        expected, found = pool.map(run, [here, pipeline], ["cpu", "cuda"])
    assert found.keys() == expected.keys()
    assert len(found) >= 4
    for name, table in found.items():
        keys = [key for key in table if key != "value"]
        assert table[keys].equals(expected[name][keys]), name
        kept = table["metric"] == "vrmse"
        values = (one["value"][kept] for one in (table, expected[name]))
        np.testing.assert_allclose(*values, rtol=0.02, atol=1e-6, err_msg=name)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a compiler")
def test_the_pipeline_runs_compiled_in_bfloat16(pipeline):
    pipeline.edit(
        "      threads: 1\n", "      threads: 1\n      precision: bfloat16\n      compile: true\n"
    )
    pipeline.edit("members: 2, batch_size: 4}", "members: 2, batch_size: 4, compile: true}")
    pipeline.edit("blocks: 2, heads: 2,", "blocks: 2, heads: 2, checkpointing: true,")
    for table in run(pipeline, "cuda").values():
        assert np.isfinite(table["value"]).all()
