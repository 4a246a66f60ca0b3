/*
 * Canonical JSON: the canonical form of a canonical form is itself, it is never longer than the
 * document, and the strict check accepts it unless a number stands in the way.
 *
 * Input: the document.
 */
#include <stdint.h>

#include "codec/json/canon.h"

static void check_form(struct str doc, enum canon_numbers numbers, bool for_signature)
{
	const struct canon_options options = { .for_signature = for_signature };
	struct canon               c, again;
	struct buf                 once, twice;

	if (canon_open(&c, doc, &options) != ERR_OK)
		return;
	buf_init(&once, doc.len * 8);
	buf_init(&twice, doc.len * 8);
	if (canon_emit_buf(&c, numbers, &once) == ERR_OK) {
		check(numbers == CANON_INTEGERS || buf_len(&once) <= doc.len);
		check(canon_open(&again, buf_str(&once), &options) == ERR_OK);
		check(again.in_form && (numbers == CANON_AS_RECEIVED || !again.odd_numbers));
		check(canon_emit_buf(&again, numbers, &twice) == ERR_OK);
		check(str_eq(buf_str(&once), buf_str(&twice)));
		canon_close(&again);
		if (!c.odd_numbers)
			check(canon_check(buf_str(&once), NULL) != ERR_SYNTAX);
		check(canon_check(doc, NULL) != ERR_OK || for_signature ||
		      str_eq(buf_str(&once), doc));
	}
	canon_close(&c);
	buf_fini(&once);
	buf_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str doc = str_span(data, size);

	check_form(doc, CANON_AS_RECEIVED, false);
	check_form(doc, CANON_AS_RECEIVED, true);
	check_form(doc, CANON_INTEGERS, false);
	return 0;
}
