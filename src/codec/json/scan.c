#include "codec/json/scan.h"

const struct json_limits json_limits_default = {
	.bytes_max = (size_t)16 << 20,
	.tokens_max = 1000000,
	.text_max = SIZE_MAX,
	.depth_max = JSON_DEPTH_MAX,
};

/*
 * Between tokens (VALUE to DONE) the state says what may come; within one, what its next byte may
 * be. Numbers have one state per place in the grammar of RFC 8259 section 6.
 */
enum state {
	ST_VALUE,        /* a value must come */
	ST_VALUE_OR_END, /* after '[' */
	ST_KEY_OR_END,   /* after '{' */
	ST_KEY,          /* after ',' in an object */
	ST_COLON,
	ST_AFTER, /* ',' or the end of the container */
	ST_DONE,
	ST_TEXT,    /* between quotes */
	ST_UTF8,    /* count continuation bytes to come, the next in low..top */
	ST_ESCAPE,  /* after a backslash */
	ST_HEX,     /* count digits of \u read */
	ST_LITERAL, /* count bytes of it read */
	ST_MINUS,
	ST_ZERO,
	ST_INTEGER,
	ST_POINT,
	ST_FRACTION,
	ST_E,
	ST_E_SIGN,
	ST_EXPONENT,
	ST_BAD, /* of the number table only */
};

enum step { STEP_MORE, STEP_TOKEN, STEP_BAD };

