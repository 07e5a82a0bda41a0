/* exporter.c - HTTP by libevent. */
#include "daemon/exporter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "conf/conf.h"
#include "daemon/clock.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/tick.h"

#define TIMEOUT_S        5
#define HEAD_BYTES_MAX   8192
#define BACKLOG          128
#define ACCEPTS_PER_TICK 16
/* A page serves so long. */
#define PAGE_US 250000

static const char off[] = "off";
static const char page_type[] = "text/plain; version=0.0.4; charset=utf-8";

/* A page, until the last one that it is sent to has it. */
struct page {
	struct buf text;
	unsigned refs;
};

struct exporter {
	struct evhttp *http;
	struct dbs *dbs;
	struct page *page; /* the last one made, or NULL */
	int64_t page_us;   /* when */
	struct evconnlistener *listeners[2];
	unsigned listeners_n;
	unsigned accepts_n; /* in this tick */
	bool resting;       /* no more in this tick */
	bool draining;
	char path[CONF_SOCKET_MAX + 1]; /* "": no socket */
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

static void
answer(struct evhttp_request *req, int code, const char *reason)
{
	struct evbuffer *body = evhttp_request_get_output_buffer(req);

	evhttp_add_header(evhttp_request_get_output_headers(req),
	    "Content-Type", "text/plain; charset=utf-8");
	evbuffer_add_printf(body, "%s\n", reason);
	evhttp_send_reply(req, code, reason, NULL);
}

static void
on_metrics(struct evhttp_request *req, void *arg)
{
	struct exporter *e = arg;
	struct page *p = e->dbs ? get_page(e) : NULL;

	if (!p ||
	    evbuffer_add_reference(evhttp_request_get_output_buffer(req),
		p->text.p, p->text.n, on_page_sent, p) < 0) {
		answer(req, HTTP_SERVUNAVAIL, "no page");
		return;
	}
	p->refs++;
	evhttp_add_header(
	    evhttp_request_get_output_headers(req), "Content-Type", page_type);
	evhttp_send_reply(req, HTTP_OK, "OK", NULL);
}

static void
on_health(struct evhttp_request *req, void *arg)
{
	(void)arg;
	answer(req, HTTP_OK, "ok");
}

static void
on_ready(struct evhttp_request *req, void *arg)
{
	const struct exporter *e = arg;

	if (e->dbs && !e->draining)
		answer(req, HTTP_OK, "ready");
	else
		answer(req, HTTP_SERVUNAVAIL, "draining");
}

static void
on_other(struct evhttp_request *req, void *arg)
{
	(void)arg;
	answer(req, HTTP_NOTFOUND, "/metrics, /healthz, /readyz");
}

/* --- Connections -------------------------------------------------------------------- */

/* Each connection comes by here.  After so many the listeners rest until the next
 * tick: with the timeout that bounds how many there can be. */
static struct bufferevent *
on_connection(struct event_base *base, void *arg)
{
	struct exporter *e = arg;

	(void)base;
	if (++e->accepts_n < ACCEPTS_PER_TICK)
		return NULL; /* libevent makes its own */
	e->resting = true;
	tick_want();
	for (unsigned i = 0; i < e->listeners_n; i++)
		evconnlistener_disable(e->listeners[i]);
	return NULL;
}

void
exporter_tick(struct exporter *e)
{
	e->accepts_n = 0;
	if (!e->resting)
		return;
	e->resting = false;
	for (unsigned i = 0; i < e->listeners_n; i++)
		evconnlistener_enable(e->listeners[i]);
}

static int
fail(char *err, const char *what, const char *why, const char *remedy)
{
	snprintf(err, EXPORTER_ERR_MAX, "cannot serve metrics on %s: %s; %s",
	    what, why, remedy);
	return -1;
}

static int
listen_on(struct exporter *e, struct event_base *base, int fd)
{
	struct evconnlistener *l;

	if (listen(fd, BACKLOG) < 0)
		return -1;
	l = evconnlistener_new(base, NULL, NULL,
	    LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
	if (!l)
		return -1;
	if (!evhttp_bind_listener(e->http, l)) {
		evconnlistener_free(l);
		return -1;
	}
	e->listeners[e->listeners_n++] = l;
	return 0;
}

/* Is nobody there?  A daemon that was killed leaves its file behind. */
static bool
is_left_behind(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool refused = fd >= 0 &&
	    connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) < 0 &&
	    errno == ECONNREFUSED;

	if (fd >= 0)
		close(fd);
	return refused;
}

static int
bind_unix(const struct sockaddr_un *sa, unsigned mode)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t old = umask(0777 & ~mode);
	int rc = fd < 0 ? -1
			: bind(fd, (const struct sockaddr *)sa, sizeof(*sa));

