/* http.h - as much of HTTP as those need who scrape metrics: a GET or HEAD for each
 * connection, which ends with the reply.
 *
 * Everything has a bound that no client can stretch: the head 8 KiB, a connection
 * 5 s from its first to its last byte, 64 connections, of which the oldest makes
 * room for one more, and 16 accepted in a tick.  What follows a head is not
 * looked at.
 *
 * Thread: main, in its event loop.
 */
#ifndef DAEMON_HTTP_H
#define DAEMON_HTTP_H

#include <stddef.h>

struct event_base;
struct http;

struct http_reply {
	const char *status; /* "200 OK" */
	const char *type;
	const void *body;
	size_t body_n;
	/* the body is not needed any more; NULL: it stays */
	void (*sent)(const void *body, size_t n, void *arg);
	void *arg;
};

/* Make one.  get says what is at a path, which has no "?" and what follows it.
 * NULL: out of memory. */
struct http *http_new(struct event_base *base,
    void (*get)(void *arg, const char *path, struct http_reply *ret_reply),
    void *arg);

/* Serve those who connect to a socket that is bound; at most twice.  Takes fd, unless
 * it fails: -1, see errno. */
int http_listen(struct http *http, int fd);

/* Once a second or more often. */
void http_tick(struct http *http);

/* Close all.  NULL is fine. */
void http_free(struct http *http);

#endif
