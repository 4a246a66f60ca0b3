#include "fed/resolve.h"

#include "base/cursor.h"
#include "codec/http/cache_control.h"
#include "codec/matrix/well_known.h"
#include "fed/srv_order.h"

#define DEFAULT_PORT    8448
#define WELL_KNOWN_PORT 443
#define LIFE_MAX_MS     (48 * HOUR_MS) /* nothing is believed longer */
#define REFUSED_MS      HOUR_MS        /* what is refused is looked at again after this */
#define SHORT_MS        MINUTE_MS      /* what was learnt in part only */
#define DNS_NAME_LEN    253

/* ---- the reason trail ---- */

/* The tail is kept free for what comes after .well-known, however often that was redirected. */
#define STEPS_FOR_WELL_KNOWN (RESOLVE_STEPS_MAX - 20)
#define STEP_TEXT_MAX        160

static uint16_t keep_text(struct resolve *r, struct str s, uint16_t *len)
{
	size_t at = r->text_len, room = RESOLVE_TEXT_MAX - at;
	size_t n = s.len < STEP_TEXT_MAX ? s.len : STEP_TEXT_MAX;

	n = n < room ? n : room;
	for (size_t i = 0; i < n; i++) {
		char c = s.ptr[i];

		r->text[at + i] = c > 0x20 && c < 0x7f ? c : c == ' ' ? ' ' : '?';
	}
	r->text_len += n;
	*len = (uint16_t)n;
	return (uint16_t)at;
}

static void note(struct resolve *r, enum resolve_step_kind kind, struct str question,
                 const char *outcome, struct str detail, const char *why)
{
	bool   early = kind == RESOLVE_STEP_WELL_KNOWN || kind == RESOLVE_STEP_REDIRECT;
	size_t max = early                    ? STEPS_FOR_WELL_KNOWN
		: kind == RESOLVE_STEP_RESULT ? RESOLVE_STEPS_MAX
					      : RESOLVE_STEPS_MAX - 1;
	struct resolve_step *s;

	if (r->step_count >= max)
		return;
	s = &r->steps[r->step_count++];
	s->kind = kind;
	s->outcome = outcome;
	s->why = why;
	s->question_at = keep_text(r, question, &s->question_len);
	s->detail_at = keep_text(r, detail, &s->detail_len);
}

static const struct str nothing = STR("");

struct str resolve_step_question(const struct resolve *r, size_t step)
{
	return str_span(r->text + r->steps[step].question_at, r->steps[step].question_len);
}

struct str resolve_step_detail(const struct resolve *r, size_t step)
{
	return str_span(r->text + r->steps[step].detail_at, r->steps[step].detail_len);
}

const char *resolve_step_kind_slug(enum resolve_step_kind k)
{
	static const char *const slugs[] = {
		[RESOLVE_STEP_NAME] = "name",
		[RESOLVE_STEP_CACHE] = "cache",
		[RESOLVE_STEP_WELL_KNOWN] = "well-known",
		[RESOLVE_STEP_REDIRECT] = "redirect",
		[RESOLVE_STEP_DELEGATION] = "delegation",
		[RESOLVE_STEP_SRV] = "srv",
		[RESOLVE_STEP_TARGET] = "target",
		[RESOLVE_STEP_ADDRESS] = "address",
		[RESOLVE_STEP_RESULT] = "result",
	};

	return slugs[k];
}

static struct str question_name(const struct resolve *r)
{
	return str_of(r->question.name);
}

/* ---- ends ---- */

static void take_life(struct resolve *r, msec ms)
{
	if (ms < r->life_ms)
		r->life_ms = ms;
}

static msec life_at_end(const struct resolve *r, uint64_t now)
{
	uint64_t until = r->result.well_known_until_unix_ms;
	msec     left = until > now ? until - now : 0;

	return r->asked_well_known && left < r->life_ms ? left : r->life_ms;
}

