"""S3 on this machine, as a program of its own: moto's server, and what is in its bucket.

It may be asked for objects without a signature, as from behind a CDN.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest

BUCKET = "nft-images"
KEYS = {
    "AWS_ACCESS_KEY_ID": "a-key",
    "AWS_SECRET_ACCESS_KEY": "a-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
ANYBODY_READS = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{BUCKET}/*",
        }
    ],
}


@dataclass(frozen=True)
class S3Server:
    """A running server with one bucket."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which the library finds it."""
        return KEYS | {"AWS_ENDPOINT_URL": self.url}

    @cached_property
    def client(self) -> Any:
        import boto3  # noqa: PLC0415

        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.url,
            region_name=KEYS["AWS_DEFAULT_REGION"],
            aws_access_key_id="a-key",
            aws_secret_access_key="a-secret",
        )

    def make_bucket(self) -> None:
        """Make the bucket; each write of an object is a version of it."""
        self.client.create_bucket(Bucket=BUCKET)
        self.client.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(ANYBODY_READS))
        self.client.put_bucket_versioning(
            Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"}
        )

    def objects(self) -> dict[str, bytes]:
        """Every object by its key."""
        found = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return {
            each["Key"]: self.client.get_object(Bucket=BUCKET, Key=each["Key"])["Body"].read()
            for each in found
        }

    def writes(self) -> int:
        """How many times an object was written."""
        return len(self.client.list_object_versions(Bucket=BUCKET).get("Versions", []))


@contextlib.contextmanager
def running_s3() -> Iterator[S3Server]:
    """A server with an empty bucket. Without moto, the test is skipped."""
    pytest.importorskip("moto")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.s3_server"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=os.environ | KEYS,
    )  # fmt: skip
    with process:
        try:
            assert process.stdout
            server = S3Server(int(process.stdout.readline()))
            server.make_bucket()
            yield server
        finally:
            process.kill()


def main() -> None:
    """Serve until SIGTERM; print the port."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main()
