#include "role/outbound.h"

#ifdef CONFIG_DOORSTEP_OUTBOUND

#include <stdlib.h>

#include "base/log.h"
#include "base/metrics.h"
#include "codec/matrix/base64.h"
#include "codec/matrix/signing.h"
#include "fed/asleep.h"
#include "fed/device_watch.h"
#include "role/answer.h"
#include "role/path_class.h"
#include "role/relay.h"
#include "role/tunnel.h"

enum { REQUEST_ARENA_MAX = 48 * 1024, TUNNEL_IDLE_MS = 10 * 60 * 1000 };

struct outbound {
	struct outbound_options o;
	struct http_server     *server;
	struct link             tunnels;
	size_t                  tunnel_count;
	outbound_full_fn       *full;
	void                   *full_arg;
	bool                    is_full;
	struct soon             make_room;
};

/* What a request is waiting for. */
enum crossing_state {
	CROSSING_RESOLVING, /* the lookup */
	CROSSING_QUEUING,   /* a place below the ceiling */
	CROSSING_DIALING,   /* CONNECT: the connection */
	CROSSING_RELAYING,  /* the relay has the request */
};

/* One request under way. */
struct crossing {
	struct outbound     *ob;
	struct settings     *settings;
	enum crossing_state  state;
	struct http_request *request;
	struct str           name; /* server name asked for; in the request's arena */
	struct lookup       *lookup;
	struct resolution    found;
	struct servers_place place; /* for a connection to the other server */
	struct deadline      place_limit;
	struct dial         *dial;
	struct relay        *relay;
	struct device_watch *watch; /* of a transaction of a homeserver that sleeps */
	msec                 began_at;
	bool                 makes_known;                    /* the server, once it took this */
	char                 method[16], to[264], path[208]; /* for the log; cut to fit */
};

struct crossing_tunnel {
	struct outbound     *ob;
	struct link          link;
	struct tunnel       *tunnel;
	struct servers_place place;
};

static void on_crossing_wake(void *arg);

/* ---- whose devices have changed ---- */

static void on_changed(void *arg, struct str user)
{
	const struct crossing *x = arg;

	answers_changed(x->ob->o.answers, user);
}

static void crossing_watch(struct crossing *x)
{
	x->watch = malloc(sizeof(*x->watch));
	if (x->watch == NULL)
		on_changed(x, STRL("")); /* it might be in what nobody looks at */
	else
		device_watch_init(x->watch, on_changed, x);
}

static void on_sent(void *arg, struct str bytes)
{
	struct crossing *x = arg;

	device_watch_feed(x->watch, bytes);
}

/* What will not be sent is looked at as far as it has come: the homeserver tells others the same. */
static void crossing_look_at_rest(struct crossing *x)
{
	struct str span;

	while (x->watch != NULL && (span = http_request_peek(x->request)).len > 0) {
		device_watch_feed(x->watch, span);
		http_request_consume(x->request, span.len);
	}
}

static void crossing_watched(struct crossing *x)
{
	if (x->watch != NULL)
		device_watch_end(x->watch);
	free(x->watch);
}

static struct relay_tap tap_of(struct crossing *x)
{
	return (struct relay_tap){ .sent = x->watch == NULL ? NULL : on_sent, .arg = x };
}

/* ---- ends ---- */

static void crossing_log(const struct crossing *x, int status, const struct relay_result *res)
{
	if (!log_begin(LOG_INFO, "outbound.request"))
		return;
	log_text("method", x->method);
	log_text("to", x->to);
	log_text("path", x->path);
	log_num("status", status);
	if (res != NULL) {
		log_num("up", (int64_t)res->up_bytes);
		log_num("down", (int64_t)res->down_bytes);
	}
	log_num("ms", (int64_t)(loop_now(x->ob->o.loop) - x->began_at));
	if (res != NULL && res->err != ERR_OK) {
		log_err("error", res->err);
		log_text("fault", res->fault);
	}
	log_end();
}

static void crossing_free(struct crossing *x)
{
	crossing_watched(x);
	lookup_cancel(&x->lookup);
	dial_cancel(&x->dial);
	servers_leave(&x->place);
	deadline_clear(&x->place_limit);
	gauge_down(GAUGE_outbound_requests_open);
	settings_drop(x->settings);
	free(x);
}

