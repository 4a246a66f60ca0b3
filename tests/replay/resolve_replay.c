/*
 * resolve_replay.c - plays one script against the discovery machine.
 *
 * usage: resolve_replay [--trace] FILE.scn
 *
 * A script plays the whole world: names, servers, the clock (which begins at 2026-01-01 00:00 UTC
 * and moves only on "wait") and chance. One statement a line, "#" begins a comment:
 *
 *	allow CIDR        also connect to this range. The documentation ranges 192.0.2.0/24,
 *	                  198.51.100.0/24, 203.0.113.0/24 and 2001:db8::/32 stand for public addresses
 *	policy strict     they do not
 *	own IP            an address of this box
 *	nat64 CIDR        a NAT64 prefix of this line
 *	draw N...         what chance says next; when used up, the middle of every range
 *	wait TIME         moves the clock: 500ms, 90s, 5m, 2h, 3d; "wait -1h" sets it back
 *	ask NAME          somebody wants NAME: from memory if fresh, else a run
 *	refresh NAME      a run although the memory may be fresh, as in the background
 *	connect HOST:PORT somebody wants CONNECT, see resolve_begin_connect()
 *	needs nothing [refresh]    the memory is fresh [and in its last fifth]
 *	needs well-known HOST[:PORT] [PATH] [after=TIME]
 *	needs srv NAME
 *	needs address NAME
 *	give STATUS [name=value...] [body]   a response: header fields, max-age=N for Cache-Control,
 *	                  size=N to fill the body up with blanks; values with blanks in "quotes"
 *	give error SLUG   the fetch failed: timed-out, refused, bad-certificate, blocked, too-large ...
 *	give PRIORITY WEIGHT PORT TARGET, ... [ttl=N]
 *	give IP... [ttl=N]                   both families in one list
 *	give A-part / AAAA-part              each: IP... or nodata, nxdomain, servfail, timeout
 *	give nxdomain|nodata [ttl=N]         give servfail|timeout|refused
 *	giveup SLUG       the driver's deadline has passed
 *	target ADDRESS... [host=H] [certificate=NAME or ip:IP] [fresh-for=TIME] [stale|current]
 *	fails SLUG [fresh-for=TIME]
 *	step KIND OUTCOME [TEXT]   the reason trail has such a step, with TEXT in its question
 *	forget            the memory is lost;  damage: its bytes are of another version
 *
 * Between two runs the memory is always written to bytes and read back. A run must be played to its
 * end; anything unexpected ends the script with a message and exit status 1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/http/head.h"
#include "fed/resolve.h"

enum { LINE_MAX_BYTES = 4096, LIST_MAX = 40, BODY_MAX_BYTES = 70000 };

#define START_UNIX_MS UINT64_C(1767225600000)

struct memory { /* of one name, as bytes */
	char   name[300];
	char   bytes[RESOLUTION_BYTES_MAX];
	size_t len;
};

struct world {
	const char           *file;
	unsigned              line;
	bool                  trace;
	uint64_t              now;
	uint32_t              draws[LIST_MAX];
	size_t                draw_count, draw_next;
	struct cidr           allow[LIST_MAX];
	struct cidr           nat64[LIST_MAX];
	struct address        own[LIST_MAX];
	struct address_policy policy;
	struct memory         memory[LIST_MAX];
	size_t                memory_count;

	struct resolve    run;
	bool              running; /* a question is open or an end not yet checked */
	bool              from_memory;
	enum resolve_need need;
	struct memory    *of;
	struct resolution seen; /* what the last ask ended with */
	unsigned          ends; /* checked ends, so that no script is empty */
};

static _Noreturn void die(const struct world *w, const char *what, const char *detail)
{
	fprintf(stderr, "%s:%u: %s%s%s\n", w->file, w->line, what, detail[0] ? ": " : "", detail);
	for (size_t i = 0; i < w->run.step_count; i++) {
		const struct resolve_step *s = &w->run.steps[i];
		struct str                 q = resolve_step_question(&w->run, i);
		struct str                 d = resolve_step_detail(&w->run, i);

		fprintf(stderr, "  %-10s %-12s %.*s [%.*s] %s\n", resolve_step_kind_slug(s->kind),
		        s->outcome, (int)q.len, q.ptr, (int)d.len, d.ptr, s->why);
	}
	exit(1);
}

static uint32_t draw(void *arg, uint32_t below)
{
	struct world *w = arg;

	if (w->draw_next == w->draw_count)
		return below / 2;
	if (w->draws[w->draw_next] >= below)
		die(w, "a scripted draw is outside its range", "");
	return w->draws[w->draw_next++];
}

