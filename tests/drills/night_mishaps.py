"""The mishaps of a night, each carried out to its end."""

import contextlib
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator

from tests.drills.failover import ids_used_up
from tests.drills.incidents import Hour, lasting
from tests.drills.night import BURST_AUTHOR, Night
from tests.drills.night_schedule import HOUR_SECONDS, Mishap
from tests.support.processes import wait_for
from tests.support.sandbox import Fault

HOUR = Hour(HOUR_SECONDS)
# How much of its last work a standby has not got when it takes over.
LAG_SECONDS = 4.0
BURST = 500
HELD = 5
SET_BACK, SET_BACK_SECONDS = 20, 0.3
SLOW_SECONDS = (8.0, 20.0)
LOST_ANSWERS = 10
# What a log has at least when its disk is full; images are smaller.
LEAST_LOG_BYTES = 64 * 1024
MODEL_IS_GONE = {
    "model is gone, 404": Fault.answers(404),
    "model is gone, 422": Fault.answers(
        422,
        {
            "title": "Invalid version or not permitted",
            "detail": "The specified version does not exist (or perhaps you don't have permission"
            " to use it?)",
            "status": 422,
        },
    ),
}
BAD_HOURS = {"bad hour, 503": "503", "bad hour, E003": "E003",
             "bad hour, unknown words": "unknown-words"}  # fmt: skip
# README.md's SQL. It is for tokens without an image: one that has its image pays for another.
SET_BACK_SQL = """
UPDATE tokens_s0 SET status = 'detected', generation_attempts = 0, generation_error = NULL
WHERE token_id = ANY(%s) AND status <> 'uploading'"""
UNFINISHED_OF = """
SELECT count(*) FROM tokens_s0
WHERE status IN ('detected', 'generating') AND token_id = ANY(%s)"""
FILL_BYTES = 1024 * 1024


def carry_out(night: Night, mishap: Mishap) -> None:
    MISHAPS[mishap.kind](night, mishap)


def kill_worker(night: Night, mishap: Mishap) -> None:
    night.stage.kill(a_worker(night, mishap))


def kill_supervisor(night: Night, mishap: Mishap) -> None:
    night.stage.kill_supervisor()


def a_worker(night: Night, mishap: Mishap) -> int:
    return random.Random(mishap.seed).choice(wait_for("a worker", night.stage.workers))


def restart_postgres(night: Night, mishap: Mishap) -> None:
    night.stage.crash_database(mishap.seconds)


def fail_over(night: Night, mishap: Mishap) -> None:
    with ids_used_up(night.server):
        night.server.fall_behind()
    time.sleep(LAG_SECONDS)
    night.server.go_back()
    night.stage.site.wait_until_reachable()
    night.mints.mint_again()


def no_credit(night: Night, mishap: Mishap) -> None:
    no_money = Fault.answers(402)
    night.stage.sandbox.faults.add(no_money)
    night.call_a_person(mishap.kind, lambda: night.stage.sandbox.faults.remove(no_money))


def revoke_credential(night: Night, mishap: Mishap) -> None:
    token = f"sandbox-token-{mishap.seed}"
    night.stage.sandbox.renew_api_token(token)

    def renew() -> None:
        night.stage.site.settings["REPLICATE_API_TOKEN"] = token

    night.call_a_person(mishap.kind, renew)


def fill_disk(night: Night, mishap: Mishap) -> None:
    with night.disk.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * FILL_BYTES)
    night.call_a_person(mishap.kind, night.disk.unlink)


def fill_disk_of_log(night: Night, mishap: Mishap) -> None:
    program = night.stage.program
    size = max(program.log.stat().st_size, LEAST_LOG_BYTES)
    limit_files(night, size)
    time.sleep(mishap.seconds)
    limit_files(night, resource.RLIM_INFINITY)


def limit_files(night: Night, size: int) -> None:
    """Let no file of imagegen's processes grow further, nor of those that they will start."""
    program = night.stage.program
    for pid in (program.pid, *program.children()):
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def bad_hour(night: Night, mishap: Mishap) -> None:
    with lasting(night.stage.sandbox, HOUR.faults(BAD_HOURS[mishap.kind])):
        wait(night, mishap)


def model_is_gone(night: Night, mishap: Mishap) -> None:
    with lasting(night.stage.sandbox, [MODEL_IS_GONE[mishap.kind]]):
        wait(night, mishap)


