"""The provider's bad days through the whole program: nothing is burnt, nothing is paid twice."""

import contextlib
import hashlib
import signal
import time
from pathlib import Path

import httpx

from tests.support.judge import judge
from tests.support.processes import Program, Site, wait_for
from tests.support.sandbox import Fault, Sandbox


def readiness(program: Program) -> tuple[int, str]:
    url = program.metrics_url().replace("/metrics", "/readyz")
    answer = httpx.get(url, trust_env=False)
    return answer.status_code, answer.text


def status_of(site: Site, token_id: int = 1) -> tuple[object, ...]:
    return site.query(
        "SELECT status, generation_attempts, generation_error FROM tokens_s0 WHERE token_id = %s",
        token_id,
    )[0]


def test_a_closed_gate_says_why_and_opens_by_itself(site: Site, sandbox: Sandbox) -> None:
    refusal = Fault.answers(401)
    sandbox.faults.add(refusal)
    site.mint(*[f"picture {number}" for number in range(4)])
    with site.supervisor() as program:
        program.wait_for_event("gate.closed")
        status, why = readiness(program)
        assert status == 503
        assert "closed: unauthorized" in why

        sandbox.faults.remove(refusal)
        site.wait_until_done()
        wait_for("readiness", lambda: readiness(program) == (200, "ok\n"))

    judge(site, sandbox)
    assert site.statuses() == {"uploading": 4}
    closed, opened = program.events("gate.closed"), program.events("gate.opened")
    assert {line["reason"] for line in closed} == {"unauthorized"}
    assert len(closed) == len(opened)


def test_an_outage_is_told_although_every_slot_watches_a_prediction(
    site: Site, sandbox: Sandbox
) -> None:
    site.settings["WORKER_BATCH_SIZE"] = "2"
    sandbox.latency_seconds = 3.0
    site.mint(*[f"picture {number}" for number in range(6)])
    outage = Fault.answers(503, operation=None)
    with site.supervisor() as program:
        wait_for("every slot to be taken", lambda: len(sandbox.ledger.created()) == 4)
        sandbox.faults.add(outage)
        program.wait_for_event("gate.closed", 2)
        assert "closed: unavailable" in readiness(program)[1]
        sandbox.faults.remove(outage)
        site.wait_until_done()

    judge(site, sandbox)
    assert len(sandbox.ledger.creates()) == 6


def test_a_gate_opens_when_no_token_is_left_that_could_try(site: Site, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault.answers(402))
    site.mint("a picture")
    with site.supervisor() as program:
        program.wait_for_event("gate.closed")
        site.query("DELETE FROM tokens_s0")
        wait_for("readiness", lambda: readiness(program) == (200, "ok\n"))


def test_a_hung_exporter_is_replaced(site: Site) -> None:
    with site.supervisor("--watchdog", "5") as program:
        url = program.metrics_url()
        assert program.metrics()  # it has begun
        (exporter,) = set(program.children()) - set(program.worker_pids().values())
        program.kill(exporter, signal.SIGSTOP)
        wait_for("another exporter", lambda: exporter not in program.children())

        def serves() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return httpx.get(url, trust_env=False).status_code == 200
            return False

        wait_for("metrics", serves)


def test_a_token_that_is_refused_for_too_long_fails_with_the_reason_and_can_be_reset(
    site: Site, sandbox: Sandbox
) -> None:
    refusal = Fault.answers(402)
    sandbox.faults.add(refusal)
    site.mint("a picture")
    with site.supervisor("--give-up-after", "3s") as program:
        site.wait_until_done()
        status, attempts, error = status_of(site)
        assert (status, attempts) == ("failed", 0)
        assert "402" in str(error)
        assert program.metrics()['imagegen_failures_total{kind="given_up"}'] == 1

        sandbox.faults.remove(refusal)
        site.query(
            "UPDATE tokens_s0 SET status = 'detected', generation_attempts = 0,"
            " generation_error = NULL"
        )
        site.wait_until_done()

    assert status_of(site) == ("uploading", 1, None)
    judge(site, sandbox)


