#include "codec/json/canon.h"

#include <stdlib.h>

/* ---- what is canonical about one text, one number ---- */

/* One such character, escaped; at most 6 bytes. */
static size_t spell_char(char c, char *bytes)
{
	static const char controls[] = "\b\t\n\f\r", names[] = "btnfr", hex[] = "0123456789abcdef";
	const char       *hit = c == '\0' ? NULL : strchr(controls, c);

	bytes[0] = '\\';
	if (c == '"' || c == '\\' || hit != NULL) {
		bytes[1] = hit != NULL ? names[hit - controls] : c;
		return 2;
	}
	memcpy(bytes + 1, "u00", 3);
	bytes[4] = hex[(unsigned char)c >> 4];
	bytes[5] = hex[c & 15];
	return 6;
}

/* Control characters, quote, backslash: what canonical JSON writes with a backslash. */
static bool needs_escape(char c)
{
	return (unsigned char)c < 0x20 || c == '"' || c == '\\';
}

/*
 * The canonical spelling of the character at the head of a scanned text, which is advanced behind
 * it. Returns its length, at most 6; bytes must have room for that.
 */
static size_t spell_next(struct str *text, char *bytes)
{
	size_t n = json_text_next(text, bytes);

	return n == 1 && needs_escape(bytes[0]) ? spell_char(bytes[0], bytes) : n;
}

static bool is_canonical_text(struct str text)
{
	for (;;) {
		size_t run = str_find(text, '\\');
		char   bytes[6];
		size_t n;

		text = str_from(text, run);
		if (text.len == 0)
			return true;
		struct str written = text;

		n = spell_next(&text, bytes);
		if (!str_eq(str_head(written, written.len - text.len), str_span(bytes, n)))
			return false;
	}
}

static bool has_point_or_exponent(struct str number)
{
	for (size_t i = 0; i < number.len; i++)
		if (number.ptr[i] == '.' || number.ptr[i] == 'e' || number.ptr[i] == 'E')
			return true;
	return false;
}

static bool is_odd_number(struct str number)
{
	return has_point_or_exponent(number) || str_eq(number, STRL("-0"));
}

enum {
	INTEGER_DIGITS = 16,    /* of 2^53 - 1 */
	INTEGER_CHARS = 32,     /* room for one, with sign */
	EXPONENT_MAX = 1 << 28, /* beyond it all exponents are equally far out */
};

/* A number as digits times a power of ten; digits without zeros at either end. */
struct decimal {
	bool    minus;
	char    digits[INTEGER_DIGITS];
	size_t  count;
	int64_t power;
};

/* One digit more behind zeros that were held back. False: too many to be an integer of ours. */
static bool decimal_digit(struct decimal *d, char digit, size_t zeros)
{
	if (d->count == 0)
		zeros = 0;
	if (zeros >= sizeof(d->digits) - d->count)
		return false;
	memset(d->digits + d->count, '0', zeros);
	d->count += zeros;
	d->digits[d->count++] = digit;
	return true;
}

static bool decimal_mantissa(struct decimal *d, struct str *rest)
{
	size_t zeros = 0, i;
	bool   fraction = false;

	for (i = 0; i < rest->len && rest->ptr[i] != 'e' && rest->ptr[i] != 'E'; i++) {
		char c = rest->ptr[i];

		if (c == '.') {
			fraction = true;
			continue;
		}
		d->power -= fraction;
		if (c == '0') {
			zeros++;
			continue;
		}
		if (!decimal_digit(d, c, zeros))
			return false;
		zeros = 0;
	}
	d->power += (int64_t)zeros;
	*rest = str_from(*rest, i + 1);
	return true;
}

static int64_t exponent_of(struct str text)
{
	bool    minus = text.len > 0 && text.ptr[0] == '-';
	int64_t v = 0;

	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] >= '0' && text.ptr[i] <= '9' && v < EXPONENT_MAX)
			v = v * 10 + (text.ptr[i] - '0');
	return minus ? -v : v;
}

static bool decimal_read(struct str number, struct decimal *d)
{
	*d = (struct decimal){ .minus = number.ptr[0] == '-' };
	if (d->minus)
		number = str_from(number, 1);
	if (!decimal_mantissa(d, &number))
		return false;
	d->power += exponent_of(number);
	return true;
}

/* The integer that an odd number equals. */
static enum err spell_integer(struct str number, struct writer *w)
{
	const char     zeros[] = "0000000000000000";
	struct decimal d;
	struct str     digits;
	uint64_t       v;

