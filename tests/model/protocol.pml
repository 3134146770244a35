/*
 * The protocol by which imagegen pays for images, as a model for spin (https://spinroot.com).
 *
 * imagegen/ARCHITECTURE.md states the laws in words, this file states them as steps. spin tries
 * every order of the steps and every choice in them, and checks that
 *
 *   1. no image is paid for twice (`is_paid_twice`): no request makes a prediction while another
 *      prediction of the same token runs or has succeeded, because then both could succeed;
 *   2. no token gets the image of another token (`is_wrong_image`);
 *   3. every token ends, with an image or given up. spin checks this in two runs. The first finds
 *      no invalid end state: no run stops before all tokens have ended (process `Judge`). The second
 *      finds no cycle, because none of the steps counts as progress: so every run does stop. Both
 *      together need no assumption about scheduling.
 *
 * tests/model/test_model.py has the sizes in which it is checked. It also takes out one law at a time
 * (-DNO_...), and each time spin must find an error: each law is needed, and the model can tell.
 *
 * By hand, with the fewest steps that lead to the error (without -DBFS it needs less memory):
 *
 *   spin -a -DFAULTS=2 -DNO_SEND_BY protocol.pml
 *   gcc -O2 -w -DSAFETY -DCOLLAPSE -DBFS -o pan pan.c && ./pan
 *   spin -t -T -DFAULTS=2 -DNO_SEND_BY protocol.pml
 *
 * How to read it. `Slot` is a slot of a worker. It brings one token at a time to its end, as
 * imagegen/worker/generation.py does. Each `atomic` in it is one statement in the database, one
 * request to Replicate, or one decision. (`poll` is a request and a statement: a prediction that has
 * ended does not change, so nothing that happens between them matters.) Between two of them anything
 * else may happen, and any time may pass: this is how a process is slow or frozen. The other processes
 * are the world around it: `Network` is what happens to one request, `Token` the mint of a token and
 * the end of a lease, `Server` the failover.
 *
 * Time. Nothing counts seconds. A request leaves before half of its settle time is over, or not at
 * all. It arrives, or is lost, before its settle time is over. The list lags: here the settle time
 * is over only when the list must show what the request made, as `must_show` in
 * imagegen/replicate/matching.py decides. The settle time after a failover is over when that of
 * every request of the former servers is. A lease may run out at any time. Everything else may take any time.
 *
 * Faults. At most FAULTS of these happen: a slot dies; a lease runs out while its slot is at work;
 * half of the settle time passes before a slot sends; a request is lost; a request is refused (429
 * and the like). These happen at any time and are not counted: an answer is lost, the list is late,
 * something is slow.
 *
 * Failover. At most FAILOVERS times the database goes back to any earlier state of its own: a
 * standby that lagged takes over, or a snapshot is restored. Ids of generations are given again, a
 * mint may be forgotten and written again, and the clock of the next server may be ahead by any time.
 *
 * What the model leaves out:
 *   - A former server that still commits when a claim has noted the next one ("split brain"). No law
 *     covers a request that it commits then. Whoever promotes the next server must stop it.
 *   - A database that goes back while its server's identity stays: a table restored by pg_restore, a
 *     virtual machine that is reset together with its memory. No claim notices it.
 *   - A process that is frozen between its look at the clock and its write to the socket: here both
 *     are one step.
 *   - A virtual machine that is frozen with its kernel: the kernel's time limits stand still as well,
 *     and a request may arrive after its settle time.
 *   - A database clock that jumps ahead without a failover.
 *   - The hour after which Replicate forgets inputs and deletes images, and the end of the doubt after
 *     a failover. Here the list shows every prediction for ever, and the doubt does not end.
 *   - A request that is delivered twice, and predictions that are cancelled.
 *   - Models without a seed, whose predictions are matched by prompt and time.
 *   - The fallback prompt. Here it is a failed attempt and a claim, so the statement that opens its
 *     generation must take server and doubt from the database as a claim does.
 *   - Which failure counts as an attempt (law 3), the gate, delays, operators, other programs, and
 *     what becomes of an image that was handed on (law 10).
 *   - More than two slots. They belong to two workers or to one; with two tokens, to one, and all
 *     clocks agree.
 */

