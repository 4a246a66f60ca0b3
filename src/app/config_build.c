#include "app/config_build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/matrix/server_name.h"
#include "codec/matrix/well_known.h"

enum {
	SECRET_MAX = 4096,
	EXTRA_MAX = 32 * 1024,
	DOCUMENT_MAX = 64 * 1024,
};

struct builder {
	const struct config_document *d;
	const char                   *credentials;
	struct homeserver_settings   *homeservers;
	size_t                        homeserver_count;
	struct settings              *out;
};

/* Cleared room for n things of that size; n 0 gives one, so that NULL always means no memory. */
static void *build_array(const struct builder *b, size_t n, size_t size)
{
	void *p = arena_alloc(b->d->arena, (n == 0 ? 1 : n) * size);

	if (p != NULL)
		memset(p, 0, (n == 0 ? 1 : n) * size);
	return p;
}

/* --- files --- */

static enum err refuse_file(const struct builder *b, const struct config_section *s,
                            const char *option, size_t n, const char *path, int error)
{
	return config_refuse(b->d, s, option, n, "%s: cannot read %.200s: %s", option, path,
	                     strerror(error));
}

/* The path as configured, or its base name in the credentials directory. */
static const char *credential_path(const struct builder *b, const char *path)
{
	char          text[2048];
	struct writer w = writer_over(text, sizeof(text));
	const char   *slash = strrchr(path, '/');

	if (b->credentials == NULL)
		return path;
	write_text(&w, b->credentials);
	write_char(&w, '/');
	write_text(&w, slash == NULL ? path : slash + 1);
	return w.failed ? NULL : arena_copy(b->d->arena, writer_done(&w)).ptr;
}

static enum err check_file(const struct builder *b, const struct config_section *s,
                           const char *option, size_t n, const char *path)
{
	struct stat st;

	if (access(path, R_OK) != 0 || stat(path, &st) != 0)
		return refuse_file(b, s, option, n, path, errno);
	if (S_ISDIR(st.st_mode))
		return refuse_file(b, s, option, n, path, EISDIR);
	return ERR_OK;
}

static enum err build_paths(const struct builder *b, const struct config_section *s,
                            const char *option, const struct values *from, const char *const **out)
{
	const char *const *paths = from->at;
	const char       **to = build_array(b, from->count, sizeof(*to));
	enum err           e = to == NULL ? ERR_NOMEM : ERR_OK;

	for (size_t i = 0; i < from->count && e == ERR_OK; i++) {
		to[i] = credential_path(b, paths[i]);
		e = to[i] == NULL ? ERR_NOMEM : check_file(b, s, option, i, to[i]);
	}
	*out = to;
	return e;
}

/* At most max bytes of a file into room (which has space for one more). */
static enum err read_small_file(const struct builder *b, const struct config_section *s,
                                const char *option, const char *path, char *room, size_t max,
                                struct str *out)
{
	int     fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t  len = 0;
	ssize_t n = 1;
	int     error;

	if (fd < 0)
		return refuse_file(b, s, option, 0, path, errno);
	while (n > 0 && len <= max) {
		n = read(fd, room + len, max + 1 - len);
		if (n > 0)
			len += (size_t)n;
	}
	error = errno;
	close(fd);
	if (n < 0)
		return refuse_file(b, s, option, 0, path, error);
	if (len > max)
		return config_refuse(b->d, s, option, 0, "%s: %.200s is larger than %zu bytes",
		                     option, path, max);
	*out = str_span(room, len);
	return ERR_OK;
}

static struct str trim_all(struct str s)
{
	while (s.len > 0 && strchr(" \t\r\n", s.ptr[0]) != NULL)
		s = str_from(s, 1);
	while (s.len > 0 && strchr(" \t\r\n", s.ptr[s.len - 1]) != NULL)
		s.len--;
	return s;
}

static bool is_visible(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] <= 0x20 || s.ptr[i] > 0x7e)
			return false;
	return true;
}

/* Connect passwords may hold anything printable, UTF-8 too; a Bearer secret is one plain word. */
static enum err check_secret(const struct builder *b, const struct config_section *s,
                             enum outbound_mode mode, struct str secret)
{
	size_t colon = str_find(secret, ':');

