/*
 * queue_carry_verb.h - `doorstep queue export`, `import` and `count`: for scripts around an upgrade.
 */
#ifndef APP_QUEUE_CARRY_VERB_H
#define APP_QUEUE_CARRY_VERB_H

int queue_export_verb(int argc, char **argv);
int queue_import_verb(int argc, char **argv);
int queue_count_verb(int argc, char **argv);

#endif
