#include "codec/matrix/xmatrix.h"

#include "codec/http/chars.h"
#include "codec/matrix/server_name.h"

/* ---- reading one field ---- */

static void skip_blanks(struct str *s)
{
	while (s->len > 0 && (s->ptr[0] == ' ' || s->ptr[0] == '\t'))
		*s = str_from(*s, 1);
}

static bool take_char(struct str *s, char c)
{
	if (s->len == 0 || s->ptr[0] != c)
		return false;
	*s = str_from(*s, 1);
	return true;
}

/* The longest head of s made of token characters and those in extra. */
static struct str take_chars(struct str *s, const char *extra)
{
	struct str taken = str_head(*s, 0);

	while (taken.len < s->len) {
		char c = s->ptr[taken.len];

		if (!chars_is(c, CHARS_TOKEN) && (c == '\0' || strchr(extra, c) == NULL))
			break;
		taken.len++;
	}
	*s = str_from(*s, taken.len);
	return taken;
}

/* What stands between the quotes, backslashes included; *s begins behind the first quote. */
static enum err take_quoted(struct str *s, struct str *out, bool *escaped)
{
	size_t n = 0;

	for (*escaped = false; n < s->len && s->ptr[n] != '"'; n++) {
		if (s->ptr[n] == '\\') {
			*escaped = true;
			n++;
		}
		if (n >= s->len || !chars_is(s->ptr[n], CHARS_VALUE))
			return ERR_SYNTAX;
	}
	if (n >= s->len)
		return ERR_SYNTAX;
	*out = str_head(*s, n);
	*s = str_from(*s, n + 1);
	return ERR_OK;
}

static enum err unquote(struct str *value, struct arena *arena)
{
	char  *to = arena_alloc(arena, value->len);
	size_t n = 0;

	if (to == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < value->len; i++) {
		if (value->ptr[i] == '\\')
			i++;
		to[n++] = value->ptr[i];
	}
	*value = str_span(to, n);
	return ERR_OK;
}

static enum err take_value(struct str *s, struct arena *arena, struct str *out)
{
	bool     escaped;
	enum err e;

	if (!take_char(s, '"')) {
		*out = take_chars(s, ":/=[]");
		return out->len > 0 ? ERR_OK : ERR_SYNTAX;
	}
	e = take_quoted(s, out, &escaped);
	return e == ERR_OK && escaped ? unquote(out, arena) : e;
}

static const struct {
	const char *name;
	size_t      at; /* in struct xmatrix */
} params[] = {
	{ "origin", offsetof(struct xmatrix, origin) },
	{ "destination", offsetof(struct xmatrix, destination) },
	{ "key", offsetof(struct xmatrix, key) },
	{ "sig", offsetof(struct xmatrix, sig) },
};

/* Where a value of that name goes, or NULL. */
static struct str *param_of(struct xmatrix *x, struct str name)
{
	for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++)
		if (str_ieq(name, str_of(params[i].name)))
			return (struct str *)(void *)((char *)x + params[i].at);
	return NULL;
}

static enum err take_param(struct str *s, struct arena *arena, struct xmatrix *x)
{
	struct str  name = take_chars(s, ""), value;
	struct str *param = param_of(x, name);
	enum err    e;

	skip_blanks(s);
	if (name.len == 0 || !take_char(s, '='))
		return ERR_SYNTAX;
	skip_blanks(s);
	e = take_value(s, arena, &value);
	if (e != ERR_OK || param == NULL)
		return e;
	if (param->len > 0 || value.len == 0)
		return ERR_SYNTAX; /* twice, or with nothing in it */
	*param = value;
	return ERR_OK;
}

/* Parameters separated by commas; empty places are allowed, RFC 9110 5.6.1.2. */
static enum err take_params(struct str s, struct arena *arena, struct xmatrix *x)
{
	for (unsigned left = XMATRIX_PARAMS_MAX; left > 0; left--) {
		enum err e = ERR_OK;

		skip_blanks(&s);
		if (s.len > 0 && s.ptr[0] != ',')
			e = take_param(&s, arena, x);
		if (e != ERR_OK)
			return e;
		skip_blanks(&s);
		if (s.len == 0)
			return ERR_OK;
		if (!take_char(&s, ','))
			return ERR_SYNTAX;
	}
	return ERR_SYNTAX;
}

enum err xmatrix_parse(struct str value, struct arena *arena, struct xmatrix *out)
{
	struct str     rest = str_trim(value);
	struct str     scheme = take_chars(&rest, "");
	struct xmatrix x = {
		.origin = { "", 0 }, .destination = { "", 0 }, .key = { "", 0 }, .sig = { "", 0 }
	};
	struct server_name name;
	enum err           e;

	if (!str_ieq(scheme, STRL("X-Matrix")))
		return ERR_NOT_FOUND;
	if (rest.len == 0 || rest.ptr[0] != ' ')
		return ERR_SYNTAX;
	e = take_params(rest, arena, &x);
	if (e != ERR_OK)
		return e;
	if (x.key.len == 0 || x.sig.len == 0 || server_name_parse(x.origin, &name) != ERR_OK)
		return ERR_SYNTAX;
	*out = x;
	return ERR_OK;
}

/* ---- all fields of a request ---- */

static enum err lines_add(struct xmatrix_lines *lines, const struct xmatrix *line)
{
	if (lines->count > 0 && !str_eq(lines->origin, line->origin))
		return ERR_SYNTAX;
	lines->origin = line->origin;
	lines->line[lines->count++] = *line;
	return ERR_OK;
}

