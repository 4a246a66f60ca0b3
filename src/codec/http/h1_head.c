#include "codec/http/authority.h"
#include "codec/http/chars.h"
#include "codec/http/h1.h"

enum { HEAD_MAX = 65000, EMPTY_LINES_MAX = 1, LENGTH_DIGITS_MAX = 15 };

static enum err refuse(struct h1_head_parser *p, int status, const char *slug)
{
	p->fault.status = p->side == H1_RESPONSE ? 502 : status;
	p->fault.slug = slug;
	return ERR_SYNTAX;
}

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

void h1_head_init(struct h1_head_parser *p, enum h1_side side, const struct h1_limits *limits)
{
	memset(p, 0, sizeof(*p));
	p->side = side;
	p->limits = *limits;
	p->limits.head_max = smaller(limits->head_max, HEAD_MAX);
	p->limits.fields_max = smaller(limits->fields_max, H1_FIELDS_MAX);
}

/* ---- request line ---- */

static const struct str matrix_federation = STR("matrix-federation");

struct absolute {
	struct str scheme, authority, path;
};

/* Synapse names the Matrix server here; whether it is one is not a question of HTTP. */
static bool is_matrix_federation(struct str scheme)
{
	return str_ieq(scheme, matrix_federation);
}

/*
 * scheme "://" authority [path], RFC 9112 3.2.2, without user part. A query directly behind the
 * authority is refused: its origin-form would need a byte that the target has not.
 */
static bool split_absolute(struct str target, struct absolute *out)
{
	static const struct str mark = STR("://");
	size_t                  n = str_find(target, ':');
	struct str              rest = str_from(target, n), host;
	uint16_t                port;

	out->scheme = str_head(target, n);
	if (n == 0 || !chars_is(target.ptr[0], CHARS_ALPHA) ||
	    !chars_all(out->scheme, CHARS_SCHEME) || !str_starts(rest, mark))
		return false;
	rest = str_from(rest, mark.len);
	n = smaller(str_find(rest, '/'), str_find(rest, '?'));
	out->authority = str_head(rest, n);
	out->path = str_from(rest, n);
	if (n == 0 || (n < rest.len && rest.ptr[n] == '?'))
		return false;
	if (is_matrix_federation(out->scheme))
		return str_find(out->authority, '@') == n;
	return authority_split(out->authority, &host, &port);
}

/* RFC 9112 3.2: which of the four forms fits the method. */
static bool is_target(enum http_method method, struct str target)
{
	struct absolute a;
	struct str      host;
	uint16_t        port;

	if (target.len == 0 || !chars_all(target, CHARS_TARGET))
		return false;
	if (method == HTTP_CONNECT)
		return authority_split_connect(target, &host, &port);
	if (target.ptr[0] == '/')
		return true;
	if (target.ptr[0] == '*')
		return target.len == 1 && method == HTTP_OPTIONS;
	return split_absolute(target, &a);
}

static const struct str version_stem = STR("HTTP/1.");
enum { VERSION_LENGTH = 8 };