/* What kind of failure it was, for whoever reads the homeserver's log. */
static const char *error_kind(enum err e)
{
	switch (e) {
	case ERR_DNS:
	case ERR_NO_RECORD:
	case ERR_SERVICE_ABSENT:
		return "dns";
	case ERR_TLS:
	case ERR_CERTIFICATE:
		return "tls";
	case ERR_TIMEOUT:
	case ERR_SLOW_PEER:
		return "timeout";
	case ERR_BLOCKED:
	case ERR_DENIED:
		return "blocked";
	case ERR_SYNTAX:
	case ERR_RANGE:
		return "name";
	case ERR_NOMEM:
	case ERR_LIMIT:
	case ERR_BUSY:
		return "overload";
	case ERR_BAD_ANSWER:
	case ERR_TRUNCATED:
		return "answer";
	case ERR_OK:
	case ERR_TOO_LARGE:
	case ERR_UNSUPPORTED:
	case ERR_CANCELLED:
	case ERR_EOF:
	case ERR_REFUSED:
	case ERR_UNREACHABLE:
	case ERR_RESET:
	case ERR_SIGNATURE:
	case ERR_NOT_FOUND:
	case ERR_EXISTS:
	case ERR_IO:
	case ERR_CONFIG:
	case ERR_COUNT:
		break;
	}
	return "connect";
}

static int failure_status(enum err e)
{
	if (e == ERR_SYNTAX || e == ERR_RANGE)
		return 400;
	return err_status(e) == 504 || err_status(e) == 403 ? err_status(e) : 502;
}

/* Members as Synapse's own federation proxy writes them ("err"), and as the specification does. */
static void answer_outbound(struct http_request *r, int status, const char *errcode,
                            const char *kind, const char *text)
{
	char          json[320], field[96];
	struct writer w = writer_over(json, sizeof(json));
	struct writer f = writer_over(field, sizeof(field));

	write_text(&w, "{\"errcode\":");
	write_json_string(&w, str_of(errcode));
	write_text(&w, ",\"error\":");
	write_json_string(&w, str_of(text));
	write_text(&w, ",\"err\":");
	write_json_string(&w, str_of(text));
	write_text(&w, "}");
	write_text(&f, "X-Doorstep-Error: ");
	write_text(&f, kind);
	write_text(&f, "\r\n");
	if (status == 407)
		write_text(&f, "Proxy-Authenticate: Bearer realm=\"doorstep\"\r\n");
	check(!w.failed && !f.failed);
	http_respond_with(r, status, "application/json", writer_done(&f), writer_done(&w));
}

static void answer_outbound_failure(struct http_request *r, enum err e)
{
	char          text[96];
	struct writer w = writer_over(text, sizeof(text) - 1);

	write_text(&w, "doorstep could not reach the server: ");
	write_text(&w, err_slug(e));
	text[writer_done(&w).len] = '\0';
	answer_outbound(r, failure_status(e),
	                e == ERR_BLOCKED || e == ERR_DENIED ? "M_FORBIDDEN"
	                        : e == ERR_TOO_LARGE        ? "M_TOO_LARGE"
	                                                    : "M_UNKNOWN",
	                error_kind(e), text);
}

static void crossing_fail(struct crossing *x, enum err e)
{
	struct relay_result res = { .err = e, .fault = x->found.error == e ? "discovery" : "" };

	count_cause(CAUSE_outbound_failures, e);
	crossing_look_at_rest(x);
	answer_outbound_failure(x->request, e);
	crossing_log(x, failure_status(e), &res);
	crossing_free(x);
}

/* ---- relaying ---- */

static void on_relay_failed(void *arg, struct http_request *r, enum err e, const char *fault,
                            const struct str *copy)
{
	(void)copy;
	(void)fault;
	crossing_look_at_rest(arg);
	answer_outbound_failure(r, e);
}

