/*
 * The way of a request through the door, whole: the inbound role with its HTTP server, relay and HTTP
 * client, between peers and homeservers made of memory. The input is a script of what these do.
 *
 * What must hold: every byte that reaches a homeserver belongs to a well-formed request that a peer
 * sent, with that peer's body as far as it came; what reaches a peer is one answer for each of his
 * requests, in order, the homeserver's own or ours, and a cut one looks cut; nobody is forgotten as long
 * as everybody else moves on; nothing piles up; in the end every gauge is zero.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/metrics.h"
#include "fuzz/http_fuzz.h"
#include "role/inbound.h"
#include "support/memory_loop.h"

enum {
	PEERS_MAX = 6,
	MESSAGES_MAX = 48,
	SCRIPT_MAX = 400, /* steps */
	ANSWERS_BYTES = 64 * 1024,
	SENT_MAX = 220 * 1024, /* by one end: some times what all buffers hold */
	FOR_EVER_MS = 10 * 1000 * 1000,
	PEER_QUEUE_MAX = STREAM_TX_MAX + 24 * 1024,
	HOME_QUEUE_MAX = STREAM_TX_MAX + 160 * 1024,
};

#define HOST      "Host: home.example\r\n"
#define FED       "/_matrix/federation/v1/"
#define LENGTH(n) "Content-Length: " #n "\r\n\r\n"
#define SIGNED(n) "Authorization: X-Matrix origin=" n ",key=ed25519:1,sig=AAAA\r\n"
#define CHUNKED   "Transfer-Encoding: chunked\r\n\r\n"

static const char *const asks[] = {
	"GET " FED "version HTTP/1.1\r\n" HOST "\r\n",
	"PUT " FED "send/1 HTTP/1.1\r\n" HOST LENGTH(5) "abcde",
	"PUT " FED "send/2 HTTP/1.1\r\n" HOST CHUNKED "3\r\nabc\r\n0\r\n\r\n",
	"POST " FED "query HTTP/1.1\r\n" HOST LENGTH(4) "abcd",
	"HEAD " FED "version HTTP/1.1\r\n" HOST "\r\n",
	"GET /.well-known/matrix/server HTTP/1.1\r\n" HOST "\r\n",
	"GET " FED "old HTTP/1.0\r\n" HOST "\r\n",
	"GET " FED "old HTTP/1.0\r\n" HOST "Connection: keep-alive\r\n\r\n",
	"PUT " FED "send/3 HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n" LENGTH(5),
	"abcde",
	"PUT " FED "send/4 HTTP/1.1\r\n" HOST LENGTH(100000),
	"PUT " FED "send/5 HTTP/1.1\r\n" HOST CHUNKED,
	"POST " FED "query HTTP/1.1\r\n" HOST CHUNKED,
	"POST " FED "query HTTP/1.1\r\n" HOST LENGTH(70000),
	"0\r\n\r\n",
	"GET /other HTTP/1.1\r\n" HOST "\r\n",
	"GET " FED "last HTTP/1.1\r\n" HOST "Connection: close, x-hop\r\nX-Hop: 1\r\n\r\n",
	"PUT " FED "send/6 HTTP/1.1\r\n" HOST LENGTH(0),
	"GET " FED "who HTTP/1.1\r\nHost: nobody.example\r\n\r\n",
	"GET https://home.example" FED "absolute?q=%2e HTTP/1.1\r\n" HOST "\r\n",
	"OPTIONS /_matrix/client/versions HTTP/1.1\r\n" HOST "\r\n",
	"DELETE " FED "x HTTP/1.1\r\n" HOST "\r\n",
	"GET / HTTP/1.1\nHost: bad\r\n\r\n",
	"GET " FED "event/x HTTP/1.1\r\n" HOST    SIGNED("a.example") "\r\n",
	"GET " FED "event/x HTTP/1.1\r\n" HOST    SIGNED("x.bad.example") "\r\n",
	"PUT " FED "invite/r/e HTTP/1.1\r\n" HOST SIGNED("a.example") LENGTH(2) "{}",
	"GET /_matrix/client/v3/sync HTTP/1.1\r\n" HOST "Authorization: Bearer t\r\n\r\n",
	"GET /_matrix/client/v3/logout?access_token=%74 HTTP/1.1\r\n" HOST "\r\n",
};