/* ---- words of a line ---- */

/* The next word of *rest, or an empty one; quotes keep blanks, inside a word too. */
static char *word(char **rest)
{
	char *at = *rest, *begin, *to;
	bool  quoted = false;

	while (*at == ' ' || *at == '\t')
		at++;
	begin = to = at;
	for (; *at != '\0' && (quoted || (*at != ' ' && *at != '\t')); at++) {
		if (*at == '"')
			quoted = !quoted;
		else
			*to++ = *at;
	}
	*rest = *at == '\0' ? at : at + 1;
	*to = '\0';
	return begin;
}

static char *peek(char *rest)
{
	return rest + strspn(rest, " \t");
}

static const char *value_of(const char *text, const char *key)
{
	size_t n = strlen(key);

	return strncmp(text, key, n) == 0 ? text + n : NULL;
}

static msec parse_time(const struct world *w, const char *text)
{
	static const struct {
		const char *unit;
		msec        ms;
	} units[] = { { "ms", 1 },
		      { "s", SECOND_MS },
		      { "m", MINUTE_MS },
		      { "h", HOUR_MS },
		      { "d", DAY_MS } };
	char              *end;
	unsigned long long n = strtoull(text, &end, 10);

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (end != text && strcmp(end, units[i].unit) == 0)
			return n * units[i].ms;
	die(w, "not a time", text);
}

static enum err parse_slug(const struct world *w, const char *text)
{
	for (int e = 0; e < ERR_COUNT; e++)
		if (strcmp(err_slug((enum err)e), text) == 0)
			return (enum err)e;
	die(w, "no such error", text);
}

static struct cidr parse_cidr(const struct world *w, const char *text)
{
	struct cidr c;

	if (address_parse_cidr(str_of(text), &c) != ERR_OK)
		die(w, "not a range", text);
	return c;
}

/* ---- the memory ---- */

static struct memory *memory_of(struct world *w, const char *name)
{
	struct memory *m;

	for (size_t i = 0; i < w->memory_count; i++)
		if (strcmp(w->memory[i].name, name) == 0)
			return &w->memory[i];
	if (w->memory_count == LIST_MAX)
		die(w, "too many names", name);
	m = &w->memory[w->memory_count++];
	snprintf(m->name, sizeof(m->name), "%.290s", name);
	m->len = 0;
	return m;
}

static void memory_read(const struct memory *m, struct resolution *out)
{
	if (resolution_read(str_span(m->bytes, m->len), out) != ERR_OK)
		resolution_init(out);
}

static void memory_keep(struct world *w, struct memory *m, const struct resolution *r)
{
	struct writer     to = writer_over(m->bytes, sizeof(m->bytes));
	struct resolution back;

	resolution_write(&to, r);
	m->len = writer_done(&to).len;
	if (to.failed || resolution_read(str_span(m->bytes, m->len), &back) != ERR_OK)
		die(w, "the result does not survive being stored", m->name);
}

static void forget(struct world *w, bool damage)
{
	for (size_t i = 0; i < w->memory_count; i++) {
		if (damage)
			w->memory[i].bytes[0] = 99;
		else
			w->memory[i].len = 0;
	}
}

/* ---- runs ---- */

static void settle(struct world *w, enum resolve_need need)
{
	w->need = need;
	if (need != RESOLVE_DONE && need != RESOLVE_FAILED)
		return;
	w->seen = w->run.result;
	if ((need == RESOLVE_DONE) != (w->seen.error == ERR_OK))
		die(w, "the end does not fit the result", "");
	memory_keep(w, w->of, &w->seen);
}

static void must_be_idle(const struct world *w)
{
	if (w->running)
		die(w, "the run before is not finished", "");
}

typedef enum resolve_need begin_fn(struct resolve *r, struct str asked,
                                   const struct resolution *known, const struct address_policy *p,
                                   struct resolution_random rnd, uint64_t now);

static void start(struct world *w, begin_fn *begin, const char *key, const char *name)
{
	struct resolution known;

	w->of = memory_of(w, key);
	memory_read(w->of, &known);
	w->running = true;
	w->from_memory = false;
	memset(&w->run, 0xa5, sizeof(w->run)); /* the machine must not depend on what was there */
	settle(w,
	       begin(&w->run, str_of(name), &known, &w->policy,
	             (struct resolution_random){ draw, w }, w->now));
}

