"""How far LILAS is from the official code, quantity by quantity, where its outputs are at hand.

A folder of reference outputs holds run folders (`config.yaml`, `state.pth`) with `expected.npz`
beside them, and `metrics`, `preprocess` and `context_mask*.npz`. A run that was downloaded has no
expected outputs: for it the table says whether it loads strictly and comes back bit by bit.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor

from lilas.data.preprocess import Preprocessing
from lilas.display import aligned
from lilas.draws import Draws
from lilas.errors import LilasError, broken
from lilas.evaluation.bands import BANDS
from lilas.evaluation.comparison import Comparison
from lilas.evaluation.distances import sliced_emd, total_error, wasserstein
from lilas.evaluation.field_scores import evaluate
from lilas.evaluation.spectra import cross_spectrum, power_spectrum
from lilas.models.diffusion import Inpainting
from lilas.models.losses import LOSSES, similarity
from lilas.models.masks import draw_masks
from lilas.models.rollout import Window, rollout
from lilas.models.sampling import make_sampler
from lilas.official.entries import preprocessing_statistics
from lilas.official.folders import CONFIG, STATE, OfficialRun, open_run
from lilas.official.models import load_run_autoencoder, load_run_emulator, official_state

# Relative errors that rounding explains: of one evaluation, and of many in a row.
SINGLE, MANY = 1e-5, 1e-4
MASKS = 0.005
CPU = torch.device("cpu")
EXPECTED = "expected.npz"

Arrays = dict[str, Tensor]


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        subject: What is compared: a run, or a file of reference outputs.
        quantity: What of it.
        error: max |ours - theirs| / max |theirs|; for masks, of probabilities, absolute.
        allowed: The largest error that passes.
    """

    subject: str
    quantity: str
    error: float
    allowed: float

    @property
    def passed(self) -> bool:
        return self.error <= self.allowed


def check(folder: Path, device: torch.device = CPU) -> Iterator[Row]:
    """Yields every comparison that a folder, or one run's folder or zip, allows.

    Args:
        folder: The folder or zip.
        device: Where LILAS computes.

    Raises:
        LilasError: there is nothing to compare, or a run cannot be loaded.
    """
    found = False
    for path in sorted(_runs(folder)):
        found = True
        yield from check_run(path, device)
    for pattern, compare in _FILES.items():
        for path in sorted(folder.glob(pattern)) if folder.is_dir() else []:
            found = True
            yield from compare(path, device)
    if not found:
        action = "Name a run's folder or zip, or a folder of them."
        raise broken(folder, "official runs or reference outputs", "none", action)