def test_a_token_that_alone_is_always_refused_blocks_no_other(site: Site, sandbox: Sandbox) -> None:
    site.settings["IMAGEGEN_SETTLE_SECONDS"] = "1"
    sandbox.faults.add(Fault.answers(500, prompt="poison"))
    site.mint("poison", *[f"picture {number}" for number in range(20)])
    with site.supervisor():
        wait_for("the others", lambda: site.statuses().get("uploading") == 20)

        def tries() -> int:
            return sum(each.prompt == "poison" for each in sandbox.ledger.creates())

        wait_for("three tries of it", lambda: tries() >= 3)
        wait_for("its own delay", lambda: status_of(site)[0] == "detected")

    assert status_of(site)[1] == 0
    kept_back = "SELECT extract(epoch FROM generate_after - now())::float FROM tokens_s0"
    assert float(site.query(f"{kept_back} WHERE token_id = 1")[0][0]) > 2
    assert len(sandbox.ledger.created()) == 20


def test_the_daily_limit_holds_over_two_supervisors(site: Site, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault.censors("censored", times=1))
    site.mint("censored", *[f"picture {number}" for number in range(11)])
    with site.supervisor("--daily-limit", "5") as one, site.supervisor("--daily-limit", "5") as two:
        wait_for("the limit", lambda: len(sandbox.ledger.created()) == 5)
        for program in (one, two):
            program.wait_for_event("gate.closed")
            assert "closed: daily_limit" in readiness(program)[1]
            assert program.metrics()["imagegen_daily_limit"] == 5
        wait_for("the images", lambda: site.statuses().get("uploading", 0) >= 4)

    assert len(sandbox.ledger.created()) == 5
    assert "failed" not in site.statuses()


def test_a_daily_limit_that_was_lowered_holds_up_nothing_that_is_at_work(
    site: Site, sandbox: Sandbox
) -> None:
    sandbox.latency_seconds = 3.0
    site.mint(*[f"picture {number}" for number in range(6)])
    with site.supervisor("--daily-limit", "4") as before:
        wait_for("the limit", lambda: len(sandbox.ledger.created()) == 4)
        before.kill(before.pid)
    with site.supervisor("--daily-limit", "3") as after:
        wait_for("the images", lambda: site.statuses().get("uploading", 0) == 4)
        assert after.events("process.died") == []

    assert len(sandbox.ledger.created()) == 4


def test_looks_keep_to_their_budget(site: Site, sandbox: Sandbox) -> None:
    sandbox.latency_seconds = 4.0
    site.mint(*[f"picture {number}" for number in range(8)])
    with site.supervisor("--poll-budget", "120"):
        began = time.monotonic()
        site.wait_until_done()
        seconds = time.monotonic() - began

    # Each of the two workers has a second's burst beyond its share.
    looks = [each for each in sandbox.ledger if each.operation != "create"]
    assert len(looks) <= 2.0 * seconds + 4
    judge(site, sandbox)


def test_a_limit_reached_by_looking_burns_nothing(site: Site, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault.throttles(1, operation="get", times=6))
    site.mint(*[f"picture {number}" for number in range(6)])
    with site.supervisor():
        site.wait_until_done()

    assert site.statuses() == {"uploading": 6}
    judge(site, sandbox)