static void say_ask(struct world *w, char *rest)
{
	char             *name = word(&rest);
	struct resolution known;

	must_be_idle(w);
	memory_read(memory_of(w, name), &known);
	if (!resolution_is_fresh(&known, w->now)) {
		start(w, resolve_begin, name, name);
		return;
	}
	w->of = memory_of(w, name);
	w->seen = known;
	w->running = w->from_memory = true;
	w->need = known.error == ERR_OK ? RESOLVE_DONE : RESOLVE_FAILED;
}

static void say_refresh(struct world *w, char *rest)
{
	char *name = word(&rest);

	must_be_idle(w);
	start(w, resolve_begin, name, name);
}

static void say_connect(struct world *w, char *rest)
{
	char *name = word(&rest);
	char  key[300];

	must_be_idle(w);
	snprintf(key, sizeof(key), "connect %.280s", name);
	start(w, resolve_begin_connect, key, name);
}

/* ---- needs ---- */

static void describe_need(const struct world *w, char *out, size_t size)
{
	const struct resolve_question *q = &w->run.question;
	char                           port[16] = "";

	if (q->port != 443)
		snprintf(port, sizeof(port), ":%u", (unsigned)q->port);
	if (w->need == RESOLVE_DONE || w->need == RESOLVE_FAILED)
		snprintf(out, size, "nothing (%s)", err_slug(w->seen.error));
	else if (w->need == RESOLVE_SRV)
		snprintf(out, size, "srv %s", q->name);
	else if (w->need == RESOLVE_ADDRESS)
		snprintf(out, size, "address %s", q->name);
	else
		snprintf(out, size,
		         q->kind == HOST_IPV6 ? "well-known [%s]%s %s" : "well-known %s%s %s",
		         q->name, port, q->path);
}

static void needs_nothing(struct world *w, const char *refresh)
{
	bool wants = resolution_wants_refresh(&w->seen, w->now);

	if (!w->running || !w->from_memory)
		die(w, "this does need something", "");
	if (wants != (strcmp(refresh, "refresh") == 0))
		die(w, wants ? "wants to be refreshed" : "does not want to be refreshed", "");
}

static void say_needs(struct world *w, char *rest)
{
	char        got[1024], want[1024];
	char       *kind = word(&rest), *name = word(&rest), *next;
	const char *path = "/.well-known/matrix/server", *after = "0ms", *v;

	if (strcmp(kind, "nothing") == 0) {
		needs_nothing(w, name);
		return;
	}
	while (*(next = word(&rest)) != '\0') {
		v = value_of(next, "after=");
		if (v != NULL)
			after = v;
		else
			path = next;
	}
	describe_need(w, got, sizeof(got));
	if (strcmp(kind, "well-known") == 0)
		snprintf(want, sizeof(want), "well-known %s %s", name, path);
	else
		snprintf(want, sizeof(want), "%s %s", kind, name);
	if (!w->running || w->from_memory || strcmp(got, want) != 0)
		die(w, "another need", w->from_memory ? "nothing, it is in memory" : got);
	if (parse_time(w, after) != w->run.question.wait_ms)
		die(w, "another pause before it", "");
}

/* ---- give ---- */

static void answer(struct world *w, const struct resolve_answer *a)
{
	settle(w, resolve_answer(&w->run, a, w->now));
}

struct response {
	struct field fields[16];
	char         body[BODY_MAX_BYTES];
	struct head  head;
	size_t       size;
};

static void add_field(const struct world *w, struct response *r, const char *name, size_t len,
                      const char *value)
{
	struct field *f = &r->fields[r->head.field_count];

	if (r->head.field_count == 16)
		die(w, "too many header fields", "");
	f->name = str_span(name, len);
	f->id = head_field_id(f->name);
	f->value = str_of(value);
	r->head.field_count++;
}

static bool looks_like_field(const char *text)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-");

	return n > 0 && text[n] == '=';
}

static char cache_text[4][64];

static void read_field(const struct world *w, struct response *r, const char *text, unsigned *ages)
{
	const char *v = value_of(text, "max-age=");
	const char *eq = strchr(text, '=');

	if (v != NULL && *ages < 4) {
		snprintf(cache_text[*ages], sizeof(cache_text[0]), "max-age=%s", v);
		add_field(w, r, "cache-control", 13, cache_text[(*ages)++]);
		return;
	}
	v = value_of(text, "size=");
	if (v != NULL)
		r->size = (size_t)strtoul(v, NULL, 10);
	else
		add_field(w, r, text, (size_t)(eq - text), eq + 1);
}

