/*
 * Is an answer with media complete? The same in pieces as in one, and never without what a second, slow
 * reading finds: three delimiters at the beginnings of lines, the last one closing.
 *
 * Input: a byte for the size of the pieces, the content type up to a line feed, the body.
 */
#include <stdint.h>

#include "base/err.h"
#include "fed/two_parts.h"

static bool look(struct str type, struct str body, size_t piece)
{
	struct two_parts p;

	if (!two_parts_init(&p, type))
		return false;
	for (; body.len > 0; body = str_from(body, piece))
		two_parts_feed(&p, str_head(body, piece));
	check(p.parts <= 3 && p.line_len <= sizeof(p.line) && p.matched < p.delimiter_len);
	return two_parts_is_complete(&p);
}

static size_t count_delimiters(struct str delimiter, struct str body)
{
	size_t n = str_starts(body, str_from(delimiter, 2));

	for (; body.len > 0; body = str_from(body, 1))
		n += str_starts(body, delimiter);
	return n;
}

static void check_second_reading(struct str type, struct str body)
{
	struct two_parts p;

	check(two_parts_init(&p, type));
	check(count_delimiters(str_span(p.delimiter, p.delimiter_len), body) >= 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str all = str_from(str_span(data, size), 1);
	struct str type = str_head(all, str_find(all, '\n'));
	struct str body = str_from(all, type.len + 1);
	bool       complete = look(type, body, SIZE_MAX);

	check(look(type, body, size > 0 ? data[0] + 1u : 1) == complete);
	if (complete)
		check_second_reading(type, body);
	return 0;
}
