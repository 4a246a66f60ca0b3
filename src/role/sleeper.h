/*
 * sleeper.h - one homeserver's sleep: the machine of fed/awake.h with its timers, probes and packets.
 *
 * A probe opens a connection and closes it, never a request: that would be work for the homeserver
 * and could keep the machine up. Only when its port answers after an outage is it asked something
 * harmless (GET /_matrix/federation/v1/version), because an answering port is not yet a
 * homeserver; what was held goes on, and what was kept is handed over, when that is answered.
 *
 * Whoever relays tells how it went (sleeper_succeeded, sleeper_failed, sleeper_doubt) and holds
 * requests here (sleeper_wait_start). Callbacks come from the loop only.
 */
#ifndef ROLE_SLEEPER_H
#define ROLE_SLEEPER_H

#include "fed/awake.h"
#include "role/upstream.h"

struct sleeper;

/* It answers again: hand over what was kept, then call sleeper_drained(). */
typedef void sleeper_drain_fn(void *arg);

/* sleeper_state() or sleeper_relays() is another than when last told. The sleeper may be freed meanwhile. */
typedef void sleeper_changed_fn(void *arg);

struct sleeper_options {
	struct loop                      *loop;
	const struct homeserver_settings *hs; /* copied in what is needed */
	struct upstream    *upstream; /* kept; its idle connections are closed when it sleeps */
	sleeper_drain_fn   *drain;    /* NULL: nothing is ever kept for it */
	sleeper_changed_fn *changed;  /* may be NULL */
	void               *arg;
};

/* ERR_NOMEM. Begins with a probe. */
enum err sleeper_new(const struct sleeper_options *o, struct sleeper **out);
void     sleeper_free(struct sleeper *s); /* no wait may be under way; NULL is fine */

/* After a reload. The upstream is another one if the address changed. */
void sleeper_set(struct sleeper *s, const struct homeserver_settings *hs, struct upstream *u);

/* ---- what is seen: see the functions of the same names in fed/awake.h ---- */

void sleeper_succeeded(struct sleeper *s);
void sleeper_failed(struct sleeper *s);
void sleeper_doubt(struct sleeper *s);
void sleeper_sleeps(struct sleeper *s);
void sleeper_wakes(struct sleeper *s);
void sleeper_sent(struct sleeper *s, enum awake_sent what);
void sleeper_asked(struct sleeper *s);
void sleeper_order(struct sleeper *s); /* `doorstep wake` */
void sleeper_drained(struct sleeper *s);

/* A verified request that does not wait, such as a delivery in the queue, is worth waking for. */
void sleeper_wish(struct sleeper *s, enum awake_kind kind);

/* ---- what is known ---- */

enum awake_state sleeper_state(const struct sleeper *s);

/* Are requests relayed? False too while the port answers again and the homeserver was not heard of. */
bool sleeper_relays(const struct sleeper *s);
bool sleeper_is_exact(const struct sleeper *s); /* awake_is_exact() */

/* NULL: the homeserver may sleep. See awake_must_stay(). */
const char *sleeper_must_stay(const struct sleeper *s, msec *wait_ms);

struct sleeper_status {
	const char *state, *why;     /* slugs */
	msec        since_ms;        /* for so long */
	msec        next_ms;         /* until it is looked for again; MS_NEVER: it is not */
	bool        announced;       /* sleeps by its own word */
	bool        can_wake;        /* has a wake_mac */
	unsigned    held;            /* requests that wait for it */
	uint64_t    probes, packets; /* since the start */
	enum err    packet_error;    /* of the last packet */
};
void sleeper_status(const struct sleeper *s, struct sleeper_status *out);

/* ---- holding requests ---- */

struct sleeper_wait;

/* ERR_OK: relay it now.  ERR_TIMEOUT: held for so long.  ERR_UNREACHABLE: there is no more hope. */
typedef void sleeper_wait_done_fn(void *arg, enum err e);

/*
 * Operation: a request waits for the homeserver for hold_ms at most. kind: what it would wake for,
 * once it is verified (see awake_wish()); AWAKE_NO_WISH: waits if the homeserver is coming anyway.
 * ERR_UNREACHABLE: nothing is being done that could bring it back, refuse at once.  ERR_NOMEM.
 */
enum err sleeper_wait_start(struct sleeper_wait **slot, struct sleeper *s, enum awake_kind kind,
                            msec hold_ms, sleeper_wait_done_fn *done, void *arg);
void     sleeper_wait_cancel(struct sleeper_wait **slot);

#endif
