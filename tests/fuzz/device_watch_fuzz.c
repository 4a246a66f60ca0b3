/*
 * The look for changed devices against a second reading of the same transaction, member by member: what
 * is an update there must have been told, in whatever pieces the body came; what could not be understood
 * must have been told as a change of everybody's.
 *
 * Input: a byte for the size of the pieces, the body.
 */
#include <stdint.h>

#include "fed/device_watch.h"

enum { TOLD_MAX = 64 };

struct told {
	size_t count;
	bool   any;
	char   user[TOLD_MAX][DEVICE_WATCH_USER_MAX];
	size_t len[TOLD_MAX];
};

static void on_changed(void *arg, struct str user)
{
	struct told *t = arg;

	check(user.len <= DEVICE_WATCH_USER_MAX);
	t->any |= user.len == 0 || t->count >= TOLD_MAX;
	if (t->count < TOLD_MAX) {
		if (user.len > 0)
			memcpy(t->user[t->count], user.ptr, user.len);
		t->len[t->count] = user.len;
	}
	t->count++;
}

static void look(struct str body, size_t piece, struct told *t)
{
	struct device_watch d;

	t->count = 0;
	t->any = false;
	device_watch_init(&d, on_changed, t);
	for (; body.len > 0; body = str_from(body, piece))
		device_watch_feed(&d, str_head(body, piece));
	device_watch_end(&d);
}

static bool was_told(const struct told *t, struct str user)
{
	bool found = t->any;

	for (size_t i = 0; i < t->count && i < TOLD_MAX; i++)
		found |= str_eq(str_span(t->user[i], t->len[i]), user);
	return found;
}

static bool is_update(struct str type)
{
	return json_text_eq(type, STRL("m.device_list_update")) ||
		json_text_eq(type, STRL("m.signing_key_update")) ||
		json_text_eq(type, STRL("org.matrix.signing_key_update"));
}

static void check_edu(struct str edu, const struct told *t)
{
	struct json_member m[] = { { .key = STRL("edu_type") }, { .key = STRL("content") } };
	struct json_member user = { .key = STRL("user_id") };
	char               room[DEVICE_WATCH_USER_MAX];
	struct writer      w = writer_over(room, sizeof(room));

	if (json_find(edu, JSON_REFUSE_REPEAT, m, 2) != ERR_OK || m[0].kind != JSON_STRING ||
	    !is_update(m[0].value) || m[1].kind != JSON_OBJECT ||
	    json_find(m[1].value, JSON_REFUSE_REPEAT, &user, 1) != ERR_OK ||
	    user.kind != JSON_STRING)
		return;
	json_unescape(user.value, &w);
	check(w.failed ? t->any : was_told(t, writer_done(&w)));
}

static void check_second_reading(struct str body, const struct told *t)
{
	struct json_member edus = { .key = STRL("edus") };
	struct json_items  it;
	struct json_item   item;
	enum json_kind     kind;

	if (json_check(body, NULL) != ERR_OK) {
		check(t->any);
		return;
	}
	if (json_find(body, JSON_LAST_WINS, &edus, 1) != ERR_OK || edus.kind != JSON_ARRAY)
		return;
	check(json_items_begin(&it, edus.value, NULL, &kind) == ERR_OK);
	while (json_items_next(&it, &item) == ERR_OK && item.kind != JSON_END)
		if (item.kind == JSON_OBJECT)
			check_edu(item.value, t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct told whole, pieces;
	struct str         body = str_from(str_span(data, size), 1);

	look(body, SIZE_MAX, &whole);
	look(body, size > 0 ? data[0] + 1u : 1, &pieces);
	check(whole.count == pieces.count && whole.any == pieces.any);
	for (size_t i = 0; i < whole.count && i < TOLD_MAX; i++)
		check(was_told(&pieces, str_span(whole.user[i], whole.len[i])));
	check_second_reading(body, &whole);
	return 0;
}