static struct str addresses_text(const struct resolution *r, struct writer *w)
{
	for (size_t i = 0; i < r->count && writer_room(w) > ADDRESS_TEXT_SIZE; i++) {
		if (i > 0)
			write_char(w, ' ');
		address_write(w, &r->addresses[i]);
	}
	return writer_done(w);
}

static void note_result(struct resolve *r, const char *outcome, const char *why)
{
	char          room[STEP_TEXT_MAX];
	struct writer w = writer_over(room, sizeof(room));

	note(r, RESOLVE_STEP_RESULT, str_of(r->asked), outcome, addresses_text(&r->result, &w),
	     why);
}

/*
 * No way forward. While .well-known is awaited nobody knows what Host would have been: then the
 * earlier answer is measured against itself.
 */
static enum resolve_need fail(struct resolve *r, enum err e, const char *why, uint64_t now)
{
	bool       early = r->state == RESOLVE_STATE_WELL_KNOWN;
	struct str header = str_of(early ? r->result.host_header : r->host_header);
	char       copy[SERVER_NAME_TEXT_MAX + 1];
	enum err   end;

	str_copy(header, copy, sizeof(copy));
	r->state = RESOLVE_STATE_ENDED;
	end = resolution_after_failure(&r->result, e, str_of(copy), life_at_end(r, now), now);
	if (end == ERR_OK) {
		note(r, RESOLVE_STEP_CACHE, str_of(r->asked), err_slug(e), nothing,
		     "a temporary failure: the earlier addresses are used");
		note_result(r, "kept", why);
		return RESOLVE_DONE;
	}
	note_result(r, err_slug(e), why);
	return RESOLVE_FAILED;
}

static enum resolve_need succeed(struct resolve *r, uint64_t now)
{
	struct resolution *to = &r->result;

	to->error = ERR_OK;
	to->stale = false;
	to->count = r->found_count;
	memcpy(to->addresses, r->found, sizeof(to->addresses));
	str_copy(str_of(r->host_header), to->host_header, sizeof(to->host_header));
	to->at_unix_ms = now;
	to->until_unix_ms = now + life_at_end(r, now);
	to->usable_unix_ms = to->until_unix_ms + DAY_MS;
	r->state = RESOLVE_STATE_ENDED;
	note_result(r, "resolved", "every address passed the address rules");
	return RESOLVE_DONE;
}

/* ---- asking ---- */

static enum resolve_need ask_records(struct resolve *r, enum resolve_state state,
                                     const char *prefix, const char *name, enum resolve_need need)
{
	struct writer w = writer_over(r->question.name, sizeof(r->question.name));

	write_text(&w, prefix);
	write_text(&w, name);
	write_char(&w, '\0');
	r->question.kind = HOST_DNS;
	r->question.port = 0;
	r->question.path[0] = '\0';
	r->question.wait_ms = 0;
	r->state = state;
	return need;
}

static enum resolve_need ask_host(struct resolve *r)
{
	return ask_records(r, RESOLVE_STATE_HOST, "", r->host, RESOLVE_ADDRESS);
}

static const char srv_fed[] = "_matrix-fed._tcp.", srv_old[] = "_matrix._tcp.";

/* A service of a host whose name leaves no room for the prefix cannot exist. */
static bool fits_dns(const char *prefix, const char *host)
{
	return strlen(prefix) + strlen(host) <= DNS_NAME_LEN;
}

static enum resolve_need ask_srv_old(struct resolve *r)
{
	if (fits_dns(srv_old, r->host))
		return ask_records(r, RESOLVE_STATE_SRV_OLD, srv_old, r->host, RESOLVE_SRV);
	note(r, RESOLVE_STEP_SRV, str_of(r->host), "no-record", nothing,
	     "the name is too long to have service records");
	return ask_host(r);
}

static enum resolve_need ask_srv_fed(struct resolve *r)
{
	if (fits_dns(srv_fed, r->host))
		return ask_records(r, RESOLVE_STATE_SRV_FED, srv_fed, r->host, RESOLVE_SRV);
	return ask_srv_old(r);
}

