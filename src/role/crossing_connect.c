#include "role/crossing_inside.h"

#ifdef CONFIG_DOORSTEP_OUTBOUND

#include <stdlib.h>

#include "base/metrics.h"

enum { TUNNEL_IDLE_MS = 10 * 60 * 1000 };

void crossing_tunnel_ended(void *arg, uint64_t up, uint64_t down)
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
	                 crossing_tunnel_ended, t, &t->tunnel) != ERR_OK) {
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

void crossing_dial(struct crossing *x)
{
	struct endpoint to[DIAL_ADDRESSES_MAX];
	enum err        e;

	x->state = CROSSING_DIALING;
	count(COUNT_outbound_dials);
	e = dial_start(&x->dial, x->ob->o.loop, to, crossing_endpoints(&x->found, to),
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

void crossing_connect(struct crossing *x)
{
	enum err e;

	count(COUNT_outbound_connects);
	crossing_sent(x, AWAKE_SENT_OTHER, true); /* what goes through the tunnel is not seen */
	x->name = connect_name(x, http_request_head(x->request)->authority);
	if (crossing_is_denied(x->settings, x->name)) {
		crossing_fail(x, ERR_DENIED);
		return;
	}
	x->state = CROSSING_RESOLVING;
	e = lookup_start(&x->lookup, x->ob->o.resolver, x->name, RESOLVE_FOR_CONNECT,
	                 on_connect_lookup, x);
	if (e != ERR_OK)
		crossing_fail(x, e);
}

#endif
