#include "role/gate.h"

#include <stdlib.h>

#include "base/metrics.h"
#include "codec/matrix/signing.h"
#include "codec/matrix/xmatrix.h"
#include "fed/address.h"
#include "fed/server_list.h"
#include "role/pace.h"

#define KEEP_MS (180ull * DAY_MS) /* of tokens and servers, since last seen */

enum {
	TOKENS_PER_CLASS_MB = 4,   /* 256 at 64 MB */
	SERVERS_PER_CLASS_MB = 16, /* 1024 */
	BUCKETS_PER_CLASS_MB = 8,  /* 512, and as many verified addresses */
};

struct gate {
	struct loop   *loop;
	uint8_t        salt[SIGNING_SALT_BYTES];
	struct ledger *tokens, *servers;
	struct pace    buckets;  /* of addresses and origins */
	struct pace    verified; /* claims, until when */
	size_t         waiting;
};

/* What the head says. */
struct look {
	const struct settings     *settings;
	const struct asleep_match *match;
	struct str                 origin; /* claimed; empty: none */
	bool                       unreadable;
};

/* ---- the owner's word ---- */

static const struct gate_refusal refusals[] = {
	[GATE_DENIED] = { 403, "M_FORBIDDEN", "this server is not welcome here" },
	[GATE_UNLISTED] = { 403, "M_FORBIDDEN", "this server is not welcome here" },
	[GATE_UNREADABLE] = { 400, "M_UNAUTHORIZED", "the Authorization field cannot be read" },
	[GATE_UNINVITED] = { 403, "M_FORBIDDEN", "invitations are not taken from this server" },
	[GATE_CROWDED] = { 429, "M_LIMIT_EXCEEDED", "too many requests at once" },
};

const struct gate_refusal *gate_refusal(enum gate_word w)
{
	return &refusals[w];
}

static bool is_listed(const struct server_names *list, struct str server)
{
	return server_list_has(list->at, list->count, server);
}

enum gate_word gate_policy(const struct settings *s, struct str server)
{
	if (is_listed(&s->deny_servers, server))
		return GATE_DENIED;
	if (s->allow_servers.count > 0 && !is_listed(&s->allow_servers, server) &&
	    settings_domain(s, server) == NULL)
		return GATE_UNLISTED;
	return GATE_GO;
}

static bool may_invite(const struct gate *g, const struct settings *s, struct str server)
{
	if (s->invites_from == INVITES_FROM_ANY || settings_domain(s, server) != NULL ||
	    is_listed(&s->invite_servers, server))
		return true;
	return s->invites_from == INVITES_FROM_KNOWN && gate_is_known(g, server);
}

/* Whatever a homeserver might take for one, in any version. */
static bool is_invite(const struct look *l, struct str path)
{
	static const struct str prefix = STR("/_matrix/federation/");
	char                    room[16];
	struct writer           w = writer_over(room, sizeof(room));
	struct str              rest;

	if (l->match->endpoint == ASLEEP_INVITE)
		return true;
	if (!str_starts(path, prefix))
		return false;
	rest = str_from(path, prefix.len);
	rest = str_from(rest, str_find(rest, '/') + 1);
	asleep_write_decoded(&w, str_head(rest, str_find(rest, '/')));
	return !w.failed && str_is(writer_done(&w), "invite");
}

static bool judges(const struct settings *s, bool invite)
{
	return s->deny_servers.count > 0 || s->allow_servers.count > 0 ||
		(invite && s->invites_from != INVITES_FROM_ANY);
}

static enum gate_word judge(const struct gate *g, const struct look *l, struct str path)
{
	bool           invite = is_invite(l, path);
	enum gate_word w;

	if (l->unreadable)
		return judges(l->settings, invite) ? GATE_UNREADABLE : GATE_GO;
	if (l->origin.len == 0)
		return GATE_GO; /* unsigned: 401 from whoever checks */
	w = gate_policy(l->settings, l->origin);
	if (w == GATE_GO && invite && !may_invite(g, l->settings, l->origin))
		return GATE_UNINVITED;
	return w;
}

static enum gate_word refused(enum gate_word w)
{
	switch (w) {
	case GATE_GO:
	case GATE_WAIT:
		break;
	case GATE_DENIED:
		count(COUNT_gate_denied);
		break;
	case GATE_UNLISTED:
		count(COUNT_gate_unlisted);
		break;
	case GATE_UNREADABLE:
		count(COUNT_gate_unreadable);
		break;
	case GATE_UNINVITED:
		count(COUNT_gate_invites);
		break;
	case GATE_CROWDED:
		count(COUNT_gate_crowded);
		break;
	}
	return w;
}