static const char *const says[] = {
	"HTTP/1.1 200 OK\r\n" LENGTH(2) "ok",
	"HTTP/1.1 200 OK\r\n" CHUNKED "3\r\nabc\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\n\r\nto the end",
	"HTTP/1.1 100 Continue\r\n\r\n",
	"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
	"HTTP/1.1 204 No Content\r\n\r\n",
	"HTTP/1.1 101 Switching Protocols\r\n\r\n",
	"HTTP/1.1 200 OK\r\nConnection: close\r\n" LENGTH(0),
	"HTTP/1.1 200 OK\r\n" LENGTH(100000),
	"HTTP/1.1 200 OK\r\n" CHUNKED,
	"HTTP/1.1 401 Unauthorized\r\n" LENGTH(2) "no",
	"HTTP/1.1 304 Not Modified\r\n" LENGTH(77),
	"HTTP/1.1 2",
	"0\r\n\r\n",
	"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" LENGTH(3) "old",
	"nonsense\r\n",
	"HTTP/1.1 500 No\r\nConnection: x-hop\r\nX-Hop: 1\r\n" LENGTH(1) "x",
};

struct messages {
	struct reading *at[MESSAGES_MAX];
	size_t          count;
	size_t          used; /* bytes of the whole ones */
	bool            bad;  /* what follows is malformed */
};

/* One side of a connection as its far end knows it. */
struct far_end {
	struct memory_stream *stream;
	struct bytes          sent;       /* all of it, whether it was looked at or not */
	bool                  unruly;     /* spoke without having been asked */
	struct messages      *got, *said; /* of a homeserver, in the end */
};

struct play {
	struct loop      *loop;
	struct inbound   *inbound;
	struct upstream  *upstream;
	struct reception *reception; /* of a homeserver that may sleep; NULL: it does not */
	struct keyring   *keyring;
	struct gate      *gate;
	struct verifier  *verifier;
	struct answers   *answers;         /* of that homeserver, given again */
	struct settings   settings, later; /* the later ones come with a reload */
	struct far_end    peers[PEERS_MAX], homes[MESSAGES_MAX];
	size_t            peer_count, home_count;
	bool              drained;
	int               tls;
};

/* ---- what is configured ---- */

static const char *const hosts[] = { "home.example" };

static const struct homeserver_settings homeserver = {
	.section = "nas",
	.url = "http://192.0.2.1:8008",
	.endpoint = { .address = { ADDRESS_V4, { 192, 0, 2, 1 }, 8008 } },
	.host = "192.0.2.1",
	.port = 8008,
	.connections_max = 2,
	.repeats = true,
	.sleeps = true,
	.can_wake = true,
	.wake_address = { ADDRESS_V4, { 127, 0, 0, 1 }, 9 },
	.wake_on = ~0u,
	.probe_ms = 30000,
	.sleep_grace_ms = 1000,
};

static const struct domain_settings domain = {
	.section = "home",
	.server_name = "home.example",
	.homeserver = &homeserver,
	.expose = EXPOSE_FEDERATION | EXPOSE_CLIENT,
	.well_known_server = "{\"m.server\":\"home.example:443\"}",
	.hosts = hosts,
	.host_count = 1,
};

static const char *const denied[] = { "*.bad.example" };

static void settings_stay(struct settings *s)
{
	check(s == NULL); /* we keep them ourselves */
}

