# Tables, verdicts on the claims, figures, and the report that holds all of it.
METRICS = (
    [f"{ROOT}/{name}/baselines.parquet" for name in STUDY.datasets]
    + [
        f"{ROOT}/{name}/{paths.run_name(*run)}/reconstruction.parquet"
        for name in STUDY.datasets
        for run in STUDY.trainings("autoencoders", name)
    ]
    + [ROLLOUT.format(**run) + "/metrics.parquet" for run in ROLLOUTS]
)
RUNS = [
    {"dataset": name, "autoencoder": paths.run_name(*run)}
    for name in STUDY.datasets
    for run in STUDY.trainings("autoencoders", name)
]
# Pixel space and official runs are not trained here, and have no curve to draw.
HISTORIES = [
    f"{ROOT}/{run['dataset']}/{run['autoencoder']}/history.jsonl"
    for run in RUNS
    if resolved("autoencoder", run).is_trained
] + sorted(
    {
        EMULATOR.format(**run) + "/history.jsonl"
        for run in ROLLOUTS
        if resolved("emulator", run).is_trained
    }
)
FRAMES = [ROLLOUT.format(**run) + "/frames.json" for run in ROLLOUTS]
HORIZONS = {name: entry.evaluation.horizons for name, entry in STUDY.datasets.items()}


rule tables:
    message:
        "tables"
    input:
        METRICS,
    output:
        directory(f"{ROOT}/tables"),
    log:
        f"{ROOT}/logs/tables.log",
    benchmark:
        f"{ROOT}/benchmarks/tables.tsv"
    conda:
        ENVIRONMENT
    params:
        config=task(horizons=HORIZONS, **paths.origins(STUDY)),
        version=VERSIONS["tables"],
    shell:
        RUN + "tables --config {params.config:q} --metrics {input:q} --output {output:q}" + LOG


rule claims:
    message:
        "the paper's claims"
    input:
        metrics=METRICS,
        histories=HISTORIES,
    output:
        f"{ROOT}/claims.json",
    log:
        f"{ROOT}/logs/claims.log",
    benchmark:
        f"{ROOT}/benchmarks/claims.tsv"
    conda:
        ENVIRONMENT
    params:
        config=task(horizons=HORIZONS),
        study=STUDY_FILE,
        # The file may change in what no claim depends on: comments, figures.
        runs=STUDY.model_dump_json(exclude={"figures"}),
        version=VERSIONS["claims"],
        root=ROOT,
        data=CONFIG.data,
    shell:
        RUN + "claims --config {params.config:q} --metrics {input.metrics:q} "
        "--study {params.study:q} --root {params.root:q} --data {params.data:q} "
        "--output {output:q}" + LOG


rule figures:
    message:
        "figures and videos"
    input:
        metrics=METRICS,
        tables=rules.tables.output,
        histories=HISTORIES,
        frames=FRAMES,
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
        version=VERSIONS["figures"],
    shell:
        RUN + "figures --config {params.config:q} --metrics {input.metrics:q} "
        "--table {input.tables:q}/horizons.csv --histories {input.histories:q} "
        "--frames {input.frames:q} --output {output:q}" + LOG


rule report:
    message:
        "report"
    input:
        tables=rules.tables.output,
        claims=rules.claims.output,
        figures=rules.figures.output,
        frames=FRAMES,
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
        "--claims {input.claims:q} --figures {input.figures:q} --frames {input.frames:q} "
        "--study {input.study:q} --root {params.root:q} --data {params.data:q} "
        "--output {output:q}" + LOG
