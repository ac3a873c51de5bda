"""Frames hold the states that were rolled out, beside their truth."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from lilas.data.preprocess import Preprocessing
from lilas.data.states import Pixels
from lilas.data.well import open_files
from lilas.data.well_writer import write_well
from lilas.evaluation.frames import make_frames
from lilas.inspect.catalogue import ARTIFACTS
from lilas.models.autoencoder import make_identity
from lilas.report.panels import axis_names, labelled

STEPS = 60


@pytest.fixture(
    params=[((4, 3), "float32"), ((4, 3, 5), "float32"), ((4, 3), "float64")],
    ids=["2d", "3d", "float64"],
)
def rolled_out(request, tmp_path):
    """Two trajectories u = 100 trajectory + step + z/10; members are the truth ± 1."""
    shape, precision = request.param
    axes = ("x", "y", "z")[: len(shape)]
    height = np.arange(shape[-1]) / 10 if len(shape) == 3 else np.zeros(shape[-1])
    numbers = 100.0 * np.arange(2)[:, None] + np.arange(STEPS)
    values = numbers.reshape(2, STEPS, *[1] * len(shape)) + np.broadcast_to(height, shape)
    path = tmp_path / "numbers.hdf5"
    write_well(
        path,
        dataset="numbers",
        fields={"u": values.astype(precision)},
        time=np.arange(float(STEPS)),
        coordinates={axis: np.arange(float(n)) for axis, n in zip(axes, shape, strict=True)},
        parameters={"c": 1.0},
        boundaries=dict.fromkeys(axes, "periodic"),
    )
    channel = {"transform": {"kind": "none"}, "mean": 10.0, "std": 4.0, "min": 0.0, "max": 200.0}
    statistics = {"channels": {"u": channel | {"count": 9}}}
    pixels = Pixels(
        open_files([path], ["u"]), Preprocessing.from_statistics(statistics, "numbers"), {}
    )
    steps = np.arange(1, STEPS)
    latents = (
        values[:, None, 1:, None] + np.array([1, -1]).reshape(2, *[1] * (len(shape) + 2)) - 10
    ) / 4
    dataset = xr.Dataset(
        {
            "latent": (
                ("trajectory", "member", "time", "channel", *axes),
                latents.astype(np.float32),
            )
        },
        coords={
            "trajectory": [0, 1],
            "step": ("time", steps),
            # Two states of context: lead time 0 is step 2.
            "lead_time": ("time", steps - 2),
            "file": ("trajectory", ["numbers.hdf5"] * 2),
            "index_in_file": ("trajectory", [0, 1]),
        },
        attrs={"context": 2, "stride": 1},
    )
    dataset.encoding["source"] = "rollouts.zarr"
    return dataset, pixels, make_identity(1, len(shape))


def test_frames_have_the_units_of_their_files_or_those_given(rolled_out):
    dataset, pixels, identity = rolled_out
    fields = {"u": replace(pixels.files[0].fields["u"], units="K")}
    pixels.files[0] = replace(pixels.files[0], fields=fields, axis_units={"x": "m"})
    pixels.places = [(pixels.files[0], i) for i in range(2)]
    frames = make_frames(dataset, pixels, identity, 2, torch.device("cpu"))
    assert frames["unit"].values.tolist() == ["K"]
    assert frames["trajectory_x"].attrs == {"units": "m"}
    assert frames["trajectory_y"].attrs == {}
    assert labelled(frames, "u") == "u (K)"
    assert axis_names(frames) == ["x (m)", "y"]
    given = {"u": "degC", "y": "km"}
    frames = make_frames(dataset, pixels, identity, 2, torch.device("cpu"), units=given)
    assert labelled(frames, "u") == "u (degC)"
    assert axis_names(frames) == ["x (m)", "y (km)"]
    # Those of before 0.2.0 have none.
    assert labelled(frames.drop_vars("unit"), "u") == "u"


def test_frames_are_the_rollouts_in_physical_units(rolled_out):
    dataset, pixels, identity = rolled_out
    frames = make_frames(dataset, pixels, identity, 2, torch.device("cpu"))
    leads = frames["lead_time"].values
    assert (leads[0], leads[-1], len(leads)) == (0, STEPS - 3, 41)
    # The middle plane of z is the third, at 0.2.
    plane = 0.2 if len(pixels.shape) == 4 else 0.0
    expected = (100.0 * np.arange(2)[:, None] + leads + 2 + plane)[:, :, None, None, None]
    expected = np.broadcast_to(expected, frames["truth"].shape)
    assert frames["truth"].dims == ("trajectory", "time", "channel", "x", "y")
    for name, values in (("truth", expected), ("autoencoder", expected), ("mean", expected)):
        np.testing.assert_allclose(frames[name].values, values, atol=1e-4)
    # Of ±1: (K + 1)/(K - 1) times the variance 1.
    np.testing.assert_allclose(frames["spread"].values, 3**0.5, atol=1e-4)
    for member, sign in ((0, 1), (1, -1)):
        found = frames["member"].isel(member=member).values
        np.testing.assert_allclose(found, expected + sign, atol=1e-4)


def test_frames_are_as_registered(rolled_out):
    dataset, pixels, identity = rolled_out
    frames = make_frames(dataset, pixels, identity, 1, torch.device("cpu"))
    (artifact,) = [artifact for artifact in ARTIFACTS if artifact.name == "Frames"]
    variables = {variable.name: variable for variable in artifact.variables}
    for name in ("truth", "autoencoder", "mean", "spread", "member"):
        values = frames[name]
        assert values.dims == variables[name].dims
        assert str(values.dtype) in variables[name].dtype.split(" or ")
        assert str(values.dtype) == pixels.files[0].fields["u"].dtype


def test_a_single_member_has_no_spread_and_few_trajectories_are_all(rolled_out):
    dataset, pixels, identity = rolled_out
    one = dataset.isel(member=[0], trajectory=[1], time=slice(0, 9))
    one.encoding["source"] = "rollouts.zarr"
    frames = make_frames(one, pixels, identity, 3, torch.device("cpu"))
    assert frames["trajectory"].values.tolist() == [1]
    assert frames["lead_time"].values.tolist() == list(range(8))
    assert (frames["spread"].values == 0).all()
    assert frames.sizes["member"] == 1
