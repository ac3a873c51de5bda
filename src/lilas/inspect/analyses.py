"""Files of latent analyses: their tables, and their picture."""

from pathlib import Path

from lilas.display import spaced
from lilas.inspect import text
from lilas.inspect.inspection import Inspection
from lilas.records.analyses import read_analysis
from lilas.records.provenance import check_record
from lilas.report.latent_figures import latent_figures
from lilas.report.latent_tables import TITLES, latent_tables
from lilas.report.typeset import markdown, terminal

# Lead times of a counterfactual that are shown.
LEADS = 4


def inspect_analysis(path: Path) -> Inspection:
    """Inspects what latents tell of parameters, or a counterfactual."""
    one = read_analysis(path)
    record = check_record(path, one.record)
    leads: list[int] = []
    if one.is_counterfactual:
        found = sorted(set(one.tables["distances"]["lead_time"]))
        leads = [found[i] for i in spaced(len(found), LEADS)]
    what = "a counterfactual" if one.is_counterfactual else "what latents tell of parameters"
    lines = [f"{path}: {what}", ""]
    lines += text.facts({name: text.plain(value) for name, value in one.facts.items()})
    for name, tables in latent_tables([one], {one.facts["dataset"]: leads}, {}).items():
        lines += ["", *terminal(markdown(TITLES[name][0], tables)).splitlines()]
    return Inspection(
        [*lines, *text.origin(record, path)],
        lambda: next(figure for _, figure in latent_figures([one])),
    )
