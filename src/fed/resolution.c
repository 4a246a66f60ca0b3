#include "fed/resolution.h"

#define WELL_KNOWN_DEFAULT_MS  (24 * HOUR_MS)
#define WELL_KNOWN_MIN_MS      (5 * MINUTE_MS)
#define WELL_KNOWN_MAX_MS      (48 * HOUR_MS)
#define WELL_KNOWN_INVALID_MS  HOUR_MS
#define WELL_KNOWN_DOWN_MS     (2 * MINUTE_MS)
#define WELL_KNOWN_REMEMBER_MS (2 * HOUR_MS)
#define RECORD_MIN_MS          MINUTE_MS
#define RECORD_MAX_MS          (24 * HOUR_MS)
#define ABSENCE_MAX_MS         HOUR_MS
#define KEPT_MS                MINUTE_MS
#define TEMPORARY_MS           (10 * SECOND_MS)

void resolution_init(struct resolution *r)
{
	memset(r, 0, sizeof(*r));
	r->error = ERR_NO_RECORD;
}

static bool within(uint64_t at, uint64_t until, uint64_t now)
{
	return at <= now && now < until;
}

static bool in_last_fifth(uint64_t at, uint64_t until, uint64_t now)
{
	return within(at, until, now) && until - now <= (until - at) / 5;
}

bool resolution_is_fresh(const struct resolution *r, uint64_t now_unix_ms)
{
	return within(r->at_unix_ms, r->until_unix_ms, now_unix_ms);
}

bool resolution_wants_refresh(const struct resolution *r, uint64_t now_unix_ms)
{
	return in_last_fifth(r->at_unix_ms, r->until_unix_ms, now_unix_ms);
}

msec resolution_fresh_for(const struct resolution *r, uint64_t now_unix_ms)
{
	return resolution_is_fresh(r, now_unix_ms) ? r->until_unix_ms - now_unix_ms : 0;
}

bool resolution_is_allowed(const struct resolution *r, const struct address_policy *policy)
{
	for (size_t i = 0; i < r->count; i++)
		if (address_check_ip(policy, &r->addresses[i], NULL) != ERR_OK)
			return false;
	return true;
}

uint64_t resolution_keep_until(const struct resolution *r)
{
	const uint64_t ends[] = { r->well_known_until_unix_ms, r->well_known_known_unix_ms,
		                  r->until_unix_ms, r->usable_unix_ms };
	uint64_t       last = 0;

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		last = ends[i] > last ? ends[i] : last;
	return last;
}

bool resolution_well_known_is_fresh(const struct resolution *r, uint64_t now_unix_ms)
{
	return within(r->well_known_at_unix_ms, r->well_known_until_unix_ms, now_unix_ms);
}

bool resolution_well_known_wants_refresh(const struct resolution *r, uint64_t now_unix_ms)
{
	return in_last_fifth(r->well_known_at_unix_ms, r->well_known_until_unix_ms, now_unix_ms);
}

bool resolution_well_known_was_valid(const struct resolution *r, uint64_t now_unix_ms)
{
	return within(r->well_known_at_unix_ms, r->well_known_known_unix_ms, now_unix_ms);
}

/* ms +-10 %, so that what was learnt together does not end together. */
static msec jitter(msec ms, const struct resolution_random *rnd)
{
	return ms - ms / 10 + rnd->draw(rnd->arg, (uint32_t)(ms / 5) + 1);
}

static msec clamp(msec ms, msec min, msec max)
{
	return ms < min ? min : ms > max ? max : ms;
}

void resolution_well_known_valid(struct resolution *r, struct str delegated, msec lifetime_ms,
                                 uint64_t now_unix_ms, const struct resolution_random *rnd)
{
	msec life = lifetime_ms == MS_NEVER
		? jitter(WELL_KNOWN_DEFAULT_MS, rnd)
		: clamp(lifetime_ms, WELL_KNOWN_MIN_MS, WELL_KNOWN_MAX_MS);

	str_copy(delegated, r->delegated, sizeof(r->delegated));
	r->well_known_at_unix_ms = now_unix_ms;
	r->well_known_until_unix_ms = now_unix_ms + life;
	r->well_known_known_unix_ms = r->well_known_until_unix_ms + WELL_KNOWN_REMEMBER_MS;
}

bool resolution_well_known_failed(struct resolution *r, enum resolution_fault fault,
                                  uint64_t now_unix_ms, const struct resolution_random *rnd)
{
	bool     was_valid = resolution_well_known_was_valid(r, now_unix_ms);
	bool     keep = fault != RESOLUTION_INVALID && was_valid && r->delegated[0] != '\0';
	bool     is_short = was_valid || fault == RESOLUTION_UNKNOWN;
	uint64_t old = r->well_known_until_unix_ms;
	uint64_t until = now_unix_ms +
		jitter(is_short ? WELL_KNOWN_DOWN_MS : WELL_KNOWN_INVALID_MS, rnd);

	if (!keep)
		r->delegated[0] = '\0';
	if (!was_valid)
		r->well_known_known_unix_ms = 0;
	/* what was fetched early and in vain lives on to its own end */
	r->well_known_until_unix_ms = keep && old > until ? old : until;
	r->well_known_at_unix_ms = now_unix_ms;
	return keep;
}

msec resolution_record_ms(uint32_t ttl_s)
{
	return clamp((msec)ttl_s * SECOND_MS, RECORD_MIN_MS, RECORD_MAX_MS);
}

msec resolution_absence_ms(uint32_t ttl_s)
{
	return clamp((msec)ttl_s * SECOND_MS, RECORD_MIN_MS, ABSENCE_MAX_MS);
}

