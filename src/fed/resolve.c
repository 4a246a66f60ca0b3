#include "fed/resolve.h"

#include "base/cursor.h"
#include "fed/resolve_inside.h"

#define DEFAULT_PORT 8448
#define LIFE_MAX_MS  (48 * HOUR_MS) /* nothing is believed longer */
#define REFUSED_MS   HOUR_MS        /* what is refused is looked at again after this */

static const struct str nothing = STR("");

/* ---- ends ---- */

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
	char          room[RESOLVE_STEP_TEXT_MAX];
	struct writer w = writer_over(room, sizeof(room));

	resolve_note(r, RESOLVE_STEP_RESULT, str_of(r->asked), outcome,
	             addresses_text(&r->result, &w), why);
}

/*
 * No way forward. While .well-known is awaited nobody knows what Host would have been: then the
 * earlier answer is measured against itself.
 */
enum resolve_need resolve_fail(struct resolve *r, enum err e, const char *why, uint64_t now)
{
	bool       early = r->state == RESOLVE_STATE_WELL_KNOWN;
	struct str header = str_of(early ? r->result.host_header : r->host_header);
	char       copy[SERVER_NAME_TEXT_MAX + 1];
	enum err   end;

	str_copy(header, copy, sizeof(copy));
	r->state = RESOLVE_STATE_ENDED;
	end = resolution_after_failure(&r->result, e, str_of(copy), life_at_end(r, now), now);
	if (end == ERR_OK) {
		resolve_note(r, RESOLVE_STEP_CACHE, str_of(r->asked), err_slug(e), nothing,
		             "a temporary failure: the earlier addresses are used");
		note_result(r, "kept", why);
		return RESOLVE_DONE;
	}
	note_result(r, err_slug(e), why);
	return RESOLVE_FAILED;
}

enum resolve_need resolve_succeed(struct resolve *r, uint64_t now)
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

/* ---- names ---- */

static enum resolve_need finish_ip(struct resolve *r, const struct server_name *n, uint64_t now)
{
	struct address a;
	struct writer  w = writer_over(r->result.tls_name, sizeof(r->result.tls_name));
	const char    *why = NULL;

	if (address_parse_ip(n->host, &a) != ERR_OK)
		return resolve_fail(r, ERR_SYNTAX, "the address cannot be read", now);
	a.port = n->port == 0 ? DEFAULT_PORT : n->port;
	if (address_check_ip(r->policy, &a, &why) != ERR_OK) {
		resolve_take_life(r, REFUSED_MS);
		return resolve_fail(r, ERR_BLOCKED, why, now);
	}
	address_write_ip(&w, &a);
	write_char(&w, '\0');
	r->result.tls_name_is_ip = true;
	r->found[0] = a;
	r->found_count = 1;
	return resolve_succeed(r, now);
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
	resolve_take_life(r, REFUSED_MS);
	resolve_note(r, kind, text, "refused", nothing, why);
	return resolve_fail(r, e, why, now);
}

/* Steps 3.1 to 3.5: the delegated name in place of the server name. */
enum resolve_need resolve_follow_delegation(struct resolve *r, uint64_t now)
{
	struct str         text = str_of(r->result.delegated);
	struct server_name n;
	enum resolve_need  need;
	bool               stop;

	if (server_name_parse(text, &n) != ERR_OK)
		return resolve_fail(r, ERR_SYNTAX, "the delegated name cannot be read", now);
	settle(r, text, &n);
	need = check_name(r, RESOLVE_STEP_DELEGATION, text, &n, now, &stop);
	if (stop)
		return need;
	if (n.kind != HOST_DNS) {
		resolve_note(r, RESOLVE_STEP_DELEGATION, text, "address", nothing,
		             "step 3.1: the delegated name is an IP address");
		return finish_ip(r, &n, now);
	}
	if (n.port != 0) {
		resolve_note(
			r, RESOLVE_STEP_DELEGATION, text, "port", nothing,
			"step 3.2: the delegated name has a port, so its addresses are looked up");
		return resolve_ask_host(r);
	}
	resolve_note(r, RESOLVE_STEP_DELEGATION, text, "name", nothing,
	             "step 3.3: the delegated name has no port, so service records are looked up");
	return resolve_ask_srv(r);
}

