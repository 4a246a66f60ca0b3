/*
 * UCI text: whatever it is, strict and lenient readings end, and what strict accepts both read the
 * same; every slice lies within the arena's copy, every value belongs to an option.
 */
#include "codec/uci.h"

#include "support/exact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t digest(const struct uci *u)
{
	uint32_t h = 0;

	for (const struct uci_section *s = u->first; s != NULL; s = s->next) {
		check(s->type.len > 0 && s->place.line > 0 && s->place.column > 0);
		h = h * 31 + str_hash(s->type);
		h = h * 31 + str_hash(s->name);
		for (const struct uci_option *o = s->first; o != NULL; o = o->next) {
			check(o->name.len > 0 && o->first != NULL);
			check(o->is_list || (o->first == o->last && o->first->text.len > 0));
			h = h * 31 + str_hash(o->name);
			for (const struct uci_value *v = o->first; v != NULL; v = v->next)
				h = h * 31 + str_hash(v->text);
		}
	}
	return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct exact     x;
	struct str       text = exact_copy(&x, str_span(data, size));
	struct arena     strict_arena, lenient_arena;
	struct uci       strict = { NULL, NULL }, lenient = { NULL, NULL };
	struct uci_fault fault;
	enum err         e;

	arena_init(&strict_arena, 1 << 20);
	arena_init(&lenient_arena, 1 << 20);
	e = uci_parse(text, UCI_STRICT, &strict_arena, &strict, &fault);
	check((e == ERR_SYNTAX) == (fault.reason != NULL));
	if (fault.reason != NULL)
		check(fault.place.line > 0 && fault.place.column > 0);
	if (uci_parse(text, UCI_LENIENT, &lenient_arena, &lenient, &fault) == ERR_OK && e == ERR_OK)
		check(digest(&strict) == digest(&lenient));
	arena_fini(&strict_arena);
	arena_fini(&lenient_arena);
	exact_free(&x);
	return 0;
}
