#include "role/status.h"

#include "base/metrics.h"
#include "codec/json/tree.h"
#include "role/stranded.h"

static void add_text(struct tree *t, struct tree_node *to, const char *key, const char *text)
{
	if (text == NULL)
		tree_add_null(t, to, key);
	else
		tree_add_text(t, to, key, str_of(text));
}

static void add_endpoint(struct tree *t, struct tree_node *to, const struct endpoint *e)
{
	char          text[sizeof(e->path) + ADDRESS_TEXT_SIZE];
	struct writer w = writer_over(text, sizeof(text));

	if (e->path[0] != '\0') {
		write_text(&w, "unix:");
		write_text(&w, e->path);
	} else {
		address_write(&w, &e->address);
	}
	tree_add_text(t, to, "at", writer_done(&w));
}

static void add_listeners(struct tree *t, struct tree_node *root, const struct settings *s)
{
	struct tree_node *list = tree_add_array(t, root, "listeners");

	for (size_t i = 0; i < s->listen_count; i++) {
		struct tree_node *node = tree_add_object(t, list, NULL);

		add_text(t, node, "section", s->listens[i].section);
		add_endpoint(t, node, &s->listens[i].endpoint);
	}
}

static const char *mode_text(enum outbound_mode mode)
{
	switch (mode) {
	case OUTBOUND_MATRIX_FEDERATION:
		return "matrix-federation";
	case OUTBOUND_CONNECT:
		return "connect";
	}
	return "?";
}

static void add_outbounds(struct tree *t, struct tree_node *root, const struct settings *s)
{
	struct tree_node *list = tree_add_array(t, root, "outbound");

	for (size_t i = 0; i < s->outbound_count; i++) {
		struct tree_node *node = tree_add_object(t, list, NULL);

		add_text(t, node, "section", s->outbounds[i].section);
		add_text(t, node, "mode", mode_text(s->outbounds[i].mode));
		add_endpoint(t, node, &s->outbounds[i].endpoint);
	}
}

static void add_expose(struct tree *t, struct tree_node *to, unsigned expose)
{
	static const struct {
		enum expose what;
		const char *text;
	} words[] = { { EXPOSE_FEDERATION, "federation" },
		      { EXPOSE_MEDIA, "media" },
		      { EXPOSE_CLIENT, "client" } };
	struct tree_node *list = tree_add_array(t, to, "expose");

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (expose & words[i].what)
			add_text(t, list, NULL, words[i].text);
}

static void add_certificate(struct tree *t, struct tree_node *to, const struct tls_server *tls,
                            const struct domain_settings *d)
{
	int64_t first = INT64_MAX, until;

	for (size_t i = 0; tls != NULL && i < d->host_count; i++)
		if (tls_server_until(tls, str_of(d->hosts[i]), &until) && until < first)
			first = until;
	if (first == INT64_MAX || first < 0)
		tree_add_null(t, to, "certificate_until_unix");
	else
		tree_add_unsigned(t, to, "certificate_until_unix", (uint64_t)first);
}

static void add_domains(struct tree *t, struct tree_node *root, const struct status_source *source)
{
	const struct settings *s = source->settings;
	struct tree_node      *list = tree_add_array(t, root, "domains");

	for (size_t i = 0; i < s->domain_count; i++) {
		const struct domain_settings *d = &s->domains[i];
		struct tree_node             *node = tree_add_object(t, list, NULL);

		add_text(t, node, "section", d->section);
		add_text(t, node, "server_name", d->server_name);
		add_text(t, node, "homeserver", d->homeserver == NULL ? NULL : d->homeserver->url);
		add_expose(t, node, d->expose);
		add_certificate(t, node, source->tls, d);
	}
}

static void add_sleep(struct tree *t, struct tree_node *to, const struct sleeper *sleeper)
{
	struct sleeper_status st;
	msec                  wait_ms = 0;
	const char           *stay = sleeper_must_stay(sleeper, &wait_ms);

	sleeper_status(sleeper, &st);
	add_text(t, to, "state", st.state);
	add_text(t, to, "why", st.why);
	tree_add_unsigned(t, to, "since_ms", st.since_ms);
	if (st.next_ms == MS_NEVER)
		tree_add_null(t, to, "next_look_ms");
	else
		tree_add_unsigned(t, to, "next_look_ms", st.next_ms);
	tree_add_bool(t, to, "announced", st.announced);
	add_text(t, to, "must_stay", stay);
	tree_add_unsigned(t, to, "stay_ms", stay == NULL ? 0 : wait_ms);
	tree_add_bool(t, to, "can_wake", st.can_wake);
	tree_add_unsigned(t, to, "held", st.held);
	tree_add_unsigned(t, to, "probes", st.probes);
	tree_add_unsigned(t, to, "packets", st.packets);
	add_text(t, to, "packet_error",
	         st.packet_error == ERR_OK ? NULL : err_slug(st.packet_error));
}

