#include "base/cursor.h"
#include "codec/http/cache_control.h"
#include "codec/matrix/well_known.h"
#include "fed/resolve_inside.h"

static const struct str nothing = STR("");

/* ---- asking ---- */

static enum resolve_need ask_location(struct resolve *r, const struct location *l, msec wait_ms)
{
	struct resolve_question *q = &r->question;

	str_copy(str_of(l->host), q->name, sizeof(q->name));
	str_copy(str_of(l->path), q->path, sizeof(q->path));
	q->kind = l->kind;
	q->port = l->port;
	q->wait_ms = wait_ms;
	r->state = RESOLVE_STATE_WELL_KNOWN;
	return RESOLVE_WELL_KNOWN;
}

static uint32_t location_hash(const struct location *l)
{
	char          room[SERVER_NAME_HOST_MAX + LOCATION_PATH_MAX + 8];
	struct writer w = writer_over(room, sizeof(room));

	write_text(&w, l->host);
	write_char(&w, ':');
	write_u64(&w, l->port);
	write_text(&w, l->path);
	return str_hash(writer_done(&w));
}

enum resolve_need resolve_ask_well_known(struct resolve *r, msec wait_ms)
{
	struct location l = { .kind = HOST_DNS,
		              .port = RESOLVE_HTTPS_PORT,
		              .path = WELL_KNOWN_SERVER_PATH };

	str_copy(str_of(r->host), l.host, sizeof(l.host));
	str_lower(l.host); /* this is a URL: the name keeps its case everywhere else */
	r->attempts++;
	r->redirects = 0;
	r->visited[0] = location_hash(&l);
	return ask_location(r, &l, wait_ms);
}

/* ---- failures ---- */

/* What a failed fetch says about the document. Local: nothing, and nothing may be concluded. */
enum verdict { VERDICT_INVALID, VERDICT_TEMPORARY, VERDICT_UNKNOWN, VERDICT_LOCAL };

static enum verdict verdict_of(enum err e)
{
	switch (e) {
	case ERR_NOMEM:
	case ERR_LIMIT:
	case ERR_CANCELLED:
	case ERR_BUSY:
	case ERR_IO:
	case ERR_CONFIG:
		return VERDICT_LOCAL;
	case ERR_DNS:
		return VERDICT_UNKNOWN;
	case ERR_TIMEOUT:
	case ERR_SLOW_PEER:
	case ERR_BAD_ANSWER:
	case ERR_EOF:
	case ERR_TRUNCATED:
	case ERR_REFUSED:
	case ERR_UNREACHABLE:
	case ERR_RESET:
	case ERR_TLS:
	case ERR_CERTIFICATE:
		return VERDICT_TEMPORARY;
	case ERR_OK:
	case ERR_SYNTAX:
	case ERR_RANGE:
	case ERR_TOO_LARGE:
	case ERR_UNSUPPORTED:
	case ERR_DENIED:
	case ERR_BLOCKED:
	case ERR_NO_RECORD:
	case ERR_SERVICE_ABSENT:
	case ERR_SIGNATURE:
	case ERR_NOT_FOUND:
	case ERR_EXISTS:
	case ERR_COUNT:
		return VERDICT_INVALID;
	}
	return VERDICT_INVALID;
}

static void question_url(const struct resolve *r, struct writer *w)
{
	const struct resolve_question *q = &r->question;

	write_text(w, q->kind == HOST_IPV6 ? "https://[" : "https://");
	write_text(w, q->name);
	write_text(w, q->kind == HOST_IPV6 ? "]" : "");
	if (q->port != RESOLVE_HTTPS_PORT) {
		write_char(w, ':');
		write_u64(w, q->port);
	}
	write_text(w, q->path);
}

static void note_url(struct resolve *r, enum resolve_step_kind kind, const char *outcome,
                     struct str detail, const char *why)
{
	char          room[RESOLVE_PATH_MAX + SERVER_NAME_HOST_MAX + 20];
	struct writer w = writer_over(room, sizeof(room));

	question_url(r, &w);
	resolve_note(r, kind, writer_done(&w), outcome, detail, why);
}

static enum resolve_need well_known_failed(struct resolve *r, enum verdict v, const char *outcome,
                                           const char *why, uint64_t now)
{
	static const enum resolution_fault faults[] = {
		[VERDICT_INVALID] = RESOLUTION_INVALID,
		[VERDICT_TEMPORARY] = RESOLUTION_TEMPORARY,
		[VERDICT_UNKNOWN] = RESOLUTION_UNKNOWN,
		[VERDICT_LOCAL] = RESOLUTION_UNKNOWN,
	};

	note_url(r, RESOLVE_STEP_WELL_KNOWN, outcome, nothing, why);
	if (v != VERDICT_INVALID && r->attempts < RESOLVE_ATTEMPTS_MAX &&
	    resolution_well_known_was_valid(&r->result, now))
		return resolve_ask_well_known(r, RESOLVE_RETRY_MS);
	if (resolution_well_known_failed(&r->result, faults[v], now, &r->random)) {
		resolve_note(r, RESOLVE_STEP_CACHE, str_of(r->host), "delegated",
		             str_of(r->result.delegated), "the earlier .well-known answer is kept");
		return resolve_follow_delegation(r, now);
	}
	resolve_note(r, RESOLVE_STEP_NAME, str_of(r->host), "name", nothing,
	             "step 4: no usable .well-known, so service records of the name are looked up");
	return resolve_follow_own_name(r);
}

