/*
 * The JSON scanner: however the text is cut, the tokens and the verdict are the same, and what
 * json_find reads lies within the text.
 *
 * Input: a byte that says how to cut, the text.
 */
#include <stdint.h>
#include <stdlib.h>

#include "codec/json/scan.h"

struct digest {
	uint32_t hash;
	enum err verdict;
};

static void mix(struct digest *d, struct str bytes)
{
	d->hash = d->hash * 31 + str_hash(bytes);
}

static void mix_number(struct digest *d, size_t n)
{
	d->hash = (d->hash ^ (uint32_t)n) * 16777619u;
}

/* All tokens of a piece. False at the end or after an error. */
static bool feed(struct json_scan *s, struct str piece, bool last, struct digest *d)
{
	struct json_token t;

	for (;;) {
		d->verdict = json_scan_next(s, &piece, last, &t);
		if (d->verdict != ERR_OK || t.kind == JSON_NONE)
			return d->verdict == ERR_OK;
		mix_number(d, (size_t)t.kind);
		mix_number(d, t.depth);
		mix_number(d, t.at);
		mix_number(d, t.end);
		mix_number(d, t.escaped);
		check(!t.cut);
		mix(d, t.text);
		if (t.kind == JSON_END)
			return false;
	}
}

static struct digest scan_cut(struct str text, size_t step)
{
	char            *hold = malloc(text.len + 1);
	struct json_scan s;
	struct digest    d = { 0, ERR_OK };
	bool             more = true;

	check(hold != NULL);
	json_scan_init(&s, NULL, hold, text.len);
	for (size_t at = 0; at < text.len && more; at += step)
		more = feed(&s, str_head(str_from(text, at), step), false, &d);
	if (more)
		feed(&s, str_head(text, 0), true, &d);
	free(hold);
	return d;
}

static void check_items(struct str doc)
{
	struct json_items it;
	struct json_item  item;
	enum json_kind    kind;
	enum err          e = json_items_begin(&it, doc, NULL, &kind);

	while (e == ERR_OK) {
		e = json_items_next(&it, &item);
		if (e != ERR_OK || item.kind == JSON_END)
			break;
		check(item.value.ptr >= doc.ptr &&
		      item.value.ptr + item.value.len <= doc.ptr + doc.len);
		/* every value but a text is a document itself */
		check(item.kind == JSON_STRING || json_check(item.value, NULL) == ERR_OK);
		check(json_text_cmp(item.key, item.key) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str    text = str_span(data, size);
	size_t        step;
	struct digest whole, cut;

	if (size == 0)
		return 0;
	step = (size_t)data[0] % 16 + 1;
	text = str_from(text, 1);
	whole = scan_cut(text, text.len + 1);
	cut = scan_cut(text, step);
	check(whole.hash == cut.hash && whole.verdict == cut.verdict);
	check(json_check(text, NULL) == whole.verdict);
	check_items(text);
	return 0;
}
