/* plan.h - what EXPLAIN and EXPLAIN QUERY PLAN print, whatever the mode: the
 * program with its loops indented, the plan as a tree.
 */
#ifndef CLIENT_CLI_PLAN_H
#define CLIENT_CLI_PLAN_H

#include "client/cli/output.h"

struct plan;

int plan_row(struct output *o);
void plan_end(struct output *o);
int program_row(struct output *o);
void program_end(struct output *o);

void plan_free(struct plan *plan);

#endif
