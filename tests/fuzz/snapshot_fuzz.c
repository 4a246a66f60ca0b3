/*
 * Names of kept answers: whatever the target, a name is short, printable, begins with its endpoint and our
 * server_name, and stays the same when the target is spelled with more escapes.
 *
 * Input: method, blank, target up to a line feed, the body.
 */
#include <stdint.h>

#include "base/err.h"
#include "fed/snapshot.h"

enum { ROOM = 16 * 1024 };

static bool name_of(struct str method, struct str target, struct str body, struct asleep_match *m,
                    struct writer *w)
{
	struct snapshot_question q = { .match = m,
		                       .server_name = STRL("example.org"),
		                       .origin = STRL("asker.test"),
		                       .target = target,
		                       .body = body };

	asleep_find(method, target, m);
	return snapshot_name(&q, w);
}

static void check_name(const struct asleep_match *m, struct str name)
{
	char          room[64];
	struct writer w = writer_over(room, sizeof(room));

	write_text(&w, m->row->slug);
	write_text(&w, "\nexample.org");
	check(str_starts(name, writer_done(&w)));
	check(m->row->scope != ASLEEP_KEEP_NOTHING);
	for (size_t i = 0; i < name.len; i++)
		check((unsigned char)name.ptr[i] >= 0x20 || name.ptr[i] == '\n');
}

/* Escapes what has no meaning of its own; not in names of parameters. */
static void write_escaped(struct writer *w, struct str target)
{
	bool in_name = false, in_query = false;

	for (size_t i = 0; i < target.len; i++) {
		unsigned char c = (unsigned char)target.ptr[i];

		in_query |= c == '?';
		in_name = c == '?' || (in_query && c == '&') || (in_name && c != '=');
		if (in_name || strchr("/?&=%+;", c) != NULL || c == '_' || c == '-' ||
		    (c >= '0' && c <= '9')) {
			write_char(w, (char)c);
			continue;
		}
		write_char(w, '%');
		write_char(w, "0123456789abcdef"[c >> 4]);
		write_char(w, "0123456789ABCDEF"[c & 15]);
	}
}

/* Where an id may be spelled in many ways. */
static bool has_spellings(enum asleep_endpoint e)
{
	return e == ASLEEP_PROFILE || e == ASLEEP_DIRECTORY || e == ASLEEP_USER_DEVICES;
}

static void check_spelling(struct str method, const struct asleep_match *m, struct str target,
                           struct str name)
{
	static char   room[ROOM], other[SNAPSHOT_NAME_MAX];
	struct writer w = writer_over(room, sizeof(room)), wn = writer_over(other, sizeof(other));
	struct asleep_match again;

	write_escaped(&w, target);
	if (w.failed || !has_spellings(m->endpoint) || str_find(target, '%') < target.len)
		return;
	check(name_of(method, writer_done(&w), STRL(""), &again, &wn));
	check(str_eq(writer_done(&wn), name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char         room[SNAPSHOT_NAME_MAX];
	struct str          all = str_span(data, size);
	struct str          method = str_head(all, str_find(all, ' ')), target;
	struct writer       w = writer_over(room, sizeof(room));
	struct asleep_match m;

	all = str_from(all, method.len + 1);
	target = str_head(all, str_find(all, '\n'));
	if (!name_of(method, target, str_from(all, target.len + 1), &m, &w))
		return 0;
	check_name(&m, writer_done(&w));
	check_spelling(method, &m, target, writer_done(&w));
	return 0;
}
