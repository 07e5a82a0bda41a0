/* server.h - the listening socket, the workers, signals, and the end.
 *
 * All of it is the main thread's.
 */
#ifndef DAEMON_SERVER_H
#define DAEMON_SERVER_H

#include "conf/conf.h"

#define SERVER_ERR_MAX CONF_ERR_MAX

struct dbs;
struct listener;
struct notify;
struct retire;
struct server;

/* Set it up: signals are taken from now on.  l and n are borrowed.  -1: err says
 * why. */
int server_open(const struct conf *conf, struct listener *l,
    const struct notify *n, struct server **ret_server,
    char err[SERVER_ERR_MAX]);

/* Start the workers.  -1: err says why. */
int server_start(struct server *s, struct dbs *dbs, char err[SERVER_ERR_MAX]);

/* Have reload called, by the main thread, for each SIGHUP.  Before server_run. */
void server_on_reload(struct server *s, void (*reload)(void *arg), void *arg);

/* Make the way of lists past all workers: retire.h.  NULL: out of memory. */
struct retire *server_new_retire(const struct server *s);

/* Say that it is ready; accept and serve until SIGTERM or SIGINT; then let what is
 * under way end within the grace time.  A second signal ends it at once.  SIGUSR1
 * opens the log's file anew, SIGUSR2 logs the state. */
void server_run(struct server *s);

/* Wait until the workers' threads have ended. */
void server_join(struct server *s);

/* Close everything that server_open and server_start made, and the socket; after
 * server_join and dbs_stop.  NULL is fine. */
void server_close(struct server *s);

#endif