static bool is_blank(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_number_state(unsigned state)
{
	return state >= ST_MINUS && state <= ST_EXPONENT;
}

static bool is_number_complete(unsigned state)
{
	return state == ST_ZERO || state == ST_INTEGER || state == ST_FRACTION ||
		state == ST_EXPONENT;
}

void json_scan_init(struct json_scan *s, const struct json_limits *limits, void *hold,
                    size_t hold_size)
{
	*s = (struct json_scan){
		.limits = limits != NULL ? *limits : json_limits_default,
		.hold = hold,
		.hold_size = hold_size,
		.state = ST_VALUE,
	};
	if (s->limits.depth_max > JSON_DEPTH_MAX)
		s->limits.depth_max = JSON_DEPTH_MAX;
}

/* ---- containers ---- */

static bool in_object(const struct json_scan *s)
{
	return (s->nest[(s->depth - 1) / 8] >> ((s->depth - 1) % 8) & 1) != 0;
}

static void after_value(struct json_scan *s)
{
	s->state = s->depth == 0 ? ST_DONE : ST_AFTER;
}

static enum step open_container(struct json_scan *s, bool object)
{
	uint8_t bit = (uint8_t)(1u << s->depth % 8);

	if (s->depth >= s->limits.depth_max) {
		s->err = ERR_RANGE;
		return STEP_BAD;
	}
	if (object)
		s->nest[s->depth / 8] |= bit;
	else
		s->nest[s->depth / 8] &= (uint8_t)~bit;
	s->depth++;
	s->state = object ? ST_KEY_OR_END : ST_VALUE_OR_END;
	s->pending = object ? JSON_OBJECT : JSON_ARRAY;
	return STEP_TOKEN;
}

static enum step close_container(struct json_scan *s, char c)
{
	bool object = in_object(s);

	if (c != (object ? '}' : ']'))
		return STEP_BAD;
	s->depth--;
	s->pending = object ? JSON_OBJECT_END : JSON_ARRAY_END;
	after_value(s);
	return STEP_TOKEN;
}

/* ---- what begins with c ---- */

static enum step begin_text(struct json_scan *s, enum json_kind kind)
{
	s->pending = kind;
	s->state = ST_TEXT;
	return STEP_MORE;
}

static enum step begin_literal(struct json_scan *s, enum json_kind kind)
{
	s->pending = kind;
	s->state = ST_LITERAL;
	s->count = 1;
	return STEP_MORE;
}

static enum step begin_number(struct json_scan *s, char c)
{
	s->pending = JSON_NUMBER;
	s->state = c == '-' ? ST_MINUS : c == '0' ? ST_ZERO : ST_INTEGER;
	return STEP_MORE;
}

static enum step begin_value(struct json_scan *s, char c)
{
	switch (c) {
	case '{':
		return open_container(s, true);
	case '[':
		return open_container(s, false);
	case '"':
		return begin_text(s, JSON_STRING);
	case 't':
		return begin_literal(s, JSON_TRUE);
	case 'f':
		return begin_literal(s, JSON_FALSE);
	case 'n':
		return begin_literal(s, JSON_NULL);
	default:
		return c == '-' || (c >= '0' && c <= '9') ? begin_number(s, c) : STEP_BAD;
	}
}

static enum step after_comma(struct json_scan *s)
{
	s->state = in_object(s) ? ST_KEY : ST_VALUE;
	return STEP_MORE;
}

/* One byte, not blank, between tokens. */
static enum step step_between(struct json_scan *s, char c)
{
	switch (s->state) {
	case ST_VALUE_OR_END:
		return c == ']' ? close_container(s, c) : begin_value(s, c);
	case ST_VALUE:
		return begin_value(s, c);
	case ST_KEY_OR_END:
		if (c == '}')
			return close_container(s, c);
		return c == '"' ? begin_text(s, JSON_KEY) : STEP_BAD;
	case ST_KEY:
		return c == '"' ? begin_text(s, JSON_KEY) : STEP_BAD;
	case ST_COLON:
		s->state = ST_VALUE;
		return c == ':' ? STEP_MORE : STEP_BAD;
	case ST_AFTER:
		return c == ',' ? after_comma(s) : close_container(s, c);
	default: /* ST_DONE */
		return STEP_BAD;
	}
}

/* ---- texts ---- */

struct utf8_lead {
	uint8_t first, last; /* leading bytes */
	uint8_t more;        /* continuations */
	uint8_t low, top;    /* range of the first of them; the others are 80..BF */
};

static const struct utf8_lead utf8_leads[] = {
	/* RFC 3629 section 4 */
	{ 0xC2, 0xDF, 1, 0x80, 0xBF }, { 0xE0, 0xE0, 2, 0xA0, 0xBF }, { 0xE1, 0xEC, 2, 0x80, 0xBF },
	{ 0xED, 0xED, 2, 0x80, 0x9F }, { 0xEE, 0xEF, 2, 0x80, 0xBF }, { 0xF0, 0xF0, 3, 0x90, 0xBF },
	{ 0xF1, 0xF3, 3, 0x80, 0xBF }, { 0xF4, 0xF4, 3, 0x80, 0x8F },
};

static enum step begin_utf8(struct json_scan *s, uint8_t c)
{
	for (size_t i = 0; i < sizeof(utf8_leads) / sizeof(utf8_leads[0]); i++) {
		const struct utf8_lead *l = &utf8_leads[i];

		if (c < l->first || c > l->last)
			continue;
		s->count = l->more;
		s->low = l->low;
		s->top = l->top;
		s->state = ST_UTF8;
		return STEP_MORE;
	}
	return STEP_BAD;
}

static enum step step_utf8(struct json_scan *s, uint8_t c)
{
	if (c < s->low || c > s->top)
		return STEP_BAD;
	s->low = 0x80;
	s->top = 0xBF;
	if (--s->count == 0)
		s->state = ST_TEXT;
	return STEP_MORE;
}

static enum step end_text(struct json_scan *s)
{
	if (s->pending == JSON_KEY)
		s->state = ST_COLON;
	else
		after_value(s);
	return STEP_TOKEN;
}

static enum step step_text(struct json_scan *s, uint8_t c)
{
	if (s->high != 0 && c != '\\')
		return STEP_BAD; /* a leading surrogate without its partner */
	if (c == '"')
		return end_text(s);
	if (c < 0x20)
		return STEP_BAD;
	if (c >= 0x80)
		return begin_utf8(s, c);
	if (c == '\\') {
		s->escaped = true;
		s->state = ST_ESCAPE;
	}
	return STEP_MORE;
}

static enum step step_escape(struct json_scan *s, uint8_t c)
{
	s->state = ST_TEXT;
	if (c == 'u') {
		s->state = ST_HEX;
		s->count = 0;
		s->code = 0;
		return STEP_MORE;
	}
	if (s->high != 0 || c == '\0')
		return STEP_BAD;
	return strchr("\"\\/bfnrt", c) != NULL ? STEP_MORE : STEP_BAD;
}

static enum step step_hex(struct json_scan *s, uint8_t c)
{
	int  digit = str_hex_digit((char)c);
	bool lead, trail;

	if (digit < 0)
		return STEP_BAD;
	s->code = s->code << 4 | (unsigned)digit;
	if (++s->count < 4)
		return STEP_MORE;
	lead = s->code >= 0xD800 && s->code <= 0xDBFF;
	trail = s->code >= 0xDC00 && s->code <= 0xDFFF;
	if (trail != (s->high != 0))
		return STEP_BAD;
	s->high = lead ? s->code : 0;
	s->state = ST_TEXT;
	return STEP_MORE;
}

/* Bytes at the head of text that need no thought. */
static size_t plain_run(struct str text)
{
	size_t n = 0;

	while (n < text.len) {
		uint8_t c = (uint8_t)text.ptr[n];

		if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
			break;
		n++;
	}
	return n;
}

/* ---- literals and numbers ---- */

static const char *literal_of(enum json_kind kind)
{
	return kind == JSON_TRUE ? "true" : kind == JSON_FALSE ? "false" : "null";
}

static enum step step_literal(struct json_scan *s, uint8_t c)
{
	const char *text = literal_of(s->pending);

	if (c != (uint8_t)text[s->count++])
		return STEP_BAD;
	if (text[s->count] != '\0')
		return STEP_MORE;
	after_value(s);
	return STEP_TOKEN;
}

enum digit_class {
	CLASS_ZERO,
	CLASS_DIGIT,
	CLASS_SIGN,
	CLASS_PLUS,
	CLASS_POINT,
	CLASS_E,
	CLASS_OTHER
};

static enum digit_class digit_class(uint8_t c)
{
	switch (c) {
	case '0':
		return CLASS_ZERO;
	case '-':
		return CLASS_SIGN;
	case '+':
		return CLASS_PLUS;
	case '.':
		return CLASS_POINT;
	case 'e':
	case 'E':
		return CLASS_E;
	default:
		return c >= '1' && c <= '9' ? CLASS_DIGIT : CLASS_OTHER;
	}
}

/* What follows in a number, RFC 8259 section 6; CLASS_OTHER never does. */
/* clang-format off */
static const uint8_t number_next[][CLASS_OTHER] = {
	/*                            0            1-9          -          +          .         e */
	[ST_MINUS - ST_MINUS]    = { ST_ZERO,     ST_INTEGER,  ST_BAD,    ST_BAD,    ST_BAD,   ST_BAD },
	[ST_ZERO - ST_MINUS]     = { ST_BAD,      ST_BAD,      ST_BAD,    ST_BAD,    ST_POINT, ST_E },
	[ST_INTEGER - ST_MINUS]  = { ST_INTEGER,  ST_INTEGER,  ST_BAD,    ST_BAD,    ST_POINT, ST_E },
	[ST_POINT - ST_MINUS]    = { ST_FRACTION, ST_FRACTION, ST_BAD,    ST_BAD,    ST_BAD,   ST_BAD },
	[ST_FRACTION - ST_MINUS] = { ST_FRACTION, ST_FRACTION, ST_BAD,    ST_BAD,    ST_BAD,   ST_E },
	[ST_E - ST_MINUS]        = { ST_EXPONENT, ST_EXPONENT, ST_E_SIGN, ST_E_SIGN, ST_BAD,   ST_BAD },
	[ST_E_SIGN - ST_MINUS]   = { ST_EXPONENT, ST_EXPONENT, ST_BAD,    ST_BAD,    ST_BAD,   ST_BAD },
	[ST_EXPONENT - ST_MINUS] = { ST_EXPONENT, ST_EXPONENT, ST_BAD,    ST_BAD,    ST_BAD,   ST_BAD },
};
/* clang-format on */

static enum step step_number(struct json_scan *s, uint8_t c)
{
	enum digit_class class = digit_class(c);
	unsigned next;

	next = class == CLASS_OTHER ? (unsigned)ST_BAD : number_next[s->state - ST_MINUS][class];
	if (next == ST_BAD)
		return STEP_BAD;
	s->state = next;
	return STEP_MORE;
}

/* A byte that cannot belong to a number ends it; whether it may stand there, the next step says. */
static bool ends_number(const struct json_scan *s, uint8_t c)
{
	return is_number_complete(s->state) && digit_class(c) == CLASS_OTHER;
}

/* ---- the machine ---- */

static enum step step_within(struct json_scan *s, uint8_t c)
{
	switch (s->state) {
	case ST_TEXT:
		return step_text(s, c);
	case ST_UTF8:
		return step_utf8(s, c);
	case ST_ESCAPE:
		return step_escape(s, c);
	case ST_HEX:
		return step_hex(s, c);
	case ST_LITERAL:
		return step_literal(s, c);
	default:
		return step_number(s, c);
	}
}

static bool is_within(const struct json_scan *s)
{
	return s->state >= ST_TEXT;
}

/* Keeps the part of a text that this piece ends with. */
static void hold_text(struct json_scan *s, struct str part)
{
	if (s->pending == JSON_TRUE || s->pending == JSON_FALSE || s->pending == JSON_NULL)
		return;
	if (s->cut || part.len > s->hold_size - s->hold_len) {
		s->cut = true;
		return;
	}
	if (part.len > 0)
		memcpy(s->hold + s->hold_len, part.ptr, part.len);
	s->hold_len += part.len;
}

/* Where the quotes and the digits lie in part, the bytes of the token within this piece. */
static struct str token_text(struct json_scan *s, struct str part, bool begun_here)
{
	struct str quoted = { "", 0 };

	if (s->pending != JSON_KEY && s->pending != JSON_STRING && s->pending != JSON_NUMBER)
		return quoted;
	quoted = part;
	if (!begun_here) {
		hold_text(s, part);
		if (s->cut)
			return (struct str){ "", 0 };
		quoted = str_span(s->hold, s->hold_len);
	}
	if (s->pending == JSON_NUMBER)
		return quoted;
	return str_span(quoted.ptr + 1, quoted.len - 2);
}

static enum err report(struct json_scan *s, struct str part, bool begun_here, struct json_token *t)
{
	bool opens = s->pending == JSON_OBJECT || s->pending == JSON_ARRAY;

	if (++s->tokens > s->limits.tokens_max || s->at - s->token_at > s->limits.text_max)
		return s->err = ERR_RANGE;
	t->kind = s->pending;
	t->depth = opens ? s->depth - 1 : s->depth;
	t->at = s->token_at;
	t->end = s->at;
	t->text = token_text(s, part, begun_here);
	t->escaped = s->escaped;
	t->cut = s->cut;
	s->hold_len = 0;
	s->escaped = s->cut = false;
	return ERR_OK;
}

static enum err fail(struct json_scan *s)
{
	if (s->err == ERR_OK)
		s->err = ERR_SYNTAX;
	return s->err;
}

static enum step step_one(struct json_scan *s, char c)
{
	if (is_within(s))
		return step_within(s, (uint8_t)c);
	s->token_at = s->at;
	if (!is_blank(c))
		return step_between(s, c);
	s->blanks++;
	return STEP_MORE;
}

static void advance(struct json_scan *s, struct str *piece, size_t n)
{
	piece->ptr += n;
	piece->len -= n;
	s->at += n;
}

/* The end of a piece, and perhaps of the text. */
static enum err out_of_bytes(struct json_scan *s, struct str part, bool begun_here, bool last,
                             struct json_token *t)
{
	if (is_within(s) && s->at - s->token_at > s->limits.text_max)
		return s->err = ERR_RANGE;
	if (last && is_number_state(s->state) && is_number_complete(s->state)) {
		after_value(s);
		return report(s, part, begun_here, t);
	}
	if (last && s->state != ST_DONE)
		return fail(s);
	if (is_within(s))
		hold_text(s, part);
	*t = (struct json_token){
		.kind = last ? JSON_END : JSON_NONE, .at = s->at, .end = s->at, .text = { "", 0 }
	};
	return ERR_OK;
}

static struct str part_since(const char *begin, const struct str *piece)
{
	return piece->ptr == begin ? (struct str){ "", 0 }
				   : str_span(begin, (size_t)(piece->ptr - begin));
}

enum err json_scan_next(struct json_scan *s, struct str *piece, bool last, struct json_token *t)
{
	const char *begin = piece->ptr; /* of the token in progress, within this piece */
	bool        begun_here = !is_within(s);

	if (s->err != ERR_OK)
		return s->err;
	if (piece->len > s->limits.bytes_max - s->at)
		return s->err = ERR_TOO_LARGE;
	while (piece->len > 0) {
		char      c = piece->ptr[0];
		enum step step;

		if (!is_within(s)) {
			begin = piece->ptr;
			begun_here = true;
		}
		if (is_number_state(s->state) && ends_number(s, (uint8_t)c)) {
			after_value(s);
			return report(s, part_since(begin, piece), begun_here, t);
		}
		step = step_one(s, c);
		if (step == STEP_BAD)
			return fail(s);
		advance(s, piece, 1);
		if (step == STEP_TOKEN)
			return report(s, part_since(begin, piece), begun_here, t);
		if (s->state == ST_TEXT && s->high == 0)
			advance(s, piece, plain_run(*piece));
	}
	return out_of_bytes(s, part_since(begin, piece), begun_here, last, t);
}

enum err json_check(struct str doc, const struct json_limits *limits)
{
	struct json_scan  s;
	struct json_token t;
	enum err          e;

	json_scan_init(&s, limits, NULL, 0);
	do
		e = json_scan_next(&s, &doc, true, &t);
	while (e == ERR_OK && t.kind != JSON_END);
	return e;
}

/* ---- items ---- */

enum err json_items_begin(struct json_items *it, struct str doc, const struct json_limits *limits,
                          enum json_kind *kind)
{
	struct json_token t;
	enum err          e;

	json_scan_init(&it->scan, limits, NULL, 0);
	it->doc = it->rest = doc;
	e = json_scan_next(&it->scan, &it->rest, true, &t);
	if (e != ERR_OK)
		return e;
	if (t.kind != JSON_OBJECT && t.kind != JSON_ARRAY)
		return it->scan.err = ERR_SYNTAX;
	*kind = t.kind;
	return ERR_OK;
}

/* From the opening bracket to the closing one. */
static enum err items_skip(struct json_items *it, struct json_token *t)
{
	enum err e;

	do
		e = json_scan_next(&it->scan, &it->rest, true, t);
	while (e == ERR_OK && t->depth != 1);
	return e;
}

static enum err items_value(struct json_items *it, struct json_token *t, struct json_item *out)
{
	size_t   at = t->at;
	enum err e = ERR_OK;

	out->kind = t->kind;
	if (t->kind == JSON_STRING) {
		out->value = t->text;
		return ERR_OK;
	}
	if (t->kind == JSON_OBJECT || t->kind == JSON_ARRAY)
		e = items_skip(it, t);
	if (e == ERR_OK)
		out->value = str_span(it->doc.ptr + at, t->end - at);
	return e;
}

static enum err items_end(struct json_items *it, struct json_item *out)
{
	struct json_token t;
	enum err          e = json_scan_next(&it->scan, &it->rest, true, &t);

	if (e == ERR_OK)
		out->kind = JSON_END;
	return e;
}

enum err json_items_next(struct json_items *it, struct json_item *out)
{
	struct json_token t;
	enum err          e = json_scan_next(&it->scan, &it->rest, true, &t);

	*out = (struct json_item){ .key = { "", 0 }, .value = { "", 0 } };
	if (e == ERR_OK && t.kind == JSON_KEY) {
		out->key = t.text;
		e = json_scan_next(&it->scan, &it->rest, true, &t);
	}
	if (e != ERR_OK)
		return e;
	if (t.kind == JSON_END || t.depth == 0) {
		return items_end(it, out);
	}
	return items_value(it, &t, out);
}

static enum err find_note(struct json_member *m, const struct json_item *item,
                          enum json_repeat repeat)
{
	if (!json_text_eq(item->key, m->key))
		return ERR_OK;
	if (m->kind != JSON_NONE && repeat == JSON_REFUSE_REPEAT)
		return ERR_SYNTAX;
	m->kind = item->kind;
	m->value = item->value;
	return ERR_OK;
}

enum err json_find(struct str doc, enum json_repeat repeat, struct json_member *members,
                   size_t count)
{
	struct json_items it;
	struct json_item  item;
	enum json_kind    kind;
	enum err          e = json_items_begin(&it, doc, NULL, &kind);

	for (size_t i = 0; i < count; i++) {
		members[i].kind = JSON_NONE;
		members[i].value = STRL("");
	}
	if (e == ERR_OK && kind != JSON_OBJECT)
		e = ERR_SYNTAX;
	while (e == ERR_OK) {
		e = json_items_next(&it, &item);
		if (e != ERR_OK || item.kind == JSON_END)
			break;
		for (size_t i = 0; i < count && e == ERR_OK; i++)
			e = find_note(&members[i], &item, repeat);
	}
	return e;
}

enum err json_find_string(struct str doc, struct str key, struct arena *arena, struct str *out)
{
	struct json_member m = { .key = key };
	enum err           e = json_find(doc, JSON_LAST_WINS, &m, 1);

	if (e != ERR_OK)
		return e;
	if (m.kind == JSON_NONE)
		return ERR_NOT_FOUND;
	if (m.kind != JSON_STRING)
		return ERR_SYNTAX;
	return json_unescape_copy(m.value, arena, out);
}

/* ---- texts ---- */

static size_t put_utf8(uint32_t code, char *bytes)
{
	uint8_t *b = (uint8_t *)bytes;

	if (code < 0x80) {
		b[0] = (uint8_t)code;
		return 1;
	}
	if (code < 0x800) {
		b[0] = (uint8_t)(0xC0 | code >> 6);
		b[1] = (uint8_t)(0x80 | (code & 0x3F));
		return 2;
	}
	if (code < 0x10000) {
		b[0] = (uint8_t)(0xE0 | code >> 12);
		b[1] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
		b[2] = (uint8_t)(0x80 | (code & 0x3F));
		return 3;
	}
	b[0] = (uint8_t)(0xF0 | code >> 18);
	b[1] = (uint8_t)(0x80 | (code >> 12 & 0x3F));
	b[2] = (uint8_t)(0x80 | (code >> 6 & 0x3F));
	b[3] = (uint8_t)(0x80 | (code & 0x3F));
	return 4;
}

static void text_skip(struct str *text, size_t n)
{
	*text = str_from(*text, n);
}

/* Four digits; missing or wrong ones, which a scanned text has not, count as zero. */
static uint32_t take_hex(struct str *text)
{
	uint32_t code = 0;

	for (size_t i = 0; i < 4 && i < text->len; i++)
		code = code << 4 | ((unsigned)str_hex_digit(text->ptr[i]) & 15);
	text_skip(text, 4);
	return code;
}

static size_t unescape_code(struct str *text, char *bytes)
{
	uint32_t code = take_hex(text);

	if (code >= 0xD800 && code <= 0xDBFF) {
		text_skip(text, 2); /* \u of the partner */
		code = 0x10000 + ((code & 0x3FF) << 10) + (take_hex(text) & 0x3FF);
	}
	return put_utf8(code, bytes);
}

static size_t unescape_one(struct str *text, char *bytes)
{
	static const char names[] = "bfnrt", means[] = "\b\f\n\r\t";
	char              c = text->len > 0 ? text->ptr[0] : '\\';
	const char       *name = c == '\0' ? NULL : strchr(names, c);

	text_skip(text, 1);
	if (c == 'u')
		return unescape_code(text, bytes);
	bytes[0] = name != NULL ? means[name - names] : c;
	return 1;
}

size_t json_text_next(struct str *text, char *bytes)
{
	char c;

	if (text->len == 0)
		return 0;
	c = text->ptr[0];
	text_skip(text, 1);
	if (c == '\\')
		return unescape_one(text, bytes);
	bytes[0] = c;
	return 1;
}

void json_unescape(struct str text, struct writer *w)
{
	while (text.len > 0) {
		size_t run = str_find(text, '\\');
		char   bytes[4];

		write_bytes(w, text.ptr, run);
		text_skip(&text, run);
		if (text.len > 0)
			write_bytes(w, bytes, json_text_next(&text, bytes));
	}
}

enum err json_unescape_copy(struct str text, struct arena *arena, struct str *out)
{
	char         *room = arena_alloc(arena, text.len + 1);
	struct writer w;

	if (room == NULL)
		return ERR_NOMEM;
	w = writer_over(room, text.len);
	json_unescape(text, &w);
	*w.at = '\0'; /* the byte behind the writer's end, if it is full */
	*out = writer_done(&w);
	return ERR_OK;
}

/* Reads a text byte by byte of its meaning. */
struct text_reader {
	struct str text;
	char       bytes[4];
	size_t     at, count;
};

static int text_byte(struct text_reader *r)
{
	if (r->at == r->count) {
		r->at = 0;
		r->count = json_text_next(&r->text, r->bytes);
	}
	return r->count == 0 ? -1 : (uint8_t)r->bytes[r->at++];
}

static int text_cmp_slowly(struct str a, struct str b)
{
	struct text_reader ra = { .text = a }, rb = { .text = b };
	int                ca, cb;

	do {
		ca = text_byte(&ra);
		cb = text_byte(&rb);
	} while (ca == cb && ca >= 0);
	return (ca > cb) - (ca < cb);
}

static bool has_escape(struct str text)
{
	return str_find(text, '\\') != text.len;
}

int json_text_cmp(struct str a, struct str b)
{
	return has_escape(a) || has_escape(b) ? text_cmp_slowly(a, b) : str_cmp(a, b);
}

bool json_text_eq(struct str text, struct str plain)
{
	struct text_reader r = { .text = text };

	if (!has_escape(text))
		return str_eq(text, plain);
	for (size_t i = 0; i < plain.len; i++)
		if (text_byte(&r) != (uint8_t)plain.ptr[i])
			return false;
	return text_byte(&r) < 0;
}

enum err json_to_integer(struct str number, int64_t *out)
{
	const uint64_t max = ((uint64_t)1 << 53) - 1; /* Appendices, "Canonical JSON" */
	bool           minus = number.len > 0 && number.ptr[0] == '-';
	uint64_t       v;

	if (!str_to_u64(str_from(number, minus ? 1 : 0), max, &v))
		return ERR_RANGE;
	*out = minus ? -(int64_t)v : (int64_t)v;
	return ERR_OK;
}
