"""Facts of Replicate's service that several packages rely on."""

import re

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
MODELS_PAGE = "https://replicate.com/explore"


def model_name(model: str) -> str | None:
    """Return the owner/name of a model, or None for a version without it."""
    return None if VERSION_ID.fullmatch(model) else model.partition(":")[0]
