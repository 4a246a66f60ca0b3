#include "net/dns_answer.h"

enum {
	CHAIN_MAX = 8,
	LABEL_MAX = 63,
	WIRE_MAX = 255, /* a name in a message, without pointers */
	JUMPS_MAX = 64,
	TEXT_MAX = 253,
	POINTER = 0xc0,
	FLAG_ANSWER = 0x8000,
	FLAG_TRUNCATED = 0x0200,
	RCODE = 0x000f,
	RCODE_NXDOMAIN = 3,
	CLASS_IN = 1,
	TYPE_A = 1,
	TYPE_NS = 2,
	TYPE_CNAME = 5,
	TYPE_SOA = 6,
	TYPE_AAAA = 28,
	TYPE_SRV = 33,
};

/* The message being read. */
struct message {
	struct str    all;
	struct reader at;
	unsigned      answers, authorities;
	struct reader first;       /* the answer section */
	bool          has_aliases; /* of the name asked for */
};

struct record {
	char          owner[DNS_NAME_MAX]; /* "" for the root and for names we do not take */
	uint16_t      type;
	uint32_t      ttl_s;
	struct reader data; /* ends with the record */
};

uint16_t dns_answer_type(enum dns_type type)
{
	static const uint16_t numbers[] = {
		[DNS_A] = TYPE_A, [DNS_AAAA] = TYPE_AAAA, [DNS_SRV] = TYPE_SRV
	};

	return numbers[type];
}

static bool is_name_byte(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		c == '-' || c == '_';
}

bool dns_answer_name_ok(struct str name)
{
	size_t label = 0;

	if (name.len == 0 || name.len > TEXT_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] == '.') {
			if (label == 0)
				return false;
			label = 0;
		} else if (!is_name_byte(name.ptr[i]) || ++label > LABEL_MAX) {
			return false;
		}
	}
	return label > 0;
}

