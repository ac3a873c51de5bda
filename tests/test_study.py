"""What a study may not say: one mistake for every refusal that `lilas.study` knows.

What mutations of studies give is in test_study_mutations.py.
"""

import ast
import dataclasses
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import lilas.study
import test_start
import test_sweep
from lilas.errors import LilasError
from lilas.plan.given import check_given
from lilas.study.datasets import Folder
from lilas.study.extent import Extent
from lilas.study.read import Config, read_config, read_study, study_path
from lilas.study.study import Study
from lilas.study.yaml import read_yaml

MINIATURE = Path(__file__).parent / "data" / "miniature.yaml"
RELEASED = Path(__file__).parents[1] / "workflow" / "studies" / "released.yaml"
GONE = object()

VIT = {
    "architecture": "vit",
    "latent_channels": 4,
    "patch_size": 4,
    "transformer": {"channels": 16, "blocks": 1, "heads": 2},
}
CONVECTION = "datasets.convection"
SOURCE = "datasets.convection.source"
UNET = {"architecture": "unet", "channels": [8, 16], "blocks": [1, 1], "embedding": 16}
GUIDANCE = "samplers.ab4.guidance"
ENSEMBLE = {
    "method": "ensemble",
    "autoencoders": ["c16"],
    "samplers": ["direct"],
    "network": {"channels": 16, "blocks": 1, "heads": 2, "embedding": 16},
    "train": {
        "steps": 8,
        "batch_size": 4,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "validate_every": 4,
    },
}


def guided(operator: Any = None, **others: Any) -> dict[str, Any]:
    """Guidance that is right but for what is given."""
    fitting = {"kind": "subsample", "factor": 4}
    return {"kind": "mmps", "operator": operator or fitting, "noise": 0.1} | others


def stripe(axis: str, width: int, spacing: int) -> dict[str, Any]:
    return {"kind": "stripe", "axis": axis, "width": width, "spacing": spacing}


