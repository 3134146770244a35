"""`python -m tests.drills`: the long drills, with figures. Exits 1 if a promise is broken."""

import contextlib
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median

import click

from tests.benchmarks.figures import table
from tests.drills import audits as audit_drill
from tests.drills import copies as copy_drill
from tests.drills import failover as failover_drill
from tests.drills import incidents as incident_drill
from tests.drills import kills as kill_drill
from tests.drills import limits, night_run, outages, schedule, takeover
from tests.drills import network as network_drill
from tests.drills import rolls as roll_drill
from tests.drills.namespaces import Network, obstacle
from tests.drills.stage import IN_EARNEST
from tests.drills.verdict import a_seed, judge_figures, judged, tell
from tests.support.judge import judge_counters
from tests.support.sandbox import Sandbox

ROUNDS = 3  # of measuring a takeover
# At an account's full pace, ten a second, some of the twenty slots are free.
OUTAGE_LATENCY_SECONDS = 1.5
QUIET_SECONDS = 300.0  # until the last token has ended, after an outage


@click.group(invoke_without_command=True)
@click.option("--events", default=200, show_default=True, help="How many things go wrong.")
@click.option("--tokens", default=500, show_default=True, help="Minted along the way.")
@click.option("--seed", type=int, help="Of the schedule; a new one when not given.")
@click.option("--odd-rows", is_flag=True, help="With rows that nothing can be made of.")
@click.pass_context
def main(
    context: click.Context, events: int, tokens: int, seed: int | None, odd_rows: bool
) -> None:
    """Let everything go wrong in a random order, and judge. About three minutes."""
    for number in (signal.SIGINT, signal.SIGTERM):  # clean up, in the background of a shell too
        signal.signal(number, signal.default_int_handler)
    if context.invoked_subcommand is not None:
        return
    seed = a_seed(seed)
    steps = schedule.plan(seed, events=events, tokens=tokens)
    with judged("schedule") as place:
        play = schedule.play_with_odd_rows if odd_rows else schedule.play
        play(place, steps, tell)
        for kind, count in sorted(Counter(step.kind for step in steps).items()):
            click.echo(f"  {kind}: {count}")
    measure()


@main.command()
@click.option("--rolls", default=50, show_default=True, help="How often all workers are replaced.")
def rolls(rolls: int) -> None:
    """Rolling restarts by SIGHUP, under load: no request more, no failure."""
    with judged("rolls", IMAGEGEN_GRACE_SECONDS="20") as place:
        roll_drill.roll(place, rolls=rolls, tell=tell)
        judge_counters(place.program, place.sandbox)
        assert place.program.events("process.died") == []
        assert place.program.stop() == 0
        assert len(place.sandbox.ledger.creates()) == place.minted


@main.command()
@click.option("--fault", default="503", show_default=True, help="What is wrong with Replicate.",
              type=click.Choice([*outages.FAULTS, "all"]))  # fmt: skip
@click.option("--seconds", default=600.0, show_default=True, help="For how long.")
@click.option("--tokens", default=500, show_default=True, help="Minted before.")
def outage(fault: str, seconds: float, tokens: int) -> None:
    """Replicate is away, while work is in flight."""
    guilty = 0
    for each in outages.FAULTS if fault == "all" else [fault]:
        try:
            have_outage(each, seconds, tokens)
        except SystemExit:  # that one was found guilty; the others are judged all the same
            guilty = 1
    sys.exit(guilty)


def have_outage(fault: str, seconds: float, tokens: int) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="imagegen-drill-certificates-") as certificates,
        outages.prepared(fault, Path(certificates), OUTAGE_LATENCY_SECONDS) as bad_day,
        judged(
            f"outage-{fault}", procs=2, sandbox=bad_day.sandbox, **IN_EARNEST, **bad_day.settings
        ) as place,
    ):
        place.mint(tokens)
        endured = outages.endure(
            bad_day, place.site, place.program,
            work_before=tokens // 4, seconds=seconds, patience=QUIET_SECONDS,
        )  # fmt: skip
        figures = outages.figures(endured, place.procs)
        click.echo(f"  /readyz: {endured.readyz}\n{table(figures)}")
        outages.judge_outage(bad_day, endured)
        judge_figures(figures)


@main.command()
@click.option("--per-minute", default=600, show_default=True, help="What Replicate allows.")
@click.option("--burst", default=10, show_default=True, help="And how many at once.")
@click.option("--tokens", default=500, show_default=True, help="Minted at once.")
@click.option("--supervisors", default=1, show_default=True, help="That share the limit unaware.")
def limit(per_minute: int, burst: int, tokens: int, supervisors: int) -> None:
    """Replicate allows only so many predictions a minute."""
    with (
        Sandbox(creates_per_minute=per_minute, burst=burst) as sandbox,
        judged("limit", procs=2, sandbox=sandbox, **IN_EARNEST) as place,
        contextlib.ExitStack() as others,
    ):
        programs = [place.program]
        for _ in range(supervisors - 1):
            programs.append(others.enter_context(place.site.supervisor(procs=place.procs)))
        place.mint(tokens)
        throttled = limits.press(
            place.site, sandbox, per_minute=per_minute, burst=burst, supervisors=programs
        )
        figures = limits.figures(throttled)
        click.echo(table(figures))
        judge_figures(figures)