static void on_relay_ended(void *arg, const struct relay_result *res)
{
	struct crossing *x = arg;

	count_add(COUNT_outbound_bytes_out, res->up_bytes);
	count_add(COUNT_outbound_bytes_in, res->down_bytes);
	count(res->reused ? COUNT_outbound_reused : COUNT_outbound_dials);
	if (res->err == ERR_OK)
		count(COUNT_outbound_relayed);
	else
		count_cause(CAUSE_outbound_failures, res->err);
	if (x->makes_known && res->status >= 200 && res->status <= 299)
		gate_wrote_to(x->ob->o.gate, str_of(x->to));
	crossing_log(x, res->status != 0 ? res->status : failure_status(res->err), res);
	crossing_free(x);
}

/* What Synapse's own federation proxy passes on; nothing else of the homeserver is anybody's business. */
static bool keeps_field(const struct field *f)
{
	return f->id == FIELD_AUTHORIZATION || f->id == FIELD_CONTENT_TYPE ||
		f->id == FIELD_USER_AGENT;
}

static size_t found_endpoints(const struct resolution *found, struct endpoint *to)
{
	size_t n = 0;

	for (; n < found->count && n < DIAL_ADDRESSES_MAX; n++)
		to[n] = (struct endpoint){ .address = found->addresses[n] };
	return n;
}

/* Discovery, connecting and TLS share one patience. */
static msec crossing_patience(const struct crossing *x)
{
	msec all = x->settings->limits.resolve_connect_ms;
	msec used = loop_now(x->ob->o.loop) - x->began_at;

	return used + 2 * SECOND_MS < all ? all - used : 2 * SECOND_MS;
}

static void crossing_relay(void *arg)
{
	struct crossing   *x = arg;
	struct endpoint    to[DIAL_ADDRESSES_MAX];
	struct relay_owner owner = { on_relay_failed, on_relay_ended, x };
	struct relay_tap   tap = tap_of(x);
	struct http_target target = {
		.to = to,
		.count = found_endpoints(&x->found, to),
		.tls = x->ob->o.tls,
		.tls_name = str_of(x->found.tls_name),
		.tls_name_is_address = x->found.tls_name_is_ip,
		.connect_ms = crossing_patience(x),
	};
	struct relay_options o = {
		.pool = x->ob->o.pool,
		.target = &target,
		.path = http_request_head(x->request)->path,
		.host = str_of(x->found.host_header),
		.keep = keeps_field,
		.fields = STRL(""),
		.answer_fields = STRL(""),
		.response_head_ms = x->settings->limits.response_head_ms,
		.keep_connection = true,
		.tap = &tap,
	};
	enum err e = ERR_TLS; /* other servers are never spoken to in the clear */

	x->state = CROSSING_RELAYING;
	if (target.tls != NULL)
		e = relay_start(x->request, &o, &owner, &x->relay);
	if (e != ERR_OK)
		crossing_fail(x, e);
}

/* ---- a name served here ---- */

/* The policy of the public door: federation paths (with old media paths where exposed), nothing else. */
static bool local_path_allowed(const struct domain_settings *d, struct str path)
{
	enum path_class c = path_class_of(path);

	return (c == PATH_FEDERATION && (d->expose & EXPOSE_FEDERATION) != 0) ||
		(c == PATH_MEDIA && (d->expose & EXPOSE_MEDIA) != 0);
}

/* The watch over a transaction that is no longer ours. */
struct local_watch {
	struct device_watch watch;
	struct answers     *answers;
};

static void on_local_changed(void *arg, struct str user)
{
	const struct local_watch *w = arg;

	answers_changed(w->answers, user);
}

static void on_local_took(void *arg, struct str bytes)
{
	struct local_watch *w = arg;

	device_watch_feed(&w->watch, bytes);
}

static void on_local_over(void *arg)
{
	struct local_watch *w = arg;

	device_watch_end(&w->watch);
	free(w);
}

static void local_watch(struct crossing *x)
{
	struct local_watch *w = malloc(sizeof(*w));

	if (w == NULL) {
		on_changed(x, STRL(""));
		return;
	}
	w->answers = x->ob->o.answers;
	device_watch_init(&w->watch, on_local_changed, w);
	http_request_tap(x->request, &(struct http_request_tap){ on_local_took, on_local_over, w });
}

