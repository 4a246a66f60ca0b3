/*
 * answer.h - the answers doorstep gives in its own name, always JSON, never a bare status.
 *
 * A 404 or 405 without a JSON body makes other servers think an endpoint is not implemented and fall
 * back to older ones. Source: Matrix specification, "Standard error response" and "Web Browser
 * Clients" (CORS).
 */
#ifndef ROLE_ANSWER_H
#define ROLE_ANSWER_H

#include "net/http_server.h"

/* {"errcode":...,"error":...}; the request is gone afterwards, as with all of these. */
void answer_error(struct http_request *r, int status, const char *errcode, const char *text,
                  bool cors);

/* The answer to a failure between us and `whom` ("homeserver", "server"), from the error table; its status. */
int answer_failure(struct http_request *r, enum err e, const char *whom, bool cors);

/* 204 to a CORS preflight. */
void answer_preflight(struct http_request *r);

/* 200 with a JSON document everybody may read and keep for a day. */
void answer_document(struct http_request *r, struct str json);

/* A peer's address for logs, shortened to /24 or /48: enough to recognise a network, not a person. */
const char *answer_peer_text(const struct address *peer, char out[ADDRESS_TEXT_SIZE]);

#endif
