/*
 * The gate before any head: who claims to be denied is refused, however it is written; who is a client
 * has proved it.
 *
 * Input: a byte for the method, a byte for the answer, the target, and up to four Authorization fields, each on
 * a line of its own.
 */
#include <stdint.h>
#include <stdlib.h>

#include "codec/matrix/xmatrix.h"
#include "fed/client_token.h"
#include "fed/server_list.h"
#include "role/gate.h"
#include "support/memory_loop.h"

enum { LINES_MAX = 4 };

struct http_request {
	struct head    head;
	struct field   fields[LINES_MAX];
	struct address peer;
	struct arena   arena;
};

const struct head *http_request_head(const struct http_request *r)
{
	return &r->head;
}

const struct address *http_request_peer(const struct http_request *r)
{
	return &r->peer;
}

struct arena *http_request_arena(struct http_request *r)
{
	return &r->arena;
}

static const char *const            denied[] = { "bad.example", "*.bad.example" };
static const struct domain_settings domain = { .server_name = "home.example" };
static const struct settings        settings = { .domains = &domain,
	                                         .domain_count = 1,
	                                         .deny_servers = { denied, 2 },
	                                         .invites_from = INVITES_FROM_ALLOWED,
	                                         .limits = { .inbound_connections = 8 } };

static struct str take_line(struct str *rest)
{
	struct str line = str_head(*rest, str_find(*rest, '\n'));

	*rest = str_from(*rest, line.len + 1);
	return line;
}

static void read_request(struct http_request *r, struct str rest, uint8_t method)
{
	static const char *const methods[] = { "GET", "PUT", "POST", "OPTIONS", "HEAD", "DELETE" };

	*r = (struct http_request){ .peer = address_v4(9, 9, 9, 9, 1) };
	r->head.fields = r->fields;
	r->head.method_text = str_of(methods[method % 6]);
	r->head.method = head_method(r->head.method_text);
	r->head.path = take_line(&rest);
	while (rest.len > 0 && r->head.field_count < LINES_MAX)
		r->fields[r->head.field_count++] = (struct field){ FIELD_AUTHORIZATION,
			                                           STR("Authorization"),
			                                           take_line(&rest) };
	arena_init(&r->arena, 1 << 16);
}

/* A single line that the homeserver might read as a denied server's. */
static bool claims_denied(struct http_request *r)
{
	struct xmatrix line;
	bool           found = false;

	for (size_t i = 0; i < r->head.field_count; i++)
		found |= xmatrix_parse(r->fields[i].value, &r->arena, &line) == ERR_OK &&
			server_list_has(denied, 2, line.origin);
	return found;
}

static enum gate_word enter(struct gate *g, struct loop *l, struct http_request *r,
                            struct gate_visit *v)
{
	struct asleep_match match;

	asleep_find(r->head.method_text, r->head.path, &match);
	gate_visit_init(v, g, l, NULL, NULL);
	return gate_enter(v, &settings, &domain, &match, r);
}

static void check_word(enum gate_word w, struct http_request *r)
{
	struct asleep_match m;

	asleep_find(r->head.method_text, r->head.path, &m);
	check(w != GATE_WAIT && w != GATE_CROWDED); /* there is no limit */
	if (m.row->auth == ASLEEP_AUTH_XMATRIX && claims_denied(r) && !arena_failed(&r->arena))
		check(w != GATE_GO);
	if (m.endpoint == ASLEEP_INVITE && w == GATE_GO) /* only what is not signed at all */
		for (size_t i = 0; i < r->head.field_count; i++) {
			struct xmatrix line;

			check(xmatrix_parse(r->fields[i].value, &r->arena, &line) != ERR_OK ||
			      str_is(line.origin, domain.server_name));
		}
}

static void check_client(struct gate *g, struct loop *l, struct http_request *r, int status)
{
	enum client_token_use use = client_token_use(r->head.method, r->head.path);
	struct gate_visit     v;
	bool                  was;

	if (enter(g, l, r, &v) != GATE_GO)
		return;
	was = gate_is_client(&v);
	check(!was); /* nothing was answered yet */
	gate_answered(&v, status);
	gate_leave(&v);
	check(enter(g, l, r, &v) == GATE_GO);
	if (gate_is_client(&v))
		check(status / 100 == 2 && use == CLIENT_TOKEN_PROVED);
	gate_leave(&v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int    statuses[] = { 200, 401, 404, 500 };
	struct loop        *l;
	struct gate_options o = { .memory_class = 1 };
	struct gate        *g;
	struct http_request r;
	struct gate_visit   v;

	if (size < 2)
		return 0;
	l = memory_loop_new();
	o.loop = l;
	check(gate_new(&o, &g) == ERR_OK);
	read_request(&r, str_span(data + 2, size - 2), data[0]);
	check_word(enter(g, l, &r, &v), &r);
	gate_leave(&v);
	check_client(g, l, &r, statuses[data[1] % 4]);
	arena_fini(&r.arena);
	gate_free(g);
	memory_loop_free(l);
	return 0;
}
