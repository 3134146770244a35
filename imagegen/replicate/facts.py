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

# How far PostgreSQL's clock and Replicate's may be apart when a prediction is looked for by the
# time of its request.
CLOCK_SLACK_SECONDS = 120.0

STATUS_PAGE = "https://www.replicatestatus.com"
TOKENS_PAGE = "https://replicate.com/account/api-tokens"
DEPLOYMENTS_PAGE = "https://replicate.com/deployments"
MODELS_PAGE = "https://replicate.com/explore"


# A model that runs on machines of one's own is named so.
DEPLOYMENT = "deployments/"


def model_name(model: str) -> str | None:
    """Return the owner/name of a model; None for a version or a deployment, which do not tell."""
    if VERSION_ID.fullmatch(model) or model.startswith(DEPLOYMENT):
        return None
    return model.partition(":")[0]


def api_root(base_url: str) -> str:
    """Return what the paths of the API follow: the URL with /v1 after it, or as it is if it has a
    version already. That of Cloudflare's gateway has it in the middle:
    https://developers.cloudflare.com/ai-gateway/usage/providers/replicate/"""
    has_version = "v1" in urlsplit(base_url).path.split("/")
    return base_url if has_version else f"{base_url}/v1"
