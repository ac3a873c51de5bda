"""The registry of metrics: what each is, and the name of what computes it.

Tables, figures and pages read this too, so it imports no torch.

Constants keep scores of uniform states defined. They are the official code's (1.1.0), but for
EPS_TOTAL, in the field's unit, and matter where a field's variance, spread, total or power per
mode is as small as they are.
"""

from lilas import plugins
from lilas.evaluation.bands import BANDS
from lilas.evaluation.metric import Metric
from lilas.plugins import later

EPS_VARIANCE, EPS_RATIO, EPS_TOTAL = 1e-6, 1e-3, 1e-6
# Part of the variance from which on its constant is no longer negligible.
MATTERS = 0.01

PAPER = "paper, Section 4 and Appendix B; official code 1.1.0"
_FIELD, _STATE = "lilas.evaluation.field_scores", "lilas.evaluation.physics"
_SPECTRAL = {
    "power_spectrum": (
        r"\sqrt{\langle (1 - \frac{p_v + \epsilon}{p_u + \epsilon})^2 \rangle_k}",
        PAPER,
    ),
    "cross_spectrum": (
        r"\sqrt{\langle (1 - \frac{c + \epsilon}{\sqrt{p_u p_v + \epsilon^2}})^2 \rangle_k},"
        r"\ c = \langle |U \bar{V}| \rangle",
        f"{PAPER}; no phase error changes it, and a state without power has none: use coherence",
    ),
    "coherence": (
        r"\sqrt{\langle (1 - \frac{c + \epsilon}{\sqrt{(p_u + \epsilon)(p_v + \epsilon)}})^2"
        r" \rangle_k},"
        r"\ c = \mathrm{Re} \langle U \bar{V} \rangle",
        "spectral coherence; not in the official code",
    ),
}

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "rmse",
            later(f"{_FIELD}:rmse"),
            r"\sqrt{\langle (u - \bar{v})^2 \rangle},\ \bar{v} = \frac{1}{K} \sum_k v_k",
            "field",
            "lower",
            PAPER,
        ),
        Metric(
            "nrmse",
            later(f"{_FIELD}:nrmse"),
            r"\sqrt{\langle (u - \bar{v})^2 \rangle / (\langle u^2 \rangle + 10^{-6})}",
            "1",
            "lower",
            PAPER,
        ),
        Metric(
            "vrmse",
            later(f"{_FIELD}:vrmse"),
            r"\sqrt{\langle (u - \bar{v})^2 \rangle / (\mathrm{Var}(u) + 10^{-6})}",
            "1",
            "lower",
            PAPER,
        ),
        Metric(
            "vrmse_scale_free",
            later(f"{_FIELD}:vrmse_scale_free"),
            r"\sqrt{\langle (u - \bar{v})^2 \rangle / \mathrm{Var}(u)}",
            "1",
            "lower",
            "vrmse without its constant, the same in every unit; 1 where the truth is uniform",
        ),
        Metric(
            "mae",
            later(f"{_FIELD}:mae"),
            r"\langle |u - \bar{v}| \rangle",
            "field",
            "lower",
            "mean error",
        ),
        Metric(
            "correlation",
            later(f"{_FIELD}:correlation"),
            r"\frac{\langle u' \bar{v}' \rangle}"
            r"{\sqrt{\langle u'^2 \rangle \langle \bar{v}'^2 \rangle}},"
            r"\ u' = u - \langle u \rangle",
            "1",
            "higher",
            "pattern correlation; 0 if a state is constant",
        ),
        Metric(
            "spread",
            later(f"{_FIELD}:spread"),
            r"\sqrt{\frac{K + 1}{K - 1} \langle \frac{1}{K} \sum_k (v_k - \bar{v})^2 \rangle}",
            "field",
            "none",
            PAPER,
        ),
        Metric(
            "skill",
            later(f"{_FIELD}:rmse"),
            r"\sqrt{\langle (u - \bar{v})^2 \rangle}",
            "field",
            "lower",
            PAPER,
        ),
        Metric(
            "spread_skill",
            later(f"{_FIELD}:spread_skill"),
            r"\frac{\mathrm{spread} + 10^{-3}}{\mathrm{skill} + 10^{-3}}",
            "1",
            "one",
            "official code 1.1.0, the ratio plotted",
        ),
        *(
            Metric(
                f"{name}_{band}",
                later(f"{_FIELD}:{name}", band),
                formula,
                "1",
                # The best of the official one would often be a constant.
                "none" if name == "cross_spectrum" else "lower",
                source,
            )
            for name, (formula, source) in _SPECTRAL.items()
            for band in BANDS
        ),
        Metric(
            "total",
            later(f"{_FIELD}:total"),
            r"\frac{|\sum (u - \bar{v})|}{\sum |u| + 10^{-6}}",
            "1",
            "lower",
            f"{PAPER}, for fields of both signs too",
        ),
        Metric(
            "wasserstein",
            later(f"{_FIELD}:wasserstein"),
            r"\int_0^1 |Q_u(q) - Q_v(q)| \, dq,\ Q_v \textrm{ of all members' values}",
            "field",
            "lower",
            "paper, Tables 12 and 13; official code 1.1.0",
        ),
        Metric(
            "sliced_emd",
            later(f"{_FIELD}:sliced_emd"),
            r"\frac{1}{16} \sum_\theta \int |F_u - F_{\bar{v}}| \, ds,\ s = \theta \cdot x,"
            r"\ F \textrm{ of masses } u / \sum u,\ \bar{v} / \sum \bar{v}",
            "1",
            "lower",
            "paper, Table 11; official code 1.1.0; F is 0 where a total is not positive",
            fields=("density",),
        ),
        Metric(
            "crps",
            later(f"{_FIELD}:crps"),
            r"\langle \frac{1}{K} \sum_k |v_k - u|"
            r" - \frac{1}{2 K (K - 1)} \sum_{i j} |v_i - v_j| \rangle",
            "field",
            "lower",
            "Ferro (2014), fair for a finite ensemble; of one member the mean absolute error",
        ),
        Metric(
            "energy_score",
            later(f"{_FIELD}:energy_score"),
            r"\frac{1}{K} \sum_k \|v_k - u\|"
            r" - \frac{1}{2 K (K - 1)} \sum_{i j} \|v_i - v_j\|,"
            r"\ \|x\| = \sqrt{\langle x^2 \rangle}",
            "field",
            "lower",
            "Gneiting and Raftery (2007), fair as the CRPS; of one member the RMSE",
        ),
        Metric(
            "vcrps",
            later(f"{_FIELD}:vcrps"),
            r"\mathrm{CRPS} / \sqrt{\mathrm{Var}(u) + 10^{-6}}",
            "1",
            "lower",
            "crps, scaled as the RMSE is in vrmse, so that fields can be averaged",
        ),
        Metric(
            "venergy_score",
            later(f"{_FIELD}:venergy_score"),
            r"\mathrm{ES} / \sqrt{\mathrm{Var}(u) + 10^{-6}}",
            "1",
            "lower",
            "energy_score, scaled as the RMSE is in vrmse; of one member the vrmse",
        ),
        *(
            Metric(
                f"coverage_{name}",
                later(f"{_FIELD}:coverage", quarter),
                r"\frac{K + 1}{K + 1 - 2 r}"
                r" \langle \mathbf{1}[v_{(r)} \leq u \leq v_{(K + 1 - r)}] \rangle,"
                rf"\ r = {r}",
                "1",
                "one",
                "coverage of an interval of order statistics, over its nominal probability",
            )
            for name, quarter, r in (
                ("range", False, "1"),
                ("half", True, r"\lfloor (K + 3) / 4 \rfloor"),
            )
        ),
        Metric(
            "rank_deviation",
            later(f"{_FIELD}:rank_deviation"),
            r"\sum_{i = 0}^K |f_i - \frac{1}{K + 1}|,\ f \textrm{ of the rank of } u",
            "1",
            "lower",
            "Hamill (2001), distance of the rank histogram from a flat one",
        ),
    )
}