#ifndef TOKENS
#define TOKENS 1
#endif
#ifndef ATTEMPTS
#define ATTEMPTS 2              /* failed predictions after which a token is given up */
#endif
#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef FAILOVERS
#define FAILOVERS 0
#endif
/* The most generations of a token: too few would show as a token that does not end. */
#define MOST (ATTEMPTS + FAULTS + FAILOVERS)

#define ROWS (TOKENS * MOST)
#define REQUESTS ((FAILOVERS + 1) * ROWS)
#define NONE 0
#define NOBODY 0
#define NOWHERE 255

/* ---------------------------------------------------------------- the database */

mtype:status = { WAITING, UPLOADING, GIVEN_UP };
mtype:state = { OPEN, SUCCEEDED, FAILED, REFUSED, UNRESOLVED };

/* The row of a generation. A token is `generating` exactly while its newest row is OPEN. The marker
   is the place of the row in the table: its token, and how many generations the token had before.
   A row that is closed forgets what no rule reads any more. */
typedef Generation {
    mtype:state state;
    byte id;                    /* from a sequence */
    byte worker;                /* NOBODY: postponed */
    bool is_leased;
    byte request;               /* requested_at: number of its request; NONE: none was committed */
    byte prediction             /* prediction_id: number of the request that made it */
};
typedef Ledger {
    mtype:status status[TOKENS];
    byte attempts[TOKENS];
    byte count[TOKENS];         /* how many generations a token has had */
    byte last_id;
    Generation row[ROWS]
};
Ledger db, standby;             /* standby: the state to which a failover leads */
bool is_standby_behind;
byte server;                    /* which server the database runs on: its identity */
byte failovers;                 /* still to come */
mtype:doubt = { NOTED, OVER };  /* a claim noted the server; its settle time is over */
mtype:doubt doubt;

#define newest(t) db.row[(t) * MOST + db.count[t] - 1]
#define is_open(t) (db.count[t] > 0 && newest(t).state == OPEN)
#define has_ended(t) (db.status[t] == UPLOADING || db.status[t] == GIVEN_UP)

/* ---------------------------------------------------------------- requests and predictions */

/* What became of a request. It has at most one prediction, so the prediction has its number. */
mtype:fate = { UNSENT, TOO_LATE, SENT, LOST, TURNED_DOWN, RUNNING, IMAGE, FAILURE };
typedef Request {
    mtype:fate fate;
    bool is_settled             /* the settle time is over, or the list shows it already */
};
Request requests[REQUESTS];     /* number n is requests[n - 1]: by server, then by marker */
byte unsettled, unsettled_before;       /* requests of this server and of those before it */

#define of(number) requests[(number) - 1]
#define marker_of(number) (((number) - 1) % ROWS)
#define token_of(marker) ((marker) / MOST)
#define nth_of(marker) ((marker) % MOST)
#define may_succeed(number) (of(number).fate == RUNNING || of(number).fate == IMAGE)
#define was_made(number) (may_succeed(number) || of(number).fate == FAILURE)
#define is_listed(number) (was_made(number) && of(number).is_settled)
/* By the database's clock. That of the next server may be ahead. */
#define looks_settled(number) \
    (of(number).is_settled || is_clock_ahead && (number) <= server * ROWS)
bool is_clock_ahead;

/* ---------------------------------------------------------------- workers */

#define SLOTS 2
byte worker[SLOTS];             /* to which worker a slot belongs */
byte busy[SLOTS];               /* the token at work + 1 */
bool has_begun;                 /* slots are alike, so the first one claims first */
byte faults;                    /* still to come */

#define is_at(slot, t) (busy[slot] == (t) + 1)
#define holds(slot, t) (is_at(slot, t) && worker[slot] == newest(t).worker)
#define is_held(t) (holds(0, t) || holds(1, t))

bool is_paid_twice, is_wrong_image;
byte i, j, hit;                 /* used within a step, and 0 again after it */

/* ---------------------------------------------------------------- the laws, to be taken out */

/* Law 1: a request is committed before it leaves. */
#ifdef NO_LAW1
#define committed(number) NONE
#else
#define committed(number) number
#endif

