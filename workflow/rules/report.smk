# Tables, verdicts on the claims, figures, and the report that holds all of it.
HISTORIES = every(
    f"{paths.AUTOENCODER}/{paths.HISTORY}", trained("autoencoder", TRAININGS)
) + sorted(set(every(f"{paths.EMULATOR}/{paths.HISTORY}", trained("emulator", ROLLOUTS))))
FRAMES = every(paths.FRAMES, FORECASTS)
OBSERVED_FRAMES = every(paths.FRAMES, OBSERVING)
# The autoencoders whose trainings are compared, by dataset, and their histories.
ABLATION = ablation.variants(STUDY, read_swept(STUDY_FILE)["autoencoders"])
ABLATED = every(
    f"{paths.AUTOENCODER}/{paths.HISTORY}",
    [
        {"dataset": name, "autoencoder": paths.training_name(one.entry, seed)}
        for name, its in ABLATION.items()
        for one in its
        for seed in one.seeds
    ],
)
# The emulators that share their latents with others, by dataset, their histories, and those of
# what they start from.
COMPARED = comparison.compared(STUDY)
COMPARED_HISTORIES = sorted(
    {
        f"{ROOT}/{folder}/{paths.HISTORY}"
        for name, its in COMPARED.items()
        for one in its
        if one.windows
        for folder in (
            f"{name}/{one.autoencoder}/{one.emulator}",
            *(parent.run for parent in one.ancestors),
        )
    }
)
SAMPLING = comparison.sampling(STUDY)
# With one dataset the report is a single page.
PAGES = [{"dataset": name} for name in STUDY.datasets] if len(STUDY.datasets) > 1 else []
LEAD_TIMES = {run["dataset"]: table_lead_times(STUDY, run["dataset"]) for run in COUNTERFACTUALS}
HORIZONS = {name: entry.evaluation.horizons for name, entry in STUDY.datasets.items()}


rule tables:
    """Write tables of scores, by horizon and as the paper has them."""
    message:
        "tables"
    input:
        metrics=METRICS,
        histories=ABLATED,
        timings=TIMINGS,
        temperatures=TEMPERATURES,
        guided=OBSERVED_METRICS,
        analyses=ANALYSES,
        trained=COMPARED_HISTORIES,
    output:
        directory(f"{ROOT}/{paths.TABLES}"),
    log:
        log_file("tables"),
    benchmark:
        benchmark_file("tables")
    conda:
        ENVIRONMENT
    params:
        config=task(
            horizons=HORIZONS,
            ablation={name: list(map(dict, its)) for name, its in ABLATION.items()} or None,
            twins=TWINS or None,
            lead_times=LEAD_TIMES or None,
            compared={
                name: [one.model_dump(mode="json") for one in its]
                for name, its in COMPARED.items()
            }
            or None,
            sampling={name: one.model_dump(mode="json") for name, one in SAMPLING.items()} or None,
            units={name: its.units for name, its in STUDY.datasets.items() if its.units} or None,
            **paths.origins(STUDY),
        ),
        version=VERSIONS["tables"],
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "tables --config {params.config:q} --metrics {input.metrics:q} "
        "--histories {input.histories:q} --timings {input.timings:q} "
        "--temperatures {input.temperatures:q} --guided {input.guided:q} "
        "--analyses {input.analyses:q} --trained {input.trained:q} --output {output:q}" + LOG


rule claims:
    """Hold the paper's claims against the results."""
    message:
        "the paper's claims"
    input:
        metrics=METRICS + OBSERVED_METRICS,
        histories=HISTORIES,
        timings=TIMINGS,
    output:
        verdicts=f"{ROOT}/{paths.CLAIMS}",
        rows=f"{ROOT}/{paths.CLAIMS_ROWS}",
    log:
        log_file("claims"),
    benchmark:
        benchmark_file("claims")
    conda:
        ENVIRONMENT
    params:
        config=task(horizons=HORIZONS),
        study=STUDY_FILE,
        # The file may change in what no claim depends on: comments, figures.
        runs=STUDY.runs(),
        version=VERSIONS["claims"],
        root=ROOT,
        data=CONFIG.data,
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "claims --config {params.config:q} --metrics {input.metrics:q} "
        "--histories {input.histories:q} --timings {input.timings:q} --study {params.study:q} --root {params.root:q} "
        "--data {params.data:q} --output {output.verdicts:q} --rows {output.rows:q}" + LOG


rule figures:
    """Draw figures and videos."""
    message:
        "figures and videos"
    input:
        metrics=METRICS,
        tables=rules.tables.output,
        histories=HISTORIES,
        frames=FRAMES,
        guided=OBSERVED_FRAMES,
        analyses=ANALYSES,
    output:
        report(
            directory(f"{ROOT}/{paths.FIGURES}"),
            patterns=["{figure}.png", "{figure}.gif"],
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        log_file("figures"),
    benchmark:
        benchmark_file("figures")
    conda:
        ENVIRONMENT
    params:
        config=task(figures=STUDY.figures, twins=TWINS or None),
        version=VERSIONS["figures"],
        table=f"{ROOT}/{paths.HORIZONS}.csv",
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "figures --config {params.config:q} --metrics {input.metrics:q} "
        "--table {params.table:q} --histories {input.histories:q} "
        "--frames {input.frames:q} --guided {input.guided:q} --analyses {input.analyses:q} "
        "--output {output:q}" + LOG


rule report:
    """Write the report: answers, tables, claims, a viewer and figures, as HTML."""
    message:
        "report"
    input:
        tables=rules.tables.output,
        claims=rules.claims.output.verdicts,
        rows=rules.claims.output.rows,
        figures=rules.figures.output,
        frames=FRAMES,
        study=STUDY_FILE,
    output:
        page=f"{ROOT}/{paths.REPORT}",
        claims=f"{ROOT}/{paths.CLAIMS_PAGE}",
        pages=every(paths.PAGE, PAGES),
        methods=[f"{ROOT}/{paths.METHODS_PAGE}"] if COMPARED else [],
    log:
        log_file("report"),
    benchmark:
        benchmark_file("report")
    conda:
        ENVIRONMENT
    params:
        config=task(),
        version=VERSIONS["report"],
        root=ROOT,
        data=CONFIG.data,
    threads: cores
    resources:
        **RESOURCES,
    shell:
        STAGE + "report --config {params.config:q} --tables {input.tables:q} "
        "--claims {input.claims:q} --rows {input.rows:q} --figures {input.figures:q} --frames {input.frames:q} "
        "--study {input.study:q} --root {params.root:q} --data {params.data:q} "
        "--output {output.page:q}" + LOG
