/*
 * tree.h - JSON as a tree, for small documents of our own: status, the control socket, files beside
 * the configuration. Never for what a peer sent: that is read with scan.h.
 *
 * cJSON underneath, behind a guard. Documents are scanned first, so that what cJSON would take in
 * its own way (U+0000, repeated keys, wrong UTF-8, deep nesting) is refused; keys compare byte for
 * byte; integers are printed as integers, which cJSON does not do beyond 15 digits. A node takes
 * some 80 bytes, up to forty times its text.
 *
 * A tree owns all its nodes. Building never fails step by step: when memory runs out the tree
 * remembers, adding returns NULL, adding to NULL does nothing, and tree_write tells.
 */
#ifndef CODEC_JSON_TREE_H
#define CODEC_JSON_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum {
	TREE_BYTES_MAX = 64 * 1024, /* of a document that is read */
	TREE_DEPTH_MAX = 32,        /* containers in each other, read or built */
};

struct tree;
struct tree_node; /* belongs to its tree */

/* ---- reading ---- */

/*
 * ERR_SYNTAX: not JSON, or a repeated key. ERR_TOO_LARGE, ERR_RANGE: beyond the limits above.
 * ERR_UNSUPPORTED: a string holds U+0000. ERR_NOMEM.
 */
enum err tree_read(struct str doc, struct tree **out);
void     tree_free(struct tree *t); /* NULL is fine */

struct tree_node *tree_root(struct tree *t);

/* A member of an object; NULL when absent, or node is NULL or no object. */
struct tree_node *tree_get(const struct tree_node *node, const char *key);

/* First child of an object or array, the one after node; NULL behind the last. */
struct tree_node *tree_first(const struct tree_node *node);
struct tree_node *tree_next(const struct tree_node *node);

/* Of a member of an object: its key, NUL-terminated. Otherwise empty. */
struct str tree_key(const struct tree_node *node);

/* ERR_NOT_FOUND: node is NULL.  ERR_SYNTAX: another kind. *out is set only on ERR_OK. */
enum err tree_text(const struct tree_node *node, struct str *out); /* NUL-terminated too */
enum err tree_bool(const struct tree_node *node, bool *out);
/* Also ERR_RANGE: no integer within +-(2^53 - 1). */
enum err tree_integer(const struct tree_node *node, int64_t *out);

/* ---- building ---- */

struct tree *tree_new_object(void); /* NULL when memory is gone */

/*
 * Add to an object under key, or to an array with key NULL. Texts must be UTF-8 without NUL, or the
 * whole tree cannot be written.
 */
struct tree_node *tree_add_object(struct tree *t, struct tree_node *to, const char *key);
struct tree_node *tree_add_array(struct tree *t, struct tree_node *to, const char *key);
void tree_add_text(struct tree *t, struct tree_node *to, const char *key, struct str text);
void tree_add_bool(struct tree *t, struct tree_node *to, const char *key, bool value);
void tree_add_null(struct tree *t, struct tree_node *to, const char *key);
/* Any value, digit for digit; readers may lose digits beyond 2^53. */
void tree_add_unsigned(struct tree *t, struct tree_node *to, const char *key, uint64_t value);
void tree_add_integer(struct tree *t, struct tree_node *to, const char *key, int64_t value);

/*
 * Appends the document, without white space, members in their order.
 * ERR_NOMEM: also if building ran out of memory. ERR_LIMIT: of out. ERR_RANGE: deeper than
 * TREE_DEPTH_MAX. ERR_SYNTAX: a text is not UTF-8, or holds NUL.
 */
enum err tree_write(const struct tree *t, struct buf *out);

#endif
