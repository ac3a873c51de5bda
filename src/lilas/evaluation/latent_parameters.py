"""What latents hold of parameters: predicted from tokens, and in the distances between them."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lilas.errors import LilasError
from lilas.evaluation.gaussians import distances, moments, rank_correlation
from lilas.evaluation.predictor import Predictor, fit_predictor
from lilas.evaluation.tokens import Tokens
from lilas.evaluation.uncertainty import percentile_interval
from lilas.seeds import derive

# A positive parameter that spans at least this factor is taken by its decimal logarithm.
DECADE = 10.0
# Where a parameter has more values, neighbours are put together to so many groups.
GROUPS = 16
# Points of a picture: the cost of t-SNE grows faster than their number.
POINTS = 1500
# And of fewer there is no picture.
LEAST_POINTS = 5
PERPLEXITY = 30.0


def analyse(
    tokens: dict[str, Tokens], logarithms: dict[str, bool], *, seed: int
) -> dict[str, list[dict[str, Any]]]:
    """Returns what the latents of a dataset tell of parameters, as rows.

    A perceptron is trained on the tokens of the training split, chosen by those of the validation
    split, and held against the test split. Distances are between the tokens of the training split.

    Args:
        tokens: By split; of the training split with its augmented copies, which the perceptron
            learns from and distances leave out.
        logarithms: By parameter, whether its label is its logarithm.
        seed: Of the perceptron, the resamples and the picture.

    Returns:
        `scales`: parameter, scale (log10 or none).
        `predictions`, of each parameter and test trajectory: squared_error, and that of the mean
        over the training tokens, squared_error_of_mean, means over its tokens in the scale.
        `distances`, of each pair of values a < b: distance, low, high.
        `halves`, of each value: distance between two halves of its trajectories.
        `correlations`, of each parameter with more than two values: Spearman's rank correlation of
        |a - b| (in the scale) with the distance, low, high, pairs.
        `embedding`: t-SNE of what the perceptron's last hidden layer makes of test tokens.

    Raises:
        LilasError: a parameter has one value in the training split.
    """
    train = tokens["train"]
    for name, values in train.parameters.items():
        if np.ptp(values) == 0:
            raise LilasError(
                f"latent_analysis: {name} is {values[0]:g} in every training trajectory, so "
                "nothing depends on it. Leave it out of parameters."
            )
    scales = {
        name: "log10" if logarithms[name] or _spans_decades(values) else "none"
        for name, values in train.parameters.items()
    }
    targets = {split: _targets(part, scales) for split, part in tokens.items()}
    predictor = fit_predictor(
        (train.values, targets["train"]),
        (tokens["valid"].values, targets["valid"]),
        seed=derive(seed),
    )
    found: dict[str, list[dict[str, Any]]] = {
        "scales": [{"parameter": name, "scale": scale} for name, scale in scales.items()],
        "predictions": list(_predictions(predictor, tokens["test"], targets["test"])),
        "distances": [],
        "halves": [],
        "correlations": [],
        "embedding": _embedding(predictor, tokens["test"], derive(seed, 1)),
    }
    for i, name in enumerate(scales):
        for key, rows in _compared(train, name, scales[name], derive(seed, 2, i)).items():
            found[key] += [{"parameter": name} | row for row in rows]
    return found


def _spans_decades(values: np.ndarray) -> bool:
    return bool(values.min() > 0 and values.max() >= DECADE * values.min())


def scaled(values: Any, scale: str) -> Any:
    """Returns values of a parameter in its scale."""
    return np.log10(values) if scale == "log10" else np.asarray(values, np.float64)


def _targets(tokens: Tokens, scales: dict[str, str]) -> np.ndarray:
    return np.stack([scaled(tokens.parameters[name], s) for name, s in scales.items()], axis=1)


def _predictions(
    predictor: Predictor, test: Tokens, targets: np.ndarray
) -> Iterator[dict[str, Any]]:
    errors = np.square(predictor.predict(test.values) - targets)
    of_mean = np.square(predictor.outputs[0] - targets)
    for i, name in enumerate(test.parameters):
        for trajectory in np.unique(test.trajectory):
            own = test.trajectory == trajectory
            yield {
                "parameter": name,
                "trajectory": int(trajectory),
                "value": float(test.parameters[name][own][0]),
                "squared_error": float(errors[own, i].mean()),
                "squared_error_of_mean": float(of_mean[own, i].mean()),
            }


def _compared(
    tokens: Tokens, parameter: str, scale: str, seed: int
) -> dict[str, list[dict[str, float]]]:
    """Returns distances between the values of a parameter, halves and the rank correlation."""
    own = tokens.first_copy
    values = tokens.parameters[parameter][own]
    places = _groups(np.unique(values))
    names = [float(np.median(group)) for group in places]
    origin = tokens.values.mean(0, dtype=np.float64)
    parts = [own.nonzero()[0][np.isin(values, group)] for group in places]
    groups = [moments(tokens.values[p], tokens.trajectory[p], origin) for p in parts]
    result = distances(groups, seed)
    ends = result.interval
    i, j = np.triu_indices(len(names), 1)
    pairs = [
        {"a": names[a], "b": names[b], "distance": float(value)}
        | ({} if ends is None else {"low": float(ends[0, k]), "high": float(ends[1, k])})
        for k, (a, b, value) in enumerate(zip(i, j, result.value, strict=True))
    ]
    halves = [
        {"value": name, "distance": float(half), "trajectories": group.trajectories}
        for name, half, group in zip(names, result.halves, groups, strict=True)
        if np.isfinite(half)
    ]
    correlations = []
    if len(names) > 2:
        at = scaled(names, scale)
        apart = np.abs(at[i] - at[j])
        ranks = {"correlation": rank_correlation(apart, result.value), "pairs": len(i)}
        if result.drawn is not None:
            drawn = np.array([rank_correlation(apart, one) for one in result.drawn.T])
            low, high = percentile_interval(drawn)
            ranks |= {"low": float(low), "high": float(high)}
        correlations.append(ranks)
    return {"distances": pairs, "halves": halves, "correlations": correlations}


def _groups(values: np.ndarray) -> Sequence[np.ndarray]:
    """Returns values by groups: each alone, or neighbours together where they are many."""
    return np.array_split(values, min(len(values), GROUPS))


def _embedding(predictor: Predictor, test: Tokens, seed: int) -> list[dict[str, Any]]:
    """Returns t-SNE of test tokens, at most POINTS of them, evenly spaced, one after another."""
    # It takes a second to import.
    from sklearn.manifold import TSNE

    if (count := len(test.values)) < LEAST_POINTS:
        return []
    chosen = np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int))
    features = predictor.features(test.values[chosen])
    perplexity = min(PERPLEXITY, (len(chosen) - 1) / 3)
    places = TSNE(perplexity=perplexity, init="pca", random_state=seed % 2**32).fit_transform(
        features
    )
    return [
        {
            "x": round(float(x), 4),
            "y": round(float(y), 4),
            "trajectory": int(test.trajectory[row]),
            "step": int(test.step[row]),
            "parameters": {name: float(test.parameters[name][row]) for name in test.parameters},
        }
        for (x, y), row in zip(places, chosen, strict=True)
    ]