static void give_response(struct world *w, char *rest)
{
	static struct response r;
	struct resolve_answer  a = { .outcome = RESOLVE_FOUND, .head = &r.head };
	unsigned               ages = 0;
	size_t                 n;

	memset(&r, 0, sizeof(r));
	r.head.status = atoi(word(&rest));
	r.head.fields = r.fields;
	while (looks_like_field(peek(rest)))
		read_field(w, &r, word(&rest), &ages);
	rest = peek(rest);
	n = strlen(rest);
	if (r.size > BODY_MAX_BYTES)
		die(w, "too large", "");
	memset(r.body, ' ', sizeof(r.body));
	memcpy(r.body, rest, n);
	a.body = str_span(r.body, r.size > n ? r.size : n);
	answer(w, &a);
}

static bool absence(const char *text, struct resolve_answer *a)
{
	static const struct {
		const char          *text;
		enum resolve_outcome outcome;
		enum err             error;
	} rows[] = {
		{ "nxdomain", RESOLVE_NO_NAME, ERR_OK }, { "nodata", RESOLVE_NO_DATA, ERR_OK },
		{ "servfail", RESOLVE_ERROR, ERR_DNS },  { "timeout", RESOLVE_ERROR, ERR_TIMEOUT },
		{ "refused", RESOLVE_ERROR, ERR_DNS },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (strcmp(text, rows[i].text) != 0)
			continue;
		a->outcome = rows[i].outcome;
		a->error = rows[i].error;
		a->why = rows[i].outcome == RESOLVE_ERROR ? rows[i].text : NULL;
		return true;
	}
	return false;
}

static void read_ttl(const char *text, struct resolve_answer *a)
{
	a->ttl_s = (uint32_t)strtoul(text + 4, NULL, 10);
}

static void read_record(const struct world *w, struct resolve_srv *s, char *first, char **rest)
{
	char  *port, *weight = word(rest);
	size_t n;

	port = word(rest);
	s->priority = (uint16_t)strtoul(first, NULL, 10);
	s->weight = (uint16_t)strtoul(weight, NULL, 10);
	s->port = (uint16_t)strtoul(port, NULL, 10);
	s->target = str_of(word(rest));
	n = s->target.len;
	if (n > 0 && s->target.ptr[n - 1] == ',')
		s->target.len = --n;
	if (n == 0)
		die(w, "not a service record", first);
	if (str_is(s->target, "."))
		s->target.len = 0;
}

static void give_srv(struct world *w, char *rest)
{
	struct resolve_srv    records[LIST_MAX];
	struct resolve_answer a = { .outcome = RESOLVE_FOUND, .srv = records };
	char                 *next;

	while (*(next = word(&rest)) != '\0') {
		if (value_of(next, "ttl=") != NULL)
			read_ttl(next, &a);
		else if (!absence(next, &a) && a.count < LIST_MAX)
			read_record(w, &records[a.count++], next, &rest);
	}
	answer(w, &a);
}

/* One family's part (or both families' list) up to "/" or the end. */
static bool read_addresses(const struct world *w, char **rest, struct address *four,
                           struct resolve_answer *a, struct address *six,
                           struct resolve_answer *aaaa)
{
	struct address ip;
	char          *next;

	while (*(next = word(rest)) != '\0' && strcmp(next, "/") != 0) {
		if (value_of(next, "ttl=") != NULL) {
			read_ttl(next, a);
			read_ttl(next, aaaa);
		} else if (absence(next, a)) {
			aaaa->outcome = a->outcome;
			aaaa->error = a->error;
			aaaa->why = a->why;
		} else if (address_parse_ip(str_of(next), &ip) != ERR_OK) {
			die(w, "not an address", next);
		} else if (ip.family == ADDRESS_V4) {
			four[a->count++] = ip;
		} else {
			six[aaaa->count++] = ip;
		}
	}
	return strcmp(next, "/") == 0;
}

static void give_addresses(struct world *w, char *rest)
{
	struct address        four[LIST_MAX], six[LIST_MAX], room[2 * RESOLVE_PER_NAME_MAX];
	struct resolve_answer a = { .addresses = four }, aaaa = { .addresses = six };
	struct resolve_answer spare, out;

	if (read_addresses(w, &rest, four, &a, six, &aaaa)) {
		aaaa = (struct resolve_answer){ .addresses = six };
		spare = a;
		read_addresses(w, &rest, four, &spare, six, &aaaa);
	}
	resolve_merge(&a, &aaaa, room, &out);
	answer(w, &out);
}

