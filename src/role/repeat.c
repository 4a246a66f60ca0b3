#include "role/repeat.h"

#include <stdlib.h>

enum { REPEAT_SPAN_MAX = 16 * 1024 };

struct repeat {
	struct repeat           **slot;
	struct http_request      *request;
	struct shelf_item        *item;
	const struct shelf_piece *piece; /* to be given next, from at on */
	size_t                    at;
	uint64_t                  age_s;
	struct soon               soon;
	repeat_done_fn           *done;
	void                     *arg;
};

static void repeat_finish(struct repeat *t, enum err e)
{
	repeat_done_fn *done = t->done;
	void           *arg = t->arg;

	*t->slot = NULL;
	soon_clear(&t->soon);
	shelf_drop(t->item);
	free(t);
	done(arg, e);
}

static void repeat_head(struct repeat *t)
{
	struct str    fields = shelf_fields(t->item);
	char         *to = arena_alloc(http_request_arena(t->request), fields.len + 32);
	struct writer w = writer_over(to, to == NULL ? 0 : fields.len + 32);
	struct head   h = {
		  .status = 200,
		  .reason = str_of(head_reason(200)),
		  .body = BODY_LENGTH,
		  .content_length = t->item->body_len,
	};

	write_str(&w, fields);
	write_text(&w, "Age: ");
	write_u64(&w, t->age_s);
	write_text(&w, "\r\n");
	http_respond_head(t->request, &h, w.failed ? fields : writer_done(&w));
}

static void repeat_some(struct repeat *t)
{
	size_t room;

	while (t->piece != NULL && (room = http_respond_room(t->request)) > 0) {
		struct str span = str_from(str_span(t->piece->bytes, t->piece->len), t->at);

		span = str_head(span, room < REPEAT_SPAN_MAX ? room : REPEAT_SPAN_MAX);
		http_respond_body(t->request, span);
		t->at += span.len;
		if (t->at == t->piece->len) {
			t->piece = t->piece->next;
			t->at = 0;
		}
	}
}

static void repeat_pump(void *arg)
{
	struct repeat *t = arg;
	enum err       e = http_request_broken(t->request);

	if (e != ERR_OK) {
		http_respond_abort(t->request);
		repeat_finish(t, e);
		return;
	}
	if (!http_respond_begun(t->request))
		repeat_head(t);
	do {
		repeat_some(t);
		if (t->piece == NULL) {
			http_respond_end(t->request);
			repeat_finish(t, ERR_OK);
			return;
		}
		http_respond_flush(t->request);
	} while (http_respond_room(t->request) > 0);
}

enum err repeat_start(struct repeat **slot, struct loop *l, struct http_request *r,
                      struct shelf_item *item, uint64_t age_s, repeat_done_fn *done, void *arg)
{
	struct repeat *t = calloc(1, sizeof(*t));

	if (t == NULL) {
		shelf_drop(item);
		return ERR_NOMEM;
	}
	t->slot = slot;
	t->request = r;
	t->item = item;
	t->piece = http_request_head(r)->method == HTTP_HEAD ? NULL : item->first;
	t->age_s = age_s;
	t->done = done;
	t->arg = arg;
	soon_init(&t->soon, l, repeat_pump, t);
	*slot = t;
	http_request_own(r, repeat_pump, t);
	soon_call(&t->soon);
	return ERR_OK;
}
