"""The status page: what it says."""

import re
from dataclasses import replace

import pytest

from imagegen.database.acts import Pause
from imagegen.failures import FAILURES, REFUSALS, Kind, Reason
from imagegen.metrics.workers import WorkerRow
from imagegen.web import formatting, image_sources, problems
from imagegen.web.image_sources import HOME, PAUSED
from imagegen.web.rendering import REFRESH_SECONDS, STYLE
from imagegen.web.snapshot import Bucket
from imagegen.web.status_page import StatusPage
from tests.support.page_values import (
    FIRST,
    Read,
    details,
    failure,
    image_page,
    page,
    picture,
    snapshot,
    view,
    whole_page,
    worker,
)

DETECTED = {"waiting": 3, "oldest_waiting_seconds": 12.0}
REFUSED = worker("worker-0", closed_by=("no_credit",))
STARTING = WorkerRow("worker-0", starting=True)


def test_long_prompts_are_cut_and_say_so() -> None:
    shown = page(snapshot(pictures=[picture(prompt="x" * 201)], failures=[failure()]))

    assert f"{'x' * 199}…" in shown.text
    assert "x" * 200 not in shown.text


@pytest.mark.parametrize("kind", [*Kind])
def test_every_kind_of_failure_has_words(kind: Kind) -> None:
    told = page(snapshot(failed=1, failures=[failure(kind=kind)])).text

    assert FAILURES[kind].text in told
    assert "_" not in FAILURES[kind].text


@pytest.mark.parametrize("reason", [*Reason])
def test_every_refusal_has_words(reason: Reason) -> None:
    refused = failure(kind=reason, refused=True)
    told = Read(
        whole_page(
            view(
                snapshot(failed=1, failures=[refused]),
                workers=[worker("worker-0", closed_by=(reason,)), worker("worker-1")],
            )
        )
    ).text

    assert f"refused for too long: {REFUSALS[reason].text}" in told
    assert f"worker-0 asks for no images: {REFUSALS[reason].text}." in told


def test_a_failure_from_before_there_were_generations_is_shown_without_a_reason() -> None:
    told = page(snapshot(failed=1, failures=[failure(kind=None, message=None, prompt=None)])).text

    assert formatting.UNRECORDED in told
    assert "no prompt" in told


@pytest.mark.parametrize(
    ("shown", "title"),
    [
        (view(), "nothing waits"),
        (view(snapshot(**DETECTED)), "3 waiting"),
        (view(snapshot(**DETECTED, generating=1200)), "3 waiting, 1,200 at work"),
        (view(snapshot(**DETECTED), workers=[]), "no worker is running"),
        (
            view(snapshot(**DETECTED), workers=[REFUSED]),
            "gate closed, 3 waiting",
        ),
        (
            view(snapshot(**DETECTED), workers=[REFUSED, worker("worker-1")]),
            "gate closed, 3 waiting",
        ),
        (view(snapshot(**DETECTED), workers=[STARTING]), "3 waiting"),
        (replace(view(), now=problems.database_away("refused")), "the database does not answer"),
        (replace(view(), now=problems.TOO_SLOW), "the database is too slow"),
    ],
)
def test_the_title_tells_the_state(shown: StatusPage, title: str) -> None:
    assert shown.title == title
    assert f"<title>imagegen: {title}</title>" in whole_page(shown)


def test_an_empty_database_is_told_in_words() -> None:
    told = page().text

    assert "No image was made in the last 6 hours." in told
    assert "No image yet." in told
    assert "No token has failed." in told


def test_the_figures_tell_what_waits_is_at_work_is_done_and_has_failed() -> None:
    now = snapshot(**DETECTED, paused=2, generating=4, failed=5, tokens=1112, unfetched=6)
    told = page(replace(now, oldest_unfetched_seconds=2000.0)).text

    assert "Waiting 3 the oldest for 12 s; 2 try again later" in told
    assert "At work 4 20 slots here" in told
    assert "Done 1,100 6 not fetched yet, the oldest for 33 min" in told
    assert "Failed 5 why" in told


def test_a_pause_is_told_once_with_who_asked_for_it_and_why() -> None:
    pause = Pause("ada@host as imagegen", "2026-01-01T12:00:00Z", "the <drop>")
    paused = worker("worker-0", closed_by=(Reason.PAUSED,))
    shown = view(snapshot(waiting=3, held=2, pause=pause), workers=[paused])

    assert shown.title == "paused, 3 waiting"
    assert [each.text for each in shown.problems] == [
        "paused by ada@host as imagegen since 2026-01-01 12:00:00 UTC: the <drop>."
        " No host claims or sends anything new."
    ]
    assert "2 held" in Read(whole_page(shown)).text


def test_an_estimate_looks_like_one_and_stays_in_one_line() -> None:
    shown = whole_page(view(snapshot(tokens=1_234_567, waiting=200_400, failed=100_000)))

    assert "Done ≈ 934,000" in Read(shown).text
    assert "Waiting ≈ 200,000" in Read(shown).text
    assert "Failed 100,000" in Read(shown).text
    assert f"≈{formatting.SPACE}934,000" in shown


def test_a_backlog_of_images_is_counted_only_so_far() -> None:
    told = page(snapshot(tokens=5000, unfetched=1001, oldest_unfetched_seconds=9000.0)).text

    assert "more than 1,000 not fetched yet, the oldest for 2 h" in told


def test_failed_attempts_are_not_taken_for_failed_tokens() -> None:
    total = Bucket(FIRST, 31, 6, 2.0, 3.0)
    told = page(snapshot(failed=1, total=total, buckets=[total])).text

    assert "Failed 1 why" in told
    assert "31 images, 6 attempts failed" in told