static struct settings settings_make(unsigned connections)
{
	return (struct settings){
		.refs = 1,
		.free = settings_stay,
		.domains = &domain,
		.domain_count = 1,
		.homeservers = &homeserver,
		.homeserver_count = 1,
		.limits = { .inbound_connections = connections,
		            .handshakes = 2,
		            .connections_per_address = 64,
		            .requests_per_connection = 9,
		            .request_line_max = 2000,
		            .field_max = 1000,
		            .request_head_max = 3000,
		            .response_head_max = 3000,
		            .fields_max = 30,
		            .send_body_max = 200000,
		            .body_max = 90000,
		            .handshake_ms = 10000,
		            .head_ms = 10000,
		            .idle_ms = 30000,
		            .body_idle_ms = 10000,
		            .write_idle_ms = 20000,
		            .connect_ms = 5000,
		            .response_head_ms = 600000,
		            .homeserver_idle_ms = 50000,
		            .origin_rate = 1,
		            .address_rate = 1 },
		.deny_servers = { denied, 1 },
		.invites_from = INVITES_FROM_KNOWN,
	};
}

static struct upstream *upstream_of(void *arg, const struct homeserver_settings *hs)
{
	struct play *p = arg;

	check(hs == &homeserver);
	return p->upstream;
}

static struct reception *reception_of(void *arg, const struct homeserver_settings *hs)
{
	struct play *p = arg;

	(void)hs;
	return p->reception;
}

/* Nothing is kept, and nobody's keys are known: requests are held, or refused. */
static void play_sleepy(struct play *p)
{
	struct keyring_options   keys = { .loop = p->loop, .bytes_max = 10000 };
	struct reception_options o = { .loop = p->loop,
		                       .settings = &p->settings,
		                       .homeserver = &homeserver,
		                       .upstream = p->upstream };

	check(keyring_new(&keys, &p->keyring) == ERR_OK);
	check(verifier_new(p->loop, p->keyring, &p->verifier) == ERR_OK);
	o.verifier = p->verifier;
	o.keyring = p->keyring;
	check(reception_new(&o, &p->reception) == ERR_OK);
}

static void play_begin(struct play *p, bool sleepy)
{
	struct inbound_options o = { .upstream = upstream_of, .reception = reception_of, .arg = p };
	struct gate_options    gate = { .memory_class = 1 };

	log_set_level(LOG_ERROR);
	p->loop = memory_loop_new();
	p->settings = settings_make(4);
	p->later = settings_make(2);
	p->tls = 1;
	o.loop = p->loop;
	o.settings = &p->settings;
	gate.loop = p->loop;
	o.tls = (struct tls_server *)(void *)&p->tls;
	check(upstream_new(p->loop, &homeserver, &p->settings.limits, NULL, NULL, &p->upstream) ==
	      ERR_OK);
	if (sleepy)
		play_sleepy(p);
	check(gate_new(&gate, &p->gate) == ERR_OK);
	o.gate = p->gate;
	check(answers_new(p->loop, NULL, ANSWERS_BYTES, &p->answers) == ERR_OK);
	o.answers = p->answers;
	o.verifier = p->verifier;
	check(inbound_new(&o, &p->inbound) == ERR_OK);
}

/* ---- reading what went over the wire ---- */

static void messages_drop_last(struct messages *m)
{
	m->count--;
	reading_fini(m->at[m->count]);
	free(m->at[m->count]);
}

static void messages_fini(struct messages *m)
{
	while (m->count > 0)
		messages_drop_last(m);
	free(m);
}

/* One more message behind the whole ones; false: there is nothing, or no more. */
static bool messages_next(struct messages *m, enum h1_side side, enum http_method method,
                          struct str bytes, bool end)
{
	struct reading *r;

	if (m->used == bytes.len || m->count == MESSAGES_MAX)
		return false;
	r = m->at[m->count] = malloc(sizeof(*r));
	check(r != NULL);
	reading_init(r, side, &fuzz_wide, method, str_from(bytes, m->used), &fuzz_whole, end);
	m->bad = r->verdict == ERR_SYNTAX;
	m->count++;
	if (r->verdict != ERR_OK)
		return false;
	m->used += r->used;
	return true;
}

/* Requests up to the last that may come: the one that asks for the end, or the malformed one. */
static struct messages *read_requests(struct str bytes)
{
	struct messages *m = calloc(1, sizeof(*m));

	check(m != NULL);
	while (messages_next(m, H1_REQUEST, HTTP_GET, bytes, false) &&
	       m->at[m->count - 1]->head.keep_alive) {
	}
	return m;
}