static enum resolve_need ask_target(struct resolve *r)
{
	return ask_records(r, RESOLVE_STATE_TARGET, "", r->targets[r->target_next].name,
	                   RESOLVE_ADDRESS);
}

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

static enum resolve_need ask_well_known(struct resolve *r, msec wait_ms)
{
	struct location l = { .kind = HOST_DNS,
		              .port = WELL_KNOWN_PORT,
		              .path = WELL_KNOWN_SERVER_PATH };

	str_copy(str_of(r->host), l.host, sizeof(l.host));
	r->attempts++;
	r->redirects = 0;
	r->visited[0] = location_hash(&l);
	return ask_location(r, &l, wait_ms);
}

/* ---- names ---- */

static enum resolve_need finish_ip(struct resolve *r, const struct server_name *n, uint64_t now)
{
	struct address a;
	struct writer  w = writer_over(r->result.tls_name, sizeof(r->result.tls_name));
	const char    *why = NULL;

	if (address_parse_ip(n->host, &a) != ERR_OK)
		return fail(r, ERR_SYNTAX, "the address cannot be read", now);
	a.port = n->port == 0 ? DEFAULT_PORT : n->port;
	if (address_check_ip(r->policy, &a, &why) != ERR_OK) {
		take_life(r, REFUSED_MS);
		return fail(r, ERR_BLOCKED, why, now);
	}
	address_write_ip(&w, &a);
	write_char(&w, '\0');
	r->result.tls_name_is_ip = true;
	r->found[0] = a;
	r->found_count = 1;
	return succeed(r, now);
}

/* From here on Host, SNI and certificate are those of n; text is how it was written. */
static void settle(struct resolve *r, struct str text, const struct server_name *n)
{
	str_copy(text, r->host_header, sizeof(r->host_header));
	str_copy(n->host, r->host, sizeof(r->host));
	r->port = n->port == 0 ? DEFAULT_PORT : n->port;
	r->state = RESOLVE_STATE_HOST;
}

static enum resolve_need check_name(struct resolve *r, enum resolve_step_kind kind, struct str text,
                                    const struct server_name *n, uint64_t now, bool *stop)
{
	const char *why = NULL;
	enum err    e = ERR_OK;

	if (n->kind == HOST_DNS)
		e = address_check_name(n->host, &why);
	if (e == ERR_OK && n->port != 0)
		e = address_check_port(n->port, &why);
	*stop = e != ERR_OK;
	if (e == ERR_OK)
		return RESOLVE_DONE;
	take_life(r, REFUSED_MS);
	note(r, kind, text, "refused", nothing, why);
	return fail(r, e, why, now);
}

/* Steps 3.1 to 3.5: the delegated name in place of the server name. */
static enum resolve_need follow_delegation(struct resolve *r, uint64_t now)
{
	struct str         text = str_of(r->result.delegated);
	struct server_name n;
	enum resolve_need  need;
	bool               stop;

	if (server_name_parse(text, &n) != ERR_OK)
		return fail(r, ERR_SYNTAX, "the delegated name cannot be read", now);
	settle(r, text, &n);
	need = check_name(r, RESOLVE_STEP_DELEGATION, text, &n, now, &stop);
	if (stop)
		return need;
	if (n.kind != HOST_DNS) {
		note(r, RESOLVE_STEP_DELEGATION, text, "address", nothing,
		     "step 3.1: the delegated name is an IP address");
		return finish_ip(r, &n, now);
	}
	if (n.port != 0) {
		note(r, RESOLVE_STEP_DELEGATION, text, "port", nothing,
		     "step 3.2: the delegated name has a port, so its addresses are looked up");
		return ask_host(r);
	}
	note(r, RESOLVE_STEP_DELEGATION, text, "name", nothing,
	     "step 3.3: the delegated name has no port, so service records are looked up");
	return ask_srv_fed(r);
}

/* Steps 4 to 6: the server name itself. */
static enum resolve_need follow_own_name(struct resolve *r)
{
	r->state = RESOLVE_STATE_HOST;
	return ask_srv_fed(r);
}