def test_one_image_and_one_failed_attempt_are_told_as_one() -> None:
    assert formatting.images_and_failures(1, 1) == "1 image, 1 attempt failed"


def test_the_workers_are_told_with_what_they_do() -> None:
    busy = worker("worker-0", busy=3, restarts={"SIGKILL": 2, "hung": 1})
    told = Read(whole_page(view(workers=[busy, WorkerRow("worker-1")], busy_elsewhere=7))).text

    assert "worker-0 running 3 of 10 3 SIGKILL 2, hung 1" in told
    assert "worker-1 not running 0 of 10 0" in told
    assert "worker-1 is not running: the log says why." in told
    assert "10 slots here; 7 at work elsewhere" in told


def test_a_worker_that_is_just_being_replaced_is_no_problem() -> None:
    told = Read(whole_page(view(workers=[STARTING, worker("worker-1")]))).text

    assert "worker-0 starting" in told
    assert "not running" not in told


def test_the_page_comes_anew_by_itself_unless_it_is_paused() -> None:
    def refreshes(read: Read) -> bool:
        return any(meta.get("http-equiv") == "refresh" for meta in read.all("meta"))

    running, paused = Read(whole_page(view())), Read(whole_page(view(home=PAUSED)))

    assert refreshes(running)
    assert f"refreshes every {REFRESH_SECONDS} s" in running.text
    assert not refreshes(paused)
    assert "/?paused" in links(running)
    assert "/" in links(paused)


def test_a_keyboard_gets_through_all_images_before_the_page_comes_anew() -> None:
    assert REFRESH_SECONDS >= 30


def links(read: Read) -> list[str | None]:
    return [link["href"] for link in read.all("a")]


@pytest.mark.parametrize(("home", "image"), [(HOME, "/?image="), (PAUSED, "/?paused&image=")])
def test_images_lead_back_to_the_page_as_it_was_paused_or_not(home: str, image: str) -> None:
    seen = [picture(), picture(generation_id=6, age_seconds=3601.0)]
    page_links = links(Read(whole_page(view(snapshot(pictures=seen), home=home))))
    large = image_page(details(newer=8, older=6), home=home)

    assert {f"{image}7", f"{image}6"} <= {*page_links}
    _, *of_page, _, _, _ = links(Read(large))  # past the header, and those for machines
    assert [link for link in of_page if str(link).startswith("/")] == [
        home, f"{image}8", home, f"{image}6", "/tokens/42",
    ]  # fmt: skip


def test_images_that_replicate_has_deleted_are_told_by_their_prompts_and_how_to_keep_them() -> None:
    gone = picture(generation_id=6, token_id=41, prompt="a ship", age_seconds=3601.0)
    shown = page(snapshot(pictures=[picture(), gone]))

    assert len(shown.all("img")) == 1
    assert "1 image is gone" in shown.text
    assert "IMAGEGEN_KEEP_IMAGES" in shown.text
    assert "#41 a ship 60 min" in shown.text


def test_who_keeps_copies_is_not_told_to() -> None:
    shown = Read(whole_page(view(snapshot(pictures=[picture(age_seconds=3601.0)]), copies=True)))

    assert "the page has no copy to show" in shown.text
    assert "IMAGEGEN_KEEP_IMAGES" not in shown.text


def test_a_prompt_runs_in_its_own_direction() -> None:
    hebrew = "שלום עולם"
    seen = [picture(prompt=hebrew, fallback=True), picture(prompt=hebrew, age_seconds=3601.0)]
    shown = page(snapshot(failed=1, pictures=seen, failures=[failure(prompt=hebrew)]))

    prompts = [element for _, element in shown.elements if element.get("class") == "prompt"]
    assert [prompt.get("dir") for prompt in prompts] == ["auto"] * 3
    # The browser passes over what has a direction of its own.
    assert [word["dir"] for word in shown.all("i")] == ["ltr"]


def test_a_kept_copy_is_shown_however_old_it_is() -> None:
    kept = picture(age_seconds=1e6, path="/anywhere/42-7.png")
    shown = Read(whole_page(view(snapshot(pictures=[kept]), copies=True)))

    assert [image["src"] for image in shown.all("img")] == ["/images/7"]
    assert image_sources.origins([kept], copies=True) == []


def test_an_image_that_was_handed_on_by_a_lasting_url_is_shown_by_it_however_old_it_is() -> None:
    url = "https://images.example.com/42-7.png"
    kept = picture(age_seconds=1e6, path="s3://bucket/42-7.png", handed_on_url=url)

    assert image_sources.source(kept, copies=False) == url
    assert image_sources.origins([kept], copies=False) == ["https://images.example.com"]


@pytest.mark.parametrize("url", ["file:///mnt/42-7.png", "s3://bucket/42-7.png"])
def test_an_image_that_no_browser_can_load_counts_as_gone(url: str) -> None:
    assert image_sources.source(picture(age_seconds=1e6, handed_on_url=url), copies=False) is None


def luminance(colour: str) -> float:
    def linear(part: str) -> float:
        value = int(part, 16) / 255
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = map(linear, re.findall("[0-9a-f]{2}", colour))
    return float(0.2126 * red + 0.7152 * green + 0.0722 * blue)


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted(map(luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_text_and_charts_can_be_read_by_weak_eyes(scheme: int) -> None:
    colours: dict[str, str] = dict(
        re.findall(r"--(\w+): (#[0-9a-f]{6});", STYLE.split("@media")[scheme])
    )

    for ground in ("paper", "card"):
        for ink in ("ink", "soft", "link", "bad", "odd"):
            assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for mark in ("made", "bad", "range", "ink"):
        assert contrast(colours[mark], colours["card"]) >= 3.0, mark
    assert contrast(colours["link"], colours["paper"]) >= 3.0  # the frame round what has the focus