static void add_homeservers(struct tree *t, struct tree_node *root, const struct status_source *s)
{
	struct tree_node *list = tree_add_array(t, root, "homeservers");

	for (size_t i = 0; i < s->settings->homeserver_count; i++) {
		const struct homeserver_settings *hs = &s->settings->homeservers[i];
		const struct sleeper *sleeper = s->sleeper == NULL ? NULL : s->sleeper(s->arg, hs);
		struct tree_node     *node = tree_add_object(t, list, NULL);

		add_text(t, node, "section", hs->section);
		add_text(t, node, "url", hs->url);
		tree_add_bool(t, node, "sleeps", sleeper != NULL);
		if (sleeper != NULL)
			add_sleep(t, node, sleeper);
	}
}

static void add_stranded(struct tree *t, struct tree_node *to, const struct status_source *s)
{
	struct stranded st;

	stranded_look(s->queue, s->settings, &st);
	tree_add_unsigned(t, to, "stranded", st.items);
	if (st.items == 0)
		return;
	add_text(t, to, "stranded_name", st.server_name);
	add_text(t, to, "stranded_why", st.why);
}

static void add_queue(struct tree *t, struct tree_node *root, const struct status_source *s)
{
	const struct queue    *q = s->queue;
	struct queue_counts    c;
	struct queue_lane_info oldest;
	struct tree_node      *node;

	if (q == NULL) {
		tree_add_null(t, root, "queue");
		return;
	}
	queue_counts(q, &c);
	node = tree_add_object(t, root, "queue");
	add_text(t, node, "kind", queue_kind_name(q));
	tree_add_unsigned(t, node, "waiting", c.waiting);
	tree_add_unsigned(t, node, "parked", c.parked);
	tree_add_unsigned(t, node, "bytes", c.bytes);
	tree_add_unsigned(t, node, "bytes_max", c.bytes_max);
	tree_add_unsigned(t, node, "disk_bytes", c.disk_bytes);
	tree_add_unsigned(t, node, "disk_max", c.disk_max);
	if (queue_lanes(q, 0, &oldest, 1) == 1)
		tree_add_unsigned(t, node, "oldest_unix_ms", oldest.oldest_unix_ms);
	else
		tree_add_null(t, node, "oldest_unix_ms");
	add_stranded(t, node, s);
	tree_add_unsigned(t, node, "put", c.put);
	tree_add_unsigned(t, node, "delivered", c.delivered);
	tree_add_unsigned(t, node, "refused", c.refused);
	tree_add_unsigned(t, node, "failed", c.failed);
	tree_add_unsigned(t, node, "damaged", c.damaged);
}

static void add_counters(struct tree *t, struct tree_node *root)
{
	struct tree_node *list = tree_add_object(t, root, "counters");

	for (unsigned i = 0; i < COUNTER_COUNT; i++)
		tree_add_unsigned(t, list, counter_texts[i].name, metrics.counters[i]);
}

static void add_causes(struct tree *t, struct tree_node *root)
{
	struct tree_node *list = tree_add_object(t, root, "causes");

	for (unsigned i = 0; i < CAUSE_COUNT; i++) {
		struct tree_node *node = tree_add_object(t, list, cause_texts[i].name);

		for (unsigned e = 0; e < ERR_COUNT; e++)
			if (metrics.causes[i][e] > 0)
				tree_add_unsigned(t, node, err_slug((enum err)e),
				                  metrics.causes[i][e]);
	}
}

static void add_gauges(struct tree *t, struct tree_node *root)
{
	struct tree_node *list = tree_add_object(t, root, "gauges");

	for (unsigned i = 0; i < GAUGE_COUNT; i++) {
		struct tree_node *node = tree_add_object(t, list, gauge_texts[i].name);

		tree_add_unsigned(t, node, "used", metrics.gauges[i].used);
		tree_add_unsigned(t, node, "limit", metrics.gauges[i].limit);
		tree_add_unsigned(t, node, "peak", metrics.gauges[i].peak);
	}
}

enum err status_write(const struct status_source *s, struct buf *out)
{
	struct tree      *t = tree_new_object();
	struct tree_node *root;
	enum err          e;

	if (t == NULL)
		return ERR_NOMEM;
	root = tree_root(t);
	tree_add_unsigned(t, root, "v", STATUS_VERSION);
	add_text(t, root, "version", s->version);
	tree_add_unsigned(t, root, "pid", s->pid);
	tree_add_unsigned(t, root, "uptime_s", s->uptime_ms / SECOND_MS);
	tree_add_unsigned(t, root, "memory_class", s->settings->limits.memory_class);
	add_listeners(t, root, s->settings);
	add_outbounds(t, root, s->settings);
	add_domains(t, root, s);
	add_homeservers(t, root, s);
	add_queue(t, root, s);
	tree_add_bool(t, root, "shut", s->is_shut);
	add_counters(t, root);
	add_causes(t, root);
	add_gauges(t, root);
	e = tree_write(t, out);
	tree_free(t);
	return e;
}
