/*
 * A configuration's text: it is taken, or refused with one line; what is taken can be shown, and what
 * is shown can be read again. No file is touched.
 */
#include <stdio.h>
#include <stdlib.h>

#include "app/config_check.h"
#include "app/config_show.h"
#include "support/exact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BUDGET = 1 << 20 };

static enum err read_document(struct config_document *d, struct arena *arena, struct str text,
                              struct config_report *report)
{
	const struct config_source source = { .path = "F", .memory_kb = 1 << 17 };

	arena_init(arena, BUDGET);
	return config_document_read(d, &source, text, arena, report);
}

static void show_and_read_again(const struct config_document *d)
{
	static struct config_report report;
	struct config_document      again;
	struct arena                arena;
	char                       *text = NULL;
	size_t                      len = 0;
	FILE                       *f = open_memstream(&text, &len);

	check(f != NULL);
	config_show(d, f);
	check(fclose(f) == 0);
	check(read_document(&again, &arena, str_span(text, len), &report) != ERR_CONFIG);
	arena_fini(&arena);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config_report report;
	struct exact                x;
	struct str                  text = exact_copy(&x, str_span(data, size));
	struct config_document      d;
	struct arena                arena;
	enum err                    e = read_document(&d, &arena, text, &report);

	check((e == ERR_OK) == (report.error[0] == '\0'));
	if (e == ERR_OK) {
		show_and_read_again(&d);
		e = config_check(&d);
		check((e == ERR_OK) == (report.error[0] == '\0'));
	}
	check(memchr(report.error, '\0', sizeof(report.error)) != NULL);
	arena_fini(&arena);
	exact_free(&x);
	return 0;
}
