#include "role/answer.h"

#include <stdio.h>

#define CORS_FIELDS                                                               \
	"Access-Control-Allow-Origin: *\r\n"                                      \
	"Access-Control-Allow-Methods: GET, HEAD, POST, PUT, DELETE, OPTIONS\r\n" \
	"Access-Control-Allow-Headers: X-Requested-With, Content-Type, Authorization\r\n"

static struct str error_fields(int status, bool cors)
{
	if (status == 503)
		return cors ? STRL(CORS_FIELDS "Retry-After: 30\r\n") : STRL("Retry-After: 30\r\n");
	if (status == 429)
		return cors ? STRL(CORS_FIELDS "Retry-After: 10\r\n") : STRL("Retry-After: 10\r\n");
	if (status == 405)
		return cors ? STRL(CORS_FIELDS "Allow: GET, HEAD, PUT, POST, DELETE, OPTIONS\r\n")
			    : STRL("Allow: GET, HEAD, PUT, POST, DELETE, OPTIONS\r\n");
	return cors ? STRL(CORS_FIELDS) : STRL("");
}

void answer_error(struct http_request *r, int status, const char *errcode, const char *text,
                  bool cors)
{
	char          json[256];
	struct writer w = writer_over(json, sizeof(json));

	write_text(&w, "{\"errcode\":");
	write_json_string(&w, str_of(errcode));
	write_text(&w, ",\"error\":");
	write_json_string(&w, str_of(text));
	write_text(&w, "}");
	check(!w.failed);
	http_respond_with(r, status, "application/json", error_fields(status, cors),
	                  writer_done(&w));
}

int answer_failure(struct http_request *r, enum err e, const char *whom, bool cors)
{
	char        text[96];
	int         status = err_status(e);
	const char *errcode = "M_UNKNOWN";

	if (e == ERR_TOO_LARGE) {
		answer_error(r, 413, "M_TOO_LARGE", "the request body is too large", cors);
		return 413;
	}
	if (status == 400 || status == 408)
		errcode = "M_NOT_JSON",
		snprintf(text, sizeof(text), "the request body is %s",
		         status == 400 ? "malformed" : "too slow");
	else if (e == ERR_TIMEOUT)
		snprintf(text, sizeof(text), "the %s did not answer in time", whom);
	else
		snprintf(text, sizeof(text), "the %s cannot be reached (%s)", whom, err_slug(e));
	/* to other servers a homeserver that is away is a 503, not a broken gateway */
	if (status == 502 && str_is(str_of(whom), "homeserver") && e != ERR_BAD_ANSWER)
		status = 503;
	answer_error(r, status, errcode, text, cors);
	return status;
}

void answer_preflight(struct http_request *r)
{
	http_respond_with(r, 204, "", STRL(CORS_FIELDS "Access-Control-Max-Age: 86400\r\n"),
	                  STRL(""));
}

void answer_document(struct http_request *r, struct str json)
{
	http_respond_with(r, 200, "application/json",
	                  STRL(CORS_FIELDS "Cache-Control: public, max-age=86400\r\n"), json);
}

const char *answer_peer_text(const struct address *peer, char out[ADDRESS_TEXT_SIZE])
{
	struct address a = *peer;

	switch (a.family) {
	case ADDRESS_V4:
		a.ip[3] = 0;
		break;
	case ADDRESS_V6:
		memset(a.ip + 6, 0, 10);
		break;
	}
	if (a.family != ADDRESS_V4 && a.family != ADDRESS_V6) {
		snprintf(out, ADDRESS_TEXT_SIZE, "local");
		return out;
	}
	return address_ip_text(&a, out);
}