ASKED = {"parameters": ["Rayleigh"]}
WHAT_IF = {"parameter": "Rayleigh", "values": [1e4, 1e5]}
# A key and what is wrong with its value, and words of the message.
MISTAKES = [
    (SOURCE, {"kind": "well", "name": "rayleigh_bernard"}, ["source", "mean 'rayleigh_benard'?"]),
    (SOURCE, {"kind": "well", "name": "shear_flow"}, ["'buoyancy'", "tracer, pressure, velocity"]),
    (
        SOURCE,
        {"kind": "well", "name": ["MHD_64", "MHD_256"]},
        ["joined datasets must agree", "MHD_256 has size 256, 256, 256, MHD_64 64, 64, 64"],
    ),
    (
        SOURCE,
        {"kind": "well", "name": ["MHD_64", "MHD_64"]},
        ["source.name: 'MHD_64' is there twice"],
    ),
    (SOURCE, {"kind": "well", "name": []}, ["source.name", "at least 1 item"]),
    (SOURCE, {"kind": "path", "path": ["a", "b", "a"]}, ["source.path: 'a' is there twice"]),
    (
        SOURCE,
        {"kind": "path", "path": ["a", "b", "b/../a"]},
        ["source: path: 'b/../a' and 'a' are one folder"],
    ),
    (
        SOURCE,
        {"kind": "well", "name": "rayleigh_benard", "size": [512]},
        ["source", "size [512]: expected a number for each axis, x, y"],
    ),
    (f"{SOURCE}.rayleigh", [-1e4], ["source.rayleigh", "greater than 0", "-10000"]),
    (f"{SOURCE}.rayleigh", [0], ["source.rayleigh", "greater than 0"]),
    (f"{SOURCE}.rayleigh", [math.nan], ["source.rayleigh", "finite"]),
    (f"{SOURCE}.rayleigh", [math.inf], ["source.rayleigh", "finite"]),
    (f"{SOURCE}.rayleigh", [1e30], ["source.rayleigh", "100000000000000"]),
    (f"{SOURCE}.rayleigh", [2e4, 2e4], ["source.rayleigh", "twice"]),
    (f"{SOURCE}.rayleigh", [2e4, 2e4 + 1e-9], ["source: rayleigh", "one name of a file"]),
    (f"{SOURCE}.prandtl", [0.0], ["source.prandtl", "0.000001"]),
    (f"{SOURCE}.prandtl", [math.inf], ["source.prandtl", "finite"]),
    (f"{SOURCE}.time_step", math.inf, ["source.time_step", "finite"]),
    (f"{SOURCE}.time_step", 0.03, ["time_step 0.03 does not divide start 2"]),
    (f"{SOURCE}.time_step", 0.04, ["time_step 0.04 does not divide interval 0.25"]),
    (f"{SOURCE}.time_step", 0.5, ["time_step 0.5 does not divide interval 0.25"]),
    (f"{SOURCE}.start", math.inf, ["source.start", "finite"]),
    (f"{SOURCE}.start", 1e30, ["start 1e+30 at time_step 0.025 takes", "at most 1e+09"]),
    (f"{SOURCE}.steps", 10**9, ["source: steps 1000000000 at time_step 0.025 take 1e+10"]),
    (f"{SOURCE}.interval", math.nan, ["source.interval", "finite"]),
    (f"{SOURCE}.size", [2, 16], ["source.size", "greater than or equal to 4"]),
    (f"{SOURCE}.steps", True, ["source.steps", "integer", "True"]),
    (f"{SOURCE}.steps", GONE, ["source.steps is missing: States per trajectory"]),
    (SOURCE, [1], ["source: expected a mapping with the key kind, found [1]"]),
    (f"{CONVECTION}.label", 3, ["convection.label: expected a mapping by name, found 3"]),
    ("datasets", GONE, ["datasets is missing: Datasets by name; a mapping by name"]),
    ("samplers", [1], ["samplers: expected", "a mapping by name"]),
    (f"{CONVECTION}.evaluation", 3, ["evaluation: expected", "keys start, horizons"]),
    ("datasets.a-b", CONVECTION, ["'a-b' is no name"]),
    (
        f"{CONVECTION}.states.transform",
        {"velocity": {"kind": "log", "offset": 1}},
        ["states.transform.velocity", "both signs", "arcsinh"],
    ),
    (
        f"{CONVECTION}.states.transform",
        {"buoyancy": {"kind": "log", "offset": 0}},
        ["states.transform.buoyancy.offset 0", "more than 0"],
    ),
    (
        f"{CONVECTION}.states.transform",
        {"velocity_x": {"kind": "log", "offset": 1}},
        ["states.transform.velocity_x.kind log", "velocity takes both signs"],
    ),
    (
        f"{CONVECTION}.states.fields",
        ["buoyancy", "velocity_x"],
        ["evaluation.physics: convection", "'velocity_y'", "buoyancy, velocity_x"],
    ),
    (f"{CONVECTION}.states.fields", ["velocity"], ["evaluation.physics", "'buoyancy'"]),
    (f"{CONVECTION}.states.fields", ["pressure"] * 2, ["states.fields", "'pressure'", "twice"]),
    (
        f"{CONVECTION}.evaluation.physics",
        "gas",
        ["evaluation.physics", "'energy'", "allowed: null"],
    ),
    (f"{CONVECTION}.augment.roll", ["y"], ["augment.roll", "'y'", "wall", "allowed: x"]),
    ("autoencoders.c16.periodic", ["x", "y"], ["c16.periodic", "'y'", "wall", "allowed: x"]),
    (
        "autoencoders.c16.per_dataset.convection.periodic",
        ["y"],
        ["autoencoders.c16.per_dataset.convection.periodic", "'y'", "wall", "allowed: x"],
    ),
    (
        "emulators.solver.network.periodic",
        True,
        ["emulators.solver.network.periodic", "'y' is not periodic", "wall", "allowed: false"],
    ),
    (f"{CONVECTION}.augment.flip", ["x", "x"], ["augment.flip", "twice"]),
    (f"{CONVECTION}.augment", {"copies": 3}, ["augment.copies 3", "at most 1"]),
    (f"{CONVECTION}.augment", {"flip": ["x"], "copies": 3}, ["augment.copies 3", "at most 2"]),
    (f"{CONVECTION}.augment.permute", True, ["augment.permute", "32 x 16", "allowed: false"]),
    (f"{CONVECTION}.evaluation.horizons", [[1, 3, 8]], ["should have at most 2 items, found [1, "]),
    (f"{CONVECTION}.evaluation.horizons", [[1, 3], [3, 8]], ["[1, 3] and [3, 8] overlap"]),
    (f"{CONVECTION}.evaluation.horizons", [[1, 3], [1, 3]], ["horizons", "twice"]),
    (f"{CONVECTION}.evaluation.trajectories", 5, ["evaluation.trajectories 5", "at most 4"]),
    ("figures", {"trajectories": 5}, ["figures.trajectories 5", "at most 4"]),
    ("figures", {"lead_times": [1, 9]}, ["figures.lead_times", "9", "at most 8"]),
    ("datasets.convection.states.transform", {"heat": {"kind": "log", "offset": 1}}, ["'heat'"]),
    ("datasets.convection.states.fields", ["heat"], ["'heat'", "buoyancy, pressure, velocity"]),
    ("datasets.convection.states.fields", ["velocity", "velocity_y"], ["'velocity_y' is there tw"]),
    (
        "datasets.convection.states.transform",
        {"velocity_z": {"kind": "arcsinh", "scale": 1}},
        ["states.transform: unknown 'velocity_z'", "velocity_x, velocity_y"],
    ),
    (
        "datasets.convection.states.transform",
        {"velocity_x": {"kind": "arcsinh", "scale": 0}},
        ["states.transform.velocity_x.scale", "greater than or equal to 1e-150"],
    ),
    (
        "datasets.convection.states.transform",
        {"velocity_x": {"kind": "arcsinh", "scale": 1e-300}},
        ["states.transform.velocity_x.scale", "greater than or equal to 1e-150"],
    ),
    (
        "datasets.convection.states.transform",
        {"pressure": {"kind": "log", "offset": 1e300}},
        ["states.transform.pressure.offset", "less than or equal to 1e+150"],
    ),
    (
        "datasets.convection.states.transform",
        {"velocity": {"kind": "square"}},
        ["states.transform.velocity.kind: unknown 'square'", "log, arcsinh"],
    ),
    ("datasets.convection.label", {"Reynolds": "log"}, ["'Reynolds'", "Rayleigh, Prandtl"]),
    ("datasets.convection.augment.flip", ["z"], ["augment.flip", "'z'", "x, y"]),
    ("datasets.convection.evaluation.horizons", [[4, 3]], ["[4, 3] ends before it begins"]),
    ("datasets.convection.evaluation.horizons", [[1, 12]], ["step 12", "at most 11"]),
    (
        "datasets.convection.evaluation.horizons",
        [[1, 11]],
        ["samplers.back.context 2", "a backward rollout spans steps up to 12", "1 steps earlier"],
    ),
    ("datasets.convection.stride", 4, ["[1, 3] holds no lead time", "multiples of 4"]),
    ("datasets.convection.stride", 3, ["a window of 5 states spans 13 steps", "at most 2"]),
    ("datasets.convection.source.size", [30, 16], ["autoencoders.c16", "30 points", "by 4"]),
    ("datasets.tables", "datasets.convection", ["datasets.tables: this name is taken"]),
    ("autoencoders.c16.kernel_size", 4, ["autoencoders.c16", "4 is even"]),
    ("autoencoders.c16.periodic", ["z"], ["autoencoders.c16.periodic", "'z'", "x, y"]),
    ("autoencoders.c16.datasets", ["sea"], ["autoencoders.c16.datasets", "'sea'", "convection"]),
    ("autoencoders.c16.per_dataset", {"sea": {}}, ["c16.per_dataset", "'sea'", "convection"]),
    (
        "autoencoders.c16.per_dataset.convection",
        {"train": {"steps": 0}},
        ["autoencoders.c16.per_dataset.convection.train.steps", "greater than 0"],
    ),
    ("autoencoders.c16.datasets", [], ["autoencoders.c16.datasets", "at least 1 item"]),
    ("figures", {"lead_times": []}, ["figures.lead_times: should have at least 1 item, found []"]),
    (
        "emulators.diffusion.diffusion",
        {"prior_parameters": [2, 3]},
        ["prior_parameters", "uniform has none"],
    ),
    (
        "autoencoders.c16.per_dataset.convection",
        {"per_dataset": {}},
        ["c16: per_dataset.convection.per_dataset: unknown key"],
    ),
    (
        "autoencoders.c16.per_dataset.convection",
        {"datasets": ["convection"]},
        ["c16: per_dataset.convection.datasets: unknown key"],
    ),
    ("autoencoders.c16.latent_channels", 65, ["latent_channels 65", "at most 64"]),
    ("autoencoders.c16.latent_channels", GONE, ["autoencoders.c16", "latent_channels"]),
    ("autoencoders.c16.channels", GONE, ["autoencoders.c16", "channels"]),
    ("autoencoders.c16.blocks", [1, 1], ["autoencoders.c16", "2 levels"]),
    ("autoencoders.c16.attention_heads", {3: 2}, ["attention_heads {3: 2}", "a level of 3"]),
    ("autoencoders.c16.attention_heads", {1: 3}, ["attention_heads {1: 3}", "divide its channels"]),
    ("autoencoders.c16.transformer", VIT["transformer"], ["autoencoders.c16", "transformer"]),
    ("autoencoders.c16.architecture", GONE, ["autoencoders.c16", "architecture"]),
    ("autoencoders.c16.train", GONE, ["autoencoders.c16: train is missing"]),
    (
        "autoencoders.c16.train.budget",
        {"hours": 1.0},
        ["autoencoders.c16.train: expected one of steps and budget, found both"],
    ),
    (
        "autoencoders.c16.train.steps",
        GONE,
        ["autoencoders.c16.train: expected one of steps and budget, found neither"],
    ),
    (
        "autoencoders.c16.train.budget",
        {"hours": 1.0, "flops": 1e15},
        ["c16.train.budget: expected one of hours and flops, found both"],
    ),
    (
        "autoencoders.c16.train.budget",
        {},
        ["c16.train.budget: expected one of hours and flops, found none"],
    ),
    ("autoencoders.c16.train.budget", {"hours": 0.0}, ["train.budget.hours", "greater than 0"]),
    ("autoencoders.c16.train.warmup", 8, ["warmup 8 must be shorter than steps 8"]),
    ("autoencoders.c16.train.validate_every", 9, ["validate_every 9", "at most 8"]),
    ("emulators.diffusion.train.micro_batch", 3, ["micro_batch 3", "divide batch_size 4"]),
    (
        "autoencoders.c16.per_dataset",
        {"convection": {"train": {"precondition_every": 4}}},
        ["c16.per_dataset.convection.train: precondition_every 4", "adam has no precond"],
    ),
    (
        "autoencoders.c16.per_dataset",
        {"convection": {"latent_channels": 65}},
        ["c16.per_dataset.convection.latent_channels 65"],
    ),
    ("autoencoders.c16.train.weight_decay", 1000, ["weight_decay 1000", "less than 1000"]),
    ("autoencoders.c16.train.optimizer", "muon", ["train.optimizer muon", "attention_heads"]),
    (
        "autoencoders.c16.per_dataset.convection",
        {"similarity_weight": 1, "train": {"batch_size": 1}},
        ["similarity_weight 1", "batch_size is 1", "at least 2"],
    ),
    (
        "autoencoders.c16.per_dataset.convection",
        {"similarity_weight": 1, "train": {"micro_batch": 2}},
        ["similarity_weight 1", "micro_batch", "allowed: 0"],
    ),
    ("autoencoders.c16.train.optimizer", "adem", ["optimizer", "did you mean 'adam'"]),
    ("autoencoders.c16.channels", [8, 1, 16], ["channels 1 at level 1", "at least 2"]),
    ("autoencoders.c16.channels", [10**30, 16, 16], ["c16.channels.0", "65536"]),
    ("autoencoders.c16.seeds", [0, 0], ["autoencoders.c16.seeds", "twice"]),
    ("autoencoders.c16.kernel_size", 11, ["kernel_size 11", "8 x 4", "at most 9"]),
    ("autoencoders.c16.train.betas", [0.9], ["betas [0.9]", "adam takes 2"]),
    ("autoencoders.c16", VIT, ["autoencoders.c16: train is missing"]),
    ("autoencoders.c16", VIT | {"norm": "group"}, ["autoencoders.c16", "norm"]),
    ("autoencoders.pixel.latent_channels", 4, ["autoencoders.pixel", "latent_channels"]),
    ("autoencoders.pixel.seeds", [1], ["autoencoders.pixel", "seed"]),
    ("autoencoders.c16", {"model": "a", "architecture": "dcae"}, ["c16", "architecture"]),
    ("autoencoders.c16", {"model": "a", "latent_channels": 4}, ["c16", "latent_channels"]),
    (
        "autoencoders.c16",
        {
            "model": "a",
            "per_dataset": {"convection": {"model": None, "architecture": "identity"}},
        },
        ["autoencoders.c16.per_dataset.convection.model", "unknown key"],
    ),
    ("emulators.diffusion.autoencoders", ["c8"], ["diffusion.autoencoders", "'c8'", "c16, pixel"]),
    ("emulators.diffusion.samplers", ["ab5"], ["diffusion.samplers", "'ab5'", "ab4, back, direct"]),
    (
        "emulators.diffusion.samplers",
        ["direct"],
        ["diffusion.samplers", "does not fit method 'diffusion'", "ab4"],
    ),
    ("emulators.solver.samplers", ["ab4"], ["emulators.solver.samplers", "'ab4'", "direct"]),
    ("emulators.crps", ENSEMBLE | {"samplers": ["ab4"]}, ["crps.samplers", "'ensemble'", "direct"]),
    ("emulators.crps", ENSEMBLE | {"members": 1}, ["crps: members 1", "no spread", "at least 2"]),
    (
        "emulators.crps",
        ENSEMBLE | {"unroll": 2, "context_forward": 0.5},
        ["crps: unroll 2", "context_forward 1, or unroll 1"],
    ),
    (
        "emulators.crps",
        ENSEMBLE | {"unroll": 2, "context_noise": 0.1},
        ["crps: unroll 2", "context_noise 0.1", "one of the two"],
    ),
    ("emulators.crps", ENSEMBLE | {"fair": 1.5}, ["emulators.crps", "fair"]),
    ("emulators.crps", ENSEMBLE | {"loss": "mse"}, ["emulators.crps.loss", "crps"]),
    ("samplers.ab4.context_noise", 0.1, ["samplers.ab4.context_noise 0.1", "at most 0"]),
    ("emulators.diffusion.samplers", ["ab4", "ab4"], ["diffusion.samplers", "twice"]),
    ("emulators.diffusion.window", 60, ["diffusion.window 60", "12 steps", "at most 12"]),
    ("emulators.diffusion.network.patch_size", [3, 3], ["patch_size [3, 3]", "8 x 4"]),
    ("emulators.diffusion.network.patch_size", [2], ["patch_size [2]", "allowed: 2"]),
    ("emulators.diffusion.network.patch_size", [], ["patch_size []", "allowed: 2"]),
    ("emulators.diffusion.network.attention_window", [3, 3], ["attention_window", "allowed: 3"]),
    ("emulators.solver.network.stride", [2, 2], ["network.stride [2, 2]", "allowed: 3"]),
    ("emulators.solver.network.attention_heads", {1: 3}, ["must divide", "16 channels"]),
    ("emulators.solver.network.norm", "groop", ["network.norm", "did you mean 'group'"]),
    (
        "emulators.solver.network",
        UNET | {"channels": [8, 24], "norm": "group"},
        ["emulators.solver.network", "channels 24 at level 1", "multiple of 16"],
    ),
    (
        "emulators.solver.network",
        UNET | {"periodic": True, "kernel_size": 13},
        ["solver.network.kernel_size 13", "5 x 4 x 2", "at most 5"],
    ),
    ("emulators.diffusion.network", GONE, ["emulators.diffusion", "network"]),
    ("emulators.diffusion.network.channels", 18, ["channels 18 must divide into 2 even heads"]),
    ("emulators.diffusion.context_at_least", 5, ["context_at_least 5", "at most 4"]),
    ("emulators.diffusion.diffusion", {"sigma_min": 1e3}, ["sigma_min 1000.0 must be smaller"]),
    (
        "emulators.diffusion.diffusion",
        {"schedule": "log_linear", "logit_shift": 1},
        ["logit_shift", "log_linear has none"],
    ),
    ("emulators.solver.network.blocks", [1], ["emulators.solver.network", "1 levels"]),
    ("emulators.solver.network.attention_heads", {2: 1}, ["solver.network", "level 2"]),
    ("samplers.back.context", 5, ["samplers.back.context 5", "at most 4"]),
    ("samplers.back.direction", "back", ["samplers.back.direction", "backward"]),
    ("samplers.direct.direction", "backward", ["direct.direction backward", "context_forward 1"]),
    ("emulators.diffusion.context_forward", 0, ["ab4.direction forward", "context_forward 0"]),
    ("samplers.ab4.overlap", 5, ["samplers.ab4.overlap 5", "at most 4"]),
    ("samplers.ab4.order", 5, ["samplers.ab4", "order 5", "at most 4"]),
    ("samplers.checkpoint", "samplers.ab4", ["samplers.checkpoint", "taken"]),
    ("samplers.ab4.crop", 1, ["samplers.ab4", "crop 1 keeps no new state", "at least 2"]),
    ("samplers.ab4.crop", 6, ["samplers.ab4.crop 6", "at most 5"]),
    ("latent_analysis.flow", ASKED, ["latent_analysis: unknown 'flow'", "convection"]),
    ("latent_analysis.convection", {}, ["latent_analysis.convection: nothing to analyse"]),
    (
        "latent_analysis.convection",
        {"parameters": ["Reynolds"]},
        ["parameters: unknown 'Reynolds'", "allowed: Rayleigh, Prandtl"],
    ),
    (
        "latent_analysis.convection",
        {"parameters": ["Prandtl"]},
        ["parameters: Prandtl is 1 in every trajectory", "allowed: Rayleigh"],
    ),
    (
        "latent_analysis.convection",
        ASKED | {"autoencoders": ["c17"]},
        ["autoencoders: 'c17' is no autoencoder", "allowed: c16"],
    ),
    (
        "latent_analysis.convection",
        ASKED | {"autoencoders": ["pixel"]},
        ["autoencoders: 'pixel' is no autoencoder", "allowed: c16"],
    ),
    (
        "latent_analysis.convection",
        {"counterfactual": WHAT_IF | {"parameter": "gamma"}},
        ["counterfactual.parameter: unknown 'gamma'", "allowed: Rayleigh, Prandtl"],
    ),
    (
        "latent_analysis.convection",
        {"counterfactual": WHAT_IF | {"values": [1e4]}},
        ["counterfactual.values", "at least 2 items"],
    ),
    (
        "latent_analysis.convection",
        {"counterfactual": WHAT_IF | {"values": [1e4, 1e4]}},
        ["counterfactual.values: 10000.0 is there twice"],
    ),
    (
        "latent_analysis.convection",
        {"counterfactual": WHAT_IF | {"values": [0, 1e4]}},
        ["counterfactual.values: 0 has no logarithm", "more than 0"],
    ),
    (
        "latent_analysis.convection",
        {"counterfactual": WHAT_IF | {"emulators": ["pixel_solver"]}},
        ["counterfactual.emulators: unknown 'pixel_solver'", "allowed: diffusion, solver"],
    ),
    (
        "latent_analysis.convection",
        {"counterfactual": WHAT_IF | {"emulators": ["solver"], "samplers": ["ab4"]}},
        ["counterfactual.samplers: 'ab4' is no sampler", "allowed: direct"],
    ),
    (
        "latent_analysis.convection",
        {"counterfactual": WHAT_IF | {"lead_times": [4, 9]}},
        ["counterfactual.lead_times: 9 is beyond", "at most 8"],
    ),
    (
        "latent_analysis.convection",
        {"counterfactual": WHAT_IF | {"trajectories": 5}},
        ["counterfactual.trajectories 5", "at most 4"],
    ),
    ("samplers.direct.members", 2, ["samplers.direct.members", "method 'solver' is deterministic"]),
    ("samplers.direct.temperature", 1.5, ["direct.temperature: method 'solver' draws no noise"]),
    ("samplers.ab4.temperature", 0.0, ["samplers.ab4.temperature", "greater than 0", "found 0.0"]),
    ("samplers.ab4.temperature", 11.0, ["samplers.ab4.temperature", "less than or equal to 10"]),
    ("samplers.back.temperature", 1.1, ["back: temperature and tune_temperature", "one of them"]),
    ("samplers.back.members", 1, ["back: tune_temperature: one member has no spread"]),
    ("samplers.back.guidance", guided(), ["back: tune_temperature: of guided rollouts none"]),
    ("samplers.back.tune_temperature", [1.0], ["back.tune_temperature", "at least 2"]),
    ("samplers.back.tune_temperature", [1.0, 1.0], ["back.tune_temperature", "twice"]),
    ("samplers.back.tune_temperature", 1.1, ["back.tune_temperature: expected a list, found 1.1"]),
    ("samplers.back.tune_temperature", [0.0, 1.0], ["tune_temperature", "greater than 0"]),
    (GUIDANCE, guided({"kind": "half"}), ["guidance.operator.kind: unknown 'half'", "subsample"]),
    (GUIDANCE, guided({"kind": "subsample"}), ["guidance.operator.factor is missing"]),
    (GUIDANCE, guided({"kind": "subsample", "factor": 3}), ["factor 3", "32 points", "divisor"]),
    (GUIDANCE, guided({"kind": "downscale", "factor": 32}), ["factor 32", "16 points"]),
    (GUIDANCE, guided({"kind": "border", "width": 8}), ["width 8", "16 points", "at most 7"]),
    (GUIDANCE, guided(stripe("z", 1, 4)), ["operator.axis", "'z'", "allowed: x, y"]),
    (GUIDANCE, guided(stripe("y", 1, 17)), ["spacing 17", "16 points", "at most 16"]),
    (GUIDANCE, guided(stripe("y", 4, 4)), ["width 4", "4 points apart", "at most 3"]),
    (GUIDANCE, guided({"kind": "custom", "path": ""}), ["operator.path", "empty"]),
    (GUIDANCE, guided(noise=0.0), ["guidance.noise", "greater than 0", "found 0.0"]),
    (GUIDANCE, guided(noise=-0.1), ["guidance.noise", "greater than 0", "found -0.1"]),
    (GUIDANCE, guided(noise=math.nan), ["guidance.noise", "finite"]),
    (GUIDANCE, guided(iterations=0), ["guidance.iterations", "greater than 0"]),
    (GUIDANCE, {"kind": "dps"}, ["guidance.kind", "'mmps'", "found 'dps'"]),
    ("samplers.direct.guidance", guided(), ["guidance wraps a denoiser; direct has none"]),
]
# What is known of the miniature's data, and of data that do not fit it: what differs, words of the
# message.
EXTENT = Extent(
    size=(32, 16),
    channels=("buoyancy", "pressure", "velocity_x", "velocity_y"),
    steps={"train": 12, "valid": 12, "test": 12},
    trajectories={"train": 6, "valid": 4, "test": 4},
    axes=("x", "y"),
    boundaries={"x": {"periodic"}, "y": {"wall"}},
    parameters=("Rayleigh", "Prandtl"),
)
DEEP = {
    "size": (32, 16, 16),
    "axes": ("x", "y", "z"),
    "channels": (*EXTENT.channels, "velocity_z"),
}
MISFITS = [
    (
        {"steps": {"train": 12, "valid": 1, "test": 12}},
        ["samplers.back.tune_temperature: a validation trajectory of convection has 1 steps"],
    ),
    ({"steps": {"train": 12, "valid": 12, "test": 8}}, ["evaluation", "step 8", "at most 7"]),
    ({"steps": {"train": 4, "valid": 12, "test": 12}}, ["window 5", "4 steps", "at most 4"]),
    ({"axes": ("y", "z")}, ["augment.flip", "'x'", "y, z"]),
    ({"boundaries": {"x": {"open"}, "y": {"wall"}}}, ["augment.roll", "'x'", "open"]),
    ({"parameters": ("Prandtl",)}, ["label", "'Rayleigh'", "allowed: Prandtl"]),
    ({"grid": "spherical"}, ["augment.flip", "cartesian", "spherical"]),
    ({"size": (30, 16)}, ["autoencoders.c16", "channels and patch_size", "30 points"]),
    ({"channels": ()}, ["evaluation.physics", "'buoyancy'", "none"]),
    (
        DEEP,
        ["emulators.solver.network.architecture", "at most 2", "transformer"],
    ),
    ({"trajectories": {"test": 0}}, ["figures.trajectories 1", "at most 0"]),
]


