#include "role/inbound.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/metrics.h"
#include "fed/address.h"
#include "role/answer.h"

enum { REQUEST_ARENA_MAX = 48 * 1024 };

struct inbound {
	struct passage_ground ground;
	struct tls_server    *tls;
	struct http_server   *server;
	struct limit          handshakes;
	struct link           visitors;
	size_t                visitor_count;
	inbound_full_fn      *full;
	void                 *full_arg;
	bool                  is_full;
	struct soon           make_room;
};

/* A connection between accept and the end of its handshake. */
struct visitor {
	struct inbound       *in;
	struct link           link;
	struct stream        *stream; /* while waiting for its turn */
	struct address        peer;
	struct limit_wait     turn;
	struct tls_handshake *handshake;
	struct deadline       deadline; /* of waiting and handshake together */
	struct soon           gone;
};

/* ---- arrivals ---- */

static size_t inbound_count(const struct inbound *in)
{
	return in->visitor_count + http_server_connections(in->server);
}

static void inbound_check_full(struct inbound *in)
{
	bool full = inbound_count(in) >= in->ground.settings->limits.inbound_connections;

	if (full && http_server_close_idle(in->server))
		return; /* room appears when it is gone */
	if (full == in->is_full)
		return;
	in->is_full = full;
	if (full)
		count(COUNT_accept_paused);
	if (in->full != NULL)
		in->full(in->full_arg, full);
}

static void visitor_free(struct visitor *v)
{
	limit_wait_cancel(&v->turn);
	if (v->handshake != NULL) {
		tls_handshake_cancel(&v->handshake);
		limit_leave(&v->in->handshakes);
	}
	if (v->stream != NULL)
		stream_close(v->stream);
	deadline_clear(&v->deadline);
	soon_clear(&v->gone);
	list_remove(&v->link);
	v->in->visitor_count--;
	free(v);
}

static void visitor_over(void *arg)
{
	struct visitor *v = arg;
	struct inbound *in = v->in;

	visitor_free(v);
	gauge_down(GAUGE_inbound_connections_open);
	inbound_check_full(in);
}

static void on_handshake(void *arg, enum err e, struct stream *secure, const char *detail)
{
	struct visitor *v = arg;
	struct inbound *in = v->in;
	struct address  peer = v->peer;
	struct tls_info info;

	limit_leave(&in->handshakes);
	if (e != ERR_OK) {
		count_cause(CAUSE_inbound_failures, e);
		if (log_begin(LOG_DEBUG, "inbound.tls")) {
			log_err("error", e);
			log_text("detail", detail);
			log_end();
		}
		visitor_over(v);
		return;
	}
	tls_stream_info(secure, &info);
	count(COUNT_inbound_handshakes);
	if (info.resumed)
		count(COUNT_inbound_handshakes_resumed);
	visitor_free(v);
	if (http_server_take(in->server, secure, &peer) == ERR_OK)
		return;
	gauge_down(GAUGE_inbound_connections_open);
	inbound_check_full(in);
}

static void on_turn(void *arg)
{
	struct visitor *v = arg;
	struct inbound *in = v->in;
	enum err        e = ERR_CERTIFICATE; /* none any more, after a reload */

	if (in->tls != NULL)
		e = tls_accept_start(&v->handshake, in->ground.loop, in->tls, v->stream,
		                     in->ground.settings->limits.handshake_ms, on_handshake, v);
	if (e == ERR_OK) {
		v->stream = NULL; /* the handshake has it */
		return;
	}
	count_cause(CAUSE_inbound_failures, e);
	limit_leave(&in->handshakes);
	visitor_over(v);
}

/* While it waits for its turn only its leaving matters; freed outside its own callback. */
static void on_visitor_wake(void *arg)
{
	struct visitor *v = arg;

	if (stream_ended(v->stream) != ERR_OK)
		soon_call(&v->gone);
}

/* Loopback, private and local peers are the owner's own; only the world is rationed. */
static bool is_counted_peer(const struct address *peer)
{
	return (peer->family == ADDRESS_V4 || peer->family == ADDRESS_V6) &&
		address_check_ip(NULL, peer, NULL) == ERR_OK;
}

static size_t inbound_count_of(const struct inbound *in, const struct address *peer)
{
	size_t n = http_server_connections_of(in->server, peer);

	for (struct link *l = in->visitors.next; l != &in->visitors; l = l->next)
		n += address_same_network(&LIST_ENTRY(l, struct visitor, link)->peer, peer);
	return n;
}

static bool inbound_admits(struct inbound *in, const struct address *peer)
{
	unsigned max = in->ground.settings->limits.connections_per_address;

	if (!is_counted_peer(peer) || inbound_count_of(in, peer) < max)
		return true;
	count(COUNT_inbound_refused_address);
	return false;
}

