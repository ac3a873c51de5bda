"""Breaks the code in one place at a time, and runs the test that must fail: a test of the tests.

`make mutations` prints a table, and fails if a mutation survives or no longer applies.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PARTS = ("pyproject.toml", "src", "tests", "workflow")


class Mutation(NamedTuple):
    """What is broken: a text of a module, wherever in the package it lies, and what it becomes."""

    what: str
    module: str
    old: str
    new: str
    test: str


MUTATIONS = [
    Mutation(
        "the answer takes the best of an emulator's samplers",
        "answer.py",
        "rows[of_first_samplers(rows)] for rows",
        "rows for rows",
        "test_answer.py::test_the_answer_is_of_the_first_sampler",
    ),
    Mutation(
        "claims pool emulators of other budgets",
        "accuracy.py",
        'sides = alike(sides, ["context", "budget"], ["context"])',
        'sides = alike(sides, ["context"])',
        "test_claims.py::test_emulators_of_one_budget_are_compared",
    ),
    Mutation(
        "members of an ensemble are drawn together by a biased score",
        "ensemble.py",
        "return error - (1 - (1 - self.fair) / m) / 2 * apart",
        "return error - (1 - 1 / m) / 2 * apart",
        "test_methods.py::test_scores_are_those_of_scoringrules",
    ),
    Mutation(
        "members of unrolled windows go on from the truth",
        "ensemble.py",
        "known = y[:, :, -1:].expand_as(y)",
        "known = truth.repeat_interleave(count, 0)[:, :, -1:].expand_as(y)",
        "test_methods.py::test_unrolled_windows_go_on_from_each_members_own_states",
    ),
    Mutation(
        "a flow's mean leaves out how its schedule changes",
        "diffusion.py",
        "mean = (ds * x_t - s * v) / (a * ds - s * da)",
        "mean = (x_t - s * v) / a",
        "test_methods.py::test_flow_and_diffusion_give_the_same_samples",
    ),
    Mutation(
        "the noise of known states is told as none",
        "context.py",
        "share = sampler.context_noise / settings.context_noise",
        "share = 0.0",
        "test_methods.py::test_rollouts_add_their_own_context_noise",
    ),
    Mutation(
        "a rollout has the noise of its context",
        "rollout.py",
        "return torch.where(over_space(window.mask, made), window.known, made)",
        "return torch.where(over_space(window.mask, made), known, made)",
        "test_methods.py::test_rollouts_add_their_own_context_noise",
    ),
    Mutation(
        "the temperature of the highest CRPS is chosen",
        "temperatures.py",
        "return min(means, key=",
        "return max(means, key=",
        "test_tuning.py::test_a_sampler_has_the_temperature_of_its_file",
    ),
    Mutation(
        "a temperature that was tuned for other weights is taken",
        "temperatures.py",
        "    if of != own:",
        "    if False:",
        "test_tuning.py::test_a_sampler_has_the_temperature_of_its_file",
    ),
    Mutation(
        "inputs of results that were copied are not compared",
        "current.py",
        'return self._read[key] == (item["sha256"] if key[1] else item | {"path": ""})',
        "return True",
        "test_adopt.py::test_other_data_make_it_again",
    ),
    Mutation(
        "what is made of stale results is current",
        "current.py",
        "if stale and one.is_current:",
        "if False:",
        "test_adopt.py::test_other_settings_make_it_again_and_all_that_is_made_of_it",
    ),
    Mutation(
        "a copy of results is checked against those beside it",
        "provenance.py",
        "if path.is_relative_to(called):",
        "if False:",
        "test_provenance.py::test_inputs_of_a_copy_are_its_own_and_never_those_beside_it",
    ),
    Mutation(
        "labels of a called model are in another order",
        "states.py",
        "    columns += [_codes(name, given, about, rows) for name in ends]",
        "    columns[:0] = [_codes(name, given, about, rows) for name in ends]",
        "test_interface.py::test_labels_are_those_of_the_training",
    ),
    Mutation(
        "a called model is given the first state in place of the last",
        "states.py",
        "slice(count - context, count)",
        "slice(0, context)",
        "test_interface.py::test_a_rollout_is_given_the_states_beside_its_own",
    ),
    Mutation(
        "members of a called model share their random numbers",
        "rollout.py",
        "each = [(name, member) for name in names for member in range(sampler.members)]",
        "each = [(name, 0) for name in names for member in range(sampler.members)]",
        "test_interface.py::test_a_rollout_in_latent_space_is_the_pipelines",
    ),
    Mutation(
        "states on a shifted grid are taken",
        "states.py",
        "if not np.abs(own - known).max() <= _TOLERANCE * apart:",
        "if False:",
        "test_interface.py::test_states_that_are_not_the_models_are_refused",
    ),
    Mutation(
        "a bundle's files are not held against their sums",
        "bundles.py",
        "if (found := sha256(path)) != expected:",
        'if (found := "") == expected:',
        "test_interface.py::test_a_bundle_is_called_without_anything_else",
    ),
    Mutation(
        "states that go to a store are in another's place",
        "output.py",
        "at = slice(first + row, first + row + 1)",
        "at = slice(row, row + 1)",
        "test_interface.py::test_states_go_to_a_store_as_they_are_decoded",
    ),
    Mutation(
        "an emulator is taken with any autoencoder",
        "given.py",
        "if (found := sha256(autoencoder)) != expected:",
        'if (found := "") == expected:',
        "test_given.py::test_what_does_not_fit_is_refused_before_a_run",
    ),
    Mutation(
        "a model is taken for data on a shifted grid",
        "given.py",
        "if axes.common([known[None], found[name]], axes.SPACE_TOLERANCE) is None:",
        "if False:",
        "test_given.py::test_what_the_data_show_is_refused_when_it_is_taken",
    ),
    Mutation(
        "a given autoencoder's weights are written anew",
        "given.py",
        'if ours and args.what == "autoencoder":',
        "if False:",
        "test_given.py::test_an_autoencoder_is_a_copy_and_the_records_name_what_was_taken",
    ),
    Mutation(
        "official weights with another sum are taken",
        "archives.py",
        "if name := archive.testzip():",
        "if name := None:",
        "test_official.py::test_broken_files_are_refused",
    ),
    Mutation(
        "an axis that descends is turned without its states",
        "runs.py",
        "return np.flip(states, turned)",
        "return states",
        "test_convert.py::test_a_file_for_each_run_with_its_parameter",
    ),
    Mutation(
        "runs of training are dealt to validation and test too",
        "convert.py",
        "split: sorted(order[a:b])",
        "split: sorted(order[:b])",
        "test_convert.py::test_every_run_is_dealt_to_one_split",
    ),
    Mutation(
        "a block's own spread decides on the type of a field",
        "streams.py",
        "if steps.start == 0:",
        "if steps.start >= 0:",
        "test_convert.py::test_the_type_of_a_field_does_not_depend_on_blocks",
    ),
    Mutation(
        "a field with zeros is drafted with a logarithm",
        "draft_text.py",
        "held.lowest > 0",
        "held.lowest >= 0",
        "test_draft.py::test_ranges_suggest_transforms",
    ),
    Mutation(
        "a network is drafted that is padded around walls",
        "draft_text.py",
        '"periodic": _periodic(extent)',
        '"periodic": list(extent.axes)',
        "test_draft.py::test_a_study_fits_whatever_the_grid_and_the_steps",
    ),
    Mutation(
        "a tracker shows what comes after a checkpoint alone",
        "trackers.py",
        "self.add(history)",
        "pass",
        "test_trackers.py::test_each_step_is_shown_once_whatever_was_killed",
    ),
    Mutation(
        "a tracker's files of before a kill are waited for",
        "trackers.py",
        "os.truncate(file, 0)",
        "file.unlink()",
        "test_trackers.py::test_each_step_is_shown_once_whatever_was_killed",
    ),
    Mutation(
        "a tracker that fails ends the training",
        "trackers.py",
        "except (Exception, SystemExit) as error:",
        "except AssertionError as error:",
        "test_trackers.py::test_a_tracker_that_fails_ends_no_training",
    ),
    Mutation(
        "the best weights are never kept",
        "loop.py",
        "training.best_loss, training.best = mean, weights",
        "training.best_loss = mean",
        "test_training.py::test_the_best_weights_are_those_of_the_lowest_validation",
    ),
    Mutation(
        "the last weights are validated, not the average",
        "loop.py",
        "training.model.load_state_dict(weights)",
        "pass",
        "test_training.py::test_the_average_is_what_is_validated",
    ),
    Mutation(
        "a checkpoint of another configuration is resumed",
        "state.py",
        "if (reason := difference(state, self.making, self.settings)) is None:",
        "if True:",
        "test_training.py::test_another_configuration_starts_fresh_and_keeps_the_old_checkpoint",
    ),
    Mutation(
        "a damaged checkpoint is kept as the one before",
        "checkpoints.py",
        "    os.replace(kept, path)\n    print(",
        "    print(",
        "test_training.py::test_of_a_damaged_checkpoint_the_one_before_is_gone_on_from",
    ),
    Mutation(
        "the checkpoint before is gone on from by another training",
        "checkpoints.py",
        "before(path).unlink(missing_ok=True)",
        "pass",
        "test_training.py::test_a_damaged_checkpoint_of_another_configuration_is_none_to_go_on_from",
    ),
    Mutation(
        "files dated later than now are dated now, one like the other",
        "clock.py",
        "new = now - 1000 * places[date]",
        "new = now",
        "test_clock.py::test_what_is_dated_later_than_now_is_dated_now_in_its_order",
    ),
    Mutation(
        "now is this machine's clock, not the file system's",
        "clock.py",
        "return os.fstat(file.fileno()).st_mtime_ns",
        "return time.time_ns()",
        "test_clock.py::test_now_is_that_of_the_files_and_not_of_this_machine",
    ),
    Mutation(
        "what a link names is dated anew",
        "clock.py",
        "os.utime(file, ns=(new, new), follow_symlinks=False)",
        "os.utime(file, ns=(new, new))",
        "test_clock.py::test_of_links_their_own_dates_are_set",
    ),
    Mutation(
        "a tracker empties the events of other trainings",
        "trackers.py",
        'own = folder / "tensorboard" / _name(making)',
        'own = folder / "tensorboard" / "own"',
        "test_trackers.py::test_what_is_not_of_the_same_training_stays",
    ),
    Mutation(
        "the optimiser's state is not restored",
        "state.py",
        'self.optimizer.load_state_dict(state["optimizer"])',
        "pass",
        "test_training.py::test_a_stopped_run_resumes_to_the_same_bits",
    ),
    Mutation(
        "the warm-up starts at zero",
        "loop.py",
        "return (step + 1) / warmup",
        "return step / warmup",
        "test_training.py::test_learning_rate_closed_forms",
    ),
    Mutation(
        "the solver's loss is pooled over time",
        "methods.py",
        "self.measure(y.transpose(1, 2).flatten(0, 1), x.transpose(1, 2).flatten(0, 1))",
        "self.measure(y, x)",
        "test_options.py::test_a_solvers_loss_takes_each_state_for_a_sample",
    ),
    Mutation(
        "the transformer's dropout is forgotten",
        "vit.py",
        "nn.Dropout(dropout),",
        "nn.Dropout(0.05),",
        "test_options.py::test_an_option_reaches_its_model",
    ),
    Mutation(
        "the UNet's identity_init is forgotten",
        "unet.py",
        "if identity_init:",
        "if True:",
        "test_options.py::test_an_option_reaches_its_model",
    ),
    Mutation(
        "inputs do not decide what is made",
        "provenance.py",
        '("stage", "version", "config")} | {"inputs": inputs}',
        '("stage", "version", "config")}',
        "test_provenance.py::test_configuration_inputs_and_version_alone_decide_what_is_made",
    ),
    Mutation(
        "a horizon may end before it begins",
        "datasets.py",
        "if last < first:",
        "if False:",
        "test_study.py::test_a_mistake_is_told_by_its_key",
    ),
    Mutation(
        "a seed may be there twice",
        "entries.py",
        "seeds: Distinct[Seed]",
        "seeds: list[Seed]",
        "test_study_mutations.py::test_mutated_studies_are_planned_or_refused_in_one_line",
    ),
    Mutation(
        "true is a number",
        "settings/__init__.py",
        "strict=True, ",
        "",
        "test_study_mutations.py::test_mutated_studies_are_planned_or_refused_in_one_line",
    ),
    Mutation(
        "a key may be in a file twice",
        "yaml.py",
        "key.value in keys:",
        "False:",
        "test_study_mutations.py::test_mutated_studies_are_planned_or_refused_in_one_line",
    ),
    Mutation(
        "rollouts are compared with the training split's steps",
        "fit.py",
        'extent.steps["test"]',
        'extent.steps["train"]',
        "test_study_on_disk.py::test_a_test_split_too_short_for_the_rollout_is_told",
    ),
    Mutation(
        "a wall is rolled",
        "fit.py",
        '"periodic" not in kinds[axis]',
        "False",
        "test_study_on_disk.py::test_what_files_cannot_give_is_told_by_its_key",
    ),
    Mutation(
        "a sign in the EDM preconditioning",
        "diffusion.py",
        "* inputs + s / scale * output",
        "* inputs - s / scale * output",
        "test_diffusion.py::test_denoiser_knows_data_of_unit_variance",
    ),
    Mutation(
        "known states are not put in place while sampling",
        "diffusion.py",
        'mean = torch.where(self.given["mask"], self.given["known"], posterior.mean)',
        "mean = posterior.mean",
        "test_diffusion.py::test_known_states_come_out_as_they_went_in",
    ),
    Mutation(
        "a rollout keeps the states that it was given twice",
        "rollout.py",
        "generated[:, :, overlap:]",
        "generated[:, :, 1:]",
        "test_diffusion.py::test_rollouts_count_on",
    ),
    Mutation(
        "masks leave nothing unknown",
        "masks.py",
        "at_least + drawn % (length - at_least)",
        "at_least + drawn",
        "test_masks.py::test_the_count_of_known_states_is_poisson_modulo_its_range",
    ),
    Mutation(
        "the stride is ignored in windows",
        "windows.py",
        "np.arange(length) * stride",
        "np.arange(length)",
        "test_windows.py::test_a_window_is_a_piece_of_its_trajectory",
    ),
    Mutation(
        "periodic padding is of zeros",
        "layers.py",
        "torch.cat((last, x, x.narrow(axis, 0, half)), dim=axis)",
        "torch.cat((0 * last, x, 0 * last), dim=axis)",
        "test_autoencoder.py::test_periodic_padding_commutes_with_rolls",
    ),
    Mutation(
        "a flipped vector keeps its sign",
        "augment.py",
        "(sum(flipped[axis] for axis in source) % 2)",
        "0",
        "test_augment.py::test_equals_the_well",
    ),
    Mutation(
        "the first augmented copy is not the data as they are",
        "augment.py",
        "drawn = {Transformation.identity(len(group.shape)): None}",
        "drawn = {}",
        "test_augment.py::test_distinct_draws",
    ),
    Mutation(
        "labels keep their boundary codes under flips",
        "augment.py",
        "flipped = torch.where(flips[..., None].to(codes.device), codes.flip(-1), codes)",
        "flipped = codes",
        "test_augment.py::test_labels_tell_where_the_boundaries_came_to_lie",
    ),
    Mutation(
        "open trajectories are rolled with the periodic ones of a batch",
        "augment.py",
        "rolls = rolls * self.rolls[rows]",
        "pass",
        "test_augment.py::test_each_sample_of_a_batch_has_the_symmetries_of_its_own_file",
    ),
    Mutation(
        "a piece lacks the last step of its last window",
        "windows.py",
        "last = first + int(self.count[piece]) + self.span - 1",
        "last = first + int(self.count[piece]) + self.span - 2",
        "test_windows.py::test_trajectories_of_differing_steps_show_every_window_once",
    ),
    Mutation(
        "times of the first trajectory stand for those that differ",
        "axes.py",
        "return longest if alike else None",
        "return longest",
        "test_kinds.py",
    ),
    Mutation(
        "latents of another autoencoder are accepted",
        "latents.py",
        "if made != (now := sha256(weights)):",
        "if (now := sha256(weights)) is None:",
        "test_official_caches.py::test_latents_of_another_autoencoder_are_not_exported",
    ),
    Mutation(
        "spread is corrected the wrong way round",
        "ensembles.py",
        "(self.members + 1) / (self.members - 1)",
        "(self.members - 1) / (self.members + 1)",
        "test_metrics.py::test_spread_and_errors_by_brute_force",
    ),
    Mutation(
        "the Nyquist mode counts twice",
        "spectra.py",
        "weight[..., -1] = 1.0",
        "pass",
        "test_spectra.py::test_spectra_equal_brute_force",
    ),
    Mutation(
        "a horizon loses its last lead time",
        "trajectories.py",
        ".between(first, last)",
        ".between(first, last - 1)",
        "test_tables.py::test_trajectories_fields_and_lead_times_weigh_equally",
    ),
    Mutation(
        "rollouts begin a step late",
        "leads.py",
        "known = (context - 1) * stride",
        "known = (context - 2) * stride",
        "test_evaluation.py::test_rollouts_lie_where_the_official_code_puts_them",
    ),
    Mutation(
        "an emulator sees a backward window in the order of the rollout",
        "rollout.py",
        "known, mask = window.known.flip(2), window.mask.flip(1)",
        "known, mask = window.known, window.mask",
        "test_diffusion.py::test_backward_rollouts_count_down",
    ),
    Mutation(
        "a claim's values are those of its other side",
        "accuracy.py",
        'for what, both in (("emulator", ends), ("reconstruction", own))',
        'for what, both in (("reconstruction", ends), ("emulator", own))',
        "test_claims.py::test_check_and_json",
    ),
    Mutation(
        "every turn goes the same way",
        "timing.py",
        "[:: 1 - turn % 2 * 2]",
        "[::1]",
        "test_timing.py::test_turns_go_forwards_and_backwards_and_the_first_calls_do_not_count",
    ),
    Mutation(
        "a state's seconds are without its decoding",
        "speed.py",
        'seconds + (0 if decode is None else decode["seconds"])',
        "seconds",
        "test_timing.py::test_a_state_is_rolled_out_and_decoded_turn_by_turn",
    ),
    Mutation(
        "counterfactuals draw noise by the value too",
        "counterfactual.py",
        "[(row, member) for _, member in batch]",
        "[(row, label, member) for label, member in batch]",
        "test_latent_analysis.py::test_a_linear_emulator_has_the_closed_form",
    ),
    Mutation(
        "augmented copies are compared by parameter",
        "latent_parameters.py",
        "own = tokens.first_copy\n",
        "own = tokens.first_copy | True\n",
        "test_latent_analysis.py::"
        "test_distances_are_of_the_trajectories_as_they_are_and_keep_their_order",
    ),
    Mutation(
        "the covariances of tokens do not count",
        "gaussians.py",
        "np.square(mean_a - mean_b).sum(-1) + traces - 2 * nuclear",
        "np.square(mean_a - mean_b).sum(-1)",
        "test_latent_analysis.py::test_commuting_gaussians_have_the_closed_form",
    ),
    Mutation(
        "a predictor is held against the training split",
        "latent_parameters.py",
        '_predictions(predictor, tokens["test"], targets["test"])',
        '_predictions(predictor, tokens["train"], targets["train"])',
        "test_latent_analysis.py::test_a_parameter_that_tokens_hold_is_predicted",
    ),
    Mutation(
        "a window back in time is guided by the wrong states",
        "observations.py",
        "places = places.flip(0)",
        "pass",
        "test_guidance.py::test_a_window_is_guided_by_its_own_new_states",
    ),
    Mutation(
        "the noise of an observation belongs to its place in a window",
        "observations.py",
        "[(row, step) for step in steps]",
        "[(row, place) for place in range(len(steps))]",
        "test_guidance.py::test_observations_belong_to_states",
    ),
    Mutation(
        "guidance trusts observations by their noise, not its square",
        "guidance.py",
        "IsotropicCovariance(settings.noise**2)",
        "IsotropicCovariance(settings.noise)",
        "test_guidance.py::test_a_guided_mean_is_that_of_its_formula_through_attention",
    ),
    Mutation(
        "what is guided by the truth counts as a forecast in claims",
        "paired.py",
        'rows["sampler"].isin(list(results.study.twins())) == guided',
        'rows["sampler"].isin(list(results.study.twins())) >= guided',
        "test_claims.py::test_what_is_guided_by_the_truth_counts_in_no_other_claim",
    ),
    Mutation(
        "the optimiser draws other numbers in each process",
        "objective.py",
        "            torch.manual_seed(seed)\n",
        "            pass\n",
        "test_processes.py::test_weights_are_the_same_bits_in_all_processes",
    ),
    Mutation(
        "windows that are sent come in the order of who held them",
        "windows.py",
        'np.argsort(np.argsort(wanted, kind="stable"))',
        "np.arange(len(wanted))",
        "test_processes.py::test_processes_share_the_batches_of_one",
    ),
    Mutation(
        "the gradient of similarity is that of a part of the pairs",
        "processes.py",
        "rows + (count() - 1) * (rows - rows.detach())",
        "rows",
        "test_processes.py::test_similarity_is_of_the_pairs_of_all_processes",
    ),
    Mutation(
        "micro-batches are added up, not averaged",
        "objective.py",
        "lost = lost / len(parts)",
        "pass",
        "test_processes.py::test_micro_batches_make_no_other_losses",
    ),
    Mutation(
        "each process tells its fault",
        "processes.py",
        "if _is_first_to_fail():",
        "if True:",
        "test_processes.py::test_a_fault_is_told_once",
    ),
    Mutation(
        "what is frozen is trained",
        "start.py",
        "parameter.requires_grad_(not start.freezes(name))",
        "pass",
        "test_start.py::test_what_is_frozen_stays_to_the_bit_and_the_rest_moves",
    ),
    Mutation(
        "what is frozen drops out",
        "start.py",
        "            module.eval()",
        "            pass",
        "test_start.py::test_a_frozen_module_computes_as_it_does_once_trained",
    ),
    Mutation(
        "all weights are taken, whatever the parts",
        "start.py",
        "state[key] if start.takes(key) else own[key]",
        "state[key]",
        "test_start.py::test_parts_are_the_parents_and_the_rest_is_drawn",
    ),
    Mutation(
        "a cosine goes on where steps are raised",
        "checkpoints.py",
        'if settings["schedule"] != "constant" and step > settings["warmup"]:',
        "if False:",
        "test_training.py::test_more_steps_go_on_where_the_schedule_allows",
    ),
    Mutation(
        "losses since the last line are forgotten when a training stops",
        "state.py",
        'state.get("losses", [])',
        "[]",
        "test_training.py::test_sigterm_saves_at_once_and_the_same_command_goes_on_to_the_same_bits",
    ),
    Mutation(
        "a budget of FLOPs is counted by micro-batches",
        "budget.py",
        'return flops * settings["batch_size"] / few',
        "return float(flops)",
        "test_training.py::test_a_budget_of_flops_is_so_many_steps",
    ),
    Mutation(
        "the learning rate does not follow the hours",
        "loop.py",
        "s = share if steps is None else",
        "s = 0 if steps is None else",
        "test_training.py::test_a_budget_of_hours_ends_with_them_and_the_schedule_follows",
    ),
]


def broken(package: Path, mutation: Mutation) -> tuple[Path, str]:
    """Returns the module to break and its broken text.

    Raises:
        LookupError: the text to replace is not there once.
    """
    found = [
        (path, path.read_text())
        for path in package.rglob(mutation.module)
        if path.read_text().count(mutation.old) == 1
    ]
    if len(found) != 1:
        raise LookupError(f"{mutation.old!r} is not once in one {mutation.module}")
    ((path, text),) = found
    return path, text.replace(mutation.old, mutation.new)


def run(folder: Path, *tests: str) -> int:
    """Runs tests on a copy of the repository; returns pytest's exit status, 1 if one failed."""
    line = [sys.executable, "-B", "-m", "pytest", "-x", "-p", "no:cacheprovider"]
    line += [f"tests/{test}" for test in tests]
    environment = os.environ | {"PYTHONPATH": str(folder / "src")}
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit(f"error: {' '.join(line)}:\n{done.stdout}{done.stderr}")
    return done.returncode


def main() -> None:
    failures = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for part in PARTS:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, folder / part)
        if run(folder, *dict.fromkeys(mutation.test for mutation in MUTATIONS)):
            sys.exit("error: the tests fail on the code as it is")
        for mutation in MUTATIONS:
            try:
                path, text = broken(folder / "src" / "lilas", mutation)
            except LookupError as error:
                outcome = f"does not apply: {error}"
            else:
                whole = path.read_text()
                path.write_text(text)
                outcome = "killed" if run(folder, mutation.test) else "SURVIVED"
                path.write_text(whole)
            failures += outcome != "killed"
            print(f"{mutation.what:55} {mutation.test:95} {outcome}", flush=True)
    print(f"{len(MUTATIONS) - failures} of {len(MUTATIONS)} killed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
