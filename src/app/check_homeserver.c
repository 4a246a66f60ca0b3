/*
 * check_homeserver.c - does the homeserver answer?
 *
 * It is asked for /_matrix/federation/v1/version, the one request of server-server federation that
 * needs no signature.
 */
#include <stdio.h>
#include <string.h>

#include "app/check.h"
#include "codec/json/tree.h"
#include "net/fetch.h"
#include "role/upstream.h"

enum { ANSWER_MS = 10 * 1000, BODY_MAX = 64 * 1024 };

struct visit {
	struct check                     *c;
	const struct homeserver_settings *hs;
	struct upstream                  *upstream;
	struct tls_client                *tls;
	struct upstream_wait              wait;
	struct fetch                     *fetch;
	bool                              said;
};

static const char path[] = "/_matrix/federation/v1/version";

/* ---- what to say ---- */

static const char *advice(enum err e)
{
	static const char away[] = "is the machine on, and its address right?";
	static const char name[] = "its name is not known here: write its address into option url";
	static const char tls[] =
		"its certificate does not fit: use http:// in the home network, or set ca_file";
	static const struct {
		enum err    e;
		const char *text;
	} rows[] = {
		{ ERR_REFUSED,
		  "nothing listens there: is it running, and bound to this address and not "
		  "to 127.0.0.1 alone (bind_addresses)?" },
		{ ERR_TIMEOUT, away },
		{ ERR_UNREACHABLE, away },
		{ ERR_NO_RECORD, name },
		{ ERR_DNS, name },
		{ ERR_TLS, tls },
		{ ERR_CERTIFICATE, tls },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].e == e)
			return rows[i].text;
	return "see its log";
}

static void say_silent(struct visit *v, enum err e)
{
	v->said = true;
	if (v->hs->sleeps)
		check_say(
			v->c, CHECK_WARNING, "homeserver",
			"'%s' at %s does not answer (%s): it is off, and what comes for it is kept; or "
			"%s",
			v->hs->section, v->hs->url, err_slug(e), advice(e));
	else
		check_say(v->c, CHECK_PROBLEM, "homeserver", "'%s' at %s does not answer (%s): %s",
		          v->hs->section, v->hs->url, err_slug(e), advice(e));
}

static void say_answer(struct visit *v, unsigned status, struct str body)
{
	struct tree            *t = NULL;
	const struct tree_node *server;
	struct str              name = STR("?"), version = STR("?");

	v->said = true;
	if (status != 200 || tree_read(body, &t) != ERR_OK) {
		check_say(
			v->c, CHECK_WARNING, "homeserver",
			"'%s' at %s answers %u to %s: is it a Matrix homeserver, with federation among "
			"the resources of this listener?",
			v->hs->section, v->hs->url, status, path);
		return;
	}
	server = tree_get(tree_root(t), "server");
	(void)tree_text(tree_get(server, "name"), &name);
	(void)tree_text(tree_get(server, "version"), &version);
	check_say(v->c, CHECK_OK, "homeserver", "'%s' at %s answers: %.*s %.*s", v->hs->section,
	          v->hs->url, (int)str_head(name, 60).len, name.ptr, (int)str_head(version, 60).len,
	          version.ptr);
	tree_free(t);
}

/* ---- asking ---- */

static void on_fetched(void *arg, const struct fetch_result *r)
{
	struct visit *v = arg;

	if (r->err == ERR_OK)
		say_answer(v, (unsigned)r->head->status, r->body);
	else
		say_silent(v, r->err);
	loop_stop(v->c->loop);
}

static void on_target(void *arg, enum err e);

static void go(struct visit *v)
{
	struct fetch_options o = { .host = str_of(v->hs->host),
		                   .path = str_of(path),
		                   .body_max = BODY_MAX,
		                   .deadline_ms = ANSWER_MS };
	enum err             e;

	v->wait = (struct upstream_wait){ .ready = on_target, .arg = v };
	e = upstream_target(v->upstream, &o.target, &v->wait);
	if (e == ERR_BUSY)
		return;
	if (e == ERR_OK)
		e = fetch_start(&v->fetch, v->c->loop, upstream_pool(v->upstream), &o, on_fetched,
		                v);
	if (e == ERR_OK)
		return;
	say_silent(v, e);
	loop_stop(v->c->loop);
}

static void on_target(void *arg, enum err e)
{
	struct visit *v = arg;

	if (e == ERR_OK) {
		go(v);
		return;
	}
	say_silent(v, e);
	loop_stop(v->c->loop);
}

static void check_homeserver(struct check *c, const struct homeserver_settings *hs)
{
	struct visit     v = { .c = c, .hs = hs };
	struct tls_fault fault = { "" };
	enum err         e = ERR_OK;

	if (hs->tls)
		e = tls_client_load(c->loop, c->settings->ca_file, 0, &v.tls, &fault);
	if (e == ERR_OK)
		e = upstream_new(c->loop, hs, &c->settings->limits, v.tls, c->dns, &v.upstream);
	if (e == ERR_OK) {
		go(&v);
		if (!v.said)
			loop_run(c->loop);
		upstream_drop(v.upstream);
	} else {
		check_say(c, CHECK_PROBLEM, "homeserver", "'%s': %s", hs->section,
		          fault.text[0] != '\0' ? fault.text : err_slug(e));
	}
	if (v.tls != NULL)
		tls_client_drop(v.tls);
}

void check_homeservers(struct check *c)
{
	for (size_t i = 0; i < c->settings->homeserver_count; i++)
		check_homeserver(c, &c->settings->homeservers[i]);
}
