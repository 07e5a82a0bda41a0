/* metrics.h - what was counted, as text for Prometheus
 * (prometheus.io/docs/instrumenting/exposition_formats), and its manual.
 *
 * All of it follows stats.def.  Any thread.
 */
#ifndef DAEMON_METRICS_H
#define DAEMON_METRICS_H

#include <stdio.h>

#include "daemon/db.h"

/* So many databases have metrics of their own; the others are one, "(others)". */
#define METRICS_DATABASES_MAX 200

/* Append the whole page.  b has failed afterwards when there was no memory. */
void metrics_put(struct dbs *dbs, struct buf *b);

/* Write sqlpool-metrics(7). */
void metrics_print_manual(FILE *out);

#endif