static enum resolve_need use_known_well_known(struct resolve *r, uint64_t now)
{
	bool delegated = r->result.delegated[0] != '\0';

	note(r, RESOLVE_STEP_CACHE, str_of(r->host), delegated ? "delegated" : "no-delegation",
	     str_of(r->result.delegated), "an earlier .well-known answer is still fresh");
	return delegated ? follow_delegation(r, now) : follow_own_name(r);
}

static enum resolve_need begin_dns_name(struct resolve *r, struct str text,
                                        const struct server_name *n, uint64_t now)
{
	if (n->port != 0) {
		note(r, RESOLVE_STEP_NAME, text, "port", nothing,
		     "step 2: the name has a port, so its addresses are looked up");
		return ask_host(r);
	}
	note(r, RESOLVE_STEP_NAME, text, "name", nothing,
	     "step 3: a name without a port, so .well-known is asked");
	r->asked_well_known = true;
	if (resolution_well_known_is_fresh(&r->result, now) &&
	    !resolution_well_known_wants_refresh(&r->result, now))
		return use_known_well_known(r, now);
	return ask_well_known(r, 0);
}

/* Common to both beginnings. False: ended, *need says how. */
static bool begin(struct resolve *r, struct str asked, const struct resolution *known,
                  const struct address_policy *policy, struct resolution_random rnd, uint64_t now,
                  struct server_name *n, enum resolve_need *need)
{
	enum err e = asked.len > SERVER_NAME_TEXT_MAX ? ERR_SYNTAX : server_name_parse(asked, n);
	bool     stop;

	memset(r, 0, sizeof(*r));
	resolution_init(&r->result);
	if (known != NULL)
		r->result = *known;
	r->policy = policy;
	r->random = rnd;
	r->life_ms = LIFE_MAX_MS;
	r->target_error = ERR_NO_RECORD;
	r->state = RESOLVE_STATE_HOST;
	str_copy(str_head(asked, SERVER_NAME_TEXT_MAX), r->asked, sizeof(r->asked));
	if (e != ERR_OK) {
		take_life(r, REFUSED_MS);
		note(r, RESOLVE_STEP_NAME, asked, err_slug(e), nothing, "this is no server name");
		*need = fail(r, e, "not a server name", now);
		return false;
	}
	settle(r, asked, n);
	*need = check_name(r, RESOLVE_STEP_NAME, asked, n, now, &stop);
	if (!stop && n->kind != HOST_DNS) {
		note(r, RESOLVE_STEP_NAME, asked, "address", nothing,
		     "step 1: the name is an IP address, nothing is looked up");
		*need = finish_ip(r, n, now);
		stop = true;
	}
	return !stop;
}

enum resolve_need resolve_begin(struct resolve *r, struct str asked, const struct resolution *known,
                                const struct address_policy *policy, struct resolution_random rnd,
                                uint64_t now_unix_ms)
{
	struct server_name n;
	enum resolve_need  need;

	if (!begin(r, asked, known, policy, rnd, now_unix_ms, &n, &need))
		return need;
	return begin_dns_name(r, asked, &n, now_unix_ms);
}

enum resolve_need resolve_begin_connect(struct resolve *r, struct str asked,
                                        const struct resolution     *known,
                                        const struct address_policy *policy,
                                        struct resolution_random rnd, uint64_t now_unix_ms)
{
	struct server_name n;
	enum resolve_need  need;

	if (!begin(r, asked, known, policy, rnd, now_unix_ms, &n, &need))
		return need;
	if (n.port == 0)
		return fail(r, ERR_SYNTAX, "CONNECT needs a port", now_unix_ms);
	r->connect = true;
	if (n.port == WELL_KNOWN_PORT)
		return ask_host(r);
	note(r, RESOLVE_STEP_NAME, asked, "port", nothing,
	     "service records with this port take precedence over the name's addresses");
	return ask_srv_fed(r);
}

