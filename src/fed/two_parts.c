#include "fed/two_parts.h"

enum { HEAD_MAX = 8 * 1024 };

enum {
	PREAMBLE,  /* before the first delimiter */
	DELIMITED, /* behind a delimiter: another part, or the end */
	CLOSING,   /* one of the two dashes of the end was seen */
	PADDING,   /* blanks up to the end of the delimiter's line */
	LINE_FEED, /* its CR was seen */
	HEAD,      /* a part's header fields */
	BODY,
	CLOSED,
	BROKEN,
};

static bool is_boundary(struct str b)
{
	for (size_t i = 0; i < b.len; i++)
		if ((unsigned char)b.ptr[i] < 0x20 || (unsigned char)b.ptr[i] >= 0x7f)
			return false;
	return b.len > 0 && b.len <= TWO_PARTS_BOUNDARY_MAX && b.ptr[b.len - 1] != ' ';
}

/* The value of one parameter, without its quotes; *rest goes behind it. */
static struct str take_value(struct str *rest)
{
	struct str value;
	size_t     end;

	if (rest->len > 0 && rest->ptr[0] == '"') {
		*rest = str_from(*rest, 1);
		end = str_find(*rest, '"');
		value = str_head(*rest, end);
		*rest = str_from(*rest, end + 1);
		end = str_find(*rest, ';');
	} else {
		end = str_find(*rest, ';');
		value = str_trim(str_head(*rest, end));
	}
	*rest = str_from(*rest, end + 1);
	return value;
}

static bool find_boundary(struct str params, struct str *out)
{
	while (params.len > 0) {
		size_t     eq = str_find(params, '=');
		struct str name = str_trim(str_head(params, eq)), value;

		params = str_from(params, eq + 1);
		value = take_value(&params);
		if (str_ieq(name, STRL("boundary"))) {
			*out = value;
			return true;
		}
	}
	return false;
}

bool two_parts_init(struct two_parts *p, struct str content_type)
{
	size_t     semicolon = str_find(content_type, ';');
	struct str boundary;

	*p = (struct two_parts){ .state = BROKEN };
	if (!str_ieq(str_trim(str_head(content_type, semicolon)), STRL("multipart/mixed")) ||
	    !find_boundary(str_from(content_type, semicolon + 1), &boundary) ||
	    !is_boundary(boundary))
		return false;
	memcpy(p->delimiter, "\r\n--", 4);
	memcpy(p->delimiter + 4, boundary.ptr, boundary.len);
	p->delimiter_len = 4 + boundary.len;
	p->matched = 2; /* at the very beginning it needs no line end before it */
	p->state = PREAMBLE;
	return true;
}

/* CR occurs only as the first byte of a delimiter, so there is but one place to fall back to. */
static bool matches(struct two_parts *p, char c)
{
	if (c == p->delimiter[p->matched])
		p->matched++;
	else
		p->matched = c == '\r' ? 1 : 0;
	if (p->matched < p->delimiter_len)
		return false;
	p->matched = 0;
	return true;
}

static bool line_is(const struct two_parts *p, struct str begin)
{
	return str_ieq(str_head(str_span(p->line, p->line_len), begin.len), begin);
}

static void end_line(struct two_parts *p)
{
	struct str json = STRL("application/json"), type = STRL("content-type:");

	if (p->line_len > 0 && p->line[p->line_len - 1] == '\r')
		p->line_len--;
	if (p->line_len == 0) {
		p->state = BODY;
		p->matched = 2; /* a part may be empty */
	}
	if (line_is(p, STRL("location:")) || line_is(p, STRL("location ")))
		p->moved = true;
	if (p->parts == 1 && line_is(p, type))
		p->is_json = str_ieq(
			str_head(str_trim(str_from(str_span(p->line, p->line_len), type.len)),
		                 json.len),
			json);
	p->line_len = 0;
}

static void take_head(struct two_parts *p, char c)
{
	bool ends = c == '\n' && p->was_cr;

	p->was_cr = c == '\r';
	if (++p->head_len > HEAD_MAX || (c == '\n' && !ends))
		p->state = BROKEN;
	else if (ends)
		end_line(p);
	else if (p->line_len < sizeof(p->line))
		p->line[p->line_len++] = c;
}

static void begin_part(struct two_parts *p)
{
	p->parts++;
	p->state = p->parts > 2 ? BROKEN : HEAD;
	p->line_len = p->head_len = 0;
	p->was_cr = false;
}

static void take(struct two_parts *p, char c)
{
	switch (p->state) {
	case PREAMBLE:
	case BODY:
		if (matches(p, c))
			p->state = DELIMITED;
		break;
	case DELIMITED:
		p->state = c == '-'             ? CLOSING
			: c == '\r'             ? LINE_FEED
			: c == ' ' || c == '\t' ? PADDING
						: BROKEN;
		break;
	case CLOSING:
		p->state = c == '-' ? CLOSED : BROKEN;
		break;
	case PADDING:
		if (c != ' ' && c != '\t')
			p->state = c == '\r' ? LINE_FEED : BROKEN;
		break;
	case LINE_FEED:
		if (c == '\n')
			begin_part(p);
		else
			p->state = BROKEN;
		break;
	case HEAD:
		take_head(p, c);
		break;
	case CLOSED: /* what follows is to be ignored */
	case BROKEN:
		break;
	}
}

void two_parts_feed(struct two_parts *p, struct str piece)
{
	for (size_t i = 0; i < piece.len; i++) {
		/* most of it is the bytes of the medium */
		if (p->state == BODY && p->matched == 0) {
			const char *cr = memchr(piece.ptr + i, '\r', piece.len - i);

			if (cr == NULL)
				return;
			i = (size_t)(cr - piece.ptr);
		}
		take(p, piece.ptr[i]);
	}
}

bool two_parts_is_complete(const struct two_parts *p)
{
	return p->state == CLOSED && p->parts == 2 && p->is_json && !p->moved;
}
