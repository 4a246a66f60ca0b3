/*
 * The X-Matrix field and the message it signs: what is accepted obeys the grammar of its parts, and
 * written in our own spelling it reads the same.
 *
 * Input: the field value, a line feed, the body of the request.
 */
#include <stdint.h>

#include "codec/matrix/key_id.h"
#include "codec/matrix/server_name.h"
#include "codec/matrix/xmatrix.h"

static void check_same(struct str a, struct str b)
{
	check(str_eq(a, b));
}

static void check_rewritten(const struct xmatrix *line)
{
	char           room[8192];
	struct writer  w = writer_over(room, sizeof(room));
	struct xmatrix again;
	struct arena   none;

	if (xmatrix_write(&w, line) != ERR_OK || w.failed)
		return;
	arena_init(&none, 0); /* there are no backslashes in it */
	check(xmatrix_parse(writer_done(&w), &none, &again) == ERR_OK);
	check_same(line->origin, again.origin);
	check_same(line->destination, again.destination);
	check_same(line->key, again.key);
	check_same(line->sig, again.sig);
	arena_fini(&none);
}

static void check_message(const struct xmatrix *line, struct str body)
{
	const struct xmatrix_request r = { STR("PUT"), STR("/_matrix/federation/v1/send/1"),
		                           line->origin, line->destination, body };
	struct xmatrix_message       m;
	struct signing_key           key = { { 1 } };
	struct key_id                id;

	(void)key_id_parse(line->key, &id);
	if (xmatrix_open(&m, &r, 1 << 16) != ERR_OK)
		return;
	check(canon_check(buf_str(&m.bytes), NULL) != ERR_SYNTAX || m.canon.odd_numbers);
	check(xmatrix_verify(&m, line->sig, &key) != ERR_OK);
	xmatrix_close(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str         all = str_span(data, size), value = str_head(all, str_find(all, '\n'));
	struct arena       arena;
	struct xmatrix     line;
	struct server_name name;

	check(signing_init() == ERR_OK);
	arena_init(&arena, 1 << 16);
	if (xmatrix_parse(value, &arena, &line) == ERR_OK) {
		check(server_name_parse(line.origin, &name) == ERR_OK);
		check_rewritten(&line);
		check_message(&line, str_from(all, value.len + 1));
	}
	arena_fini(&arena);
	return 0;
}