/* Law 2: no request arrives after its settle time (SO_LINGER, TCP_USER_TIMEOUT). */
#ifdef NO_LAW2_SETTLE
#define ARRIVES_ANY_TIME true
#else
#define ARRIVES_ANY_TIME false
#endif

/* Law 2: the list is asked what became of a request without an answer ... */
#ifdef NO_LAW2_LIST
#define LIST_IS_ASKED false
#else
#define LIST_IS_ASKED true
#endif

/* ... and only after the settle time does "not there" count as "not made". */
#ifdef NO_LAW2_WAIT
#define is_absence_final true
#else
#define is_absence_final is_claim_settled
#endif

/* Law 2: a prediction is passed over only if it belongs to another generation. If another worker has
   adopted this generation and committed it, it counts as found: a failover may forget the commit. */
#ifdef NO_OWN_PREDICTION
#define is_foreign(r) true
#else
#define is_foreign(r) ((r) != mark)
#endif

/* Law 2: nothing is sent when half of the settle time is over. */
#ifdef NO_SEND_BY
#define may_send true
#else
#define may_send (of(mine).fate == UNSENT)
#endif

/* Law 2: before it sends again, a token asks the list for its requests that the list did not show. */
#ifdef NO_LATE_LOOK
#define is_unresolved(marker) false
#else
#define is_unresolved(marker) (db.row[marker].state == UNRESOLVED)
#endif

/* Law 4: a write holds only if marker, token and worker agree, besides id and state. */
#ifdef NO_LAW4_MARKER
#define is_own_row(r) true
#else
#define is_own_row(r) ((r) == mark)
#endif
#ifdef NO_LAW4_WORKER
#define is_own_worker(r) true
#else
#define is_own_worker(r) (db.row[r].worker == worker[me])
#endif

/* Law 4: a request is committed only on the server on which its claim was made. */
#ifdef NO_LAW4_SERVER
#define is_same_server true
#else
#define is_same_server (claimed_on == server)
#endif

/* Law 4: a worker claims no token that it has in a slot. After a failover it may still work for a
   generation that is forgotten. A claim of the same worker would open it again with the same id and
   marker, and the fence could not tell the two slots apart. */
#ifdef NO_BUSY_CHECK
#define is_at_work(t) false
#else
#define is_at_work(t) (worker[0] == worker[1] && is_at(1 - me, t))
#endif

/* Law 4: on a server that took over from another one, nothing is sent until the settle time is over
   for every request of the former servers ... */
#ifdef NO_DOUBT_WAIT
#define must_wait false
#else
#define must_wait (is_in_doubt && doubt != OVER)
#endif

/* ... and then the list is asked for what the ledger may have forgotten. */
#ifdef NO_DOUBT_LOOK
#define may_be_forgotten(marker) false
#else
#define may_be_forgotten(marker) (is_in_doubt && nth_of(marker) >= nth_of(mark))
#endif

/* Law 4: both hold for every token, also for one that is minted after the failover. Its row may have
   been forgotten as well, and is then written again. */
#ifdef NO_DOUBT_FOR_NEW_TOKENS
bool is_new[TOKENS];
#define is_in_doubt (claimed_on > 0 && !is_new[token])
#else
#define is_in_doubt (claimed_on > 0)
#endif

/* Law 5: a token has at most one open generation. */
#ifdef NO_LAW5
#define is_free(t) true
#else
#define is_free(t) (!is_open(t))
#endif

/* Law 8: leases run out, so that another worker adopts the generation of a dead one. */
#ifdef NO_LAW8
#define LEASES_END false
#else
#define LEASES_END true
#endif

/* ---------------------------------------------------------------- statements of imagegen */

#define WHO printf("slot %d (worker %d), token %d, generation %d (id %d): ", \
    me, worker[me], token, nth_of(mark), id)

/* A postponed generation is left alone until the list can tell more than at the last look. */
#define is_due(g) (g.worker != NOBODY || g.request == NONE \
    || looks_settled(g.request) || is_listed(g.request))
#define may_adopt(t) (is_open(t) && !newest(t).is_leased && is_due(newest(t)) \
    && !(worker[0] == worker[1] && is_at(1 - me, t)))
#define may_start(t) (db.status[t] == WAITING && is_free(t) && !is_at_work(t) \
    && db.count[t] < MOST)