static enum resolve_need well_known_error(struct resolve *r, const struct resolve_answer *a,
                                          uint64_t now)
{
	enum verdict v = verdict_of(a->error);
	const char  *why = a->why != NULL ? a->why : "the fetch failed";

	if (v != VERDICT_LOCAL)
		return well_known_failed(r, v, err_slug(a->error), why, now);
	note_url(r, RESOLVE_STEP_WELL_KNOWN, err_slug(a->error), nothing, why);
	return resolve_fail(r, a->error, "this box could not ask; nothing follows from that", now);
}

static enum resolve_need well_known_body(struct resolve *r, const struct resolve_answer *a,
                                         uint64_t now)
{
	char     name[SERVER_NAME_TEXT_MAX + 1];
	enum err e = well_known_read_server(a->body, name);

	if (e != ERR_OK)
		return well_known_failed(r, VERDICT_INVALID, err_slug(e),
		                         e == ERR_TOO_LARGE ? "the document is larger than 50 KiB"
		                                 : e == ERR_NOT_FOUND
		                                 ? "the document has no m.server"
		                                 : "not JSON with a server name in m.server",
		                         now);
	resolution_well_known_valid(&r->result, str_of(name), cache_control_of(a->head, now), now,
	                            &r->random);
	note_url(r, RESOLVE_STEP_WELL_KNOWN, "found", str_of(name), "the document delegates");
	return resolve_follow_delegation(r, now);
}

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* The one Location of the response; empty when there is none or several. */
static struct str location_of(const struct head *h)
{
	struct str found = nothing;
	unsigned   count = 0;

	for (size_t i = 0; i < h->field_count; i++) {
		if (h->fields[i].id != FIELD_LOCATION)
			continue;
		found = h->fields[i].value;
		count++;
	}
	return count == 1 ? found : nothing;
}

static enum err check_location(const struct resolve *r, const struct location *l, const char **why)
{
	struct address ip;

	if (address_check_port(l->port, why) != ERR_OK)
		return ERR_BLOCKED;
	if (l->kind == HOST_DNS)
		return address_check_name(str_of(l->host), why);
	if (address_parse_ip(str_of(l->host), &ip) != ERR_OK)
		return ERR_SYNTAX;
	return address_check_ip(r->policy, &ip, why);
}

static bool was_visited(const struct resolve *r, uint32_t hash)
{
	for (unsigned i = 0; i <= r->redirects; i++)
		if (r->visited[i] == hash)
			return true;
	return false;
}

static void current_location(const struct resolve *r, struct location *l)
{
	const struct resolve_question *q = &r->question;

	str_copy(str_of(q->name), l->host, sizeof(l->host));
	str_copy(str_of(q->path), l->path, sizeof(l->path));
	l->kind = q->kind;
	l->port = q->port;
}

static enum resolve_need well_known_redirect(struct resolve *r, const struct head *h, uint64_t now)
{
	struct location l;
	const char     *why = "the redirect's host is refused";
	struct str      value = location_of(h);
	enum err        e = ERR_OK;

	current_location(r, &l);
	if (value.len == 0) {
		e = ERR_SYNTAX;
		why = "a redirect without a (single) Location";
	} else if (r->redirects == RESOLVE_REDIRECTS_MAX) {
		e = ERR_RANGE;
		why = "more than 5 redirects";
	} else {
		e = location_follow(&l, value, &why);
	}
	if (e == ERR_OK)
		e = check_location(r, &l, &why);
	if (e == ERR_OK && was_visited(r, location_hash(&l))) {
		e = ERR_RANGE;
		why = "the redirects go in circles";
	}
	if (e != ERR_OK)
		return well_known_failed(r, VERDICT_INVALID, err_slug(e), why, now);
	note_url(r, RESOLVE_STEP_REDIRECT, "followed", value, "");
	r->visited[++r->redirects] = location_hash(&l);
	return ask_location(r, &l, 0);
}

static bool is_encoded(const struct head *h)
{
	static const struct str name = STR("content-encoding"), identity = STR("identity");

	for (size_t i = 0; i < h->field_count; i++)
		if (str_ieq(h->fields[i].name, name) && !str_ieq(h->fields[i].value, identity))
			return true;
	return false;
}

static const char *status_text(int status)
{
	if (status >= 500)
		return "the server has a problem (5xx)";
	if (status == 404)
		return "there is no such document (404)";
	if (status == 429)
		return "asked too often (429)";
	return "a status other than 200";
}

enum resolve_need resolve_on_well_known(struct resolve *r, const struct resolve_answer *a,
                                        uint64_t now)
{
	int status;

	if (a->outcome == RESOLVE_ERROR)
		return well_known_error(r, a, now);
	if (a->outcome != RESOLVE_FOUND || a->head == NULL)
		return well_known_failed(r, VERDICT_INVALID, "no-record", "the name has no address",
		                         now);
	status = a->head->status;
	if (status == 200 && is_encoded(a->head))
		return well_known_failed(r, VERDICT_INVALID, "bad-encoding",
		                         "compressed, which was not asked for", now);
	if (status == 200)
		return well_known_body(r, a, now);
	if (is_redirect(status))
		return well_known_redirect(r, a->head, now);
	return well_known_failed(
		r, status >= 500 || status == 429 ? VERDICT_TEMPORARY : VERDICT_INVALID,
		"bad-status", status_text(status), now);
}
