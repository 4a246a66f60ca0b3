/*
 * ask.h - a verb's questions to the running doorstep, through its control socket.
 *
 * Blocks, for ASK_PATIENCE_S at most. Complaints go to standard error, with the verb in front.
 */
#ifndef APP_ASK_H
#define APP_ASK_H

#include "app/cli.h"
#include "codec/json/tree.h"

enum { ASK_PATIENCE_S = 10, ASK_ANSWER_MAX = 256 * 1024 };

/* The options that such a verb has, for its table: where the socket is. */
struct ask_where {
	const char *socket; /* --socket PATH */
	const char *config; /* --config FILE */
};
#define ASK_OPTIONS(where)                                                            \
	{ "socket", "PATH", "control socket; default /var/run/doorstep/control.sock", \
	  &(where)->socket, NULL },                                                   \
	{                                                                             \
		"config", "FILE", "take the control socket from this configuration",  \
			&(where)->config, NULL                                        \
	}

struct ask {
	const char *verb; /* "queue list" */
	char        path[108];
	char       *room;   /* of the answer */
	struct str  answer; /* one line, without its end; lives until the next question */
};

/* False: said. */
bool ask_open(struct ask *a, const char *verb, const struct ask_where *where);
void ask_close(struct ask *a); /* also after ask_open() failed */

/* question: one line of JSON, without its end. False: no answer, or it is an error; said. */
bool ask_line(struct ask *a, struct str question);

/* Likewise, and the answer as a tree (tree_free()). Only for answers below TREE_BYTES_MAX. */
bool ask_tree(struct ask *a, struct str question, struct tree **out);

/* The value of an option of `config doorstep`: only the text is read, so neither keys nor secrets need be readable. */
bool ask_main_option(const char *file, const char *option, char *out, size_t size);

/* ---- what is in an answer ---- */

int64_t     ask_number(const struct tree_node *node, const char *key); /* 0 if it is none */
const char *ask_text(const struct tree_node *node, const char *key);   /* "-" if it is none */
bool        ask_flag(const struct tree_node *node, const char *key);
bool        ask_has(const struct tree_node *node, const char *key); /* a number or text */

#endif
