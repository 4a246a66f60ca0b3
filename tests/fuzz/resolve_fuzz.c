/*
 * Discovery driven by bytes: a name, then answers to whatever is asked, run after run with the memory
 * of the one before. However the world behaves, a run ends soon, connects only where it may, and
 * what it learnt can be stored.
 *
 * A run is: flags, length and bytes of the name, then per question one byte that says which kind of
 * answer, and its material.
 */
#include <stddef.h>
#include <stdint.h>

#include "fed/resolve.h"

enum { QUESTIONS_MAX = 3 * (1 + RESOLVE_REDIRECTS_MAX) + 2 + RESOLVE_TARGETS_MAX, RUNS_MAX = 4 };

struct world {
	struct reader     in;
	uint64_t          now;
	struct resolve    run;
	struct resolution known;
	bool              has_known;
};

static uint32_t draw(void *arg, uint32_t below)
{
	struct world *w = arg;

	check(below > 0);
	return read_u16(&w->in) % below;
}

static struct str take(struct world *w, size_t max)
{
	size_t n = read_u8(&w->in), left = (size_t)(w->in.end - w->in.at);

	n = n < max ? n : max;
	return read_bytes(&w->in, n < left ? n : left);
}

static const char *const bodies[] = {
	"{\"m.server\":\"192.0.2.1\"}",          "{\"m.server\":\"8.8.8.8:443\"}",
	"{\"m.server\":\"matrix.example.org\"}", "{\"m.server\":\"matrix.example.org:443\"}",
	"{\"m.server\":\"localhost\"}",          "{}",
};

static const enum err errors[] = { ERR_TIMEOUT,     ERR_DNS,       ERR_BLOCKED, ERR_LIMIT,
	                           ERR_CERTIFICATE, ERR_TOO_LARGE, ERR_OK,      ERR_CANCELLED };

static enum resolve_need answer_well_known(struct world *w, uint8_t kind)
{
	static const int      statuses[] = { 200, 200, 301, 302, 308, 404, 503, 429 };
	struct field          fields[] = { { FIELD_LOCATION, STR(""), STR("") },
		                           { FIELD_CACHE_CONTROL, STR(""), STR("") },
		                           { FIELD_EXPIRES, STR(""), STR("") } };
	struct head           head = { .status = statuses[kind % 8], .fields = fields };
	struct resolve_answer a = { .outcome = RESOLVE_FOUND, .head = &head };

	head.field_count = 3;
	if (head.status >= 300)
		fields[0].value = take(w, 255);
	else
		head.field_count = 0;
	if (kind & 8) {
		fields[1].value = take(w, 40);
		fields[2].value = take(w, 40);
		head.field_count = 3;
	}
	a.body = kind & 16 ? take(w, 255) : str_of(bodies[read_u8(&w->in) % 6]);
	return resolve_answer(&w->run, &a, w->now);
}

static struct address take_address(struct world *w)
{
	uint8_t        kind = read_u8(&w->in);
	struct address a = address_v4(8, 8, kind, read_u8(&w->in), 0);
	struct str     raw;

	if ((kind & 3) == 1) {
		raw = take(w, 16);
		a.family = ADDRESS_V6;
		if (raw.len > 0)
			memcpy(a.ip, raw.ptr, raw.len);
	} else if ((kind & 3) == 2) {
		a.ip[0] = read_u8(&w->in);
	}
	return a;
}

static enum resolve_need answer_srv(struct world *w, uint8_t kind)
{
	struct resolve_srv    srv[40];
	struct resolve_answer a = { .outcome = RESOLVE_FOUND, .srv = srv };
	size_t                count = read_u8(&w->in) % 40;

	for (a.count = 0; a.count < count; a.count++) {
		struct resolve_srv *s = &srv[a.count];

		s->priority = read_u8(&w->in) % 3;
		s->weight = read_u8(&w->in);
		s->port = kind & 8 ? read_u16(&w->in) : 8448;
		s->target = kind & 16 ? take(w, 255) : STRL("node.example.net");
	}
	a.ttl_s = read_u16(&w->in);
	return resolve_answer(&w->run, &a, w->now);
}

static enum resolve_need answer_addresses(struct world *w)
{
	struct address        ips[2][24], room[2 * RESOLVE_PER_NAME_MAX];
	struct resolve_answer halves[2], merged;