#define may_claim(t) ((has_begun || me == 0) && (may_adopt(t) || may_start(t)))

inline note_server() {
    if
    :: server > 0 && doubt == NONE -> doubt = NOTED; printf("server %d is noted\n", server)
    :: else
    fi
}

/* Opens a generation, or adopts one whose lease has run out. */
inline claim(t) {
    d_step {
        has_begun = true;
        token = t;
        note_server();
        if
        :: may_adopt(token)
        :: else ->
            db.last_id++;
            db.count[token]++;
            newest(token).state = OPEN;
            newest(token).id = db.last_id
        fi;
        newest(token).worker = worker[me];
        newest(token).is_leased = true;
        busy[me] = token + 1;
        mark = token * MOST + db.count[token] - 1;
        id = newest(token).id;
        claimed_on = server;
        mine = newest(token).request;
        found = newest(token).prediction;
        if
        :: mine -> is_claim_settled = looks_settled(mine)
        :: else
        fi;
        WHO; printf("claims it on server %d, request %d, prediction %d\n", server, mine, found)
    }
    if
    :: found -> goto poll
    :: !found && mine -> goto find
    :: else -> goto look_before
    fi
}

/* hit: the row that a write of this claim changes, or NOWHERE: the lease is lost. */
inline find_row() {
    d_step {
        hit = NOWHERE;
        for (i : 0 .. ROWS - 1) {
            if
            :: is_own_row(i) && is_own_worker(i) && db.row[i].id == id &&
                db.row[i].state == OPEN -> hit = i
            :: else
            fi
        }
        i = 0
    }
}

inline close(how) {
    db.row[hit].state = how;
    db.row[hit].id = 0;
    db.row[hit].worker = NOBODY;
    db.row[hit].is_leased = false;
    db.row[hit].request = NONE
}

/* listed: the predictions of this token in Replicate's list whose marker meets the condition. */
inline list(marker, condition) {
    d_step {
        for (i : 1 .. REQUESTS) {
            marker = marker_of(i);
            listed = (token_of(marker) == token && is_listed(i) && (condition) ->
                listed | 1 << i : listed)
        }
        i = 0; marker = 0
    }
}

/* found: one of them that belongs to no other generation; one that failed only if there is no
   other. */
inline choose() {
    d_step {
        for (i : 1 .. REQUESTS) {
            for (j : 0 .. ROWS - 1) {
                hit = (db.row[j].prediction == i && is_foreign(j) -> i : hit)
            }
            found = ((listed & 1 << i) && !hit && (!found || may_succeed(i)) -> i : found);
            hit = 0
        }
        listed = 0; i = 0; j = 0
    }
}

/* The slot forgets its claim. */
inline free() {
    d_step {
        busy[me] = 0; hit = 0;
        token = 0; mark = 0; id = 0; claimed_on = 0; mine = 0; found = 0;
        listed = 0; is_claim_settled = false
    }
    goto idle
}

inline lose_lease() {
    WHO; printf("finds its lease lost\n");
    free()
}

/* The slot's thread or its process ends. */
inline die() {
    faults > 0;
    faults--;
    WHO; printf("dies\n");
    free()
}

/* ---------------------------------------------------------------- a slot */