/* It goes on as if it had come to the public door: gate, keeping, holding, relaying. */
static void crossing_local(struct crossing *x, const struct domain_settings *d)
{
	struct outbound     *ob = x->ob;
	struct http_request *r = x->request;
	struct str           name = x->name; /* the request's */

	if (d->homeserver == NULL || !local_path_allowed(d, http_request_head(r)->path)) {
		answer_error(r, 404, "M_UNRECOGNIZED", "unrecognized request", false);
		crossing_log(x, 404, NULL);
		crossing_free(x);
		return;
	}
	if (x->watch != NULL)
		local_watch(x);
	crossing_free(x);
	ob->o.local(ob->o.arg, r, name);
}

/* ---- finding the server ---- */

/* True: there is a place. Otherwise on_place() follows, or after a while on_place_limit(). */
static bool crossing_enter(struct crossing *x, struct str to)
{
	x->state = CROSSING_QUEUING;
	if (servers_enter(&x->place, to))
		return true;
	deadline_in(&x->place_limit, x->settings->limits.response_head_ms);
	return false;
}

static void on_place_limit(void *arg)
{
	crossing_fail(arg, ERR_TIMEOUT);
}

static void crossing_found(struct crossing *x)
{
	if (crossing_enter(x, str_of(x->found.host_header)))
		crossing_relay(x);
}

static void on_lookup(void *arg, const struct resolve *run)
{
	struct crossing *x = arg;

	x->found = run->result;
	if (run->result.error != ERR_OK)
		crossing_fail(x, run->result.error);
	else
		crossing_found(x);
}

static void crossing_resolve(struct crossing *x)
{
	const struct resolution *known = resolver_known(x->ob->o.resolver, x->name);
	enum err                 e;

	if (known != NULL && known->error != ERR_OK) {
		x->found.error = known->error;
		crossing_fail(x, known->error);
		return;
	}
	if (known != NULL) {
		x->found = *known;
		crossing_found(x);
		return;
	}
	x->state = CROSSING_RESOLVING;
	e = lookup_start(&x->lookup, x->ob->o.resolver, x->name, RESOLVE_FOR_FEDERATION, on_lookup,
	                 x);
	if (e != ERR_OK)
		crossing_fail(x, e);
}

static bool server_is_denied(const struct settings *s, struct str name)
{
	return gate_policy(s, name) != GATE_GO;
}

/* ---- the homeserver's own sleep ---- */

/* NULL: it does not sleep, or the section does not say whose listener this is. */
static struct reception *reception_of(const struct outbound *ob)
{
	const struct homeserver_settings *hs = ob->o.section->homeserver;

	return hs == NULL || ob->o.reception == NULL ? NULL : ob->o.reception(ob->o.arg, hs);
}

static struct sleeper *sleeper_of(const struct outbound *ob)
{
	struct reception *r = reception_of(ob);

	return r == NULL ? NULL : r->sleeper;
}

enum awake_sent outbound_sent_kind(struct str method, struct str path)
{
	static const enum asleep_endpoint events[] = {
		ASLEEP_SEND,       ASLEEP_SEND_JOIN, ASLEEP_SEND_KNOCK,
		ASLEEP_SEND_LEAVE, ASLEEP_INVITE,    ASLEEP_THIRD_PARTY_INVITE,
	};
	struct asleep_match match;

	asleep_find(method, path, &match);
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (match.endpoint == events[i])
			return AWAKE_SENT_EVENT;
	return AWAKE_SENT_OTHER;
}

static void tell_sent(struct crossing *x, enum awake_sent what, bool hidden)
{
	struct reception *r = reception_of(x->ob);

	if (r == NULL)
		return;
	reception_saw(r, hidden);
	sleeper_sent(r->sleeper, what);
}

static void crossing_look(struct crossing *x, const struct head *h)
{
	struct asleep_match match;

	asleep_find(h->method_text, h->path, &match);
	tell_sent(x, outbound_sent_kind(h->method_text, h->path), false);
	if (match.endpoint == ASLEEP_SEND && x->ob->o.answers != NULL &&
	    reception_of(x->ob) != NULL)
		crossing_watch(x);
}

/* ---- CONNECT ---- */

