"""Facts of Replicate's service that several packages rely on."""

import re
from urllib.parse import urlsplit

# Inputs, outputs and images are deleted an hour after the prediction has ended.
RETENTION_SECONDS = 3600.0
# Every prediction is ended after 30 minutes.
LONGEST_PREDICTION_SECONDS = 1800.0

VERSION_ID = re.compile(r"[0-9a-f]{64}")
# Models take a seed of 32 bits with a sign. The queue draws below 2147483647.
LARGEST_SEED = 2_147_483_646

# The largest difference between PostgreSQL's clock and Replicate's with which a prediction is still
# found by the time of its request.
CLOCK_SLACK_SECONDS = 120.0

STATUS_PAGE = "https://www.replicatestatus.com"
TOKENS_PAGE = "https://replicate.com/account/api-tokens"
DEPLOYMENTS_PAGE = "https://replicate.com/deployments"
MODELS_PAGE = "https://replicate.com/explore"


# How the name of a deployment begins: a model on machines that the account reserves.
DEPLOYMENT = "deployments/"


def model_name(model: str) -> str | None:
    """Return the owner/name of a model; None if `model` is a version or a deployment."""
    if VERSION_ID.fullmatch(model) or model.startswith(DEPLOYMENT):
        return None
    return model.partition(":")[0]


def api_root(base_url: str) -> str:
    """Return the URL to which paths of the API are added: `base_url`, with /v1 added if it has no
    version yet. In the URL of Cloudflare's gateway the version is in the middle:
    https://developers.cloudflare.com/ai-gateway/usage/providers/replicate/"""
    has_version = "v1" in urlsplit(base_url).path.split("/")
    return base_url if has_version else f"{base_url}/v1"