	if (secret.len == 0)
		return config_refuse(b->d, s, "secret_file", 0, "secret_file: the file is empty");
	if (mode == OUTBOUND_CONNECT) {
		if (colon == 0 || colon + 1 >= secret.len || str_find(secret, '\n') < secret.len ||
		    str_find(secret, '\0') < secret.len)
			return config_refuse(
				b->d, s, "secret_file", 0,
				"secret_file: the file must hold one line user:password");
	} else if (!is_visible(secret)) {
		return config_refuse(b->d, s, "secret_file", 0,
		                     "secret_file: the file must hold one word of printable ASCII");
	}
	return ERR_OK;
}

static void warn_if_public(const struct builder *b, const struct config_section *s,
                           const char *path)
{
	struct stat st;

	if (stat(path, &st) == 0 && (st.st_mode & 0007) != 0)
		config_warn(
			b->d, s, "secret_file", 0,
			"secret_file: %.200s is open to every user of this machine; chmod 600 it",
			path);
}

static enum err build_secret(const struct builder *b, const struct config_section *s,
                             const char *path, struct outbound_settings *out)
{
	char       room[SECRET_MAX + 1];
	struct str secret;
	enum err   e;

	path = credential_path(b, path);
	if (path == NULL)
		return ERR_NOMEM;
	e = read_small_file(b, s, "secret_file", path, room, SECRET_MAX, &secret);
	if (e == ERR_OK) {
		secret = trim_all(secret);
		e = check_secret(b, s, out->mode, secret);
	}
	if (e == ERR_OK) {
		warn_if_public(b, s, path);
		out->secret = arena_copy(b->d->arena, secret).ptr;
		e = out->secret == NULL ? ERR_NOMEM : ERR_OK;
	}
	memset(room, 0, sizeof(room));
	return e;
}

/* --- homeservers --- */

static enum err build_homeservers(struct builder *b)
{
	size_t                       n = config_count(b->d, SECTION_HOMESERVER), i = 0;
	const struct config_section *s = NULL;

	b->homeservers = build_array(b, n, sizeof(*b->homeservers));
	if (b->homeservers == NULL)
		return ERR_NOMEM;
	while ((s = config_next(b->d, s, SECTION_HOMESERVER)) != NULL) {
		const struct homeserver_options *o = s->values;
		struct homeserver_settings      *h = &b->homeservers[i++];

		*h = (struct homeserver_settings){
			.section = s->name,
			.url = o->url.text,
			.tls = o->url.tls,
			.host = o->url.host,
			.host_is_name = o->url.is_name,
			.port = o->url.port,
			.connections_max = o->connection_limit,
			.repeats = o->repeat_answers,
			.sleeps = config_is_set(s, "sleeps") ? o->sleeps
							     : b->out->state_dir != NULL,
			.can_wake = config_is_set(s, "wake_mac"),
			.wake_mac = o->wake_mac,
			.wake_address = o->wake_address,
			.wake_on = o->wake_on,
			.probe_ms = o->probe_interval,
			.sleep_grace_ms = o->sleep_grace,
			.queue_bytes = o->queue_limit,
		};
		if (o->url.unix_path != NULL)
			str_copy(str_of(o->url.unix_path), h->endpoint.path,
			         sizeof(h->endpoint.path));
		else if (!h->host_is_name)
			h->endpoint.address = o->url.address;
	}
	b->homeserver_count = n;
	b->out->homeservers = b->homeservers;
	b->out->homeserver_count = n;
	return ERR_OK;
}

static const struct homeserver_settings *find_homeserver(const struct builder *b, const char *name)
{
	for (size_t i = 0; name != NULL && i < b->homeserver_count; i++)
		if (strcmp(b->homeservers[i].section, name) == 0)
			return &b->homeservers[i];
	return NULL;
}

/* --- domains --- */

struct document {
	struct writer writer;
	char         *room;
};

/* A JSON document is written into a large temporary room, then copied. */
static bool document_begin(struct document *doc)
{
	doc->room = malloc(DOCUMENT_MAX);
	doc->writer = writer_over(doc->room, doc->room == NULL ? 0 : DOCUMENT_MAX);
	return doc->room != NULL;
}

