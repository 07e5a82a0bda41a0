/* exporter.c - the page, and where it is served: HTTP by libevent, which bounds a
 * request.  How many connections there are, how long they last and what is read ahead
 * is bounded here.
 */
#include "daemon/exporter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conf/conf.h"
#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/sockfile.h"
#include "daemon/tick.h"

#define LISTENERS_MAX    2
#define BACKLOG          128
#define ACCEPTS_PER_TICK 16
#define VISITS_MAX       64
#define VISIT_US         5000000
#define HEAD_BYTES_MAX   8192
/* More than a head, since evhttp has to see that it is too long; and all that is read
 * after that, when nobody takes it any more. */
#define READ_BYTES_MAX 16384
/* A page serves so long. */
#define PAGE_US 250000

static const char off[] = "off";
static const char page_type[] = "text/plain; version=0.0.4; charset=utf-8";
static const char text_type[] = "text/plain; charset=utf-8";

/* A page, until the last one that it is sent to has it. */
struct page {
	struct buf text;
	unsigned refs;
};

/* evhttp counts no connections, its time-out begins anew with each byte, and it does
 * not say when it is done with one: so each is held here, too, until it is seen that
 * it is over. */
struct visit {
	struct bufferevent *bev; /* a reference */
	int64_t until_us;
};

struct exporter {
	struct evhttp *http;
	struct dbs *dbs;
	struct page *page; /* the last one made, or NULL */
	int64_t page_us;   /* when */
	struct evconnlistener *listeners[LISTENERS_MAX]; /* owned by http */
	unsigned listeners_n;
	unsigned accepts_n;              /* in this tick */
	struct visit visits[VISITS_MAX]; /* oldest first */
	unsigned visits_n;
	bool draining;
	char path[CONF_SOCKET_MAX + 1];
	struct sockfile file; /* at the path */
};

/* --- Pages ---------------------------------------------------------------------- */

static void
page_unref(struct page *p)
{
	if (!p || --p->refs > 0)
		return;
	buf_fini(&p->text);
	free(p);
}

static void
on_page_sent(const void *data, size_t n, void *arg)
{
	(void)data;
	(void)n;
	page_unref(arg);
}

/* NULL: out of memory. */
static struct page *
get_page(struct exporter *e)
{
	int64_t now = clock_now_us();
	struct page *p;

	if (e->page && now - e->page_us < PAGE_US)
		return e->page;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->refs = 1;
	buf_init(&p->text);
	metrics_put(e->dbs, &p->text);
	if (buf_failed(&p->text)) {
		page_unref(p);
		return NULL;
	}
	page_unref(e->page);
	e->page = p;
	e->page_us = now;
	return p;
}

/* --- Requests --------------------------------------------------------------------- */

/* The connection ends with it. */
static void
reply(struct evhttp_request *req, int code, const char *type)
{
	struct evkeyvalq *asked = evhttp_request_get_input_headers(req);
	struct evkeyvalq *head = evhttp_request_get_output_headers(req);
	struct evbuffer *body = evhttp_request_get_output_buffer(req);
	struct bufferevent *bev = evhttp_connection_get_bufferevent(
	    evhttp_request_get_connection(req));
	char length[24];

	snprintf(length, sizeof(length), "%zu", evbuffer_get_length(body));
	evhttp_add_header(head, "Content-Type", type);
	evhttp_add_header(head, "Content-Length", length);
	if (evhttp_request_get_command(req) == EVHTTP_REQ_HEAD)
		evbuffer_drain(body, evbuffer_get_length(body));
	/* a close that was asked for: else HTTP/1.0's keep-alive is answered, too */
	evhttp_remove_header(asked, "Connection");
	evhttp_add_header(asked, "Connection", "close");
	evhttp_send_reply(req, code, NULL, NULL);
	/* evhttp would take a client that is done with sending for one that left */
	bufferevent_disable(bev, EV_READ);
}

static void
reply_text(struct evhttp_request *req, int code, const char *text)
{
	evbuffer_add_printf(
	    evhttp_request_get_output_buffer(req), "%s\n", text);
	reply(req, code, text_type);
}

static void
on_metrics(struct evhttp_request *req, void *arg)
{
	struct exporter *e = arg;
	struct page *p = e->dbs ? get_page(e) : NULL;

	if (!p ||
	    evbuffer_add_reference(evhttp_request_get_output_buffer(req),
		p->text.p, p->text.n, on_page_sent, p) < 0) {
		reply_text(req, HTTP_SERVUNAVAIL, "no page");
		return;
	}
	p->refs++;
	reply(req, HTTP_OK, page_type);
}

