/* exporter.h - the metrics over HTTP: /metrics, /healthz, /readyz.
 *
 * On a Unix socket of its own and, if that is configured, on a port of the loopback
 * interface.  Main thread, in its event loop: a page takes it a millisecond or so,
 * is made at most four times a second, and shared by all who ask meanwhile.
 *
 * Everything has a bound that no client can stretch: the head 8 KiB, a connection
 * one reply and 5 s (to the next tick), 64 connections, of which the oldest makes
 * room for one more, and 16 accepted in a tick.
 */
#ifndef DAEMON_EXPORTER_H
#define DAEMON_EXPORTER_H

#include <stdbool.h>

#define EXPORTER_ERR_MAX 512

struct conf;
struct dbs;
struct event_base;
struct exporter;

/* Listen.  socket: the daemon's own; the exporter's is beside it unless the
 * configuration says otherwise.  -1: err says why, and what to do. */
int exporter_open(struct event_base *base, const struct conf *conf,
    const char *socket, struct exporter **ret_exporter,
    char err[EXPORTER_ERR_MAX]);

/* Serve this.  Before the event loop runs. */
void exporter_serve(struct exporter *e, struct dbs *dbs);

/* Once a second or more often. */
void exporter_tick(struct exporter *e);

/* The daemon stops: /readyz says so. */
void exporter_drain(struct exporter *e);

/* Close it, and remove its socket file.  NULL is fine. */
void exporter_close(struct exporter *e);

#endif
