"""Every file that the pipeline writes, described.

Tests compare the descriptions with what the stages write, in both directions.
"""

from lilas.inspect.catalogue_models import MODELS
from lilas.inspect.catalogue_results import RESULTS

# What `lilas inspect` knows, by how such files are named.
INSPECTED = {
    "data file": ".hdf5 or .h5, in The Well's layout",
    "statistics": "statistics.json",
    "weights": "weights.safetensors, weights_best.safetensors",
    "history": "history.jsonl",
    "latents": "latents/SPLIT.zarr or its manifest SPLIT.json",
    "rollouts": "rollouts.zarr or its manifest rollouts.json",
    "frames": "frames.zarr or its manifest frames.json",
    "metrics": "metrics.parquet, reconstruction.parquet, baselines.parquet",
    "timing": "timing.json",
    "temperature": "temperature.json",
    "latent analysis": "latent_parameters.json, counterfactual.json",
    "checkpoint": "checkpoint/checkpoint.pt, or the one before it, checkpoint.before.pt",
    "claims": "claims.json, and study.json, whose results they are",
    "record": "record.json, of the tables or figures beside it",
    "table": ".csv, .tsv, .md, .tex",
    "figure": ".png, .pdf, .svg, .gif, .mp4",
    "text": "logs (.log), reports (.html), studies (.yaml)",
    "others": "released runs (.zip), what TensorBoard or Weights & Biases show",
    "folder": "of a study's results, of a run, of data",
}

ARTIFACTS = (*MODELS, *RESULTS)