	if (!decimal_read(number, &d))
		return ERR_RANGE;
	if (d.count == 0) {
		write_char(w, '0');
		return ERR_OK;
	}
	if (d.power < 0 || d.power > (int64_t)(INTEGER_DIGITS - d.count))
		return ERR_RANGE;
	if (d.minus)
		write_char(w, '-');
	write_bytes(w, d.digits, d.count);
	write_bytes(w, zeros, (size_t)d.power);
	digits = str_from(writer_done(w), d.minus ? 1 : 0);
	return str_to_u64(digits, ((uint64_t)1 << 53) - 1, &v) ? ERR_OK : ERR_RANGE;
}

/* ---- growing lists, one budget ---- */

static enum err words_add(struct canon_words *w, uint32_t word, size_t *budget)
{
	size_t    size = w->size == 0 ? 16 : w->size * 2;
	uint32_t *at;

	if (w->count < w->size) {
		w->at[w->count++] = word;
		return ERR_OK;
	}
	if ((size - w->size) * sizeof(*at) > *budget)
		return ERR_LIMIT;
	at = realloc(w->at, size * sizeof(*at));
	if (at == NULL)
		return ERR_NOMEM;
	*budget -= (size - w->size) * sizeof(*at);
	w->at = at;
	w->size = size;
	w->at[w->count++] = word;
	return ERR_OK;
}

static void words_free(struct canon_words *w)
{
	free(w->at);
	*w = (struct canon_words){ .at = NULL };
}

/* ---- sorting in place, O(n log n) whatever the input ---- */

struct sorter {
	int (*cmp)(const struct sorter *s, size_t a, size_t b);
	void (*swap)(const struct sorter *s, size_t a, size_t b);
	struct str doc;
	uint32_t  *words;
};

/*
 * Bottom-up: down to a leaf along the larger children, up again to where the element belongs, and
 * only then move. Half the comparisons of the textbook's way; comparing keys is what costs.
 */
static size_t leaf_below(const struct sorter *s, size_t at, size_t count, unsigned *levels)
{
	for (*levels = 0; at * 2 + 1 < count; ++*levels) {
		at = at * 2 + 1;
		if (at + 1 < count && s->cmp(s, at, at + 1) < 0)
			at++;
	}
	return at;
}

static void sift_down(const struct sorter *s, size_t at, size_t count)
{
	unsigned levels;
	size_t   to = leaf_below(s, at, count, &levels);

	while (levels > 0 && s->cmp(s, at, to) > 0) {
		to = (to - 1) / 2;
		levels--;
	}
	while (levels > 0) { /* the ancestors of `to`, from above */
		size_t next = ((to + 1) >> --levels) - 1;

		s->swap(s, at, next);
		at = next;
	}
}

static void heap_sort(const struct sorter *s, size_t count)
{
	for (size_t i = count / 2; i-- > 0;)
		sift_down(s, i, count);
	for (size_t end = count; end-- > 1;) {
		s->swap(s, 0, end);
		sift_down(s, 0, end);
	}
}

/* Where the text ends that begins behind the quote at doc[at]: the offset of the closing quote. */
static size_t text_end(struct str doc, size_t at)
{
	for (at++; doc.ptr[at] != '"'; at++)
		if (doc.ptr[at] == '\\')
			at++;
	return at;
}

static struct str text_at(struct str doc, size_t at)
{
	return str_span(doc.ptr + at + 1, text_end(doc, at) - at - 1);
}

/* Bytes that two texts spell alike at this point: one character or one escape; 0: they differ. */
static size_t same_unit(const char *a, const char *b)
{
	size_t n = a[0] != '\\' ? 1 : a[1] != 'u' ? 2 : 6;

	for (size_t i = 0; i < n; i++)
		if (a[i] != b[i])
			return 0;
	return n;
}

/* As json_text_cmp, for the keys whose opening quotes are at a and b; fast while spelled alike. */
static int key_at_cmp(struct str doc, size_t a, size_t b)
{
	const char *ka = doc.ptr + a + 1, *kb = doc.ptr + b + 1;
	size_t      n;

	while (*ka != '"' && (n = same_unit(ka, kb)) > 0) {
		ka += n;
		kb += n;
	}
	if (*ka != '\\' && *kb != '\\') {
		int ca = *ka == '"' ? -1 : (uint8_t)*ka, cb = *kb == '"' ? -1 : (uint8_t)*kb;

		return (ca > cb) - (ca < cb);
	}
	a = (size_t)(ka - doc.ptr) - 1; /* as if the quote stood here */
	b = (size_t)(kb - doc.ptr) - 1;
	return json_text_cmp(text_at(doc, a), text_at(doc, b));
}