/* ---- who it is ---- */

enum key_kind { KEY_ADDRESS = 'a', KEY_ORIGIN = 'o', KEY_CLAIM = 'c' };

static uint64_t key_of(const struct gate *g, enum key_kind kind, struct str a, struct str b)
{
	char       letter = (char)kind;
	struct str texts[] = { { &letter, 1 }, a, b };
	uint64_t   key = signing_short_hash(g->salt, texts, 3);

	return key == 0 ? 1 : key;
}

/* What counts as one sender, as bytes. */
static struct str network_of(const struct address *a)
{
	return str_span(a->ip, a->family == ADDRESS_V4 ? 4 : 8);
}

static bool is_public(const struct address *a)
{
	return (a->family == ADDRESS_V4 || a->family == ADDRESS_V6) &&
		address_check_ip(NULL, a, NULL) == ERR_OK;
}

static bool may_be_signed(const struct asleep_row *row)
{
	return row->auth == ASLEEP_AUTH_XMATRIX || row->auth == ASLEEP_AUTH_OPTIONAL;
}

static void look_at(struct look *l, struct http_request *r)
{
	const struct head   *h = http_request_head(r);
	struct xmatrix_lines lines;
	enum err             e;

	if (!may_be_signed(l->match->row))
		return;
	e = xmatrix_collect(h, http_request_arena(r), &lines);
	if (e == ERR_OK)
		l->origin = lines.origin;
	else if (e != ERR_NOT_FOUND)
		l->unreadable = true;
}

static void look_for_token(struct gate_visit *v, const struct look *l,
                           const struct domain_settings *d, struct http_request *r)
{
	const struct head *h = http_request_head(r);
	struct str         texts[2] = { str_of(d->server_name), { "", 0 } };

	if (l->match->row->auth != ASLEEP_AUTH_TOKEN ||
	    !client_token_find(h, http_request_arena(r), &texts[1]))
		return;
	ledger_mark(v->gate->tokens, texts, 2, &v->token);
	v->has_token = true;
	v->token_use = client_token_use(h->method, h->path);
	v->is_client = ledger_has(v->gate->tokens, &v->token);
}

/* ---- how fast ---- */

static msec turn_of(const struct gate_visit *v, const struct look *l)
{
	struct gate                 *g = v->gate;
	const struct limit_settings *limits = &l->settings->limits;
	msec                         now = loop_now(g->loop);
	uint64_t                     key;
	unsigned                     rate;

	if (v->is_verified) {
		key = key_of(g, KEY_ORIGIN, l->origin, STRL(""));
		rate = limits->origin_rate;
	} else {
		key = v->network;
		rate = key != 0 ? limits->address_rate : 0;
	}
	if (rate == 0 || v->is_client)
		return 0;
	return pace_take(&g->buckets, key, now, rate, rate * GATE_BURST_S, GATE_PATIENCE_MS);
}

static void stop_waiting(struct gate_visit *v)
{
	if (!v->waits)
		return;
	v->waits = false;
	v->gate->waiting--;
	gauge_down(GAUGE_gate_waiting);
}

static void on_turn(void *arg)
{
	struct gate_visit *v = arg;

	stop_waiting(v);
	v->go(v->arg);
}

static enum gate_word line_up(struct gate_visit *v, const struct look *l, msec wait_ms)
{
	if (wait_ms == 0)
		return GATE_GO;
	if (wait_ms == MS_NEVER ||
	    v->gate->waiting >= (l->settings->limits.inbound_connections + 3) / 4)
		return GATE_CROWDED;
	count(COUNT_gate_slowed);
	gauge_up(GAUGE_gate_waiting);
	v->gate->waiting++;
	v->waits = true;
	deadline_in(&v->turn, wait_ms);
	return GATE_WAIT;
}

/* ---- a visit ---- */

void gate_visit_init(struct gate_visit *v, struct gate *g, struct loop *l, deadline_fn *go,
                     void *arg)
{
	*v = (struct gate_visit){ .gate = g, .go = go, .arg = arg };
	deadline_init(&v->turn, l, on_turn, v);
}

void gate_leave(struct gate_visit *v)
{
	deadline_clear(&v->turn);
	stop_waiting(v);
}

enum gate_word gate_enter(struct gate_visit *v, const struct settings *s,
                          const struct domain_settings *d, const struct asleep_match *match,
                          struct http_request *r)
{
	const struct address *peer = http_request_peer(r);
	struct look           l = { .settings = s, .match = match, .origin = STR("") };
	enum gate_word        w;