_EQUATIONS = "the equations of the data (The Well)"

LAWS: dict[str, tuple[Metric, ...]] = {
    "convection": (
        Metric(
            "divergence",
            later(f"{_STATE}:divergence"),
            r"\mathrm{RMS}(\nabla \cdot w) / \mathrm{RMS}(\nabla w)",
            "1",
            # As good as the data's own is as good as it gets; a uniform flow has none.
            "none",
            _EQUATIONS,
        ),
        Metric(
            "nusselt",
            later(f"{_STATE}:nusselt"),
            r"|\overline{\mathrm{Nu}}(v) - \mathrm{Nu}(u)| / \max(|\mathrm{Nu}(u)|, 1),"
            r"\ \mathrm{Nu} = 1 + \sqrt{\mathrm{Ra} \mathrm{Pr}} \langle b w \rangle",
            "1",
            "lower",
            _EQUATIONS,
        ),
    ),
    "gas": (
        Metric(
            "mach",
            later(f"{_STATE}:mach"),
            r"\sqrt{\langle (\overline{M}(v) - M(u))^2 \rangle},"
            r"\ M = |m| / \sqrt{\gamma p \rho}",
            "1",
            "lower",
            _EQUATIONS,
        ),
        Metric(
            "energy_residual",
            later(f"{_STATE}:energy_residual"),
            r"\mathrm{RMS}(E - \frac{p}{\gamma - 1} - \frac{|m|^2}{2 \rho}) / \mathrm{RMS}(E)",
            "1",
            "lower",
            _EQUATIONS,
        ),
        Metric(
            "negative",
            later(f"{_STATE}:negative"),
            r"\langle [v \leq 0] \rangle",
            "1",
            "lower",
            _EQUATIONS,
        ),
    ),
}
# What the truth is like, which tables remark on: whether the constants of scores matter.
OF_TRUTH: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "constant_matters",
            later(f"{_FIELD}:constant_matters"),
            r"[10^{-6} \geq 0.01 \, \mathrm{Var}(u)]",
            "1",
            "none",
            "of the truth: whether the constant of vrmse is more than a hundredth of the variance",
        ),
        Metric(
            "uniform",
            later(f"{_FIELD}:uniform"),
            r"[\mathrm{Var}(u) = 0]",
            "1",
            "none",
            "of the truth: whether it has no variance but for rounding",
        ),
    )
}
# How far rollouts that are guided by observations y = A(u) + noise are from these.
OF_OBSERVATION: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "misfit",
            later("lilas.evaluation.observed:misfit"),
            r"\sqrt{\frac{1}{K} \sum_k \langle (A(v_k) - y)^2 \rangle} / \sigma",
            "1",
            "one",
            "of guided rollouts: over all observed numbers of standardised states",
        ),
        Metric(
            "misfit_floor",
            later("lilas.evaluation.observed:misfit"),
            r"\sqrt{\langle (A(D(E(u))) - y)^2 \rangle} / \sigma",
            "1",
            "none",
            "of the auto-encoded truth: what its own latents leave of the observations",
        ),
    )
}
# Residuals are of one state alone, so that the data themselves have a value to compare with.
RESIDUALS = ("divergence", "energy_residual", "negative")


for _name, _metric in plugins.found(
    "lilas.metrics", (*METRICS, *OF_TRUTH, *OF_OBSERVATION)
).items():
    if isinstance(_metric, Metric) and _metric.name == _name:
        METRICS[_name] = _metric
    else:
        plugins.problem("lilas.metrics", _name, f"it is no Metric of the name {_name!r}")

# Every score of a metrics file by name.
EVERY_METRIC = (
    METRICS | {law.name: law for laws in LAWS.values() for law in laws} | OF_TRUTH | OF_OBSERVATION
)
for _name in plugins.found_names("lilas.metrics") & {
    law.name for one in LAWS.values() for law in one
}:
    plugins.problem("lilas.metrics", _name, f"{_name!r} is taken by a law. Rename the entry")