void inbound_accept(void *arg, struct stream *s, const struct address *peer)
{
	struct inbound *in = arg;
	struct visitor *v;

	count(COUNT_inbound_connections);
	v = inbound_admits(in, peer) ? calloc(1, sizeof(*v)) : NULL;
	if (v == NULL) {
		stream_close(s);
		return;
	}
	v->in = in;
	v->stream = s;
	v->peer = *peer;
	limit_wait_init(&v->turn, in->ground.loop, on_turn, v);
	deadline_init(&v->deadline, in->ground.loop, visitor_over, v);
	soon_init(&v->gone, in->ground.loop, visitor_over, v);
	list_push_back(&in->visitors, &v->link);
	in->visitor_count++;
	gauge_up(GAUGE_inbound_connections_open);
	stream_own(s, on_visitor_wake, v);
	deadline_in(&v->deadline, in->ground.settings->limits.handshake_ms);
	inbound_check_full(in);
	if (limit_enter(&in->handshakes, &v->turn))
		on_turn(v);
}

static void on_connection_closed(void *arg)
{
	gauge_down(GAUGE_inbound_connections_open);
	inbound_check_full(arg);
}

static void on_make_room(void *arg)
{
	inbound_check_full(arg);
}

/* Somebody may be waiting since all were busy. */
static void on_connection_idle(void *arg)
{
	struct inbound *in = arg;

	if (in->is_full)
		soon_call(&in->make_room);
}

static void on_malformed(void *arg, const struct address *peer, int status, const char *slug)
{
	char text[ADDRESS_TEXT_SIZE];

	(void)arg;
	count(COUNT_inbound_requests_malformed);
	if (log_begin(LOG_INFO, "inbound.malformed")) {
		log_text("peer", answer_peer_text(peer, text));
		log_num("status", status);
		log_text("why", slug);
		log_end();
	}
}

static void on_request(void *arg, struct http_request *r)
{
	struct inbound *in = arg;

	passage_begin(&in->ground, r);
}

/* ---- the role ---- */

static struct http_server_options server_options(const struct limit_settings *l)
{
	return (struct http_server_options){
		.limits = { l->request_line_max, l->field_max, l->request_head_max, l->fields_max },
		.requests_max = l->requests_per_connection,
		.head_ms = l->head_ms,
		.idle_ms = l->idle_ms,
		.body_idle_ms = l->body_idle_ms,
		.write_idle_ms = l->write_idle_ms,
		.arena_bytes = REQUEST_ARENA_MAX,
	};
}

enum err inbound_new(const struct inbound_options *o, struct inbound **out)
{
	struct http_server_options so = server_options(&o->settings->limits);
	struct inbound            *in = calloc(1, sizeof(*in));
	struct http_handler        h = { on_request, on_malformed, on_connection_closed, in };

	if (in == NULL)
		return ERR_NOMEM;
	in->server = http_server_new(o->loop, &so, &h);
	if (in->server == NULL) {
		free(in);
		return ERR_NOMEM;
	}
	http_server_on_idle(in->server, on_connection_idle);
	in->ground.loop = o->loop;
	soon_init(&in->make_room, o->loop, on_make_room, in);
	in->ground.settings = settings_keep(o->settings);
	in->tls = o->tls == NULL ? NULL : tls_server_keep(o->tls);
	in->ground.upstream = o->upstream;
	in->ground.reception = o->reception;
	in->ground.arg = o->arg;
	in->ground.gate = o->gate;
	in->ground.answers = o->answers;
	in->ground.verifier = o->verifier;
	list_init(&in->visitors);
	limit_init(&in->handshakes, GAUGE_inbound_handshakes_open,
	           in->ground.settings->limits.handshakes);
	metrics.gauges[GAUGE_inbound_connections_open].limit =
		in->ground.settings->limits.inbound_connections;
	*out = in;
	return ERR_OK;
}

void inbound_on_full(struct inbound *in, inbound_full_fn *fn, void *arg)
{
	in->full = fn;
	in->full_arg = arg;
}

void inbound_reload(struct inbound *in, struct settings *s, struct tls_server *tls)
{
	struct http_server_options so = server_options(&s->limits);

	settings_keep(s);
	settings_drop(in->ground.settings);
	in->ground.settings = s;
	if (tls != NULL)
		tls_server_keep(tls);
	tls_server_drop(in->tls);
	in->tls = tls;
	http_server_set_options(in->server, &so);
	limit_set_max(&in->handshakes, s->limits.handshakes);
	metrics.gauges[GAUGE_inbound_connections_open].limit = s->limits.inbound_connections;
	inbound_check_full(in);
	if (in->full != NULL)
		in->full(in->full_arg, in->is_full); /* there may be new listeners */
}

void inbound_take_local(struct inbound *in, struct http_request *r, struct str name)
{
	passage_begin_local(&in->ground, r, name);
}

void inbound_drain(struct inbound *in)
{
	while (!list_empty(&in->visitors))
		visitor_over(LIST_ENTRY(in->visitors.next, struct visitor, link));
	http_server_drain(in->server);
}

bool inbound_is_empty(const struct inbound *in)
{
	return inbound_count(in) == 0;
}

void inbound_free(struct inbound *in)
{
	if (in == NULL)
		return;
	in->full = NULL;
	inbound_drain(in);
	http_server_free(in->server);
	soon_clear(&in->make_room);
	settings_drop(in->ground.settings);
	tls_server_drop(in->tls);
	free(in);
}
