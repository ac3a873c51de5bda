"""Entries of other packages: six of them in one run, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr
import yaml

from conftest import Pipeline
from lilas.records.weights import read_record

# What a study reads, without torch.
SETTINGS = '''
from typing import ClassVar, Literal

from pydantic import Field

from lilas.study.autoencoders import TrainedAutoencoder
from lilas.study.emulators import EmulatorSettings
from lilas.study.samplers import GuidanceSettings, SamplingSettings
from lilas.systems.base import System
from lilas.settings.values import Positive


class Waves(System):
    """Standing waves."""

    system: Literal["waves"] = Field(description="Waves.")
    speed: float = Field(gt=0, description="Speed.")

    components: ClassVar = {"height": 1, "velocity": 2}
    axes: ClassVar = ("x", "y")
    parameters: ClassVar = ("speed",)
    implementation: ClassVar = "toy.computed:simulate"


class Mean(TrainedAutoencoder):
    """Means over blocks, and a linear map of the channels."""

    architecture: Literal["mean"] = Field(description="Means.")
    block: Positive = Field(default=2, description="Points of a block along each axis.")

    implementation: ClassVar = "toy.computed:build_mean"

    @property
    def factor(self):
        return self.block


class Drift(EmulatorSettings):
    """Learns a window's change, as a denoiser learns noise."""

    method: Literal["drift"] = Field(description="Change.")

    implementation: ClassVar = "toy.computed:build_drift"
    predicts: ClassVar = "denoiser"
    probabilistic: ClassVar = True


class Leap(SamplingSettings):
    """All steps at once."""

    algorithm: Literal["leap"] = Field(description="One evaluation.")
    factor: float = Field(default=1.0, description="Of the mean.")

    implementation: ClassVar = "toy.computed:leap"


class Bound(GuidanceSettings):
    """Keeps the mean within a bound."""

    kind: Literal["bound"] = Field(description="A bound.")
    limit: float = Field(gt=0, description="Largest value.")

    implementation: ClassVar = "toy.computed:bound"