static enum err document_end(const struct builder *b, struct document *doc, const char **out)
{
	enum err e = ERR_NOMEM;

	if (!doc->writer.failed) {
		*out = arena_copy(b->d->arena, writer_done(&doc->writer)).ptr;
		e = *out == NULL ? ERR_NOMEM : ERR_OK;
	}
	free(doc->room);
	return e;
}

static enum err build_server_document(const struct builder *b, const struct domain_options *o,
                                      struct domain_settings *out)
{
	struct document doc;

	if (o->delegate == NULL)
		return ERR_OK;
	if (!document_begin(&doc))
		return ERR_NOMEM;
	well_known_write_server(&doc.writer, str_of(o->delegate));
	return document_end(b, &doc, &out->well_known_server);
}

static enum err write_client_document(const struct builder *b, const struct config_section *s,
                                      struct document *doc)
{
	const struct domain_options *o = s->values;
	struct str                   extra = { "", 0 };
	char                        *room;
	enum err                     e = ERR_OK;

	if (o->client_extra == NULL)
		return well_known_write_client(&doc->writer, str_of(o->client_url.text), extra);
	room = malloc(EXTRA_MAX + 1);
	if (room == NULL)
		return ERR_NOMEM;
	e = read_small_file(b, s, "client_extra", o->client_extra, room, EXTRA_MAX, &extra);
	if (e == ERR_OK) {
		e = well_known_write_client(&doc->writer, str_of(o->client_url.text), extra);
		if (e != ERR_OK || trim_all(extra).len == 0)
			e = config_refuse(b->d, s, "client_extra", 0,
			                  "client_extra: %.200s does not hold one JSON object",
			                  o->client_extra);
	}
	free(room);
	return e;
}

static enum err build_client_document(const struct builder *b, const struct config_section *s,
                                      struct domain_settings *out)
{
	struct document doc;
	enum err        e;

	if (((const struct domain_options *)s->values)->client_url.text == NULL)
		return ERR_OK;
	if (!document_begin(&doc))
		return ERR_NOMEM;
	e = write_client_document(b, s, &doc);
	if (e == ERR_OK)
		return document_end(b, &doc, &out->well_known_client);
	free(doc.room);
	return e;
}

static enum err build_support_document(const struct builder *b, const struct domain_options *o,
                                       struct domain_settings *out)
{
	const struct contact      *from = o->support_contact.at;
	size_t                     n = o->support_contact.count;
	struct well_known_contact *contacts;
	struct document            doc;

	if (n == 0 && o->support_page.text == NULL)
		return ERR_OK;
	contacts = build_array(b, n, sizeof(*contacts));
	if (contacts == NULL || !document_begin(&doc))
		return ERR_NOMEM;
	for (size_t i = 0; i < n; i++)
		contacts[i] = (struct well_known_contact){ from[i].matrix_id, from[i].email,
			                                   from[i].role };
	well_known_write_support(&doc.writer, contacts, n,
	                         str_of(o->support_page.text == NULL ? "" : o->support_page.text));
	return document_end(b, &doc, &out->well_known_support);
}

/* A host as Host fields show it: lower case, IPv6 in brackets. Twice the same is kept once. */
static enum err add_host(const struct builder *b, struct str host, bool is_v6, const char **hosts,
                         size_t *count)
{
	char          text[SERVER_NAME_HOST_MAX + 3];
	struct writer w = writer_over(text, sizeof(text) - 1);

	write_text(&w, is_v6 ? "[" : "");
	for (size_t i = 0; i < host.len; i++)
		write_char(&w,
		           host.ptr[i] >= 'A' && host.ptr[i] <= 'Z' ? (char)(host.ptr[i] + 32)
		                                                    : host.ptr[i]);
	write_text(&w, is_v6 ? "]" : "");
	*w.at = '\0';
	for (size_t i = 0; i < *count; i++)
		if (strcmp(hosts[i], text) == 0)
			return ERR_OK;
	hosts[*count] = arena_copy(b->d->arena, writer_done(&w)).ptr;
	return hosts[(*count)++] == NULL ? ERR_NOMEM : ERR_OK;
}

