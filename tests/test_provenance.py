"""Fingerprints of code and records of inputs: what counts as a change, and what does not."""

import pytest

from lilas import provenance


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("# A comment\n{source}", True),
        ("{source}\n\n\n", True),
        ('"""Another docstring."""\n{body}', True),
        ("{source}\nextra = 1\n", False),
    ],
)
def test_the_fingerprint_sees_code_alone(change, same):
    source = '"""A docstring."""\n\ndef f(x):\n    """Doubles."""\n    return 2 * x\n'
    body = source.split("\n", 1)[1].replace("Doubles.", "Twice.")
    changed = change.format(source=source, body=body)
    equal = provenance._normalised(source) == provenance._normalised(changed)
    assert equal == same


def test_a_stage_is_made_of_what_it_imports():
    modules = provenance._reachable("lilas.stages.rollout")
    assert {"lilas.rollout", "lilas.objectives", "lilas.nn.vit", "lilas.diffusion"} <= modules
    assert "lilas.metrics" in provenance._reachable("lilas.stages.evaluate")
    assert "lilas.metrics" not in provenance._reachable("lilas.stages.simulate")
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