def write(path: Path, key: str, value: Any) -> Path:
    """The miniature with one value set, taken out (GONE), or that of another key."""
    # By way of JSON, since entries share what YAML's anchors name.
    values = json.loads(json.dumps(yaml.safe_load(MINIATURE.read_text())))
    *parents, last = key.split(".")
    inside = values
    for name in parents:
        inside = inside.setdefault(name, {})
    if value is GONE:
        del inside[last]
    elif isinstance(value, str) and value.startswith(("datasets.", "samplers.")):
        inside[last] = values
        for name in value.split("."):
            inside[last] = inside[last][name]
    else:
        inside[last] = value
    path.write_text(yaml.safe_dump(values))
    return path


def refusal(path: Path) -> str:
    """The one line in which a study is refused."""
    with pytest.raises(LilasError) as error:
        read_study(path)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(("key", "value", "words"), MISTAKES, ids=[key for key, *_ in MISTAKES])
def test_a_mistake_is_told_by_its_key(tmp_path, key, value, words):
    message = refusal(write(tmp_path / "study.yaml", key, value))
    for word in words:
        assert word in message


def misfit(study: Study, differs: dict[str, Any]) -> str:
    with pytest.raises(ValueError, match=r"\w") as error:
        study.check_extent("convection", dataclasses.replace(EXTENT, **differs))
    return str(error.value)


