#include "codec/matrix/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

enum { NO_DIGIT = 64 };

static unsigned digit_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (unsigned)(c - 'A');
	if (c >= 'a' && c <= 'z')
		return (unsigned)(c - 'a') + 26;
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0') + 52;
	return c == '+' ? 62 : c == '/' ? 63 : NO_DIGIT;
}

void base64_write(struct writer *w, struct str bytes)
{
	while (bytes.len > 0) {
		size_t        n = bytes.len < 3 ? bytes.len : 3;
		unsigned char in[3] = { 0, 0, 0 };
		char          out[4];

		memcpy(in, bytes.ptr, n);
		out[0] = alphabet[in[0] >> 2];
		out[1] = alphabet[(in[0] & 3) << 4 | in[1] >> 4];
		out[2] = alphabet[(in[1] & 15) << 2 | in[2] >> 6];
		out[3] = alphabet[in[2] & 63];
		write_bytes(w, out, n + 1);
		bytes = str_from(bytes, n);
	}
}

/* Without padding; false if what is there is not exactly what the length asks for. */
static bool strip_padding(struct str *text)
{
	size_t digits = str_find(*text, '='), padding = text->len - digits;

	for (size_t i = digits; i < text->len; i++)
		if (text->ptr[i] != '=')
			return false;
	if (padding > 2 || (padding > 0 && text->len % 4 != 0))
		return false;
	*text = str_head(*text, digits);
	return digits % 4 != 1;
}

enum err base64_read(struct str text, struct writer *w)
{
	unsigned long held = 0; /* bits not yet written, the last `bits` of it */
	unsigned      bits = 0;

	if (!strip_padding(&text))
		return ERR_SYNTAX;
	for (size_t i = 0; i < text.len; i++) {
		unsigned digit = digit_of(text.ptr[i]);

		if (digit == NO_DIGIT)
			return ERR_SYNTAX;
		held = (held << 6 | digit) & 0xFFFF;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			write_char(w, (char)(held >> bits & 0xFF));
		}
	}
	return ERR_OK;
}

enum err base64_read_exactly(struct str text, void *out, size_t n)
{
	struct writer w = writer_over(out, n);
	enum err      e = base64_read(text, &w);

	return e == ERR_OK && !w.failed && writer_room(&w) == 0 ? ERR_OK : ERR_SYNTAX;
}