static void on_tunnel_ended(void *arg, uint64_t up, uint64_t down)
{
	struct crossing_tunnel *t = arg;
	struct outbound        *ob = t->ob;

	count_add(COUNT_outbound_bytes_out, up);
	count_add(COUNT_outbound_bytes_in, down);
	list_remove(&t->link);
	ob->tunnel_count--;
	gauge_down(GAUGE_outbound_tunnels_open);
	servers_leave(&t->place);
	free(t);
	if (ob->is_full && ob->full != NULL) {
		ob->is_full = false;
		ob->full(ob->full_arg, false);
	}
}

static void crossing_tunnel(struct crossing *x, struct stream *far)
{
	struct outbound        *ob = x->ob;
	struct crossing_tunnel *t = calloc(1, sizeof(*t));

	if (t == NULL) {
		stream_close(far);
		crossing_fail(x, ERR_NOMEM);
		return;
	}
	t->ob = ob;
	servers_place_init(&t->place, ob->o.loop, ob->o.servers, NULL, NULL);
	crossing_log(x, 200, NULL);
	if (tunnel_start(ob->o.loop, http_respond_tunnel(x->request), far, TUNNEL_IDLE_MS,
	                 on_tunnel_ended, t, &t->tunnel) != ERR_OK) {
		free(t);
		crossing_free(x);
		return;
	}
	list_push_back(&ob->tunnels, &t->link);
	ob->tunnel_count++;
	gauge_up(GAUGE_outbound_tunnels_open);
	servers_move(&x->place, &t->place);
	crossing_free(x);
}

static void on_dialed(void *arg, enum err e, struct stream *s, const struct endpoint *reached)
{
	struct crossing *x = arg;

	(void)reached;
	if (e != ERR_OK)
		crossing_fail(x, e);
	else
		crossing_tunnel(x, s);
}

static void crossing_dial(struct crossing *x)
{
	struct endpoint to[DIAL_ADDRESSES_MAX];
	enum err        e;

	x->state = CROSSING_DIALING;
	count(COUNT_outbound_dials);
	e = dial_start(&x->dial, x->ob->o.loop, to, found_endpoints(&x->found, to),
	               crossing_patience(x), on_dialed, x);
	if (e != ERR_OK)
		crossing_fail(x, e);
}

static void on_connect_lookup(void *arg, const struct resolve *run)
{
	struct crossing *x = arg;

	x->found = run->result;
	if (run->result.error != ERR_OK) {
		crossing_fail(x, run->result.error);
		return;
	}
	if (crossing_enter(x, x->name))
		crossing_dial(x);
}

/* Synapse writes IPv6 without brackets: the last colon parts the port. */
static struct str connect_name(struct crossing *x, struct str authority)
{
	size_t        colon = authority.len;
	char         *to = arena_alloc(http_request_arena(x->request), authority.len + 2);
	struct writer w = writer_over(to, to == NULL ? 0 : authority.len + 2);
	bool          bare;

	while (colon > 0 && authority.ptr[colon - 1] != ':')
		colon--;
	bare = colon > 1 && authority.ptr[0] != '[' &&
		str_find(str_head(authority, colon - 1), ':') < colon - 1;
	if (!bare)
		return authority;
	write_char(&w, '[');
	write_str(&w, str_head(authority, colon - 1));
	write_text(&w, "]:");
	write_str(&w, str_from(authority, colon));
	return w.failed ? authority : writer_done(&w);
}

static void crossing_connect(struct crossing *x)
{
	enum err e;

	count(COUNT_outbound_connects);
	tell_sent(x, AWAKE_SENT_OTHER, true); /* what goes through the tunnel is not seen */
	x->name = connect_name(x, http_request_head(x->request)->authority);
	if (server_is_denied(x->settings, x->name)) {
		crossing_fail(x, ERR_DENIED);
		return;
	}
	x->state = CROSSING_RESOLVING;
	e = lookup_start(&x->lookup, x->ob->o.resolver, x->name, RESOLVE_FOR_CONNECT,
	                 on_connect_lookup, x);
	if (e != ERR_OK)
		crossing_fail(x, e);
}

/* ---- requests ---- */

/* A place was found while waiting. */
static void on_place(void *arg)
{
	struct crossing *x = arg;

	deadline_clear(&x->place_limit);
	if (http_request_head(x->request)->method == HTTP_CONNECT) /* the mode may be another now */
		crossing_dial(x);
	else
		crossing_relay(x);
}

