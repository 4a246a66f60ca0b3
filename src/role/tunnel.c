#include "role/tunnel.h"

#include <stdlib.h>

struct side {
	struct stream *stream;
	bool           shut;  /* its peer ended and everything was passed on */
	uint64_t       bytes; /* read from it */
};

struct tunnel {
	struct side      near, far;
	msec             idle_ms;
	struct deadline  deadline;
	struct soon      look;
	tunnel_ended_fn *ended;
	void            *arg;
};

void tunnel_cut(struct tunnel *t)
{
	deadline_clear(&t->deadline);
	soon_clear(&t->look);
	stream_close(t->near.stream);
	stream_close(t->far.stream);
	free(t);
}

static void tunnel_over(void *arg)
{
	struct tunnel   *t = arg;
	tunnel_ended_fn *ended = t->ended;
	void            *owner = t->arg;
	uint64_t         up = t->near.bytes, down = t->far.bytes;

	tunnel_cut(t);
	ended(owner, up, down);
}

/* False: this direction is broken. */
static bool pass(struct tunnel *t, struct side *from, struct side *to)
{
	enum err end;
	size_t   room;

	while ((room = stream_room(to->stream)) > 0) {
		struct str span = str_head(stream_peek(from->stream), room);

		if (span.len == 0)
			break;
		if (stream_write(to->stream, span) != ERR_OK)
			return false;
		from->bytes += span.len;
		stream_consume(from->stream, span.len);
		deadline_in(&t->deadline, t->idle_ms);
	}
	end = stream_ended(from->stream);
	if (end != ERR_OK && end != ERR_EOF)
		return false;
	if (end == ERR_EOF && !from->shut && stream_peek(from->stream).len == 0) {
		from->shut = true;
		stream_shutdown(to->stream);
	}
	return true;
}

static void tunnel_look(void *arg)
{
	struct tunnel *t = arg;

	if (!pass(t, &t->near, &t->far) || !pass(t, &t->far, &t->near) ||
	    (t->near.shut && t->far.shut && stream_unsent(t->near.stream) == 0 &&
	     stream_unsent(t->far.stream) == 0))
		tunnel_over(t);
}

enum err tunnel_start(struct loop *l, struct stream *near, struct stream *far, msec idle_ms,
                      tunnel_ended_fn *ended, void *arg, struct tunnel **out)
{
	struct tunnel *t = calloc(1, sizeof(*t));

	if (t == NULL) {
		stream_close(near);
		stream_close(far);
		return ERR_NOMEM;
	}
	t->near.stream = near;
	t->far.stream = far;
	t->idle_ms = idle_ms;
	t->ended = ended;
	t->arg = arg;
	deadline_init(&t->deadline, l, tunnel_over, t);
	soon_init(&t->look, l, tunnel_look, t);
	stream_own(near, tunnel_look, t);
	stream_own(far, tunnel_look, t);
	deadline_in(&t->deadline, idle_ms);
	soon_call(&t->look); /* bytes may be waiting already */
	*out = t;
	return ERR_OK;
}