	if (v->gate == NULL)
		return GATE_GO;
	look_at(&l, r);
	w = judge(v->gate, &l, http_request_head(r)->path);
	if (w != GATE_GO)
		return refused(w);
	look_for_token(v, &l, d, r);
	v->proves_claim = match->row->auth == ASLEEP_AUTH_XMATRIX;
	if (l.origin.len > 0)
		v->claim = key_of(v->gate, KEY_CLAIM, l.origin, network_of(peer));
	if (is_public(peer))
		v->network = key_of(v->gate, KEY_ADDRESS, network_of(peer), STRL(""));
	v->is_verified = v->claim != 0 &&
		pace_is_until(&v->gate->verified, v->claim, loop_now(v->gate->loop));
	return refused(line_up(v, &l, turn_of(v, &l)));
}

bool gate_is_verified(const struct gate_visit *v)
{
	return v->gate == NULL || v->is_verified;
}

const struct address *gate_public_peer(const struct http_request *r)
{
	const struct address *peer = http_request_peer(r);

	return is_public(peer) ? peer : NULL;
}

bool gate_is_client(const struct gate_visit *v)
{
	return v->is_client;
}

static void token_answered(const struct gate_visit *v, int status)
{
	bool good = status >= 200 && status <= 299;

	if (good && v->token_use == CLIENT_TOKEN_PROVED) {
		if (ledger_note(v->gate->tokens, &v->token))
			count(COUNT_tokens_learnt);
	} else if ((good && v->token_use == CLIENT_TOKEN_ENDED) || status == 401) {
		ledger_forget(v->gate->tokens, &v->token);
	}
}

void gate_answered(struct gate_visit *v, int status)
{
	if (v->gate == NULL)
		return;
	if (v->has_token)
		token_answered(v, status);
	if (v->proves_claim && status >= 200 && status <= 299)
		gate_verified(v);
}

void gate_verified(struct gate_visit *v)
{
	if (v->gate != NULL && v->claim != 0)
		pace_until(&v->gate->verified, v->claim,
		           loop_now(v->gate->loop) + GATE_VERIFIED_MS);
}

/* ---- known servers ---- */

bool gate_makes_known(enum asleep_endpoint e)
{
	return e == ASLEEP_SEND || e == ASLEEP_SEND_JOIN || e == ASLEEP_SEND_KNOCK ||
		e == ASLEEP_INVITE || e == ASLEEP_THIRD_PARTY_INVITE;
}

void gate_wrote_to(struct gate *g, struct str server)
{
	struct ledger_mark m;

	if (g == NULL)
		return;
	ledger_mark(g->servers, &server, 1, &m);
	(void)ledger_note(g->servers, &m);
}

bool gate_is_known(const struct gate *g, struct str server)
{
	struct ledger_mark m;

	if (g == NULL)
		return false;
	ledger_mark(g->servers, &server, 1, &m);
	return ledger_has(g->servers, &m);
}

bool gate_has_known(const struct gate *g)
{
	return g != NULL && !ledger_is_empty(g->servers);
}

/* ---- the whole ---- */

static enum err open_ledgers(struct gate *g, const struct gate_options *o)
{
	struct ledger_options tokens = { o->loop, o->cache, "tokens",
		                         (size_t)o->memory_class * TOKENS_PER_CLASS_MB, KEEP_MS };
	struct ledger_options servers = { o->loop, o->cache, "servers",
		                          (size_t)o->memory_class * SERVERS_PER_CLASS_MB, KEEP_MS };
	enum err              e = ledger_new(&tokens, &g->tokens);

	return e == ERR_OK ? ledger_new(&servers, &g->servers) : e;
}

enum err gate_new(const struct gate_options *o, struct gate **out)
{
	struct gate *g = calloc(1, sizeof(*g));
	size_t       buckets = (size_t)o->memory_class * BUCKETS_PER_CLASS_MB;
	enum err     e = g == NULL ? ERR_NOMEM : signing_init();

	if (e != ERR_OK) {
		free(g);
		return e;
	}
	g->loop = o->loop;
	signing_random(g->salt, sizeof(g->salt));
	e = pace_init(&g->buckets, buckets);
	if (e == ERR_OK)
		e = pace_init(&g->verified, buckets);
	if (e == ERR_OK)
		e = open_ledgers(g, o);
	if (e != ERR_OK) {
		gate_free(g);
		return e;
	}
	*out = g;
	return ERR_OK;
}

void gate_free(struct gate *g)
{
	if (g == NULL)
		return;
	ledger_free(g->tokens);
	ledger_free(g->servers);
	pace_fini(&g->buckets);
	pace_fini(&g->verified);
	free(g);
}
