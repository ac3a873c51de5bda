"""What each of the paper's claims says, when it holds, and its verdict from that of its parts."""

from lilas.report.paired import (
    NOT_SUPPORTED,
    NOT_TESTED,
    SUPPORTED,
    Part,
    Verdict,
    together,
)

# Robust to compression: an error that grows by less than a tenth. In the paper's Table 6, horizons
# pooled, it grows by 6 % on Euler, by 14 % on gravity cooling, and shrinks on Rayleigh-Bénard.
ROBUST = 1.1
# Matching pixel space, and a context that hardly matters: within a twentieth of the error, which is
# as far as contexts are apart in the paper's Table 7, horizons pooled.
MATCH = 0.05
# A spread-skill ratio near 1: the ensemble over- or understates its error by at most a fifth.
NEAR_ONE = (0.8, 1.2)
# A spread-skill ratio that falls "a little": by no more than that same fifth.
FALL = 0.2
# "Far faster" convergence: below the other's last validation loss within half of the steps.
FAR_FASTER = 0.5
# What seconds are of that were not timed by themselves.
WHOLE = " (of whole jobs)"
# A guided rollout that stays near the truth: over the last horizon, where forecasts have gone
# furthest from it, at most half of their error.
KEPT = 0.5
JOBS = (
    "Seconds are of whole jobs, start-up included but for evaluation, and of a resumed job's last "
    "part alone."
)
TEXTS = {
    1: "The accuracy of latent diffusion is robust to the compression rate, although the "
    "reconstruction degrades.",
    2: "Latent emulators match or beat pixel-space emulators with fewer parameters and less "
    "training.",
    3: "Diffusion emulators are more accurate than neural solvers and have better power spectra; "
    "their spread-skill ratio is near 1 and falls a little with compression.",
    4: "Near-identity initialisation and a preconditioned optimiser train autoencoders far faster "
    "than Adam.",
    5: "Latent diffusion generates states faster than diffusion in pixel space and the simulator.",
    6: "The number of context states hardly matters, and guidance with partial observations keeps "
    "a rollout near the truth.",
}
CRITERIA = {
    1: f"Supported if the VRMSE's ratio, highest to lowest compression, has an interval below "
    f"{ROBUST:g}, and the reconstruction's grows by more.",
    2: f"Supported if the VRMSE's difference has an interval below {MATCH:.0%} of the VRMSE in "
    "pixel space, with fewer parameters and training seconds, at the largest budget that both "
    "have, if any.",
    3: "Supported if the differences of VRMSE and of the spectral errors have intervals below 0, "
    "at the largest budget that both have, if any, and spread / skill one within "
    f"{NEAR_ONE[0]:g} to {NEAR_ONE[1]:g} that falls by at most {FALL:g}.",
    4: "Supported if, each alone, both end with the lower validation loss, and have been below the "
    f"other's last one within {FAR_FASTER:.0%} of the steps: by intervals of the differences over "
    "seeds, every optimiser with the best of as many rates.",
    5: "Supported if a decoded state takes fewer seconds: where states were timed, if the ratio of "
    "their seconds has an interval below 1.",
    6: f"Supported if the VRMSE's ratio, longer to shortest context, has an interval within "
    f"{MATCH:.0%} of 1, and that of guided rollouts, to unguided ones over the last horizon, one "
    f"below {KEPT:g}.",
}


def conclude(
    number: int, parts: list[Part], missing: str, more: list[str] = (), note: str = ""
) -> Verdict:
    """Returns the verdict on a claim from its parts; `missing` says why there are none."""
    evidence = [line for part in parts for line in part.evidence] + list(more)
    sentences = []
    for verdict in (NOT_SUPPORTED, NOT_TESTED, SUPPORTED):
        names = [part.name for part in parts if part.verdict == verdict]
        if len(names) == len(parts) > 2:
            sentences.append(f"{verdict.capitalize()}: all {len(parts)} parts.")
        elif names:
            sentences.append(f"{verdict.capitalize()}: {'; '.join(names)}.")
    reason = " ".join(filter(None, [*(sentences or [missing]), note]))
    verdict = together(parts)
    return Verdict(number, TEXTS[number], CRITERIA[number], verdict, evidence, reason, parts)