@pytest.mark.parametrize(("differs", "words"), MISFITS)
def test_data_that_do_not_fit_are_told_by_their_key(differs, words):
    study = read_study(MINIATURE)
    study.check_extent("convection", EXTENT)
    message = misfit(study, differs)
    for word in words:
        assert word in message


def test_what_a_law_or_a_network_needs_of_files_is_told(tmp_path):
    study = read_study(write(tmp_path / "study.yaml", "datasets.convection.label", {}))
    assert "convection needs the parameter 'Prandtl'" in misfit(study, {"parameters": ["Rayleigh"]})
    values = yaml.safe_load(MINIATURE.read_text())
    del values["emulators"]["solver"]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
    message = misfit(read_study(tmp_path / "study.yaml"), DEEP)
    assert message.startswith("emulators.pixel_solver.network.patch_size [4, 4]: expected a value")


def test_an_emulator_whose_autoencoders_are_of_other_datasets_is_refused(tmp_path):
    values = yaml.safe_load(MINIATURE.read_text())
    values["datasets"]["other"] = values["datasets"]["convection"]
    values["autoencoders"]["c16"]["datasets"] = ["other"]
    del values["autoencoders"]["c16"]["per_dataset"]
    values["emulators"]["diffusion"]["datasets"] = ["convection"]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
    message = refusal(tmp_path / "study.yaml")
    assert "emulators.diffusion.autoencoders: none of c16 is used on convection" in message