static size_t count_whole(const struct messages *m)
{
	return m->count > 0 && m->at[m->count - 1]->verdict != ERR_OK ? m->count - 1 : m->count;
}

static bool is_final(const struct reading *r)
{
	return r->has_head && r->head.status >= 200;
}

/* Final answers to these requests; the informational ones in between are let go. */
static struct messages *read_answers(struct str bytes, const struct messages *requests, bool end)
{
	struct messages *m = calloc(1, sizeof(*m));
	bool             more = true;

	check(m != NULL);
	while (more) {
		enum http_method method =
			m->count < requests->count ? requests->at[m->count]->head.method : HTTP_GET;
		size_t before = m->count;

		more = messages_next(m, H1_RESPONSE, method, bytes, end);
		if (m->count > before && m->at[before]->has_head && !is_final(m->at[before]))
			messages_drop_last(m);
	}
	return m;
}

static struct str body_of(const struct reading *r)
{
	return str_span(r->body, r->body_len);
}

/* ---- what must hold for a homeserver ---- */

/* Is this the peer's request, as far as it came? */
static bool is_image(const struct reading *up, const struct reading *asked)
{
	struct str body = body_of(up);

	if (!asked->has_head || !str_eq(up->head.method_text, asked->head.method_text) ||
	    !str_eq(up->head.target, asked->head.path) ||
	    !str_eq(up->head.host, asked->head.host) || up->head.body != asked->head.body ||
	    up->head.content_length != asked->head.content_length)
		return false;
	if (up->verdict == ERR_OK)
		return asked->verdict == ERR_OK && str_eq(body, body_of(asked));
	return str_starts(body_of(asked), body);
}

static const struct reading *find_image(const struct play *p, struct messages *const *asked,
                                        const struct reading *up)
{
	for (size_t i = 0; i < p->peer_count; i++)
		for (size_t k = 0; k < asked[i]->count; k++)
			if (is_image(up, asked[i]->at[k]))
				return asked[i]->at[k];
	return NULL;
}

static void check_forwarded(const struct reading *up)
{
	unsigned hops = 0, forwarded = 0;

	for (size_t i = 0; i < up->head.field_count; i++) {
		const struct field *f = &up->head.fields[i];

		hops += str_ieq(f->name, STRL("x-hop")) || f->id == FIELD_CONNECTION ||
			f->id == FIELD_EXPECT || f->id == FIELD_UPGRADE || f->id == FIELD_TE;
		forwarded += str_ieq(f->name, STRL("x-forwarded-for"));
	}
	check(hops == 0 && forwarded == 1);
}

/* The first question after an outage. */
static bool is_sleepers_own(const struct reading *up)
{
	return str_is(up->head.host, "192.0.2.1");
}

static void check_home(const struct play *p, struct messages *const *asked,
                       const struct far_end *home)
{
	check(!home->got->bad);
	for (size_t i = 0; i < home->got->count; i++) {
		const struct reading *up = home->got->at[i];

		if (!up->has_head || is_sleepers_own(up))
			continue;
		check(find_image(p, asked, up) != NULL);
		check_forwarded(up);
	}
	check(home->stream->queue_peak <= HOME_QUEUE_MAX);
}

/* A request that may not be repeated is not. */
static size_t count_posts(const struct messages *m)
{
	size_t n = 0;

	for (size_t i = 0; i < m->count; i++)
		n += m->at[i]->has_head && m->at[i]->head.method == HTTP_POST;
	return n;
}

static void check_posts(const struct play *p, struct messages *const *asked)
{
	size_t sent = 0, seen = 0;

	for (size_t i = 0; i < p->peer_count; i++)
		sent += count_posts(asked[i]);
	for (size_t i = 0; i < p->home_count; i++)
		seen += count_posts(p->homes[i].got);
	check(seen <= sent);
}

/* ---- what must hold for a peer ---- */

static bool is_ours(const struct reading *r)
{
	const struct field *type = head_find(&r->head, FIELD_CONTENT_TYPE);

	if (r->head.status == 204)
		return true;
	return type != NULL && str_is(type->value, "application/json") &&
		(r->body_len < 2 || str_starts(body_of(r), STRL("{\"")));
}