static int key_cmp(const struct sorter *s, size_t a, size_t b)
{
	return key_at_cmp(s->doc, s->words[a], s->words[b]);
}

static void key_swap(const struct sorter *s, size_t a, size_t b)
{
	uint32_t word = s->words[a];

	s->words[a] = s->words[b];
	s->words[b] = word;
}

/* An object that is out of order, as four words of canon.objects. */
enum { OBJECT_AT, OBJECT_END, OBJECT_FIRST, OBJECT_MEMBERS, OBJECT_WORDS };

static int object_cmp(const struct sorter *s, size_t a, size_t b)
{
	uint32_t wa = s->words[a * OBJECT_WORDS], wb = s->words[b * OBJECT_WORDS];

	return (wa > wb) - (wa < wb);
}

static void object_swap(const struct sorter *s, size_t a, size_t b)
{
	for (size_t i = 0; i < OBJECT_WORDS; i++)
		key_swap(s, a * OBJECT_WORDS + i, b * OBJECT_WORDS + i);
}

/* ---- first pass: check, and note what is out of order ---- */

/* One open object of the first pass. */
struct level {
	uint32_t   at;      /* its offset */
	size_t     base;    /* its first member in build.open */
	struct str last;    /* the latest key */
	bool       ordered; /* so far */
};

struct build {
	struct canon      *c;
	struct canon_words open; /* offsets of the keys of all open objects */
	size_t             budget;
	bool               for_signature;
	bool               strict; /* the first thing that is not canonical is an error */
	struct level       levels[JSON_DEPTH_MAX];
};

static bool is_left_out(struct str key)
{
	return json_text_eq(key, STRL("signatures")) || json_text_eq(key, STRL("unsigned"));
}

static enum err out_of_form(struct build *b)
{
	b->c->in_form = false;
	return b->strict ? ERR_SYNTAX : ERR_OK;
}

static enum err note_key(struct build *b, const struct json_token *t)
{
	struct level *l = &b->levels[t->depth - 1];
	int           order = b->open.count > l->base ? json_text_cmp(l->last, t->text) : -1;
	enum err      e = ERR_OK;

	if (order == 0)
		return ERR_SYNTAX;
	if (order > 0) {
		l->ordered = false;
		e = out_of_form(b);
	}
	l->last = t->text;
	if (e == ERR_OK && t->escaped && !is_canonical_text(t->text))
		e = out_of_form(b);
	return e != ERR_OK ? e : words_add(&b->open, (uint32_t)t->at, &b->budget);
}

static enum err note_number(struct build *b, struct str number)
{
	int64_t v;

	if (is_odd_number(number)) {
		b->c->odd_numbers = true;
		return b->strict ? ERR_SYNTAX : ERR_OK;
	}
	return b->strict ? json_to_integer(number, &v) : ERR_OK;
}

static void begin_level(struct build *b, const struct json_token *t)
{
	b->levels[t->depth] = (struct level){
		.at = (uint32_t)t->at,
		.base = b->open.count,
		.last = { "", 0 },
		.ordered = true,
	};
}

static bool has_repeats(const struct sorter *s, size_t count)
{
	for (size_t i = 1; i < count; i++)
		if (key_cmp(s, i - 1, i) == 0)
			return true;
	return false;
}

/* Takes what is not signed out of the members; returns how many remain. */
static size_t leave_out(struct str doc, uint32_t *members, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < count; i++)
		if (!is_left_out(text_at(doc, members[i])))
			members[kept++] = members[i];
	return kept;
}

static enum err keep_object(struct build *b, const struct level *l, size_t end, size_t count)
{
	struct canon  *c = b->c;
	const uint32_t words[OBJECT_WORDS] = { l->at, (uint32_t)end, (uint32_t)c->members.count,
		                               (uint32_t)count };
	enum err       e = ERR_OK;

	for (size_t i = 0; i < OBJECT_WORDS && e == ERR_OK; i++)
		e = words_add(&c->objects, words[i], &b->budget);
	for (size_t i = 0; i < count && e == ERR_OK; i++)
		e = words_add(&c->members, b->open.at[l->base + i], &b->budget);
	return e;
}