static enum err add_name_host(const struct builder *b, const char *text, const char **hosts,
                              size_t *count)
{
	struct server_name name;

	if (text == NULL || server_name_parse(str_of(text), &name) != ERR_OK)
		return ERR_OK;
	return add_host(b, name.host, name.kind == HOST_IPV6, hosts, count);
}

static enum err build_hosts(const struct builder *b, const struct domain_options *o,
                            struct domain_settings *out)
{
	const struct url *client = &o->client_url;
	const char      **hosts = build_array(b, 3, sizeof(*hosts));
	enum err          e;

	if (hosts == NULL)
		return ERR_NOMEM;
	e = add_name_host(b, o->server_name, hosts, &out->host_count);
	if (e == ERR_OK)
		e = add_name_host(b, o->delegate, hosts, &out->host_count);
	if (e == ERR_OK && client->text != NULL)
		e = add_host(b, str_of(client->host),
		             !client->is_name && client->address.family == ADDRESS_V6, hosts,
		             &out->host_count);
	out->hosts = hosts;
	return e;
}

/* A host may be shared by domains only if it leads to the same homeserver. */
static enum err check_hosts(const struct builder *b, const struct config_section *s,
                            const struct domain_settings *mine,
                            const struct domain_settings *others)
{
	for (const struct domain_settings *o = others; o < mine; o++)
		for (size_t i = 0; i < mine->host_count; i++)
			for (size_t k = 0; k < o->host_count; k++)
				if (strcmp(mine->hosts[i], o->hosts[k]) == 0 &&
				    mine->homeserver != o->homeserver)
					return config_refuse(
						b->d, s, NULL, 0,
						"domain '%s': requests for %.200s belong to domain '%s' "
						"already, with another homeserver",
						s->name, mine->hosts[i], o->section);
	return ERR_OK;
}

static enum err build_domain(const struct builder *b, const struct config_section *s,
                             struct domain_settings *out)
{
	const struct domain_options *o = s->values;
	enum err                     e;

	*out = (struct domain_settings){
		.section = s->name,
		.server_name = o->server_name,
		.homeserver = find_homeserver(b, o->homeserver),
		.expose = o->homeserver == NULL ? 0 : o->expose,
		.certificate_count = o->certificate.count,
		.key_count = o->key.count,
	};
	e = build_paths(b, s, "certificate", &o->certificate, &out->certificates);
	if (e == ERR_OK)
		e = build_paths(b, s, "key", &o->key, &out->keys);
	if (e == ERR_OK)
		e = build_hosts(b, o, out);
	if (e == ERR_OK)
		e = build_server_document(b, o, out);
	if (e == ERR_OK)
		e = build_client_document(b, s, out);
	if (e == ERR_OK)
		e = build_support_document(b, o, out);
	return e;
}

static enum err build_domains(struct builder *b)
{
	size_t                       n = config_count(b->d, SECTION_DOMAIN), i = 0;
	struct domain_settings      *to = build_array(b, n, sizeof(*to));
	const struct config_section *s = NULL;
	enum err                     e = to == NULL ? ERR_NOMEM : ERR_OK;

	while (e == ERR_OK && (s = config_next(b->d, s, SECTION_DOMAIN)) != NULL) {
		e = build_domain(b, s, &to[i]);
		if (e == ERR_OK)
			e = check_hosts(b, s, &to[i], to);
		i++;
	}
	b->out->domains = to;
	b->out->domain_count = n;
	return e;
}

/* --- listening --- */

static bool is_v6_any(const struct address *a)
{
	static const uint8_t zero[16];

	return a->family == ADDRESS_V6 && memcmp(a->ip, zero, sizeof(zero)) == 0;
}

/* One socket, or one for each family when no address is given. */
static size_t build_listen(const struct config_section *s, struct listen_settings *to)
{
	const struct listen_options *o = s->values;
	uint16_t                     port = (uint16_t)o->port;
	struct address               v6 = { .family = ADDRESS_V6, .port = port };

	to[0] = (struct listen_settings){ .section = s->name };
	if (config_is_set(s, "address")) {
		to[0].endpoint.address = o->address;
		to[0].endpoint.address.port = port;
		to[0].endpoint.v6_only = is_v6_any(&o->address);
		return 1;
	}
	to[0].endpoint.address = address_v4(0, 0, 0, 0, port);
	to[1] = (struct listen_settings){ .section = s->name };
	to[1].endpoint.address = v6;
	to[1].endpoint.v6_only = true;
	return 2;
}