static void write_label(struct writer *w, struct str label)
{
	for (size_t i = 0; i < label.len; i++) {
		char c = label.ptr[i];

		if (!is_name_byte(c))
			w->failed = true;
		write_char(w, c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
	}
}

/*
 * Reads a name at r, which moves past it, as lower-case text without final dot. Every pointer must
 * lead before the place it was reached from, so there are no loops (RFC 1035, 4.1.4).
 * False: the name has bytes we do not take, or is too long. r->failed: the message is malformed.
 */
static bool read_name(const struct message *m, struct reader *r, char out[DNS_NAME_MAX])
{
	struct writer w = writer_over(out, TEXT_MAX);
	struct reader at = *r;
	size_t        limit = (size_t)(r->at - (const uint8_t *)m->all.ptr);
	unsigned      jumps = 0, total = 1;
	uint8_t       len;

	while ((len = read_u8(&at)) != 0 && !at.failed) {
		if ((len & POINTER) == POINTER) {
			size_t to = (size_t)(len & ~POINTER) << 8 | read_u8(&at);

			if (jumps++ == 0)
				r->at = at.at;
			if (at.failed || to >= limit || jumps > JUMPS_MAX) {
				at.failed = true;
				break;
			}
			limit = to;
			at = reader_over(str_from(m->all, to));
			continue;
		}
		total += len + 1u;
		if (len > LABEL_MAX || total > WIRE_MAX) {
			at.failed = true;
			break;
		}
		if (w.at != w.begin)
			write_char(&w, '.');
		write_label(&w, read_bytes(&at, len));
	}
	if (jumps == 0)
		r->at = at.at;
	r->failed = r->failed || at.failed;
	if (w.failed || at.failed) {
		out[0] = '\0';
		return false;
	}
	*w.at = '\0';
	return true;
}

static void read_record(const struct message *m, struct reader *r, struct record *out)
{
	uint16_t class;
	uint32_t ttl_s;

	(void)read_name(m, r, out->owner);
	out->type = read_u16(r);
	class = read_u16(r);
	ttl_s = read_u32(r);
	out->data = reader_over(read_bytes(r, read_u16(r)));
	out->ttl_s = ttl_s > INT32_MAX ? 0 : ttl_s; /* RFC 2181, section 8 */
	if (class != CLASS_IN)
		out->type = 0;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Where the next record goes; NULL: it is left out. Of too many services the best stay. */
static struct dns_srv *srv_place(struct dns_answer *out, uint16_t priority)
{
	struct dns_srv *worst = &out->records.srv[0];

	if (out->count < DNS_RECORDS_MAX)
		return &out->records.srv[out->count++];
	for (size_t i = 1; i < DNS_RECORDS_MAX; i++)
		if (out->records.srv[i].priority > worst->priority)
			worst = &out->records.srv[i];
	return priority < worst->priority ? worst : NULL;
}

static const char *take_srv(const struct message *m, struct reader *d, struct dns_answer *out)
{
	struct dns_srv one, *to;

	one.priority = read_u16(d);
	one.weight = read_u16(d);
	one.port = read_u16(d);
	if (!read_name(m, d, one.target))
		return "bad name";
	if (d->failed || d->at != d->end)
		return "malformed";
	to = srv_place(out, one.priority);
	if (to != NULL)
		*to = one;
	return NULL;
}

static const char *take_address(struct reader *d, enum dns_type type, struct dns_answer *out)
{
	struct address one = { .family = type == DNS_A ? ADDRESS_V4 : ADDRESS_V6 };
	struct str     ip = read_bytes(d, type == DNS_A ? 4 : 16);

	memcpy(one.ip, ip.ptr, ip.len);
	if (d->failed || d->at != d->end)
		return "malformed";
	if (out->count < DNS_RECORDS_MAX)
		out->records.address[out->count++] = one;
	return NULL;
}

/*
 * One look through the answer section: takes the records wanted at `name`, or replaces name by
 * what it is an alias of. Returns why it is no answer, or NULL.
 */
static const char *scan_answers(struct message *m, char name[DNS_NAME_MAX], enum dns_type type,
                                struct dns_answer *out, bool *is_alias)
{
	struct reader r = m->first;
	struct record rec;
	const char   *why = NULL;
	char          target[DNS_NAME_MAX];

	*is_alias = false;
	for (unsigned i = 0; i < m->answers && why == NULL; i++) {
		read_record(m, &r, &rec);
		if (r.failed)
			return "malformed";
		if (strcmp(rec.owner, name) != 0)
			continue;
		if (rec.type == dns_answer_type(type)) {
			why = type == DNS_SRV ? take_srv(m, &rec.data, out)
					      : take_address(&rec.data, type, out);
		} else if (rec.type == TYPE_CNAME) {
			if (*is_alias || !read_name(m, &rec.data, target) || target[0] == '\0')
				why = "bad name";
			*is_alias = true;
		} else {
			continue;
		}
		out->ttl_s = least(out->ttl_s, rec.ttl_s);
	}
	if (why == NULL && *is_alias) {
		strcpy(name, target);
		m->has_aliases = true;
	}
	return why;
}

static bool is_within(const char *name, const char *zone)
{
	size_t n = strlen(name), z = strlen(zone);

	if (z == 0)
		return true;
	return n >= z && strcmp(name + n - z, zone) == 0 && (n == z || name[n - z - 1] == '.');
}

/* How long absence may be believed (RFC 2308, section 5), and whether it is absence at all. */
static const char *read_absence(const struct message *m, const char *name, struct dns_answer *out)
{
	struct reader r = m->first;
	struct record rec;
	char          ignored[DNS_NAME_MAX];
	bool          has_soa = false, has_ns = false;

	for (unsigned i = 0; i < m->answers + m->authorities; i++) {
		read_record(m, &r, &rec);
		if (r.failed)
			return "malformed";
		if (i < m->answers)
			continue;
		has_ns = has_ns || rec.type == TYPE_NS;
		if (rec.type != TYPE_SOA || !is_within(name, rec.owner))
			continue;
		(void)read_name(m, &rec.data, ignored);
		(void)read_name(m, &rec.data, ignored);
		(void)read_bytes(&rec.data, 16); /* serial, refresh, retry, expire */
		out->ttl_s = least(out->ttl_s, least(rec.ttl_s, read_u32(&rec.data)));
		if (rec.data.failed)
			return "malformed";
		has_soa = true;
	}
	if (has_soa)
		return NULL;
	if (m->has_aliases && out->outcome == DNS_NO_DATA) {
		strcpy(out->alias, name);
		return NULL;
	}
	if (has_ns && out->outcome == DNS_NO_DATA)
		return "referral"; /* RFC 2308, 2.2: the server does not know */
	out->ttl_s = 0;
	return NULL;
}

/* Header and question; NULL or why this answers nothing. */
static const char *read_head(struct message *m, struct str all, const char *name,
                             enum dns_type type, unsigned *rcode)
{
	static const char *const codes[] = { "", "formerr", "servfail", "", "notimp", "refused" };
	char                     asked[DNS_NAME_MAX];
	unsigned                 flags, questions;

	m->all = all;
	m->has_aliases = false;
	m->at = reader_over(all);
	(void)read_u16(&m->at); /* id: c-ares has looked */
	flags = read_u16(&m->at);
	questions = read_u16(&m->at);
	m->answers = read_u16(&m->at);
	m->authorities = read_u16(&m->at);
	(void)read_u16(&m->at);
	if (m->at.failed || (flags & FLAG_ANSWER) == 0)
		return "malformed";
	*rcode = flags & RCODE;
	if (*rcode != 0 && *rcode != RCODE_NXDOMAIN)
		return *rcode < sizeof(codes) / sizeof(codes[0]) ? codes[*rcode] : "error";
	if ((flags & FLAG_TRUNCATED) != 0)
		return "truncated";
	if (questions != 1 || !read_name(m, &m->at, asked) ||
	    !str_ieq(str_of(asked), str_of(name)) || read_u16(&m->at) != dns_answer_type(type) ||
	    read_u16(&m->at) != CLASS_IN || m->at.failed)
		return "malformed";
	m->first = m->at;
	return NULL;
}

static void lower_case(const char *from, char to[DNS_NAME_MAX])
{
	struct writer w = writer_over(to, TEXT_MAX);

	for (; *from != '\0'; from++)
		write_char(&w, *from >= 'A' && *from <= 'Z' ? (char)(*from - 'A' + 'a') : *from);
	*w.at = '\0';
}

static const char *read_message(struct message *m, struct str all, const char *asked,
                                enum dns_type type, struct dns_answer *out)
{
	char        name[DNS_NAME_MAX];
	unsigned    rcode = 0;
	bool        is_alias = true;
	const char *why = read_head(m, all, asked, type, &rcode);

	lower_case(asked, name);
	for (int i = 0; why == NULL && is_alias && out->count == 0; i++) {
		if (i > CHAIN_MAX)
			why = "long chain of aliases";
		else
			why = scan_answers(m, name, type, out, &is_alias);
	}
	if (why != NULL)
		return why;
	if (out->count > 0) {
		out->outcome = DNS_FOUND;
		return rcode == 0 ? NULL : "malformed";
	}
	out->outcome = rcode == RCODE_NXDOMAIN ? DNS_NO_NAME : DNS_NO_DATA;
	return read_absence(m, name, out);
}

void dns_answer_read(struct str message, const char *name, enum dns_type type,
                     struct dns_answer *out)
{
	struct message m;
	const char    *why;

	out->outcome = DNS_FAILED;
	out->ttl_s = INT32_MAX;
	out->count = 0;
	out->why = NULL;
	out->alias[0] = '\0';
	why = read_message(&m, message, name, type, out);
	if (why == NULL)
		return;
	out->outcome = DNS_FAILED;
	out->ttl_s = 0;
	out->count = 0;
	out->why = why;
}