static void
on_health(struct evhttp_request *req, void *arg)
{
	(void)arg;
	reply_text(req, HTTP_OK, "ok");
}

static void
on_ready(struct evhttp_request *req, void *arg)
{
	const struct exporter *e = arg;

	if (e->dbs && !e->draining)
		reply_text(req, HTTP_OK, "ready");
	else
		reply_text(req, HTTP_SERVUNAVAIL, "draining");
}

static void
on_other(struct evhttp_request *req, void *arg)
{
	(void)arg;
	reply_text(req, HTTP_NOTFOUND, "/metrics, /healthz, /readyz");
}

/* --- Connections ---------------------------------------------------------------- */

/* evhttp takes its callbacks away when it is done with one. */
static bool
is_over(struct bufferevent *bev)
{
	bufferevent_event_cb cb;

	bufferevent_getcb(bev, NULL, NULL, &cb, NULL);
	return !cb;
}

/* End those whose time is over by then, and let go of those that are over. */
static void
sweep(struct exporter *e, int64_t us)
{
	unsigned kept_n = 0;

	for (unsigned i = 0; i < e->visits_n; i++) {
		struct visit v = e->visits[i];
		bool due = v.until_us <= us;

		if (due)
			bufferevent_trigger_event(v.bev, BEV_EVENT_TIMEOUT, 0);
		if (due || is_over(v.bev))
			bufferevent_decref(v.bev);
		else
			e->visits[kept_n++] = v;
	}
	e->visits_n = kept_n;
}

/* No descriptor is left: not again and again until one is. */
static void
on_accept_error(struct evconnlistener *l, void *arg)
{
	(void)arg;
	evconnlistener_disable(l);
	tick_want();
}

/* Each connection comes by here; the oldest makes room for it.  NULL: out of memory,
 * as evhttp finds, too, when it makes its own. */
static struct bufferevent *
on_connection(struct event_base *base, void *arg)
{
	struct exporter *e = arg;
	int64_t now = clock_now_us();
	struct bufferevent *bev = bufferevent_socket_new(
	    base, -1, BEV_OPT_CLOSE_ON_FREE);

	if (++e->accepts_n >= ACCEPTS_PER_TICK)
		for (unsigned i = 0; i < e->listeners_n; i++)
			evconnlistener_disable(e->listeners[i]);
	tick_want(); /* it is over soon */
	sweep(e, now);
	if (e->visits_n == VISITS_MAX)
		sweep(e, e->visits[0].until_us);
	if (!bev)
		return NULL;
	bufferevent_setwatermark(bev, EV_READ, 0, READ_BYTES_MAX);
	bufferevent_incref(bev);
	e->visits[e->visits_n++] = (struct visit){ bev, now + VISIT_US };
	return bev;
}

void
exporter_tick(struct exporter *e)
{
	sweep(e, clock_now_us());
	e->accepts_n = 0;
	for (unsigned i = 0; i < e->listeners_n; i++)
		evconnlistener_enable(e->listeners[i]);
}

/* --- Sockets -------------------------------------------------------------------- */

static int
fail(char *err, const char *what, const char *why, const char *remedy)
{
	snprintf(err, EXPORTER_ERR_MAX, "cannot serve metrics on %s: %s; %s",
	    what, why, remedy);
	return -1;
}

/* Takes fd.  -1: see errno. */
static int
listen_on(struct exporter *e, struct event_base *base, int fd)
{
	struct evconnlistener *l = evconnlistener_new(base, NULL, NULL,
	    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, BACKLOG, fd);

	if (!l) {
		close(fd);
		return -1;
	}
	if (!evhttp_bind_listener(e->http, l)) {
		evconnlistener_free(l);
		return -1;
	}
	evconnlistener_set_error_cb(l, on_accept_error);
	e->listeners[e->listeners_n++] = l;
	return 0;
}

