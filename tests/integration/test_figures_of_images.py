"""How long images wait for the next stage, and when Replicate deletes them."""

import math

import pytest

from tests.integration.test_figures import add_images, snapshot, stats
from tests.support.processes import Site


def let_them_wait(site: Site, first_token_id: int, last_token_id: int) -> None:
    """Tokens with their image in `generations` that wait for the next stage."""
    prompts = ["a lighthouse"] * (last_token_id - first_token_id + 1)
    site.mint(*prompts, first_token_id=first_token_id)
    site.query(
        """UPDATE tokens_s0 SET status = 'uploading', image_url = 'https://host/' || token_id
           WHERE token_id BETWEEN %s AND %s""",
        first_token_id, last_token_id,
    )  # fmt: skip


def test_the_oldest_image_that_nobody_fetched_is_found_among_many_that_were(site: Site) -> None:
    add_images(site, 10_001, "2 h")
    add_images(site, 100, "1 h", first_token_id=20_000)
    let_them_wait(site, 20_090, 20_095)

    now = snapshot(site)

    assert now.unfetched == 6
    assert now.oldest_unfetched_seconds == pytest.approx(3600, abs=60)
    assert stats(site).oldest_unfetched_seconds == pytest.approx(3600, abs=60)


def test_a_backlog_of_images_is_as_old_as_its_oldest_and_counted_only_so_far(site: Site) -> None:
    add_images(site, 1, "3 h")
    add_images(site, 1100, "1 h", first_token_id=2)
    let_them_wait(site, 1, 1101)

    now = snapshot(site)

    assert now.unfetched == 1001
    assert now.oldest_unfetched_seconds == pytest.approx(3 * 3600, abs=60)


def test_an_image_that_is_handed_on_by_its_copy_waits_and_does_not_expire(site: Site) -> None:
    add_images(site, 3, "2 h")
    add_images(site, 1, "30 min", first_token_id=4)
    let_them_wait(site, 1, 4)
    site.query("""UPDATE generations SET handed_on_url = 'https://images/' WHERE token_id = 1""")
    site.query("""UPDATE generations SET image_url = 'file:///2.png' WHERE token_id = 2""")
    site.query("""UPDATE generations SET handed_on_url = 's3://b/3.png' WHERE token_id = 3""")
    site.query("UPDATE generations SET image_path = '/kept' WHERE token_id < 4")
    site.query(
        """UPDATE tokens_s0 t SET image_url = coalesce(g.handed_on_url, g.image_url)
           FROM generations g WHERE g.token_id = t.token_id"""
    )

    now = stats(site)

    assert snapshot(site).unfetched == 4
    assert now.oldest_unfetched_seconds == pytest.approx(7200, abs=60)
    assert now.oldest_expiring_seconds == pytest.approx(1800, abs=60)


def test_an_image_that_was_lost_and_made_again_is_as_old_as_the_new_one(site: Site) -> None:
    add_images(site, 1, "5 h")
    site.query("UPDATE generations SET image_url = 'https://host/lost'")
    add_images(site, 1, "0 s")
    let_them_wait(site, 1, 1)

    assert snapshot(site).unfetched == 1
    assert (stats(site).oldest_unfetched_seconds or math.inf) < 60


def test_an_image_expires_until_it_is_lost_unless_it_is_fetched_or_there_is_a_copy(
    site: Site,
) -> None:
    add_images(site, 3, "40 min")  # the newest of them
    add_images(site, 3, "2 h", first_token_id=4)
    let_them_wait(site, 1, 6)

    at_first = stats(site)
    site.query("UPDATE tokens_s0 SET status = 'revealed' WHERE token_id IN (1, 4)")
    site.query("UPDATE generations SET image_path = '/kept/2.png' WHERE token_id IN (2, 5)")
    site.query("UPDATE tokens_s0 SET status = 'revealed' WHERE token_id = 3")
    then = stats(site)

    assert at_first.oldest_expiring_seconds == pytest.approx(2400, abs=60)
    assert (at_first.images_lost, then.images_lost) == (3, 1)
    assert then.oldest_expiring_seconds is None
    assert then.oldest_unfetched_seconds == pytest.approx(7200, abs=60)