/* The homeserver gave up while we were finding the server. */
static void on_crossing_wake(void *arg)
{
	struct crossing *x = arg;
	enum err         e = http_request_broken(x->request);

	if (e == ERR_OK)
		return;
	count_cause(CAUSE_outbound_failures, e);
	http_respond_abort(x->request);
	crossing_free(x);
}

static const struct field *proxy_authorization(const struct head *h)
{
	const struct field *found = NULL;

	for (size_t i = 0; i < h->field_count; i++)
		if (h->fields[i].id == FIELD_PROXY_AUTHORIZATION) {
			if (found != NULL)
				return NULL; /* exactly one */
			found = &h->fields[i];
		}
	return found;
}

/* "Bearer <secret>", or "Basic base64(user:password)". */
static bool is_authorized(const struct outbound_settings *s, const struct head *h)
{
	const struct field *f = proxy_authorization(h);
	bool                basic = s->mode == OUTBOUND_CONNECT;
	struct str          scheme = basic ? STRL("Basic ") : STRL("Bearer ");
	char                plain[512];
	struct writer       w = writer_over(plain, sizeof(plain));
	struct str          given;

	if (s->secret == NULL)
		return true;
	if (f == NULL || f->value.len < scheme.len ||
	    !str_ieq(str_head(f->value, scheme.len), scheme))
		return false;
	given = str_trim(str_from(f->value, scheme.len));
	if (basic && (base64_read(given, &w) != ERR_OK || w.failed))
		return false;
	return signing_secret_eq(basic ? writer_done(&w) : given, str_of(s->secret));
}

static void crossing_refuse(struct crossing *x, int status, const char *errcode, const char *kind,
                            const char *text)
{
	if (log_begin(LOG_WARN, "outbound.refused")) {
		log_text("method", x->method);
		log_text("to", x->to);
		log_num("status", status);
		log_text("why", text);
		log_end();
	}
	answer_outbound(x->request, status, errcode, kind, text);
	crossing_free(x);
}

/* ---- orders ---- */

static void crossing_order_done(struct crossing *x, int status, struct str json)
{
	http_respond_with(x->request, status, "application/json", STRL(""), json);
	crossing_log(x, status, NULL);
	crossing_free(x);
}

static void crossing_order_sleep(struct crossing *x, struct sleeper *s, bool force)
{
	char          json[192];
	struct writer w = writer_over(json, sizeof(json));
	msec          wait_ms = 0;
	const char   *stay = force ? NULL : sleeper_must_stay(s, &wait_ms);

	if (stay == NULL) {
		sleeper_sleeps(s);
		crossing_order_done(x, 200, STRL("{\"done\":true,\"state\":\"asleep\"}"));
		return;
	}
	write_text(&w, "{\"done\":false,\"reason\":");
	write_json_string(&w, str_of(stay));
	write_text(&w, ",\"wait_ms\":");
	write_u64(&w, wait_ms);
	write_text(&w, "}");
	check(!w.failed);
	crossing_order_done(x, 409, writer_done(&w));
}

static void crossing_order_wake(struct crossing *x, struct sleeper *s)
{
	char          json[96];
	struct writer w = writer_over(json, sizeof(json));

	sleeper_wakes(s);
	write_text(&w, "{\"done\":true,\"state\":");
	write_json_string(&w, str_of(awake_state_slug(sleeper_state(s))));
	write_text(&w, "}");
	check(!w.failed);
	crossing_order_done(x, 200, writer_done(&w));
}

/* Sleep and wake are about the homeserver that has this listener. */
static void crossing_order(struct crossing *x, struct str path)
{
	struct sleeper *s = sleeper_of(x->ob);

	if (s == NULL)
		crossing_refuse(
			x, 404, "M_NOT_FOUND", "name",
			"this listener's homeserver does not sleep: see option homeserver of "
			"the outbound section and option sleeps of the homeserver");
	else if (str_is(path, "/_doorstep/wake"))
		crossing_order_wake(x, s);
	else
		crossing_order_sleep(x, s, str_is(path, "/_doorstep/sleep?force=1"));
}