static int
open_socket(struct exporter *e, struct event_base *base,
    const struct conf *conf, const char *socket_path, char *err)
{
	struct sockfile_wish wish = { e->path, conf->socket_mode,
		"choose another place with metrics_socket, or none: "
		"metrics_socket = off" };
	char why[CONF_ERR_MAX];
	int n, fd, rc;

	if (strcmp(conf->metrics_socket, off) == 0)
		return 0;
	n = conf->metrics_socket[0]
	    ? snprintf(e->path, sizeof(e->path), "%s", conf->metrics_socket)
	    : snprintf(e->path, sizeof(e->path), "%s.metrics", socket_path);
	if (n >= (int)sizeof(e->path)) { /* it was given none */
		log_warn("no metrics: %s.metrics is too long for a socket; set "
			 "metrics_socket",
		    socket_path);
		return 0;
	}
	rc = sockfile_bind(&wish, &e->file, &fd, why);
	if (rc < 0 && !conf->metrics_socket[0]) {
		/* it may not have been made for us: systemd.socket(5) */
		log_warn("no metrics: %s", why);
		return 0;
	}
	if (rc < 0) {
		snprintf(err, EXPORTER_ERR_MAX, "metrics: %.480s", why);
		return -1;
	}
	if (listen_on(e, base, fd) == 0)
		return 0;
	return fail(err, e->path, strerror(errno), wish.remedy);
}

/* "127.0.0.1:9187", "[::1]:9187", or the port alone.  Whoever reaches the port may
 * read the page, so it is the loopback interface's. */
static void
get_address(const char *text, struct sockaddr_storage *ret, socklen_t *ret_n)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
	bool is_v6 = false;
	uint16_t port = 0;

	conf_parse_port(text, &is_v6, &port); /* it was checked */
	memset(ret, 0, sizeof(*ret));
	if (is_v6) {
		v6->sin6_family = AF_INET6;
		v6->sin6_addr = in6addr_loopback;
		v6->sin6_port = htons(port);
		*ret_n = sizeof(*v6);
	} else {
		v4->sin_family = AF_INET;
		v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		v4->sin_port = htons(port);
		*ret_n = sizeof(*v4);
	}
}

static int
open_port(
    struct exporter *e, struct event_base *base, const char *text, char *err)
{
	static const int on = 1;
	struct sockaddr_storage sa;
	socklen_t n = 0;
	int fd;

	if (!text[0])
		return 0;
	get_address(text, &sa, &n);
	fd = socket(
	    sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 &&
	    (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
		bind(fd, (struct sockaddr *)&sa, n) < 0)) {
		close(fd);
		fd = -1;
	}
	if (fd >= 0 && listen_on(e, base, fd) == 0)
		return 0;
	return fail(err, text, strerror(errno),
	    "choose another port with metrics_listen");
}

static int
set_up(struct exporter *e, struct event_base *base)
{
	e->http = evhttp_new(base);
	if (!e->http)
		return -1;
	evhttp_set_allowed_methods(e->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
	evhttp_set_max_headers_size(e->http, HEAD_BYTES_MAX);
	evhttp_set_max_body_size(e->http, 0);
	evhttp_set_bevcb(e->http, on_connection, e);
	evhttp_set_gencb(e->http, on_other, e);
	return evhttp_set_cb(e->http, "/metrics", on_metrics, e) ||
		evhttp_set_cb(e->http, "/healthz", on_health, e) ||
		evhttp_set_cb(e->http, "/readyz", on_ready, e)
	    ? -1
	    : 0;
}

int
exporter_open(struct event_base *base, const struct conf *conf,
    const char *socket, struct exporter **ret_exporter,
    char err[EXPORTER_ERR_MAX])
{
	struct exporter *e = calloc(1, sizeof(*e));
	int rc = -1;

	if (!e || set_up(e, base) < 0)
		snprintf(err, EXPORTER_ERR_MAX, "out of memory for metrics");
	else
		rc = open_socket(e, base, conf, socket, err);
	if (rc == 0)
		rc = open_port(e, base, conf->metrics_listen, err);
	if (rc < 0) {
		exporter_close(e);
		return -1;
	}
	*ret_exporter = e;
	return 0;
}

void
exporter_serve(struct exporter *e, struct dbs *dbs)
{
	e->dbs = dbs;
}

void
exporter_drain(struct exporter *e)
{
	e->draining = true;
}

void
exporter_close(struct exporter *e)
{
	if (!e)
		return;
	if (e->http)
		evhttp_free(e->http); /* and the listeners */
	sweep(e, INT64_MAX);
	sockfile_remove(e->path, &e->file);
	page_unref(e->page);
	free(e);
}
