/*
 * awake.h - is the homeserver awake? One small machine for each homeserver.
 *
 * It is told what is seen of the homeserver (answers, failures, probes, requests of its own, its word
 * that it sleeps) and what others want of it; it says whether requests are relayed or held, when
 * to probe, when to send a magic packet, when to begin handing over what was kept, and whether
 * the homeserver may go to sleep now. Pure: time is a parameter, on the monotonic clock.
 *
 *            success   failure   probe     probe      it says    it says    a wish    all
 *                                answered  refused    "asleep"   "awake"¹   for it    handed over
 *   AWAKE    stays     SUSPECT   stays     SUSPECT    ASLEEP     stays      stays     stays
 *   SUSPECT  DRAINING  stays     DRAINING  ASLEEP²    ASLEEP     probe now  stays²    stays
 *   ASLEEP   DRAINING  stays     DRAINING  stays      ASLEEP     WAKING     WAKING³   stays
 *   WAKING   DRAINING  stays     DRAINING  stays⁴     ASLEEP     probe now  stays     stays
 *   DRAINING stays     SUSPECT⁵  stays     SUSPECT    ASLEEP     stays      stays     AWAKE
 *
 *   ¹ or sends a request of its own
 *   ² WAKING at once if somebody wished for it meanwhile
 *   ³ for the kinds of request in wake_on, and if anything can be done: see awake_wish()
 *   ⁴ ASLEEP when AWAKE_WINDOW_MS are over
 *   ⁵ ASLEEP after AWAKE_STRIKES failures with no success between them: a port that answers while
 *     requests fail, such as that of a container's proxy, is not a homeserver
 *
 * After an announced sleep there are no probes: they would tell nothing and might disturb the
 * sleeper. What arrives within AWAKE_SETTLE_MS after the announcement is a straggler and changes
 * nothing, and a machine on its way down hears no magic packet, so waking it begins afterwards.
 * Otherwise a silent homeserver is probed every probe_ms; while it is away every AWAKE_NEAR_MS as
 * long as it can be expected back within minutes: for AWAKE_NEAR_FOR_MS, and whenever its machine
 * is up, since that is what refuses a connection, or takes one and fails. A machine that was off
 * for a night refuses before its homeserver answers, so the end of that is noticed as soon.
 */
#ifndef FED_AWAKE_H
#define FED_AWAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

enum awake_state {
	AWAKE_AWAKE,    /* requests are relayed */
	AWAKE_SUSPECT,  /* one sign that it is gone; a probe will tell */
	AWAKE_ASLEEP,   /* gone: by its own word, or found out */
	AWAKE_WAKING,   /* wanted, or said to come: probed often, perhaps sent packets */
	AWAKE_DRAINING, /* back: requests are relayed while what was kept is handed over */
};

/* What a request is about, for the choice of what to wake for. */
enum awake_kind {
	AWAKE_MESSAGE,   /* a transaction with events */
	AWAKE_TO_DEVICE, /* a transaction with to-device messages: keys of encrypted rooms, calls */
	AWAKE_INVITE,
	AWAKE_KEYS,    /* device lists, device keys, one-time keys */
	AWAKE_CLIENT,  /* a client with a known access token */
	AWAKE_JOIN,    /* joining, knocking, leaving */
	AWAKE_QUERY,   /* profiles, aliases, room lists */
	AWAKE_HISTORY, /* events and state of rooms */
	AWAKE_MEDIA,
	AWAKE_OTHER,
	AWAKE_KIND_COUNT,
	AWAKE_NO_WISH = AWAKE_KIND_COUNT, /* for whoever must not wake anybody */
};

enum awake_sent {
	AWAKE_SENT_OTHER, /* something that nobody will ask about */
	AWAKE_SENT_EVENT, /* events, a join, an invite, new device keys: others come back with questions */
};

enum awake_verdict {
	AWAKE_GO,       /* relay it */
	AWAKE_HOLD,     /* it may be back soon: hold the request */
	AWAKE_HOPELESS, /* nothing is being done that could bring it back: refuse at once */
};

/* How a probe ended. */
enum awake_probe_end {
	AWAKE_SILENT, /* nobody there, as far as can be seen */
	AWAKE_REFUSED, /* the machine is up and refuses: its homeserver is stopped, or still starts */
	AWAKE_ANSWERED, /* connected */
};

/* What to do now, or-ed. */
enum awake_action {
	AWAKE_PROBE = 1 << 0,  /* try to connect, no more; then awake_probed() */
	AWAKE_PACKET = 1 << 1, /* send one magic packet */
	AWAKE_DRAIN = 1 << 2,  /* begin handing over, see awake_drained() */
};

enum {
	AWAKE_PROBE_MS = 3000, /* a probe's time to connect */
	AWAKE_DOUBT_MS = 5000, /* heard of so shortly ago, no answer is no sign: awake_doubt() */
	AWAKE_LOST_MS = 10000, /* a probe nobody reported counts as refused */
	AWAKE_AGAIN_MS = 1000, /* before the second probe of a suspect and of one just lost */
	AWAKE_NEAR_MS = 5000,  /* between probes of one that may be back soon */
	AWAKE_NEAR_FOR_MS = 600000, /* as which one counts that was lost */
	AWAKE_WAKING_MS = 2000,     /* between probes while waking */
	AWAKE_WINDOW_MS = 120000,   /* waking is given up */
	AWAKE_REST_MS = 60000,      /* after that, before the next waking */
	AWAKE_RESTART_MS = 30000,   /* just lost: it may be a restart, requests are held */
	AWAKE_SETTLE_MS = 10000,    /* from the announcement of sleep to sleep */
	AWAKE_PACKETS = 3,          /* of one round */
	AWAKE_PACKET_MS = 1000,     /* between them */
	AWAKE_ROUND_MS = 30000,     /* between the beginnings of rounds */
	AWAKE_ROUNDS_PER_HOUR = 12, /* not counting the owner's orders */
	AWAKE_STRIKES = 3,
	AWAKE_FLUSH_MS = 10000,    /* it does not sleep so soon after any request of its own */
	AWAKE_QUESTION_MS = 60000, /* ditto, after a question of another server */
};

