#include "codec/http/chars.h"
#include "codec/http/h1.h"

/* RFC 9112 7.1 leaves these to the recipient. */
enum {
	SIZE_DIGITS_MAX = 16, /* with leading zeros; the value is below 2^32 */
	EXTENSION_LINE_MAX = 256,
	EXTRA_TOTAL_MAX = 4096, /* extensions and trailers of one message */
};

/* h1_body.flags: within an extension or a trailer, where. */
enum {
	EXT_TEXT,      /* behind the first ';' */
	EXT_BLANKS,    /* blanks between the size and the first ';' */
	TRAILER_START, /* at the first byte of a line */
	TRAILER_NAME,
	TRAILER_VALUE,
	TRAILER_LF,      /* of a field line */
	TRAILER_LAST_LF, /* of the empty line */
};

void h1_body_init(struct h1_body *b, const struct head *h)
{
	memset(b, 0, sizeof(*b));
	switch (h->body) {
	case BODY_NONE:
		b->state = H1_BODY_DONE;
		break;
	case BODY_LENGTH:
		b->left = h->content_length;
		b->state = b->left == 0 ? H1_BODY_DONE : H1_BODY_LENGTH;
		break;
	case BODY_CHUNKED:
		b->state = H1_BODY_CHUNK_SIZE;
		break;
	case BODY_TO_CLOSE:
		b->state = H1_BODY_TO_CLOSE;
		break;
	}
}

static enum err refuse(struct h1_body *b, const char *slug)
{
	b->fault = slug;
	return ERR_SYNTAX;
}

static enum err refuse_end(struct h1_body *b, char c, const char *otherwise)
{
	return refuse(b, c == '\n' ? "bare-lf" : otherwise);
}

static enum err on_extension(struct h1_body *b, char c)
{
	if (c == '\r' && b->flags == EXT_TEXT) {
		b->state = H1_BODY_CHUNK_SIZE_LF;
		return ERR_OK;
	}
	if (b->flags == EXT_BLANKS && c == ';')
		b->flags = EXT_TEXT;
	else if (b->flags == EXT_BLANKS && c != ' ' && c != '\t')
		return refuse_end(b, c, "bad-chunk-size");
	else if (!chars_is(c, CHARS_TEXT))
		return refuse_end(b, c, "bad-chunk-extension");
	if (++b->line_bytes > EXTENSION_LINE_MAX || ++b->total_bytes > EXTRA_TOTAL_MAX)
		return refuse(b, "chunk-extension-too-long");
	return ERR_OK;
}

static enum err on_size_digit(struct h1_body *b, char c)
{
	if (++b->digits > SIZE_DIGITS_MAX || b->left > UINT32_MAX >> 4)
		return refuse(b, "chunk-too-large");
	b->left = b->left << 4 | (unsigned)str_hex_digit(c);
	return ERR_OK;
}

static enum err on_size(struct h1_body *b, char c)
{
	if (chars_is(c, CHARS_HEX))
		return on_size_digit(b, c);
	if (b->digits == 0)
		return refuse_end(b, c, "bad-chunk-size");
	switch (c) {
	case '\r':
		b->state = H1_BODY_CHUNK_SIZE_LF;
		return ERR_OK;
	case ';':
	case ' ':
	case '\t':
		b->state = H1_BODY_CHUNK_EXT;
		b->flags = EXT_BLANKS;
		return on_extension(b, c);
	default:
		return refuse_end(b, c, "bad-chunk-size");
	}
}

static enum err on_size_lf(struct h1_body *b, char c)
{
	if (c != '\n')
		return refuse(b, "bare-cr");
	b->state = b->left > 0 ? H1_BODY_CHUNK_DATA : H1_BODY_TRAILER;
	b->flags = TRAILER_START;
	b->digits = 0;
	b->line_bytes = 0;
	return ERR_OK;
}

static enum err on_data_cr(struct h1_body *b, char c)
{
	if (c != '\r')
		return refuse_end(b, c, "bad-chunk-end");
	b->state = H1_BODY_CHUNK_LF;
	return ERR_OK;
}

static enum err on_data_lf(struct h1_body *b, char c)
{
	if (c != '\n')
		return refuse(b, "bare-cr");
	b->state = H1_BODY_CHUNK_SIZE;
	return ERR_OK;
}