static bool is_version(struct str s)
{
	return s.len == VERSION_LENGTH && str_starts(s, version_stem) &&
		(s.ptr[7] == '0' || s.ptr[7] == '1');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "HTTP/2.0" and its like: well written, but not ours. */
static bool is_other_major(struct str s)
{
	return s.len == VERSION_LENGTH && str_starts(s, STRL("HTTP/")) && is_digit(s.ptr[5]) &&
		s.ptr[5] != '1' && s.ptr[6] == '.' && is_digit(s.ptr[7]);
}

static enum err on_request_line(struct h1_head_parser *p, struct str line)
{
	size_t     m = str_find(line, ' ');
	struct str rest = str_from(line, m + 1), method = str_head(line, m);
	size_t     t = str_find(rest, ' ');
	struct str version = str_from(rest, t + 1);

	if (!chars_is_token(method))
		return refuse(p, 400, "bad-method");
	if (!is_target(head_method(method), str_head(rest, t)))
		return refuse(p, 400, "bad-target");
	if (is_other_major(version))
		return refuse(p, 505, "other-version");
	if (!is_version(version))
		return refuse(p, 400, "bad-version");
	p->method_len = (uint16_t)m;
	p->target_len = (uint16_t)t;
	return ERR_OK;
}

/* ---- status line ---- */

enum { STATUS_AT = VERSION_LENGTH + 1, REASON_AT = STATUS_AT + 4 };

static int read_status(const char *c)
{
	return is_digit(c[0]) && is_digit(c[1]) && is_digit(c[2])
		? (c[0] - '0') * 100 + (c[1] - '0') * 10 + (c[2] - '0')
		: 0;
}

static enum err on_status_line(struct h1_head_parser *p, struct str line)
{
	int status;

	if (!is_version(str_head(line, VERSION_LENGTH)))
		return refuse(p, 502, "bad-version");
	if (line.len < REASON_AT || line.ptr[VERSION_LENGTH] != ' ' ||
	    line.ptr[REASON_AT - 1] != ' ')
		return refuse(p, 502, "bad-status-line");
	status = read_status(line.ptr + STATUS_AT);
	if (status < 100 || status > 599)
		return refuse(p, 502, "bad-status");
	return ERR_OK;
}

/* ---- field lines ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Why the name that ends at n is none; the line is not empty. */
static const char *name_fault(const struct h1_head_parser *p, struct str line, size_t n)
{
	if (is_blank(line.ptr[0]))
		return p->slot_count == 0 ? "leading-blank" : "obs-fold";
	if (str_find(line, ':') == line.len)
		return "no-colon";
	if (n == 0 && line.ptr[0] == ':')
		return "empty-name";
	return is_blank(line.ptr[n]) ? "blank-before-colon" : "bad-name";
}

/* Controls were refused while the line was looked for, so any value is a good one. */
static enum err on_field_line(struct h1_head_parser *p, struct str line)
{
	struct str value;
	size_t     n = 0;

	if (p->slot_count >= p->limits.fields_max)
		return refuse(p, 431, "too-many-fields");
	while (n < line.len && chars_is(line.ptr[n], CHARS_TOKEN))
		n++;
	if (n == 0 || n == line.len || line.ptr[n] != ':')
		return refuse(p, 400, name_fault(p, line, n));
	value = str_trim(str_from(line, n + 1));
	p->slots[p->slot_count++] = (struct h1_slot){
		.name_at = (uint16_t)p->line_at,
		.name_len = (uint16_t)n,
		.value_at = (uint16_t)(p->line_at + (size_t)(value.ptr - line.ptr)),
		.value_len = (uint16_t)value.len,
	};
	return ERR_OK;
}

/* ---- lines ---- */

/* No byte of the word is a control or DEL. HTAB counts as a control here: see find_control(). */
static bool is_plain_word(const char *at)
{
	const size_t ones = SIZE_MAX / 255, high = ones * 0x80;
	size_t       w, below, del;

	memcpy(&w, at, sizeof(w));
	below = ~((w | high) - ones * 0x20);
	del = (w & ~high) + ones;
	return ((below | del) & ~w & high) == 0;
}

/* The first byte in [at, end) that no line may contain, which the ends of lines are among. */
static size_t find_control(const char *bytes, size_t at, size_t end)
{
	while (at < end) {
		size_t stop = smaller(end, at + sizeof(size_t));

		if (stop - at == sizeof(size_t) && is_plain_word(bytes + at)) {
			at = stop;
			continue;
		}
		for (; at < stop; at++)
			if (!chars_is(bytes[at], CHARS_VALUE))
				return at;
	}
	return end;
}

/* One past the last byte at which the line that began at line_at may still be in order. */
static size_t line_stop(const struct h1_head_parser *p)
{
	size_t max = p->have_first ? p->limits.field_max : p->limits.line_max;

	max = smaller(max, HEAD_MAX);
	return smaller(p->line_at + max + 1, p->limits.head_max);
}

static enum err refuse_size(struct h1_head_parser *p)
{
	if (!p->have_first)
		return refuse(p, 414, "line-too-long");
	return refuse(p, 431, p->at >= p->limits.head_max ? "head-too-large" : "field-too-long");
}

static enum err on_empty_line(struct h1_head_parser *p)
{
	if (p->have_first)
		p->length = p->at;
	else if (p->side == H1_RESPONSE || ++p->empty_lines > EMPTY_LINES_MAX)
		return refuse(p, 400, "empty-line");
	return ERR_OK;
}

static enum err on_first_line(struct h1_head_parser *p, struct str line)
{
	p->have_first = true;
	p->first_at = (uint16_t)p->line_at;
	p->first_len = (uint16_t)line.len;
	return p->side == H1_REQUEST ? on_request_line(p, line) : on_status_line(p, line);
}

/* A control byte stands at p->at. ERR_OK: it was the end of a line, which is now read. */
static enum err on_control(struct h1_head_parser *p, struct str bytes)
{
	struct str line = str_head(str_from(bytes, p->line_at), p->at - p->line_at);
	enum err   e;

	if (bytes.ptr[p->at] != '\r')
		return refuse(p, 400, bytes.ptr[p->at] == '\n' ? "bare-lf" : "control-byte");
	if (p->at + 1 == bytes.len)
		return ERR_BUSY;
	if (bytes.ptr[p->at + 1] != '\n')
		return refuse(p, 400, "bare-cr");
	p->at += 2;
	if (p->at > p->limits.head_max)
		return refuse_size(p);
	if (line.len == 0)
		e = on_empty_line(p);
	else
		e = p->have_first ? on_field_line(p, line) : on_first_line(p, line);
	p->line_at = p->at;
	return e;
}

enum err h1_head_feed(struct h1_head_parser *p, struct str bytes)
{
	enum err e = p->fault.slug == NULL ? ERR_OK : ERR_SYNTAX;

	while (e == ERR_OK && p->length == 0) {
		size_t stop = line_stop(p);
		size_t end = smaller(stop, bytes.len);

		p->at = find_control(bytes.ptr, p->at, end);
		if (p->at >= stop)
			return refuse_size(p);
		if (p->at >= end)
			return ERR_BUSY;
		e = on_control(p, bytes);
	}
	return e;
}

/* ---- the head as a whole ---- */

struct view {
	struct h1_head_parser *p;
	struct head           *h;
	const struct field    *first[FIELD_COUNT]; /* of each known name */
	unsigned               count[FIELD_COUNT];
	bool                   no_body; /* responses that end with their head, RFC 9112 6.3 */
};

static struct str part(struct str bytes, size_t at, size_t len)
{
	return (struct str){ bytes.ptr + at, len };
}

/* RFC 9110 5.1 leaves it open: a name with an underscore is dropped, since others may read "_" as "-". */
static void view_fields(struct view *v, struct str bytes)
{
	for (size_t i = 0; i < v->p->slot_count; i++) {
		const struct h1_slot *s = &v->p->slots[i];
		struct str            name = part(bytes, s->name_at, s->name_len);
		struct field         *f = &v->h->fields[v->h->field_count];

		if (str_find(name, '_') != name.len)
			continue;
		f->id = head_field_id(name);
		f->name = name;
		f->value = part(bytes, s->value_at, s->value_len);
		if (v->count[f->id]++ == 0)
			v->first[f->id] = f;
		v->h->field_count++;
	}
}

static void view_request_line(struct view *v, struct str bytes)
{
	struct head    *h = v->h;
	struct str      line = part(bytes, v->p->first_at, v->p->first_len);
	struct absolute a;

	h->method_text = str_head(line, v->p->method_len);
	h->method = head_method(h->method_text);
	h->target = part(line, v->p->method_len + 1u, v->p->target_len);
	h->minor = line.ptr[line.len - 1] == '1';
	if (h->method == HTTP_CONNECT) {
		h->authority = h->target;
	} else if (h->target.ptr[0] == '/' || h->target.ptr[0] == '*') {
		h->path = h->target;
	} else if (split_absolute(h->target, &a)) {
		h->scheme = a.scheme;
		h->authority = a.authority;
		h->path = a.path;
		if (a.path.len == 0) /* RFC 9112 3.2.4, RFC 9110 4.2.3 */
			h->path = h->method == HTTP_OPTIONS ? STRL("*") : STRL("/");
	}
}

static void view_status_line(struct view *v, struct str bytes, enum http_method method)
{
	struct str line = part(bytes, v->p->first_at, v->p->first_len);
	int        status = read_status(line.ptr + STATUS_AT);

	v->h->method = method;
	v->h->minor = line.ptr[VERSION_LENGTH - 1] == '1';
	v->h->status = status;
	v->h->reason = str_from(line, REASON_AT);
	v->no_body = status < 200 || status == 204 || status == 304 || method == HTTP_HEAD ||
		(method == HTTP_CONNECT && status < 300);
}

/*
 * RFC 9112 3.2: one Host, and what an absolute target names is what Host says. CONNECT names its
 * goal itself, and Synapse's HTTP library sends a Host of its own making for matrix-federation.
 */
static enum err check_host(struct view *v)
{
	struct head *h = v->h;
	struct str   host;
	uint16_t     port;
	bool         names_itself = h->method == HTTP_CONNECT || is_matrix_federation(h->scheme);

	if (v->count[FIELD_HOST] > 1)
		return refuse(v->p, 400, "two-hosts");
	if (v->count[FIELD_HOST] == 0)
		return h->minor == 0 && names_itself ? ERR_OK : refuse(v->p, 400, "no-host");
	h->host = v->first[FIELD_HOST]->value;
	if (names_itself)
		return ERR_OK;
	if (!authority_split(h->host, &host, &port))
		return refuse(v->p, 400, "bad-host");
	if (h->authority.len > 0 && !str_ieq(h->authority, h->host))
		return refuse(v->p, 400, "other-host");
	return ERR_OK;
}

static bool is_known_coding(struct str s)
{
	static const struct str known[] = { STR("chunked"), STR("compress"), STR("x-compress"),
		                            STR("deflate"), STR("gzip"),     STR("x-gzip"),
		                            STR("identity") };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (str_ieq(s, known[i]))
			return true;
	return false;
}

/*
 * Not "chunked" alone. RFC 9112 6.3 demands 400 unless chunked comes last, 6.1 wants 501 for a
 * coding that is not understood: that leaves 501 for unknown codings in front of chunked.
 */
static enum err refuse_coding(struct h1_head_parser *p, struct str value)
{
	struct str member = STRL("");
	bool       unknown = false, chunked = false, before = false;

	while (head_list_next(&value, &member)) {
		if (!chars_is_token(member))
			return refuse(p, 400, "bad-coding");
		before = before || chunked;
		chunked = str_ieq(member, STRL("chunked"));
		unknown = unknown || !is_known_coding(member);
	}
	return unknown && chunked && !before ? refuse(p, 501, "unknown-coding")
					     : refuse(p, 400, "bad-coding");
}

static enum err frame_by_coding(struct view *v)
{
	struct str value = v->first[FIELD_TRANSFER_ENCODING]->value;

	if (v->count[FIELD_CONTENT_LENGTH] > 0)
		return refuse(v->p, 400, "length-and-coding");
	if (v->h->minor == 0)
		return refuse(v->p, 400, "coding-in-1.0");
	if (v->count[FIELD_TRANSFER_ENCODING] > 1)
		return refuse(v->p, 400, "two-codings");
	if (!str_ieq(value, STRL("chunked")))
		return refuse_coding(v->p, value);
	v->h->body = BODY_CHUNKED;
	return ERR_OK;
}

/* At most 15 digits and no leading zero: nothing that another reader could take for octal or wrap. */
static bool read_length(struct view *v)
{
	struct str s;

	if (v->count[FIELD_CONTENT_LENGTH] != 1)
		return false;
	s = v->first[FIELD_CONTENT_LENGTH]->value;
	if (s.len > LENGTH_DIGITS_MAX || (s.len > 1 && s.ptr[0] == '0'))
		return false;
	v->h->has_length = str_to_u64(s, UINT64_MAX, &v->h->content_length);
	return v->h->has_length;
}

static enum err check_framing(struct view *v)
{
	if (v->no_body) {
		read_length(v);
		return ERR_OK;
	}
	if (v->count[FIELD_TRANSFER_ENCODING] > 0)
		return frame_by_coding(v);
	if (v->count[FIELD_CONTENT_LENGTH] == 0) {
		v->h->body = v->p->side == H1_REQUEST ? BODY_NONE : BODY_TO_CLOSE;
		return ERR_OK;
	}
	if (v->count[FIELD_CONTENT_LENGTH] > 1)
		return refuse(v->p, 400, "two-lengths");
	if (!read_length(v))
		return refuse(v->p, 400, "bad-length");
	v->h->body = BODY_LENGTH;
	return ERR_OK;
}

/* RFC 9110 9.3.6: CONNECT has no content; what follows its head belongs to the tunnel. */
static enum err check_connect(struct view *v)
{
	const struct head *h = v->h;

	if (h->method == HTTP_CONNECT && (h->body == BODY_CHUNKED || h->content_length > 0))
		return refuse(v->p, 400, "connect-with-body");
	return ERR_OK;
}

/* What a client may not have taken away behind our back. */
static bool is_end_to_end(struct str name)
{
	enum field_id id = head_field_id(name);

	return id == FIELD_HOST || id == FIELD_CONTENT_LENGTH || id == FIELD_AUTHORIZATION ||
		id == FIELD_CONTENT_TYPE || id == FIELD_X_FORWARDED;
}

static enum err check_connection_field(struct view *v, struct str value, bool *close, bool *keep)
{
	struct str member;

	while (head_list_next(&value, &member)) {
		if (!chars_is_token(member))
			return refuse(v->p, 400, "bad-connection");
		if (v->p->side == H1_REQUEST && is_end_to_end(member))
			return refuse(v->p, 400, "connection-names-field");
		*close = *close || str_ieq(member, STRL("close"));
		*keep = *keep || str_ieq(member, STRL("keep-alive"));
	}
	return ERR_OK;
}

/* RFC 9112 9.3 */
static enum err check_connection(struct view *v)
{
	bool close = false, keep = false;

	for (size_t i = 0; i < v->h->field_count; i++) {
		const struct field *f = &v->h->fields[i];

		if (f->id == FIELD_CONNECTION &&
		    check_connection_field(v, f->value, &close, &keep) != ERR_OK)
			return ERR_SYNTAX;
	}
	v->h->keep_alive = !close && (v->h->minor == 1 || keep) && v->h->body != BODY_TO_CLOSE;
	return ERR_OK;
}

/* RFC 9110 10.1.1: no meaning in 1.0, and nothing to wait for without a body. */
static enum err check_expect(struct view *v)
{
	struct head *h = v->h;

	if (v->count[FIELD_EXPECT] == 0 || h->minor == 0)
		return ERR_OK;
	if (v->count[FIELD_EXPECT] > 1 ||
	    !str_ieq(v->first[FIELD_EXPECT]->value, STRL("100-continue")))
		return refuse(v->p, 417, "bad-expect");
	h->expect_continue = h->body == BODY_CHUNKED || h->content_length > 0;
	return ERR_OK;
}

typedef enum err       check_fn(struct view *v);
static check_fn *const request_checks[] = { check_host,       check_framing, check_connect,
	                                    check_connection, check_expect,  NULL };
static check_fn *const response_checks[] = { check_framing, check_connection, NULL };

enum err h1_head_view(struct h1_head_parser *p, struct str bytes, enum http_method method,
                      struct field *fields, struct head *out)
{
	struct view      v = { .p = p, .h = out };
	check_fn *const *next;
	enum err         e = ERR_OK;

	check(p->length > 0 && bytes.len >= p->length);
	memset(out, 0, sizeof(*out));
	out->fields = fields;
	view_fields(&v, bytes);
	if (p->side == H1_REQUEST)
		view_request_line(&v, bytes);
	else
		view_status_line(&v, bytes, method);
	next = p->side == H1_REQUEST ? request_checks : response_checks;
	while (e == ERR_OK && *next != NULL)
		e = (*next++)(&v);
	return e;
}