/* A cut one may be the beginning of it. */
static bool is_same_answer(const struct reading *asked, const struct reading *said,
                           const struct reading *seen)
{
	if (!is_final(said) || said->head.status != seen->head.status)
		return false;
	if (asked->head.method == HTTP_HEAD)
		return true;
	if (seen->verdict == ERR_OK)
		return said->verdict == ERR_OK && str_eq(body_of(said), body_of(seen));
	return str_starts(body_of(said), body_of(seen));
}

/* A kept answer to GET serves HEAD, too. */
static bool is_image_or_kept(const struct reading *up, const struct reading *asked)
{
	struct reading same = *asked;

	if (is_image(up, asked))
		return true;
	same.head.method_text = STRL("GET");
	return asked->head.method == HTTP_HEAD && is_image(up, &same);
}

/* Did some homeserver give this answer to this request? */
static bool was_given(const struct play *p, const struct reading *asked, const struct reading *r)
{
	bool found = false;

	for (size_t i = 0; i < p->home_count && !found; i++) {
		const struct far_end *home = &p->homes[i];

		for (size_t k = 0; (home->unruly || k < home->got->count) && k < home->said->count;
		     k++) {
			const struct reading *s = home->said->at[k];

			found |= (home->unruly || is_image_or_kept(home->got->at[k], asked)) &&
				is_same_answer(asked, s, r);
		}
	}
	return found;
}

static void check_peer(const struct play *p, const struct messages *asked,
                       const struct far_end *peer)
{
	struct str       bytes = bytes_str(&peer->stream->taken);
	struct messages *got = read_answers(bytes, asked, peer->stream->ended);
	size_t           requests = asked->count;

	check(!got->bad);
	check(got->count <= requests + (requests == 0)); /* one refusal of what was no request */
	for (size_t i = 0; i < got->count; i++) {
		const struct reading *r = got->at[i];

		if (!r->has_head)
			continue;
		check(is_ours(r) ||
		      (i < requests && asked->at[i]->has_head && was_given(p, asked->at[i], r)));
		check(r->head.keep_alive || r->verdict != ERR_OK || i + 1 == got->count);
	}
	if (got->count > 0 && got->count < MESSAGES_MAX &&
	    got->at[got->count - 1]->verdict == ERR_OK)
		check(got->used == bytes.len);
	check(peer->stream->queue_peak <= PEER_QUEUE_MAX);
	messages_fini(got);
}

static void check_all(struct play *p)
{
	struct messages *asked[PEERS_MAX];

	for (size_t i = 0; i < p->home_count; i++) {
		struct far_end *home = &p->homes[i];

		home->got = read_requests(bytes_str(&home->stream->taken));
		home->said = read_answers(bytes_str(&home->sent), home->got,
		                          home->stream->ends == ERR_EOF);
	}
	for (size_t i = 0; i < p->peer_count; i++)
		asked[i] = read_requests(bytes_str(&p->peers[i].sent));
	for (size_t i = 0; i < p->home_count; i++)
		check_home(p, asked, &p->homes[i]);
	check_posts(p, asked);
	for (size_t i = 0; i < p->peer_count; i++)
		check_peer(p, asked[i], &p->peers[i]);
	for (size_t i = 0; i < p->peer_count; i++)
		messages_fini(asked[i]);
	for (size_t i = 0; i < p->home_count; i++) {
		messages_fini(p->homes[i].got);
		messages_fini(p->homes[i].said);
	}
}

/* ---- the script ---- */

struct script {
	const uint8_t *at, *end;
};

static unsigned script_byte(struct script *s)
{
	return s->at < s->end ? *s->at++ : 0;
}

static struct str script_bytes(struct script *s, size_t n)
{
	size_t     left = (size_t)(s->end - s->at);
	struct str bytes = str_span(s->at, n < left ? n : left);

	s->at += bytes.len;
	return bytes;
}

