"""Snakemake's own linter, less what it takes for a fault here and is none; any other fails."""

import re
import subprocess
import sys

# What it says, in full, and why that is no fault.
FALSE_ALARMS = {
    r"Path composition with '\+' in line \d+": "a command, begun by STAGE and ended by LOG; in "
    "targets and report, a rule's own pattern of paths and the name of a file",
    r"Mixed rules and functions in same snakefile\.": "a function of one file's rules lies beside "
    "them; what files share is in common.smk and plan.smk",
    r"Environment variable (PATH|PYTHONSAFEPATH|LILAS_GPUS) used but .* in line \d+\.": "set for "
    "the jobs, not asked of a user",
    r"Shell command directly uses variable (CONFIG|EXPECTED) from .*": "the device, the time "
    "between checkpoints and what a download must hold decide no result; as parameters, they "
    "would make every result again",
    r"Param (root|folder) is a prefix of input or output file but hardcoded": "what the report "
    "tells of is all that lies there; latents of all splits lie in one folder",
}


def main() -> None:
    line = ["snakemake", "--lint"]
    said = subprocess.run(line, capture_output=True, text=True, check=False).stderr
    if "Lints for" not in said:
        sys.exit(f"error: {' '.join(line)} lists nothing, not even what is known:\n{said}")
    found = [
        (heading, title)
        for heading, titles in re.findall(r"^Lints for (.*):\n((?:    .*\n)+)", said, re.M)
        for title in re.findall(r"^    \* (.*):$", titles, re.M)
    ]
    new = [
        f"{heading}: {title}"
        for heading, title in found
        if not any(re.fullmatch(known, title) for known in FALSE_ALARMS)
    ]
    gone = [
        f"workflow/lint.py: no false alarm any more: {known}"
        for known in FALSE_ALARMS
        if not any(re.fullmatch(known, title) for _, title in found)
    ]
    if new or gone:
        sys.exit("\n".join(new + gone))


if __name__ == "__main__":
    main()
