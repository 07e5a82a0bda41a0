/* http.c - one request for each connection.
 *
 *   accept ──▶ head ──▶ reply ──▶ drain ──▶ close
 *
 * A client that goes on sending is read for a while: to close before would reset the
 * connection, and might take the reply from it.
 */
#include "daemon/http.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "daemon/clock.h"
#include "daemon/tick.h"

#define LISTENERS_MAX    2
#define BACKLOG          128
#define VISITS_MAX       64
#define VISIT_US         5000000
#define ACCEPTS_PER_TICK 16
#define HEAD_BYTES_MAX   8192
#define DRAIN_BYTES_MAX  65536

struct visit {
	struct http *http;
	struct bufferevent *bev; /* owned, with its socket */
	int64_t until_us;
	size_t drained_bytes; /* since it was answered */
	bool answered;
	bool drains; /* the reply is out, and our side is shut */
	bool ended;  /* the client's side is shut */
	/* cppcheck-suppress unusedStructMember; utlist uses it */
	struct visit *prev;
	struct visit *next;
};

struct http {
	struct event_base *base;
	void (*get)(void *arg, const char *path, struct http_reply *ret_reply);
	void *arg;
	struct evconnlistener *listeners[LISTENERS_MAX];
	unsigned listeners_n;
	struct visit *visits; /* utlist, oldest first */
	unsigned visits_n;
	unsigned accepts_n; /* in this tick */
	bool resting;       /* no more in this tick */
};

static void
end_visit(struct visit *v)
{
	DL_DELETE(v->http->visits, v);
	v->http->visits_n--;
	bufferevent_free(v->bev);
	free(v);
}

/* --- The reply -------------------------------------------------------------- */

static void
send_reply(struct visit *v, const struct http_reply *reply, bool has_body)
{
	struct evbuffer *out = bufferevent_get_output(v->bev);

	v->answered = true;
	evbuffer_add_printf(out,
	    "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
	    "Connection: close\r\n\r\n",
	    reply->status, reply->type, reply->body_n);
	if (has_body &&
	    evbuffer_add_reference(
		out, reply->body, reply->body_n, reply->sent, reply->arg) == 0)
		return;
	if (reply->sent)
		reply->sent(reply->body, reply->body_n, reply->arg);
}

static void
refuse(struct visit *v, const char *status)
{
	static const char text[] = "GET or HEAD, please\n";
	struct http_reply reply = {
		.status = status,
		.type = "text/plain; charset=utf-8",
		.body = text,
		.body_n = sizeof(text) - 1,
	};

	send_reply(v, &reply, true);
}

/* --- The request ------------------------------------------------------------- */

/* Its first line: "GET /path HTTP/1.1". */
static void
serve(struct visit *v, char *line)
{
	char *save = NULL;
	const char *method = strtok_r(line, " ", &save);
	char *path = strtok_r(NULL, " ", &save);
	const char *version = strtok_r(NULL, " ", &save);
	struct http_reply reply = { 0 };

	if (!method || !path || !version ||
	    strncmp(version, "HTTP/1.", strlen("HTTP/1.")) != 0 ||
	    strtok_r(NULL, " ", &save)) {
		refuse(v, "400 Bad Request");
		return;
	}
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
		refuse(v, "405 Method Not Allowed\r\nAllow: GET, HEAD");
		return;
	}
	path[strcspn(path, "?")] = '\0';
	v->http->get(v->http->arg, path, &reply);
	send_reply(v, &reply, strcmp(method, "GET") == 0);
}

/* Whether an empty line ends it. */
static bool
has_end(const char *head)
{
	return strstr(head, "\r\n\r\n") || strstr(head, "\n\n");
}

static void
read_head(struct visit *v)
{
	char head[HEAD_BYTES_MAX + 1];
	ev_ssize_t n = evbuffer_copyout(
	    bufferevent_get_input(v->bev), head, HEAD_BYTES_MAX);

	head[n > 0 ? n : 0] = '\0';
	if (n > 0 && memchr(head, '\0', (size_t)n)) {
		refuse(v, "400 Bad Request");
	} else if (has_end(head)) {
		head[strcspn(head, "\r\n")] = '\0';
		serve(v, head);
	} else if (n == HEAD_BYTES_MAX) {
		refuse(v, "431 Request Header Fields Too Large");
	}
}