static bool is_usable(const struct resolution *r, struct str host_header, uint64_t now_unix_ms)
{
	return r->error == ERR_OK && r->count > 0 && str_is(host_header, r->host_header) &&
		within(r->at_unix_ms, r->usable_unix_ms, now_unix_ms);
}

enum err resolution_after_failure(struct resolution *r, enum err e, struct str host_header,
                                  msec life_ms, uint64_t now_unix_ms)
{
	uint64_t kept = now_unix_ms + KEPT_MS;

	if (err_retryable(e) && is_usable(r, host_header, now_unix_ms)) {
		r->stale = r->stale || !resolution_is_fresh(r, now_unix_ms);
		r->at_unix_ms = now_unix_ms;
		r->until_unix_ms = r->until_unix_ms > kept ? r->until_unix_ms : kept;
		return ERR_OK;
	}
	r->error = e;
	r->stale = false;
	r->count = 0;
	r->host_header[0] = r->tls_name[0] = '\0';
	r->tls_name_is_ip = false;
	r->at_unix_ms = now_unix_ms;
	r->until_unix_ms = now_unix_ms + (err_retryable(e) ? TEMPORARY_MS : life_ms);
	r->usable_unix_ms = 0;
	return e;
}

/* ---- bytes ---- */

#define VERSION 1

enum { FLAG_STALE = 1 << 0, FLAG_TLS_NAME_IS_IP = 1 << 1 };

static void write_text16(struct writer *w, const char *c)
{
	size_t n = strlen(c);

	write_be(w, n, 2);
	write_bytes(w, c, n);
}

static void write_address(struct writer *w, const struct address *a)
{
	write_be(w, (uint64_t)a->family, 1);
	write_bytes(w, a->ip, address_ip_bytes(a));
	write_be(w, a->port, 2);
}

void resolution_write(struct writer *w, const struct resolution *r)
{
	write_be(w, VERSION, 1);
	write_text16(w, r->delegated);
	write_be(w, r->well_known_at_unix_ms, 8);
	write_be(w, r->well_known_until_unix_ms, 8);
	write_be(w, r->well_known_known_unix_ms, 8);
	write_text16(w, err_slug(r->error)); /* numbers of errors may change, slugs do not */
	write_be(w, (r->stale ? FLAG_STALE : 0u) | (r->tls_name_is_ip ? FLAG_TLS_NAME_IS_IP : 0u),
	         1);
	write_be(w, r->count, 1);
	for (size_t i = 0; i < r->count; i++)
		write_address(w, &r->addresses[i]);
	write_text16(w, r->host_header);
	write_text16(w, r->tls_name);
	write_be(w, r->at_unix_ms, 8);
	write_be(w, r->until_unix_ms, 8);
	write_be(w, r->usable_unix_ms, 8);
}

static void read_text16(struct reader *r, char *dst, size_t size)
{
	if (!str_copy(read_bytes(r, read_u16(r)), dst, size))
		r->failed = true;
}

static void read_error(struct reader *r, enum err *out)
{
	struct str slug = read_bytes(r, read_u16(r));

	for (int e = 0; e < ERR_COUNT; e++) {
		if (str_is(slug, err_slug((enum err)e))) {
			*out = (enum err)e;
			return;
		}
	}
	r->failed = true;
}

static void read_address(struct reader *r, struct address *a)
{
	uint8_t    family = read_u8(r);
	struct str ip;

	a->family = family == ADDRESS_V4 ? ADDRESS_V4 : ADDRESS_V6;
	if (family != ADDRESS_V4 && family != ADDRESS_V6)
		r->failed = true;
	ip = read_bytes(r, address_ip_bytes(a));
	if (ip.len > 0)
		memcpy(a->ip, ip.ptr, ip.len);
	a->port = read_u16(r);
}

static void read_addresses(struct reader *r, struct resolution *out)
{
	out->count = read_u8(r);
	if (out->count > RESOLUTION_ADDRESSES_MAX)
		r->failed = true;
	for (size_t i = 0; i < out->count && !r->failed; i++)
		read_address(r, &out->addresses[i]);
}

/* What every writer of ours would hold to. */
static bool is_sound(const struct resolution *r)
{
	struct server_name name;
	bool               has_address = r->error == ERR_OK;

	if (r->delegated[0] != '\0' && server_name_parse(str_of(r->delegated), &name) != ERR_OK)
		return false;
	if (!has_address)
		return r->count == 0;
	return r->count > 0 && r->tls_name[0] != '\0' &&
		server_name_parse(str_of(r->host_header), &name) == ERR_OK;
}

enum err resolution_read(struct str bytes, struct resolution *out)
{
	struct reader     r = reader_over(bytes);
	struct resolution got;
	uint8_t           flags;

	resolution_init(&got);
	if (read_u8(&r) != VERSION)
		return ERR_SYNTAX;
	read_text16(&r, got.delegated, sizeof(got.delegated));
	got.well_known_at_unix_ms = read_u64(&r);
	got.well_known_until_unix_ms = read_u64(&r);
	got.well_known_known_unix_ms = read_u64(&r);
	read_error(&r, &got.error);
	flags = read_u8(&r);
	got.stale = (flags & FLAG_STALE) != 0;
	got.tls_name_is_ip = (flags & FLAG_TLS_NAME_IS_IP) != 0;
	read_addresses(&r, &got);
	read_text16(&r, got.host_header, sizeof(got.host_header));
	read_text16(&r, got.tls_name, sizeof(got.tls_name));
	got.at_unix_ms = read_u64(&r);
	got.until_unix_ms = read_u64(&r);
	got.usable_unix_ms = read_u64(&r);
	if (r.failed || r.at != r.end || !is_sound(&got))
		return ERR_SYNTAX;
	*out = got;
	return ERR_OK;
}