static enum err end_level(struct build *b, const struct json_token *t)
{
	const struct level *l = &b->levels[t->depth];
	size_t              count = b->open.count - l->base, kept = count;
	struct sorter       s = { key_cmp, key_swap, b->c->doc, NULL };
	enum err            e = ERR_OK;

	if (count > 0)
		s.words = b->open.at + l->base;
	if (!l->ordered) {
		heap_sort(&s, count);
		if (has_repeats(&s, count))
			return ERR_SYNTAX;
	}
	if (t->depth == 0 && b->for_signature)
		kept = leave_out(b->c->doc, s.words, count);
	if (!l->ordered || kept < count)
		e = keep_object(b, l, t->end, kept);
	b->open.count = l->base;
	return e;
}

static enum err note_token(struct build *b, const struct json_token *t)
{
	switch (t->kind) {
	case JSON_KEY:
		return note_key(b, t);
	case JSON_STRING:
		return t->escaped && !is_canonical_text(t->text) ? out_of_form(b) : ERR_OK;
	case JSON_NUMBER:
		return note_number(b, t->text);
	case JSON_OBJECT:
		begin_level(b, t);
		return ERR_OK;
	case JSON_OBJECT_END:
		return end_level(b, t);
	case JSON_NONE:
	case JSON_ARRAY:
	case JSON_ARRAY_END:
	case JSON_TRUE:
	case JSON_FALSE:
	case JSON_NULL:
	case JSON_END:
		return ERR_OK;
	}
	return ERR_OK;
}

static enum err first_pass(struct build *b, const struct json_limits *limits)
{
	struct str        rest = b->c->doc;
	struct json_scan  s;
	struct json_token t;
	enum err          e = ERR_OK;

	json_scan_init(&s, limits, NULL, 0);
	do {
		e = json_scan_next(&s, &rest, true, &t);
		if (e == ERR_OK && s.tokens == 1)
			b->c->kind = t.kind;
		if (e == ERR_OK)
			e = note_token(b, &t);
		if (e == ERR_OK && s.blanks > 0)
			e = out_of_form(b);
	} while (e == ERR_OK && t.kind != JSON_END);
	return e;
}

static enum err build_index(struct build *b, const struct json_limits *limits)
{
	struct sorter s = { object_cmp, object_swap, b->c->doc, NULL };
	enum err      e;

	if (b->c->doc.len > UINT32_MAX)
		return ERR_TOO_LARGE;
	e = first_pass(b, limits);
	words_free(&b->open);
	s.words = b->c->objects.at;
	if (e == ERR_OK)
		heap_sort(&s, b->c->objects.count / OBJECT_WORDS);
	else
		canon_close(b->c);
	return e;
}

enum err canon_open(struct canon *c, struct str doc, const struct canon_options *options)
{
	const struct canon_options  defaults = { .limits = NULL };
	const struct canon_options *o = options != NULL ? options : &defaults;
	struct build                b = {
			       .c = c,
			       .budget = o->index_max != 0 ? o->index_max : CANON_INDEX_MAX,
			       .for_signature = o->for_signature,
	};

	*c = (struct canon){ .doc = doc, .in_form = true };
	return build_index(&b, o->limits);
}

void canon_close(struct canon *c)
{
	words_free(&c->objects);
	words_free(&c->members);
}

enum err canon_check(struct str doc, const struct json_limits *limits)
{
	struct canon c = { .doc = doc, .in_form = true };
	struct build b = { .c = &c, .budget = CANON_INDEX_MAX, .strict = true };
	enum err     e = build_index(&b, limits);

	canon_close(&c);
	return e;
}

/* ---- second pass: write. The document is known to be well-formed. ---- */

enum frame_kind { FRAME_ARRAY, FRAME_OBJECT, FRAME_SORTED };

/* One open container of the second pass. */
struct frame {
	enum frame_kind kind;
	/* of FRAME_SORTED only */
	uint32_t next, last; /* members to come, canon.members[next..last) */
	uint32_t end;        /* offset behind the object */
};

/* What comes at emit.at. */
enum emit_state {
	EMIT_VALUE,
	EMIT_KEY,
	EMIT_AFTER, /* a value has ended */
	EMIT_DONE,
};

