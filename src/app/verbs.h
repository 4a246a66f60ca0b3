/*
 * verbs.h - what the executable can do; one function for each verb, dispatched by main.c.
 *
 * argv[0] is the verb. Returns an exit code of cli.h. Answers go to standard output, complaints to
 * standard error. resolve has a header of its own.
 */
#ifndef APP_VERBS_H
#define APP_VERBS_H

int serve_verb(int argc, char **argv);
int check_verb(int argc, char **argv);
int config_verb(int argc, char **argv);
int status_verb(int argc, char **argv);
int sleep_verb(int argc, char **argv);
int wake_verb(int argc, char **argv);
int queue_verb(int argc, char **argv);

#endif
