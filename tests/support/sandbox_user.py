"""Somebody who uses Replicate's API, for the tests of the sandbox."""

import time
from typing import Any

import httpx

from tests.support.sandbox import DEFAULT_TOKEN

CREATE = "/v1/models/black-forest-labs/flux-schnell/predictions"
PATIENCE_SECONDS = 10.0


class SandboxUser:
    """Somebody with an account at Replicate."""

    def __init__(self, url: str, token: str = DEFAULT_TOKEN, timeout: float = 5.0) -> None:
        headers = {"authorization": f"Bearer {token}"}
        # Nothing to verify over plain HTTP; loading the authorities would take most of the time.
        self.http = httpx.Client(
            base_url=url, headers=headers, timeout=timeout, trust_env=False, verify=False
        )

    def post(self, prompt: str = "a cat", *, headers: Any = None, **inputs: Any) -> httpx.Response:
        body = {"input": {"prompt": prompt, **inputs}}
        return self.http.post(CREATE, json=body, headers=headers)

    def create(self, prompt: str = "a cat", *, headers: Any = None, **inputs: Any) -> Any:
        return self.post(prompt, headers=headers, **inputs).raise_for_status().json()

    def look_at(self, prediction: Any) -> Any:
        return self.http.get(prediction["urls"]["get"]).raise_for_status().json()

    def waits_for(self, prediction: Any, status: str) -> Any:
        seen = self.look_at(prediction)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while seen["status"] != status and time.monotonic() < deadline:
            time.sleep(0.01)
            seen = self.look_at(prediction)
        assert seen["status"] == status
        return seen

    def gets_from(self, fault_prompt: str, status: str = "succeeded") -> Any:
        return self.waits_for(self.create(fault_prompt), status)