proctype Slot(byte me)
{
    /* Its claim. `mark` is the marker, `mine` its own request, `found` a prediction. */
    byte token, mark, id, claimed_on, mine, found, marker;
    int listed;
    bool is_claim_settled;      /* the request had settled when the claim was made */

idle:
end_idle:
    if
    :: atomic { may_claim(0) -> claim(0) }
#if TOKENS > 1
    :: atomic { may_claim(1) -> claim(1) }
#endif
    fi;

look_before:
    if
    :: atomic {
        !must_wait ->
        list(marker, is_unresolved(marker) || may_be_forgotten(marker)) }
    :: atomic { die() }
    fi;
    if
    :: atomic { choose(); WHO; printf("looks before it sends, finds %d\n", found) }
    :: atomic { die() }
    fi;

    /* record_request */
    if
    :: atomic {
        find_row();
        if
        :: hit != NOWHERE && db.row[hit].request == NONE && is_same_server -> skip
        :: else -> lose_lease()
        fi;
        mine = server * ROWS + mark + 1;
        db.row[hit].request = committed(mine);
        hit = 0;
        unsettled = (of(mine).fate == NONE || of(mine).is_settled -> unsettled + 1 : unsettled);
        is_paid_twice = (of(mine).fate == SENT || may_succeed(mine));
        assert(!is_paid_twice);
        of(mine).is_settled = false;
        WHO;
        if
        :: found -> of(mine).fate = LOST; printf("commits its request, which is not sent\n");
            goto record_prediction
        :: else -> of(mine).fate = UNSENT; printf("commits its request %d\n", mine)
        fi }
    :: atomic { die() }
    fi;

    /* the POST */
    if
    :: atomic { may_send -> of(mine).fate = SENT; WHO; printf("sends request %d\n", mine) }
    :: atomic { !may_send -> of(mine).fate = LOST; WHO; printf("is too late to send\n");
        goto turn_away }
    :: atomic { faults > 0 -> of(mine).fate = LOST; die() }
    fi;

    /* its answer */
    if
    :: atomic { was_made(mine) -> found = mine; WHO; printf("learns that it was accepted\n");
        goto record_prediction }
    :: atomic { of(mine).fate == TURNED_DOWN -> WHO; printf("learns that it was refused\n");
        goto turn_away }
    :: atomic { true -> WHO; printf("gets no answer\n") }
    :: atomic { die() }
    fi;

find:
    if
    :: atomic { LIST_IS_ASKED -> list(marker, marker == mark) }
    :: atomic { !LIST_IS_ASKED -> goto turn_away }
    :: atomic { die() }
    fi;
    if
    :: atomic {
        choose();
        WHO; printf("looks for its request, finds %d\n", found);
        if
        :: found -> goto record_prediction
        :: !found && is_absence_final -> goto turn_away
        :: else -> goto postpone
        fi }
    :: atomic { die() }
    fi;

postpone:
    if
    :: atomic {
        find_row();
        if
        :: hit != NOWHERE -> db.row[hit].worker = NOBODY; db.row[hit].is_leased = false;
            WHO; printf("postpones it\n"); free()
        :: else -> lose_lease()
        fi }
    :: atomic { die() }
    fi;

turn_away:
    if
    :: atomic {
        find_row();
        if
        :: hit != NOWHERE -> close((db.row[hit].request -> UNRESOLVED : REFUSED));
            WHO; printf("closes it, no prediction was made\n"); free()
        :: else -> lose_lease()
        fi }
    :: atomic { die() }
    fi;

record_prediction:
    if
    :: atomic {
        find_row();
        if
        :: hit != NOWHERE && (!db.row[hit].prediction || db.row[hit].prediction == found) ->
            db.row[hit].prediction = found;
            hit = 0;
            WHO; printf("commits prediction %d\n", found)
        :: else -> lose_lease()
        fi }
    :: atomic { die() }
    fi;

poll:
    if
    :: atomic {
        if      /* the prediction ends when it is polled: nobody can know before */
        :: of(found).fate == RUNNING -> of(found).fate = IMAGE
        :: of(found).fate == RUNNING -> of(found).fate = FAILURE
        :: else
        fi;
        find_row();
        if
        :: hit != NOWHERE && of(found).fate == IMAGE ->
            close(SUCCEEDED);
            WHO; printf("hands its image on\n");
            db.status[token_of(hit)] = UPLOADING;
            is_wrong_image = (token_of(marker_of(found)) != token_of(hit));
            assert(!is_wrong_image);
            free()
        :: hit != NOWHERE && of(found).fate == FAILURE ->
            close(FAILED);
            WHO; printf("closes it, the prediction failed\n");
            db.attempts[token_of(hit)]++;
            db.status[token_of(hit)] =
                (db.attempts[token_of(hit)] < ATTEMPTS -> WAITING : GIVEN_UP);
            free()
        :: else -> lose_lease()
        fi }
    :: atomic { die() }
    fi;
}

/* ---------------------------------------------------------------- the world */

inline settle(number) {
    of(number).is_settled = true;
    if
    :: number > server * ROWS -> unsettled--
    :: else -> unsettled_before--
    fi;
    printf("request %d: is in the list, or its settle time is over\n", number)
}