static void give_error(struct world *w, char *rest)
{
	struct resolve_answer a = { .outcome = RESOLVE_ERROR };

	a.error = parse_slug(w, word(&rest));
	answer(w, &a);
}

static void say_give(struct world *w, char *rest)
{
	char *again = peek(rest);

	if (!w->running || w->from_memory)
		die(w, "nothing was needed", "");
	if (strncmp(again, "error ", 6) == 0)
		give_error(w, again + 6);
	else if (w->need == RESOLVE_WELL_KNOWN && strspn(again, "0123456789") == 3)
		give_response(w, rest);
	else if (w->need == RESOLVE_SRV)
		give_srv(w, rest);
	else if (w->need == RESOLVE_ADDRESS)
		give_addresses(w, rest);
	else if (w->need == RESOLVE_WELL_KNOWN)
		die(w, "not a response", rest);
	else
		die(w, "nothing is needed any more", "");
}

static void say_giveup(struct world *w, char *rest)
{
	if (!w->running || w->from_memory)
		die(w, "nothing is running", "");
	settle(w, resolve_give_up(&w->run, parse_slug(w, word(&rest)), w->now));
}

/* ---- ends ---- */

static void check_text(const struct world *w, const char *what, const char *got, const char *want)
{
	char line[700];

	if (strcmp(got, want) == 0)
		return;
	snprintf(line, sizeof(line), "%s, not %s", got, want);
	die(w, what, line);
}

static bool check_fresh_for(const struct world *w, const char *text)
{
	const char *v = value_of(text, "fresh-for=");
	char        got[32], want[32];

	if (v == NULL)
		return false;
	snprintf(got, sizeof(got), "%llums",
	         (unsigned long long)resolution_fresh_for(&w->seen, w->now));
	snprintf(want, sizeof(want), "%llums", (unsigned long long)parse_time(w, v));
	check_text(w, "fresh for", got, want);
	return true;
}

static void end_run(struct world *w)
{
	w->running = false;
	w->ends++;
}

static void check_end(const struct world *w, enum resolve_need end)
{
	char got[1024];

	describe_need(w, got, sizeof(got));
	if (!w->running || w->need != end)
		die(w, "another need", got);
}

static void check_property(const struct world *w, const char *text)
{
	const struct resolution *r = &w->seen;
	const char              *v;
	char                     name[300];

	snprintf(name, sizeof(name), "%s%s", r->tls_name_is_ip ? "ip:" : "", r->tls_name);
	v = value_of(text, "host=");
	if (v != NULL)
		check_text(w, "host", r->host_header, v);
	else if ((v = value_of(text, "certificate=")) != NULL)
		check_text(w, "certificate", name, v);
	else if (strcmp(text, "stale") == 0 || strcmp(text, "current") == 0)
		check_text(w, "state", r->stale ? "stale" : "current", text);
	else if (!check_fresh_for(w, text))
		die(w, "not a property of a target", text);
}

static void say_target(struct world *w, char *rest)
{
	struct writer line;
	char          want[1100] = "", got[1100], *next;
	size_t        used = 0;

	check_end(w, RESOLVE_DONE);
	while (*(next = word(&rest)) != '\0') {
		struct address a;

		if (address_parse(str_of(next), &a) == ERR_OK)
			used += (size_t)snprintf(want + used, sizeof(want) - used, "%s ", next);
		else
			check_property(w, next);
	}
	line = writer_over(got, sizeof(got));
	for (size_t i = 0; i < w->seen.count; i++) {
		address_write(&line, &w->seen.addresses[i]);
		write_char(&line, ' ');
	}
	write_char(&line, '\0');
	check_text(w, "target", got, want);
	end_run(w);
}

static void say_fails(struct world *w, char *rest)
{
	char *slug = word(&rest), *next;

	check_end(w, RESOLVE_FAILED);
	check_text(w, "fails", err_slug(w->seen.error), slug);
	while (*(next = word(&rest)) != '\0')
		if (!check_fresh_for(w, next))
			die(w, "not a property of a failure", next);
	end_run(w);
}

static bool contains(struct str s, const char *part)
{
	size_t n = strlen(part);

	for (size_t i = 0; i + n <= s.len; i++)
		if (memcmp(s.ptr + i, part, n) == 0)
			return true;
	return false;
}