struct emit {
	const struct canon *c;
	enum canon_numbers  numbers;
	canon_sink_fn      *sink;
	void               *arg;
	enum emit_state     state;
	enum err            err; /* of the sink or a number; sticky */
	struct str          run; /* gathered for the sink: neighbours in memory become one piece */
	size_t              at;  /* offset in the document */
	size_t              depth;
	struct frame        frames[JSON_DEPTH_MAX];
};

static void emit_flush(struct emit *m)
{
	if (m->run.len > 0 && m->err == ERR_OK)
		m->err = m->sink(m->arg, m->run);
	m->run.len = 0;
}

/* piece must stay in place until the next flush */
static void emit_piece(struct emit *m, struct str piece)
{
	if (m->run.len > 0 && m->run.ptr + m->run.len == piece.ptr) {
		m->run.len += piece.len;
		return;
	}
	emit_flush(m);
	m->run = piece;
}

/* The next n bytes of the document, as they are. */
static void emit_raw(struct emit *m, size_t n)
{
	emit_piece(m, str_span(m->c->doc.ptr + m->at, n));
	m->at += n;
}

static void emit_bytes(struct emit *m, const char *bytes, size_t n)
{
	emit_piece(m, str_span(bytes, n));
	emit_flush(m);
}

static char here(const struct emit *m)
{
	return m->c->doc.ptr[m->at];
}

static void skip_blanks(struct emit *m)
{
	while (here(m) == ' ' || here(m) == '\n' || here(m) == '\r' || here(m) == '\t')
		m->at++;
}

static void emit_escape(struct emit *m, struct str *text)
{
	struct str before = *text;
	char       bytes[6];
	size_t     n = spell_next(text, bytes), written = before.len - text->len;

	if (str_eq(str_head(before, written), str_span(bytes, n))) {
		emit_raw(m, written);
		return;
	}
	emit_bytes(m, bytes, n);
	m->at += written;
}

static void emit_text(struct emit *m)
{
	struct str text = text_at(m->c->doc, m->at);

	emit_raw(m, 1);
	while (text.len > 0) {
		size_t run = str_find(text, '\\');

		emit_raw(m, run);
		text = str_from(text, run);
		if (text.len > 0)
			emit_escape(m, &text);
	}
	emit_raw(m, 1);
}

static size_t number_length(const struct emit *m)
{
	size_t n = 0;

	while (m->at + n < m->c->doc.len) {
		char c = m->c->doc.ptr[m->at + n];

		if (!(c >= '0' && c <= '9') && (c == '\0' || strchr("+-.eE", c) == NULL))
			break;
		n++;
	}
	return n;
}

static void emit_number(struct emit *m)
{
	struct str    number = str_span(m->c->doc.ptr + m->at, number_length(m));
	char          room[INTEGER_CHARS];
	struct writer w = writer_over(room, sizeof(room));
	enum err      e;

	if (m->numbers == CANON_AS_RECEIVED || !is_odd_number(number)) {
		emit_raw(m, number.len);
		return;
	}
	e = spell_integer(number, &w);
	if (e == ERR_OK)
		emit_bytes(m, room, writer_done(&w).len);
	else if (m->err == ERR_OK)
		m->err = e;
	m->at += number.len;
}

/* The four words of the object at this offset, or NULL when it is in order. */
static const uint32_t *sorted_object(const struct canon *c, size_t at)
{
	size_t low = 0, top = c->objects.count / OBJECT_WORDS;

	while (low < top) {
		size_t          middle = low + (top - low) / 2;
		const uint32_t *words = c->objects.at + middle * OBJECT_WORDS;

		if (words[OBJECT_AT] == at)
			return words;
		if (words[OBJECT_AT] < at)
			low = middle + 1;
		else
			top = middle;
	}
	return NULL;
}

static void close_frame(struct emit *m)
{
	m->depth--;
	m->state = EMIT_AFTER;
}

/* The next member in sorted order, or the end of the object. */
static void next_sorted(struct emit *m, bool first)
{
	struct frame *f = &m->frames[m->depth - 1];

	if (f->next == f->last) {
		emit_piece(m, STRL("}"));
		m->at = f->end;
		close_frame(m);
		return;
	}
	if (!first)
		emit_piece(m, STRL(","));
	m->at = m->c->members.at[f->next++];
	m->state = EMIT_KEY;
}

static void open_frame(struct emit *m, enum frame_kind kind)
{
	m->frames[m->depth++] = (struct frame){ .kind = kind };
	emit_raw(m, 1);
	skip_blanks(m);
	if (here(m) == '}' || here(m) == ']') {
		emit_raw(m, 1);
		close_frame(m);
		return;
	}
	m->state = kind == FRAME_OBJECT ? EMIT_KEY : EMIT_VALUE;
}