struct awake_options {
	msec probe_ms;    /* between probes of a silent homeserver; other pauses are never longer */
	msec grace_ms;    /* it does not sleep so soon after AWAKE_SENT_EVENT */
	unsigned wake_on; /* 1 << enum awake_kind, or-ed */
	bool     can_wake; /* magic packets can be sent */
};

/* A plain value; all members are the machine's own. */
struct awake {
	struct awake_options options;
	enum awake_state     state;
	const char          *why;       /* led to the state, see awake_why() */
	msec                 since;     /* when it began */
	bool                 announced; /* asleep by its own word, and not heard of since */
	bool                 wanted;    /* somebody wished for it: send packets while waking */
	bool                 probing;   /* a probe is under way */
	uint8_t              strikes;
	uint8_t              packets_left; /* of the round under way */
	uint8_t              round_count;  /* used places of rounds */
	uint8_t              round_next;   /* the oldest of them when all are used */
	msec                 rounds[AWAKE_ROUNDS_PER_HOUR];
	msec                 round_at;  /* the latest round; valid if round_count > 0 */
	msec                 pause_ms;  /* before the next probe while asleep */
	msec                 probe_at;  /* the next probe, or the end of patience with this one */
	msec                 packet_at; /* valid if packets_left > 0 */
	msec                 window_at; /* waking ends; valid while waking */
	msec                 settle_at; /* stragglers end; valid if announced */
	msec                 rest_at;   /* no waking before */
	msec event_until, flush_until, question_until; /* should not sleep; 0: never */
};

/*
 * All of the following take the time, never less than at the call before, and return what is to
 * be done. The machine begins as a suspect: nothing is known yet.
 */
unsigned awake_init(struct awake *a, const struct awake_options *o, msec now);
unsigned awake_set(struct awake *a, const struct awake_options *o, msec now); /* a reload */

/* A request to the homeserver was answered (any status that is its own, not a gateway's 502, 503, 504). */
unsigned awake_succeeded(struct awake *a, msec now);

/* A request failed before any byte of an answer, and not by the fault of who asked. */
unsigned awake_failed(struct awake *a, msec now);

/*
 * A request waits long for the first byte of its answer. That may be as it should be, or the machine
 * lost its power and the connection does not know: a probe will tell. Long before the request fails.
 */
unsigned awake_doubt(struct awake *a, msec now);

/* The end of a probe. A new AWAKE_PROBE replaces one under way, whose end is then not told. */
unsigned awake_probed(struct awake *a, enum awake_probe_end end, msec now);

/* Word of the homeserver itself (or its owner's): it goes to sleep now; it has come back. */
unsigned awake_sleeps(struct awake *a, msec now);
unsigned awake_wakes(struct awake *a, msec now);

/* The homeserver sent a request to another server through us. */
unsigned awake_sent(struct awake *a, enum awake_sent what, msec now);

/* Another server's question (anything but a transaction) was relayed. */
unsigned awake_asked(struct awake *a, msec now);

/*
 * A request of that kind waits for the homeserver, or lies in the queue. Only after its signature
 * (or access token) was verified: what is forged must not wake anybody. A kind that is not in
 * wake_on changes nothing, but may be held if the homeserver comes anyway.
 */
unsigned awake_wish(struct awake *a, enum awake_kind kind, msec now, enum awake_verdict *verdict);

/* The owner wants it awake: as a wish, whatever the kind, and beyond the limits on rounds. */
unsigned awake_order(struct awake *a, msec now);

/*
 * What was kept has been handed over (or there was none). Before the first item the driver asks
 * something harmless (GET /_matrix/federation/v1/version) and reports how that went: an answering
 * port is not yet a homeserver.
 */
unsigned awake_drained(struct awake *a, msec now);

/* The time has come, see awake_next(); calling it at other times does no harm. */
unsigned awake_tick(struct awake *a, msec now);

/* When awake_tick() wants to be called; MS_NEVER: no need. */
msec awake_next(const struct awake *a);

/* Are requests relayed? Otherwise they are held, answered from memory or refused. */
static inline bool awake_relays(const struct awake *a)
{
	return a->state == AWAKE_AWAKE || a->state == AWAKE_DRAINING;
}

/* It said that it sleeps and was not heard of since: what it said before is still true. */
static inline bool awake_is_exact(const struct awake *a)
{
	return a->announced;
}

/*
 * May the homeserver go to sleep now? NULL: yes. Else the reason ("handing-over": it
 * is being given what was kept; "wanted": it was woken for somebody; "sending": its own requests are
 * still going out; "questions": others are about to ask, or are asking, about what it sent), and in
 * *wait_ms when to ask again. Busy rooms do not keep it up: questions count for one more grace_ms
 * at most.
 */
const char *awake_must_stay(const struct awake *a, msec now, msec *wait_ms);

const char *awake_state_slug(enum awake_state s);
const char *awake_kind_slug(enum awake_kind k); /* as in wake_on */

/* What led to the state: "start", "answered", "failed", "failing", "announced", ... */
static inline const char *awake_why(const struct awake *a)
{
	return a->why;
}

#endif