static void say_step(struct world *w, char *rest)
{
	char *kind = word(&rest), *outcome = word(&rest), *text = word(&rest);

	for (size_t i = 0; i < w->run.step_count; i++)
		if (strcmp(resolve_step_kind_slug(w->run.steps[i].kind), kind) == 0 &&
		    strcmp(w->run.steps[i].outcome, outcome) == 0 &&
		    contains(resolve_step_question(&w->run, i), text))
			return;
	die(w, "no such step", kind);
}

/* ---- the world ---- */

static void say_allow(struct world *w, char *rest)
{
	w->allow[w->policy.allow_count++] = parse_cidr(w, word(&rest));
}

static void say_policy(struct world *w, char *rest)
{
	check_text(w, "policy", word(&rest), "strict");
	w->policy.allow_count = 0;
}

static void say_own(struct world *w, char *rest)
{
	char *text = word(&rest);

	if (address_parse_ip(str_of(text), &w->own[w->policy.own_count++]) != ERR_OK)
		die(w, "not an address", text);
}

static void say_nat64(struct world *w, char *rest)
{
	w->nat64[w->policy.nat64_count++] = parse_cidr(w, word(&rest));
}

static void say_draw(struct world *w, char *rest)
{
	char *next;

	if (w->draw_next != w->draw_count)
		die(w, "draws are left over", "");
	w->draw_count = w->draw_next = 0;
	while (*(next = word(&rest)) != '\0' && w->draw_count < LIST_MAX)
		w->draws[w->draw_count++] = (uint32_t)strtoul(next, NULL, 10);
}

static void say_wait(struct world *w, char *rest)
{
	char *text = word(&rest);

	if (text[0] == '-')
		w->now -= parse_time(w, text + 1);
	else
		w->now += parse_time(w, text);
}

static void say_forget(struct world *w, char *rest)
{
	(void)rest;
	forget(w, false);
}

static void say_damage(struct world *w, char *rest)
{
	(void)rest;
	forget(w, true);
}

static const struct {
	const char *verb;
	void (*say)(struct world *w, char *rest);
} verbs[] = {
	{ "allow", say_allow },   { "ask", say_ask },         { "connect", say_connect },
	{ "damage", say_damage }, { "draw", say_draw },       { "fails", say_fails },
	{ "forget", say_forget }, { "give", say_give },       { "giveup", say_giveup },
	{ "nat64", say_nat64 },   { "needs", say_needs },     { "own", say_own },
	{ "policy", say_policy }, { "refresh", say_refresh }, { "step", say_step },
	{ "target", say_target }, { "wait", say_wait },
};

static void play_line(struct world *w, char *line)
{
	char *verb;

	line[strcspn(line, "\r\n")] = '\0';
	line = peek(line);
	if (line[0] == '#' || line[0] == '\0')
		return;
	if (w->trace)
		printf("%5u  %s\n", w->line, line);
	verb = word(&line);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verb, verbs[i].verb) == 0) {
			verbs[i].say(w, line);
			return;
		}
	}
	die(w, "no such statement", verb);
}

static void world_init(struct world *w)
{
	static const char *const documentation[] = { "192.0.2.0/24", "198.51.100.0/24",
		                                     "203.0.113.0/24", "2001:db8::/32" };

	w->now = START_UNIX_MS;
	w->policy.allow = w->allow;
	w->policy.own = w->own;
	w->policy.nat64 = w->nat64;
	for (size_t i = 0; i < 4; i++)
		w->allow[w->policy.allow_count++] = parse_cidr(w, documentation[i]);
}

int main(int argc, char **argv)
{
	static struct world w;
	static char         line[LINE_MAX_BYTES];
	FILE               *f;

	w.trace = argc == 3 && strcmp(argv[1], "--trace") == 0;
	if (argc != 2 && !w.trace) {
		fprintf(stderr, "usage: resolve_replay [--trace] FILE.scn\n");
		return 2;
	}
	w.file = argv[argc - 1];
	f = fopen(w.file, "r");
	if (f == NULL) {
		fprintf(stderr, "%s: cannot be opened\n", w.file);
		return 2;
	}
	world_init(&w);
	while (fgets(line, sizeof(line), f) != NULL) {
		w.line++;
		if (strchr(line, '\n') == NULL && strlen(line) + 1 == sizeof(line))
			die(&w, "the line is too long", "");
		play_line(&w, line);
	}
	fclose(f);
	if (w.running || w.ends == 0)
		die(&w, "the script ends before its run does", "");
	if (w.draw_next != w.draw_count)
		die(&w, "draws are left over", "");
	return 0;
}