static void open_object(struct emit *m)
{
	const uint32_t *words = sorted_object(m->c, m->at);

	if (words == NULL) {
		open_frame(m, FRAME_OBJECT);
		return;
	}
	m->frames[m->depth++] = (struct frame){
		.kind = FRAME_SORTED,
		.next = words[OBJECT_FIRST],
		.last = words[OBJECT_FIRST] + words[OBJECT_MEMBERS],
		.end = words[OBJECT_END],
	};
	emit_raw(m, 1);
	next_sorted(m, true);
}

static void emit_value(struct emit *m)
{
	m->state = EMIT_AFTER;
	switch (here(m)) {
	case '{':
		open_object(m);
		break;
	case '[':
		open_frame(m, FRAME_ARRAY);
		break;
	case '"':
		emit_text(m);
		break;
	case 't':
	case 'n':
		emit_raw(m, 4);
		break;
	case 'f':
		emit_raw(m, 5);
		break;
	default:
		emit_number(m);
		break;
	}
}

static void emit_key(struct emit *m)
{
	emit_text(m);
	skip_blanks(m);
	emit_raw(m, 1); /* the colon */
	skip_blanks(m);
	m->state = EMIT_VALUE;
}

static void emit_after(struct emit *m)
{
	enum frame_kind kind;

	if (m->depth == 0) {
		m->state = EMIT_DONE;
		return;
	}
	kind = m->frames[m->depth - 1].kind;
	if (kind == FRAME_SORTED) {
		next_sorted(m, false);
		return;
	}
	skip_blanks(m);
	if (here(m) != ',') {
		emit_raw(m, 1);
		close_frame(m);
		return;
	}
	emit_raw(m, 1);
	skip_blanks(m);
	m->state = kind == FRAME_OBJECT ? EMIT_KEY : EMIT_VALUE;
}

static void emit_step(struct emit *m)
{
	switch (m->state) {
	case EMIT_VALUE:
		emit_value(m);
		break;
	case EMIT_KEY:
		emit_key(m);
		break;
	case EMIT_AFTER:
		emit_after(m);
		break;
	case EMIT_DONE:
		break;
	}
}

enum err canon_emit(const struct canon *c, enum canon_numbers numbers, canon_sink_fn *sink,
                    void *arg)
{
	struct emit m = { .c = c, .numbers = numbers, .sink = sink, .arg = arg };

	m.run = str_head(c->doc, 0);
	skip_blanks(&m);
	while (m.state != EMIT_DONE && m.err == ERR_OK)
		emit_step(&m);
	emit_flush(&m);
	return m.err;
}

static enum err sink_to_buf(void *arg, struct str piece)
{
	return buf_add(arg, piece);
}

enum err canon_emit_buf(const struct canon *c, enum canon_numbers numbers, struct buf *out)
{
	return canon_emit(c, numbers, sink_to_buf, out);
}

static size_t unescaped_run(struct str plain)
{
	size_t n = 0;

	while (n < plain.len && !needs_escape(plain.ptr[n]))
		n++;
	return n;
}

static enum err add_quoted(struct buf *out, struct str plain)
{
	enum err e = buf_add(out, STRL("\""));

	while (plain.len > 0 && e == ERR_OK) {
		size_t run = unescaped_run(plain);
		char   bytes[6];

		e = buf_add(out, str_head(plain, run));
		plain = str_from(plain, run);
		if (plain.len == 0 || e != ERR_OK)
			continue;
		e = buf_add(out, str_span(bytes, spell_char(plain.ptr[0], bytes)));
		plain = str_from(plain, 1);
	}
	return e == ERR_OK ? buf_add(out, STRL("\"")) : e;
}

enum err canon_add_text(struct buf *out, struct str plain)
{
	size_t   before = buf_len(out);
	enum err e = add_quoted(out, plain);

	return e == ERR_OK ? json_check(str_from(buf_str(out), before), NULL) : e;
}

enum err canon_write(struct str doc, const struct canon_options *options,
                     enum canon_numbers numbers, struct buf *out)
{
	struct canon c;
	enum err     e = canon_open(&c, doc, options);

	if (e != ERR_OK)
		return e;
	e = canon_emit_buf(&c, numbers, out);
	canon_close(&c);
	return e;
}