def test_what_an_analysis_of_latents_needs_is_told(tmp_path):
    """Latents; emulators; lead times by the stride; as many trajectories as are evaluated."""
    found = []
    for asked, edit in [
        (ASKED, lambda study: study["autoencoders"].update(c16={"architecture": "identity"})),
        (
            {"counterfactual": WHAT_IF | {"lead_times": [1, 2]}},
            lambda study: study["datasets"]["convection"].update(stride=2),
        ),
        (
            {"counterfactual": WHAT_IF | {"trajectories": 3}},
            lambda study: study["datasets"]["convection"]["evaluation"].update(trajectories=2),
        ),
        (
            {"counterfactual": WHAT_IF},
            lambda study: [study["emulators"].pop(key) for key in ("diffusion", "solver")],
        ),
    ]:
        values = json.loads(json.dumps(yaml.safe_load(MINIATURE.read_text())))
        edit(values)
        values["latent_analysis"] = {"convection": asked}
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
        found.append(refusal(tmp_path / "study.yaml").partition("latent_analysis.convection")[2])
    assert "no autoencoder of convection has latents" in found[0]
    assert "lead_times: 1 is no multiple of the stride" in found[1]
    assert "trajectories 3: 2 of convection are evaluated" in found[2]
    assert "no emulator of convection is on c16" in found[3]