static enum err build_listens(struct builder *b)
{
	size_t                  n = config_count(b->d, SECTION_LISTEN);
	struct listen_settings *to = build_array(b, 2 * n, sizeof(*to));

	if (to == NULL)
		return ERR_NOMEM;
	for (const struct config_section *s = config_next(b->d, NULL, SECTION_LISTEN); s != NULL;
	     s = config_next(b->d, s, SECTION_LISTEN))
		b->out->listen_count += build_listen(s, to + b->out->listen_count);
	b->out->listens = to;
	return ERR_OK;
}

static enum err build_outbounds(struct builder *b)
{
	size_t                       n = config_count(b->d, SECTION_OUTBOUND), i = 0;
	struct outbound_settings    *to = build_array(b, n, sizeof(*to));
	const struct config_section *s = NULL;
	enum err                     e = to == NULL ? ERR_NOMEM : ERR_OK;

	while (e == ERR_OK && (s = config_next(b->d, s, SECTION_OUTBOUND)) != NULL) {
		const struct outbound_options *o = s->values;
		struct outbound_settings      *out = &to[i++];

		*out = (struct outbound_settings){
			.section = s->name,
			.mode = (enum outbound_mode)o->mode,
			.endpoint = o->listen,
			.homeserver = find_homeserver(b, o->homeserver),
			.connection_limit = o->connection_limit,
		};
		out->endpoint.v6_only = is_v6_any(&o->listen.address);
		if (o->secret_file != NULL)
			e = build_secret(b, s, o->secret_file, out);
	}
	b->out->outbounds = to;
	b->out->outbound_count = n;
	return e;
}

/* --- the whole --- */

/* Needed as soon as some server's certificate must be verified. */
static enum err check_ca_file(const struct builder *b)
{
	const struct settings *s = b->out;
	bool needed = s->outbound_count > 0 || config_is_set(b->d->main, "ca_file");

	for (size_t i = 0; i < s->homeserver_count; i++)
		needed |= s->homeservers[i].tls;
	return needed ? check_file(b, b->d->main, "ca_file", 0, s->ca_file) : ERR_OK;
}

static void build_single(const struct config_document *d, struct settings *out)
{
	const struct main_options   *m = config_main(d);
	const struct policy_options *p = d->policy->values;

	*out = (struct settings){
		.enabled = m->enabled,
		.state_dir = m->state_dir,
		.control = m->control,
		.ca_file = m->ca_file,
		.has_dns = m->dns.port != 0,
		.dns = m->dns,
		.log_level = (int)m->log_level,
		.allow_ranges = m->allow_range.at,
		.allow_range_count = m->allow_range.count,
		.notaries = p->notary.at,
		.notary_count = p->notary.count,
		.deny_servers = { p->deny_server.at, p->deny_server.count },
		.allow_servers = { p->allow_server.at, p->allow_server.count },
		.invite_servers = { p->invite_server.at, p->invite_server.count },
		.invites_from = (enum invites_from)p->invites_from,
	};
	memcpy(&out->limits, d->limits->values, sizeof(out->limits));
	out->limits.memory_class = d->memory_class;
	if (out->limits.outbound_per_server > out->limits.outbound_connections) /* the default */
		out->limits.outbound_per_server = out->limits.outbound_connections;
}

enum err config_build(const struct config_document *d, const char *credentials, bool sections,
                      struct settings *out)
{
	struct builder b = { .d = d, .credentials = credentials, .out = out };
	enum err       e;

	build_single(d, out);
	if (!sections)
		return ERR_OK;
	e = build_homeservers(&b);
	if (e == ERR_OK)
		e = build_domains(&b);
	if (e == ERR_OK)
		e = build_listens(&b);
	if (e == ERR_OK)
		e = build_outbounds(&b);
	if (e == ERR_OK)
		e = check_ca_file(&b);
	return e;
}
