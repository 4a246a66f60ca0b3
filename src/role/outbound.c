#include "role/outbound.h"

#ifdef CONFIG_DOORSTEP_OUTBOUND

#include <stdlib.h>

#include "base/log.h"
#include "base/metrics.h"
#include "fed/asleep.h"
#include "role/crossing_inside.h"

enum { REQUEST_ARENA_MAX = 48 * 1024 };

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
	if (http_server_take(ob->server, s, peer) == ERR_OK)
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
	struct http_handler        h = { crossing_begin, on_malformed, on_connection_closed, ob };

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
		crossing_tunnel_ended(t, 0, 0);
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