static enum err on_trailer_start(struct h1_body *b, char c)
{
	if (c == '\r')
		b->flags = TRAILER_LAST_LF;
	else if (chars_is(c, CHARS_TOKEN))
		b->flags = TRAILER_NAME;
	else if (c == ' ' || c == '\t')
		return refuse(b, "obs-fold");
	else
		return refuse_end(b, c, c == ':' ? "empty-name" : "bad-name");
	return ERR_OK;
}

static enum err on_trailer_name(struct h1_body *b, char c)
{
	if (c == ':')
		b->flags = TRAILER_VALUE;
	else if (c == ' ' || c == '\t')
		return refuse(b, "blank-before-colon");
	else if (!chars_is(c, CHARS_TOKEN))
		return refuse_end(b, c, c == '\r' ? "no-colon" : "bad-name");
	return ERR_OK;
}

static enum err on_trailer_value(struct h1_body *b, char c)
{
	if (c == '\r')
		b->flags = TRAILER_LF;
	else if (!chars_is(c, CHARS_VALUE))
		return refuse_end(b, c, "control-byte");
	return ERR_OK;
}

static enum err on_trailer_lf(struct h1_body *b, char c)
{
	if (c != '\n')
		return refuse(b, "bare-cr");
	if (b->flags == TRAILER_LAST_LF)
		b->state = H1_BODY_DONE;
	b->flags = TRAILER_START;
	return ERR_OK;
}

/* The rules of field lines; the fields themselves are forgotten, RFC 9110 6.5.1. */
static enum err on_trailer(struct h1_body *b, char c)
{
	if (b->flags != TRAILER_LAST_LF && !(b->flags == TRAILER_START && c == '\r') &&
	    ++b->total_bytes > EXTRA_TOTAL_MAX)
		return refuse(b, "trailer-too-large");
	switch (b->flags) {
	case TRAILER_START:
		return on_trailer_start(b, c);
	case TRAILER_NAME:
		return on_trailer_name(b, c);
	case TRAILER_VALUE:
		return on_trailer_value(b, c);
	default:
		return on_trailer_lf(b, c);
	}
}

static enum err on_framing(struct h1_body *b, char c)
{
	switch (b->state) {
	case H1_BODY_CHUNK_SIZE:
		return on_size(b, c);
	case H1_BODY_CHUNK_EXT:
		return on_extension(b, c);
	case H1_BODY_CHUNK_SIZE_LF:
		return on_size_lf(b, c);
	case H1_BODY_CHUNK_CR:
		return on_data_cr(b, c);
	case H1_BODY_CHUNK_LF:
		return on_data_lf(b, c);
	case H1_BODY_TRAILER:
		return on_trailer(b, c);
	case H1_BODY_LENGTH:
	case H1_BODY_TO_CLOSE:
	case H1_BODY_CHUNK_DATA:
	case H1_BODY_DONE:
		break;
	}
	return ERR_OK;
}

static bool is_data(enum h1_body_state s)
{
	return s == H1_BODY_LENGTH || s == H1_BODY_TO_CLOSE || s == H1_BODY_CHUNK_DATA;
}

/* As many body bytes as are there and due. */
static struct str take_data(struct h1_body *b, struct str in)
{
	struct str data = in;

	if (b->state != H1_BODY_TO_CLOSE) {
		if (data.len > b->left)
			data.len = (size_t)b->left;
		b->left -= data.len;
		if (b->left == 0)
			b->state = b->state == H1_BODY_LENGTH ? H1_BODY_DONE : H1_BODY_CHUNK_CR;
	}
	b->seen += data.len;
	return data;
}

enum err h1_body_feed(struct h1_body *b, struct str in, size_t *used, struct str *data)
{
	enum err e = b->fault == NULL ? ERR_OK : ERR_SYNTAX;
	size_t   at = 0;

	*data = str_head(in, 0);
	while (e == ERR_OK && at < in.len && b->state != H1_BODY_DONE) {
		if (is_data(b->state)) {
			*data = take_data(b, str_from(in, at));
			at += data->len;
			break;
		}
		e = on_framing(b, in.ptr[at++]);
	}
	*used = at;
	return e;
}

enum err h1_body_end(struct h1_body *b)
{
	if (b->state == H1_BODY_TO_CLOSE)
		b->state = H1_BODY_DONE;
	return b->fault == NULL && b->state == H1_BODY_DONE ? ERR_OK : ERR_TRUNCATED;
}
