"""Weights files on the Hugging Face Hub, stored in its cache."""

from __future__ import annotations

from pathlib import Path

from embstore.backbones.record import Backbone
from embstore.backbones.weights import local_file, missing
from embstore.errors import WeightsError

HUB_TIMEOUT_S = 3.0  # for one request to the Hub; its own download call retries for 23 s without a network


def find_or_download(backbone: Backbone) -> Path:
    """Return the backbone's weights file; a file on the Hugging Face Hub is downloaded to its cache.

    Raises WeightsError, within seconds if the Hub cannot be reached. `fetch_weights` gets files from elsewhere.
    """
    local = local_file(backbone)
    if local is None and not backbone.hub:
        line, todo = missing(backbone)
        raise WeightsError(line, todo=todo)
    return local or download_from_hub(backbone)


def download_from_hub(backbone: Backbone) -> Path:
    """Download a backbone's file to the Hub's cache and return its path; WeightsError if that fails."""
    try:
        return download_file(backbone.hub, backbone.file)
    except WeightsError as error:
        line, todo = missing(backbone)
        raise WeightsError(line, todo=f"{todo}; the download failed: {error.todo}") from error


def download_file(repository: str, name: str) -> Path:
    """Download a repository's file to the Hub's cache and return its path; WeightsError, within seconds, offline."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # its HTTP engine's, which varies
    from huggingface_hub.utils import (  # type: ignore[attr-defined]  # lazy exports that its types do not show
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    quiet = are_progress_bars_disabled()
    if not quiet:
        disable_progress_bars()  # a library prints nothing
    try:
        # a single request first, without retries: offline it fails at once, while the download call would retry and log
        get_hf_file_metadata(hf_hub_url(repository, name), timeout=HUB_TIMEOUT_S)
        return Path(hf_hub_download(repository, name, etag_timeout=HUB_TIMEOUT_S))
    except (OSError, HTTPError, RuntimeError) as error:  # RuntimeError is raised by hf_xet; HTTPError includes timeouts
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"cannot get {name} of https://huggingface.co/{repository}", todo=reason) from error
    finally:
        if not quiet:
            enable_progress_bars()