def test_a_timing_of_no_emulator_is_refused(tmp_path):
    values = yaml.safe_load(MINIATURE.read_text()) | {"emulators": {}, "timing": {}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
    assert "timing: there are no emulators to time" in refusal(tmp_path / "study.yaml")


def test_settings_for_a_dataset_that_an_entry_is_not_used_on_are_refused(tmp_path):
    values = yaml.safe_load(MINIATURE.read_text())
    values["datasets"]["other"] = values["datasets"]["convection"]
    values["autoencoders"]["c16"]["datasets"] = ["other"]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
    message = refusal(tmp_path / "study.yaml")
    assert "c16.per_dataset.convection: it is not used there; allowed: other" in message


def test_of_files_with_other_boundaries_those_with_fewer_symmetries_count(tmp_path):
    """Some files are periodic, some open: the open ones can be flipped alone."""
    path = write(tmp_path / "study.yaml", "datasets.convection.augment.copies", 3)
    study = read_study(path)
    study.check_extent("convection", EXTENT)
    mixed = {"x": {"periodic", "open"}, "y": {"wall"}}
    assert "copies 3: flip, roll and permute allow 2" in misfit(study, {"boundaries": mixed})


def test_text_is_text_and_numbers_are_numbers(tmp_path):
    """As people write them: 1e5 is a number, "1e5" is text, and 1e-3 is no text."""
    path = tmp_path / "study.yaml"
    text = MINIATURE.read_text().replace("steps: 8\n", "steps: 1e5\n")
    for old, new in [("label: {Ray", 'label: {"1e6": log, Ray'), ("[1, 3]", "[1, 3e0]")]:
        text = text.replace(old, new)
    path.write_text(text)
    assert "label: unknown '1e6'" in refusal(path)
    path.write_text(text.replace('"1e6": log, ', ""))
    study = read_study(path)
    train = study.autoencoders["c16"].model.train
    assert (train.steps, train.learning_rate) == (100_000, 1e-3)
    assert study.datasets["convection"].evaluation.horizons[0] == (1, 3)
    for old, new in [("steps: 1e5", 'steps: "8"'), ("fields: [buoyancy,", "fields: [2024,")]:
        path.write_text(text.replace(old, new).replace('"1e6": log, ', ""))
        assert "expected" in refusal(path)
    for text in ('path: "1e6", include: ["1e6", "2024"]', 'path: 1e6, include: [1e6, "2024"]'):
        (tmp_path / "source.yaml").write_text(f"{{kind: path, {text}}}")
        source = Folder.model_validate(read_yaml(tmp_path / "source.yaml"))
        assert (source.path, source.include) == ("1e6", ["1e6", "2024"])


def test_a_released_emulator_goes_forward_alone(tmp_path):
    values = yaml.safe_load(RELEASED.read_text())
    values["samplers"]["direct_c1"]["direction"] = "backward"
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
    message = r"samplers\.direct_c1\.direction backward: emulator 'solver_c"
    with pytest.raises(LilasError, match=message):
        check_given(read_study(tmp_path / "study.yaml"), Config(), {})


def test_names_may_look_like_numbers(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(MINIATURE.read_text().replace("ab4", "1e6"))
    assert set(read_study(path).samplers) == {"1e6", "back", "direct"}


CONFIG = {"study": "demo", "data": "data", "results": "results", "device": "auto"}


def test_the_command_line_is_text_where_text_belongs():
    """Snakemake makes numbers of what looks like such."""
    said = ["results=1e6", "data=2024", 'study="007"', "checkpoint_seconds=6e1"]
    values = CONFIG | {"results": 1e6, "data": 2024, "study": "007", "checkpoint_seconds": 60.0}
    config = read_config(values, said)
    assert (config.results, config.data, config.study) == ("1e6", "2024", "007")
    with pytest.raises(LilasError, match=r"results: expected text .* found 2024"):
        read_config(CONFIG | {"results": 2024})
    with pytest.raises(LilasError, match=r"--config results: a and b; allowed: one of them"):
        read_config(CONFIG | {"results": "b"}, ["results=a", "data=data", "results=b"])


def test_a_number_in_the_configuration_is_a_number(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("checkpoint_seconds: 6e1\nresults: 1e6\n")
    values = yaml.safe_load(path.read_text())
    assert values == {"checkpoint_seconds": "6e1", "results": "1e6"}
    config = read_config(values, [], [path])
    assert (config.checkpoint_seconds, config.results) == (60, "1e6")


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:1\n", ""])
def test_an_unknown_device_is_told_with_those_allowed(device):
    with pytest.raises(LilasError) as error:
        read_config(CONFIG | {"device": device})
    allowed = "allowed: auto, cpu, cuda, cuda:N, mps"
    assert str(error.value) == f"config.yaml: device: unknown {device!r}; {allowed}"


@pytest.mark.parametrize("address", ["HOST:8786", "tcp://h", "tcp://a b:1", "tcp://{h}:1", ""])
def test_what_is_no_address_of_a_scheduler_is_told(address):
    with pytest.raises(LilasError) as error:
        read_config(CONFIG | {"dask": address})
    allowed = "allowed: null, or such as tcp://HOST:8786"
    text = f"config.yaml: dask: {address!r} is no address of a scheduler; {allowed}"
    assert str(error.value) == text
    # The command line says null by its name.
    for given in (None, "null"):
        assert read_config(CONFIG | {"dask": given}).dask is None
    assert read_config(CONFIG | {"dask": "tls://[::1]:8786"}).dask == "tls://[::1]:8786"


def test_braces_in_a_folder_are_refused():
    with pytest.raises(LilasError, match=r"results: a/\{b\}: braces"):
        read_config(CONFIG | {"results": "a/{b}"})


def test_a_study_that_is_almost_there_is_named(tmp_path):
    (tmp_path / "demo.yaml").touch()
    with pytest.raises(LilasError, match="'demos' not found, did you mean demo"):
        study_path("demos", tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", ["line 3", "'a' a second time"]),
        ("a: &x {b: 1, b: 2}\nc: *x", ["line 1", "'b' a second time"]),
        ("a: [", ["cannot be read as YAML"]),
        ("? [1]\n: 2\n", ["cannot be read as YAML"]),
        ("a: 1\n\tb: 2", ["cannot be read as YAML"]),
        ("\x00", ["cannot be read as YAML"]),
        ("", ["a study is a mapping with keys datasets"]),
        ("3", ["a study is a mapping with keys datasets"]),
        ("3: 4", ["Keys should be strings"]),
        ("datasets: {3: 4}", ["datasets.3"]),
        ("datasets: &x {a: *x}", ["datasets.a"]),
        ("datasets: " + "[" * 50 + "]" * 50, ["datasets: expected", "a mapping by name"]),
        ("datasets: {a: " + "x" * 1000 + "}", ["datasets.a: expected"]),
        (f"{'x' * 1000}: 1", ["unknown key"]),
    ],
)
def test_what_is_no_study_is_told_in_one_line(tmp_path, text, words):
    (tmp_path / "study.yaml").write_text(text)
    message = refusal(tmp_path / "study.yaml").removeprefix(str(tmp_path))
    for word in words:
        assert word in message
    assert len(message) <= 300


def test_the_miniature_has_no_mistake():
    assert set(read_study(MINIATURE).datasets) == {"convection"}


def raised() -> set[tuple[str, int]]:
    """The file and line of every ValueError that the package of the study raises."""
    return {
        (str(path), node.lineno)
        for path in Path(lilas.study.__path__[0]).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and getattr(node.exc.func, "id", "") == "ValueError"
    }


def test_every_refusal_has_its_mistake(tmp_path):
    """No `raise ValueError` of the package is left that no mistake of the table comes to."""
    reached, files = set(), {file for file, _ in raised()}

    def trace(frame, event, _):
        if frame.f_code.co_filename not in files:
            return None
        reached.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for key, value, _ in MISTAKES:
            refusal(write(tmp_path / "study.yaml", key, value))
        for differs, _ in MISFITS:
            misfit(read_study(MINIATURE), differs)
        test_what_a_law_or_a_network_needs_of_files_is_told(tmp_path)
        test_an_unknown_device_is_told_with_those_allowed("gpu")
        test_braces_in_a_folder_are_refused()
        test_what_is_no_address_of_a_scheduler_is_told("HOST:8786")
        test_what_an_analysis_of_latents_needs_is_told(tmp_path)
        test_a_timing_of_no_emulator_is_refused(tmp_path)
        test_settings_for_a_dataset_that_an_entry_is_not_used_on_are_refused(tmp_path)
        test_an_emulator_whose_autoencoders_are_of_other_datasets_is_refused(tmp_path)
        for source, words in test_start.REFUSED:
            test_start.test_sources_that_are_none_are_refused_in_one_line(source, words)
        for case in test_start.MISFITS:
            test_start.test_weights_that_do_not_fit_and_parts_that_are_none_are_refused(*case)
        test_start.test_a_dataset_of_other_fields_is_refused()
        test_start.test_an_emulator_starts_in_the_latents_that_its_parent_knows()
        for sweep, words in test_sweep.MISTAKES:
            test_sweep.test_a_mistake_in_a_sweep_is_told_in_one_line(sweep, words)
        test_sweep.test_a_name_that_is_taken_is_refused()
        test_sweep.test_settings_of_a_dataset_that_would_undo_a_sweep_are_refused()
    finally:
        sys.settrace(before)
    assert len(raised()) > 20
    left = raised() - reached
    assert not left, sorted(f"{Path(file).name}:{line}" for file, line in left)
