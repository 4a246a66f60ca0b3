#include "base/cursor.h"

void write_bytes(struct writer *w, const void *p, size_t n)
{
	if (w->failed || n > (size_t)(w->end - w->at)) {
		w->failed = true;
		return;
	}
	if (n > 0)
		memcpy(w->at, p, n);
	w->at += n;
}

void write_text(struct writer *w, const char *c)
{
	write_bytes(w, c, strlen(c));
}

void write_char(struct writer *w, char c)
{
	write_bytes(w, &c, 1);
}

void write_be(struct writer *w, uint64_t v, unsigned bytes)
{
	while (bytes-- > 0)
		write_char(w, (char)(v >> (8 * bytes) & 0xff));
}

static void write_digits(struct writer *w, uint64_t v, unsigned base)
{
	char   digits[20];
	size_t n = sizeof(digits);

	do {
		digits[--n] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v != 0);
	write_bytes(w, digits + n, sizeof(digits) - n);
}

void write_u64(struct writer *w, uint64_t v)
{
	write_digits(w, v, 10);
}

void write_hex(struct writer *w, uint64_t v)
{
	write_digits(w, v, 16);
}

static void write_u_escape(struct writer *w, unsigned char c)
{
	const char *hex = "0123456789abcdef";
	char        esc[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };

	write_bytes(w, esc, sizeof(esc));
}

/* Bytes of the UTF-8 sequence in front (RFC 3629, section 4), 0 if there is none. */
static size_t utf8_sequence(struct str s)
{
	static const struct {
		unsigned char first, last, second_min, second_max, len;
	} rows[] = {
		{ 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 },
		{ 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 },
		{ 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
		{ 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};
	const unsigned char *b = (const unsigned char *)s.ptr;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (b[0] < rows[i].first || b[0] > rows[i].last)
			continue;
		if (s.len < rows[i].len || b[1] < rows[i].second_min || b[1] > rows[i].second_max)
			return 0;
		for (size_t k = 2; k < rows[i].len; k++)
			if ((b[k] & 0xc0) != 0x80)
				return 0;
		return rows[i].len;
	}
	return 0;
}

/* Bytes that are not UTF-8 become escapes of their Latin-1 value: always valid JSON, never a guess. */
void write_json_string(struct writer *w, struct str s)
{
	write_char(w, '"');
	while (s.len > 0) {
		unsigned char c = (unsigned char)s.ptr[0];
		size_t        n = c < 0x80 ? 0 : utf8_sequence(s);

		if (c == '"' || c == '\\') {
			write_char(w, '\\');
			write_char(w, (char)c);
		} else if (n > 0) {
			write_bytes(w, s.ptr, n);
		} else if (c < 0x20 || c > 0x7e) {
			write_u_escape(w, c);
		} else {
			write_char(w, (char)c);
		}
		s = str_from(s, n > 0 ? n : 1);
	}
	write_char(w, '"');
}

struct str read_bytes(struct reader *r, size_t n)
{
	struct str s = { (const char *)r->at, n };

	if (r->failed || n > (size_t)(r->end - r->at)) {
		r->failed = true;
		return (struct str){ "", 0 };
	}
	r->at += n;
	return s;
}

uint8_t read_u8(struct reader *r)
{
	struct str s = read_bytes(r, 1);

	return s.len == 1 ? (uint8_t)s.ptr[0] : 0;
}

static uint64_t read_be(struct reader *r, size_t n)
{
	struct str s = read_bytes(r, n);
	uint64_t   v = 0;

	for (size_t i = 0; i < s.len; i++)
		v = v << 8 | (unsigned char)s.ptr[i];
	return v;
}

uint16_t read_u16(struct reader *r)
{
	return (uint16_t)read_be(r, 2);
}

uint32_t read_u32(struct reader *r)
{
	return (uint32_t)read_be(r, 4);
}

uint64_t read_u64(struct reader *r)
{
	return read_be(r, 8);
}