static void
on_read(struct bufferevent *bev, void *arg)
{
	struct visit *v = arg;
	struct evbuffer *in = bufferevent_get_input(bev);

	if (!v->answered)
		read_head(v);
	if (!v->answered)
		return;
	v->drained_bytes += evbuffer_get_length(in);
	evbuffer_drain(in, evbuffer_get_length(in));
	if (v->drained_bytes > DRAIN_BYTES_MAX)
		end_visit(v);
}

/* All of it is sent. */
static void
on_written(struct bufferevent *bev, void *arg)
{
	struct visit *v = arg;

	if (!v->answered)
		return;
	if (v->ended) {
		end_visit(v);
		return;
	}
	v->drains = true;
	shutdown(bufferevent_getfd(bev), SHUT_WR);
}

static void
on_end(struct bufferevent *bev, short what, void *arg)
{
	struct visit *v = arg;

	(void)bev;
	v->ended = true;
	/* one that only said that it asks no more has its reply coming */
	if ((what & BEV_EVENT_ERROR) || !v->answered || v->drains)
		end_visit(v);
}

/* --- Accepting ---------------------------------------------------------------- */

static void
rest(struct http *http, bool resting)
{
	http->resting = resting;
	for (unsigned i = 0; i < http->listeners_n; i++) {
		if (resting)
			evconnlistener_disable(http->listeners[i]);
		else
			evconnlistener_enable(http->listeners[i]);
	}
	if (resting)
		tick_want();
}

static void
on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa,
    int sa_n, void *arg)
{
	struct http *http = arg;
	struct visit *v = calloc(1, sizeof(*v));

	(void)l;
	(void)sa;
	(void)sa_n;
	if (++http->accepts_n >= ACCEPTS_PER_TICK)
		rest(http, true);
	if (v)
		v->bev = bufferevent_socket_new(
		    http->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!v || !v->bev) {
		evutil_closesocket(fd);
		free(v);
		return;
	}
	v->http = http;
	v->until_us = clock_now_us() + VISIT_US;
	DL_APPEND(http->visits, v);
	http->visits_n++;
	bufferevent_setwatermark(v->bev, EV_READ, 0, HEAD_BYTES_MAX);
	bufferevent_setcb(v->bev, on_read, on_written, on_end, v);
	bufferevent_enable(v->bev, EV_READ | EV_WRITE);
	if (http->visits_n > VISITS_MAX)
		end_visit(http->visits);
}

/* No descriptor is left: try again with the next tick, not in a circle. */
static void
on_accept_error(struct evconnlistener *l, void *arg)
{
	(void)l;
	rest(arg, true);
}

/* Those whose time is over. */
static void
end_until(struct http *http, int64_t us)
{
	struct visit *next;

	for (struct visit *v = http->visits; v && v->until_us < us; v = next) {
		next = v->next;
		end_visit(v);
	}
}

void
http_tick(struct http *http)
{
	end_until(http, clock_now_us());
	http->accepts_n = 0;
	if (http->resting)
		rest(http, false);
}

/* --- Life --------------------------------------------------------------------- */

struct http *
http_new(struct event_base *base,
    void (*get)(void *arg, const char *path, struct http_reply *ret_reply),
    void *arg)
{
	struct http *http = calloc(1, sizeof(*http));

	if (!http)
		return NULL;
	http->base = base;
	http->get = get;
	http->arg = arg;
	return http;
}

int
http_listen(struct http *http, int fd)
{
	struct evconnlistener *l = NULL;

	if (http->listeners_n < LISTENERS_MAX && listen(fd, BACKLOG) == 0)
		l = evconnlistener_new(http->base, on_accept, http,
		    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (!l)
		return -1;
	evconnlistener_set_error_cb(l, on_accept_error);
	http->listeners[http->listeners_n++] = l;
	return 0;
}

void
http_free(struct http *http)
{
	if (!http)
		return;
	for (unsigned i = 0; i < http->listeners_n; i++)
		evconnlistener_free(http->listeners[i]);
	end_until(http, INT64_MAX);
	free(http);
}