def check_run(path: Path, device: torch.device = CPU) -> Iterator[Row]:
    """Yields the comparisons of one run; arguments as `check`.

    Raises:
        LilasError: it cannot be loaded.
    """
    run = open_run(path)
    load = load_run_autoencoder if run.kind == "autoencoder" else load_run_emulator
    entry, model = load(run)
    back = official_state(entry, model.state_dict())
    # A difference of any bit counts as a whole.
    same = back.keys() == run.state.keys() and all(
        torch.equal(back[key], value) for key, value in run.state.items()
    )
    yield Row(run.name, "state, there and back", 0.0 if same else 1.0, 0.0)
    if path.is_dir() and (path / EXPECTED).is_file():
        expected = _arrays(path / EXPECTED, device)
        model = model.to(device)
        for quantity, ours, allowed in _QUANTITIES[run.kind](run, model, expected):
            theirs = expected[quantity]
            yield Row(run.name, quantity, relative_error(ours, theirs), allowed)


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Returns max |ours - theirs| / max |theirs|."""
    if ours.shape != theirs.shape:
        raise LilasError(f"parity: shapes {tuple(ours.shape)} and {tuple(theirs.shape)}")
    return ((ours.double() - theirs.double()).abs().max() / theirs.double().abs().max()).item()


Quantities = Iterator[tuple[str, Tensor, float]]


@torch.inference_mode()
def _autoencoder(run: OfficialRun, model: torch.nn.Module, e: Arrays) -> Quantities:
    yield "z", model.encode(e["x"]), SINGLE
    yield "y", model.decode(e["z"]), SINGLE
    for name, loss in LOSSES.items():
        yield f"loss_{name}", loss(e["y"], e["x"]), SINGLE
    # The similarity of one latent to none other is undefined.
    if len(e["z"]) > 1:
        yield "loss_similarity", similarity(e["z"]), SINGLE


@torch.no_grad()
def _diffusion(run: OfficialRun, model: torch.nn.Module, e: Arrays) -> Quantities:
    denoiser, x = model.denoiser, e["x"]
    first = _known(x, 1)
    for tag in [name.removeprefix("alpha_") for name in e if name.startswith("alpha_")]:
        t = torch.full((len(x),), float(tag), device=x.device)
        alpha, sigma = denoiser.schedule(t)
        yield f"alpha_{tag}", alpha, SINGLE
        yield f"sigma_{tag}", sigma, SINGLE
        over = (-1, *[1] * (x.ndim - 1))
        x_t = alpha.view(over) * x + sigma.view(over) * e["eps"]
        q = denoiser(x_t, t, label=e["label"], mask=first, known=x)
        yield f"mean_{tag}", q.mean, SINGLE
        yield f"var_{tag}", q.var, SINGLE
    for tag in [name.removeprefix("init_") for name in e if name.startswith("init_")]:
        method, _, steps = tag.partition("_")[0].partition("16")
        if steps:
            raise LilasError(f"{run.path / EXPECTED}: expected samples of 16 steps, found {tag}")
        mask = _known(x, 2 if "ctx2" in tag else 1)
        mask = mask.flip(2) if "backward" in tag else mask
        inpainting = Inpainting(denoiser, e["label"], mask, x)
        sampler = make_sampler(method, inpainting, steps=16, order=3)
        yield f"sample_{tag}", sampler(e[f"init_{tag}"]), MANY


def _solver(run: OfficialRun, model: torch.nn.Module, e: Arrays) -> Quantities:
    x, window = e["x"][None], run.config["trajectory"]["length"]
    step = model.stepper(e["label"].view(1, -1), None)
    first = _known(x[:, :, :window], 1)
    yield "step_ctx1", step(Window(x[:, :, :window] * first, first.flatten()[None], 0)), SINGLE
    for name in [name for name in e if name.startswith("rollout_")]:
        options = {key: int(value) for key, value in _numbers(name.split("_")[1:])}
        context = options.pop("ctx")
        yield (
            name,
            rollout(
                step,
                x[:, :, :context],
                states=e[name].shape[2],
                window=window,
                overlap=options.get("overlap", context),
                crop=options.get("crop"),
            ),
            MANY,
        )


_QUANTITIES: dict[str, Callable[[OfficialRun, torch.nn.Module, Arrays], Quantities]] = {
    "autoencoder": _autoencoder,
    "diffusion": _diffusion,
    "solver": _solver,
}


def _preprocessing(path: Path, device: torch.device) -> Iterator[Row]:
    described = yaml.safe_load(path.with_suffix(".yaml").read_text(encoding="utf-8"))
    run = OfficialRun(path, "autoencoder", {"dataset": described}, {})
    preprocessing = Preprocessing.from_statistics(preprocessing_statistics(run), path)
    e = _arrays(path, device)
    forward = preprocessing.forward(e["x"], channel_axis=-1)
    inverse = preprocessing.inverse(e["preprocessed"], channel_axis=-1)
    for quantity, ours in (("preprocessed", forward), ("postprocessed", inverse)):
        yield Row(_subject(path), quantity, relative_error(ours, e[quantity]), SINGLE)


def _metrics(path: Path, device: torch.device) -> Iterator[Row]:
    e = _arrays(path, device)
    u, v = e["u"], e["v"]
    comparison, scores = Comparison(u, v, u.ndim), evaluate(u, v, spatial=u.ndim)
    k, power = power_spectrum(u, u.ndim)
    found = {
        "mean": comparison.average(u),
        "second_moment": comparison.average(u.square()),
        "rmse": scores["rmse"],
        "nrmse": scores["nrmse"],
        "vrmse": scores["vrmse"],
        "k": k,
        "power_u": power,
        "power_v": power_spectrum(v, u.ndim)[1].mean(0),
        "cross": cross_spectrum(u.expand_as(v), v, u.ndim)[1].mean(0),
        "rmse_power": torch.stack([scores[f"power_spectrum_{band}"] for band in BANDS]),
        "rmse_cross": torch.stack([scores[f"cross_spectrum_{band}"] for band in BANDS]),
    }
    found["mass"] = total_error(u, v, u.ndim)
    if len(v) > 1:
        found["spread"] = scores["spread"]
    if "abs_w1" in e:
        members = v.abs()[:, None]
        found["abs_w1"] = torch.stack([wasserstein(u.abs(), one, u.ndim) for one in members])
        found["abs_w1_pooled"] = wasserstein(u.abs(), v.abs(), u.ndim)
        found["abs_semd_seed42_proj16"] = sliced_emd(u.abs(), v.abs(), u.ndim)
    for quantity, ours in found.items():
        # The sliced distance's directions and sums are in single precision there.
        allowed = MANY if "semd" in quantity else SINGLE
        yield Row(_subject(path), quantity, relative_error(ours, e[quantity]), allowed)


def _masks(path: Path, _: torch.device) -> Iterator[Row]:
    e = _arrays(path, CPU)
    masks = draw_masks(
        Draws(0, range(200_000)),
        int(e["length"]),
        rate=float(e["lmbda"]),
        at_least=int(e["atleast"]),
        forward=float(e["rho"]),
    )
    shares = [(masks == pattern).all(1).double().mean() for pattern in e["patterns"]]
    error = (torch.stack(shares) - e["probability"]).abs().max().item()
    yield Row(_subject(path), "probabilities", error, MASKS)


_FILES: dict[str, Callable[[Path, torch.device], Iterator[Row]]] = {
    "preprocess/*.npz": _preprocessing,
    "metrics/*.npz": _metrics,
    "context_mask*.npz": _masks,
}


def table(rows: list[Row]) -> str:
    """Returns comparisons as an aligned table with a line of totals."""
    cells = [["run or file", "quantity", "error", "allowed", ""]]
    for row in rows:
        error = "exact" if row.error == 0 else f"{row.error:.1e}"
        allowed = "exact" if row.allowed == 0 else f"{row.allowed:g}"
        cells.append([row.subject, row.quantity, error, allowed, "" if row.passed else "FAILS"])
    failed = sum(not row.passed for row in rows)
    total = f"{len(rows)} comparisons, " + (f"{failed} fail" if failed else "all pass")
    return "\n".join([*aligned(cells, left=(0, 1, 4)), "", total])


def _runs(folder: Path) -> Iterator[Path]:
    if folder.suffix == ".zip":
        yield folder
    elif folder.is_dir():
        for state in folder.rglob(STATE):
            if (state.parent / CONFIG).is_file():
                yield state.parent
        yield from folder.rglob("*.zip")


def _known(x: Tensor, count: int) -> Tensor:
    """Returns a mask that is 1 on the first states of windows x, shaped to expand to it."""
    return (torch.arange(x.shape[2], device=x.device) < count).view(1, 1, -1, *[1] * (x.ndim - 3))


def _numbers(words: list[str]) -> Iterator[tuple[str, str]]:
    for word in words:
        yield word.rstrip("0123456789"), word.lstrip("abcdefghijklmnopqrstuvwxyz")


def _arrays(path: Path, device: torch.device) -> Arrays:
    with np.load(path) as arrays:
        found = {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays.files}
    return {name: values.to(device) for name, values in found.items()}


def _subject(path: Path) -> str:
    return path.stem if path.stem.startswith("context") else f"{path.parent.name}/{path.stem}"
