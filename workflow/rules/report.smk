# Tables by horizon, figures, and the report that holds all of it.
METRICS = (
    [f"{ROOT}/{name}/baselines.parquet" for name in STUDY.datasets]
    + [
        f"{ROOT}/{name}/{layout.run_name(*run)}/reconstruction.parquet"
        for name in STUDY.datasets
        for run in STUDY.runs("autoencoders", name)
    ]
    + [ROLLOUT.format(**run) + "/metrics.parquet" for run in ROLLOUTS]
)
RUNS = [
    {"dataset": name, "autoencoder": layout.run_name(*run)}
    for name in STUDY.datasets
    for run in STUDY.runs("autoencoders", name)
]
# Pixel space and official runs are not trained here, and have no curve to draw.
HISTORIES = [
    f"{ROOT}/{run['dataset']}/{run['autoencoder']}/history.jsonl"
    for run in RUNS
    if resolved("autoencoder", run).train is not None
] + sorted(
    {
        EMULATOR.format(**run) + "/history.jsonl"
        for run in ROLLOUTS
        if resolved("emulator", run).train is not None
    }
)


rule tables:
    message:
        "tables by horizon"
    input:
        METRICS,
    output:
        csv=f"{ROOT}/tables/horizons.csv",
        markdown=f"{ROOT}/tables/horizons.md",
    log:
        f"{ROOT}/logs/tables.log",
    benchmark:
        f"{ROOT}/benchmarks/tables.tsv"
    conda:
        ENVIRONMENT
    params:
        config=task(
            horizons={
                name: entry.evaluation.horizons for name, entry in STUDY.datasets.items()
            }
        ),
        version=VERSIONS["tables"],
    shell:
        RUN + "tables --config {params.config:q} --metrics {input:q} "
        "--csv {output.csv:q} --markdown {output.markdown:q}" + LOG


rule figures:
    message:
        "figures"
    input:
        metrics=METRICS,
        histories=HISTORIES,
        rollouts=[ROLLOUT.format(**run) + "/rollouts.json" for run in ROLLOUTS],
        autoencoders=[chosen("autoencoder", run) for run in ROLLOUTS],
        statistics=[statistics(run) for run in ROLLOUTS],
        test=[file for files in FILES.values() for file in files["test"]],
    output:
        directory(f"{ROOT}/figures"),
    log:
        f"{ROOT}/logs/figures.log",
    benchmark:
        f"{ROOT}/benchmarks/figures.tsv"
    conda:
        ENVIRONMENT
    params:
        config=task(figures=STUDY.figures),
        runs=json.dumps(ROLLOUTS),
        test=json.dumps(
            {
                name: {"files": files["test"], "fields": STUDY.datasets[name].states.fields}
                for name, files in FILES.items()
            }
        ),
        version=VERSIONS["figures"],
    shell:
        RUN + "figures --config {params.config:q} --metrics {input.metrics:q} "
        "--histories {input.histories:q} --rollouts {input.rollouts:q} "
        "--autoencoders {input.autoencoders:q} --statistics {input.statistics:q} "
        "--runs {params.runs:q} --test {params.test:q} --output {output:q}" + LOG


rule report:
    message:
        "report"
    input:
        tables=rules.tables.output.markdown,
        figures=rules.figures.output,
        study=STUDY_FILE,
    output:
        f"{ROOT}/report.html",
    log:
        f"{ROOT}/logs/report.log",
    benchmark:
        f"{ROOT}/benchmarks/report.tsv"
    conda:
        ENVIRONMENT
    params:
        config=task(),
        version=VERSIONS["report"],
        root=ROOT,
        data=CONFIG.data,
    shell:
        RUN + "report --config {params.config:q} --tables {input.tables:q} "
        "--figures {input.figures:q} --study {input.study:q} --root {params.root:q} "
        "--data {params.data:q} --output {output:q}" + LOG
