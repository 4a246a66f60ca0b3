/*
 * queue_carry_verb.h - `doorstep queue export`, `import` and `count`: for scripts around an upgrade.
 */
#ifndef APP_QUEUE_CARRY_VERB_H
#define APP_QUEUE_CARRY_VERB_H

/* Is there a queue? What may not be looked at is no empty place: that is said. */
enum queue_place { QUEUE_PLACE_EMPTY, QUEUE_PLACE_TAKEN, QUEUE_PLACE_HIDDEN };
enum queue_place queue_place_of(const char *verb, const char *state_dir);

int queue_export_verb(int argc, char **argv);
int queue_import_verb(int argc, char **argv);
int queue_count_verb(int argc, char **argv);

#endif