/* Between two answers, and nothing was asked. What it says then may meet the next request half-way. */
static bool has_nothing_to_say(const struct far_end *home)
{
	struct messages *got = read_requests(bytes_str(&home->stream->taken));
	struct messages *said = read_answers(bytes_str(&home->sent), got, false);
	size_t           asked = got->count;
	bool             nothing;

	if (asked > 0 && !got->at[asked - 1]->has_head)
		asked--;
	nothing = said->bad || (said->used == home->sent.len && said->count >= asked);
	messages_fini(said);
	messages_fini(got);
	return nothing;
}

static void far_send(struct far_end *f, struct str bytes)
{
	if (f->stream->ends != ERR_OK || bytes.len == 0 || f->sent.len + bytes.len > SENT_MAX)
		return;
	if (f->stream->is_upstream && has_nothing_to_say(f))
		f->unruly = true;
	bytes_add(&f->sent, bytes);
	memory_stream_send(f->stream, bytes);
}

static void far_fill(struct far_end *f, size_t n, bool as_chunk)
{
	char          head[H1_CHUNK_OVERHEAD];
	struct writer w = writer_over(head, sizeof(head));
	char         *block = malloc(n + 1);

	check(block != NULL);
	for (size_t i = 0; i < n; i++)
		block[i] = (char)('a' + (f->sent.len + i) % 23);
	h1_write_chunk_head(&w, n);
	if (as_chunk && n > 0)
		far_send(f, writer_done(&w));
	far_send(f, str_span(block, n));
	if (as_chunk && n > 0)
		far_send(f, STRL("\r\n"));
	free(block);
}

/* Homeserver connections that have come to be. */
static void play_look(struct play *p)
{
	while (p->home_count < MESSAGES_MAX && p->home_count < memory_streams(p->loop, true)) {
		p->homes[p->home_count].stream = memory_stream_at(p->loop, true, p->home_count);
		p->home_count++;
	}
}

static void play_arrive(struct play *p, unsigned n)
{
	struct address        from = address_v4(198, 51, (uint8_t)(n % 3), (uint8_t)n, 1);
	struct memory_stream *s;

	if (p->peer_count == PEERS_MAX || p->drained)
		return;
	s = memory_stream_new(p->loop, false);
	p->peers[p->peer_count++].stream = s;
	inbound_accept(p->inbound, &s->base, &from);
}

static struct far_end *play_far(struct play *p, unsigned who)
{
	size_t i = who & 15;

	if ((who & 16) != 0)
		return p->home_count > 0 ? &p->homes[p->home_count - 1 - i % p->home_count] : NULL;
	return p->peer_count > 0 ? &p->peers[i % p->peer_count] : NULL;
}

static void play_end(struct far_end *f, unsigned how)
{
	static const enum err ends[] = { ERR_EOF, ERR_RESET, ERR_TRUNCATED, ERR_EOF };
	struct memory_stream *s = f->stream;

	memory_stream_end(s, ends[how & 3]);
	if ((how & 4) != 0 && !s->closed && s->coming.len == 0 && s->base.end == ERR_OK) {
		s->base.end = s->ends; /* true already, but the owner hears of it later */
		s->news = true;
	}
}

enum step {
	STEP_CANNED,
	STEP_LITERAL,
	STEP_FILL,
	STEP_ACCEPT,
	STEP_STALL,
	STEP_END,
	STEP_FAR_COUNT
};

static void play_far_step(struct play *p, struct script *s, enum step step, unsigned who)
{
	struct far_end *f = play_far(p, who);
	unsigned        n = script_byte(s);
	bool            home = (who & 16) != 0;

	if (f == NULL)
		return;
	switch (step) {
	case STEP_CANNED:
		far_send(f,
		         str_of(home ? says[n % (sizeof(says) / sizeof(says[0]))]
		                     : asks[n % (sizeof(asks) / sizeof(asks[0]))]));
		break;
	case STEP_LITERAL:
		far_send(f, script_bytes(s, n & 63));
		break;
	case STEP_FILL:
		far_fill(f, (n & 127u) * 640u, n >= 128);
		break;
	case STEP_ACCEPT:
		f->stream->accepts = n == 255 ? SIZE_MAX : 0;
		memory_stream_accept(f->stream, n == 255 ? SIZE_MAX : n * 256u);
		break;
	case STEP_STALL:
		f->stream->accepts = n * 16u;
		break;
	case STEP_END:
		play_end(f, n);
		break;
	case STEP_FAR_COUNT:
		break;
	}
}