/* ---- .well-known (step 3) ---- */

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
	if (q->port != WELL_KNOWN_PORT) {
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
	note(r, kind, writer_done(&w), outcome, detail, why);
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
		return ask_well_known(r, RESOLVE_RETRY_MS);
	if (resolution_well_known_failed(&r->result, faults[v], now, &r->random)) {
		note(r, RESOLVE_STEP_CACHE, str_of(r->host), "delegated",
		     str_of(r->result.delegated), "the earlier .well-known answer is kept");
		return follow_delegation(r, now);
	}
	note(r, RESOLVE_STEP_NAME, str_of(r->host), "name", nothing,
	     "step 4: no usable .well-known, so service records of the name are looked up");
	return follow_own_name(r);
}

static enum resolve_need well_known_error(struct resolve *r, const struct resolve_answer *a,
                                          uint64_t now)
{
	enum verdict v = verdict_of(a->error);
	const char  *why = a->why != NULL ? a->why : "the fetch failed";

	if (v != VERDICT_LOCAL)
		return well_known_failed(r, v, err_slug(a->error), why, now);
	note_url(r, RESOLVE_STEP_WELL_KNOWN, err_slug(a->error), nothing, why);
	return fail(r, a->error, "this box could not ask; nothing follows from that", now);
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
	return follow_delegation(r, now);
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

static enum resolve_need on_well_known(struct resolve *r, const struct resolve_answer *a,
                                       uint64_t now)
{
	int status;

	if (a->outcome == RESOLVE_ERROR)
		return well_known_error(r, a, now);
	if (a->outcome != RESOLVE_FOUND || a->head == NULL)
		return well_known_failed(r, VERDICT_INVALID, "no-record", "the name has no address",
		                         now);
	status = a->head->status;
	if (status == 200)
		return well_known_body(r, a, now);
	if (is_redirect(status))
		return well_known_redirect(r, a->head, now);
	return well_known_failed(
		r, status >= 500 || status == 429 ? VERDICT_TEMPORARY : VERDICT_INVALID,
		"bad-status", status_text(status), now);
}

/* ---- service records (steps 3.3, 3.4, 4, 5) ---- */

static bool is_absent(const struct resolve_answer *a)
{
	return a->outcome == RESOLVE_NO_DATA || a->outcome == RESOLVE_NO_NAME || a->count == 0;
}

static enum resolve_need records_error(struct resolve *r, enum resolve_step_kind kind,
                                       const struct resolve_answer *a, uint64_t now)
{
	enum err e = a->error == ERR_OK ? ERR_DNS : a->error;

	note(r, kind, question_name(r), err_slug(e), nothing,
	     a->why != NULL ? a->why : "the question got no answer");
	return fail(r, e, "a failed question is not an absent record: nothing else is tried", now);
}

/* Letters, digits, '-', '_' and single dots: what may go into a question. */
static bool is_target_name(struct str s)
{
	bool dot = true;

	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (c == '.' && dot)
			return false;
		dot = c == '.';
		if (!dot && c != '-' && c != '_' && !(c >= '0' && c <= '9') &&
		    !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z'))
			return false;
	}
	return !dot;
}

/* May this record be followed? ERR_SERVICE_ABSENT: the root, "not offered here". */
static enum err check_record(const struct resolve *r, const struct resolve_srv *s, const char **why)
{
	*why = "the root as target: the service is not offered";
	if (s->target.len == 0)
		return ERR_SERVICE_ABSENT;
	*why = "port 0";
	if (s->port == 0)
		return ERR_NO_RECORD;
	*why = "another port than asked for";
	if (r->connect && s->port != r->port)
		return ERR_NO_RECORD;
	*why = "not a host name";
	if (!is_target_name(s->target))
		return ERR_NO_RECORD;
	if (address_check_port(s->port, why) != ERR_OK)
		return ERR_BLOCKED;
	return address_check_name(s->target, why);
}

static void note_record(struct resolve *r, const struct resolve_srv *s, const char *outcome,
                        const char *why)
{
	char          room[SERVER_NAME_HOST_MAX + 24];
	struct writer w = writer_over(room, sizeof(room));

	write_u64(&w, s->priority);
	write_char(&w, ' ');
	write_u64(&w, s->weight);
	write_char(&w, ' ');
	write_u64(&w, s->port);
	write_char(&w, ' ');
	write_str(&w, s->target.len == 0 ? STRL(".") : str_head(s->target, SERVER_NAME_HOST_MAX));
	note(r, RESOLVE_STEP_TARGET, writer_done(&w), outcome, nothing, why);
}

/* Sets the records that will not be followed aside; ranks the others. */
static size_t sift(struct resolve *r, const struct resolve_answer *a, struct srv_rank *ranks)
{
	size_t count = a->count < SRV_ORDER_MAX ? a->count : SRV_ORDER_MAX, kept = 0, roots = 0;

	r->target_error = ERR_NO_RECORD;
	for (size_t i = 0; i < count; i++) {
		const struct resolve_srv *s = &a->srv[i];
		const char               *why = "";
		enum err                  e = check_record(r, s, &why);

		if (e == ERR_OK) {
			ranks[kept++] = (struct srv_rank){ s->priority, s->weight, (uint16_t)i };
			continue;
		}
		roots += e == ERR_SERVICE_ABSENT;
		if (e == ERR_BLOCKED)
			r->target_error = ERR_BLOCKED;
		note_record(r, s, e == ERR_BLOCKED ? "refused" : "skipped", why);
	}
	if (roots == count)
		r->target_error = ERR_SERVICE_ABSENT;
	return kept;
}

static void take_targets(struct resolve *r, const struct resolve_answer *a,
                         const struct srv_rank *ranks, size_t count)
{
	r->target_count = count < RESOLVE_TARGETS_MAX ? count : RESOLVE_TARGETS_MAX;
	r->target_next = 0;
	for (size_t i = 0; i < r->target_count; i++) {
		const struct resolve_srv *s = &a->srv[ranks[i].index];
		struct resolve_target    *t = &r->targets[i];

		t->priority = s->priority;
		t->weight = s->weight;
		t->port = s->port;
		str_copy(s->target, t->name, sizeof(t->name));
		note_record(r, s, "chosen", "");
	}
}

/* What the answer means, except that the next step after absence is the caller's. */
static enum resolve_need on_srv(struct resolve *r, const struct resolve_answer *a, uint64_t now,
                                bool *absent)
{
	struct srv_rank ranks[SRV_ORDER_MAX];
	size_t          count;

	*absent = false;
	if (a->outcome == RESOLVE_ERROR)
		return records_error(r, RESOLVE_STEP_SRV, a, now);
	if (is_absent(a)) {
		take_life(r, resolution_absence_ms(a->ttl_s));
		*absent = true;
		return RESOLVE_SRV;
	}
	take_life(r, resolution_record_ms(a->ttl_s));
	note(r, RESOLVE_STEP_SRV, question_name(r), "found", nothing,
	     r->connect ? "records with the port asked for decide"
	                : "the records decide; the name's own addresses are not tried");
	count = sift(r, a, ranks);
	*absent = count == 0 && r->connect;
	if (*absent)
		return RESOLVE_SRV;
	if (count == 0) {
		take_life(r, resolution_absence_ms(a->ttl_s));
		return fail(r, r->target_error,
		            r->target_error == ERR_SERVICE_ABSENT
		                    ? "the service is declared absent (target .)"
		                    : "no record can be followed",
		            now);
	}
	srv_order(ranks, count, &r->random);
	take_targets(r, a, ranks, count);
	return ask_target(r);
}

static enum resolve_need on_srv_fed(struct resolve *r, const struct resolve_answer *a, uint64_t now)
{
	bool              absent;
	enum resolve_need need = on_srv(r, a, now, &absent);

	if (!absent)
		return need;
	note(r, RESOLVE_STEP_SRV, question_name(r), "no-record", nothing,
	     "so the deprecated _matrix service is looked up");
	return ask_srv_old(r);
}

static enum resolve_need on_srv_old(struct resolve *r, const struct resolve_answer *a, uint64_t now)
{
	bool              absent;
	enum resolve_need need = on_srv(r, a, now, &absent);

	if (!absent)
		return need;
	note(r, RESOLVE_STEP_SRV, question_name(r), "no-record", nothing,
	     r->connect ? "so the name's own addresses are used"
	                : "so the name's own addresses are used, with port 8448");
	return ask_host(r);
}

/* ---- addresses ---- */

/* Appends the addresses of one name; one bad address refuses all of them. */
static enum err take_addresses(struct resolve *r, const struct resolve_answer *a, uint16_t port,
                               const char **why)
{
	size_t count = a->count < RESOLVE_PER_NAME_MAX ? a->count : RESOLVE_PER_NAME_MAX;

	for (size_t i = 0; i < a->count; i++)
		if (address_check_ip(r->policy, &a->addresses[i], why) != ERR_OK)
			return ERR_BLOCKED;
	for (size_t i = 0; i < count && r->found_count < RESOLUTION_ADDRESSES_MAX; i++) {
		struct address *to = &r->found[r->found_count++];

		*to = a->addresses[i];
		to->port = port;
	}
	return ERR_OK;
}

static void note_addresses(struct resolve *r, const struct resolve_answer *a, const char *outcome,
                           const char *why)
{
	char          room[STEP_TEXT_MAX];
	struct writer w = writer_over(room, sizeof(room));

	for (size_t i = 0; i < a->count && writer_room(&w) > ADDRESS_TEXT_SIZE; i++) {
		if (i > 0)
			write_char(&w, ' ');
		address_write_ip(&w, &a->addresses[i]);
	}
	note(r, RESOLVE_STEP_ADDRESS, question_name(r), outcome, writer_done(&w), why);
}

/* The addresses of question.name: taken, absent, refused or not learnt. */
static enum err learn_addresses(struct resolve *r, const struct resolve_answer *a, uint16_t port,
                                const char **why)
{
	enum err e;

	if (a->outcome == RESOLVE_ERROR) {
		e = a->error == ERR_OK ? ERR_DNS : a->error;
		*why = a->why != NULL ? a->why : "the question got no answer";
		note(r, RESOLVE_STEP_ADDRESS, question_name(r), err_slug(e), nothing, *why);
		return e;
	}
	if (is_absent(a)) {
		*why = a->outcome == RESOLVE_NO_NAME ? "the name does not exist"
						     : "the name has no address";
		take_life(r, resolution_absence_ms(a->ttl_s));
		note(r, RESOLVE_STEP_ADDRESS, question_name(r), "no-record", nothing, *why);
		return ERR_NO_RECORD;
	}
	take_life(r, resolution_record_ms(a->ttl_s));
	e = take_addresses(r, a, port, why);
	if (e == ERR_OK && a->partial)
		take_life(r, SHORT_MS);
	if (e != ERR_OK)
		take_life(r, REFUSED_MS);
	note_addresses(r, a, e == ERR_OK ? "found" : "refused", e == ERR_OK ? "" : *why);
	return e;
}

static void set_tls_name(struct resolve *r)
{
	str_copy(str_of(r->host), r->result.tls_name, sizeof(r->result.tls_name));
	r->result.tls_name_is_ip = false;
}

static enum resolve_need finish(struct resolve *r, enum err e, const char *why, uint64_t now)
{
	if (r->found_count == 0)
		return fail(r, e, why, now);
	set_tls_name(r);
	return succeed(r, now);
}

static enum resolve_need on_host(struct resolve *r, const struct resolve_answer *a, uint64_t now)
{
	const char *why = "";
	enum err    e = learn_addresses(r, a, r->port, &why);

	return finish(r, e, why, now);
}

/* Temporary beats refused beats absent: the first gives hope, the second a reason. */
static enum err kinder(enum err a, enum err b)
{
	if (err_retryable(a) || err_retryable(b))
		return err_retryable(a) ? a : b;
	return a == ERR_BLOCKED ? a : b;
}

static enum resolve_need on_target(struct resolve *r, const struct resolve_answer *a, uint64_t now)
{
	const char *why = "";
	enum err    e = learn_addresses(r, a, r->targets[r->target_next].port, &why);

	if (e != ERR_OK)
		r->target_error = kinder(r->target_error, e);
	if (e != ERR_OK && err_retryable(e))
		take_life(r, SHORT_MS);
	r->target_next++;
	if (r->target_next < r->target_count && r->found_count < RESOLUTION_ADDRESSES_MAX)
		return ask_target(r);
	return finish(r, r->target_error, "none of the targets has a usable address", now);
}

/* ---- answers ---- */

enum resolve_need resolve_answer(struct resolve *r, const struct resolve_answer *a,
                                 uint64_t now_unix_ms)
{
	switch (r->state) {
	case RESOLVE_STATE_WELL_KNOWN:
		return on_well_known(r, a, now_unix_ms);
	case RESOLVE_STATE_SRV_FED:
		return on_srv_fed(r, a, now_unix_ms);
	case RESOLVE_STATE_SRV_OLD:
		return on_srv_old(r, a, now_unix_ms);
	case RESOLVE_STATE_TARGET:
		return on_target(r, a, now_unix_ms);
	case RESOLVE_STATE_HOST:
		return on_host(r, a, now_unix_ms);
	case RESOLVE_STATE_ENDED:
		break;
	}
	return r->result.error == ERR_OK ? RESOLVE_DONE : RESOLVE_FAILED;
}

enum resolve_need resolve_give_up(struct resolve *r, enum err e, uint64_t now_unix_ms)
{
	if (r->state == RESOLVE_STATE_ENDED)
		return r->result.error == ERR_OK ? RESOLVE_DONE : RESOLVE_FAILED;
	return fail(r, e, "took too long", now_unix_ms);
}

static bool has_records(const struct resolve_answer *a)
{
	return a->outcome == RESOLVE_FOUND && a->count > 0;
}

static size_t alternate(const struct resolve_answer *first, const struct resolve_answer *second,
                        struct address *room)
{
	size_t n = 0;

	for (size_t i = 0; i < RESOLVE_PER_NAME_MAX; i++) {
		if (i < first->count)
			room[n++] = first->addresses[i];
		if (i < second->count)
			room[n++] = second->addresses[i];
	}
	return n;
}

static struct resolve_answer merge_absence(const struct resolve_answer *a,
                                           const struct resolve_answer *b)
{
	struct resolve_answer out = { .outcome = RESOLVE_NO_DATA };

	out.ttl_s = a->ttl_s < b->ttl_s ? a->ttl_s : b->ttl_s;
	if (a->outcome == RESOLVE_NO_NAME || b->outcome == RESOLVE_NO_NAME) {
		/* the name as a whole does not exist, whichever question told */
		out.outcome = RESOLVE_NO_NAME;
		out.ttl_s = a->outcome == RESOLVE_NO_NAME ? a->ttl_s : b->ttl_s;
	}
	return out;
}

void resolve_merge(const struct resolve_answer *a, const struct resolve_answer *aaaa,
                   struct address *room, struct resolve_answer *out)
{
	bool has_a = has_records(a), has_aaaa = has_records(aaaa);
	bool no_name = a->outcome == RESOLVE_NO_NAME || aaaa->outcome == RESOLVE_NO_NAME;

	if (has_a && has_aaaa) {
		*out = *aaaa;
		out->count = alternate(aaaa, a, room);
		out->addresses = room;
		out->ttl_s = a->ttl_s < aaaa->ttl_s ? a->ttl_s : aaaa->ttl_s;
	} else if (has_a || has_aaaa) {
		*out = has_a ? *a : *aaaa;
		out->partial = (has_a ? aaaa : a)->outcome == RESOLVE_ERROR;
	} else if (!no_name && (a->outcome == RESOLVE_ERROR || aaaa->outcome == RESOLVE_ERROR)) {
		*out = a->outcome == RESOLVE_ERROR ? *a : *aaaa;
	} else {
		*out = merge_absence(a, aaaa);
	}
}