static bool is_order(const struct head *h)
{
	return h->scheme.len == 0 &&
		(str_is(h->path, "/_doorstep/sleep") || str_is(h->path, "/_doorstep/wake") ||
	         str_is(h->path, "/_doorstep/sleep?force=1"));
}

static void crossing_federation(struct crossing *x)
{
	const struct head            *h = http_request_head(x->request);
	const struct domain_settings *local;
	struct asleep_match           match;

	if (is_order(h)) {
		if (h->method == HTTP_POST)
			crossing_order(x, h->path);
		else
			crossing_refuse(x, 405, "M_UNRECOGNIZED", "name", "this is for POST only");
		return;
	}
	if (!str_is(h->scheme, "matrix-federation") || h->path.len == 0 || h->path.ptr[0] != '/') {
		count(COUNT_outbound_malformed);
		crossing_refuse(x, 400, "M_UNRECOGNIZED", "name",
		                "this listener takes matrix-federation:// targets only");
		return;
	}
	count(COUNT_outbound_requests);
	x->name = h->authority;
	crossing_look(x, h);
	asleep_find(h->method_text, h->path, &match);
	x->makes_known = gate_makes_known(match.endpoint);
	local = settings_domain(x->settings, x->name);
	if (server_is_denied(x->settings, x->name))
		crossing_fail(x, ERR_DENIED);
	else if (local != NULL)
		crossing_local(x, local);
	else
		crossing_resolve(x);
}

static void crossing_decide(struct crossing *x)
{
	const struct head *h = http_request_head(x->request);
	bool               connect = x->ob->o.section->mode == OUTBOUND_CONNECT;

	if (!is_authorized(x->ob->o.section, h)) {
		count(COUNT_outbound_unauthorized);
		crossing_refuse(
			x, 407, "M_UNAUTHORIZED", "secret",
			"wrong or missing secret: compare secret_file with the homeserver's");
	} else if (connect != (h->method == HTTP_CONNECT)) {
		count(COUNT_outbound_malformed);
		crossing_refuse(x, 405, "M_UNRECOGNIZED", "name",
		                connect ? "this listener takes CONNECT only"
		                        : "this listener takes no CONNECT");
	} else if (connect) {
		crossing_connect(x);
	} else {
		crossing_federation(x);
	}
}

static void describe(struct str s, char *out, size_t size)
{
	(void)str_copy(str_head(s, size - 1), out, size);
}

static void crossing_describe(struct crossing *x, const struct head *h)
{
	describe(h->method_text, x->method, sizeof(x->method));
	describe(h->authority, x->to, sizeof(x->to));
	describe(path_without_query(h->path), x->path, sizeof(x->path));
}

static void on_request(void *arg, struct http_request *r)
{
	struct outbound *ob = arg;
	struct crossing *x = calloc(1, sizeof(*x));

	if (x == NULL) {
		answer_outbound_failure(r, ERR_NOMEM);
		return;
	}
	x->ob = ob;
	x->settings = settings_keep(ob->o.settings);
	x->request = r;
	x->began_at = loop_now(ob->o.loop);
	resolution_init(&x->found);
	servers_place_init(&x->place, ob->o.loop, ob->o.servers, on_place, x);
	deadline_init(&x->place_limit, ob->o.loop, on_place_limit, x);
	gauge_up(GAUGE_outbound_requests_open);
	crossing_describe(x, http_request_head(r));
	http_request_own(r, on_crossing_wake, x);
	crossing_decide(x);
}

/* ---- connections ---- */

static void outbound_check_full(struct outbound *ob)
{
	bool full = http_server_connections(ob->server) >= ob->o.section->connection_limit;

	if (full && http_server_close_idle(ob->server))
		return; /* room appears when it is gone */
	if (full == ob->is_full)
		return;
	ob->is_full = full;
	if (full)
		count(COUNT_accept_paused);
	if (ob->full != NULL)
		ob->full(ob->full_arg, full);
}

void outbound_accept(void *arg, struct stream *s, const struct address *peer)
{
	struct outbound *ob = arg;

	count(COUNT_outbound_connections);
	if (http_server_take(ob->server, s, peer, NULL, NULL) == ERR_OK)
		gauge_up(GAUGE_outbound_connections_open);
	outbound_check_full(ob);
}