static void play_loop_step(struct play *p, struct script *s, unsigned what)
{
	static const enum err ends[] = { ERR_OK, ERR_BUSY, ERR_REFUSED, ERR_OK };
	unsigned              n = script_byte(s);

	switch (what & 7) {
	case 0:
		play_arrive(p, n);
		break;
	case 1:
		memory_loop_dials(p->loop, ends[n & 3]);
		break;
	case 2:
		memory_loop_handshakes(p->loop, n == 255 ? ERR_NOMEM : ends[n & 3]);
		break;
	case 3:
		memory_loop_pass(p->loop, n * 200u);
		break;
	case 4:
		if ((n & 6) == 6) { /* it sleeps no more */
			reception_retire(p->reception);
			p->reception = NULL;
		}
		inbound_reload(p->inbound, (n & 1) != 0 ? &p->later : &p->settings,
		               (struct tls_server *)(void *)&p->tls);
		break;
	case 5:
		memory_loop_pass(p->loop, n * 5000u);
		break;
	case 6:
		if (n > 250) {
			inbound_drain(p->inbound);
			p->drained = true;
		}
		break;
	default:
		play_arrive(p, n);
	}
}

/* One byte says what and to whom, its top bit whether more happens in the same turn. */
static void play_run(struct play *p, struct script *s)
{
	for (unsigned i = 0; i < SCRIPT_MAX && s->at < s->end; i++) {
		unsigned what = script_byte(s);
		unsigned step = what & 7;

		if (step < STEP_FAR_COUNT)
			play_far_step(p, s, (enum step)step, what >> 3 & 31u);
		else
			play_loop_step(p, s, script_byte(s));
		if ((what & 128) == 0 || step == 6)
			memory_loop_settle(p->loop);
		play_look(p);
	}
}

/* ---- the end ---- */

/* A homeserver that answers whatever it was asked, and ends what it left half done. */
static bool home_catches_up(struct far_end *home)
{
	struct messages *got = read_requests(bytes_str(&home->stream->taken));
	struct messages *said = read_answers(bytes_str(&home->sent), got, false);
	bool             moved = false;

	if (home->stream->closed || home->stream->ends != ERR_OK || got->count == MESSAGES_MAX) {
		/* nothing more comes from here */
	} else if (said->used < home->sent.len || said->count > count_whole(got)) {
		memory_stream_end(home->stream, ERR_EOF);
		moved = true;
	} else if (count_whole(got) > said->count) {
		far_send(home, str_of(says[0]));
		moved = true;
	}
	messages_fini(said);
	messages_fini(got);
	return moved;
}

/* A peer that stopped in the middle leaves, since others may wait for what it holds. */
static bool peer_gives_up(struct far_end *peer)
{
	struct messages *asked = read_requests(bytes_str(&peer->sent));
	bool             half = count_whole(asked) < asked->count && peer->stream->ends == ERR_OK;

	if (half)
		memory_stream_end(peer->stream, ERR_RESET);
	messages_fini(asked);
	return half;
}

static void play_move(struct play *p)
{
	bool moved = true;

	while (moved) {
		moved = false;
		memory_loop_settle(p->loop);
		play_look(p);
		for (size_t i = 0; i < p->peer_count + p->home_count; i++) {
			struct far_end *f = i < p->peer_count ? &p->peers[i]
							      : &p->homes[i - p->peer_count];

			f->stream->accepts = SIZE_MAX;
			moved |= !f->stream->closed && f->stream->queue.len > 0;
			memory_stream_accept(f->stream, SIZE_MAX);
		}
		for (size_t i = 0; i < p->home_count; i++)
			moved |= home_catches_up(&p->homes[i]);
	}
}

