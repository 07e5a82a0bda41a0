/* exporter.c - the page, and where it is served. */
#include "daemon/exporter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "conf/conf.h"
#include "daemon/clock.h"
#include "daemon/http.h"
#include "daemon/log.h"
#include "daemon/metrics.h"
#include "daemon/sockfile.h"

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
	struct http *http;
	struct dbs *dbs;
	struct page *page; /* the last one made, or NULL */
	int64_t page_us;   /* when */
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

static void
put_text(struct http_reply *reply, const char *status, const char *text)
{
	reply->status = status;
	reply->type = "text/plain; charset=utf-8";
	reply->body = text;
	reply->body_n = strlen(text);
}

static void
put_metrics(struct exporter *e, struct http_reply *reply)
{
	struct page *p = e->dbs ? get_page(e) : NULL;

	if (!p) {
		put_text(reply, "503 Service Unavailable", "no page\n");
		return;
	}
	p->refs++;
	*reply = (struct http_reply){
		.status = "200 OK",
		.type = page_type,
		.body = p->text.p,
		.body_n = p->text.n,
		.sent = on_page_sent,
		.arg = p,
	};
}

static void
on_get(void *arg, const char *path, struct http_reply *ret_reply)
{
	struct exporter *e = arg;

	if (strcmp(path, "/metrics") == 0)
		put_metrics(e, ret_reply);
	else if (strcmp(path, "/healthz") == 0)
		put_text(ret_reply, "200 OK", "ok\n");
	else if (strcmp(path, "/readyz") != 0)
		put_text(ret_reply, "404 Not Found",
		    "/metrics, /healthz, /readyz\n");
	else if (e->dbs && !e->draining)
		put_text(ret_reply, "200 OK", "ready\n");
	else
		put_text(ret_reply, "503 Service Unavailable", "draining\n");
}

/* --- Sockets -------------------------------------------------------------------------- */

void
exporter_tick(struct exporter *e)
{
	http_tick(e->http);
}

static int
fail(char *err, const char *what, const char *why, const char *remedy)
{
	snprintf(err, EXPORTER_ERR_MAX, "cannot serve metrics on %s: %s; %s",
	    what, why, remedy);
	return -1;
}

static int
open_socket(struct exporter *e, const struct conf *conf,
    const char *socket_path, char *err)
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
	if (http_listen(e->http, fd) == 0)
		return 0;
	fail(err, e->path, strerror(errno), wish.remedy);
	close(fd);
	return -1;
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
open_port(struct exporter *e, const char *text, char *err)
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
	    http_listen(e->http, fd) == 0)
		return 0;
	fail(err, text, strerror(errno),
	    "choose another port with metrics_listen");
	if (fd >= 0)
		close(fd);
	return -1;
}

int
exporter_open(struct event_base *base, const struct conf *conf,
    const char *socket, struct exporter **ret_exporter,
    char err[EXPORTER_ERR_MAX])
{
	struct exporter *e = calloc(1, sizeof(*e));
	int rc = -1;

	if (e)
		e->http = http_new(base, on_get, e);
	if (!e || !e->http)
		snprintf(err, EXPORTER_ERR_MAX, "out of memory for metrics");
	else
		rc = open_socket(e, conf, socket, err);
	if (rc == 0)
		rc = open_port(e, conf->metrics_listen, err);
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
	http_free(e->http);
	sockfile_remove(e->path, &e->file);
	page_unref(e->page);
	free(e);
}
