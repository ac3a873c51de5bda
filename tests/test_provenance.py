"""Fingerprints of code and records of inputs: what counts as a change, and what does not."""

import pytest

from lilas.records import provenance


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("# A comment\n{source}", True),
        ("{source}\n\n\n", True),
        ('"""Another docstring."""\n{body}', True),
        ("from lilas.files import sha256\n{body}", True),
        ("import numpy as np\n{body}", False),
        ("{source}\nextra = 1\n", False),
        ("{twice}", False),
    ],
)
def test_the_fingerprint_sees_code_alone(change, same):
    source = '"""A docstring."""\n\ndef f(x):\n    """Doubles."""\n    return 2 * x\n'
    body = source.split("\n", 1)[1].replace("Doubles.", "Twice.")
    changed = change.format(source=source, body=body, twice=source.replace("2 * x", "3 * x"))
    assert (provenance._statements(source) == provenance._statements(changed)) == same


def test_the_fingerprint_is_blind_to_where_code_lies(tmp_path, monkeypatch):
    """A function that moves to a module of its own leaves it, though both import what they need."""
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    f, g = "def f(x):\n    return np.sqrt(x)\n", "def g(x):\n    return f(np.abs(x))\n"
    (tmp_path / "one.py").write_text(f"import numpy as np\n{f}{g}")
    whole = provenance._fingerprint(["lilas.one"])
    (tmp_path / "one.py").write_text(f"import numpy as np\nfrom lilas.two import f\n{g}")
    (tmp_path / "two.py").write_text(f"import numpy as np\n{f}")
    assert provenance._fingerprint(["lilas.one", "lilas.two"]) == whole
    (tmp_path / "two.py").write_text(f"import numpy as np\n{f.replace('sqrt', 'exp')}")
    assert provenance._fingerprint(["lilas.one", "lilas.two"]) != whole


def test_a_stage_is_made_of_what_it_imports():
    modules = provenance._reachable("lilas.stages.rollout")
    assert {
        "lilas.models.rollout",
        "lilas.models.methods",
        "lilas.nn.vit",
        "lilas.models.diffusion",
    } <= modules
    assert "lilas.evaluation.metrics" in provenance._reachable("lilas.stages.evaluate")
    assert "lilas.evaluation.metrics" not in provenance._reachable("lilas.stages.simulate")
    assert provenance.code_fingerprint("rollout") != provenance.code_fingerprint("simulate")


def test_changed_inputs_are_told(tmp_path):
    weights, data = tmp_path / "weights", tmp_path / "data"
    weights.write_text("a")
    data.write_text("b")
    record = provenance.provenance("tables", {}, {"weights": weights, "data": [data]})
    assert provenance.differences(record) == []
    weights.write_text("c")
    data.write_text("more")
    record["code"] = "other"
    found = provenance.differences(record)
    assert len(found) == 3
    assert "has changed since" in found[0]
    assert "another size or time" in found[1]
    assert "code of stage 'tables' differs" in found[2]
    weights.unlink()
    assert "is gone" in provenance.differences(record)[0]


def test_the_fingerprint_of_metrics_holds_all_that_scores_are_made_of():
    used = provenance._reachable("lilas.evaluation.score") - {"lilas.evaluation.score"}
    folder = "lilas.evaluation."
    assert {name for name in used if name.startswith(folder)} == set(provenance.METRICS)


def test_configuration_inputs_and_version_alone_decide_what_is_made(tmp_path):
    """What of a record must be the same for a checkpoint or a store to be carried on with."""
    weights, data = tmp_path / "weights", tmp_path / "data"
    weights.write_text("a")
    data.write_text("b")

    def made(config, **changes):
        inputs = {"weights": weights, "data": [data]}
        return provenance.making(provenance.provenance("latents", config, inputs) | changes)

    before = made({"seed": 0})
    assert made({"seed": 0}) == before
    assert made({"seed": 0}, code="other", versions={"torch": "0"}) == before
    assert made({"seed": 1}) != before
    assert made({"seed": 0}, stage="emulator") != before
    assert made({"seed": 0}, version=1000) != before
    data.write_text("longer")
    assert made({"seed": 0}) != before
    data_again = made({"seed": 0})
    weights.write_text("c")
    assert made({"seed": 0}) != data_again