	for (int i = 0; i < 2; i++) {
		uint8_t shape = read_u8(&w->in);

		halves[i] = (struct resolve_answer){ .outcome = (enum resolve_outcome)(shape % 4),
			                             .error = ERR_DNS,
			                             .addresses = ips[i],
			                             .ttl_s = read_u16(&w->in) };
		if (halves[i].outcome != RESOLVE_FOUND)
			continue;
		for (size_t n = shape / 4 % 24; halves[i].count < n; halves[i].count++)
			ips[i][halves[i].count] = take_address(w);
	}
	resolve_merge(&halves[0], &halves[1], room, &merged);
	return resolve_answer(&w->run, &merged, w->now);
}

static enum resolve_need answer_nothing(struct world *w, uint8_t kind)
{
	struct resolve_answer a = { .outcome = (enum resolve_outcome)(1 + kind % 3) };

	a.error = errors[read_u8(&w->in) % 8];
	a.ttl_s = read_u16(&w->in);
	return resolve_answer(&w->run, &a, w->now);
}

static void check_question(const struct resolve *r, enum resolve_need need)
{
	const struct resolve_question *q = &r->question;

	check(q->name[0] != '\0' && strlen(q->name) <= SERVER_NAME_HOST_MAX);
	if (need != RESOLVE_WELL_KNOWN)
		return;
	check(q->path[0] == '/' && q->port != 0);
	check(address_check_port(q->port, NULL) == ERR_OK);
	if (q->kind == HOST_DNS)
		check(address_check_name(str_of(q->name), NULL) == ERR_OK);
}

static enum resolve_need answer(struct world *w, enum resolve_need need)
{
	uint8_t kind = read_u8(&w->in);

	check_question(&w->run, need);
	w->now += kind;
	if (kind == 0xff)
		return resolve_give_up(&w->run, errors[read_u8(&w->in) % 6], w->now);
	if ((kind & 0xe0) == 0xe0)
		return answer_nothing(w, kind);
	if (need == RESOLVE_WELL_KNOWN)
		return answer_well_known(w, kind);
	return need == RESOLVE_SRV ? answer_srv(w, kind) : answer_addresses(w);
}

static void check_result(const struct resolve *r, enum resolve_need need)
{
	const struct resolution *got = &r->result;
	struct server_name       name;

	check(r->step_count > 0 && r->step_count <= RESOLVE_STEPS_MAX);
	check(r->steps[r->step_count - 1].kind == RESOLVE_STEP_RESULT);
	check((need == RESOLVE_DONE) == (got->error == ERR_OK));
	check((need == RESOLVE_DONE) == (got->count > 0));
	if (need != RESOLVE_DONE)
		return;
	for (size_t i = 0; i < got->count; i++) {
		check(address_check_ip(NULL, &got->addresses[i], NULL) == ERR_OK);
		check(address_check_port(got->addresses[i].port, NULL) == ERR_OK);
	}
	check(server_name_parse(str_of(got->host_header), &name) == ERR_OK);
	check(got->tls_name_is_ip == (name.kind != HOST_DNS) || r->connect);
	check(name.kind != HOST_DNS || str_is(name.host, got->tls_name));
}

static void keep(struct world *w)
{
	char          room[RESOLUTION_BYTES_MAX];
	struct writer to = writer_over(room, sizeof(room));

	resolution_write(&to, &w->run.result);
	check(!to.failed);
	check(resolution_read(writer_done(&to), &w->known) == ERR_OK);
	w->has_known = true;
}

static void play(struct world *w)
{
	uint8_t                  flags = read_u8(&w->in);
	struct str               name = flags & 1 ? take(w, 255) : STRL("example.org");
	const struct resolution *known = w->has_known && !(flags & 2) ? &w->known : NULL;
	struct resolution_random rnd = { draw, w };
	unsigned                 questions = 0;
	enum resolve_need        need;

	need = flags & 4 ? resolve_begin_connect(&w->run, flags & 1 ? name : STRL("a.org:8450"),
	                                         known, NULL, rnd, w->now)
			 : resolve_begin(&w->run, name, known, NULL, rnd, w->now);
	while (need != RESOLVE_DONE && need != RESOLVE_FAILED) {
		check(++questions <= QUESTIONS_MAX);
		need = answer(w, need);
	}
	check_result(&w->run, need);
	keep(w);
	w->now += (uint64_t)read_u16(&w->in) * MINUTE_MS;
	(void)resolution_wants_refresh(&w->known, w->now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;

	memset(&w, 0, sizeof(w));
	w.in = reader_over(str_span(data, size));
	w.now = UINT64_C(1767225600000);
	for (unsigned i = 0; i < RUNS_MAX && w.in.at < w.in.end; i++)
		play(&w);
	(void)resolution_read(str_span(data, size), &w.known);
	return 0;
}