enum err xmatrix_collect(const struct head *head, struct arena *arena, struct xmatrix_lines *out)
{
	size_t seen = 0;

	out->count = 0;
	out->origin = STRL("");
	for (size_t i = 0; i < head->field_count; i++) {
		const struct field *f = &head->fields[i];
		struct xmatrix      line;
		enum err            e;

		if (f->id != FIELD_AUTHORIZATION)
			continue;
		if (++seen > XMATRIX_LINES_MAX)
			return ERR_SYNTAX;
		e = xmatrix_parse(f->value, arena, &line);
		if (e == ERR_NOT_FOUND)
			continue;
		if (e == ERR_OK)
			e = lines_add(out, &line);
		if (e != ERR_OK)
			return e;
	}
	return out->count > 0 ? ERR_OK : ERR_NOT_FOUND;
}

bool xmatrix_is_for(const struct xmatrix_lines *lines, struct str server_name)
{
	for (size_t i = 0; i < lines->count; i++) {
		struct str destination = lines->line[i].destination;

		if (destination.len > 0 && !str_eq(destination, server_name))
			return false;
	}
	return true;
}

/* ---- writing one field ---- */

static void write_param(struct writer *w, const char *before, struct str value)
{
	write_text(w, before);
	write_str(w, value);
	write_char(w, '"');
}

/* No quote, no backslash, no control: what our own values consist of. */
static bool is_plain(struct str value)
{
	struct str rest = value;

	return take_chars(&rest, ":/=[]").len == value.len;
}

enum err xmatrix_write(struct writer *w, const struct xmatrix *line)
{
	if (!is_plain(line->origin) || !is_plain(line->destination) || !is_plain(line->key) ||
	    !is_plain(line->sig))
		return ERR_SYNTAX;
	write_param(w, "X-Matrix origin=\"", line->origin);
	if (line->destination.len > 0)
		write_param(w, ",destination=\"", line->destination);
	write_param(w, ",key=\"", line->key);
	write_param(w, ",sig=\"", line->sig);
	return ERR_OK;
}

/* ---- the signed message ---- */

/* Members in the order of canonical JSON: content, destination, method, origin, uri. */
static enum err build_bytes(const struct xmatrix_message *m, enum canon_numbers numbers,
                            struct buf *out)
{
	const struct xmatrix_request *r = &m->request;
	const struct {
		const char *before;
		struct str  text;
	} parts[] = {
		{ r->content.len > 0 ? ",\"destination\":" : "{\"destination\":", r->destination },
		{ ",\"method\":", r->method },
		{ ",\"origin\":", r->origin },
		{ ",\"uri\":", r->uri },
	};
	enum err e = ERR_OK;

	if (r->content.len > 0)
		e = buf_add(out, STRL("{\"content\":"));
	if (e == ERR_OK && r->content.len > 0)
		e = canon_emit_buf(&m->canon, numbers, out);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && e == ERR_OK; i++) {
		e = buf_add(out, str_of(parts[i].before));
		if (e == ERR_OK)
			e = canon_add_text(out, parts[i].text);
	}
	return e == ERR_OK ? buf_add(out, STRL("}")) : e;
}

static enum err open_content(struct xmatrix_message *m)
{
	enum err e;

	if (m->request.content.len == 0)
		return ERR_OK;
	e = canon_open(&m->canon, m->request.content, NULL);
	return e == ERR_OK && m->canon.kind != JSON_OBJECT ? ERR_SYNTAX : e;
}

enum err xmatrix_open(struct xmatrix_message *m, const struct xmatrix_request *request,
                      size_t bytes_max)
{
	enum err e;

	*m = (struct xmatrix_message){ .request = *request };
	buf_init(&m->bytes, bytes_max);
	e = open_content(m);
	if (e == ERR_OK) {
		e = build_bytes(m, CANON_AS_RECEIVED, &m->bytes);
		e = e == ERR_LIMIT ? ERR_TOO_LARGE : e;
	}
	if (e != ERR_OK)
		xmatrix_close(m);
	return e;
}

void xmatrix_close(struct xmatrix_message *m)
{
	canon_close(&m->canon);
	buf_fini(&m->bytes);
}

static enum err verify_integers(const struct xmatrix_message *m, const struct signing_sig *sig,
                                const struct signing_key *key)
{
	struct buf bytes;
	enum err   e;

	buf_init(&bytes, m->bytes.max);
	e = build_bytes(m, CANON_INTEGERS, &bytes);
	if (e == ERR_OK)
		e = signing_verify(key, sig, buf_str(&bytes));
	buf_fini(&bytes);
	return e == ERR_NOMEM || e == ERR_OK ? e : ERR_SIGNATURE;
}

enum err xmatrix_verify(const struct xmatrix_message *m, struct str sig,
                        const struct signing_key *key)
{
	struct signing_sig s;
	enum err           e;

	if (signing_sig_read(sig, &s) != ERR_OK)
		return ERR_SIGNATURE;
	e = signing_verify(key, &s, buf_str(&m->bytes));
	if (e == ERR_SIGNATURE && m->canon.odd_numbers)
		e = verify_integers(m, &s, key);
	return e;
}

void xmatrix_sign(const struct xmatrix_message *m, const struct signing_pair *pair,
                  struct signing_sig *out)
{
	signing_sign(pair, buf_str(&m->bytes), out);
}
