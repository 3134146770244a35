"""One worker process: claims tokens and brings each to its image."""

from imagegen.worker.account_rates import AccountRates
from imagegen.worker.process_names import unique_name
from imagegen.worker.s3_store import import_library as import_s3
from imagegen.worker.worker import Worker

__all__ = ["AccountRates", "Worker", "import_s3", "unique_name"]
