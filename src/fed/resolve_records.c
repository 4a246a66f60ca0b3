#include "base/cursor.h"
#include "fed/resolve_inside.h"
#include "fed/srv_order.h"

#define REFUSED_MS   HOUR_MS   /* what is refused is looked at again after this */
#define SHORT_MS     MINUTE_MS /* what was learnt in part only */
#define DNS_NAME_LEN 253

static const struct str nothing = STR("");

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

enum resolve_need resolve_ask_host(struct resolve *r)
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
	resolve_note(r, RESOLVE_STEP_SRV, str_of(r->host), "no-record", nothing,
	             "the name is too long to have service records");
	return resolve_ask_host(r);
}

enum resolve_need resolve_ask_srv(struct resolve *r)
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

/* ---- service records (steps 3.3, 3.4, 4, 5) ---- */

static bool is_absent(const struct resolve_answer *a)
{
	return a->outcome == RESOLVE_NO_DATA || a->outcome == RESOLVE_NO_NAME || a->count == 0;
}

static enum resolve_need records_error(struct resolve *r, enum resolve_step_kind kind,
                                       const struct resolve_answer *a, uint64_t now)
{
	enum err e = a->error == ERR_OK ? ERR_DNS : a->error;

	resolve_note(r, kind, resolve_question_name(r), err_slug(e), nothing,
	             a->why != NULL ? a->why : "the question got no answer");
	return resolve_fail(
		r, e, "a failed question is not an absent record: nothing else is tried", now);
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
	resolve_note(r, RESOLVE_STEP_TARGET, writer_done(&w), outcome, nothing, why);
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
		resolve_take_life(r, resolution_absence_ms(a->ttl_s));
		*absent = true;
		return RESOLVE_SRV;
	}
	resolve_take_life(r, resolution_record_ms(a->ttl_s));
	resolve_note(r, RESOLVE_STEP_SRV, resolve_question_name(r), "found", nothing,
	             r->connect ? "records with the port asked for decide"
	                        : "the records decide; the name's own addresses are not tried");
	count = sift(r, a, ranks);
	*absent = count == 0 && r->connect;
	if (*absent)
		return RESOLVE_SRV;
	if (count == 0) {
		resolve_take_life(r, resolution_absence_ms(a->ttl_s));
		return resolve_fail(r, r->target_error,
		                    r->target_error == ERR_SERVICE_ABSENT
		                            ? "the service is declared absent (target .)"
		                            : "no record can be followed",
		                    now);
	}
	srv_order(ranks, count, &r->random);
	take_targets(r, a, ranks, count);
	return ask_target(r);
}

enum resolve_need resolve_on_srv_fed(struct resolve *r, const struct resolve_answer *a,
                                     uint64_t now)
{
	bool              absent;
	enum resolve_need need = on_srv(r, a, now, &absent);

	if (!absent)
		return need;
	resolve_note(r, RESOLVE_STEP_SRV, resolve_question_name(r), "no-record", nothing,
	             "so the deprecated _matrix service is looked up");
	return ask_srv_old(r);
}

enum resolve_need resolve_on_srv_old(struct resolve *r, const struct resolve_answer *a,
                                     uint64_t now)
{
	bool              absent;
	enum resolve_need need = on_srv(r, a, now, &absent);

	if (!absent)
		return need;
	resolve_note(r, RESOLVE_STEP_SRV, resolve_question_name(r), "no-record", nothing,
	             r->connect ? "so the name's own addresses are used"
	                        : "so the name's own addresses are used, with port 8448");
	return resolve_ask_host(r);
}

/* ---- addresses ---- */

static bool is_found(const struct resolve *r, const struct address *a)
{
	for (size_t i = 0; i < r->found_count; i++)
		if (address_equal(a, &r->found[i]))
			return true;
	return false;
}

/* Appends the addresses of one name; one bad address refuses all of them. */
static enum err take_addresses(struct resolve *r, const struct resolve_answer *a, uint16_t port,
                               const char **why)
{
	size_t count = a->count < RESOLVE_PER_NAME_MAX ? a->count : RESOLVE_PER_NAME_MAX;

	for (size_t i = 0; i < a->count; i++)
		if (address_check_ip(r->policy, &a->addresses[i], why) != ERR_OK)
			return ERR_BLOCKED;
	for (size_t i = 0; i < count && r->found_count < RESOLUTION_ADDRESSES_MAX; i++) {
		struct address next = a->addresses[i];

		next.port = port;
		if (!is_found(r, &next))
			r->found[r->found_count++] = next;
	}
	return ERR_OK;
}

static void note_addresses(struct resolve *r, const struct resolve_answer *a, const char *outcome,
                           const char *why)
{
	char          room[RESOLVE_STEP_TEXT_MAX];
	struct writer w = writer_over(room, sizeof(room));

	for (size_t i = 0; i < a->count && writer_room(&w) > ADDRESS_TEXT_SIZE; i++) {
		if (i > 0)
			write_char(&w, ' ');
		address_write_ip(&w, &a->addresses[i]);
	}
	resolve_note(r, RESOLVE_STEP_ADDRESS, resolve_question_name(r), outcome, writer_done(&w),
	             why);
}

/* The addresses of question.name: taken, absent, refused or not learnt. */
static enum err learn_addresses(struct resolve *r, const struct resolve_answer *a, uint16_t port,
                                const char **why)
{
	enum err e;

	if (a->outcome == RESOLVE_ERROR) {
		e = a->error == ERR_OK ? ERR_DNS : a->error;
		*why = a->why != NULL ? a->why : "the question got no answer";
		resolve_note(r, RESOLVE_STEP_ADDRESS, resolve_question_name(r), err_slug(e),
		             nothing, *why);
		return e;
	}
	if (is_absent(a)) {
		*why = a->outcome == RESOLVE_NO_NAME ? "the name does not exist"
						     : "the name has no address";
		resolve_take_life(r, resolution_absence_ms(a->ttl_s));
		resolve_note(r, RESOLVE_STEP_ADDRESS, resolve_question_name(r), "no-record",
		             nothing, *why);
		return ERR_NO_RECORD;
	}
	resolve_take_life(r, resolution_record_ms(a->ttl_s));
	e = take_addresses(r, a, port, why);
	if (e == ERR_OK && a->partial)
		resolve_take_life(r, SHORT_MS);
	if (e != ERR_OK)
		resolve_take_life(r, REFUSED_MS);
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
		return resolve_fail(r, e, why, now);
	set_tls_name(r);
	return resolve_succeed(r, now);
}

enum resolve_need resolve_on_host(struct resolve *r, const struct resolve_answer *a, uint64_t now)
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

enum resolve_need resolve_on_target(struct resolve *r, const struct resolve_answer *a, uint64_t now)
{
	const char *why = "";
	enum err    e = learn_addresses(r, a, r->targets[r->target_next].port, &why);

	if (e != ERR_OK)
		r->target_error = kinder(r->target_error, e);
	if (e != ERR_OK && err_retryable(e))
		resolve_take_life(r, SHORT_MS);
	r->target_next++;
	if (r->target_next < r->target_count && r->found_count < RESOLUTION_ADDRESSES_MAX)
		return ask_target(r);
	return finish(r, r->target_error, "none of the targets has a usable address", now);
}