	if (rc < 0 && errno == EADDRINUSE && is_left_behind(sa) &&
	    unlink(sa->sun_path) == 0)
		rc = bind(fd, (const struct sockaddr *)sa, sizeof(*sa));
	umask(old);
	if (rc == 0)
		return fd;
	rc = errno;
	if (fd >= 0)
		close(fd);
	errno = rc;
	return -1;
}

static int
open_socket(struct exporter *e, struct event_base *base,
    const struct conf *conf, const char *socket_path, char *err)
{
	static const char remedy[] = "choose another place with "
				     "metrics_socket, or none: metrics_socket "
				     "= off";
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int n, fd;

	if (strcmp(conf->metrics_socket, off) == 0)
		return 0;
	n = conf->metrics_socket[0] ? snprintf(sa.sun_path, sizeof(sa.sun_path),
					  "%s", conf->metrics_socket)
				    : snprintf(sa.sun_path, sizeof(sa.sun_path),
					  "%s.metrics", socket_path);
	if (n >= (int)sizeof(sa.sun_path)) { /* it was given none */
		log_warn("no metrics: %s.metrics is too long for a socket; set "
			 "metrics_socket",
		    socket_path);
		return 0;
	}
	fd = bind_unix(&sa, conf->socket_mode);
	if (fd < 0)
		return fail(err, sa.sun_path, strerror(errno), remedy);
	snprintf(e->path, sizeof(e->path), "%s", sa.sun_path);
	if (listen_on(e, base, fd) == 0)
		return 0;
	close(fd);
	return fail(err, sa.sun_path, strerror(errno), remedy);
}

/* "127.0.0.1:9187", "[::1]:9187", or the port alone.  Whoever reaches the port may
 * read the page, so it is the loopback interface's. */
static int
parse_address(const char *text, struct sockaddr_storage *ret, socklen_t *ret_n)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
	const char *colon = strrchr(text, ':');
	const char *digits = colon ? colon + 1 : text;
	char *end;
	unsigned long port = strtoul(digits, &end, 10);
	size_t host_n = colon ? (size_t)(colon - text) : 0;

	memset(ret, 0, sizeof(*ret));
	if (digits[0] < '0' || digits[0] > '9' || *end || port > 65535)
		return -1;
	if (host_n == 5 && memcmp(text, "[::1]", 5) == 0) {
		v6->sin6_family = AF_INET6;
		v6->sin6_addr = in6addr_loopback;
		v6->sin6_port = htons((uint16_t)port);
		*ret_n = sizeof(*v6);
		return 0;
	}
	if (host_n != 0 && (host_n != 9 || memcmp(text, "127.0.0.1", 9) != 0) &&
	    (host_n != 9 || memcmp(text, "localhost", 9) != 0))
		return -1;
	v4->sin_family = AF_INET;
	v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	v4->sin_port = htons((uint16_t)port);
	*ret_n = sizeof(*v4);
	return 0;
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
	if (parse_address(text, &sa, &n) < 0)
		return fail(err, text, "that is no port of this host alone",
		    "write metrics_listen = \"127.0.0.1:PORT\" or \"[::1]:PORT\", "
		    "and put a proxy in front of it for others");
	fd = socket(
	    sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
	    bind(fd, (struct sockaddr *)&sa, n) == 0 &&
	    listen_on(e, base, fd) == 0)
		return 0;
	fail(err, text, strerror(errno),
	    "choose another port with metrics_listen");
	if (fd >= 0)
		close(fd);
	return -1;
}

static int
set_up(struct exporter *e, struct event_base *base)
{
	e->http = evhttp_new(base);
	if (!e->http)
		return -1;
	evhttp_set_allowed_methods(e->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
	evhttp_set_timeout(e->http, TIMEOUT_S);
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
	if (e->path[0])
		unlink(e->path);
	page_unref(e->page);
	free(e);
}
