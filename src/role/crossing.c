#include "role/crossing_inside.h"

#ifdef CONFIG_DOORSTEP_OUTBOUND

#include <stdlib.h>

#include "base/log.h"
#include "base/metrics.h"
#include "codec/matrix/base64.h"
#include "codec/matrix/signing.h"
#include "fed/asleep.h"
#include "role/path_class.h"

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

void crossing_log(const struct crossing *x, int status, const struct relay_result *res)
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

void crossing_free(struct crossing *x)
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
static void crossing_answer(struct http_request *r, int status, const char *errcode,
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
	crossing_answer(r, failure_status(e),
	                e == ERR_BLOCKED || e == ERR_DENIED ? "M_FORBIDDEN"
	                        : e == ERR_TOO_LARGE        ? "M_TOO_LARGE"
	                                                    : "M_UNKNOWN",
	                error_kind(e), text);
}

void crossing_fail(struct crossing *x, enum err e)
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

size_t crossing_endpoints(const struct resolution *found, struct endpoint *to)
{
	size_t n = 0;

	for (; n < found->count && n < DIAL_ADDRESSES_MAX; n++)
		to[n] = (struct endpoint){ .address = found->addresses[n] };
	return n;
}

/* Discovery, connecting and TLS share one patience. */
msec crossing_patience(const struct crossing *x)
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
		.count = crossing_endpoints(&x->found, to),
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

/* ---- finding the server ---- */

/* True: there is a place. Otherwise on_place() follows, or after a while on_place_limit(). */
bool crossing_enter(struct crossing *x, struct str to)
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

bool crossing_is_denied(const struct settings *s, struct str name)
{
	return gate_policy(s, name) != GATE_GO;
}

/* ---- the homeserver's own sleep ---- */

/* NULL: it does not sleep, or the section does not say whose listener this is. */
struct reception *crossing_reception(const struct outbound *ob)
{
	const struct homeserver_settings *hs = ob->o.section->homeserver;

	return hs == NULL || ob->o.reception == NULL ? NULL : ob->o.reception(ob->o.arg, hs);
}

void crossing_sent(struct crossing *x, enum awake_sent what, bool hidden)
{
	struct reception *r = crossing_reception(x->ob);

	if (r == NULL)
		return;
	reception_saw(r, hidden);
	sleeper_sent(r->sleeper, what);
}

static void crossing_look(struct crossing *x, const struct head *h)
{
	struct asleep_match match;

	asleep_find(h->method_text, h->path, &match);
	crossing_sent(x, outbound_sent_kind(h->method_text, h->path), false);
	if (match.endpoint == ASLEEP_SEND && x->ob->o.answers != NULL &&
	    crossing_reception(x->ob) != NULL)
		crossing_watch(x);
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

void crossing_refuse(struct crossing *x, int status, const char *errcode, const char *kind,
                     const char *text)
{
	if (log_begin(LOG_WARN, "outbound.refused")) {
		log_text("method", x->method);
		log_text("to", x->to);
		log_num("status", status);
		log_text("why", text);
		log_end();
	}
	crossing_answer(x->request, status, errcode, kind, text);
	crossing_free(x);
}

static void crossing_federation(struct crossing *x)
{
	const struct head            *h = http_request_head(x->request);
	const struct domain_settings *local;
	struct asleep_match           match;

	if (crossing_is_order(h)) {
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
	if (crossing_is_denied(x->settings, x->name))
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

void crossing_begin(void *outbound, struct http_request *r)
{
	struct outbound *ob = outbound;
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

#endif
