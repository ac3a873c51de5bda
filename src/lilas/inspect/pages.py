"""The pages of `docs/` that are made of declarations: artifacts, configuration, metrics."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lilas.inspect.catalogue import ARTIFACTS
from lilas.study.read import Config
from lilas.study.study import Study

UNHEARD = 2**16
_COUNTS = {1: "one", 2: "two"}


def artifacts_page() -> str:
    """Returns `docs/artifacts.md`: every file that the pipeline writes."""
    lines = [
        "# Artifacts",
        "",
        "Every file that the pipeline writes. `{data}` and `{results}` are set in `config.yaml`; "
        "`{study}`, `{dataset}` and `{sampler}` are names from the study; `{autoencoder}` and "
        "`{emulator}` end in `-s` and a seed. Beside them lie the logs and benchmarks of each job. "
        "`lilas inspect PATH` describes any of them.",
        "",
        "This page is generated from `src/lilas/inspect/catalogue_*.py` by "
        "`python -m lilas.inspect.pages`.",
    ]
    for artifact in ARTIFACTS:
        lines += ["", f"## {artifact.name}", "", f"{artifact.format}. {artifact.text}", ""]
        lines += [f"- `{path}`" for path in artifact.paths]
        if artifact.variables:
            lines += ["", "| variable | axes | type | unit | |", "|---|---|---|---|---|"]
            lines += [
                f"| `{v.name}` | {', '.join(v.dims)} | {v.dtype} | {v.units} | {v.text} |".replace(
                    "*", r"\*"
                )
                for v in artifact.variables
            ]
        if artifact.attributes:
            lines += ["", "| attribute | |", "|---|---|"]
            lines += [f"| `{name}` | {text} |" for name, text in artifact.attributes.items()]
    return "\n".join(lines) + "\n"


def configuration_page() -> str:
    """Returns `docs/configuration.md`: every key of `config.yaml` and of a study."""
    schemas = {"Config": Config.model_json_schema(), "Study": Study.model_json_schema()}
    models = dict(schemas)
    definitions = schemas["Study"]["$defs"]
    for name in _in_order(schemas["Study"], definitions):
        models[name] = definitions[name]
    lines = [
        "# Configuration",
        "",
        "`config.yaml` ([Config](#config)) names a study ([Study](#study)), a file of its own in "
        "`workflow/studies` or anywhere. Keys that are not listed here are refused.",
        "",
        "This page is generated from `src/lilas/study` by `python -m lilas.inspect.pages`.",
    ]
    for name, schema in models.items():
        lines += ["", f"## {name}", "", " ".join(schema["description"].split()), ""]
        lines += ["| key | value | default | |", "|---|---|---|---|"]
        required = schema.get("required", [])
        properties = dict(schema["properties"])
        gathered = properties.pop(schema.get("gathered"), None)
        for key, entry in properties.items():
            # A discriminator's one value says all there is to say.
            text = entry.get("description", "") if "const" in entry else entry["description"]
            lines.append(
                f"| `{key}` | {_values(entry)} | {_default(entry, key in required)} | {text} |"
            )
        if gathered is not None:
            lines += ["", f"Beside these stand the keys of {_values(gathered)}."]
    return "\n".join(lines) + "\n"


def _in_order(schema: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    """Returns the models that a schema leads to, each after the one that first names it."""
    found: list[str] = []
    waiting = list(_references(schema["properties"]))
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found.append(name)
            waiting = list(_references(definitions[name]["properties"])) + waiting
    return found


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].rpartition("/")[2]
        # A discriminator repeats its alternatives.
        for key, item in value.items():
            if key != "discriminator":
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _default(entry: dict[str, Any], required: bool) -> str:
    if required:
        return "required"
    if "$ref" in entry:
        return "its own defaults"
    return f"`{json.dumps(entry['default'])}`"


def _values(entry: dict[str, Any]) -> str:
    """Returns what a JSON schema allows, in words."""
    if "$ref" in entry:
        name = entry["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for key in ("anyOf", "oneOf"):
        if key in entry:
            return " or ".join(_values(part) for part in entry[key])
    if "const" in entry:
        return f"`{entry['const']}`"
    if "enum" in entry:
        return ", ".join(f"`{value}`" for value in entry["enum"])
    kind = entry.get("type")
    if kind == "array":
        if "prefixItems" in entry:
            return f"[{', '.join(_values(part) for part in entry['prefixItems'])}]"
        least = f", at least {_COUNTS[count]}" if (count := entry.get("minItems")) else ""
        once = ", each once" if entry.get("uniqueItems") else ""
        return f"list of {_values(entry['items'])}{least}{once}"
    if kind == "object":
        values = next(iter(entry.get("patternProperties", {}).values()), None)
        values = values or entry["additionalProperties"]
        return "mapping to " + ("any settings" if values is True else _values(values))
    if kind == "string":
        return "name" if "pattern" in entry else "text"
    if kind == "boolean":
        return "`true`, `false`"
    if kind == "null":
        return "`null`"
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    # What no study comes near is no news.
    if "minimum" in entry:
        del signs["exclusiveMinimum"]
    named = [
        (sign, entry[key]) for key, sign in signs.items() if abs(entry.get(key, UNHEARD)) < UNHEARD
    ]
    bounds = [f"{sign} {bound:g}" for sign, bound in named]
    return " ".join([kind, ", ".join(bounds)]).strip()


def metrics_page() -> str:
    """Returns `docs/metrics.md`: every score and curve, its formula and where it comes from."""
    # Torch takes seconds to import; the rest of this module does without.
    from lilas.evaluation.curves import CURVES
    from lilas.evaluation.metrics import EVERY_METRIC, LAWS

    lines = [
        "# Metrics",
        "",
        "Truth $u$, ensemble members $v_k$ of $K$, their mean $\\bar{v}$, mean over space "
        "$\\langle \\cdot \\rangle$. Every metric is of one field at one lead time of one "
        "trajectory, in physical units, against the truth and, for rollouts, against the "
        "auto-encoded truth; those of laws are of whole states. What is undefined has no row: the "
        "spread of one member, a band without modes.",
        "",
        "This page is generated from the registries in `src/lilas/evaluation/metrics.py` "
        "and `curves.py` beside it by `python -m lilas.inspect.pages`.",
        "",
        "| metric | formula | unit | better | source |",
        "|---|---|---|---|---|",
    ]
    fields = {name: f", of {', '.join(m.fields)}" for name, m in EVERY_METRIC.items() if m.fields}
    of = {law.name: f", of {system}" for system, laws in LAWS.items() for law in laws}
    for name, metric in EVERY_METRIC.items():
        unit = "the field's" if metric.units == "field" else metric.units
        limits = fields.get(name, "") + of.get(name, "")
        lines.append(
            f"| `{name}`{limits} | {_formula(metric.formula)} | {unit} | {metric.orientation} "
            f"| {metric.reference} |"
        )
    lines += ["", "Curves, kept at lead times that double, against the truth:", ""]
    lines += ["| curve | formula | unit | along | source |", "|---|---|---|---|---|"]
    for name, curve in CURVES.items():
        unit = "1" if curve.units == "1" else "the field's, squared"
        lines.append(
            f"| `{name}` | {_formula(curve.formula)} | {unit} | {curve.at} | {curve.reference} |"
        )
    return "\n".join(lines) + "\n"


def _formula(latex: str) -> str:
    return f"${latex}$".replace("|", "\\|")


def main() -> None:
    """Writes the pages into `docs/` of the current folder."""
    Path("docs/metrics.md").write_text(metrics_page(), encoding="utf-8")
    Path("docs/artifacts.md").write_text(artifacts_page(), encoding="utf-8")
    Path("docs/configuration.md").write_text(configuration_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