static void play_catch_up(struct play *p)
{
	bool moved = false;

	memory_loop_dials(p->loop, ERR_OK);
	memory_loop_handshakes(p->loop, ERR_OK);
	play_move(p);
	for (size_t i = 0; i < p->peer_count; i++)
		moved |= peer_gives_up(&p->peers[i]);
	if (moved)
		play_move(p);
}

/*
 * Everybody has moved on, and no time has passed: whoever asked in full has his answer, unless the gate
 * makes somebody wait for his turn.
 */
static void check_nobody_waits(const struct play *p)
{
	if (p->home_count == MESSAGES_MAX || metrics.gauges[GAUGE_gate_waiting].used > 0)
		return;
	for (size_t i = 0; i < p->peer_count; i++) {
		const struct far_end *peer = &p->peers[i];
		struct messages      *asked = read_requests(bytes_str(&peer->sent));
		struct messages *got = read_answers(bytes_str(&peer->stream->taken), asked, false);

		if (!peer->stream->closed && !peer->stream->ending && asked->count < MESSAGES_MAX)
			check(count_whole(got) >= count_whole(asked));
		messages_fini(got);
		messages_fini(asked);
	}
}

static void play_finish(struct play *p)
{
	for (size_t i = 0; i < p->peer_count; i++)
		memory_stream_end(p->peers[i].stream, ERR_EOF);
	memory_loop_pass(p->loop, FOR_EVER_MS);
	check(inbound_is_empty(p->inbound));
}

static void tell(const char *what, size_t n, struct str bytes)
{
	size_t shown = bytes.len < 1000 ? bytes.len : 1000,
	       behind = bytes.len - shown < 60 ? bytes.len - shown : 60;

	fprintf(stderr, "--- %s %zu (%zu bytes)\n%.*s ... %.*s\n", what, n, bytes.len, (int)shown,
	        bytes.ptr, (int)behind, bytes.ptr + bytes.len - behind);
}

/* For whoever looks into a crash: RELAY_FUZZ_TELL=1 in the environment. */
static void play_tell(const struct play *p)
{
	if (getenv("RELAY_FUZZ_TELL") == NULL)
		return;
	for (size_t i = 0; i < p->peer_count; i++) {
		tell("sent by peer", i, bytes_str(&p->peers[i].sent));
		tell("seen by peer", i, bytes_str(&p->peers[i].stream->taken));
	}
	for (size_t i = 0; i < p->home_count; i++) {
		tell("seen by homeserver", i, bytes_str(&p->homes[i].stream->taken));
		tell("sent by homeserver", i, bytes_str(&p->homes[i].sent));
	}
}

static void play_fini(struct play *p)
{
	inbound_free(p->inbound);
	gate_free(p->gate);
	answers_free(p->answers);
	reception_retire(p->reception);
	verifier_free(p->verifier);
	keyring_free(p->keyring);
	upstream_drop(p->upstream);
	check(p->settings.refs == 1 && p->later.refs == 1 && p->tls == 1);
	play_tell(p);
	for (size_t i = 0; i < GAUGE_COUNT; i++)
		check(metrics.gauges[i].used == 0);
	check_all(p);
	for (size_t i = 0; i < p->peer_count; i++)
		bytes_fini(&p->peers[i].sent);
	for (size_t i = 0; i < p->home_count; i++)
		bytes_fini(&p->homes[i].sent);
	memory_loop_free(p->loop);
}

/* The first byte: whether it ends in peace, in impatience, or in the middle; whether the homeserver sleeps. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = { data, data + size };
	struct play   p = { .loop = NULL };
	unsigned      first = script_byte(&s), ending = first & 3;
	bool          sleepy = (first & 4) != 0;

	play_begin(&p, sleepy);
	play_arrive(&p, 0);
	play_run(&p, &s);
	if (ending != 3) {
		play_catch_up(&p);
		play_tell(&p);
		if (!sleepy) /* it may be asleep, and they wait for that */
			check_nobody_waits(&p);
	}
	if (ending != 2)
		play_finish(&p);
	play_look(&p);
	play_fini(&p);
	return 0;
}
