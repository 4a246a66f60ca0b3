/* Looking a request up in the table of what to do while the homeserver sleeps: any method, any target. */
#include <string.h>

#include "base/err.h"
#include "fed/asleep.h"

static bool is_inside(struct str part, struct str whole)
{
	return part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len;
}

/* Decoding again must not change what is found, except where it brings new escapes or separators. */
static void check_decoded(struct str method, const struct asleep_match *m, struct str target)
{
	static char         room[4096];
	struct writer       w = writer_over(room, sizeof(room));
	struct asleep_match again;

	asleep_write_decoded(&w, str_head(target, str_find(target, '?')));
	if (w.failed || writer_done(&w).len == target.len ||
	    str_find(writer_done(&w), '%') < writer_done(&w).len ||
	    str_find(writer_done(&w), '?') < writer_done(&w).len)
		return;
	for (size_t i = 0; i + 2 < target.len; i++)
		if (target.ptr[i] == '%' && target.ptr[i + 1] == '2' &&
		    (target.ptr[i + 2] | 32) == 'f')
			return;
	asleep_find(method, writer_done(&w), &again);
	check(again.endpoint == m->endpoint && again.arg_count == m->arg_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str          all = str_span(data, size);
	struct str          method = str_head(all, str_find(all, ' '));
	struct str          target = str_from(all, method.len + 1);
	struct asleep_match m;

	asleep_find(method, target, &m);
	check(m.endpoint < ASLEEP_ENDPOINT_COUNT && m.row == asleep_row_of(m.endpoint));
	check(m.arg_count <= ASLEEP_ARGS_MAX);
	for (unsigned i = 0; i < m.arg_count; i++)
		check(m.args[i].len > 0 && is_inside(m.args[i], target) &&
		      str_find(m.args[i], '/') == m.args[i].len &&
		      str_find(m.args[i], '?') == m.args[i].len);
	check_decoded(method, &m, target);
	return 0;
}