'''

# What stages import.
COMPUTED = """
import numpy as np
import torch
from azula.denoise import Denoiser, GaussianPosterior

from lilas.models.autoencoder import Autoencoder
from lilas.models.methods import Diffusion
from lilas.systems.base import SPLITS, Trajectories


def simulate(settings, part):
    x, y = (np.arange(n) / n for n in settings.size)
    time = np.arange(float(settings.steps))
    found = {}
    for number, split in enumerate(SPLITS):
        count = getattr(settings.trajectories, split)
        phase = np.random.default_rng([settings.seed, number]).uniform(size=count)
        moved = phase[:, None, None, None] + settings.speed * time[:, None, None]
        grid = 2 * np.pi * (x[:, None] + y - moved)
        height = np.sin(grid)
        found[split] = Trajectories(
            fields={"height": height, "velocity": np.stack([height, np.cos(grid)], -1)},
            time=time,
            coordinates={"x": x, "y": y},
            parameters={"speed": np.full(count, settings.speed)},
            boundaries={"x": "periodic", "y": "periodic"},
        )
    return found


def build_mean(settings, pixel_channels, axes):
    pool, channels = settings.block, settings.latent_channels
    encoder = torch.nn.Sequential(
        torch.nn.AvgPool2d(pool), torch.nn.Conv2d(pixel_channels, channels, 1)
    )
    decoder = torch.nn.Sequential(
        torch.nn.Conv2d(channels, pixel_channels, 1), torch.nn.Upsample(scale_factor=pool)
    )
    return Autoencoder(
        encoder,
        decoder,
        pixel_channels=pixel_channels,
        latent_channels=channels,
        factor=pool,
        spatial=len(axes),
        saturation=settings.saturation,
    )


def build_drift(settings, backbone):
    return Diffusion(backbone, schedule="rectified")


def leap(settings, denoiser, draws):
    return lambda noise: settings.factor * denoiser(noise, torch.ones(())).mean


class Bounded(Denoiser):
    def __init__(self, denoiser, limit, window):
        super().__init__()
        assert window.mask.shape == (len(window.known), window.known.shape[2])
        assert window.observed is None
        self.denoiser, self.schedule, self.limit = denoiser, denoiser.schedule, limit

    def forward(self, x_t, t):
        q = self.denoiser(x_t, t)
        return GaussianPosterior(q.mean.clamp(-self.limit, self.limit), q.var)


def bound(settings, denoiser, window):
    return Bounded(denoiser, settings.limit, window)
"""

METRIC = """
from lilas.evaluation.metric import Metric

SEVEN = Metric("seven", lambda c: 7 + 0 * c.mse, "7", "1", "lower", "a test")
"""

ENTRY_POINTS = """
[lilas.systems]
waves = toy.settings:Waves
[lilas.autoencoders]
mean = toy.settings:Mean
[lilas.methods]
drift = toy.settings:Drift
[lilas.algorithms]
leap = toy.settings:Leap
[lilas.guidance]
bound = toy.settings:Bound
[lilas.metrics]
seven = toy.metric:SEVEN
"""


def write_package(
    folder: Path,
    entry_points: str = ENTRY_POINTS,
    settings: str = SETTINGS,
    metric: str = METRIC,
) -> None:
    """Writes a package as an installer would leave it: code, and metadata with entry points."""
    package, metadata = folder / "toy", folder / "toy-1.0.dist-info"
    for part in (package, metadata):
        part.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "settings.py").write_text(settings)
    (package / "computed.py").write_text(COMPUTED)
    (package / "metric.py").write_text(metric)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(entry_points)


def with_package(pipeline: Pipeline, **written: str) -> Pipeline:
    folder = pipeline.folder / "packages"
    write_package(folder, **written)
    path = f"{pipeline.environment['PYTHONPATH']}:{folder}"
    pipeline.environment = pipeline.environment | {"PYTHONPATH": path}
    return pipeline


def use_all(study: Path) -> None:
    """Makes the miniature one of the toy's entries, beside some of LILAS."""
    values = yaml.safe_load(study.read_text())
    dataset = values["datasets"]["convection"]
    dataset["source"] = {
        **{"kind": "simulate", "system": "waves", "size": [16, 16], "steps": 12, "seed": 0},
        **{"speed": 0.05, "trajectories": {"train": 4, "valid": 2, "test": 2}},
    }
    dataset["states"] = {"fields": ["height", "velocity"]}
    dataset["label"] = {}
    dataset["evaluation"].pop("physics")
    train = values["autoencoders"]["c16"].pop("train")
    values["autoencoders"] = {
        "mean": {"architecture": "mean", "latent_channels": 3, "block": 2, "train": train}
    }
    network = {"channels": 16, "blocks": 1, "heads": 2, "embedding": 16}
    common = {"autoencoders": ["mean"], "network": network, "train": train}
    values["emulators"] = {
        "drift": {"method": "drift", "samplers": ["leap", "ab4"], **common},
        "diffusion": {"method": "diffusion", "samplers": ["leap"], **common},
        "solver": {"method": "solver", "samplers": ["direct"], **common},
    }
    guided = {"algorithm": "leap", "members": 2, "guidance": {"kind": "bound", "limit": 0.25}}
    values["samplers"] |= {"leap": guided}
    study.write_text(yaml.safe_dump(values))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    pipeline = with_package(Pipeline(tmp_path_factory.mktemp("plugins") / "pipeline").lay_out())
    use_all(pipeline.study)
    pipeline.run()
    return pipeline


@pytest.mark.slow
def test_six_plugins_run_from_data_to_report(run):
    dataset = run.results / "convection"
    assert list(run.folder.glob("results/data/simulate-*/waves/data/test/waves.hdf5"))
    latents = xr.open_zarr(dataset / "mean-s0/latents/test.zarr")
    assert (latents.attrs["compression"], latents.sizes["channel"]) == (4, 3)
    # The wrapper bounds all but what the network is given; the other sampler goes without.
    leap, plain = (
        xr.open_zarr(dataset / f"mean-s0/drift-s0/{sampler}/rollouts.zarr")["latent"].values
        for sampler in ("leap", "ab4")
    )
    assert abs(leap[:, :, 1:]).max() <= 0.25 < abs(plain[:, :, 1:]).max()
    record = read_record(dataset / "mean-s0/drift-s0/weights.safetensors")
    assert record["implementations"] == ["toy.computed:build_drift"]


@pytest.mark.slow
def test_tables_figures_and_claims_know_a_plugin(run):
    horizons = pd.read_csv(run.results / "tables/horizons.csv", keep_default_na=False)
    assert {"drift", "diffusion", "solver"} <= set(horizons["method"])
    seven = horizons[horizons["metric"] == "seven"]
    assert (seven["value"] == 7).all()
    assert "drift-s0" in set(seven["emulator"])
    pairs = pd.read_csv(run.results / "tables/differences.csv")
    assert {"mean-s0/drift-s0/leap", "mean-s0/drift-s0/ab4"} <= set(pairs["first"])
    paper = pd.read_csv(run.results / "tables/table6_vrmse.csv")
    assert {"drift", "diffusion", "solver"} <= set(paper["method"])
    claims = json.loads((run.results / "claims.json").read_text())["claims"]
    assert len(claims) == 6
    report = (run.results / "report.html").read_text()
    assert "drift (mean, leap)" in report
    assert "the best drift" in report


@pytest.mark.slow
def test_an_edited_plugin_metric_evaluates_again_and_nothing_else(run):
    assert run.planned() == {}
    metric = run.folder / "packages/toy/metric.py"
    computed = run.folder / "packages/toy/computed.py"
    before = metric.read_text(), computed.read_text()
    try:
        metric.write_text(before[0].replace("7 + 0", "8 + 0"))
        planned = set(run.planned())
        metric.write_text("# A comment.\n" + before[0])
        computed.write_text(before[1] + "\n\nOTHER = 1\n")
        assert run.planned() == {}
    finally:
        metric.write_text(before[0])
        computed.write_text(before[1])
    assert {"evaluate", "baselines", "reconstruction", "tables"} <= planned
    assert not {"simulate", "statistics", "autoencoder", "latents", "emulator", "rollout"} & planned


@pytest.mark.slow
def test_an_edited_plugin_metric_reaches_the_tables_of_rollouts(run, tmp_path):
    """Metrics of rollouts are kept while they are current, which these no longer are."""
    twin = run.copy(tmp_path / "twin")
    path = f"{twin.folder / 'src'}:{twin.folder / 'packages'}"
    twin.environment = twin.environment | {"PYTHONPATH": path}
    metric = twin.folder / "packages/toy/metric.py"
    metric.write_text(metric.read_text().replace("7 + 0", "8 + 0"))
    twin.run()
    horizons = pd.read_csv(twin.results / "tables/horizons.csv", keep_default_na=False)
    seven = horizons[horizons["metric"] == "seven"]
    assert (seven["value"] == 8).all()
    assert "drift-s0" in set(seven["emulator"])


@pytest.mark.slow
def test_the_code_of_a_plugin_is_in_the_fingerprint_of_what_it_made(run):
    weights = run.results / "convection/mean-s0/drift-s0/weights.safetensors"
    computed = run.folder / "packages/toy/computed.py"
    before = computed.read_text()
    code = (
        "import sys\n"
        "from lilas.records.provenance import differences\n"
        "from lilas.records.weights import read_record\n"
        "print(differences(read_record(sys.argv[1])))\n"
    )

    def told() -> str:
        line = [sys.executable, "-c", code, str(weights)]
        options = {"capture_output": True, "text": True, "check": True}
        return subprocess.run(line, cwd=run.folder, env=run.environment, **options).stdout

    try:
        assert "code:" not in told()
        computed.write_text(before.replace('schedule="rectified"', 'schedule="log_linear"'))
        assert "code: the code of stage 'emulator' differs" in told()
    finally:
        computed.write_text(before)


def test_a_wrapper_of_no_denoiser_is_refused(pipeline):
    with_package(pipeline)
    use_all(pipeline.study)
    values = yaml.safe_load(pipeline.study.read_text())
    values["samplers"]["direct"]["guidance"] = {"kind": "bound", "limit": 1.0}
    pipeline.study.write_text(yaml.safe_dump(values))
    done = pipeline.run("--dry-run", check=False)
    assert done.returncode != 0
    assert "samplers.direct: guidance wraps a denoiser; direct has none" in done.stderr


def test_a_study_reads_plugins_without_torch(pipeline):
    with_package(pipeline)
    use_all(pipeline.study)
    code = (
        "import sys; from lilas.study.read import read_study; "
        f"read_study({str(pipeline.study)!r}); print('torch' in sys.modules, 'toy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=pipeline.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "True"]


@pytest.mark.parametrize(
    ("written", "words"),
    [
        (
            {"entry_points": "[lilas.algorithms]\nab = toy.settings:Leap\n"},
            ["plug-in 'ab' of lilas.algorithms", "'ab' is taken"],
        ),
        (
            {"entry_points": "[lilas.methods]\nother = toy.settings:Drift\n"},
            ["plug-in 'other' of lilas.methods", 'must be Literal["other"]'],
        ),
        (
            {"entry_points": "[lilas.systems]\nwaves = toy.settings:Mean\n"},
            ["plug-in 'waves' of lilas.systems", "no class derived from lilas.systems.base.System"],
        ),
        (
            {"entry_points": "[lilas.guidance]\nbound = toy.nowhere:Bound\n"},
            ["plug-in 'bound' of lilas.guidance", "No module named 'toy.nowhere'"],
        ),
        (
            {"settings": "raise RuntimeError('it is\\nbroken')\n"},
            ["plug-in", "RuntimeError: it is broken", "Mend or uninstall it. (and 4 more)"],
        ),
        (
            {"entry_points": "[lilas.methods]\npersistence = toy.settings:Drift\n"},
            ["plug-in 'persistence' of lilas.methods", "'persistence' is taken"],
        ),
        (
            {"settings": SETTINGS.replace('Field(description="Change.")', 'Field("drift")')},
            ["plug-in 'drift' of lilas.methods", "without a default"],
        ),
        (
            {"settings": SETTINGS.replace('    predicts: ClassVar = "denoiser"\n', "")},
            ["plug-in 'drift' of lilas.methods", "it does not say its predicts"],
        ),
        (
            {"settings": SETTINGS.replace("def factor(self)", "def block_size(self)")},
            ["plug-in 'mean' of lilas.autoencoders", "it does not say its factor"],
        ),
        (
            {
                "settings": SETTINGS.replace("toy.computed:leap", "").replace(
                    'implementation: ClassVar = ""', "seed: int = 3"
                )
            },
            ["plug-in 'leap' of lilas.algorithms", "it does not say its implementation"],
        ),
        (
            {"settings": SETTINGS.replace("factor: float", "overlap: float")},
            ["plug-in 'leap' of lilas.algorithms", "its setting 'overlap' is SamplerEntry's"],
        ),
        (
            {
                "entry_points": "[lilas.metrics]\nnusselt = toy.metric:SEVEN\n",
                "metric": METRIC.replace('"seven"', '"nusselt"'),
            },
            ["plug-in 'nusselt' of lilas.metrics", "taken by a law"],
        ),
        (
            {"entry_points": "[lilas.metrics]\nvrmse = toy.metric:SEVEN\n"},
            ["plug-in 'vrmse' of lilas.metrics", "'vrmse' is taken"],
        ),
        (
            {"entry_points": "[lilas.metrics]\neight = toy.metric:SEVEN\n"},
            ["plug-in 'eight' of lilas.metrics", "no Metric of the name 'eight'"],
        ),
    ],
    ids=[
        *("taken", "renamed", "foreign", "missing", "broken", "baseline", "default", "silent"),
        *("sizeless", "idle", "shared", "law", "taken-metric", "renamed-metric"),
    ],
)
def test_plugins_that_cannot_be_used_are_refused_in_one_line(pipeline, written, words):
    with_package(pipeline, **written)
    done = pipeline.run("--dry-run", check=False)
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in line