def test_each_image_is_kept_with_its_path_and_sha256(
    site: Site, sandbox: Sandbox, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    site.mint("one", "two", "three")
    with site.supervisor("--keep-images", str(folder)):
        site.wait_until_done()

    rows = site.query("SELECT image_path, image_sha256, image_url FROM generations")
    assert {Path(path) for path, _, _ in rows} == set(folder.iterdir())
    for path, sha256, url in rows:
        assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == sha256
        assert httpx.get(url, trust_env=False).content == Path(path).read_bytes()


def test_an_image_that_cannot_be_kept_is_handed_on_all_the_same(
    site: Site, sandbox: Sandbox, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    sandbox.faults.add(Fault.answers(404, operation="file"))
    site.mint("one")
    with site.supervisor("--keep-images", str(folder)) as program:
        site.wait_until_done()
        failed = 'imagegen_image_copies_total{result="failed"}'
        assert program.metrics()[failed] == 1

    assert status_of(site) == ("uploading", 1, None)
    assert list(folder.iterdir()) == []
    judge(site, sandbox)


def test_a_worker_killed_while_it_keeps_an_image_loses_and_pays_nothing(
    site: Site, sandbox: Sandbox, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    sandbox.faults.add(Fault.late(30.0, operation="file", times=1))
    site.mint("one")
    with site.supervisor("--keep-images", str(folder)) as program:
        wait_for("the download", lambda: sandbox.ledger.of("file"))
        for pid in program.worker_pids().values():
            program.kill(pid)
        site.wait_until_done()

    ((path, token_status),) = site.query(
        "SELECT image_path, status FROM generations JOIN tokens_s0 USING (token_id)"
    )
    assert token_status == "uploading"
    assert Path(path).exists()
    judge(site, sandbox)


def test_a_prompt_that_alone_is_turned_away_blocks_no_other(site: Site, sandbox: Sandbox) -> None:
    wall = Fault.answers(403, prompt="poison")
    sandbox.faults.add(wall)
    site.mint("poison", *[f"picture {number}" for number in range(30)])
    with site.supervisor(procs=1):
        wait_for("the others", lambda: site.statuses() == {"detected": 1, "uploading": 30})
        assert len(sandbox.ledger.creates().about("poison")) <= 6

        sandbox.faults.remove(wall)
        site.wait_until_done()

    judge(site, sandbox)


def test_a_censored_prompt_is_sent_once_though_its_fallback_is_throttled(site: Site) -> None:
    with Sandbox(latency_seconds=0.2, creates_per_minute=60, burst=1) as narrow:
        site.provider_url = narrow.url
        narrow.faults.add(Fault.censors("a scandal"))
        site.mint("a scandal", *[f"picture {number}" for number in range(5)])
        with site.supervisor(procs=1):
            assert site.wait_until_done() == {"uploading": 6}

        judge(site, narrow)
        assert len(narrow.predictions.about("a scandal")) == 1
        assert len(narrow.ledger.created()) == 7


def test_at_a_slow_pace_a_fallback_has_its_turn_before_newer_tokens(
    site: Site, sandbox: Sandbox
) -> None:
    site.settings["IMAGEGEN_CREATE_RATE"] = "60"
    sandbox.faults.add(Fault.censors("a scandal"))
    site.mint("a scandal", *[f"picture {number}" for number in range(7)])
    with site.supervisor(procs=1):
        assert site.wait_until_done() == {"uploading": 8}

    images = site.query("SELECT token_id FROM generations WHERE image_url <> '' ORDER BY closed_at")
    assert images.index((1,)) < 4, images


def test_a_lone_fallback_that_is_refused_tries_again_by_itself(
    site: Site, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault.censors("a scandal"), Fault.answers(402, prompt="flowers", times=3))
    site.settings["FALLBACK_CENSORED_PROMPT"] = "flowers"
    site.mint("a scandal")
    with site.supervisor() as program:
        assert site.wait_until_done() == {"uploading": 1}
        assert program.events("gate.opened")

    judge(site, sandbox)
    assert len(sandbox.predictions.about("a scandal")) == 1


def test_what_replicate_accepts_and_is_too_busy_for_burns_no_token(
    site: Site, sandbox: Sandbox
) -> None:
    busy = Fault.fails(error="Service is currently unavailable due to high demand. (E003) (x)")
    sandbox.faults.add(busy)
    site.mint(*[f"picture {number}" for number in range(80)])
    with site.supervisor() as program:
        closed = program.wait_for_event("gate.closed", 2)
        accepted = len(sandbox.predictions)
        wait_for("some tries", lambda: len(sandbox.predictions) >= accepted + 2)
        sandbox.faults.remove(busy)

        assert site.wait_until_done() == {"uploading": 80}

    assert {line["reason"] for line in closed} == {"unavailable"}
    assert len(sandbox.predictions) < 80 + 50  # most were not tried meanwhile
    judge(site, sandbox)
