"""The keys of official configurations, and ours of the same meaning."""

# Official key: ours. None is read where it is needed, or decides nothing once weights are there.
AUTOENCODER: dict[str, str | None] = {
    "name": None,
    "arch": None,
    "saturation": None,
    "latent_noise": "latent_noise",
    "lat_channels": "latent_channels",
    "hid_channels": "channels",
    "hid_blocks": "blocks",
    "kernel_size": "kernel_size",
    "patch_size": "patch_size",
    "pixel_shuffle": "pixel_shuffle",
    "norm": "norm",
    "attention_heads": None,
    "ffn_factor": "ffn_factor",
    "dropout": "dropout",
    "checkpointing": "checkpointing",
    "identity_init": "identity_init",
    "loss": None,
    "periodic": None,
    "pix_channels": None,
    "spatial": None,
}
_SHARED: dict[str, str | None] = {
    "name": None,
    "arch": None,
    "emb_features": "embedding",
    "hid_channels": "channels",
    "hid_blocks": "blocks",
    "ffn_factor": "ffn_factor",
    "attention_heads": None,
    "dropout": "dropout",
    "checkpointing": "checkpointing",
    "loss": None,
    "schedule": None,
    "channels": None,
    "label_features": None,
    "spatial": None,
    "masked": None,
}
TRANSFORMER = _SHARED | {
    "qk_norm": "qk_norm",
    "rope": "rope",
    "patch_size": None,
    "window_size": None,
}
UNET = _SHARED | {
    "stride": "stride",
    "norm": "norm",
    "periodic": "periodic",
    "kernel_size": "kernel_size",
    "identity_init": "identity_init",
}
# Every run says the rest; a key that is missing must not become a default of ours.
OPTIONAL = {
    "ae": {"kernel_size", "patch_size", "stride", "periodic", "loss"},
    "vit": {"masked", "schedule", "loss"},
    "unet": {"kernel_size", "masked", "schedule", "loss"},
}
SCHEDULE = {
    "sigma_min": "sigma_min",
    "sigma_max": "sigma_max",
    "scale": "logit_scale",
    "shift": "logit_shift",
}
OFFSETS = {"log1p": 1.0, "log_eps": 1e-6}


def bounds(schedule: str) -> list[str]:
    """Returns the official keys of a noise schedule's bounds."""
    return list(SCHEDULE)[: 4 if schedule == "log_logit" else 2]