def mint_many(night: Night, mishap: Mishap) -> None:
    wait_for_images(night, night.mints.mint(BURST, author=BURST_AUTHOR))


def wait_for_images(night: Night, tokens: list[int]) -> None:
    wait_for(
        "their images",
        lambda: night.stage.site.query(UNFINISHED_OF, tokens) == [(0,)],
        seconds=180.0,
    )


def cut_network(night: Night, mishap: Mishap) -> None:
    with night.network.cut():
        wait(night, mishap)


def set_wrongly(night: Night, mishap: Mishap) -> None:
    """Restart with a setting that is wrong, read why it does not start, and correct it."""
    site = night.stage.site
    assert night.stage.program.stop(seconds=60) == 0
    right = site.settings["IMAGEGEN_LEASE_SECONDS"]
    site.settings["IMAGEGEN_LEASE_SECONDS"] = "a while"
    refused = site.run("supervise")
    assert refused.returncode == 78 and "IMAGEGEN_LEASE_SECONDS" in refused.stderr, refused.stderr
    site.settings["IMAGEGEN_LEASE_SECONDS"] = right
    night.stage.start()


def pause(night: Night, mishap: Mishap) -> None:
    night.run("imagegen pause --reason forgotten")
    wait(night, mishap)
    night.run("imagegen resume")


def set_back(night: Night, mishap: Mishap) -> None:
    """Set tokens back while they are at work, again and again."""
    tokens = night.mints.mint(SET_BACK)
    ends_at = time.monotonic() + mishap.seconds
    while time.monotonic() < ends_at:
        night.stage.site.query(SET_BACK_SQL, tokens)
        time.sleep(SET_BACK_SECONDS)


def hold(night: Night, mishap: Mishap) -> None:
    held = night.mints.mint(HELD, held=True)
    wait(night, mishap)
    night.run("imagegen tokens release " + " ".join(map(str, held)))


def lose_answers(night: Night, mishap: Mishap) -> None:
    with losing_answers(night):
        wait(night, mishap)


def lose_answers_and_lag(night: Night, mishap: Mishap) -> None:
    with losing_answers(night), lasting(night.stage.sandbox, [Fault.lags(HOUR.settle_seconds)]):
        wait(night, mishap)


@contextlib.contextmanager
def losing_answers(night: Night) -> Iterator[None]:
    faults = [Fault.resets(creates=True, times=LOST_ANSWERS), Fault.cuts_short(times=LOST_ANSWERS)]
    with lasting(night.stage.sandbox, faults):
        yield


def slow_predictions(night: Night, mishap: Mishap) -> None:
    seconds = random.Random(mishap.seed).uniform(*SLOW_SECONDS)
    with lasting(night.stage.sandbox, [Fault.takes(seconds)]):
        wait(night, mishap)


def freeze_worker(night: Night, mishap: Mishap) -> None:
    night.stage.freeze(a_worker(night, mishap), past_lease_seconds=mishap.seconds)


def freeze_supervisor(night: Night, mishap: Mishap) -> None:
    program = night.stage.program
    program.kill(program.pid, signal.SIGSTOP)
    wait(night, mishap)
    program.kill(program.pid, signal.SIGCONT)


def wait(night: Night, mishap: Mishap) -> None:
    night.wait_until(time.monotonic() + mishap.seconds)


MISHAPS: dict[str, Callable[[Night, Mishap], None]] = {
    "kill worker": kill_worker,
    "kill supervisor": kill_supervisor,
    "restart PostgreSQL": restart_postgres,
    "failover to a lagging standby": fail_over,
    "no credit": no_credit,
    "revoked credential": revoke_credential,
    "full disk": fill_disk,
    "full disk of the log": fill_disk_of_log,
    **dict.fromkeys(BAD_HOURS, bad_hour),
    **dict.fromkeys(MODEL_IS_GONE, model_is_gone),
    "500 tokens of one author": mint_many,
    "network cut": cut_network,
    "wrong setting": set_wrongly,
    "pause": pause,
    "tokens set back by SQL": set_back,
    "tokens held": hold,
    "lost answers": lose_answers,
    "lost answers, lagging list": lose_answers_and_lag,
    "slow predictions": slow_predictions,
    "worker stands still": freeze_worker,
    "supervisor stands still": freeze_supervisor,
}