/* Steps 4 to 6: the server name itself. */
enum resolve_need resolve_follow_own_name(struct resolve *r)
{
	r->state = RESOLVE_STATE_HOST;
	return resolve_ask_srv(r);
}

static enum resolve_need use_known_well_known(struct resolve *r, uint64_t now)
{
	bool delegated = r->result.delegated[0] != '\0';

	resolve_note(r, RESOLVE_STEP_CACHE, str_of(r->host),
	             delegated ? "delegated" : "no-delegation", str_of(r->result.delegated),
	             "an earlier .well-known answer is still fresh");
	return delegated ? resolve_follow_delegation(r, now) : resolve_follow_own_name(r);
}

static enum resolve_need begin_dns_name(struct resolve *r, struct str text,
                                        const struct server_name *n, uint64_t now)
{
	if (n->port != 0) {
		resolve_note(r, RESOLVE_STEP_NAME, text, "port", nothing,
		             "step 2: the name has a port, so its addresses are looked up");
		return resolve_ask_host(r);
	}
	resolve_note(r, RESOLVE_STEP_NAME, text, "name", nothing,
	             "step 3: a name without a port, so .well-known is asked");
	r->asked_well_known = true;
	if (resolution_well_known_is_fresh(&r->result, now) &&
	    !resolution_well_known_wants_refresh(&r->result, now))
		return use_known_well_known(r, now);
	return resolve_ask_well_known(r, 0);
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
	if (!resolution_is_allowed(&r->result, policy))
		r->result.usable_unix_ms =
			0; /* the rules have changed: never to be fallen back to */
	r->policy = policy;
	r->random = rnd;
	r->life_ms = LIFE_MAX_MS;
	r->target_error = ERR_NO_RECORD;
	r->state = RESOLVE_STATE_HOST;
	str_copy(str_head(asked, SERVER_NAME_TEXT_MAX), r->asked, sizeof(r->asked));
	if (e != ERR_OK) {
		resolve_take_life(r, REFUSED_MS);
		resolve_note(r, RESOLVE_STEP_NAME, asked, err_slug(e), nothing,
		             "this is no server name");
		*need = resolve_fail(r, e, "not a server name", now);
		return false;
	}
	settle(r, asked, n);
	*need = check_name(r, RESOLVE_STEP_NAME, asked, n, now, &stop);
	if (!stop && n->kind != HOST_DNS) {
		resolve_note(r, RESOLVE_STEP_NAME, asked, "address", nothing,
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
		return resolve_fail(r, ERR_SYNTAX, "CONNECT needs a port", now_unix_ms);
	r->connect = true;
	if (n.port == RESOLVE_HTTPS_PORT)
		return resolve_ask_host(r);
	resolve_note(r, RESOLVE_STEP_NAME, asked, "port", nothing,
	             "service records with this port take precedence over the name's addresses");
	return resolve_ask_srv(r);
}

/* ---- answers ---- */

enum resolve_need resolve_answer(struct resolve *r, const struct resolve_answer *a,
                                 uint64_t now_unix_ms)
{
	switch (r->state) {
	case RESOLVE_STATE_WELL_KNOWN:
		return resolve_on_well_known(r, a, now_unix_ms);
	case RESOLVE_STATE_SRV_FED:
		return resolve_on_srv_fed(r, a, now_unix_ms);
	case RESOLVE_STATE_SRV_OLD:
		return resolve_on_srv_old(r, a, now_unix_ms);
	case RESOLVE_STATE_TARGET:
		return resolve_on_target(r, a, now_unix_ms);
	case RESOLVE_STATE_HOST:
		return resolve_on_host(r, a, now_unix_ms);
	case RESOLVE_STATE_ENDED:
		break;
	}
	return r->result.error == ERR_OK ? RESOLVE_DONE : RESOLVE_FAILED;
}

enum resolve_need resolve_give_up(struct resolve *r, enum err e, uint64_t now_unix_ms)
{
	if (r->state == RESOLVE_STATE_ENDED)
		return r->result.error == ERR_OK ? RESOLVE_DONE : RESOLVE_FAILED;
	return resolve_fail(r, e, "took too long", now_unix_ms);
}