static void on_connection_closed(void *arg)
{
	gauge_down(GAUGE_outbound_connections_open);
	outbound_check_full(arg);
}

static void on_make_room(void *arg)
{
	outbound_check_full(arg);
}

/* Somebody may be waiting since all were busy. */
static void on_connection_idle(void *arg)
{
	struct outbound *ob = arg;

	if (ob->is_full)
		soon_call(&ob->make_room);
}

static void on_malformed(void *arg, const struct address *peer, int status, const char *slug)
{
	(void)arg;
	(void)peer;
	count(COUNT_outbound_malformed);
	if (log_begin(LOG_WARN, "outbound.malformed")) {
		log_num("status", status);
		log_text("why", slug);
		log_end();
	}
}

/* Targets of the homeserver are as long as the world's; its heads come from a trusted machine, bounded all the same. */
static struct http_server_options server_options(const struct limit_settings *l)
{
	return (struct http_server_options){
		.limits = { l->request_line_max + 512, l->field_max, l->request_head_max + 1024,
		            l->fields_max },
		.requests_max = l->requests_per_connection,
		.head_ms = 30 * SECOND_MS,
		.idle_ms = l->idle_ms,
		.body_idle_ms = 60 * SECOND_MS,
		.write_idle_ms = 120 * SECOND_MS,
		.arena_bytes = REQUEST_ARENA_MAX,
	};
}

enum err outbound_new(const struct outbound_options *o, struct outbound **out)
{
	struct http_server_options so = server_options(&o->settings->limits);
	struct outbound           *ob = calloc(1, sizeof(*ob));
	struct http_handler        h = { on_request, on_malformed, on_connection_closed, ob };

	if (ob == NULL)
		return ERR_NOMEM;
	ob->server = http_server_new(o->loop, &so, &h);
	if (ob->server == NULL) {
		free(ob);
		return ERR_NOMEM;
	}
	http_server_on_idle(ob->server, on_connection_idle);
	soon_init(&ob->make_room, o->loop, on_make_room, ob);
	ob->o = *o;
	settings_keep(o->settings);
	if (o->tls != NULL)
		tls_client_keep(o->tls);
	list_init(&ob->tunnels);
	metrics.gauges[GAUGE_outbound_connections_open].limit += o->section->connection_limit;
	*out = ob;
	return ERR_OK;
}

void outbound_on_full(struct outbound *ob, outbound_full_fn *fn, void *arg)
{
	ob->full = fn;
	ob->full_arg = arg;
}

void outbound_reload(struct outbound *ob, struct settings *s,
                     const struct outbound_settings *section, struct tls_client *tls)
{
	struct http_server_options so = server_options(&s->limits);

	metrics.gauges[GAUGE_outbound_connections_open].limit -= ob->o.section->connection_limit;
	metrics.gauges[GAUGE_outbound_connections_open].limit += section->connection_limit;
	settings_keep(s);
	settings_drop(ob->o.settings);
	ob->o.settings = s;
	ob->o.section = section;
	if (tls != NULL)
		tls_client_keep(tls);
	if (ob->o.tls != NULL)
		tls_client_drop(ob->o.tls);
	ob->o.tls = tls;
	http_server_set_options(ob->server, &so);
	outbound_check_full(ob);
}

void outbound_drain(struct outbound *ob)
{
	http_server_drain(ob->server);
}

bool outbound_is_empty(const struct outbound *ob)
{
	return http_server_connections(ob->server) == 0 && ob->tunnel_count == 0;
}

void outbound_free(struct outbound *ob)
{
	if (ob == NULL)
		return;
	ob->full = NULL;
	while (!list_empty(&ob->tunnels)) {
		struct crossing_tunnel *t =
			LIST_ENTRY(ob->tunnels.next, struct crossing_tunnel, link);

		tunnel_cut(t->tunnel);
		on_tunnel_ended(t, 0, 0);
	}
	http_server_free(ob->server);
	soon_clear(&ob->make_room);
	metrics.gauges[GAUGE_outbound_connections_open].limit -= ob->o.section->connection_limit;
	settings_drop(ob->o.settings);
	if (ob->o.tls != NULL)
		tls_client_drop(ob->o.tls);
	free(ob);
}

#endif