@main.command()
@click.option("--kind", default="asynchronous", show_default=True, help="What takes its place.",
              type=click.Choice([*failover_drill.KINDS, "all"]))  # fmt: skip
@click.option("--times", default=1, show_default=True, help="How many runs of each kind.")
@click.option("--tokens", default=60, show_default=True, help="With predictions of 3 to 8 s.")
@click.option("--lag", default=5.0, show_default=True, help="How many seconds are lost.")
@click.option("--mint-in-lag", is_flag=True, help="Half of the tokens are lost, and minted again.")
@click.option("--kill-worker", is_flag=True, help="A worker is killed with the database.")
@click.option("--earnest", is_flag=True, help="With the settings that users have.")
@click.option("--seed", type=int, help="Of the predictions' times; a new one when not given.")
def failover(
    *,
    kind: str,
    times: int,
    tokens: int,
    lag: float,
    mint_in_lag: bool,
    kill_worker: bool,
    earnest: bool,
    seed: int | None,
) -> None:
    """The database goes back in time, while predictions are in flight."""
    seed, guilty = a_seed(seed), 0
    kinds = list(failover_drill.KINDS if kind == "all" else [kind]) * times
    for each in kinds:
        server = failover_drill.KINDS[each]()
        try:
            with judged(
                f"failover-{each}", contextlib.nullcontext, server, failover_drill.violations,
                procs=2, sandbox=Sandbox(), **(IN_EARNEST if earnest else {}),
            ) as place:  # fmt: skip
                went_back = failover_drill.fail_over(
                    place, server, tokens=tokens, lag_seconds=lag, latency_seconds=(3.0, 8.0),
                    mint_in_lag=mint_in_lag, kill_worker=kill_worker, seed=seed,
                )  # fmt: skip
                click.echo(failover_drill.in_words(place, went_back))
        except SystemExit:  # that run was found guilty; the others are judged all the same
            guilty += 1
        seed += 1
    click.echo(f"{guilty} of {len(kinds)} runs broke a promise")
    sys.exit(guilty > 0)


@main.command()
@click.option("--cuts", default=10, show_default=True, help="How many.")
@click.option("--seconds", default=(5.0, 120.0), show_default=True, help="The least and the most.",
              type=(float, float))  # fmt: skip
@click.option("--tls", is_flag=True, help="Replicate speaks TLS.")
@click.option("--freeze", is_flag=True, help="Also kill or freeze a worker in each cut.")
@click.option("--seed", type=int, help="Of the cuts; a new one when not given.")
def network(
    cuts: int, seconds: tuple[float, float], tls: bool, freeze: bool, seed: int | None
) -> None:
    """The network is cut while requests leave. Needs root, and Debian's package iproute2."""
    if why := obstacle():
        raise click.ClickException(why)
    seed = a_seed(seed)
    with (
        tempfile.TemporaryDirectory(prefix="imagegen-drill-certificates-") as certificates,
        Network() as cable,
        Sandbox(latency_seconds=network_drill.LATENCY_SECONDS) as sandbox,
        judged(
            "network",
            network_drill.apart(cable, sandbox, Path(certificates) if tls else None),
            procs=2,
            sandbox=sandbox,
            **IN_EARNEST,
            **network_drill.SETTINGS,
        ) as place,
    ):
        network_drill.cut_again_and_again(
            place, cable, cuts=cuts, seconds=seconds, freeze=freeze, seed=seed, tell=tell
        )


main.add_command(incident_drill.command)
main.add_command(kill_drill.command)
main.add_command(audit_drill.command)
main.add_command(copy_drill.command)
main.add_command(night_run.command)


def measure() -> None:
    """How soon predictions are watched again."""
    with judged("takeover") as place:
        replaced = takeover.seconds_to_replace(place, ROUNDS)
        started_again = takeover.seconds_to_start_again(place, ROUNDS)
        taken_over = takeover.seconds_to_take_over(place)
        click.echo(f"  worker killed → watched again: {takeover.in_words(replaced)}")
        click.echo(
            f"  supervisor killed → the next one watches: {takeover.in_words(started_again)}"
        )
        click.echo(
            f"  supervisor killed → another one watches: {takeover.in_words(taken_over)}"
            f" (lease {takeover.TAKEOVER_LEASE_SECONDS:g} s, poll 1 s)"
        )
        assert median(replaced) < 1.0, "slower than a second"
        assert median(started_again) < 2.0, "slower than a start"
        assert max(taken_over) <= takeover.LONGEST_TAKEOVER_SECONDS, "slower than lease and poll"


if __name__ == "__main__":
    main()
