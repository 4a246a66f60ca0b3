/*
 * resolve_verb.h - `doorstep resolve NAME`: server discovery told step by step.
 */
#ifndef APP_RESOLVE_VERB_H
#define APP_RESOLVE_VERB_H

/* argv[0] is the verb. Returns the exit code: 0 resolved, 1 not, 2 usage. */
int resolve_verb(int argc, char **argv);

#endif
