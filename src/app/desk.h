/*
 * desk.h - the commands of the control socket: what the owner can ask and order.
 *
 *   {"v":1,"command":"status"}                        the document of role/status.h
 *   {"v":1,"command":"sleep","homeserver":NAME,"force":bool}
 *       {"v":1,"homeserver":NAME,"done":true,"state":SLUG,"why":SLUG}, or, when it should stay up a
 *       while, "done":false,"reason":SLUG,"wait_ms":n; see sleeper_must_stay()
 *   {"v":1,"command":"wake","homeserver":NAME}        likewise; always done
 *   {"v":1,"command":"queue-list","after":N,"parked":bool,"max":N}
 *       {"v":1,"items":[ITEM...],"next":N,"waiting":n,"parked":n}: items in order of sequence, from the
 *       first one above after; next: what to give as after for the next page, null: this was the last
 *   {"v":1,"command":"queue-show","sequence":N,"body":bool,"offset":n}
 *       {"v":1,"item":ITEM,"method","target","content_type","transaction_id","peer",
 *        "authorization":[...],"head_cut":bool,"body_bytes":n}; with body also a piece of it from
 *       offset on: "body":text, or "body_base64" if it is no text, "next_offset":n, null: the last piece
 *   {"v":1,"command":"queue-retry","sequence":N}      a parked item waits again
 *   {"v":1,"command":"queue-drop","sequence":N}       an item is thrown away
 *       {"v":1,"sequence":N,"done":true}
 *
 *   ITEM  {"sequence":N,"state":"waiting"|"in-hand"|"parked","origin","server_name","at_unix_ms":n,
 *          "bytes":n,"tries":n,"first_try_unix_ms":n|null,"reason":text|null}
 *
 * homeserver may be left out if only one sleeps. Every answer is below DESK_ANSWER_MAX bytes but the
 * status: for that readers take what comes.
 */
#ifndef APP_DESK_H
#define APP_DESK_H

#include "app/control.h"
#include "app/house.h"

enum { DESK_ANSWER_MAX = TREE_BYTES_MAX, DESK_PAGE_MAX = 32 };

struct desk;

extern const struct control_command desk_commands[]; /* for control_open(), with a desk as arg */

/* started_at: when the process began, on the loop's clock: for the uptime. ERR_NOMEM. */
enum err desk_new(struct loop *l, struct house *h, msec started_at, struct desk **out);

/* Before the house; what is under way is given up, orders stand. NULL is fine. */
void desk_free(struct desk *d);

#endif