/* One request: the network, the time, and Replicate. */
proctype Network(byte number)
{
end:
    do
    :: atomic { of(number).fate == UNSENT && faults > 0 ->
        faults--; of(number).fate = TOO_LATE;
        printf("request %d: half of its settle time is over\n", number) }
    :: d_step { of(number).fate == SENT ->
        for (i : 1 .. REQUESTS) {
            is_paid_twice = is_paid_twice ||
                token_of(marker_of(i)) == token_of(marker_of(number)) && may_succeed(i)
        }
        i = 0;
        printf("request %d: arrives\n", number);
        assert(!is_paid_twice);
        of(number).fate = RUNNING }
    :: atomic { of(number).fate == SENT && faults > 0 ->
        faults--; of(number).fate = TURNED_DOWN;
        printf("request %d: is refused\n", number) }
    :: d_step { !of(number).is_settled && of(number).fate == SENT && faults > 0 ->
        faults--; of(number).fate = LOST;
        printf("request %d: is lost\n", number);
        settle(number) }
    :: d_step { !of(number).is_settled && of(number).fate != NONE && of(number).fate != UNSENT &&
        (of(number).fate != SENT || ARRIVES_ANY_TIME) ->
        settle(number) }
    od
}

/* The mint of a token, again if it was forgotten, and the end of its lease. */
proctype Token(byte t)
{
end:
    do
    :: d_step { db.status[t] == NONE -> db.status[t] = WAITING;
#ifdef NO_DOUBT_FOR_NEW_TOKENS
        is_new[t] = (doubt != NONE);
#endif
        printf("token %d: is minted\n", t) }
    :: d_step { LEASES_END && is_open(t) && newest(t).is_leased && (!is_held(t) || faults > 0) ->
        faults = (is_held(t) -> faults - 1 : faults);
        newest(t).is_leased = false;
        printf("token %d: its lease runs out\n", t) }
    od
}

inline copy(target, source) {
    for (i : 0 .. TOKENS - 1) {
        target.status[i] = source.status[i];
        target.attempts[i] = source.attempts[i];
        target.count[i] = source.count[i]
    }
    for (i : 0 .. ROWS - 1) {
        target.row[i].state = source.row[i].state;
        target.row[i].id = source.row[i].id;
        target.row[i].worker = source.row[i].worker;
        target.row[i].is_leased = source.row[i].is_leased;
        target.row[i].request = source.row[i].request;
        target.row[i].prediction = source.row[i].prediction
    }
    target.last_id = source.last_id;
    i = 0
}

/* The database's server. */
proctype Server()
{
end:
    do
    :: d_step { failovers > 0 && !is_standby_behind ->
        is_standby_behind = true;
        copy(standby, db);
        printf("the standby falls behind\n") }
    :: d_step { failovers > 0 ->
        failovers--;
        server++;
        doubt = NONE;
        is_standby_behind = false;
        unsettled_before = unsettled_before + unsettled;
        unsettled = 0;
        copy(db, standby);
        printf("FAILOVER to server %d\n", server) }
    :: d_step { server > 0 && doubt == NONE -> note_server() }  /* a claim that finds nothing */
    :: d_step { doubt == NOTED && unsettled_before == 0 ->
        doubt = OVER;
        printf("the settle time of the doubt is over\n") }
    od
}

proctype Judge()
{
    failovers == 0 && has_ended(0) && has_ended(TOKENS - 1)
}

init {
    atomic {
        /* All numbers of faults are tried, so that no token ends only because of a fault. */
        select(i : 0 .. FAULTS);
        faults = i;
        select(i : 0 .. FAILOVERS);
        failovers = i;
        worker[0] = 1;
        if
        :: worker[1] = 1
        :: TOKENS == 1 -> worker[1] = 2
        fi;
        if
        :: skip
        :: TOKENS == 1 && failovers > 0 -> is_clock_ahead = true
        fi;
        for (i : 1 .. REQUESTS) { run Network(i) }
        for (i : 0 .. TOKENS - 1) { run Token(i) }
        for (i : 0 .. SLOTS - 1) { run Slot(i) }
        run Server();
        run Judge();
        i = 0
    }
}
